/* The CPU backend: memory, queues, and the table of planners. The kernels are in the other files of
 * this folder. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "dnnl_api.h"
#include "isa.h"
#include "micromet/base/size.h"
#include "micromet/base/thread.h"
#include "plan.h"
#include "queue.h"

enum { QUEUES_MAX = TOWERS_MAX + 1 }; /* the last exchanges with other ranks */

/* Two images of the stem at 80 px: what they leave in the second-level cache outweighs the weights
 * read again. */
static const int64_t stem_chunk_bytes = 900 << 10;

struct cpu_backend {
    struct backend base; /* first: a struct backend * is cast to this */
    const struct isa *isa;
    struct world *world; /* NULL = one rank */
    struct queue queues[QUEUES_MAX];
    int queue_count;
};

static struct cpu_backend *self(struct backend *backend)
{
    return (struct cpu_backend *)backend;
}

static bool backend_alloc(struct backend *backend, size_t bytes, void **memory, struct error *err)
{
    (void)backend;
    return cpu_alloc(bytes, memory, err);
}

static void backend_free(struct backend *backend, void *memory)
{
    (void)backend;
    free(memory);
}

static bool backend_copy(struct backend *backend, int queue, void *to, const void *from,
                         size_t bytes, struct error *err)
{
    (void)err;
    const struct job job = { .kind = JOB_COPY, .to = to, .from = from, .bytes = bytes };
    queue_submit(&self(backend)->queues[queue], &job);
    return true;
}

static bool backend_zero(struct backend *backend, int queue, void *to, size_t bytes,
                         struct error *err)
{
    (void)err;
    const struct job job = { .kind = JOB_ZERO, .to = to, .bytes = bytes };
    queue_submit(&self(backend)->queues[queue], &job);
    return true;
}

static bool backend_fence(struct backend *backend, int queue, uint64_t *ticket, struct error *err)
{
    (void)err;
    *ticket = queue_submitted(&self(backend)->queues[queue]);
    return true;
}

static bool backend_wait(struct backend *backend, int queue, int other, uint64_t ticket,
                         struct error *err)
{
    (void)err;
    if (queue == other) return true;
    const struct job job = { .kind = JOB_WAIT,
                             .other = &self(backend)->queues[other],
                             .ticket = ticket };
    queue_submit(&self(backend)->queues[queue], &job);
    return true;
}

static bool no_queue_failed(struct backend *backend, struct error *err)
{
    for (int q = 0; q < self(backend)->queue_count; q++) {
        const struct error error = queue_error(&self(backend)->queues[q]);
        if (error.code != EXIT_CODE_OK) return error_set(err, error.code, "%s", error.message);
    }
    return true;
}

static bool backend_await(struct backend *backend, int queue, uint64_t ticket, struct error *err)
{
    queue_await(&self(backend)->queues[queue], ticket);
    return no_queue_failed(backend, err);
}

static bool backend_mark(struct backend *backend, int queue, double *when_s, struct error *err)
{
    (void)err;
    const struct job job = { .kind = JOB_MARK, .when_s = when_s };
    queue_submit(&self(backend)->queues[queue], &job);
    return true;
}

static bool backend_synchronize(struct backend *backend, struct error *err)
{
    for (int q = 0; q < self(backend)->queue_count; q++) {
        struct queue *queue = &self(backend)->queues[q];
        queue_await(queue, queue_submitted(queue));
    }
    return no_queue_failed(backend, err);
}

static bool (*const planners[OP_KIND_COUNT])(struct plan *, struct error *) = {
    [OP_CONVOLUTION] = plan_convolution,
    [OP_CONVOLUTION_BACKWARD_DATA] = plan_convolution,
    [OP_CONVOLUTION_BACKWARD_FILTER] = plan_convolution,
    [OP_BATCH_NORM] = plan_batch_norm,
    [OP_BATCH_NORM_BACKWARD] = plan_batch_norm,
    [OP_POOL] = plan_pool,
    [OP_POOL_BACKWARD] = plan_pool,
    [OP_RELU_BACKWARD] = plan_pointwise,
    [OP_DROPOUT] = plan_pointwise,
    [OP_LOSS] = plan_pointwise,
    [OP_AUGMENT] = plan_augment,
    [OP_OPTIMIZER] = plan_optimizer,
    [OP_SUM] = plan_pointwise,
    [OP_AVERAGE] = plan_pointwise,
    [OP_ALL_REDUCE] = plan_all_reduce,
};

/* What op_check() accepts but this backend does not support. */
static bool backend_takes(const struct op *op, struct error *err)
{
    if (op->x.c > ROW_CHANNELS_MAX || op->y.c > ROW_CHANNELS_MAX)
        return op_refuse(op, err, "the CPU backend takes no more than %d channels",
                         ROW_CHANNELS_MAX);
    if (op_is_convolution(op) && op_weight_channels(op) != op->x.c)
        return op_refuse(op, err, "the CPU backend takes no input padded with channels");
    return true;
}

static bool backend_plan(struct backend *backend, const struct op *op, struct plan **out,
                         struct error *err)
{
    *out = NULL;
    CHECK(op->queue >= 0 && op->queue < self(backend)->queue_count);
    if (!op_check(op, err) || !backend_takes(op, err)) return false;
    struct plan *plan = calloc(1, sizeof *plan);
    if (!plan) return error_set(err, EXIT_CODE_FAILED, "out of memory for a plan");
    plan->backend = self(backend);
    plan->queue = &self(backend)->queues[op->queue];
    plan->isa = self(backend)->isa;
    plan->world = self(backend)->world;
    plan->op = *op;
    omp_set_num_threads(self(backend)->queues[op->queue].threads); /* oneDNN plans for this many */
    if (!planners[op->kind](plan, err)) {
        free(plan);
        return false;
    }
    *out = plan;
    return true;
}

