/* Whichever call of CUDA, cuDNN or cuBLASLt fails in the lifetime of a backend: the error names it,
 * everything acquired is released, and nothing is released twice.
 *
 * A lost GPU stays lost, so every failure is tested in a process of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cuda_fixture.h"
#include "micromet/base/size.h"
#include "op_case.h"
#include "shapes.h"
#include "simulated_dnn_control.h"
#include "temporary.h"

TestSuite(cuda_failures, .init = temporary_begin, .fini = temporary_end);

#define T(n, h, w, c) DTYPE_F32, n, h, w, c, c, NULL

/* A kernel with scratch memory; a cuBLASLt product with packed weights; a cuDNN convolution; and
 * the first kernel again with more scratch memory than all others. */
static const struct op life_ops[] = {
    { .kind = OP_POOL_BACKWARD,
      .x = { T(1, 4, 4, 8) },
      .y = { T(1, 2, 2, 8) },
      .pool.window = { .kernel_h = 2, .kernel_w = 2, .stride = 2 } },
    { .kind = OP_CONVOLUTION,
      .x = { DTYPE_BF16, 2, 1, 1, 8, 8, NULL },
      .y = { DTYPE_BF16, 2, 1, 1, 8, 8, NULL },
      .convolution.window = { .kernel_h = 1, .kernel_w = 1, .stride = 1 },
      .convolution.bias = true },
    { .kind = OP_CONVOLUTION,
      .x = { T(1, 3, 3, 4) },
      .y = { T(1, 3, 3, 4) },
      .convolution.window = { .kernel_h = 3, .kernel_w = 3, .stride = 1, .pad_h = 1, .pad_w = 1 },
      .convolution.bias = true,
      .convolution.relu = true },
    { .kind = OP_POOL_BACKWARD,
      .x = { T(2, 256, 256, 96) },
      .y = { T(2, 256, 256, 96) },
      .pool.window = { .kernel_h = 1, .kernel_w = 1, .stride = 1 } },
};
enum { LIFE_OPS = COUNT_OF(life_ops), RUN_OPS = LIFE_OPS - 1 };

/* Load weights twice, then run. */
static bool run_with_loaded_weights(struct backend *backend, const struct op *op, struct error *err)
{
    struct plan *plan;
    struct op_case test;
    if (!backend->ops->plan(backend, op, &plan, err)) return false;
    op_case_init(&test, op, 1);
    test.loads = true;
    const bool ok = backend->ops->plan_load(plan, test.before.weights, err) &&
                    op_case_run_plan(&test, backend, plan, err);
    op_case_release(&test);
    backend->ops->plan_release(plan);
    return ok;
}

static bool run_ops(struct backend *backend, struct error *err)
{
    bool ok = true;
    for (int i = 0; i < RUN_OPS && ok; i++) {
        struct op_case test;
        op_case_init(&test, &life_ops[i], 1);
        ok = op_case_run(&test, backend, err);
        op_case_release(&test);
    }
    return ok && run_with_loaded_weights(backend, &life_ops[1], err) &&
           run_with_loaded_weights(backend, &life_ops[2], err);
}

/* The workspace grows between recording and replay; the recording must keep the old one. */
static bool record_and_replay(struct relay *relay, struct error *err)
{
    struct backend *backend = relay->backend;
    const struct backend_ops *ops = backend->ops;
    struct recording *recording;
    struct plan *plan = NULL;
    if (!ops->record_begin(backend, err)) return false;
    const bool recorded = relay_run(relay, err);
    const bool ok = ops->record_end(backend, &recording, err) && recorded &&
                    ops->plan(backend, &life_ops[LIFE_OPS - 1], &plan, err) &&
                    ops->replay(backend, recording, err) && ops->synchronize(backend, err);
    ops->plan_release(plan);
    ops->recording_release(backend, recording);
    return ok;
}

