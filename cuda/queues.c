/* Queues as CUDA streams. A ticket is the number of an event in a ring. Events are reused, so
 * waiting for an old ticket may wait for a newer one of the same queue, but never for less.
 *
 * A recording is a graph capture of all queues' streams but that for copies, forked from queue 0
 * and joined into it; inside the capture, fences and waits work as outside. Times are measured by
 * events relative to an anchor, an event whose time on the host's clock is known. The marks of a
 * recording get new times at each replay. */
#include "queues.h"

#include <stdlib.h>
#include <unistd.h>

#include "communicator.h"
#include "micromet/base/thread.h"
#include "nvtx.h"

enum { TICKETS = 64 };

/* Elapsed times are floats in ms: relative to an anchor no older than this, they are
 * precise to a microsecond. */
static const double anchor_age_s_max = 8;

struct ticket_ring {
    uint64_t issued;           /* newest ticket */
    uint64_t passed;           /* newest that the host knows to have passed */
    uint64_t before_recording; /* value of issued when the recording began */
    /* By ticket % TICKETS; captured: those within recordings. */
    cudaEvent_t events[TICKETS], captured[TICKETS];
};

struct mark {
    cudaEvent_t event;
    double *when_s;
};

struct marks {
    struct mark *items;
    int count, capacity;
};

struct recording {
    cudaGraphExec_t graph;
    struct marks marks;
    cudaEvent_t done; /* recorded after the last replay */
    bool under_way;   /* replayed, but marks not yet resolved */
    /* Tickets older than the recording that each replay waits for. */
    uint64_t awaited[CUDA_QUEUES_MAX];
    struct recording *next;
};

struct cuda_queues {
    int streams; /* the copy queue's is the last */
    struct ticket_ring rings[CUDA_QUEUES_MAX];
    struct marks marks;          /* those outside recordings */
    struct marks spare;          /* events of resolved marks, to be reused */
    struct recording *recording; /* in progress */
    struct recording *recordings;
    cudaStream_t clock; /* always idle, so that an event on it completes at once */
    cudaEvent_t anchor;
    double anchor_s; /* time of the anchor; 0 = none yet */
};

static struct cuda_backend *self(struct backend *backend)
{
    return (struct cuda_backend *)backend;
}

/* --- streams ---------------------------------------------------------------------------------- */

/* What is exchanged goes before what is computed, which has more to do: the sooner it leaves, the
 * more of its way is hidden. */
static bool create_stream(struct cuda_backend *backend, int queue, struct error *err)
{
    cudaStream_t *stream = &backend->streams[queue];
    int least, greatest;
    if (!backend->communicator || queue != backend->base.facts.exchange_queue)
        return CUDA_OK(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking), err);
    return CUDA_OK(cudaDeviceGetStreamPriorityRange(&least, &greatest), err) &&
           CUDA_OK(cudaStreamCreateWithPriority(stream, cudaStreamNonBlocking, greatest), err);
}

bool queues_init(struct cuda_backend *backend, struct error *err)
{
    const int count = backend->base.facts.copy_queue;
    struct cuda_queues *queues = backend->queues = calloc(1, sizeof *queues);
    if (!queues) return error_set(err, EXIT_CODE_FAILED, "out of memory for queues");
    for (int q = 0; q <= count; q++, queues->streams++)
        if (!create_stream(backend, q, err)) return false;
    return CUDA_OK(cudaStreamCreateWithFlags(&queues->clock, cudaStreamNonBlocking), err) &&
           CUDA_OK(cudaEventCreate(&queues->anchor), err);
}

static void marks_release(struct marks *marks)
{
    for (int i = 0; i < marks->count; i++)
        if (marks->items[i].event) CUDA_RELEASE(cudaEventDestroy(marks->items[i].event));
    free(marks->items);
    *marks = (struct marks) { 0 };
}

static void recording_free(struct recording *recording)
{
    if (recording->graph) CUDA_RELEASE(cudaGraphExecDestroy(recording->graph));
    if (recording->done) CUDA_RELEASE(cudaEventDestroy(recording->done));
    marks_release(&recording->marks);
    free(recording);
}

