/* What the files of the simulated runtime share: its state, the frame of an entry point, and work
 * as a graph.
 *
 * The one idea: everything queued is an item that knows how many others it still waits for. Stream
 * order, events, the legacy stream and graphs are nothing but such edges; the scheduler runs any
 * item that waits for none. */
#ifndef MICROMET_TESTS_SIMULATED_RUNTIME_H
#define MICROMET_TESTS_SIMULATED_RUNTIME_H

#include <cstdint>
#include <deque>
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

struct task { /* what to do, be it queued or recorded in a graph */
    const char *name = "";
    work_function work = nullptr; /* none: only a point in the order */
    std::shared_ptr<void> argument;
    bool on_host = false;
    const void *lane = nullptr; /* the stream it was given to */
};

struct item {
    struct task task;
    size_t unmet = 0; /* items that must be done before */
    std::vector<std::shared_ptr<item>> followers;
    bool done = false;
    double done_ms = 0;
};
using item_ptr = std::shared_ptr<item>;

struct capture;
using capture_ptr = std::shared_ptr<capture>;

} // namespace simulated

struct CUstream_st {
    bool blocking; /* in order with the legacy stream */
    simulated::item_ptr last;
    simulated::capture_ptr capture; /* under way: what comes next depends on the nodes `tail` */
    std::vector<size_t> tail;
};

struct CUevent_st {
    bool timing;
    simulated::item_ptr record;
    simulated::capture_ptr capture; /* last recorded in a capture, behind the nodes `tail` */
    std::vector<size_t> tail;
};

struct CUgraphNode_st {
    struct simulated::task task;
    std::vector<size_t> needs;                                /* nodes before it */
    cudaEvent_t record_event = nullptr, wait_event = nullptr; /* external event nodes */
};

struct CUgraph_st {
    std::deque<CUgraphNode_st> nodes;
};

struct CUgraphExec_st {
    std::deque<CUgraphNode_st> nodes;
    simulated::item_ptr last; /* launches of one executable graph follow each other */
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
    bool eager = false; /* work also runs ahead of any wait */
    int burst = 1;      /* items in a row that the scheduler likes to take from one stream */
    std::vector<item_ptr> ready;
    const void *lane = nullptr;

    bool running = false; /* inside of work that may touch device memory */
    bool in_host_function = false;
    const char *work_name = "";
    cudaError_t sticky = cudaSuccess;

    CUstream_st legacy { true, nullptr, nullptr, {} };
    std::vector<cudaStream_t> streams;
    std::vector<capture_ptr> captures; /* those under way */

    std::map<std::pair<const void *, std::string>, uint64_t> handles; /* to when it was created */
    uint64_t handles_created = 0;
    std::map<std::string, int64_t> calls;
    std::string fail_prefix;
    int64_t fail_at = 0, fail_calls = 0;

    size_t memory_limit, memory_taken = 0;
    size_t memory_later = 0; /* the limit once the program has asked for it; 0 = the same */
    const device_model *model;
    bool no_device = false;

    state();
};

extern state &sim; /* never destroyed: work may be left over at exit */

uint64_t draw(uint64_t below);

/* A random order of [0, count): position i holds (first + i * step) mod count. */
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

/* Success, or why the call cannot go on. */
cudaError_t enter(const char *name, cudaError_t failure);
cudaError_t leave(cudaError_t status);  /* what cudaGetLastError will say */
void device_failed(cudaError_t status); /* sticky: every later call says so */
void report_call(const char *name);     /* runtime_report.cpp */
std::vector<std::string> leaks();       /* what was never given back, oldest first */

/* The frame of an entry point. An injected failure is `failure`; a launch failure is sticky. */
template <typename Body> cudaError_t api(const char *name, cudaError_t failure, Body body)
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    const cudaError_t status = enter(name, failure);
    return leave(status != cudaSuccess ? status : body());
}

/* The same for what gives something back: it does so even if it must report an error. */
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
void run_some();                             /* or nothing */
CUstream_st *stream_of(cudaStream_t stream); /* NULL is the legacy one; a dead one ends the test */
void expect_event(cudaEvent_t event);
/* What the next item of the stream must follow, besides what it waits for. */
std::vector<item_ptr> before_next(const CUstream_st *stream);
cudaError_t put(CUstream_st *stream, const struct task &task); /* queue or capture */

/* --- Capture: runtime_graph.cpp --- */

cudaError_t unsafe_in_capture(); /* for calls that might synchronise */
cudaError_t invalidate(capture &c, cudaError_t status);
void unite(std::vector<size_t> &tail, const std::vector<size_t> &more);
cudaError_t capture_task(CUstream_st *stream, const CUgraphNode_st &node);

/* --- Memory: runtime_memory.cpp --- */

void open_device(const void *p, size_t bytes, const char *what);
void check_margins(); /* around what the work just done had open */
void close_device();
void list_memory(std::vector<std::pair<uint64_t, std::string>> &lines);

/* In which block and thread, if a kernel is running. */
std::string where_in_kernel();

} // namespace simulated

#endif
