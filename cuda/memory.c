/* Device and pinned memory. Every allocation is recorded, because CUDA does not report what a
 * process has allocated: an out-of-memory error can then say what uses the device. */
#include "memory.h"

#include <stdlib.h>

#include "micromet/base/size.h"
#include "queues.h"

struct block {
    void *memory;
    size_t bytes;
};

struct blocks {
    struct block *items;
    int count, capacity;
};

struct cuda_memory {
    struct blocks buffers; /* from memory_alloc() */
    struct blocks pinned;  /* from memory_alloc_host() */
    struct blocks retired; /* old workspaces that recordings still use */
    size_t room;           /* free or used by this process when memory ran out; else 0 */
};

static bool blocks_add(struct blocks *blocks, void *memory, size_t bytes, struct error *err)
{
    if (blocks->count == blocks->capacity) {
        const int capacity = blocks->capacity ? 2 * blocks->capacity : 64;
        struct block *grown = realloc(blocks->items, (size_t)capacity * sizeof *grown);
        if (!grown) return error_set(err, EXIT_CODE_FAILED, "out of memory for a list of buffers");
        blocks->items = grown;
        blocks->capacity = capacity;
    }
    blocks->items[blocks->count++] = (struct block) { memory, bytes };
    return true;
}

static void blocks_remove(struct blocks *blocks, const void *memory)
{
    for (int i = 0; i < blocks->count; i++)
        if (blocks->items[i].memory == memory) {
            blocks->items[i] = blocks->items[--blocks->count];
            return;
        }
}

static size_t blocks_bytes(const struct blocks *blocks)
{
    size_t bytes = 0;
    for (int i = 0; i < blocks->count; i++) bytes += blocks->items[i].bytes;
    return bytes;
}

bool memory_init(struct cuda_backend *backend, struct error *err)
{
    backend->memory = calloc(1, sizeof *backend->memory);
    return backend->memory || error_set(err, EXIT_CODE_FAILED, "out of memory for the backend");
}

void memory_release(struct cuda_backend *backend)
{
    if (!backend->memory) return;
    for (int i = 0; i < backend->memory->retired.count; i++)
        CUDA_RELEASE(cudaFree(backend->memory->retired.items[i].memory));
    for (int q = 0; q < CUDA_QUEUES_MAX; q++) CUDA_RELEASE(cudaFree(backend->workspace[q]));
    free(backend->memory->retired.items);
    free(backend->memory->buffers.items);
    free(backend->memory->pinned.items);
    free(backend->memory);
}

static size_t workspaces_bytes(const struct cuda_backend *backend)
{
    size_t bytes = blocks_bytes(&backend->memory->retired);
    for (int q = 0; q < CUDA_QUEUES_MAX; q++) bytes += backend->workspace_bytes[q];
    return bytes;
}

static bool no_memory(const struct cuda_backend *backend, size_t bytes, int line, struct error *err)
{
    const size_t buffers = blocks_bytes(&backend->memory->buffers), plans = backend->plan_bytes;
    const size_t workspaces = workspaces_bytes(backend);
    size_t free_bytes = 0, total_bytes = 0;
    if (!CUDA_OK(cudaMemGetInfo(&free_bytes, &total_bytes), err)) return false;
    backend->memory->room = free_bytes + buffers + plans + workspaces;
    return error_set(err, EXIT_CODE_FAILED,
                     "the GPU is out of memory (cudaMalloc: cudaErrorMemoryAllocation at "
                     "cuda/memory.c:%d): %.1f MiB asked for, %.1f of %.1f MiB free; this process "
                     "holds %.1f MiB of buffers, %.1f of plans and %.1f of workspace; a smaller "
                     "train.batch needs less",
                     line, mib(bytes), mib(free_bytes), mib(total_bytes), mib(buffers), mib(plans),
                     mib(workspaces));
}

bool cuda_alloc(struct cuda_backend *backend, size_t bytes, void **memory, struct error *err)
{
    *memory = NULL;
    const cudaError_t status = cudaMalloc(memory, bytes > 0 ? bytes : 1);
    if (status != cudaErrorMemoryAllocation)
        return cuda_check(status, "cudaMalloc(memory, bytes)", __FILE__, __LINE__, err);
    *memory = NULL;
    cudaGetLastError();
    return no_memory(backend, bytes, __LINE__, err);
}

bool memory_alloc(struct backend *base, size_t bytes, void **memory, struct error *err)
{
    struct cuda_backend *backend = (struct cuda_backend *)base;
    if (!cuda_alloc(backend, bytes, memory, err)) return false;
    if (blocks_add(&backend->memory->buffers, *memory, bytes, err)) return true;
    CUDA_RELEASE(cudaFree(*memory));
    *memory = NULL;
    return false;
}

bool memory_alloc_host(struct backend *base, size_t bytes, void **memory, struct error *err)
{
    struct blocks *pinned = &((struct cuda_backend *)base)->memory->pinned;
    *memory = NULL;
    const cudaError_t status = cudaHostAlloc(memory, bytes > 0 ? bytes : 1, cudaHostAllocDefault);
    if (status == cudaErrorMemoryAllocation) {
        *memory = NULL;
        cudaGetLastError();
        return error_set(err, EXIT_CODE_FAILED,
                         "the system pins no more host memory (cudaHostAlloc: "
                         "cudaErrorMemoryAllocation at cuda/memory.c:%d): %.1f MiB asked for, this "
                         "process holds %.1f MiB of it; a smaller train.batch or data.ring needs "
                         "less",
                         __LINE__, mib(bytes), mib(blocks_bytes(pinned)));
    }
    if (!cuda_check(status, "cudaHostAlloc(memory, bytes)", __FILE__, __LINE__, err)) return false;
    if (blocks_add(pinned, *memory, bytes, err)) return true;
    CUDA_RELEASE(cudaFreeHost(*memory));
    *memory = NULL;
    return false;
}

size_t exhausted_memory_bytes(const struct backend *base)
{
    return ((const struct cuda_backend *)base)->memory->room;
}

void memory_free(struct backend *base, void *memory)
{
    if (!memory) return;
    blocks_remove(&((struct cuda_backend *)base)->memory->buffers, memory);
    CUDA_RELEASE(cudaDeviceSynchronize());
    CUDA_RELEASE(cudaFree(memory));
}

void memory_free_host(struct backend *base, void *memory)
{
    if (!memory) return;
    blocks_remove(&((struct cuda_backend *)base)->memory->pinned, memory);
    CUDA_RELEASE(cudaDeviceSynchronize());
    CUDA_RELEASE(cudaFreeHost(memory));
}

bool workspace_reserve(struct cuda_backend *backend, int queue, size_t bytes, struct error *err)
{
    if (bytes <= backend->workspace_bytes[queue]) return true;
    void *old = backend->workspace[queue], *grown;
    if (!cuda_alloc(backend, bytes, &grown, err)) return error_prefix(err, "workspace");
    if (old && queues_have_recordings(backend)) {
        if (!blocks_add(&backend->memory->retired, old, backend->workspace_bytes[queue], err)) {
            CUDA_RELEASE(cudaFree(grown));
            return false;
        }
    } else if (old) {
        const bool idle = CUDA_OK(cudaStreamSynchronize(backend->streams[queue]), err);
        CUDA_RELEASE(cudaFree(old));
        backend->workspace[queue] = NULL;
        backend->workspace_bytes[queue] = 0;
        if (!idle) {
            CUDA_RELEASE(cudaFree(grown));
            return false;
        }
    }
    backend->workspace[queue] = grown;
    backend->workspace_bytes[queue] = bytes;
    return true;
}
