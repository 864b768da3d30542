/* Stream capture, and graphs made from captures: launching one schedules its nodes as items with
 * the same dependencies. */
#include "runtime.h"

#include <algorithm>

using namespace simulated;

namespace simulated
{

cudaError_t invalidate(capture &c, cudaError_t status)
{
    c.invalid = true;
    return status;
}

/* cudaMalloc and the like may synchronise, which only a relaxed capture tolerates. */
cudaError_t unsafe_in_capture()
{
    for (const capture_ptr &c : sim.captures) {
        const bool local = c->mode == cudaStreamCaptureModeThreadLocal &&
                           c->thread == std::this_thread::get_id();
        if (local || c->mode == cudaStreamCaptureModeGlobal)
            return invalidate(*c, cudaErrorStreamCaptureUnsupported);
    }
    return cudaSuccess;
}

void unite(std::vector<size_t> &tail, const std::vector<size_t> &more)
{
    for (const size_t node : more)
        if (std::find(tail.begin(), tail.end(), node) == tail.end()) tail.push_back(node);
}

cudaError_t capture_task(CUstream_st *stream, const CUgraphNode_st &node)
{
    if (stream->capture->invalid) return cudaErrorStreamCaptureInvalidated;
    std::deque<CUgraphNode_st> &nodes = stream->capture->graph->nodes;
    nodes.push_back(node);
    nodes.back().task.lane = stream;
    nodes.back().needs = stream->tail;
    stream->tail = { nodes.size() - 1 };
    return cudaSuccess;
}

} // namespace simulated

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode)
{
    return api(__func__, cudaErrorMemoryAllocation, [&] {
        CUstream_st *stream = stream_of(handle);
        if (stream == &sim.legacy) return cudaErrorStreamCaptureUnsupported;
        if (stream->capture) return cudaErrorIllegalState;
        stream->capture = std::make_shared<capture>();
        stream->capture->mode = mode;
        stream->capture->origin = stream;
        stream->tail.clear();
        sim.captures.push_back(stream->capture);
        return cudaSuccess;
    });
}

/* Whether every node precedes the end of the origin stream. */
static bool joined(const std::deque<CUgraphNode_st> &nodes, std::vector<size_t> reached)
{
    for (size_t i = 0; i < reached.size(); i++) {
        const std::vector<size_t> needs = nodes[reached[i]].needs;
        unite(reached, needs);
    }
    return reached.size() == nodes.size();
}

/* Always releases the streams; the graph stays with the capture unless everything went well. */
static cudaError_t end_capture(CUstream_st *stream)
{
    const capture_ptr c = stream->capture;
    if (!c) return cudaErrorIllegalState;
    if (c->origin != stream) return invalidate(*c, cudaErrorStreamCaptureUnmatched);
    if (c->mode != cudaStreamCaptureModeRelaxed && c->thread != std::this_thread::get_id())
        return cudaErrorStreamCaptureWrongThread;
    const bool whole = joined(c->graph->nodes, stream->tail);
    c->ended = true;
    sim.captures.erase(std::find(sim.captures.begin(), sim.captures.end(), c));
    for (CUstream_st *other : sim.streams) {
        if (other->capture != c) continue;
        other->capture = nullptr;
        other->tail.clear();
    }
    if (c->invalid) return cudaErrorStreamCaptureInvalidated;
    return whole ? cudaSuccess : cudaErrorStreamCaptureUnjoined;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t *graph)
{
    const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
    *graph = nullptr;
    const cudaError_t before = enter(__func__, cudaErrorLaunchFailure);
    const capture_ptr c = stream_of(handle)->capture;
    const cudaError_t status = end_capture(stream_of(handle));
    if (before != cudaSuccess || status != cudaSuccess)
        return leave(before != cudaSuccess ? before : status);
    *graph = c->graph.release();
    sim_handle_created(*graph, "graph");
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus *status)
{
    return api(__func__, cudaErrorLaunchFailure, [&] {
        const CUstream_st *stream = stream_of(handle);
        *status = !stream->capture           ? cudaStreamCaptureStatusNone
                  : stream->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                             : cudaStreamCaptureStatusActive;
        return cudaSuccess;
    });
}

static void expect_graph(const void *graph, const char *kind)
{
    if (!sim_handle_alive(graph, kind)) sim_defect("%s %p does not live", kind, graph);
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count)
{
    return api(__func__, cudaErrorInitializationError, [&] {
        expect_graph(graph, "graph");
        for (size_t i = 0; nodes && i < *count; i++)
            nodes[i] = i < graph->nodes.size() ? &graph->nodes[i] : nullptr;
        *count = nodes ? std::min(*count, graph->nodes.size()) : graph->nodes.size();
        return cudaSuccess;
    });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    return api_release(__func__, [&] {
        sim_handle_destroyed(graph, "graph");
        delete graph;
        return cudaSuccess;
    });
}

static cudaError_t instantiate(const char *name, cudaGraphExec_t *executable, cudaGraph_t graph)
{
    return api(name, cudaErrorMemoryAllocation, [&] {
        expect_graph(graph, "graph");
        *executable = new CUgraphExec_st { graph->nodes, nullptr };
        sim_handle_created(*executable, "executable graph");
        return cudaSuccess;
    });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long)
{
    return instantiate(__func__, executable, graph);
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *executable, cudaGraph_t graph,
                                          unsigned long long)
{
    return instantiate(__func__, executable, graph);
}

cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t stream)
{
    return api(__func__, cudaErrorMemoryAllocation, [&] {
        expect_graph(executable, "executable graph");
        stream_of(stream);
        return cudaSuccess;
    });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t handle)
{
    return api(__func__, cudaErrorLaunchFailure, [&] {
        expect_graph(executable, "executable graph");
        CUstream_st *stream = stream_of(handle);
        if (stream->capture) return invalidate(*stream->capture, cudaErrorNotSupported);
        task begin;
        begin.name = "cudaGraphLaunch";
        begin.lane = stream;
        std::vector<item_ptr> before = before_next(stream);
        before.push_back(executable->last);
        std::vector<item_ptr> items = { schedule(begin, before) }; /* node i becomes item i + 1 */
        for (const CUgraphNode_st &node : executable->nodes) {
            std::vector<item_ptr> needs = { items[0] };
            for (const size_t need : node.needs) needs.push_back(items[need + 1]);
            if (node.wait_event) {
                expect_event(node.wait_event);
                needs.push_back(node.wait_event->record);
            }
            items.push_back(schedule(node.task, needs));
            if (node.record_event) {
                expect_event(node.record_event);
                node.record_event->record = items.back();
                node.record_event->capture = nullptr;
            }
        }
        stream->last = executable->last = schedule(begin, items);
        if (sim.eager) run_some();
        return cudaSuccess;
    });
}

/* A launch in progress continues. */
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable)
{
    return api_release(__func__, [&] {
        sim_handle_destroyed(executable, "executable graph");
        delete executable;
        return cudaSuccess;
    });
}
