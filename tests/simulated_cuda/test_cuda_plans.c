/* Plans of the CUDA backend that a particular cuDNN might never require: every form of a
 * convolution, plans selected by timing, and a growing workspace. */
#include <stdlib.h>
#include <string.h>

#include "cuda_fixture.h"
#include "micromet/base/size.h"
#include "op_case.h"
#include "shapes.h"
#include "simulated_dnn_control.h"
#include "temporary.h"

TestSuite(cuda_plans, .init = temporary_begin, .fini = temporary_end);

static struct backend *open_with(bool autotune)
{
    struct config_compute config = compute;
    struct backend *backend;
    struct error err = { 0 };
    char why_not[256];
    config.autotune = autotune;
    snprintf(config.plan_cache, sizeof config.plan_cache, "%s", temporary_folder);
    OK(backend_open(&config, 1, NULL, &backend, why_not, &err));
    return backend;
}

static const struct {
    enum op_kind kind;
    bool bias, relu, accumulate;
} options[] = {
    { OP_CONVOLUTION, false, false, false },
    { OP_CONVOLUTION, true, true, false },
    { OP_CONVOLUTION_BACKWARD_DATA, false, false, false },
    { OP_CONVOLUTION_BACKWARD_DATA, false, false, true },
    { OP_CONVOLUTION_BACKWARD_FILTER, true, false, false },
};
enum { OPTIONS = COUNT_OF(options) };

/* Check all options of the odd convolutions whose name contains `part`. */
static void check_convolutions(struct backend *backend, const char *part)
{
    static struct shapes shapes;
    int checked = 0;
    shapes_odd(&shapes);
    for (int i = 0; i < shapes.count * OPTIONS * 2; i++) {
        const struct shape *shape = &shapes.items[i / OPTIONS / 2];
        if (shape->kind != INCEPTION_CONVOLUTION || !strstr(shape->name, part)) continue;
        const int o = i / 2 % OPTIONS;
        struct op op = shape_op(shape, options[o].kind, i % 2 ? DTYPE_BF16 : DTYPE_F32);
        op.convolution.bias = options[o].bias;
        op.convolution.relu = options[o].relu;
        op.convolution.accumulate = options[o].accumulate;
        struct error err = { 0 };
        double worst = 0;
        cr_expect(op_case_holds(&op, backend, (uint64_t)i, &worst, &err), "%s, %s, %s: %s",
                  op_kind_name(op.kind), shape->name, i % 2 ? "bfloat16" : "float32", err.message);
        checked++;
    }
    cr_expect_gt(checked, 0);
}

Test(cuda_plans, every_form_of_a_convolution_is_right)
{
    for (int i = 0; i < 8; i++) {
        simulated_dnn_refuse_slices(i & 1, i & 2);
        for (int form = SIMULATED_FORWARD_BIAS; form <= SIMULATED_FORWARD_BIAS_RELU; form++)
            simulated_dnn_refuse((enum simulated_dnn_form)form, i & 4 ? 100 : 0);
        struct backend *backend = open_with(false);
        check_convolutions(backend, "slices");
        check_convolutions(backend, "gaps");
        backend_close(backend);
        test_folder_remove(temporary_folder);
    }
    expect_no_leaks();
}

Test(cuda_plans, what_the_clock_chooses_is_right)
{
    struct backend *backend = open_with(true);
    check_convolutions(backend, "3x3");
    cr_expect_gt(simulated_calls("cudaEventElapsedTime("), 0);
    backend_close(backend);
    expect_no_leaks();
}

/* The first execution is that of the first candidate. */
Test(cuda_plans, a_candidate_that_does_not_run_is_passed_over)
{
    struct backend *backend = open_with(true);
    simulated_fail("cudnnBackendExecute", 1);
    check_convolutions(backend, "3x3");
    simulated_fail("", 0);
    backend_close(backend);
    expect_no_leaks();
}

/* --- workspace --- */

/* Takes one byte of scratch memory per element. */
static struct op pool_gradient(int size)
{
    const struct tensor x = { DTYPE_F32, 1, 2 * size, 2 * size, 8, 8, NULL };
    const struct tensor y = { DTYPE_F32, 1, size, size, 8, 8, NULL };
    return (struct op) {
        .kind = OP_POOL_BACKWARD, .x = x, .y = y, .pool.window = { 2, 2, .stride = 2 }
    };
}

static struct plan *plan_pool_gradient(struct backend *backend, int size)
{
    const struct op op = pool_gradient(size);
    struct plan *plan;
    struct error err = { 0 };
    OK(backend->ops->plan(backend, &op, &plan, &err));
    return plan;
}

