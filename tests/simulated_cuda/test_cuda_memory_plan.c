/* The memory that a training is predicted to take of the device, compared with what it takes. */
#include <criterion/criterion.h>
#include <string.h>

#include "micromet/base/size.h"
#include "micromet/run/checkpoint.h"
#include "micromet/run/memory_plan.h"
#include "simulated_control.h"
#include "simulated_dnn_control.h"

#define OK(call) cr_assert((call), "%s", err.message)

static struct config small_config(int batch)
{
    struct config config;
    config_defaults(&config);
    config.data.level_count = 2;
    config.train.batch = batch;
    config.compute.backend = BACKEND_CUDA;
    return config;
}

static struct backend *open_backend(const struct config *config)
{
    struct backend *backend;
    struct error err = { 0 };
    char why_not[256];
    OK(backend_open(&config->compute, config->data.level_count, NULL, &backend, why_not, &err));
    return backend;
}

static struct memory_plan plan_training(const struct config *config, struct backend *backend)
{
    struct memory_plan plan;
    struct error err = { 0 };
    OK(memory_plan_make(&plan, config, backend, DTYPE_BF16, &err));
    return plan;
}

static bool open_model(const struct config *config, struct backend *backend, struct model **model)
{
    struct error err = { 0 };
    const struct model_spec spec = model_spec_from_config(config, DTYPE_BF16, false, true);
    return model_init(model, backend, &spec, &err);
}

static void expect_near(size_t measured, size_t expected)
{
    cr_expect(measured > expected / 100 * 98 && measured < expected / 100 * 102,
              "%zu bytes are taken, %zu were expected", measured, expected);
}

Test(cuda_memory_plan, the_plan_is_what_the_model_takes)
{
    static const int batches[] = { 4, 64, 400 };
    for (size_t i = 0; i < COUNT_OF(batches); i++) {
        const struct config config = small_config(batches[i]);
        struct backend *backend = open_backend(&config);
        const size_t before = simulated_memory_taken();
        struct memory_plan plan = plan_training(&config, backend);
        struct model *model;
        struct error err = { 0 };
        cr_expect_eq(simulated_memory_taken(), before, "planning took memory");
        cr_assert(open_model(&config, backend, &model));
        expect_near(simulated_memory_taken() - before, plan.all - plan.use.libraries);
        OK(memory_plan_complete(&plan, &config, model, 0, &err));
        expect_near(simulated_memory_taken() - before, plan.all - plan.use.libraries);
        model_release(model);
        backend_close(backend);
    }
}

/* On a device of which libraries have taken a part, as in reality. */
Test(cuda_memory_plan, the_largest_batch_fits_and_no_much_larger_one)
{
    const struct config config = small_config(16);
    simulated_memory_limit((size_t)1500 << 20);
    struct backend *backend = open_backend(&config);
    const struct memory_plan plan = plan_training(&config, backend);
    cr_assert(plan.batch_max > 16 && plan.batch_max < 60000, "%d", plan.batch_max);
    simulated_memory_limit(((size_t)1500 << 20) - plan.use.libraries);
    struct model *model;
    struct config other = config;
    other.train.batch = plan.batch_max;
    cr_assert(open_model(&other, backend, &model));
    model_release(model);
    other.train.batch = plan.batch_max +
                        plan.batch_max / 4; /* workspaces may grow less than predicted */
    cr_expect_not(open_model(&other, backend, &model));
    backend_close(backend);
}

Test(cuda_memory_plan, a_batch_that_does_not_fit_is_told_of)
{
    const struct config config = small_config(2048);
    struct error err = { 0 };
    simulated_memory_limit((size_t)1500 << 20);
    struct backend *backend = open_backend(&config);
    const struct memory_plan plan = plan_training(&config, backend);
    char fits[80];
    cr_expect_not(memory_plan_check(&plan, &err));
    snprintf(fits, sizeof fits, "the largest batch that fits is %d", plan.batch_max);
    cr_expect_eq(err.code, EXIT_CODE_USAGE);
    cr_expect(strstr(err.message, fits), "%s", err.message);
    backend_close(backend);
}

Test(cuda_memory_plan, nothing_fits_into_too_little)
{
    const struct config config = small_config(1);
    struct error err = { 0 };
    simulated_memory_limit((size_t)300 << 20);
    struct backend *backend = open_backend(&config);
    const struct memory_plan plan = plan_training(&config, backend);
    cr_expect_eq(plan.batch_max, 0);
    cr_expect_not(memory_plan_check(&plan, &err));
    cr_expect(strstr(err.message, "not even one window fits"), "%s", err.message);
    backend_close(backend);
}

Test(cuda_memory_plan, counts_the_fused_kernels_that_cudnn_refuses)
{
    const struct config config = small_config(4);
    struct backend *backend = open_backend(&config);
    const struct fusion all = plan_training(&config, backend).fusion;
    cr_expect(all.epilogues > 0 && all.fused == all.epilogues && all.widened == 0);
    backend_close(backend);
    simulated_dnn_refuse(SIMULATED_FORWARD_BIAS_RELU, 100);
    backend = open_backend(&config);
    const struct fusion none = plan_training(&config, backend).fusion;
    cr_expect_eq(none.epilogues, all.epilogues);
    cr_expect_eq(none.fused, 0);
    cr_expect_eq(none.widened, all.epilogues, "%d of %d", none.widened, all.epilogues);
    backend_close(backend);
}