static bool work_on_two_queues(struct backend *backend, struct error *err)
{
    const struct backend_ops *ops = backend->ops;
    struct relay relay;
    uint64_t ticket;
    const bool ok = relay_init(&relay, backend, err) && relay_run(&relay, err) &&
                    ops->zero(backend, 0, relay.a, BYTES, err) &&
                    ops->fence(backend, 0, &ticket, err) && ops->await(backend, 0, ticket, err) &&
                    run_ops(backend, err) && record_and_replay(&relay, err);
    relay_release(&relay);
    return ok;
}

static bool record_nothing(struct backend *backend, struct error *err)
{
    struct recording *recording = NULL;
    const bool ok = backend->ops->record_begin(backend, err) &&
                    backend->ops->record_end(backend, &recording, err) &&
                    backend->ops->replay(backend, recording, err);
    backend->ops->recording_release(backend, recording);
    return ok;
}

static bool live(struct error *err)
{
    bool (*const works[])(struct backend *, struct error *) = { record_nothing,
                                                                work_on_two_queues };
    struct config_compute config = compute;
    bool ok = true;
    snprintf(config.plan_cache, sizeof config.plan_cache, "%s", temporary_folder);
    for (int queues = 1; queues <= 2 && ok; queues++) {
        struct backend *backend;
        char why_not[256];
        ok = backend_open(&config, queues, NULL, &backend, why_not, err);
        if (!ok) break;
        ok = works[queues - 1](backend, err);
        backend_close(backend);
    }
    return ok;
}

/* Calls that fail, and what the error must contain: NULL = the call's name; "" = there may be an
 * error or none, as cuDNN may have other engines. */
static const struct failure {
    const char *call, *says;
} failures[] = {
    { .call = "cudaGetDeviceCount(" },
    { .call = "cudaSetDevice(" },
    { .call = "cudaStreamCreateWithFlags(" },
    { .call = "cudaEventCreate" },
    { .call = "cudaHostAlloc(", .says = "cudaHostAlloc" },
    { .call = "cudaMemcpyAsync(" },
    { .call = "cudaMemsetAsync(" },
    { .call = "cudaEventRecord" },
    { .call = "cudaStreamWaitEvent(" },
    { .call = "cudaEventQuery(" },
    { .call = "cudaEventSynchronize(" },
    { .call = "cudaEventElapsedTime(" },
    { .call = "cudaStreamSynchronize(" },
    { .call = "cudaStreamBeginCapture(" },
    { .call = "cudaStreamEndCapture(" },
    { .call = "cudaGraphInstantiate(" },
    { .call = "cudaGraphLaunch(" },
    { .call = "cublasLtCreate(" },
    { .call = "cublasLtMatmul(" },
    { .call = "cublasLtMatmulAlgoGetHeuristic(" },
    { .call = "cublasLtMatmulDescCreate(" },
    { .call = "cublasLtMatmulDescSetAttribute(" },
    { .call = "cublasLtMatmulPreferenceCreate(" },
    { .call = "cublasLtMatmulPreferenceSetAttribute(" },
    { .call = "cublasLtMatrixLayoutCreate(" },
    { .call = "cudnnCreate(" },
    { .call = "cudnnSetStream(" },
    { .call = "cudnnBackendExecute(" },
    { .call = "cudaMalloc(", .says = "cudaErrorMemoryAllocation" },
    { .call = "cudaLaunchKernel(", .says = "cudaErrorLaunchFailure" },
    { .call = "cudnnBackend", .says = "" },
};
enum { FAILURES = COUNT_OF(failures), MOST = 60 };

static bool is_told(const struct failure *failure, int64_t nth)
{
    struct error err = { 0 };
    char leaks[1000];
    simulated_fail(failure->call, nth);
    const bool ok = live(&err), leaky = simulated_leaks(leaks, sizeof leaks) > 0;
    const char *says = failure->says ? failure->says : failure->call;
    const bool right = !leaky && (ok ? !*says : strstr(err.message, says) != NULL);
    if (!right)
        fprintf(stderr, "call %lld of %s fails: %s; left behind: %s\n", (long long)nth,
                failure->call, ok ? "untold" : err.message, leaks);
    return right;
}

