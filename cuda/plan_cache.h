/* A cache on disk of cuDNN's plans for one GPU: the first start compiles kernels for
 * minutes, later ones load them.
 *
 * A file holds the plans for one GPU model and one version of cuDNN, each with the full description
 * of its op as the key, and with a checksum, because cuDNN itself does not detect a damaged kernel.
 * A file or plan that cannot be used is logged and made again. Plans may have been made on a GPU or
 * for the description of one (`micromet plan`). */
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
void plan_cache_close(struct plan_cache *cache); /* saves the file; NULL is allowed */
/* Write the file if it lacks a plan. If that fails, log a warning. */
void plan_cache_save(struct plan_cache *cache);

const char *plan_cache_path(const struct plan_cache *cache);
const struct cudnn_target *plan_cache_target(const struct plan_cache *cache);
const struct cudnn_limits *plan_cache_limits(const struct plan_cache *cache);

/* A plan for the op, under the conditions of cudnn_plan_op(): loaded from the cache (*reused if it
 * was in the file) or newly made. */
bool plan_cache_plan(struct plan_cache *cache, const struct op *op, struct cudnn_plan *plan,
                     bool *reused, struct error *err);
/* Whether the op's plan was chosen by measurement, and storing one that was. */
bool plan_cache_tuned(const struct plan_cache *cache, const struct op *op);
void plan_cache_keep_tuned(struct plan_cache *cache, const struct op *op,
                           const struct cudnn_plan *plan);

#endif
