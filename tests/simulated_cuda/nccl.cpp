/* NCCL between processes, each of which has a simulated device: the calls that cuda/ makes, and no
 * others.
 *
 * A group of sends and receives is one piece of work on its stream. Floats arrive in random
 * portions, from random ranks first, and the memory that they go to holds NaN until then. Every
 * send says what it is, and who receives it compares that with what it expects: which group of the
 * communicator, operation, count, type, ranks, and whether it was captured into a graph. On a
 * mismatch, or if nothing moves for a while, the process ends with what both ranks are doing.
 *
 * Environment: MICROMET_SIMULATED_NCCL_ERROR=RANK:N has the Nth group of that rank stand still, and
 * ncclCommGetAsyncError() say so; with MICROMET_SIMULATED_NCCL_STALL=RANK:N it says nothing.
 * MICROMET_SIMULATED_NCCL_ABORT_HANGS=1: ncclCommAbort() does not come back.
 * MICROMET_SIMULATED_NCCL_PATIENCE_S: how long nothing may move (300). */
#include <nccl.h>

#include "nccl_link.h"
#include "runtime.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

using namespace simulated;

namespace
{

double now_s()
{
    using namespace std::chrono;
    return duration<double>(steady_clock::now().time_since_epoch()).count();
}

double patience_s()
{
    const char *text = getenv("MICROMET_SIMULATED_NCCL_PATIENCE_S");
    return text ? atof(text) : 300;
}

/* Whether NAME=RANK:N in the environment names this group. */
bool is_named(const char *name, int rank, uint64_t group)
{
    const char *text = getenv(name);
    int of = -1;
    unsigned long long number = 0;
    return text && sscanf(text, "%d:%llu", &of, &number) == 2 && of == rank && number == group;
}

/* The state of a communicator, which lives as long as its work. */
struct membership {
    int rank, ranks;
    link_memory *link;
    uint64_t groups = 0;          /* begun by the device */
    const void *stream = nullptr; /* the one that it is used on */
    std::atomic<int> asynchronous { ncclSuccess };
    std::atomic<bool> aborted { false };

    ring &from(int other) const
    {
        return link->rings[other * ranks + rank];
    }
    ring &to(int other) const
    {
        return link->rings[rank * ranks + other];
    }
};
using membership_ptr = std::shared_ptr<membership>;

enum operation { OPERATION_SEND, OPERATION_RECEIVE, OPERATION_ALL_REDUCE };

/* As a call has it. */
struct call {
    operation kind;
    const void *send;
    void *receive;
    size_t count;
    int peer;
};

/* What a send says of itself, before its floats. */
struct head {
    uint64_t group, count;
    int32_t collective, captured, from, to;
};

std::string text_of(const head &h, bool receiver)
{
    char text[200];
    snprintf(text, sizeof text, "group %llu (%s) %s %llu floats %s rank %d",
             (unsigned long long)h.group, h.captured ? "captured" : "plain",
             h.collective ? "sums over ranks"
             : receiver   ? "receives"
                          : "sends",
             (unsigned long long)h.count, receiver ? "from" : "to", receiver ? h.from : h.to);
    return text;
}

/* The floats of one call that go to, or come from, one rank. */
struct transfer {
    bool sends;
    int peer;
    unsigned char *memory; /* on the device, or of `collected` */
    bool on_device;
    head expected;
    size_t bytes, moved = 0; /* with the head */
    head arrived = {};
    uint64_t late = 0; /* how often it is passed over at first */

    bool done() const
    {
        return moved == sizeof(head) + bytes;
    }
};

class group_work : public joint_work
{
  public:
    group_work(membership_ptr m, const std::vector<call> &calls, bool captured);
    bool advance() override;

  private:
    void add(const call &c, bool sends, int peer, void *memory, bool captured);
    void add_all_reduce(const call &c, bool captured);
    void expect_no_overlaps() const;
    bool move(transfer &t);
    void compare(const transfer &t) const;
    void finish();
    [[noreturn]] void give_up(const transfer &t) const;

