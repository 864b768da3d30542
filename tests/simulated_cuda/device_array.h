/* For tests of the simulated libraries: tensors on the device with a copy on the host, and statuses
 * that must be good. */
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
    int first; /* channel of the allocation's pixel that the view begins with */
    unsigned char *host, *device;
};

/* Random values in [-1, 1], the same on both sides. */
struct array array_make(enum dtype dtype, int n, int h, int w, int c, int pixel_stride, int first);
void array_release(struct array *array);
void *array_view(const struct array *array); /* device address of the first channel */
/* One value of the view in `memory`, which is laid out like the array. */
double array_value(const struct array *array, const unsigned char *memory, int n, int y, int x,
                   int c);
unsigned char *array_fetch(const struct array *array); /* what the device has; malloc'ed */

#endif
