/* Internal structures of the CUDA backend. A queue is a stream, a ticket is an event, and a plan
 * holds what cuDNN, cuBLASLt or a kernel of this folder needs to run its op repeatedly. */
#ifndef MICROMET_CUDA_BACKEND_H
#define MICROMET_CUDA_BACKEND_H

#include "check.h"
#include "kernels.h"
#include "micromet/nn/backend.h"

enum { CUDA_QUEUES_MAX = TOWERS_MAX + 2 }; /* one for the exchange of ranks, one for copies */

struct cuda_queues;  /* queues.h: tickets, marks, recordings */
struct cuda_memory;  /* memory.c */
struct communicator; /* communicator.h */

struct cuda_backend {
    struct backend base; /* first: a struct backend * is cast to this */
    int device;
    struct cudaDeviceProp properties;
    enum precision precision; /* PRECISION_TF32 allows TF32 for F32 tensors */
    bool autotune;
    size_t workspace_limit; /* bytes, for each plan */
    cublasLtHandle_t cublas;
    cudnnHandle_t cudnn[CUDA_QUEUES_MAX]; /* one per queue, bound to its stream */
    cudaStream_t streams[CUDA_QUEUES_MAX];
    void *workspace[CUDA_QUEUES_MAX]; /* shared by the plans of a queue; see workspace_reserve() */
    size_t workspace_bytes[CUDA_QUEUES_MAX];
    size_t plan_bytes; /* kept by all plans */
    struct cuda_queues *queues;
    struct cuda_memory *memory;
    struct plan_cache *plan_cache;     /* plan_cache.h */
    struct communicator *communicator; /* of the ranks; NULL = this one is alone */
};

/* Weights of a convolution that its plan keeps on the device; weights.c. */
struct plan_weights {
    void *packed; /* (K, R, S, c) of dtype; NULL: F32 weights are used without packing */
    enum dtype dtype;
    int c;
    bool is_packed; /* packed holds op_buffers.weights of `version` */
    uint64_t version;
    float *loaded;      /* weights of plan_load() if they are not packed */
    bool loaded_packed; /* packed holds weights of plan_load() */
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

/* Planners: cuDNN for convolutions and their gradients (convolution.c), cuBLASLt for dense layers
 * (dense.c), NCCL for sums over ranks (exchange.c), and the kernels of kernels.h (kernel_plan.c).
 * Each sets run, release and detail, and reserves weights and workspace, or gives the reason why it
 * cannot. */
bool cuda_plan_convolution(struct plan *plan, struct error *err);
bool cuda_plan_dense(struct plan *plan, struct error *err);
/* Bytes of packed weights that a dense layer's plan keeps. */
size_t dense_kept_bytes(const struct op *op);
bool cuda_plan_exchange(struct plan *plan, struct error *err);
bool cuda_plan_kernel(struct plan *plan, struct error *err);

bool cuda_backend_planner(struct backend *base, struct gpu_planner **planner,
                          struct error *err); /* planner.c */

/* Workspace of a queue, shared by its plans: reserve it when planning, and look up its address when
 * running, since it may have moved. Do not reserve while recording. Workspace that recordings use
 * is kept until the backend is closed. */
bool workspace_reserve(struct cuda_backend *backend, int queue, size_t bytes, struct error *err);
static inline cudaStream_t plan_stream(const struct plan *plan)
{
    return plan->backend->streams[plan->op.queue];
}
static inline void *plan_workspace(const struct plan *plan)
{
    return plan->backend->workspace[plan->op.queue];
}

/* Device memory for weights packed as (K, R, S, c) of `dtype`. bytes is 0 if the plan has no
 * weights or uses them without packing. */
bool weights_reserve(struct plan *plan, enum dtype dtype, int c, size_t bytes, struct error *err);
void weights_release(struct plan *plan);
/* The weights to compute with: those of plan_load(), or else of the buffers, which are packed again
 * if their version has changed. */
bool weights_take(struct plan *plan, const struct op_buffers *buffers, const void **weights,
                  struct error *err);
/* plan_load of backend_ops. */
bool weights_load(struct plan *plan, const float *weights, struct error *err);

/* Allocate device memory, to be freed with cudaFree(). The error message gives the size requested,
 * what is free, and what uses the rest. */
bool cuda_alloc(struct cuda_backend *backend, size_t bytes, void **memory, struct error *err);

/* The symbols that src/nn/backend.c looks up once it has loaded this library: the commit that it
 * was built from, and functions. cuda_backend_open() does what a rank can do alone. With several,
 * one of them then makes an id, and all of them join by it, which waits for all. */
__attribute__((visibility("default"))) extern const char cuda_backend_version[];
__attribute__((visibility("default"))) bool
cuda_backend_open(const struct config_compute *compute, int queues, const struct backend_rank *rank,
                  struct backend **out, struct error *err);
__attribute__((visibility("default"))) bool cuda_backend_id(char id[BACKEND_ID_BYTES],
                                                            struct error *err);
__attribute__((visibility("default"))) bool
cuda_backend_join(struct backend *base, const char id[BACKEND_ID_BYTES], struct error *err);

#endif
