/* A training planned for a GPU that is not here: what computes each convolution, what memory it
 * takes, and what a step takes at least.
 *
 * The model is built as training builds it, on a backend that computes nothing; cuDNN itself says
 * what it would do. Times are rooflines: arithmetic at the GPU's peak or bytes at its bandwidth,
 * whichever is longer, and never less than a kernel needs to start. Real steps take longer. */
#ifndef MICROMET_RUN_GPU_PLAN_H
#define MICROMET_RUN_GPU_PLAN_H

#include "micromet/run/memory_plan.h"

struct gpu_plan_row {
    struct op op;
    int tower;
    bool training; /* of the training program, else of the inference program */
    struct gpu_convolution convolution;
    double flops, bytes, seconds; /* two operations for each multiply-add */
    bool compute_bound;
};

struct gpu_plan {
    struct gpu gpu;
    char library[32];
    char cache_path[PATH_MAX_BYTES];
    int towers, window, batch;
    struct gpu_plan_row *rows; /* every convolution of the towers */
    int count;
    int reused; /* plans that were in the cache's file */
    struct memory_plan memory;
    struct {
        double compute_s, memory_s; /* of the operations that are bound by it, all towers */
        double launch_s;            /* of the queue with most kernels */
        double all_s;
        int kernels;
    } step;
};

/* compute.precision auto is bf16, as on any GPU; train.batch is the batch. An operation without a
 * plan is an error. */
bool gpu_plan_make(struct gpu_plan *plan, const struct config *config, const char *gpu,
                   struct error *err);
void gpu_plan_release(struct gpu_plan *plan);

#endif