    membership_ptr member;
    std::vector<transfer> transfers;
    std::vector<call> reductions;
    std::deque<std::vector<float>> collected; /* what others send to sums */
    double moved_s = now_s();
    bool stalls;
};

group_work::group_work(membership_ptr m, const std::vector<call> &calls, bool captured) : member(m)
{
    const uint64_t group = ++m->groups;
    const bool error = is_named("MICROMET_SIMULATED_NCCL_ERROR", m->rank, group);
    stalls = error || is_named("MICROMET_SIMULATED_NCCL_STALL", m->rank, group);
    if (error) m->asynchronous = ncclRemoteError;
    for (const call &c : calls) {
        if (c.kind == OPERATION_ALL_REDUCE)
            add_all_reduce(c, captured);
        else
            add(c, c.kind == OPERATION_SEND, c.peer,
                c.kind == OPERATION_SEND ? const_cast<void *>(c.send) : c.receive, captured);
    }
    expect_no_overlaps();
    for (transfer &t : transfers) {
        t.late = draw(8);
        if (t.on_device) sim_expect_device(t.memory, t.bytes, t.sends ? "ncclSend" : "ncclRecv");
        if (!t.sends) memset(t.memory, 0xff, t.bytes);
    }
    board &own = m->link->boards[m->rank];
    own.groups = group;
    snprintf(own.text, sizeof own.text, "group %llu (%s) of %zu transfers",
             (unsigned long long)group, captured ? "captured" : "plain", transfers.size());
}

void group_work::add(const call &c, bool sends, int peer, void *memory, bool captured)
{
    const int own = member->rank;
    const head h = {
        member->groups,     c.count,           c.kind == OPERATION_ALL_REDUCE, captured,
        sends ? own : peer, sends ? peer : own
    };
    transfer t {};
    t.sends = sends;
    t.peer = peer;
    t.memory = (unsigned char *)memory;
    t.on_device = true;
    t.expected = h;
    t.bytes = c.count * sizeof(float);
    transfers.push_back(t);
}

void group_work::add_all_reduce(const call &c, bool captured)
{
    for (int r = 0; r < member->ranks; r++) {
        collected.emplace_back(c.count);
        if (r == member->rank) continue;
        add(c, true, r, const_cast<void *>(c.send), captured);
        add(c, false, r, collected.back().data(), captured);
        transfers.back().on_device = false;
    }
    reductions.push_back(c);
}

void group_work::expect_no_overlaps() const
{
    for (const transfer &a : transfers)
        for (const transfer &b : transfers)
            if (&a != &b && !a.sends && a.memory < b.memory + b.bytes &&
                b.memory < a.memory + a.bytes)
                sim_defect("NCCL: %s and %s overlap on rank %d", text_of(a.expected, true).c_str(),
                           text_of(b.expected, !b.sends).c_str(), member->rank);
}

void group_work::compare(const transfer &t) const
{
    if (memcmp(&t.arrived, &t.expected, sizeof(head)) == 0) return;
    sim_defect("NCCL: ranks do not do the same: rank %d: %s; rank %d: %s", member->rank,
               text_of(t.expected, true).c_str(), t.peer, text_of(t.arrived, false).c_str());
}

/* A portion of it; whether anything has moved. */
bool group_work::move(transfer &t)
{
    if (t.late > 0) {
        t.late--;
        return true;
    }
    const bool in_head = t.moved < sizeof(head);
    const size_t at = in_head ? t.moved : t.moved - sizeof(head);
    const size_t left = (in_head ? sizeof(head) : t.bytes) - at;
    const size_t portion = draw(4) ? left : 1 + (size_t)draw(left);
    if (!in_head && t.on_device)
        sim_expect_device(t.memory, t.bytes, t.sends ? "ncclSend" : "ncclRecv");
    unsigned char *memory = !in_head  ? t.memory
                            : t.sends ? (unsigned char *)&t.expected
                                      : (unsigned char *)&t.arrived;
    const size_t moved = t.sends ? ring_put(member->to(t.peer), memory + at, portion)
                                 : ring_take(member->from(t.peer), memory + at, portion);
    t.moved += moved;
    if (in_head && !t.sends && t.moved == sizeof(head)) compare(t);
    return moved > 0;
}

void group_work::give_up(const transfer &t) const
{
    const board &other = member->link->boards[t.peer];
    sim_defect("NCCL: nothing has moved for %.0f s: rank %d: %s; rank %d: %s", patience_s(),
               member->rank, text_of(t.expected, !t.sends).c_str(), t.peer,
               other.groups ? other.text : "no group yet");
}

bool group_work::advance()
{
    if (member->aborted) return true;
    bool moved = false;
    transfer *waiting = nullptr;
    const permutation order(transfers.empty() ? 1 : transfers.size());
    std::vector<bool> busy[2] = { std::vector<bool>(ranks_max), std::vector<bool>(ranks_max) };
    std::vector<transfer *> next; /* of each rank the first that is not done, each way */
    for (transfer &t : transfers) {
        if (t.done() || busy[t.sends][(size_t)t.peer]) continue;
        busy[t.sends][(size_t)t.peer] = true;
        next.push_back(&t);
    }
    for (size_t i = 0; i < transfers.size() && !stalls; i++) {
        const size_t chosen = (size_t)order(i);
        if (chosen < next.size()) moved = move(*next[chosen]) || moved;
    }
    for (transfer &t : transfers)
        if (!t.done() && !waiting) waiting = &t;
    if (!waiting && !stalls) {
        finish();
        return true;
    }
    if (moved) moved_s = now_s();
    if (!moved) usleep(100);
    if (!stalls && now_s() - moved_s > patience_s()) give_up(*waiting);
    return false;
}

/* Sums are the same on all ranks, but in another order in each group. */
void group_work::finish()
{
    size_t set = 0;
    for (const call &c : reductions) {
        sim_expect_device(c.send, c.count * sizeof(float), "ncclAllReduce");
        sim_expect_device(c.receive, c.count * sizeof(float), "ncclAllReduce");
        memcpy(collected[set + (size_t)member->rank].data(), c.send, c.count * sizeof(float));
        for (size_t i = 0; i < c.count; i++) {
            float sum = 0;
            for (int r = 0; r < member->ranks; r++)
                sum += collected[set +
                                 (size_t)((uint64_t)r + member->groups) % (size_t)member->ranks][i];
            ((float *)c.receive)[i] = sum;
        }
        set += (size_t)member->ranks;
    }
}

/* --- calls --- */

thread_local int depth = 0;
thread_local struct {
    ncclComm_t comm = nullptr;
    cudaStream_t stream = nullptr;
    std::vector<call> calls;
} pending;
thread_local std::string last_error;

ncclResult_t fail(ncclResult_t status, const char *text)
{
    last_error = text;
    return status;
}

} // namespace

