/* Planning with cuDNN itself where the driver finds no GPU, as on a login node: LD_LIBRARY_PATH
 * leads to such a driver. One convolution stands for all: bfloat16 with bias and ReLU in one
 * kernel, which cuDNN compiles only where the driver's entry points answer. */
#include <criterion/criterion.h>
#include <dlfcn.h>

#include "micromet/nn/gpu_plan.h"
#include "temporary.h"

static struct tensor maps(int channels)
{
    return (struct tensor) {
        .dtype = DTYPE_BF16, .n = 8, .h = 9, .w = 9, .c = channels, .pixel_stride = channels
    };
}

TestSuite(planner, .init = temporary_begin, .fini = temporary_end);

enum { STAND_IN_VERSION = 13000 };

/* The driver that a library finds by its name. */
static int driver_version(void)
{
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    int (*get)(int *) = NULL, version = 0;
    void *symbol = driver ? dlsym(driver, "cuDriverGetVersion") : NULL;
    memcpy(&get, &symbol, sizeof get);
    if (get) get(&version);
    return version;
}

Test(planner, compiles_fused_kernels_on_a_login_node)
{
    struct config_compute compute = { .workspace = 256 };
    const struct op op = {
        .kind = OP_CONVOLUTION,
        .x = maps(64),
        .y = maps(96),
        .convolution.window = { .kernel_h = 3, .kernel_w = 3, .stride = 1, .pad_h = 1, .pad_w = 1 },
        .convolution.bias = true,
        .convolution.relu = true
    };
    struct gpu_planner *planner;
    struct gpu_convolution convolution;
    struct error err = { 0 };
    snprintf(compute.plan_cache, sizeof compute.plan_cache, "%s", temporary_folder);
    cr_assert(gpu_planner_open(&compute, "h100", &planner, &err), "%s", err.message);
    cr_assert(planner->ops->convolution(planner, &op, &convolution, &err), "%s", err.message);
    cr_expect_eq(driver_version(), STAND_IN_VERSION);
    cr_expect_str_eq(convolution.form, "fused");
    gpu_planner_close(planner);
}
