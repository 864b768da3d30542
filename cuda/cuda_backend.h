/* The CUDA backend's own structures: queues are streams, tickets are events, plans are what cuDNN,
 * cuBLASLt or our kernels need to run an op again. */
#ifndef MICROMET_CUDA_BACKEND_H
#define MICROMET_CUDA_BACKEND_H

#include "check.h"
#include "kernels.h"
#include "micromet/nn/backend.h"

enum { CUDA_QUEUES_MAX = TOWERS_MAX + 1 }; /* the last one copies */

struct cuda_queues; /* queues.h: tickets, marks, recordings */
struct cuda_memory; /* memory.c */

struct cuda_backend {
    struct backend base; /* first: a struct backend * is cast to this */
    int device;
    struct cudaDeviceProp properties;
    enum precision precision; /* fp32, tf32 or bf16: what convolutions of F32 tensors may use */
    bool autotune;
    size_t workspace_limit; /* bytes a plan may ask for */
    cublasLtHandle_t cublas;
    cudnnHandle_t cudnn[CUDA_QUEUES_MAX]; /* one a queue, bound to its stream */
    cudaStream_t streams[CUDA_QUEUES_MAX];
    void *workspace[CUDA_QUEUES_MAX]; /* shared by the plans of a queue; see workspace_reserve() */
    size_t workspace_bytes[CUDA_QUEUES_MAX];
    size_t plan_bytes; /* held by all plans */
    struct cuda_queues *queues;
    struct cuda_memory *memory;
    struct plan_cache *plan_cache; /* plan_cache.h */
};

/* Weights of a convolution that a plan keeps on the device; weights.c. */
struct plan_weights {
    void *packed; /* (K, R, S, c) of dtype; NULL: the plan computes with F32 as it is given */
    enum dtype dtype;
    int c;
    bool is_packed; /* what run() was given, of this version */
    uint64_t version;
    float *loaded;      /* what plan_load() gave, as it is */
    bool loaded_packed; /* ... or packed */
};

struct plan {
    struct cuda_backend *backend;
    struct op op;
    bool (*run)(struct plan *, const struct op_buffers *, struct error *);
    void (*release)(void *detail);
    void *detail;
    struct plan_weights weights;
    size_t bytes; /* device memory that the plan keeps */
};

/* Planners; each sets run, release and detail, and reserves weights and workspace, or says
 * why it cannot. */
bool cuda_plan_convolution(struct plan *plan,
                           struct error *err); /* convolution.c: cuDNN; all three kinds */
bool cuda_plan_dense(struct plan *plan, struct error *err); /* dense.c: cuBLASLt; 1×1 maps */
size_t dense_kept_bytes(const struct op *op);               /* packed weights of such a plan */
bool cuda_plan_kernel(struct plan *plan,
                      struct error *err); /* kernel_plan.c: the table of kernels.h */

bool cuda_backend_planner(struct backend *base, struct gpu_planner **planner,
                          struct error *err); /* planner.c */

/* Scratch of a queue: ask when planning, take when running (it may have moved since). Not during a
 * recording. What recordings use stays until the backend is closed. */
bool workspace_reserve(struct cuda_backend *backend, int queue, size_t bytes, struct error *err);
static inline cudaStream_t plan_stream(const struct plan *plan)
{
    return plan->backend->streams[plan->op.queue];
}
static inline void *plan_workspace(const struct plan *plan)
{
    return plan->backend->workspace[plan->op.queue];
}

/* Room for weights packed as (K, R, S, c) of a type; bytes 0: the plan takes them as they are, or
 * has none. */
bool weights_reserve(struct plan *plan, enum dtype dtype, int c, size_t bytes, struct error *err);
void weights_release(struct plan *plan);
/* The weights to compute with: loaded ones, or the buffers', packed if their version is another
 * than last time. */
bool weights_take(struct plan *plan, const struct op_buffers *buffers, const void **weights,
                  struct error *err);
/* plan_load of backend_ops. */
bool weights_load(struct plan *plan, const float *weights, struct error *err);

/* Device memory; a failure says how much was asked for, what is free, and what holds the rest.
 * Given back with cudaFree(). */
bool cuda_alloc(struct cuda_backend *backend, size_t bytes, void **memory, struct error *err);

/* What src/nn/backend.c looks for once it has loaded this library: the commit it was built from,
 * and the door. */
__attribute__((visibility("default"))) extern const char cuda_backend_version[];
__attribute__((visibility("default"))) bool cuda_backend_open(const struct config_compute *compute,
                                                              int queues, struct backend **out,
                                                              struct error *err);

#endif