Test(cuda_plans, a_queue_has_the_largest_workspace_that_was_asked_for)
{
    const int sizes[] = { 8, 64, 32, 64 };
    const size_t wanted[] = { 512, 32768, 32768, 32768 };
    struct backend *backend = open_backend(1);
    struct plan *plans[4];
    for (int i = 0; i < 4; i++) {
        plans[i] = plan_pool_gradient(backend, sizes[i]);
        cr_expect_eq(simulated_memory_taken(), wanted[i], "plan %d: %zu bytes", i,
                     simulated_memory_taken());
    }
    cr_expect_eq(simulated_calls("cudaMalloc("), 2);
    for (int i = 0; i < 4; i++) backend->ops->plan_release(plans[i]);
    backend_close(backend);
    expect_no_leaks();
}

Test(cuda_plans, weights_that_plans_keep_are_counted)
{
    const struct tensor t = { DTYPE_BF16, 1, 1, 1, 1024, 1024, NULL };
    const struct op op = {
        .kind = OP_CONVOLUTION, .x = t, .y = t, .convolution.window = { 1, 1, .stride = 1 }
    };
    const char *const held[] = { "2.0 of plans", "0.0 of plans" };
    struct backend *backend = open_backend(1);
    struct plan *plan;
    struct error err = { 0 };
    OK(backend->ops->plan(backend, &op, &plan, &err));
    for (int i = 0; i < 2; i++) {
        void *memory;
        err = (struct error) { 0 };
        cr_expect_not(backend->ops->alloc(backend, (size_t)1 << 40, &memory, &err));
        cr_expect(strstr(err.message, held[i]), "%s", err.message);
        if (i == 0) backend->ops->plan_release(plan);
    }
    backend_close(backend);
    expect_no_leaks();
}

static struct {
    struct backend *backend;
    const struct backend_ops *ops;
    struct recording *recordings[2];
    int recorded, size;
} runner;

/* Open a backend whose ops->run() is replaced by `run`; runner.ops keeps the original. */
static struct backend *open_runner(struct backend_ops *ops,
                                   bool (*run)(struct plan *, const struct op_buffers *,
                                               struct error *))
{
    struct backend *backend = runner.backend = open_backend(1);
    runner.ops = backend->ops;
    *ops = *backend->ops;
    ops->run = run;
    backend->ops = ops;
    return backend;
}

static void move_workspace(void)
{
    runner.ops->plan_release(plan_pool_gradient(runner.backend, runner.size += 64));
}

static bool run_twice(struct plan *plan, const struct op_buffers *buffers, struct error *err)
{
    if (!runner.ops->run(plan, buffers, err)) return false;
    move_workspace();
    return runner.ops->run(plan, buffers, err);
}

Test(cuda_plans, plans_follow_the_workspace_when_it_moves)
{
    struct backend_ops ops;
    struct backend *backend = open_runner(&ops, run_twice);
    static struct shapes shapes;
    shapes_odd(&shapes);
    for (int i = 0; i < shapes.count; i++) {
        if (!strstr(shapes.items[i].name, "3x3")) continue;
        const struct op op = shape_op(&shapes.items[i], OP_CONVOLUTION, DTYPE_F32);
        struct error err = { 0 };
        double worst = 0;
        cr_expect(op_case_holds(&op, backend, (uint64_t)i, &worst, &err), "%s: %s", op.name,
                  err.message);
    }
    backend_close(backend);
    expect_no_leaks();
}

static bool run_recorded(struct plan *plan, const struct op_buffers *buffers, struct error *err)
{
    struct recording **recording = &runner.recordings[runner.recorded++];
    if (!runner.ops->record_begin(runner.backend, err) || !runner.ops->run(plan, buffers, err) ||
        !runner.ops->record_end(runner.backend, recording, err))
        return false;
    move_workspace();
    return runner.ops->replay(runner.backend, *recording, err);
}

Test(cuda_plans, a_recording_keeps_the_workspace_that_it_was_made_with)
{
    struct backend_ops ops;
    struct backend *backend = open_runner(&ops, run_recorded);
    for (int i = 0; i < 2; i++) {
        const struct op op = pool_gradient(16);
        struct error err = { 0 };
        double worst = 0;
        cr_expect(op_case_holds(&op, backend, (uint64_t)i, &worst, &err), "%s", err.message);
    }
    for (int i = 0; i < 2; i++) ops.recording_release(backend, runner.recordings[i]);
    backend_close(backend);
    expect_no_leaks();
}
