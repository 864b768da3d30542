/* The backend's own kernels, for the ops that neither cuDNN nor cuBLASLt computes: one table of
 * functions for each kind of op.
 *
 * All tensors are NHWC with a pixel stride. Accesses are 16 bytes wide where addresses and channel
 * counts allow, else narrower. Sums across threads have a fixed order, so the same input always
 * gives the same bits. Launchers only enqueue work on `stream` and return cudaGetLastError(). All
 * data pointers are device memory. */
#ifndef MICROMET_CUDA_KERNELS_H
#define MICROMET_CUDA_KERNELS_H

#include <cuda_runtime_api.h>

#include "micromet/nn/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cuda_kernel {
    /* Whether the kernel supports an op that passed op_check(); else the reason. NULL: always. */
    bool (*check)(const struct op *, struct error *);
    /* Workspace for one launch, aligned to 256 bytes. NULL: none. */
    size_t (*workspace_bytes)(const struct op *);
    cudaError_t (*launch)(const struct op *, const struct op_buffers *, void *workspace,
                          cudaStream_t stream);
};

/* Element-wise ops may run in place. */
extern const struct cuda_kernel cuda_kernel_batch_norm, cuda_kernel_batch_norm_backward,
    cuda_kernel_pool, cuda_kernel_pool_backward, cuda_kernel_relu_backward, cuda_kernel_dropout,
    cuda_kernel_loss, cuda_kernel_augment, cuda_kernel_optimizer, cuda_kernel_sum,
    cuda_kernel_average;

/* F32 master weights (rows, weights_c) to (rows, c) of `dtype`, with zeros in the channels from
 * weights_c on; rows = K*R*S. */
cudaError_t launch_pack_weights(const float *weights, int64_t rows, int weights_c, int c,
                                enum dtype dtype, void *packed, cudaStream_t stream);
/* A filter gradient (rows, c) of F32 or BF16 to F32 (rows, weights_c). */
cudaError_t launch_unpack_gradient(const void *packed, enum dtype dtype, int64_t rows, int c,
                                   int weights_c, float *gradient, cudaStream_t stream);
/* y = act(y + bias) in place over a strided view; bias NULL = none. */
cudaError_t launch_bias_relu(const struct tensor *y, void *data, const float *bias, bool relu,
                             cudaStream_t stream);
/* sums[c] = sum of the view over its pixels, accumulated in float over at most 64 of
 * them and in double beyond. */
size_t channel_sums_workspace_bytes(const struct tensor *x);
cudaError_t launch_channel_sums(const struct tensor *x, const void *data, float *sums,
                                void *workspace, cudaStream_t stream);
/* to += from if `accumulate`, else to = from. The views have one shape
 * and any strides and types. */
cudaError_t launch_copy_view(const struct tensor *to, void *to_data, const struct tensor *from,
                             const void *from_data, bool accumulate, cudaStream_t stream);

/* A sum of arrays, step by step, by one thread for each element: load it; add one to it; keep a
 * partial sum; write the sum times the scale. */
enum term_kind { TERM_LOAD, TERM_ADD, TERM_KEEP, TERM_FINISH };
enum { TERM_STEPS_MAX = 128 };
struct term_step {
    float *at;
    enum term_kind kind;
};
struct term_steps {
    int count;
    struct term_step steps[TERM_STEPS_MAX];
};
/* Arrays may be of any alignment; at multiples of 16 bytes they are read faster. */
cudaError_t launch_add_terms(const struct term_steps *steps, float scale, int64_t count,
                             cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
