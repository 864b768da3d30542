/* Status codes turned into errors.
 *
 * After a sticky error (an illegal memory access in a kernel, a GPU that fell off the bus), every
 * later CUDA call of the process fails with the same status, so those failures repeat the first
 * message. It names the call that reported the error first, which is rarely the one that caused it:
 * kernels run asynchronously. */
#include "check.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "micromet/base/log.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static cudaError_t lost_status = cudaSuccess; /* the first sticky error */
static char lost_message[640];

static bool is_sticky(cudaError_t status)
{
    switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
        return true;
    default:
        return false;
    }
}

static const char *file_name(const char *path)
{
    const char *cuda = strstr(path, "cuda/");
    for (const char *next = cuda; next; next = strstr(next + 1, "cuda/")) cuda = next;
    return cuda ? cuda : path;
}

static bool is_lost(void)
{
    pthread_mutex_lock(&lock);
    const bool is = lost_status != cudaSuccess;
    pthread_mutex_unlock(&lock);
    return is;
}

static bool lost(cudaError_t status, const char *message, struct error *err)
{
    pthread_mutex_lock(&lock);
    const bool first = lost_status == cudaSuccess;
    if (first) {
        lost_status = status;
        snprintf(lost_message, sizeof lost_message,
                 "%s, of work that may have been queued before (CUDA_LAUNCH_BLOCKING=1 in the "
                 "environment tells which)",
                 message);
    }
    error_set(err, EXIT_CODE_FAILED,
              "the GPU can no longer be used by this process%s: %s; start it anew",
              first ? "" : " since an earlier failure", lost_message);
    pthread_mutex_unlock(&lock);
    return false;
}

/* `cuda` is CUDA's last error. If that is sticky, it is reported in place
 * of the library's own error. */
static bool failed(const char *call, const char *what, const char *name, const char *file, int line,
                   cudaError_t cuda, struct error *err)
{
    char message[512];
    const bool sticky = is_sticky(cuda);
    snprintf(message, sizeof message, "%.200s: %.150s (%s) at %s:%d", call,
             sticky ? cudaGetErrorString(cuda) : what, sticky ? cudaGetErrorName(cuda) : name,
             file_name(file), line);
    return sticky ? lost(cuda, message, err) : error_set(err, EXIT_CODE_FAILED, "%s", message);
}

bool cuda_check(cudaError_t status, const char *call, const char *file, int line, struct error *err)
{
    if (status == cudaSuccess) return true;
    cudaGetLastError(); /* clear it, or the check after the next launch would report it again */
    return failed(call, cudaGetErrorString(status), cudaGetErrorName(status), file, line, status,
                  err);
}

bool cudnn_check(cudnnStatus_t status, const char *call, const char *file, int line,
                 struct error *err)
{
    if (status == CUDNN_STATUS_SUCCESS) return true;
    char why[150] = "";
    cudnnGetLastErrorString(why, sizeof why);
    const cudaError_t cuda = cudaGetLastError();
    return failed(call, why[0] ? why : "cuDNN failed", cudnnGetErrorString(status), file, line,
                  cuda, err);
}

bool cublas_check(cublasStatus_t status, const char *call, const char *file, int line,
                  struct error *err)
{
    if (status == CUBLAS_STATUS_SUCCESS) return true;
    const cudaError_t cuda = cudaGetLastError();
    return failed(call, "cuBLASLt failed", cublasLtGetStatusName(status), file, line, cuda, err);
}

/* --- giving back --- */

/* Once a sticky error has been reported, failures to release add nothing. */
static void warn(bool lost_before, const struct error *late)
{
    if (late->code != EXIT_CODE_OK && !lost_before) log_warning("%s", late->message);
}

void cuda_released(cudaError_t status, const char *call, const char *file, int line)
{
    const bool lost_before = is_lost();
    struct error late = { 0 };
    cuda_check(status, call, file, line, &late);
    warn(lost_before, &late);
}

void cudnn_released(cudnnStatus_t status, const char *call, const char *file, int line)
{
    const bool lost_before = is_lost();
    struct error late = { 0 };
    cudnn_check(status, call, file, line, &late);
    warn(lost_before, &late);
}

void cublas_released(cublasStatus_t status, const char *call, const char *file, int line)
{
    const bool lost_before = is_lost();
    struct error late = { 0 };
    cublas_check(status, call, file, line, &late);
    warn(lost_before, &late);
}
