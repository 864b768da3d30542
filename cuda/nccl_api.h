/* NCCL, which is loaded only where several ranks train together: a program for one GPU needs none.
 *
 *     if (!NCCL_OK(nccl, ncclGroupStart(), err)) return false;
 *
 * is nccl->ncclGroupStart() with its status turned into an error, as in check.h. */
#ifndef MICROMET_CUDA_NCCL_API_H
#define MICROMET_CUDA_NCCL_API_H

#include <nccl.h>

#include "micromet/base/error.h"

/* The functions that are used, by NCCL's own names. */
#define NCCL_FUNCTIONS(X)                                                                          \
    X(ncclGetVersion)                                                                              \
    X(ncclGetUniqueId)                                                                             \
    X(ncclCommInitRankConfig)                                                                      \
    X(ncclCommGetAsyncError)                                                                       \
    X(ncclCommAbort)                                                                               \
    X(ncclCommDestroy)                                                                             \
    X(ncclGroupStart)                                                                              \
    X(ncclGroupEnd)                                                                                \
    X(ncclSend)                                                                                    \
    X(ncclRecv)                                                                                    \
    X(ncclAllReduce)                                                                               \
    X(ncclGetErrorString)                                                                          \
    X(ncclGetLastError)

struct nccl_api {
#define NCCL_MEMBER(name) __typeof__(name) *name;
    NCCL_FUNCTIONS(NCCL_MEMBER)
#undef NCCL_MEMBER
    int version; /* 22809 */
};

/* Load libnccl.so.2, or the file that MICROMET_NCCL_LIBRARY in the environment names. It is never
 * unloaded. */
bool nccl_load(struct nccl_api *nccl, struct error *err);

bool nccl_check(const struct nccl_api *nccl, ncclResult_t status, const char *call,
                const char *file, int line, struct error *err);

#define NCCL_OK(nccl, call, err) nccl_check((nccl), (nccl)->call, #call, __FILE__, __LINE__, (err))

#endif
