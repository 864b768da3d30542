/* Every status of CUDA, cuDNN and cuBLASLt becomes an error that names the call, the file and the line.
 *
 *     if (!CUDA_OK(cudaMalloc(&memory, bytes), err)) goto fail;
 *
 * The macros are expressions that say whether the call succeeded; they hide no return. */
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

#define CUDA_OK(call, err)   cuda_check((call), #call, __FILE__, __LINE__, (err))
#define CUDNN_OK(call, err)  cudnn_check((call), #call, __FILE__, __LINE__, (err))
#define CUBLAS_OK(call, err) cublas_check((call), #call, __FILE__, __LINE__, (err))

#endif
