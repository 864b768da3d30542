/* GPUs that plans can be made for on a machine that does not have them. */
#ifndef MICROMET_CUDA_GPUS_H
#define MICROMET_CUDA_GPUS_H

#include <stdbool.h>

#include "micromet/base/error.h"
#include "micromet/nn/gpu.h"

/* Find a GPU by its short name; the error for an unknown name lists the known ones. */
bool gpu_find(const char *name, const struct gpu **gpu, struct error *err);

enum { GPU_JSON_BYTES = 1024 };
/* The description of the GPU from which cuDNN makes plans. */
void gpu_json(const struct gpu *gpu, char json[GPU_JSON_BYTES]);

#endif