void queues_release(struct cuda_backend *backend)
{
    struct cuda_queues *queues = backend->queues;
    if (!queues) return;
    CUDA_RELEASE(cudaDeviceSynchronize());
    if (queues->recording) recording_free(queues->recording);
    while (queues->recordings) queues_recording_release(&backend->base, queues->recordings);
    marks_release(&queues->marks);
    marks_release(&queues->spare);
    for (int q = 0; q < queues->streams; q++) {
        for (int i = 0; i < TICKETS; i++) {
            struct ticket_ring *ring = &queues->rings[q];
            if (ring->events[i]) CUDA_RELEASE(cudaEventDestroy(ring->events[i]));
            if (ring->captured[i]) CUDA_RELEASE(cudaEventDestroy(ring->captured[i]));
        }
        CUDA_RELEASE(cudaStreamDestroy(backend->streams[q]));
    }
    if (queues->anchor) CUDA_RELEASE(cudaEventDestroy(queues->anchor));
    if (queues->clock) CUDA_RELEASE(cudaStreamDestroy(queues->clock));
    free(queues);
    backend->queues = NULL;
}

bool queue_copy(struct backend *base, int queue, void *to, const void *from, size_t bytes,
                struct error *err)
{
    nvtx_push("copy");
    const cudaStream_t stream = self(base)->streams[queue];
    const bool ok = CUDA_OK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream), err);
    nvtx_pop();
    return ok;
}

bool queue_zero(struct backend *base, int queue, void *to, size_t bytes, struct error *err)
{
    return CUDA_OK(cudaMemsetAsync(to, 0, bytes, self(base)->streams[queue]), err);
}

/* --- tickets ---------------------------------------------------------------------------------- */

/* Recordings do not include the copy queue, which goes on working, but that of the exchange. */
static bool is_recorded(const struct cuda_backend *backend, int queue)
{
    return backend->queues->recording && queue < backend->base.facts.copy_queue;
}

bool queue_fence(struct backend *base, int queue, uint64_t *ticket, struct error *err)
{
    struct cuda_backend *backend = self(base);
    struct ticket_ring *ring = &backend->queues->rings[queue];
    const uint64_t next = ring->issued + 1;
    cudaEvent_t *events = is_recorded(backend, queue) ? ring->captured : ring->events;
    cudaEvent_t *event = &events[next % TICKETS];
    const unsigned flags = cudaEventDisableTiming | cudaEventBlockingSync;
    if (!*event && !CUDA_OK(cudaEventCreateWithFlags(event, flags), err)) return false;
    if (!CUDA_OK(cudaEventRecord(*event, backend->streams[queue]), err)) return false;
    *ticket = ring->issued = next;
    return true;
}

bool queue_wait(struct backend *base, int queue, int other, uint64_t ticket, struct error *err)
{
    struct cuda_backend *backend = self(base);
    struct recording *recording = backend->queues->recording;
    const struct ticket_ring *ring = &backend->queues->rings[other];
    const bool inside = is_recorded(backend, other) && ticket > ring->before_recording;
    if (queue == other) return true;
    if (inside && !is_recorded(backend, queue))
        return error_set(err, EXIT_CODE_FAILED, "the copy queue cannot wait for a recording");
    if (!inside && is_recorded(backend, queue)) {
        if (ticket > recording->awaited[other]) recording->awaited[other] = ticket;
        return true;
    }
    if (!inside && ticket <= ring->passed) return true;
    const cudaEvent_t event = (inside ? ring->captured : ring->events)[ticket % TICKETS];
    return !event || CUDA_OK(cudaStreamWaitEvent(backend->streams[queue], event, 0), err);
}

/* --- marks ------------------------------------------------------------------------------------ */

static bool marks_add(struct marks *marks, struct mark mark, struct error *err)
{
    if (marks->count == marks->capacity) {
        const int capacity = marks->capacity ? 2 * marks->capacity : 64;
        struct mark *grown = realloc(marks->items, (size_t)capacity * sizeof *grown);
        if (!grown) return error_set(err, EXIT_CODE_FAILED, "out of memory for marks");
        marks->items = grown;
        marks->capacity = capacity;
    }
    marks->items[marks->count++] = mark;
    return true;
}

static bool timing_event(struct cuda_queues *queues, cudaEvent_t *event, struct error *err)
{
    struct marks *spare = &queues->spare;
    if (spare->count == 0) return CUDA_OK(cudaEventCreate(event), err);
    *event = spare->items[--spare->count].event;
    return true;
}