struct ncclComm {
    membership_ptr member;
};

static ncclResult_t enqueue()
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    const std::vector<call> calls = std::move(pending.calls);
    pending.calls.clear();
    if (calls.empty()) return ncclSuccess;
    const membership_ptr member = pending.comm->member;
    CUstream_st *stream = stream_of(pending.stream);
    if (!member->stream) member->stream = stream;
    if (member->stream != stream) sim_defect("NCCL: a communicator is used on two streams");
    const bool captured = stream->capture != nullptr;
    task t;
    t.name = "ncclGroup";
    t.begin = [member, calls, captured] {
        return std::make_unique<group_work>(member, calls, captured);
    };
    return put(stream, t) == cudaSuccess ? ncclSuccess
                                         : fail(ncclUnhandledCudaError, "the stream takes no work");
}

static ncclResult_t add_call(const char *name, const call &c, ncclDataType_t type, ncclComm_t comm,
                             cudaStream_t stream)
{
    if (sim_fails(name)) return fail(ncclSystemError, "");
    if (!sim_handle_alive(comm, "communicator")) sim_defect("%s: no communicator", name);
    if (type != ncclFloat) sim_defect("%s: type %d is not simulated", name, (int)type);
    if (c.kind != OPERATION_ALL_REDUCE &&
        (c.peer < 0 || c.peer >= comm->member->ranks || c.peer == comm->member->rank))
        return fail(ncclInvalidArgument, "no such rank");
    if (!pending.calls.empty() && (pending.comm != comm || pending.stream != stream))
        sim_defect("%s: a group on two streams or communicators is not simulated", name);
    pending.comm = comm;
    pending.stream = stream;
    pending.calls.push_back(c);
    return depth == 0 ? enqueue() : ncclSuccess;
}

