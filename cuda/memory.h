/* Memory of the device and of the host, and who holds it; private to the backend's core. */
#ifndef MICROMET_CUDA_MEMORY_H
#define MICROMET_CUDA_MEMORY_H

#include "cuda_backend.h"

bool memory_init(struct cuda_backend *backend, struct error *err);
void memory_release(struct cuda_backend *backend);

/* The alloc, alloc_host, exhausted_memory_bytes, free and free_host of backend_ops. Work under way
 * ends before memory is given back. */
bool memory_alloc(struct backend *base, size_t bytes, void **memory, struct error *err);
bool memory_alloc_host(struct backend *base, size_t bytes, void **memory, struct error *err);
size_t exhausted_memory_bytes(const struct backend *base);
void memory_free(struct backend *base, void *memory);
void memory_free_host(struct backend *base, void *memory);

#endif
