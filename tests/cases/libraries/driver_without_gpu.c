/* NVIDIA's driver where no GPU is, as on a login node: its entry points are there and say so. Names
 * and numbers are the driver's; the parameters of those that only fail are left out. */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

enum { SUCCESS = 0, NOT_INITIALIZED = 3, NO_DEVICE = 100, NEWEST_VERSION = 99000 };

int cuInit(unsigned flags)
{
    (void)flags;
    return NO_DEVICE;
}

int cuDriverGetVersion(int *version)
{
    *version = NEWEST_VERSION;
    return SUCCESS;
}

static int fails(void)
{
    return NOT_INITIALIZED;
}

#define FAILS __attribute__((alias("fails")))
int cuGetErrorName(void) FAILS;
int cuGetErrorString(void) FAILS;
int cuDeviceGetCount(void) FAILS;
int cuCtxGetCurrent(void) FAILS;
int cuCtxGetLimit(void) FAILS;
int cuCtxPopCurrent(void) FAILS;
int cuCtxPushCurrent(void) FAILS;
int cuDeviceGet(void) FAILS;
int cuStreamGetCtx(void) FAILS;
int cuLibraryLoadData(void) FAILS;
int cuLibraryLoadFromFile(void) FAILS;
int cuLibraryGetKernel(void) FAILS;
int cuLibraryUnload(void) FAILS;
int cuKernelSetAttribute(void) FAILS;
int cuKernelGetAttribute(void) FAILS;
int cuOccupancyMaxPotentialClusterSize(void) FAILS;
int cuLinkCreate(void) FAILS;
int cuLinkAddData(void) FAILS;
int cuLinkComplete(void) FAILS;
int cuLinkDestroy(void) FAILS;
int cuLaunchKernel(void) FAILS;
int cuLaunchCooperativeKernel(void) FAILS;
int cuLaunchKernelEx(void) FAILS;
