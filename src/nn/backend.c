/* The backend registry: the one place that knows which backends there are.
 *
 * The CUDA backend is a library of its own, loaded when it is asked for: a program built with it
 * runs where no GPU, no driver and no cuDNN is, and says what is missing. MICROMET_CUDA_LIBRARY in
 * the environment names another build of it, such as the tests' on a simulated device. */
#include "micromet/nn/backend.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "micromet/nn/gpu_plan.h"

typedef bool backend_opener(const struct config_compute *compute, int queues,
                            struct backend **backend, struct error *err);

typedef bool planner_opener(const struct config_compute *compute, const char *gpu,
                            struct gpu_planner **planner, struct error *err);

static bool driver_is_there(void)
{
    return dlopen("libcuda.so.1", RTLD_LAZY) != NULL;
}

/* A function of the library, which is loaded once and for good: the CUDA runtime does not survive
 * being unloaded. */
static void *cuda_symbol(const char *name, struct error *err)
{
    const char *path = getenv("MICROMET_CUDA_LIBRARY");
    void *library = dlopen(path ? path : "libmicromet_cuda.so", RTLD_NOW | RTLD_LOCAL);
    void *symbol = library ? dlsym(library, name) : NULL;
    if (!symbol)
        error_set(err, EXIT_CODE_USAGE, "the CUDA backend cannot be loaded: %.300s", dlerror());
    return symbol;
}

/* The driver comes first: it is what a machine without a GPU lacks, and loading cuBLASLt takes a
 * while. */
static bool cuda_backend_open(const struct config_compute *compute, int queues,
                              struct backend **backend, struct error *err)
{
    *backend = NULL;
    if (!getenv("MICROMET_CUDA_LIBRARY") && !driver_is_there())
        return error_set(err, EXIT_CODE_USAGE,
                         "no NVIDIA driver (libcuda.so.1 is not there): install one");
    void *symbol = cuda_symbol("cuda_backend_open", err);
    if (!symbol) return false;
    backend_opener *open;
    memcpy(&open, &symbol, sizeof open);
    return open(compute, queues, backend, err);
}

/* cuDNN plans fused kernels only where the driver's entry points are: a stand-in has them. */
bool gpu_planner_open(const struct config_compute *compute, const char *gpu,
                      struct gpu_planner **planner, struct error *err)
{
    *planner = NULL;
    if (!driver_is_there() && !dlopen("libmicromet_no_driver.so", RTLD_NOW | RTLD_GLOBAL))
        return error_set(err, EXIT_CODE_FAILED, "the CUDA backend cannot be loaded: %.300s",
                         dlerror());
    void *symbol = cuda_symbol("cuda_planner_open", err);
    if (!symbol) return false;
    planner_opener *open;
    memcpy(&open, &symbol, sizeof open);
    return open(compute, gpu, planner, err);
}

void gpu_planner_close(struct gpu_planner *planner)
{
    if (planner) planner->ops->close(planner);
}

bool backend_open(const struct config_compute *compute, int queues, struct backend **backend,
                  char why_not[256], struct error *err)
{
    why_not[0] = '\0';
    if (compute->backend == BACKEND_CPU) {
        snprintf(why_not, 256, "compute.backend is cpu");
        return cpu_backend_open(compute, queues, backend, err);
    }
    struct error cuda = { 0 };
    if (cuda_backend_open(compute, queues, backend, &cuda)) return true;
    if (compute->backend == BACKEND_CUDA)
        return error_set(err, EXIT_CODE_USAGE,
                         "compute.backend: cuda cannot be used: %s; choose cpu or auto",
                         cuda.message);
    snprintf(why_not, 256, "%.250s", cuda.message);
    return cpu_backend_open(compute, queues, backend, err);
}

void backend_close(struct backend *backend)
{
    if (backend) backend->ops->close(backend);
}

void backend_range_push(struct backend *backend, const char *name)
{
    if (backend->ops->range_push) backend->ops->range_push(name);
}

void backend_range_pop(struct backend *backend)
{
    if (backend->ops->range_pop) backend->ops->range_pop();
}
