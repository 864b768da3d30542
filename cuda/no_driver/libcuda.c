/* A stand-in for NVIDIA's driver, libcuda.so.1, for planning without a GPU.
 *
 * To compile fused kernels for the description of a GPU, cuDNN needs the driver's entry points and
 * loads its kernels through them. Here they "load" as nothing and cannot be launched, and cuInit
 * reports that there is no GPU. Only planning loads this library, before anything looks for a
 * driver, whether the machine has none, one without a GPU (a login node) or a working one. The
 * functions are not declared here: callers use NVIDIA's header. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

enum { SUCCESS = 0, NO_DEVICE = 100, DRIVER_VERSION = 13000, CLUSTER_BLOCKS = 8 };

static int nothing;

int cuInit(unsigned flags)
{
    (void)flags;
    return NO_DEVICE;
}

int cuDriverGetVersion(int *version)
{
    *version = DRIVER_VERSION;
    return SUCCESS;
}

int cuDeviceGetCount(int *count)
{
    *count = 0;
    return SUCCESS;
}

int cuLibraryLoadData(void **library)
{
    *library = &nothing;
    return SUCCESS;
}

int cuLibraryLoadFromFile(void **library)
{
    *library = &nothing;
    return SUCCESS;
}

int cuLibraryGetKernel(void **kernel)
{
    *kernel = &nothing;
    return SUCCESS;
}

int cuLibraryUnload(void *library)
{
    (void)library;
    return SUCCESS;
}

int cuKernelSetAttribute(void)
{
    return SUCCESS;
}

int cuKernelGetAttribute(int *value)
{
    *value = 0;
    return SUCCESS;
}

/* The portable maximum, which every GPU with clusters supports. */
int cuOccupancyMaxPotentialClusterSize(int *blocks)
{
    *blocks = CLUSTER_BLOCKS;
    return SUCCESS;
}

static int absent(void)
{
    return NO_DEVICE;
}

#define ABSENT __attribute__((alias("absent")))

int cuGetErrorName(void) ABSENT;
int cuGetErrorString(void) ABSENT;
int cuCtxGetCurrent(void) ABSENT;
int cuCtxGetLimit(void) ABSENT;
int cuCtxPopCurrent(void) ABSENT;
int cuCtxPushCurrent(void) ABSENT;
int cuStreamGetCtx(void) ABSENT;
int cuLinkCreate(void) ABSENT;
int cuLinkAddData(void) ABSENT;
int cuLinkComplete(void) ABSENT;
int cuLinkDestroy(void) ABSENT;
int cuLaunchKernel(void) ABSENT;
int cuLaunchCooperativeKernel(void) ABSENT;
int cuLaunchKernelEx(void) ABSENT;
int cuDeviceGet(void) ABSENT;
