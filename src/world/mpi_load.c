#include <dlfcn.h>
#include <string.h>

#include "mpi_library.h"

static const char library_name[] = "libmicromet_mpi.so";

/* It is never unloaded, which MPI's own libraries would not survive. */
const struct mpi_ops *mpi_load(struct error *err)
{
    void *library = dlopen(library_name, RTLD_NOW | RTLD_LOCAL);
    const struct mpi_ops *ops = library ? dlsym(library, "micromet_mpi") : NULL;
    if (!ops) {
        error_set(err, EXIT_CODE_USAGE,
                  "%.300s: for MPI, build with Open MPI's libopenmpi-dev; without it, ranks need "
                  "MASTER_ADDR and MASTER_PORT",
                  library ? "libmicromet_mpi.so is not ours" : dlerror());
        return NULL;
    }
    if (strcmp(ops->micromet_version, MICROMET_VERSION " " MICROMET_GIT) != 0) {
        error_set(err, EXIT_CODE_USAGE,
                  "%s is of micromet %.30s, the program of %s: build both together", library_name,
                  ops->micromet_version, MICROMET_VERSION " " MICROMET_GIT);
        return NULL;
    }
    return ops;
}
