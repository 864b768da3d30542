/* What cuDNN would do on a GPU that is not here. */
#ifndef MICROMET_NN_GPU_PLAN_H
#define MICROMET_NN_GPU_PLAN_H

#include "micromet/nn/backend.h"
#include "micromet/nn/gpu.h"

/* How one convolution would be computed. */
struct gpu_convolution {
    char form[64]; /* "fused", or what stands around the engine */
    bool fused; /* bias and ReLU in the engine's kernel, or none asked for and nothing around it */
    bool widened;           /* computed in F32, though the tensors are bfloat16 */
    bool reused;            /* the plan was in the cache's file */
    int64_t engine;         /* cuDNN's number */
    size_t workspace_bytes; /* of cuDNN */
    size_t scratch_bytes;   /* of the queue: workspace and copies */
    size_t kept_bytes;      /* packed weights */
};

struct gpu_planner;

struct gpu_planner_ops {
    bool (*convolution)(struct gpu_planner *, const struct op *, struct gpu_convolution *,
                        struct error *);
    /* Packed weights of a dense layer, which is cuBLASLt's. */
    size_t (*dense_kept_bytes)(const struct op *);
    void (*close)(struct gpu_planner *); /* writes the plans to the cache's file */
};

struct gpu_planner {
    const struct gpu_planner_ops *ops;
    const struct gpu *gpu; /* NULL: that of the backend whose planner this is */
    bool tensor_cores;     /* F32 tensors are computed in TF32 */
    char library[32];      /* "cuDNN 9.19" */
    const char *cache_path;
};

/* By name; plans are looked for and kept in compute.plan_cache. Needs the CUDA backend in the
 * build, but neither a GPU nor a driver; the process must not have loaded one. */
bool gpu_planner_open(const struct config_compute *compute, const char *gpu,
                      struct gpu_planner **planner, struct error *err);
void gpu_planner_close(struct gpu_planner *planner);

/* A backend with the facts of another that computes nothing: what is built on it shows what it
 * needs. Plans of convolutions are the planner's; without one, nothing is planned. `bytes` is what
 * was allocated. */
struct dry_backend {
    struct backend base; /* first: a struct backend * is cast to this */
    struct gpu_planner *planner;
    size_t bytes;
    size_t scratch_bytes[TOWERS_MAX]; /* largest scratch that a plan of the queue asks for */
};
void dry_backend_init(struct dry_backend *backend, const struct backend_facts *facts,
                      struct gpu_planner *planner);
/* What the planner said of a convolution; NULL for other ops. */
const struct gpu_convolution *dry_plan_convolution(const struct plan *plan);

#endif
