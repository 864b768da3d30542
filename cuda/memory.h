/* Allocation of device memory and pinned host memory, with a record of what is
 * allocated. Private to the backend. */
#ifndef MICROMET_CUDA_MEMORY_H
#define MICROMET_CUDA_MEMORY_H

#include "cuda_backend.h"

bool memory_init(struct cuda_backend *backend, struct error *err);
void memory_release(struct cuda_backend *backend);

/* These are alloc, alloc_host, exhausted_memory_bytes, free and free_host of backend_ops. Freeing
 * waits until the device is idle. */
bool memory_alloc(struct backend *base, size_t bytes, void **memory, struct error *err);
bool memory_alloc_host(struct backend *base, size_t bytes, void **memory, struct error *err);
size_t exhausted_memory_bytes(const struct backend *base);
void memory_free(struct backend *base, void *memory);
void memory_free_host(struct backend *base, void *memory);

#endif
