/* Streams, events, and the scheduler, which runs queued work in an allowed order
 * chosen by the seed. */
#include "runtime.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

using namespace simulated;

namespace simulated
{

static double now_ms()
{
    using namespace std::chrono;
    return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

item_ptr schedule(const task &t, const std::vector<item_ptr> &after)
{
    auto added = std::make_shared<item>();
    added->task = t;
    for (const item_ptr &before : after) {
        if (!before || before->done) continue;
        before->followers.push_back(added);
        added->unmet++;
    }
    if (added->unmet == 0) sim.ready.push_back(added);
    return added;
}

/* Run a piece of work. After a device failure work completes without effect. */
static void run_work(const task &t)
{
    if (!t.work || sim.sticky != cudaSuccess) return;
    if (t.on_host) {
        close_device();
        sim.in_host_function = true;
        t.work(t.argument.get());
        sim.in_host_function = false;
        return;
    }
    sim.work_name = t.name;
    sim.running = true;
    t.work(t.argument.get());
    check_margins();
    sim.running = false;
}

/* Whether it is done. */
static bool advance_joint_work(item &now)
{
    if (sim.sticky != cudaSuccess) return true;
    sim.work_name = now.task.name;
    sim.running = true;
    if (!now.joint) now.joint = now.task.begin();
    const bool done = now.joint->advance();
    check_margins();
    sim.running = false;
    return done;
}

/* Prefers the stream of the last item for a while, so that in some orders others
 * fall far behind. */
static void run_one()
{
    size_t chosen = draw(sim.ready.size());
    if (draw((uint64_t)sim.burst) == 0)
        sim.burst = 1 << 3 * draw(4);
    else
        for (size_t i = 0; i < sim.ready.size(); i++)
            if (sim.ready[i]->task.lane == sim.lane) chosen = i;
    const item_ptr now = sim.ready[chosen];
    sim.lane = now->task.lane;
    if (now->task.begin && !advance_joint_work(*now)) return;
    sim.ready[chosen] = sim.ready.back();
    sim.ready.pop_back();
    if (!now->task.begin) run_work(now->task);
    now->joint.reset();
    now->task.begin = nullptr;
    now->task.argument.reset();
    now->done = true;
    now->done_ms = now_ms();
    for (const item_ptr &follower : now->followers)
        if (--follower->unmet == 0) sim.ready.push_back(follower);
    now->followers.clear();
}

void run_until(const item_ptr &target)
{
    if (!target || target->done) return;
    while (!target->done) run_one();
    while (!sim.ready.empty() && draw(2)) run_one();
    close_device();
}

void run_all()
{
    while (!sim.ready.empty()) run_one();
    close_device();
}

void run_some()
{
    for (uint64_t left = draw(8); left > 0 && !sim.ready.empty(); left--) run_one();
    close_device();
}

CUstream_st *stream_of(cudaStream_t stream)
{
    if (!stream || stream == cudaStreamLegacy) return &sim.legacy;
    if (!sim_handle_alive(stream, "stream")) sim_defect("stream %p does not live", (void *)stream);
    return stream;
}

void expect_event(cudaEvent_t event)
{
    if (!sim_handle_alive(event, "event")) sim_defect("event %p does not live", (void *)event);
}

/* Blocking streams and the legacy stream wait for each other. */
std::vector<item_ptr> before_next(const CUstream_st *stream)
{
    std::vector<item_ptr> before = { stream->last };
    if (stream != &sim.legacy && stream->blocking) before.push_back(sim.legacy.last);
    if (stream == &sim.legacy)
        for (const CUstream_st *other : sim.streams)
            if (other->blocking) before.push_back(other->last);
    return before;
}

static cudaError_t put_after(CUstream_st *stream, task t, const item_ptr &also)
{
    if (stream == &sim.legacy)
        for (CUstream_st *other : sim.streams)
            if (other->blocking && other->capture)
                return invalidate(*other->capture, cudaErrorStreamCaptureImplicit);
    t.lane = stream;
    std::vector<item_ptr> before = before_next(stream);
    before.push_back(also);
    stream->last = schedule(t, before);
    if (sim.eager) run_some();
    return cudaSuccess;
}

cudaError_t put(CUstream_st *stream, const task &t)
{
    if (!stream->capture) return put_after(stream, t, nullptr);
    CUgraphNode_st node;
    node.task = t;
    return capture_task(stream, node);
}

} // namespace simulated

void sim_enqueue(cudaStream_t stream, const char *name, void (*work)(void *), void *argument)
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    task t;
    t.name = name;
    t.work = work;
    t.argument = std::shared_ptr<void>(argument, free);
    leave(put(stream_of(stream), t));
}

