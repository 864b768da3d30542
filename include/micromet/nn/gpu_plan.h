/* Plans what cuDNN would do on a GPU that need not be present. */
#ifndef MICROMET_NN_GPU_PLAN_H
#define MICROMET_NN_GPU_PLAN_H

#include "micromet/nn/backend.h"
#include "micromet/nn/gpu.h"

/* How one convolution would be computed. */
struct gpu_convolution {
    char form[64]; /* "fused", or the extra steps around the engine */
    /* one kernel: the engine computes bias and ReLU, if any, and no tensor is copied */
    bool fused;
    bool widened;           /* bfloat16 tensors, but computed in float32 */
    bool reused;            /* the plan came from the plan cache */
    int64_t engine;         /* cuDNN's engine index */
    size_t workspace_bytes; /* of the engine */
    size_t scratch_bytes;   /* of the queue: the engine's workspace and copies of tensors */
    size_t kept_bytes;      /* packed weights, kept with the plan */
};

struct gpu_planner;

struct gpu_planner_ops {
    bool (*convolution)(struct gpu_planner *, const struct op *, struct gpu_convolution *,
                        struct error *);
    /* Bytes of packed weights of a dense layer, which cuBLASLt computes. */
    size_t (*dense_kept_bytes)(const struct op *);
    void (*close)(struct gpu_planner *); /* saves the plans in the cache */
};

struct gpu_planner {
    const struct gpu_planner_ops *ops;
    const struct gpu *gpu; /* NULL: the GPU of the backend that owns this planner */
    bool tensor_cores;     /* float32 tensors are computed in TF32 */
    char library[32];      /* "cuDNN 9.19" */
    const char *cache_path;
};

/* Open a planner for a GPU, by its name. Plans are read from and saved in compute.plan_cache. Needs
 * the CUDA backend in the build, but neither a GPU nor a driver; the process must not have
 * loaded a driver. */
bool gpu_planner_open(const struct config_compute *compute, const char *gpu,
                      struct gpu_planner **planner, struct error *err);
void gpu_planner_close(struct gpu_planner *planner);

/* A backend that has the facts of another but computes nothing: a model built on it shows how much
 * memory it needs. Convolutions are planned by `planner`; if it is NULL, nothing is planned.
 * `bytes` counts device memory allocated. */
struct dry_backend {
    struct backend base; /* must be first: struct backend * is cast to this */
    struct gpu_planner *planner;
    size_t bytes;
    size_t scratch_bytes[TOWERS_MAX]; /* largest scratch that any plan of the queue needs */
};
void dry_backend_init(struct dry_backend *backend, const struct backend_facts *facts,
                      struct gpu_planner *planner);
/* The planner's answer for a convolution; NULL if the plan was not made by the
 * planner (other ops). */
const struct gpu_convolution *dry_plan_convolution(const struct plan *plan);

#endif
