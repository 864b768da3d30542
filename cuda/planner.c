/* Plans convolutions for a GPU, which need not be present: the backend's planner behind an
 * interface without CUDA's types. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convolution.h"
#include "cuda_backend.h"
#include "micromet/nn/gpu_plan.h"

struct planner {
    struct gpu_planner base; /* first: a struct gpu_planner * is cast to this */
    struct plan_cache *cache;
    bool owns_cache;
};

static bool plan_convolution(struct gpu_planner *base, const struct op *op,
                             struct gpu_convolution *out, struct error *err)
{
    struct planner *planner = (struct planner *)base;
    struct convolution_form form;
    struct cudnn_plan plan;
    *out = (struct gpu_convolution) { 0 };
    if (!convolution_form_plan(&form, &plan, &out->reused, op, planner->cache, err)) return false;
    convolution_form_name(&form, out->form);
    out->fused = !form.bias_relu && !form.copy_x && !form.copy_y;
    out->widened = form.graph.x.dtype != op->x.dtype;
    out->engine = plan.engine;
    out->workspace_bytes = plan.workspace_bytes;
    out->scratch_bytes = form.scratch_bytes;
    out->kept_bytes = form.kept_bytes;
    cudnn_plan_release(&plan);
    return true;
}

static void close_planner(struct gpu_planner *base)
{
    struct planner *planner = (struct planner *)base;
    if (planner->owns_cache) plan_cache_close(planner->cache);
    free(planner);
}

static const struct gpu_planner_ops planner_ops = { .convolution = plan_convolution,
                                                    .dense_kept_bytes = dense_kept_bytes,
                                                    .close = close_planner };

static bool new_planner(struct gpu_planner **out, struct plan_cache *cache, const struct gpu *gpu,
                        struct error *err)
{
    struct planner *planner = calloc(1, sizeof *planner);
    *out = NULL;
    if (!planner) return error_set(err, EXIT_CODE_FAILED, "out of memory for a planner");
    const size_t version = cudnnGetVersion();
    planner->cache = cache;
    planner->owns_cache = gpu != NULL;
    planner->base = (struct gpu_planner) { .ops = &planner_ops,
                                           .gpu = gpu,
                                           .tensor_cores = plan_cache_limits(cache)->tensor_cores,
                                           .cache_path = plan_cache_path(cache) };
    snprintf(planner->base.library, sizeof planner->base.library, "cuDNN %zu.%zu", version / 10000,
             version % 10000 / 100);
    *out = &planner->base;
    return true;
}

bool cuda_backend_planner(struct backend *base, struct gpu_planner **planner, struct error *err)
{
    return new_planner(planner, ((struct cuda_backend *)base)->plan_cache, NULL, err);
}

/* Called by src/nn/backend.c once it has loaded this library. */
__attribute__((visibility("default"))) bool cuda_planner_open(const struct config_compute *compute,
                                                              const char *name,
                                                              struct gpu_planner **out,
                                                              struct error *err);

bool cuda_planner_open(const struct config_compute *compute, const char *name,
                       struct gpu_planner **out, struct error *err)
{
    const struct cudnn_limits limits = { .workspace_bytes = (size_t)compute->workspace << 20,
                                         .tensor_cores = compute->precision == PRECISION_TF32 };
    const struct gpu *gpu;
    *out = NULL;
    if (!gpu_find(name, &gpu, err)) return false;
    struct plan_cache *cache;
    if (!plan_cache_open_gpu(&cache, gpu, compute->plan_cache, &limits, err)) return false;
    if (new_planner(out, cache, gpu, err)) return true;
    plan_cache_close(cache);
    return false;
}