/* --- Streams --- */

static cudaError_t create_stream(const char *name, cudaStream_t *stream, unsigned flags)
{
    return api(name, cudaErrorMemoryAllocation, [&] {
        if (flags & ~(unsigned)cudaStreamNonBlocking) return cudaErrorInvalidValue;
        *stream = new CUstream_st { flags != cudaStreamNonBlocking, nullptr, nullptr, {} };
        sim.streams.push_back(*stream);
        sim_handle_created(*stream, "stream");
        return cudaSuccess;
    });
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
    return create_stream(__func__, stream, cudaStreamDefault);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    return create_stream(__func__, stream, flags);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int)
{
    return create_stream(__func__, stream, flags);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    return api(__func__, cudaErrorInitializationError, [&] {
        *least = 0;
        *greatest = -5;
        return cudaSuccess;
    });
}

/* Returns at once; queued work still runs. */
cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    return api_release(__func__, [&] {
        sim_handle_destroyed(stream, "stream");
        if (stream->capture) invalidate(*stream->capture, cudaSuccess);
        sim.streams.erase(std::find(sim.streams.begin(), sim.streams.end(), stream));
        delete stream;
        return cudaSuccess;
    });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle)
{
    return api(__func__, cudaErrorLaunchFailure, [&] {
        CUstream_st *stream = stream_of(handle);
        if (stream->capture) return invalidate(*stream->capture, cudaErrorStreamCaptureUnsupported);
        if (const cudaError_t unsafe = unsafe_in_capture()) return unsafe;
        for (const item_ptr &before : before_next(stream)) run_until(before);
        return sim.sticky;
    });
}

cudaError_t cudaStreamQuery(cudaStream_t handle)
{
    return api(__func__, cudaErrorLaunchFailure, [&] {
        CUstream_st *stream = stream_of(handle);
        if (stream->capture) return invalidate(*stream->capture, cudaErrorStreamCaptureUnsupported);
        if (const cudaError_t unsafe = unsafe_in_capture()) return unsafe;
        run_some();
        for (const item_ptr &before : before_next(stream))
            if (before && !before->done) return cudaErrorNotReady;
        return sim.sticky;
    });
}

cudaError_t cudaDeviceSynchronize(void)
{
    return api(__func__, cudaErrorLaunchFailure, [&] {
        for (const capture_ptr &c : sim.captures)
            return invalidate(*c, cudaErrorStreamCaptureUnsupported);
        run_all();
        return sim.sticky;
    });
}

namespace
{

struct host_call {
    cudaHostFn_t function;
    void *data;
};

void call_host(void *argument)
{
    const host_call *call = (const host_call *)argument;
    call->function(call->data);
}

} // namespace

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *data)
{
    return api(__func__, cudaErrorLaunchFailure, [&] {
        if (!function) return cudaErrorInvalidValue;
        task t;
        t.name = "cudaLaunchHostFunc";
        t.work = call_host;
        t.argument = std::make_shared<host_call>(host_call { function, data });
        t.on_host = true;
        return put(stream_of(stream), t);
    });
}

/* --- Events --- */