ncclResult_t ncclSend(const void *from, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream)
{
    return add_call(__func__, { OPERATION_SEND, from, nullptr, count, peer }, type, comm, stream);
}

ncclResult_t ncclRecv(void *to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream)
{
    return add_call(__func__, { OPERATION_RECEIVE, nullptr, to, count, peer }, type, comm, stream);
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)
{
    if (op != ncclSum) sim_defect("%s: reduction %d is not simulated", __func__, (int)op);
    return add_call(__func__, { OPERATION_ALL_REDUCE, from, to, count, -1 }, type, comm, stream);
}

ncclResult_t ncclGroupStart(void)
{
    if (sim_fails(__func__)) return fail(ncclSystemError, "");
    depth++;
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void)
{
    const bool fails = sim_fails(__func__);
    if (depth == 0) return fail(ncclInvalidUsage, "no group has been started");
    if (--depth > 0) return ncclSuccess;
    if (!fails) return enqueue();
    pending.calls.clear();
    return fail(ncclSystemError, "");
}

/* --- communicators --- */

ncclResult_t ncclGetVersion(int *version)
{
    if (sim_fails(__func__)) return fail(ncclSystemError, "");
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    if (sim_fails(__func__)) return fail(ncclSystemError, "");
    const long long number = std::chrono::steady_clock::now().time_since_epoch().count();
    *id = {};
    snprintf(id->internal, sizeof id->internal, "/micromet-nccl-%d-%llx", (int)getpid(), number);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    *comm = nullptr;
    if (sim_fails(__func__)) return fail(ncclSystemError, "");
    if (config->size != sizeof *config || config->magic != 0xcafebeef || config->blocking != 1)
        sim_defect("%s: a configuration that is not simulated", __func__);
    if (ranks > ranks_max || rank < 0 || rank >= ranks)
        return fail(ncclInvalidArgument, "no such rank");
    link_memory *link = link_open(id.internal, rank, ranks, patience_s());
    if (!link) return fail(ncclSystemError, "not all ranks have come");
    auto member = std::make_shared<membership>();
    member->rank = rank;
    member->ranks = ranks;
    member->link = link;
    *comm = new ncclComm { member };
    sim_handle_created(*comm, "communicator");
    return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *status)
{
    if (sim_fails(__func__)) return fail(ncclSystemError, "");
    *status = (ncclResult_t)comm->member->asynchronous.load();
    return ncclSuccess;
}

/* The shared memory stays mapped, as work may still be queued. */
static ncclResult_t destroy(const char *name, ncclComm_t comm)
{
    const bool fails = sim_fails(name);
    sim_handle_destroyed(comm, "communicator");
    delete comm;
    return fails ? fail(ncclSystemError, "") : ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    if (getenv("MICROMET_SIMULATED_NCCL_ABORT_HANGS")) pause();
    comm->member->aborted = true;
    return destroy(__func__, comm);
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    return destroy(__func__, comm);
}

const char *ncclGetErrorString(ncclResult_t status)
{
    switch (status) {
    case ncclSuccess:
        return "no error";
    case ncclSystemError:
        return "unhandled system error";
    case ncclRemoteError:
        return "remote process exited or there was a network error";
    case ncclInvalidArgument:
        return "invalid argument";
    case ncclInvalidUsage:
        return "invalid usage";
    default:
        return "unhandled error";
    }
}

const char *ncclGetLastError(ncclComm_t)
{
    return last_error.c_str();
}