/* Let calls 1 to `calls` fail, or evenly spaced ones if they are more than MOST. */
static void expect_told(const struct failure *failure, int64_t calls)
{
    for (int64_t nth = 1; nth <= calls; nth += CEIL_DIV(calls, MOST)) {
        int status;
        const pid_t child = fork();
        cr_assert_geq(child, 0);
        if (child == 0) _exit(is_told(failure, nth) ? 0 : 1);
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_expect_eq(status, 0, "call %lld of %s", (long long)nth, failure->call);
        test_folder_remove(temporary_folder);
    }
}

Test(cuda_failures, whatever_fails_is_told_and_nothing_is_left_behind)
{
    int64_t calls[FAILURES];
    struct error err = { 0 };
    simulated_fail("", 0);
    OK(live(&err));
    for (int i = 0; i < FAILURES; i++) calls[i] = simulated_calls(failures[i].call);
    for (int i = 0; i < FAILURES; i++) {
        cr_assert_gt(calls[i], 0, "%s", failures[i].call);
        expect_told(&failures[i], calls[i]);
    }
}

/* --- planning and running, call by call --- */

/* Some work of a backend. Returns false with an error if it fails. */
typedef bool work(struct backend *backend, const struct op *op, struct error *err);

/* Let the nth call of the work fail, for every n; n = 0: without a failure. */
static void each_call_fails(const struct config_compute *config, work *run, const struct op *op)
{
    int64_t calls = 1;
    for (int64_t nth = 0; nth <= calls; nth++) {
        struct backend *backend;
        struct error err = { 0 };
        char why_not[256];
        cr_assert(backend_open(config, 2, NULL, &backend, why_not, &err), "%s", err.message);
        simulated_fail("", nth);
        const bool ok = run(backend, op, &err);
        if (nth == 0) calls = simulated_calls("");
        cr_assert(ok || nth > 0, "%s", err.message);
        cr_expect(ok ? !err.message[0] : strstr(err.message, " at cuda/") != NULL,
                  "call %lld: %d, '%s'", (long long)nth, ok, err.message);
        simulated_fail("", 0);
        backend_close(backend);
        expect_no_leaks();
    }
    cr_assert_gt(calls, 20);
}

static bool plan_and_run(struct backend *backend, const struct op *op, struct error *err)
{
    struct op_case test;
    op_case_init(&test, op, 1);
    test.loads = op->kind == OP_CONVOLUTION;
    const bool ok = op_case_run(&test, backend, err);
    op_case_release(&test);
    return ok;
}

/* A convolution between slices and a dense layer with padded rows, in F32 with cuDNN's first plan
 * and in BF16 with the fastest. cuDNN refuses the convolution's best form. */
Test(cuda_failures, every_call_may_fail_while_planning_and_running)
{
    static const struct shape shapes[] = {
        { "convolution", INCEPTION_CONVOLUTION, 1, 3, 3, 6, 3, 3, 5, 3, 3, 1, 1, 1, 9, 8 },
        { "dense", INCEPTION_CONVOLUTION, 2, 1, 1, 8, 1, 1, 4, 1, 1, 1, 0, 0, 12, 4 },
    };
    static const enum op_kind kinds[] = { OP_CONVOLUTION, OP_CONVOLUTION_BACKWARD_DATA,
                                          OP_CONVOLUTION_BACKWARD_FILTER, OP_BATCH_NORM };
    struct config_compute config = compute;
    simulated_dnn_refuse(SIMULATED_FORWARD_BIAS_RELU, 100);
    for (int s = 0; s < 2; s++)
        for (int k = 0; k < 4; k++)
            for (int tuned = 0; tuned < 2; tuned++) {
                struct op op = shape_op(&shapes[s], kinds[k], tuned ? DTYPE_BF16 : DTYPE_F32);
                if (op_is_convolution(&op)) {
                    op.convolution.bias = kinds[k] != OP_CONVOLUTION_BACKWARD_DATA;
                    op.convolution.relu = kinds[k] == OP_CONVOLUTION;
                }
                config.autotune = tuned;
                each_call_fails(&config, plan_and_run, &op);
            }
}
