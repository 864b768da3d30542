/* Loads NCCL and looks up its functions. */
#include "nccl_api.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum {
    OLDEST = NCCL_VERSION(2, 18, 1)
}; /* captures sends in graphs, and takes our configuration */

static void *open_library(struct error *err)
{
    const char *path = getenv("MICROMET_NCCL_LIBRARY");
    void *library = dlopen(path ? path : "libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (library) return library;
    error_set(err, EXIT_CODE_USAGE, "several GPUs need NCCL: %.200s; %s", dlerror(),
              path ? "correct or unset MICROMET_NCCL_LIBRARY"
                   : "install the package libnccl2, or add its folder to LD_LIBRARY_PATH");
    return NULL;
}

static bool look_up(void *library, const char *name, void *function, struct error *err)
{
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol || error_set(err, EXIT_CODE_USAGE,
                               "this NCCL has no %s: install the package libnccl2, %d.%d or newer",
                               name, OLDEST / 10000, OLDEST % 10000 / 100);
}

static bool fill(struct nccl_api *nccl, void *library, struct error *err)
{
#define NCCL_LOOK_UP(name)                                                                         \
    if (!look_up(library, #name, &nccl->name, err)) return false;
    NCCL_FUNCTIONS(NCCL_LOOK_UP)
#undef NCCL_LOOK_UP
    if (!NCCL_OK(nccl, ncclGetVersion(&nccl->version), err)) return false;
    return nccl->version >= OLDEST ||
           error_set(err, EXIT_CODE_USAGE,
                     "NCCL is %d.%d.%d: install the package libnccl2, %d.%d or newer",
                     nccl->version / 10000, nccl->version % 10000 / 100, nccl->version % 100,
                     OLDEST / 10000, OLDEST % 10000 / 100);
}

bool nccl_load(struct nccl_api *nccl, struct error *err)
{
    void *library = open_library(err);
    return library && fill(nccl, library, err);
}

bool nccl_check(const struct nccl_api *nccl, ncclResult_t status, const char *call,
                const char *file, int line, struct error *err)
{
    if (status == ncclSuccess) return true;
    const char *name = strrchr(file, '/'), *more = nccl->ncclGetLastError(NULL);
    return error_set(err, EXIT_CODE_FAILED, "%.100s: %.100s%s%.200s at cuda/%s:%d", call,
                     nccl->ncclGetErrorString(status), more && *more ? ": " : "", more ? more : "",
                     name ? name + 1 : file, line);
}
