/* Shared by the files of the simulated CUDA runtime: its state, the frame of an entry point, and
 * work as a dependency graph.
 *
 * Everything queued is an item that counts the items it still depends on. Stream order, events, the
 * legacy stream and CUDA graphs are all such dependencies; the scheduler runs any item that
 * depends on none. */
#ifndef MICROMET_TESTS_SIMULATED_RUNTIME_H
#define MICROMET_TESTS_SIMULATED_RUNTIME_H

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "simulated.h"
#include "simulated_control.h"

namespace simulated
{

using work_function = void (*)(void *argument);

/* Work that other processes take part in. Device memory may be accessed as by other work. */
struct joint_work {
    virtual ~joint_work() = default;
    virtual bool advance() = 0; /* as far as it goes now; whether it is done */
};

struct task { /* a piece of work, queued or recorded in a graph */
    const char *name = "";
    work_function work = nullptr; /* nullptr: only a point in the order */
    std::shared_ptr<void> argument;
    bool on_host = false;
    std::function<std::unique_ptr<joint_work>()> begin; /* joint work, in place of `work` */
    const void *lane = nullptr;                         /* the stream it was queued on */
};

struct item {
    struct task task;
    std::unique_ptr<joint_work> joint; /* if begun */
    size_t unmet = 0;                  /* unfinished items it depends on */
    std::vector<std::shared_ptr<item>> followers;
    bool done = false;
    double done_ms = 0;
};
using item_ptr = std::shared_ptr<item>;

struct capture;
using capture_ptr = std::shared_ptr<capture>;

} // namespace simulated

struct CUstream_st {
    bool blocking; /* synchronises with the legacy stream */
    simulated::item_ptr last;
    simulated::capture_ptr capture; /* capture in progress; the next node depends on `tail` */
    std::vector<size_t> tail;
};

struct CUevent_st {
    bool timing;
    simulated::item_ptr record;
    simulated::capture_ptr capture; /* if last recorded in a capture: behind nodes `tail` */
    std::vector<size_t> tail;
};

struct CUgraphNode_st {
    struct simulated::task task;
    std::vector<size_t> needs;                                /* nodes it depends on */
    cudaEvent_t record_event = nullptr, wait_event = nullptr; /* external event nodes */
};

struct CUgraph_st {
    std::deque<CUgraphNode_st> nodes;
};

struct CUgraphExec_st {
    std::deque<CUgraphNode_st> nodes;
    simulated::item_ptr last; /* launches of one executable graph run in order */
};

namespace simulated
{

struct capture {
    std::unique_ptr<CUgraph_st> graph = std::make_unique<CUgraph_st>();
    cudaStreamCaptureMode mode;
    cudaStream_t origin;
    std::thread::id thread = std::this_thread::get_id();
    bool invalid = false, ended = false;
};

struct device_model {
    int major, minor;
    const char *name;
    size_t memory;
    int multiprocessors, threads_per_multiprocessor, blocks_per_multiprocessor;
    size_t shared_memory_optin;
    int l2_bytes, clock_khz, memory_clock_khz, memory_bus_bits;
};

struct state {
    std::recursive_mutex mutex;
    uint64_t random;
    bool eager = false; /* also run work before anything waits for it */
    int burst = 1;      /* how many items in a row the scheduler prefers to take from one stream */
    std::vector<item_ptr> ready;
    const void *lane = nullptr;

    bool running = false; /* running work that may touch device memory */
    bool in_host_function = false;
    const char *work_name = "";
    cudaError_t sticky = cudaSuccess;

    CUstream_st legacy { true, nullptr, nullptr, {} };
    std::vector<cudaStream_t> streams;
    std::vector<capture_ptr> captures; /* in progress */

    std::map<std::pair<const void *, std::string>, uint64_t> handles; /* -> order of creation */
    uint64_t handles_created = 0;
    std::map<std::string, int64_t> calls;
    std::string fail_prefix;
    int64_t fail_at = 0, fail_calls = 0;

    size_t memory_limit, memory_taken = 0;
    size_t memory_later = 0; /* limit after its first query; 0 = unchanged */
    const device_model *model;
    bool no_device = false;

    state();
};

extern state &sim; /* never destroyed: work may be pending at exit */

uint64_t draw(uint64_t below);

/* A random permutation of [0, count): position i holds (first + i * step) mod count. */
struct permutation {
    uint64_t count = 1, first = 0, step = 1;
    permutation() = default;
    explicit permutation(uint64_t count_);
    uint64_t operator()(uint64_t i) const
    {
        return (first + i * step) % count;
    }
};

/* --- Entry points --- */

/* cudaSuccess, or the error with which the call must end. */
cudaError_t enter(const char *name, cudaError_t failure);
cudaError_t leave(cudaError_t status);  /* sets what cudaGetLastError returns */
void device_failed(cudaError_t status); /* sticky: every later call fails with it */
void report_call(const char *name);     /* runtime_report.cpp */
std::vector<std::string> leaks();       /* what was never released, oldest first */

/* Frame of an entry point. `failure` is the error of an injected failure; a launch
 * failure is sticky. */
template <typename Body> cudaError_t api(const char *name, cudaError_t failure, Body body)
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    const cudaError_t status = enter(name, failure);
    return leave(status != cudaSuccess ? status : body());
}

/* The same for calls that release something: they do so even if they must return an error. */
template <typename Body> cudaError_t api_release(const char *name, Body body)
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    const cudaError_t before = enter(name, cudaErrorLaunchFailure);
    const cudaError_t status = body();
    return leave(before != cudaSuccess ? before : status);
}

/* --- Work: runtime_stream.cpp --- */

item_ptr schedule(const struct task &task, const std::vector<item_ptr> &after);
void run_until(const item_ptr &target);
void run_all();
void run_some(); /* possibly none */
/* NULL is the legacy stream; a destroyed stream ends the test */
CUstream_st *stream_of(cudaStream_t stream);
void expect_event(cudaEvent_t event);
/* The items that the stream's next item must follow, besides those it explicitly waits for. */
std::vector<item_ptr> before_next(const CUstream_st *stream);
cudaError_t put(CUstream_st *stream, const struct task &task); /* queue, or record in a capture */

/* --- Capture: runtime_graph.cpp --- */

cudaError_t unsafe_in_capture(); /* error for calls that may synchronise during a capture */
cudaError_t invalidate(capture &c, cudaError_t status);
void unite(std::vector<size_t> &tail, const std::vector<size_t> &more);
cudaError_t capture_task(CUstream_st *stream, const CUgraphNode_st &node);

/* --- Memory: runtime_memory.cpp --- */

void open_device(const void *p, size_t bytes, const char *what);
void check_margins(); /* of the allocations that the last work opened */
void close_device();
void list_memory(std::vector<std::pair<uint64_t, std::string>> &lines);

/* Block and thread of the running kernel, as text; empty if none runs. */
std::string where_in_kernel();

} // namespace simulated

#endif
