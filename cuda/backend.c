/* The CUDA backend: opens a device, and plans and runs ops on it. Memory, queues, weights and the
 * planners are in other files. */
#include <stdio.h>
#include <stdlib.h>

#include "communicator.h"
#include "cuda_backend.h"
#include "memory.h"
#include "micromet/base/log.h"
#include "micromet/base/thread.h"
#include "nvtx.h"
#include "plan_cache.h"
#include "queues.h"

enum { CAPABILITY_MIN = 80 }; /* the first with TF32 and BF16 */

const char cuda_backend_version[] = MICROMET_VERSION " " MICROMET_GIT;

static struct cuda_backend *self(struct backend *backend)
{
    return (struct cuda_backend *)backend;
}

/* Names of ranges for a profiler, by kind of op. */
static const char *const ranges[OP_KIND_COUNT] = {
    [OP_CONVOLUTION] = "forward",
    [OP_CONVOLUTION_BACKWARD_DATA] = "backward",
    [OP_CONVOLUTION_BACKWARD_FILTER] = "backward",
    [OP_BATCH_NORM] = "forward",
    [OP_BATCH_NORM_BACKWARD] = "backward",
    [OP_POOL] = "forward",
    [OP_POOL_BACKWARD] = "backward",
    [OP_RELU_BACKWARD] = "backward",
    [OP_DROPOUT] = "dropout",
    [OP_LOSS] = "loss",
    [OP_AUGMENT] = "augment",
    [OP_OPTIMIZER] = "update",
    [OP_SUM] = "exchange",
    [OP_AVERAGE] = "update",
    [OP_ALL_REDUCE] = "exchange",
};

static void plan_release(struct plan *plan)
{
    if (!plan) return;
    CUDA_RELEASE(cudaDeviceSynchronize()); /* it may still be running */
    if (plan->release) plan->release(plan->detail);
    weights_release(plan);
    plan->backend->plan_bytes -= plan->bytes;
    free(plan);
}

static bool backend_plan(struct backend *base, const struct op *op, struct plan **out,
                         struct error *err)
{
    *out = NULL;
    CHECK(op->queue >= 0 && op->queue < base->facts.copy_queue);
    if (!op_check(op, err)) return false;
    struct plan *plan = calloc(1, sizeof *plan);
    if (!plan) return error_set(err, EXIT_CODE_FAILED, "out of memory for a plan");
    plan->backend = self(base);
    plan->op = *op;
    const bool planned = op->kind == OP_ALL_REDUCE ? cuda_plan_exchange(plan, err)
                         : !op_is_convolution(op)  ? cuda_plan_kernel(plan, err)
                         : op_is_dense(op)         ? cuda_plan_dense(plan, err)
                                                   : cuda_plan_convolution(plan, err);
    if (!planned) {
        weights_release(plan);
        free(plan);
        return false;
    }
    plan->backend->plan_bytes += plan->bytes;
    *out = plan;
    return true;
}

static bool backend_run(struct plan *plan, const struct op_buffers *buffers, struct error *err)
{
    nvtx_push(ranges[plan->op.kind]);
    const bool ok = plan->run(plan, buffers, err);
    nvtx_pop();
    return ok;
}

static size_t plan_bytes(const struct plan *plan)
{
    return plan->bytes;
}

static void close_backend(struct backend *base)
{
    struct cuda_backend *backend = self(base);
    queues_release(backend);
    communicator_release(backend);
    plan_cache_close(backend->plan_cache);
    for (int q = 0; q < base->facts.queues; q++)
        if (backend->cudnn[q]) CUDNN_RELEASE(cudnnDestroy(backend->cudnn[q]));
    if (backend->cublas) CUBLAS_RELEASE(cublasLtDestroy(backend->cublas));
    memory_release(backend);
    free(backend);
}

static const struct backend_ops cuda_ops = {
    .alloc = memory_alloc,
    .alloc_host = memory_alloc_host,
    .exhausted_memory_bytes = exhausted_memory_bytes,
    .free = memory_free,
    .free_host = memory_free_host,
    .copy = queue_copy,
    .zero = queue_zero,
    .fence = queue_fence,
    .wait = queue_wait,
    .await = queue_await,
    .mark = queue_mark,
    .synchronize = queues_synchronize,
    .plan = backend_plan,
    .run = backend_run,
    .record_begin = queues_record_begin,
    .record_end = queues_record_end,
    .replay = queues_replay,
    .recording_release = queues_recording_release,
    .plan_load = weights_load,
    .planner = cuda_backend_planner,
    .plan_bytes = plan_bytes,
    .plan_release = plan_release,
    .close = close_backend,
    .range_push = nvtx_push,
    .range_pop = nvtx_pop,
};

static bool old_driver(struct error *err)
{
    int version = 0;
    cudaDriverGetVersion(&version); /* version of CUDA; 0 = no driver */
    if (version == 0)
        return error_set(err, EXIT_CODE_USAGE,
                         "there is no NVIDIA driver (cudaErrorInsufficientDriver): install it");
    return error_set(err, EXIT_CODE_USAGE,
                     "the NVIDIA driver is for CUDA %d.%d, this program needs %d.%d "
                     "(cudaErrorInsufficientDriver): install a newer driver",
                     version / 1000, version % 1000 / 10, CUDART_VERSION / 1000,
                     CUDART_VERSION % 1000 / 10);
}

