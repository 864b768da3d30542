/* The GPUs that plans can be made for without having one. */
#ifndef MICROMET_CUDA_GPUS_H
#define MICROMET_CUDA_GPUS_H

#include <stdbool.h>

#include "micromet/base/error.h"
#include "micromet/nn/gpu.h"

/* Names the ones there are if it is none of them. */
bool gpu_find(const char *name, const struct gpu **gpu, struct error *err);

enum { GPU_JSON_BYTES = 1024 };
/* The description that cuDNN plans for. */
void gpu_json(const struct gpu *gpu, char json[GPU_JSON_BYTES]);

#endif
