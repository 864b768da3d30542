/* Shares out processors and GPUs. Nothing of CUDA is called: this process uses no GPU. */
#include "share.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/file.h"
#include "micromet/base/thread.h"

enum { GPUS_MAX = 1024 };

/* Devices of NVIDIA's driver, whose files need not be numbered from 0 in a container. */
static int count_devices(void)
{
    int count = 0;
    for (int i = 0; i < GPUS_MAX; i++) {
        char path[32];
        snprintf(path, sizeof path, "/dev/nvidia%d", i);
        count += file_exists(path);
    }
    return count;
}

int share_gpu_count(void)
{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    if (!visible) return count_devices();
    int count = *visible != '\0';
    for (; *visible; visible++) count += *visible == ',';
    return count;
}

/* The name of GPU `number` among those: an index, or a UUID. */
static void name_gpu(int number, char name[SHARE_GPU_BYTES])
{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    snprintf(name, SHARE_GPU_BYTES, "%d", number);
    if (!visible) return;
    while (number-- > 0) visible += strcspn(visible, ",") + 1;
    snprintf(name, SHARE_GPU_BYTES, "%.*s", (int)strcspn(visible, ","), visible);
}

struct share share_of(const struct config *config, int slot, int jobs)
{
    const int processors = thread_count_default() / jobs;
    const int gpus = config->compute.backend == BACKEND_CPU ? 0 : share_gpu_count();
    struct share share = { .threads = processors > 0 ? processors : 1 };
    if (config->compute.threads > 0) share.threads = 0;
    if (jobs > 1 && gpus > 0) name_gpu(slot % gpus, share.gpu);
    return share;
}
