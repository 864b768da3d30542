/* What each of several trainings at once gets of the machine. */
#ifndef MICROMET_SWEEP_SHARE_H
#define MICROMET_SWEEP_SHARE_H

#include "micromet/base/config.h"

enum { SHARE_GPU_BYTES = 64 };
struct share {
    int threads;               /* 0 = as configured */
    char gpu[SHARE_GPU_BYTES]; /* for CUDA_VISIBLE_DEVICES; "" = whatever is there */
};

/* The share of the training in place `slot` of `jobs`: of the processors where compute.threads
 * leaves them to us, and one GPU where the backend may be CUDA's. More trainings than GPUs share
 * them. */
struct share share_of(const struct config *config, int slot, int jobs);
/* How many GPUs there are to be shared out: those that CUDA_VISIBLE_DEVICES names, else those of
 * NVIDIA's driver. */
int share_gpu_count(void);

#endif