bool queue_mark(struct backend *base, int queue, double *when_s, struct error *err)
{
    struct cuda_backend *backend = self(base);
    struct cuda_queues *queues = backend->queues;
    const bool recorded = is_recorded(backend, queue);
    const unsigned flags = recorded ? cudaEventRecordExternal : cudaEventRecordDefault;
    struct marks *marks = recorded ? &queues->recording->marks : &queues->marks;
    struct mark mark = { .when_s = when_s };
    if (!timing_event(queues, &mark.event, err)) return false;
    if (CUDA_OK(cudaEventRecordWithFlags(mark.event, backend->streams[queue], flags), err) &&
        marks_add(marks, mark, err))
        return true;
    CUDA_RELEASE(cudaEventDestroy(mark.event));
    return false;
}

static bool renew_anchor(struct cuda_queues *queues, struct error *err)
{
    if (queues->anchor_s > 0 && clock_seconds() - queues->anchor_s < anchor_age_s_max) return true;
    if (!CUDA_OK(cudaEventRecord(queues->anchor, queues->clock), err) ||
        !CUDA_OK(cudaEventSynchronize(queues->anchor), err))
        return false;
    queues->anchor_s = clock_seconds();
    return true;
}

static bool resolve(const struct cuda_queues *queues, const struct mark *mark, struct error *err)
{
    float ms, before_ms = 0;
    if (!CUDA_OK(cudaEventElapsedTime(&ms, queues->anchor, mark->event), err)) return false;
    /* A mark may be older than the anchor, and CUDA does not document negative elapsed times. */
    if (ms <= 0 && !CUDA_OK(cudaEventElapsedTime(&before_ms, mark->event, queues->anchor), err))
        return false;
    *mark->when_s = queues->anchor_s + 1e-3 * (double)(ms > 0 ? ms : -before_ms);
    return true;
}

static bool came_to_pass(cudaEvent_t event, bool *passed, struct error *err)
{
    const cudaError_t status = cudaEventQuery(event);
    *passed = status == cudaSuccess;
    if (status != cudaErrorNotReady)
        return cuda_check(status, "cudaEventQuery(event)", __FILE__, __LINE__, err);
    cudaGetLastError(); /* no failure, but kept as CUDA's last error */
    return true;
}

static bool resolve_plain(struct cuda_queues *queues, struct error *err)
{
    struct marks *marks = &queues->marks;
    for (int i = marks->count - 1; i >= 0; i--) {
        const struct mark mark = marks->items[i];
        bool passed;
        if (!came_to_pass(mark.event, &passed, err)) return false;
        if (!passed) continue;
        if (!resolve(queues, &mark, err) || !marks_add(&queues->spare, mark, err)) return false;
        marks->items[i] = marks->items[--marks->count];
    }
    return true;
}

static bool resolve_recorded(struct cuda_queues *queues, struct error *err)
{
    for (struct recording *r = queues->recordings; r; r = r->next) {
        bool passed = false;
        if (!r->under_way) continue;
        if (!came_to_pass(r->done, &passed, err)) return false;
        if (!passed) continue;
        for (int i = 0; i < r->marks.count; i++)
            if (!resolve(queues, &r->marks.items[i], err)) return false;
        r->under_way = false;
    }
    return true;
}

/* Write the times of all marks that the device has passed. */
static bool resolve_marks(struct cuda_queues *queues, struct error *err)
{
    return renew_anchor(queues, err) && resolve_plain(queues, err) && resolve_recorded(queues, err);
}

/* --- waiting on the host ---------------------------------------------------------------------- */

/* Until the device has passed the event or, without one, all that is on the stream. Where that may
 * take other ranks, the host looks after them meanwhile. */
static bool settle(struct cuda_backend *backend, cudaEvent_t event, cudaStream_t stream,
                   struct error *err)
{
    enum { PAUSE_US = 50 };
    if (!backend->communicator)
        return event ? CUDA_OK(cudaEventSynchronize(event), err)
                     : CUDA_OK(cudaStreamSynchronize(stream), err);
    for (const double since_s = clock_seconds();; usleep(PAUSE_US)) {
        const cudaError_t status = event ? cudaEventQuery(event) : cudaStreamQuery(stream);
        if (status != cudaErrorNotReady)
            return cuda_check(status, "waiting for the device", __FILE__, __LINE__, err);
        cudaGetLastError(); /* no failure, but kept as CUDA's last error */
        if (!communicator_watch(backend, since_s, err)) return false;
    }
}

