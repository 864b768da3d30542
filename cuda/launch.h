/* Launches a kernel. Only this header uses nvcc's launch syntax, so that the simulated device of
 * the tests can run the same sources. The macro has no value; call cudaGetLastError() after it.
 * Kernels use static shared memory only. */
#ifndef MICROMET_CUDA_LAUNCH_H
#define MICROMET_CUDA_LAUNCH_H

#include <cuda_runtime.h>

#ifdef MICROMET_SIMULATED_CUDA
#include "simulated_device.h" /* tests/simulated_cuda */
#else
#define CUDA_LAUNCH(kernel, grid, block, stream, ...)                                              \
    kernel<<<(grid), (block), 0, (stream)>>>(__VA_ARGS__)
#endif

#endif