static cudaError_t create_event(const char *name, cudaEvent_t *event, unsigned flags)
{
    return api(name, cudaErrorMemoryAllocation, [&] {
        if (flags & ~(unsigned)(cudaEventBlockingSync | cudaEventDisableTiming))
            return cudaErrorInvalidValue;
        *event = new CUevent_st { !(flags & cudaEventDisableTiming), nullptr, nullptr, {} };
        sim_handle_created(*event, "event");
        return cudaSuccess;
    });
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return create_event(__func__, event, cudaEventDefault);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    return create_event(__func__, event, flags);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    return api_release(__func__, [&] {
        sim_handle_destroyed(event, "event");
        delete event;
        return cudaSuccess;
    });
}

static cudaError_t record(const char *name, cudaEvent_t event, cudaStream_t handle, bool external)
{
    return api(name, cudaErrorLaunchFailure, [&] {
        expect_event(event);
        CUstream_st *stream = stream_of(handle);
        task t;
        t.name = "cudaEventRecord";
        if (stream->capture && external) {
            CUgraphNode_st node;
            node.task = t;
            node.record_event = event;
            return capture_task(stream, node);
        }
        if (external) return cudaErrorInvalidValue;
        if (stream->capture) {
            if (stream->capture->invalid) return cudaErrorStreamCaptureInvalidated;
            event->capture = stream->capture;
            event->tail = stream->tail;
            return cudaSuccess;
        }
        const cudaError_t status = put(stream, t);
        if (status != cudaSuccess) return status;
        event->record = stream->last;
        event->capture = nullptr;
        return cudaSuccess;
    });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    return record(__func__, event, stream, false);
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags)
{
    return record(__func__, event, stream, flags == cudaEventRecordExternal);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned flags)
{
    return api(__func__, cudaErrorLaunchFailure, [&] {
        expect_event(event);
        CUstream_st *stream = stream_of(handle);
        const bool external = flags == cudaEventWaitExternal;
        task t;
        t.name = "cudaStreamWaitEvent";
        if (stream->capture && external) {
            CUgraphNode_st node;
            node.task = t;
            node.wait_event = event;
            return capture_task(stream, node);
        }
        if (external) return cudaErrorInvalidValue;
        if (event->capture) { /* the stream joins the capture */
            capture &c = *event->capture;
            if (c.ended) return cudaErrorCapturedEvent;
            if (stream == &sim.legacy) return invalidate(c, cudaErrorStreamCaptureImplicit);
            if (c.invalid) return cudaErrorStreamCaptureInvalidated;
            if (stream->capture && stream->capture != event->capture) {
                invalidate(c, cudaSuccess);
                return invalidate(*stream->capture, cudaErrorStreamCaptureMerge);
            }
            stream->capture = event->capture;
            unite(stream->tail, event->tail);
            return cudaSuccess;
        }
        if (stream->capture) return invalidate(*stream->capture, cudaErrorStreamCaptureIsolation);
        return put_after(stream, t, event->record);
    });
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    return api(__func__, cudaErrorLaunchFailure, [&] {
        expect_event(event);
        if (event->capture) return invalidate(*event->capture, cudaErrorCapturedEvent);
        if (const cudaError_t unsafe = unsafe_in_capture()) return unsafe;
        run_some();
        return event->record && !event->record->done ? cudaErrorNotReady : sim.sticky;
    });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    return api(__func__, cudaErrorLaunchFailure, [&] {
        expect_event(event);
        if (event->capture) return invalidate(*event->capture, cudaErrorCapturedEvent);
        if (const cudaError_t unsafe = unsafe_in_capture()) return unsafe;
        run_until(event->record);
        return sim.sticky;
    });
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
    return api(__func__, cudaErrorLaunchFailure, [&] {
        expect_event(start);
        expect_event(end);
        if (start->capture || end->capture) return cudaErrorCapturedEvent;
        if (!start->timing || !end->timing || !start->record || !end->record)
            return cudaErrorInvalidResourceHandle;
        if (!start->record->done || !end->record->done) return cudaErrorNotReady;
        *ms = (float)std::max(0.0,
                              end->record->done_ms - start->record->done_ms); /* never negative */
        return cudaSuccess;
    });
}
