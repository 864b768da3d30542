/* Specifications of GPU models, to plan a training without having one. */
#ifndef MICROMET_NN_GPU_H
#define MICROMET_NN_GPU_H

#include <stddef.h>

struct gpu {
    const char *name;        /* on the command line: "h100" */
    const char *device_name; /* as the driver calls it */
    int capability;          /* 10 * major + minor */
    int multiprocessors;
    int clock_khz, memory_clock_khz; /* boost */
    int shared_memory_per_block;     /* bytes, opt-in maximum */
    int threads_per_multiprocessor, blocks_per_multiprocessor;
    size_t l2_bytes, memory_bytes;
    double memory_bytes_per_s;
    double link_bytes_per_s; /* to other GPUs of its host, in each direction: NVLink or PCIe */
    double bf16_flops, tf32_flops, fp32_flops; /* per second, dense, accumulating in float32 */
};

#endif
