/* Helpers for tests of the simulated libraries: device tensors with a host copy, and checks that a
 * call succeeded. */
#ifndef DEVICE_ARRAY_H
#define DEVICE_ARRAY_H

#include <cublasLt.h>
#include <cudnn.h>

#include "micromet/nn/tensor.h"

void expect_cudnn(cudnnStatus_t status);
void expect_cublas(cublasStatus_t status);
void expect_cuda(cudaError_t status);
void expect_no_leaks(void);

struct array { /* NHWC view with a host copy; the whole allocation has `bytes` */
    struct tensor tensor;
    size_t bytes;
    int first; /* first channel of the view within a pixel of the allocation */
    unsigned char *host, *device;
};

/* An array of random values in [-1, 1], the same on host and device. */
struct array array_make(enum dtype dtype, int n, int h, int w, int c, int pixel_stride, int first);
void array_release(struct array *array);
void *array_view(const struct array *array); /* device address of the first channel */
/* One value of the view, read from `memory`, which has the array's layout. */
double array_value(const struct array *array, const unsigned char *memory, int n, int y, int x,
                   int c);
unsigned char *array_fetch(const struct array *array); /* copy of the device memory; malloc'ed */

#endif