/* Ranks of a host take its GPUs in turn, from the one that the configuration names. */
static bool find_device(struct cuda_backend *backend, int device, const struct backend_rank *rank,
                        struct error *err)
{
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaErrorInsufficientDriver) return old_driver(err);
    if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0))
        return error_set(
            err, EXIT_CODE_USAGE,
            "the driver finds no GPU (cudaErrorNoDevice): start on a machine with one, and see "
            "that CUDA_VISIBLE_DEVICES does not hide it");
    if (!cuda_check(status, "cudaGetDeviceCount(&count)", __FILE__, __LINE__, err)) return false;
    if (device >= count)
        return error_set(err, EXIT_CODE_USAGE,
                         "compute.device: there is no GPU %d; GPUs are 0 to %d", device, count - 1);
    device = (device + rank->local_rank) % count;
    struct cudaDeviceProp *properties = &backend->properties;
    if (!CUDA_OK(cudaGetDeviceProperties(properties, device), err)) return false;
    if (10 * properties->major + properties->minor < CAPABILITY_MIN)
        return error_set(err, EXIT_CODE_USAGE,
                         "%s has compute capability %d.%d; 8.0 or above is needed",
                         properties->name, properties->major, properties->minor);
    backend->device = device;
    return CUDA_OK(cudaSetDevice(device), err);
}

static bool open_libraries(struct cuda_backend *backend, int queues, struct error *err)
{
    if (!CUBLAS_OK(cublasLtCreate(&backend->cublas), err)) return false;
    for (int q = 0; q < queues; q++)
        if (!CUDNN_OK(cudnnCreate(&backend->cudnn[q]), err) ||
            !CUDNN_OK(cudnnSetStream(backend->cudnn[q], backend->streams[q]), err))
            return false;
    return true;
}

static bool open_plans(struct cuda_backend *backend, const struct config_compute *compute,
                       struct error *err)
{
    const struct cudnn_limits limits = { .workspace_bytes = backend->workspace_limit,
                                         .tensor_cores = compute->precision == PRECISION_TF32 };
    return plan_cache_open_device(&backend->plan_cache, backend->cudnn[0], &backend->properties,
                                  compute->plan_cache, &limits, err);
}

static int threads_of(const struct config_compute *compute, const struct backend_rank *rank)
{
    const int share = thread_count_default() / rank->local_ranks;
    return compute->threads > 0 ? compute->threads : share > 0 ? share : 1;
}

static void set_queues(struct backend_facts *facts, int queues, const struct backend_rank *rank)
{
    facts->queues = queues;
    facts->rank = rank->rank;
    facts->ranks = rank->ranks;
    facts->exchange_queue = rank->ranks > 1 ? queues : 0;
    facts->copy_queue = rank->ranks > 1 ? queues + 1 : queues;
}

static bool set_facts(struct cuda_backend *backend, const struct config_compute *compute,
                      const struct backend_rank *rank, struct error *err)
{
    const struct cudaDeviceProp *properties = &backend->properties;
    struct backend_facts *facts = &backend->base.facts;
    const size_t cudnn = cudnnGetVersion();
    size_t total_bytes;
    if (!CUDA_OK(cudaMemGetInfo(&facts->memory_bytes, &total_bytes), err)) return false;
    facts->native_bf16 = true;
    facts->tf32 = true;
    facts->threads = threads_of(compute, rank);
    facts->input_channels = 4;
    snprintf(facts->name, sizeof facts->name, "cuda");
    snprintf(facts->description, sizeof facts->description,
             "%.150s, sm_%d%d, %.1f GiB, cuDNN %zu.%zu, CUDA %d.%d", properties->name,
             properties->major, properties->minor, (double)properties->totalGlobalMem / (1 << 30),
             cudnn / 10000, cudnn % 10000 / 100, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    return true;
}

bool cuda_backend_open(const struct config_compute *compute, int queues,
                       const struct backend_rank *rank, struct backend **out, struct error *err)
{
    CHECK(queues >= 1 && queues <= TOWERS_MAX);
    *out = NULL;
    if (rank->rank > 0) log_silence(); /* of this library, which has its own copy of the log */
    struct cuda_backend *backend = calloc(1, sizeof *backend);
    if (!backend) return error_set(err, EXIT_CODE_FAILED, "out of memory for the backend");
    backend->base.ops = &cuda_ops;
    set_queues(&backend->base.facts, queues, rank);
    backend->precision = compute->precision;
    backend->autotune = compute->autotune;
    backend->workspace_limit = (size_t)compute->workspace << 20;
    if (!find_device(backend, compute->device, rank, err) || !memory_init(backend, err) ||
        !communicator_init(backend, compute, err) || !queues_init(backend, err) ||
        !open_libraries(backend, queues, err) || !open_plans(backend, compute, err) ||
        !set_facts(backend, compute, rank, err)) {
        close_backend(&backend->base);
        return false;
    }
    *out = &backend->base;
    return true;
}
