/* cuDNN's plans for one GPU, kept on disk: the first start compiles kernels for minutes, the next
 * one loads them.
 *
 * A file holds the plans of one GPU model and one version of cuDNN, each under the whole
 * description of its op and with a checksum, for cuDNN itself does not notice a damaged kernel.
 * What does not fit is passed over with a note and made anew. Plans may have been made for the
 * description of a GPU (`micromet plan`) or on one. */
#ifndef MICROMET_CUDA_PLAN_CACHE_H
#define MICROMET_CUDA_PLAN_CACHE_H

#include "cudnn_plan.h"
#include "gpus.h"

struct plan_cache;

/* `folder`: "" = $XDG_CACHE_HOME/micromet or ~/.cache/micromet. */
bool plan_cache_open_device(struct plan_cache **cache, cudnnHandle_t handle,
                            const struct cudaDeviceProp *properties, const char *folder,
                            const struct cudnn_limits *limits, struct error *err);
bool plan_cache_open_gpu(struct plan_cache **cache, const struct gpu *gpu, const char *folder,
                         const struct cudnn_limits *limits, struct error *err);
void plan_cache_close(struct plan_cache *cache); /* NULL is fine; saves */
/* Write the file if it misses a plan. That it cannot be written is a warning. */
void plan_cache_save(struct plan_cache *cache);

const char *plan_cache_path(const struct plan_cache *cache);
const struct cudnn_target *plan_cache_target(const struct plan_cache *cache);
const struct cudnn_limits *plan_cache_limits(const struct plan_cache *cache);

/* A plan for the op as cudnn_plan_op() takes it, from the file or made. *reused: it was
 * in the file. */
bool plan_cache_plan(struct plan_cache *cache, const struct op *op, struct cudnn_plan *plan,
                     bool *reused, struct error *err);
/* Whether the op's plan was chosen by the clock, and keeping one that was. */
bool plan_cache_tuned(const struct plan_cache *cache, const struct op *op);
void plan_cache_keep_tuned(struct plan_cache *cache, const struct op *op,
                           const struct cudnn_plan *plan);

#endif
