/* A training planned for a GPU that need not be present: which engine computes each convolution,
 * how much memory training takes, and a lower bound on the time of a step.
 *
 * The model is built as for training, on a backend that computes nothing; cuDNN itself says how it
 * would compute each convolution. Times follow the roofline model: arithmetic at the GPU's peak
 * rate or bytes at its bandwidth, whichever takes longer, but at least a kernel's launch time. Real
 * steps take longer. */
#ifndef MICROMET_RUN_GPU_PLAN_H
#define MICROMET_RUN_GPU_PLAN_H

#include "micromet/run/memory_plan.h"

struct gpu_plan_row {
    struct op op;
    int tower;
    bool training; /* of the training, else the inference program */
    struct gpu_convolution convolution;
    double flops, bytes, seconds; /* two operations per multiply-add */
    bool compute_bound;
};

struct gpu_plan {
    struct gpu gpu;
    char library[32];
    char cache_path[PATH_MAX_BYTES];
    int towers, window, batch;
    struct gpu_plan_row *rows; /* every convolution of all towers */
    int count;
    int reused; /* plans found in the cache file */
    struct memory_plan memory;
    double gradient_bytes; /* of a step, and of the moving statistics */
    int shared_norms;      /* batch norms and gradients of such, if ranks share their statistics */
    struct {
        double compute_s, memory_s; /* of the operations bound by it, all towers */
        double launch_s;            /* of the queue with the most kernels */
        double all_s;
        double backward_s; /* of that, the towers' backward passes */
        int kernels;
    } step;
};

/* Uses train.batch; compute.precision=auto means bf16, as on any GPU. Fails if an operation
 * has no plan. */
bool gpu_plan_make(struct gpu_plan *plan, const struct config *config, const char *gpu,
                   struct error *err);
void gpu_plan_release(struct gpu_plan *plan);

#endif
