/* Opens backends; the only file that knows which there are.
 *
 * The CUDA backend is a shared library, loaded on demand: a program built with it also runs
 * where there is no GPU, driver or cuDNN, and says what is missing. MICROMET_CUDA_LIBRARY in
 * the environment names another build of the library, such as the tests', which uses a
 * simulated device. */
#include "micromet/nn/backend.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "micromet/base/log.h"
#include "micromet/nn/gpu_plan.h"
#include "micromet/world/world.h"

typedef bool backend_opener(const struct config_compute *compute, int queues,
                            const struct backend_rank *rank, struct backend **backend,
                            struct error *err);
typedef bool backend_id_maker(char id[BACKEND_ID_BYTES], struct error *err);
typedef bool backend_joiner(struct backend *backend, const char id[BACKEND_ID_BYTES],
                            struct error *err);

typedef bool planner_opener(const struct config_compute *compute, const char *gpu,
                            struct gpu_planner **planner, struct error *err);

/* A shared library, with advice for when it is not found and for when it cannot be loaded. */
struct library {
    const char *name, *absent, *broken;
};

static const struct library driver = {
    "libcuda.so.1", "start on a machine with an NVIDIA GPU, or install its driver",
    "install the driver anew"
};
static const struct library backend_library = { "libmicromet_cuda.so",
                                                "it belongs beside the program: build it again",
                                                "build it again" };
static const struct library no_driver = { "libmicromet_no_driver.so",
                                          "it belongs beside the program: build it again",
                                          "build it again" };

/* Load the library at `path`, or by its name if NULL. It is never unloaded, which the CUDA runtime
 * would not survive. */
static void *load(const struct library *library, const char *path, int flags, struct error *err)
{
    const char *name = path ? path : library->name;
    void *loaded = dlopen(name, flags);
    if (loaded) return loaded;
    const char *said = dlerror(),
               *absent = strstr(said, ": cannot open shared object file: No such");
    const size_t length = strlen(name);
    if (!absent)
        error_set(err, EXIT_CODE_USAGE, "%.160s: %s", said, library->broken);
    else if (strncmp(said, name, length) != 0 || said + length != absent)
        error_set(err, EXIT_CODE_USAGE,
                  "%.*s, which %.100s needs, is not found: install it, or add its folder to "
                  "LD_LIBRARY_PATH",
                  (int)(absent - said), said, name);
    else
        error_set(err, EXIT_CODE_USAGE, "%.160s is not there: %s", name,
                  path ? "correct or unset MICROMET_CUDA_LIBRARY" : library->absent);
    return NULL;
}

/* Program and library share struct layouts, so both must be built from the same commit. */
static bool check_version(void *library, const char *name, struct error *err)
{
    static const char ours[] = MICROMET_VERSION " " MICROMET_GIT;
    const char *version = dlsym(library, "cuda_backend_version");
    if (!version)
        return error_set(err, EXIT_CODE_USAGE, "%.160s is not micromet's CUDA backend", name);
    if (strcmp(version, ours) == 0) return true;
    return error_set(err, EXIT_CODE_USAGE,
                     "%.100s is of micromet %.30s, the program of %.30s: build both together", name,
                     version, ours);
}

/* Look up a function in the CUDA backend's library. */
static void *cuda_symbol(const char *name, struct error *err)
{
    const char *path = getenv("MICROMET_CUDA_LIBRARY");
    void *library = load(&backend_library, path, RTLD_NOW | RTLD_LOCAL, err);
    if (!library || !check_version(library, path ? path : backend_library.name, err)) return NULL;
    void *symbol = dlsym(library, name);
    CHECK(symbol);
    return symbol;
}

bool backend_cuda_built(struct error *err)
{
#ifndef MICROMET_CUDA_BUILT
    if (!getenv("MICROMET_CUDA_LIBRARY"))
        return error_set(
            err, EXIT_CODE_USAGE,
            "this program was built without the CUDA toolkit: install it (12.6 or newer) with "
            "cuDNN 9, and build again");
#endif
    (void)err;
    return true;
}

