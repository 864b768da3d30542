/* A training planned for a GPU that is not here: what computes each convolution, what memory it
 * takes, and what a step takes at least.
 *
 * The model is built as training builds it, on a backend that computes nothing; cuDNN itself says
 * what it would do. Times are rooflines: arithmetic at the GPU's peak or bytes at its bandwidth,
 * whichever is longer, and never less than a kernel needs to start. Real steps take longer. */
#ifndef MICROMET_RUN_GPU_PLAN_H
#define MICROMET_RUN_GPU_PLAN_H

#include "micromet/nn/gpu_plan.h"

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
    enum dtype activations;
    struct gpu_plan_row *rows; /* every convolution of the towers */
    int count;
    /* Forward convolutions with bias and ReLU, those of them that are one kernel, and all that need
     * something around. */
    int epilogues, fused, around, reused;
    struct {
        size_t parameters, gradients, optimizer, folded, activations, inference_activations,
            batches, packed_weights, scratch, libraries, all;
    } memory;      /* on the GPU, bytes */
    int batch_max; /* that fits */
    struct {
        double compute_s, memory_s; /* of the operations that are bound by it, all towers */
        double launch_s;            /* of the queue with most kernels */
        double all_s;
        int kernels;
    } step;
};

/* A GPU's memory, and what of a training does not follow from the model alone. */
struct gpu_room {
    size_t bytes;
    size_t packed_weights, libraries;
    size_t scratch; /* at a batch of scratch_batch or below; above it grows as the batch does */
    int scratch_batch;
};
/* The largest train.batch that fits, 0 if none does; found to 2%. */
bool gpu_batch_max(const struct gpu_room *room, const struct config *config, int *batch,
                   struct error *err);
/* Of a device of which the process can have so many bytes: scratch is what it is at most. */
bool gpu_room_of_device(struct gpu_room *room, size_t bytes, const struct config *config,
                        struct error *err);

/* compute.precision auto is bf16, as on any GPU; train.batch is the batch. An operation without a
 * plan is an error. */
bool gpu_plan_make(struct gpu_plan *plan, const struct config *config, const char *gpu,
                   struct error *err);
void gpu_plan_release(struct gpu_plan *plan);

#endif
