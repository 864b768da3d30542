/* Turns every status code of CUDA, cuDNN and cuBLASLt into an error that names the
 * call, the file and the line.
 *
 *     if (!CUDA_OK(cudaMalloc(&memory, bytes), err)) goto fail;
 *
 * The macros are expressions that are true if the call succeeded; they hide no return. Functions
 * that release something cannot return an error: they log a warning instead.
 *
 *     CUDA_RELEASE(cudaFree(memory)); */
#ifndef MICROMET_CUDA_CHECK_H
#define MICROMET_CUDA_CHECK_H

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include "micromet/base/error.h"

bool cuda_check(cudaError_t status, const char *call, const char *file, int line,
                struct error *err);
bool cudnn_check(cudnnStatus_t status, const char *call, const char *file, int line,
                 struct error *err);
bool cublas_check(cublasStatus_t status, const char *call, const char *file, int line,
                  struct error *err);

void cuda_released(cudaError_t status, const char *call, const char *file, int line);
void cudnn_released(cudnnStatus_t status, const char *call, const char *file, int line);
void cublas_released(cublasStatus_t status, const char *call, const char *file, int line);

#define CUDA_OK(call, err)   cuda_check((call), #call, __FILE__, __LINE__, (err))
#define CUDNN_OK(call, err)  cudnn_check((call), #call, __FILE__, __LINE__, (err))
#define CUBLAS_OK(call, err) cublas_check((call), #call, __FILE__, __LINE__, (err))

#define CUDA_RELEASE(call)   cuda_released((call), #call, __FILE__, __LINE__)
#define CUDNN_RELEASE(call)  cudnn_released((call), #call, __FILE__, __LINE__)
#define CUBLAS_RELEASE(call) cublas_released((call), #call, __FILE__, __LINE__)

#endif