/* The driver is loaded first: a machine without a GPU lacks it, and loading cuBLASLt
 * takes a while. */
static bool cuda_open_alone(const struct config_compute *compute, int queues,
                            const struct world *world, struct backend **backend, struct error *err)
{
    const struct backend_rank rank = { .rank = world_rank(world),
                                       .ranks = world_size(world),
                                       .local_rank = world_local_rank(world),
                                       .local_ranks = world_local_size(world) };
    if (!backend_cuda_built(err)) return false;
    if (!getenv("MICROMET_CUDA_LIBRARY") && !load(&driver, NULL, RTLD_LAZY, err)) return false;
    void *symbol = cuda_symbol("cuda_backend_open", err);
    if (!symbol) return false;
    backend_opener *open;
    memcpy(&open, &symbol, sizeof open);
    return open(compute, queues, &rank, backend, err);
}

/* All ranks, whose devices are open: have them find each other. */
static bool cuda_join(struct world *world, struct backend *backend, struct error *err)
{
    char id[BACKEND_ID_BYTES] = { 0 };
    void *symbols[] = { cuda_symbol("cuda_backend_id", err),
                        cuda_symbol("cuda_backend_join", err) };
    bool ok = symbols[0] && symbols[1];
    backend_id_maker *make_id;
    backend_joiner *join;
    memcpy(&make_id, &symbols[0], sizeof make_id);
    memcpy(&join, &symbols[1], sizeof join);
    if (ok && world_rank(world) == 0) ok = make_id(id, err);
    if (!world_all_ok(world, ok, err) || !world_broadcast(world, id, sizeof id, err)) return false;
    return world_all_ok(world, join(backend, id, err), err);
}

/* What one rank cannot do, none does. */
static bool cuda_backend_open(const struct config_compute *compute, int queues, struct world *world,
                              struct backend **backend, struct error *err)
{
    *backend = NULL;
    bool ok = cuda_open_alone(compute, queues, world, backend, err);
    if (world_size(world) == 1) return ok;
    ok = world_all_ok(world, ok, err) && cuda_join(world, *backend, err);
    if (ok) return true;
    backend_close(*backend);
    *backend = NULL;
    return false;
}

/* cuDNN plans fused kernels only if the driver's entry points work, which the real driver's do not
 * on a machine without a GPU, such as a login node. A stand-in library that is loaded first takes
 * their place; planning needs no more of the driver. */
bool gpu_planner_open(const struct config_compute *compute, const char *gpu,
                      struct gpu_planner **planner, struct error *err)
{
    *planner = NULL;
    if (!backend_cuda_built(err)) return false;
    if (!getenv("MICROMET_CUDA_LIBRARY") && !load(&no_driver, NULL, RTLD_NOW | RTLD_GLOBAL, err))
        return false;
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

/* Whether someone counts on CUDA: a library was named, or NVIDIA's driver has a GPU here. */
static bool cuda_is_expected(void)
{
    return getenv("MICROMET_CUDA_LIBRARY") || access("/dev/nvidiactl", F_OK) == 0;
}

bool backend_open(const struct config_compute *compute, int queues, struct world *world,
                  struct backend **backend, char why_not[256], struct error *err)
{
    why_not[0] = '\0';
    if (compute->backend == BACKEND_CPU)
        return cpu_backend_open(compute, queues, world, backend, err);
    struct error cuda = { 0 };
    if (cuda_backend_open(compute, queues, world, backend, &cuda)) return true;
    if (compute->backend == BACKEND_CUDA)
        return error_set(err, cuda.code,
                         "compute.backend: cuda cannot be used: %s; or choose cpu or auto",
                         cuda.message);
    /* Warn, as an existing GPU is meant to be used: on the CPU, hours of training become weeks. */
    if (cuda.code != EXIT_CODE_USAGE)
        log_warning("a GPU is there, but cannot be used: %s", cuda.message);
    if (cuda_is_expected()) snprintf(why_not, 256, "%.250s", cuda.message);
    return cpu_backend_open(compute, queues, world, backend, err);
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
