/* Ranges on a profiler's time line. Without a profiler they cost a load and a branch. */
#ifndef MICROMET_CUDA_NVTX_H
#define MICROMET_CUDA_NVTX_H

void nvtx_push(const char *name);
void nvtx_pop(void);

#endif
