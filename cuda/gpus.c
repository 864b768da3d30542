/* Specifications of GPUs: enough for cuDNN to choose engines, and for a roofline model.
 *
 * Limits of a multiprocessor are from the table of compute capabilities in the CUDA C++ Programming
 * Guide; clocks, caches and memory are what cudaGetDeviceProperties reports on such a card. Peaks
 * are from the data sheets, without sparsity, with FP32 accumulation. */
#include "gpus.h"

#include <stdio.h>
#include <string.h>

#include "micromet/base/size.h"

static const struct gpu gpus[] = {
    /* NVIDIA A100 Tensor Core GPU data sheet (80 GB SXM); GA100 white paper. */
    { .name = "a100",
      .device_name = "NVIDIA A100-SXM4-80GB",
      .capability = 80,
      .multiprocessors = 108,
      .clock_khz = 1410000,
      .memory_clock_khz = 1593000,
      .shared_memory_per_block = 163 << 10,
      .threads_per_multiprocessor = 2048,
      .blocks_per_multiprocessor = 32,
      .l2_bytes = (size_t)40 << 20,
      .memory_bytes = (size_t)81050 << 20,
      .memory_bytes_per_s = 2039e9,
      .link_bytes_per_s = 300e9,
      .bf16_flops = 312e12,
      .tf32_flops = 156e12,
      .fp32_flops = 19.5e12 },
    /* NVIDIA L40S data sheet; Ada white paper. */
    { .name = "l40s",
      .device_name = "NVIDIA L40S",
      .capability = 89,
      .multiprocessors = 142,
      .clock_khz = 2520000,
      .memory_clock_khz = 9001000,
      .shared_memory_per_block = 99 << 10,
      .threads_per_multiprocessor = 1536,
      .blocks_per_multiprocessor = 24,
      .l2_bytes = (size_t)96 << 20,
      .memory_bytes = (size_t)45460 << 20,
      .memory_bytes_per_s = 864e9,
      .link_bytes_per_s = 32e9,
      .bf16_flops = 362e12,
      .tf32_flops = 183e12,
      .fp32_flops = 91.6e12 },
    /* NVIDIA H100 Tensor Core GPU data sheet (SXM5); Hopper white paper. */
    { .name = "h100",
      .device_name = "NVIDIA H100 80GB HBM3",
      .capability = 90,
      .multiprocessors = 132,
      .clock_khz = 1980000,
      .memory_clock_khz = 2619000,
      .shared_memory_per_block = 227 << 10,
      .threads_per_multiprocessor = 2048,
      .blocks_per_multiprocessor = 32,
      .l2_bytes = (size_t)50 << 20,
      .memory_bytes = (size_t)81000 << 20,
      .memory_bytes_per_s = 3352e9,
      .link_bytes_per_s = 450e9,
      .bf16_flops = 989e12,
      .tf32_flops = 494e12,
      .fp32_flops = 66.9e12 },
    /* NVIDIA Blackwell architecture technical brief and data sheet (HGX B200). */
    { .name = "b200",
      .device_name = "NVIDIA B200",
      .capability = 100,
      .multiprocessors = 148,
      .clock_khz = 1965000,
      .memory_clock_khz = 3996000,
      .shared_memory_per_block = 227 << 10,
      .threads_per_multiprocessor = 2048,
      .blocks_per_multiprocessor = 32,
      .l2_bytes = (size_t)126 << 20,
      .memory_bytes = (size_t)182600 << 20,
      .memory_bytes_per_s = 8000e9,
      .link_bytes_per_s = 900e9,
      .bf16_flops = 2250e12,
      .tf32_flops = 1125e12,
      .fp32_flops = 75e12 },
    /* NVIDIA RTX Blackwell GPU architecture white paper, appendix A (GeForce RTX 5090). */
    { .name = "rtx5090",
      .device_name = "NVIDIA GeForce RTX 5090",
      .capability = 120,
      .multiprocessors = 170,
      .clock_khz = 2407000,
      .memory_clock_khz = 14001000,
      .shared_memory_per_block = 99 << 10,
      .threads_per_multiprocessor = 1536,
      .blocks_per_multiprocessor = 24,
      .l2_bytes = (size_t)96 << 20,
      .memory_bytes = (size_t)32110 << 20,
      .memory_bytes_per_s = 1792e9,
      .link_bytes_per_s = 64e9,
      .bf16_flops = 209.5e12,
      .tf32_flops = 104.8e12,
      .fp32_flops = 104.8e12 },
};

bool gpu_find(const char *name, const struct gpu **gpu, struct error *err)
{
    char names[256] = "";
    for (size_t i = 0; i < COUNT_OF(gpus); i++) {
        *gpu = &gpus[i];
        if (strcmp(gpus[i].name, name) == 0) return true;
        const size_t length = strlen(names);
        snprintf(names + length, sizeof names - length, "%s%s", i ? ", " : "", gpus[i].name);
    }
    return error_set(err, EXIT_CODE_USAGE, "--gpu: '%.40s' is not known; there are %s", name,
                     names);
}

void gpu_json(const struct gpu *gpu, char json[GPU_JSON_BYTES])
{
    const int length = snprintf(
        json, GPU_JSON_BYTES,
        "{\"deviceVer\":%d,\"driverVer\":13000,\"cudaDeviceId\":0,\"totalGlobalMem\":%zu,"
        "\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],"
        "\"regsPerBlock\":65536,\"multiProcessorCount\":%d,\"warpSize\":32,"
        "\"maxSharedMemoryPerBlock\":49152,\"maxSharedMemoryPerBlockOptin\":%d,"
        "\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,\"maxCtasPerSM\":%d,"
        "\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":%d,\"pciDeviceId\":0,\"isTccDriver\":0,"
        "\"supportCoopLaunch\":1,\"smClockRateKHz\":%d,\"memClockRateKHz\":%d,\"l2CacheSize\":%zu,"
        "\"deviceName\":\"%s\"}",
        10 * gpu->capability, gpu->memory_bytes, gpu->multiprocessors, gpu->shared_memory_per_block,
        gpu->blocks_per_multiprocessor, gpu->threads_per_multiprocessor, gpu->clock_khz,
        gpu->memory_clock_khz, gpu->l2_bytes, gpu->device_name);
    CHECK(length > 0 && length < GPU_JSON_BYTES);
}
