/* Device tensors with a host copy; see the header. */
#include "device_array.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "simulated_control.h"

void expect_cudnn(cudnnStatus_t status)
{
    char why[256];
    cudnnGetLastErrorString(why, sizeof why);
    cr_assert_eq(status, CUDNN_STATUS_SUCCESS, "%s: %s", cudnnGetErrorString(status), why);
}

void expect_cublas(cublasStatus_t status)
{
    cr_assert_eq(status, CUBLAS_STATUS_SUCCESS, "%s", cublasLtGetStatusName(status));
}

void expect_cuda(cudaError_t status)
{
    cr_assert_eq(status, cudaSuccess, "%s", cudaGetErrorName(status));
}

struct array array_make(enum dtype dtype, int n, int h, int w, int c, int pixel_stride, int first)
{
    struct array a = {
        .tensor = { .dtype = dtype, .n = n, .h = h, .w = w, .c = c, .pixel_stride = pixel_stride },
        .first = first
    };
    a.bytes = tensor_bytes(&a.tensor);
    a.host = malloc(a.bytes);
    for (size_t i = 0; i < a.bytes / dtype_bytes(dtype); i++) {
        const float value = (float)(rand() % 2001 - 1000) / 1000;
        if (dtype == DTYPE_F32)
            ((float *)a.host)[i] = value;
        else
            ((uint16_t *)a.host)[i] = bf16_from_float(value);
    }
    expect_cuda(cudaMalloc((void **)&a.device, a.bytes));
    expect_cuda(cudaMemcpy(a.device, a.host, a.bytes, cudaMemcpyHostToDevice));
    return a;
}

void *array_view(const struct array *a)
{
    return a->device + (size_t)a->first * dtype_bytes(a->tensor.dtype);
}

void array_release(struct array *a)
{
    free(a->host);
    expect_cuda(cudaFree(a->device));
}

double array_value(const struct array *a, const unsigned char *memory, int n, int y, int x, int c)
{
    const struct tensor *t = &a->tensor;
    const int64_t i = (((int64_t)n * t->h + y) * t->w + x) * t->pixel_stride + a->first + c;
    return t->dtype == DTYPE_F32 ? ((const float *)memory)[i]
                                 : bf16_to_float(((const uint16_t *)memory)[i]);
}

unsigned char *array_fetch(const struct array *a)
{
    unsigned char *out = malloc(a->bytes);
    expect_cuda(cudaMemcpy(out, a->device, a->bytes, cudaMemcpyDeviceToHost));
    return out;
}
void expect_no_leaks(void)
{
    char report[1024];
    cr_assert_eq(simulated_leaks(report, sizeof report), 0, "%s", report);
}