static bool backend_run(struct plan *plan, const struct op_buffers *buffers, struct error *err)
{
    (void)err;
    const struct job job = { .kind = JOB_RUN, .plan = plan, .buffers = *buffers };
    queue_submit(&plan->backend->queues[plan->op.queue], &job);
    return true;
}

/* By the queue's own thread: another one would start a second OpenMP team. */
static bool backend_plan_load(struct plan *plan, const float *weights, struct error *err)
{
    CHECK(plan->load);
    const struct job job = { .kind = JOB_LOAD, .plan = plan, .from = weights };
    queue_submit(&plan->backend->queues[plan->op.queue], &job);
    return backend_synchronize(&plan->backend->base, err);
}

static size_t backend_plan_bytes(const struct plan *plan)
{
    return plan->bytes;
}

static void backend_plan_release(struct plan *plan)
{
    if (!plan) return;
    if (plan->release) plan->release(plan->detail);
    free(plan);
}

static void backend_close_cpu(struct backend *backend)
{
    for (int q = 0; q < self(backend)->queue_count; q++) queue_release(&self(backend)->queues[q]);
    free(backend);
}

static const struct backend_ops cpu_ops = {
    .alloc = backend_alloc,
    .alloc_host = backend_alloc,
    .free = backend_free,
    .free_host = backend_free,
    .copy = backend_copy,
    .zero = backend_zero,
    .fence = backend_fence,
    .wait = backend_wait,
    .await = backend_await,
    .mark = backend_mark,
    .synchronize = backend_synchronize,
    .plan = backend_plan,
    .run = backend_run,
    .plan_load = backend_plan_load,
    .plan_bytes = backend_plan_bytes,
    .plan_release = backend_plan_release,
    .close = backend_close_cpu,
};

struct isa_name {
    dnnl_cpu_isa_t isa;
    const char *name;
    bool bf16;
};

/* Best first. oneDNN's values are sets of bits, a better instruction set containing the lesser. */
static const struct isa_name isa_names[] = {
    { dnnl_cpu_isa_avx512_core_amx, "AMX", true },
    { dnnl_cpu_isa_avx512_core_bf16, "AVX-512 BF16", true },
    { dnnl_cpu_isa_avx512_core_vnni, "AVX-512 VNNI", false },
    { dnnl_cpu_isa_avx512_core, "AVX-512", false },
    { dnnl_cpu_isa_avx2_vnni, "AVX2 VNNI", false },
    { dnnl_cpu_isa_avx2, "AVX2", false },
    { dnnl_cpu_isa_avx, "AVX", false },
    { dnnl_cpu_isa_sse41, "SSE4.1", false },
};

static const struct isa_name *isa_name(void)
{
    static const struct isa_name unknown = { 0, "no vector extension", false };
    const dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    for (size_t i = 0; i < COUNT_OF(isa_names); i++)
        if (((unsigned)isa & (unsigned)isa_names[i].isa) == (unsigned)isa_names[i].isa)
            return &isa_names[i];
    return &unknown;
}

static bool add_queue(struct cpu_backend *backend, int threads, struct error *err)
{
    return queue_init(&backend->queues[backend->queue_count], threads, err) &&
           ++backend->queue_count > 0;
}

/* The processors of this host are shared with its other ranks. */
static int threads_of(const struct config_compute *compute, const struct world *world)
{
    if (compute->threads > 0) return compute->threads;
    const int share = thread_count_default() / world_local_size(world);
    return share > 0 ? share : 1;
}

static void set_facts(struct cpu_backend *backend, int threads, struct world *world)
{
    const dnnl_version_t *version = dnnl_version();
    struct backend_facts *facts = &backend->base.facts;
    facts->threads = threads;
    facts->input_channels = 3;
    facts->memory_bytes = (size_t)memory_limit_bytes() / (size_t)world_local_size(world);
    facts->chunk_bytes = stem_chunk_bytes;
    facts->native_bf16 = isa_name()->bf16;
    facts->rank = world_rank(world);
    facts->ranks = world_size(world);
    snprintf(facts->name, sizeof facts->name, "cpu");
    snprintf(facts->description, sizeof facts->description, "oneDNN %d.%d.%d %s, own kernels %s",
             version->major, version->minor, version->patch, isa_name()->name, backend->isa->name);
}

bool cpu_backend_open(const struct config_compute *compute, int queues, struct world *world,
                      struct backend **out, struct error *err)
{
    CHECK(queues >= 1 && queues < QUEUES_MAX);
    *out = NULL;
    const struct isa *isa = isa_chosen(err);
    if (!isa) return false;
    struct cpu_backend *backend = calloc(1, sizeof *backend);
    if (!backend) return error_set(err, EXIT_CODE_FAILED, "out of memory for the backend");
    const int threads = threads_of(compute, world);
    if (queues > threads) queues = threads;
    struct backend_facts *facts = &backend->base.facts;
    backend->base.ops = &cpu_ops;
    backend->isa = isa;
    backend->world = world;
    set_facts(backend, threads, world);
    for (; facts->queues < queues; facts->queues++)
        if (!add_queue(backend, threads / queues + (facts->queues < threads % queues), err))
            goto fail;
    if (facts->ranks > 1) {
        facts->exchange_queue = backend->queue_count;
        if (!add_queue(backend, 1, err)) goto fail;
    }
    *out = &backend->base;
    return true;
fail:
    backend_close_cpu(&backend->base);
    return false;
}