bool queue_await(struct backend *base, int queue, uint64_t ticket, struct error *err)
{
    struct cuda_backend *backend = self(base);
    struct cuda_queues *queues = backend->queues;
    struct ticket_ring *ring = &queues->rings[queue];
    const cudaEvent_t event = ring->events[ticket % TICKETS];
    if (event && !settle(backend, event, NULL, err)) return false;
    if (ticket > ring->passed) ring->passed = ticket;
    return resolve_marks(queues, err);
}

bool queues_synchronize(struct backend *base, struct error *err)
{
    struct cuda_backend *backend = self(base);
    struct cuda_queues *queues = backend->queues;
    for (int q = 0; q < queues->streams; q++) {
        if (!settle(backend, NULL, backend->streams[q], err)) return false;
        queues->rings[q].passed = queues->rings[q].issued;
    }
    return resolve_marks(queues, err);
}

/* --- recordings ------------------------------------------------------------------------------- */

/* Fork: all other queues wait for queue 0. Join: queue 0 waits for all others. */
static bool fork_from_first(struct backend *base, struct error *err)
{
    uint64_t ticket;
    if (!queue_fence(base, 0, &ticket, err)) return false;
    for (int q = 1; q < base->facts.copy_queue; q++)
        if (!queue_wait(base, q, 0, ticket, err)) return false;
    return true;
}

static bool join_into_first(struct backend *base, struct error *err)
{
    for (int q = 1; q < base->facts.copy_queue; q++) {
        uint64_t ticket;
        if (!queue_fence(base, q, &ticket, err) || !queue_wait(base, 0, q, ticket, err))
            return false;
    }
    return true;
}

bool queues_have_recordings(const struct cuda_backend *backend)
{
    return backend->queues->recordings != NULL;
}

bool queues_record_begin(struct backend *base, struct error *err)
{
    struct cuda_backend *backend = self(base);
    struct cuda_queues *queues = backend->queues;
    CHECK(!queues->recording);
    struct recording *recording = calloc(1, sizeof *recording);
    if (!recording) return error_set(err, EXIT_CODE_FAILED, "out of memory for a recording");
    if (!CUDA_OK(cudaEventCreateWithFlags(&recording->done, cudaEventDisableTiming), err) ||
        !CUDA_OK(cudaStreamBeginCapture(backend->streams[0], cudaStreamCaptureModeThreadLocal),
                 err)) {
        recording_free(recording);
        return false;
    }
    for (int q = 0; q < base->facts.copy_queue; q++)
        queues->rings[q].before_recording = queues->rings[q].issued;
    queues->recording = recording;
    if (fork_from_first(base, err)) return true;
    struct recording *part;
    queues_record_end(base, &part, err); /* may succeed */
    queues_recording_release(base, part);
    return false;
}

bool queues_record_end(struct backend *base, struct recording **out, struct error *err)
{
    struct cuda_backend *backend = self(base);
    struct cuda_queues *queues = backend->queues;
    struct recording *recording = queues->recording;
    CHECK(recording);
    *out = NULL;
    cudaGraph_t graph = NULL;
    bool ok = join_into_first(base, err);
    queues->recording = NULL;
    ok = CUDA_OK(cudaStreamEndCapture(backend->streams[0], &graph), err) && ok;
    ok = ok && CUDA_OK(cudaGraphInstantiate(&recording->graph, graph, 0), err);
    if (graph) CUDA_RELEASE(cudaGraphDestroy(graph));
    if (!ok) {
        recording_free(recording);
        return false;
    }
    recording->next = queues->recordings;
    queues->recordings = *out = recording;
    return true;
}

bool queues_replay(struct backend *base, struct recording *recording, struct error *err)
{
    struct cuda_backend *backend = self(base);
    const cudaStream_t first = backend->streams[0];
    for (int q = 0; q < backend->queues->streams; q++)
        if (!queue_wait(base, 0, q, recording->awaited[q], err)) return false;
    nvtx_push("replay");
    const bool ok = join_into_first(base, err) &&
                    CUDA_OK(cudaGraphLaunch(recording->graph, first), err) &&
                    CUDA_OK(cudaEventRecord(recording->done, first), err) &&
                    fork_from_first(base, err);
    nvtx_pop();
    recording->under_way = ok && recording->marks.count > 0;
    return ok;
}

void queues_recording_release(struct backend *base, struct recording *recording)
{
    if (!recording) return;
    struct recording **link = &self(base)->queues->recordings;
    while (*link != recording) link = &(*link)->next;
    *link = recording->next;
    CUDA_RELEASE(cudaDeviceSynchronize());
    recording_free(recording);
}
