/* Results of the simulated cuDNN: every engine in every direction against loops that follow
 * the definition. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "convolution_problem.h"
#include "simulated_dnn_control.h"

/* One element of the result by definition. `at` is (n, y, x, c) of the output, (k, r, s, c) of a
 * filter gradient. */
static double expected(const struct problem *p, const int at[4])
{
    double sum = 0;
    const struct tensor *x = &p->x.tensor, *y = &p->y.tensor, *w = &p->w.tensor;
    for (int n = 0; n < y->n; n++)
        for (int oy = 0; oy < y->h; oy++)
            for (int ox = 0; ox < y->w; ox++)
                for (int r = 0; r < w->h; r++)
                    for (int s = 0; s < w->w; s++) {
                        const int iy = oy * p->stride + r - p->pad,
                                  ix = ox * p->stride + s - p->pad;
                        if (iy < 0 || iy >= x->h || ix < 0 || ix >= x->w) continue;
                        if (p->direction == FORWARD && n == at[0] && oy == at[1] && ox == at[2])
                            for (int c = 0; c < x->c; c++)
                                sum += array_value(&p->x, p->x.host, n, iy, ix, c) *
                                       array_value(&p->w, p->w.host, at[3], r, s, c);
                        if (p->direction == BACKWARD_DATA && n == at[0] && iy == at[1] &&
                            ix == at[2])
                            for (int k = 0; k < y->c; k++)
                                sum += array_value(&p->y, p->y.host, n, oy, ox, k) *
                                       array_value(&p->w, p->w.host, k, r, s, at[3]);
                        if (p->direction == BACKWARD_FILTER && r == at[1] && s == at[2])
                            sum += array_value(&p->x, p->x.host, n, iy, ix, at[3]) *
                                   array_value(&p->y, p->y.host, n, oy, ox, at[0]);
                    }
    if (p->has_bias) sum += ((const float *)p->bias.host)[at[3]];
    if (p->accumulate) sum += array_value(&p->x, p->x.host, at[0], at[1], at[2], at[3]);
    return p->relu && sum < 0 ? 0 : sum;
}

static const struct array *output(const struct problem *p)
{
    return p->direction == FORWARD ? &p->y : p->direction == BACKWARD_DATA ? &p->x : &p->w;
}

static void check_output(const struct problem *p, double tolerance)
{
    const struct array *out = output(p);
    unsigned char *got = array_fetch(out);
    const struct tensor *t = &out->tensor;
    for (int n = 0; n < t->n; n++)
        for (int y = 0; y < t->h; y++)
            for (int x = 0; x < t->w; x++) {
                for (int c = -out->first; c < t->pixel_stride - out->first; c++)
                    cr_assert((c >= 0 && c < t->c) || array_value(out, got, n, y, x, c) ==
                                                          array_value(out, out->host, n, y, x, c),
                              "the gap was written to");
                for (int c = 0; c < t->c; c++) {
                    const double value = array_value(out, got, n, y, x, c),
                                 right = expected(p, (const int[4]) { n, y, x, c });
                    cr_assert(fabs(value - right) <= tolerance * (1 + fabs(right)),
                              "%d,%d,%d,%d: %g is not %g", n, y, x, c, value, right);
                }
            }
    free(got);
}

/* Run every plan that finalises; returns their number. */
static int run_all(struct problem *p, double tolerance)
{
    descriptor configs[ENGINES_MAX], plan;
    const descriptor graph = problem_graph(p);
    cudnnHandle_t handle;
    int64_t promised, workspace_bytes = 0;
    int done = 0;
    expect_cudnn(cudnnCreate(&handle));
    const int count = configs_list(graph, CUDNN_HEUR_MODE_A, configs, &promised);
    const struct array *out = output(p);
    for (int i = 0; i < count; i++) {
        if (plan_try(configs[i], &plan, &workspace_bytes) == CUDNN_STATUS_SUCCESS &&
            workspace_bytes < 100 << 20) {
            void *workspace = NULL;
            if (workspace_bytes > 0) expect_cuda(cudaMalloc(&workspace, (size_t)workspace_bytes));
            const descriptor pack = problem_pack(p, workspace);
            expect_cuda(cudaMemcpy(out->device, out->host, out->bytes, cudaMemcpyHostToDevice));
            expect_cudnn(cudnnBackendExecute(handle, plan, pack));
            descriptor_destroy(pack);
            check_output(p, tolerance);
            expect_cuda(cudaFree(workspace));
            done++;
        }
        descriptor_destroy(plan);
    }
    configs_release(configs);
    descriptor_destroy(graph);
    expect_cudnn(cudnnDestroy(handle));
    return done;
}

Test(simulated_convolutions, forward_with_bias_and_relu_into_a_slice)
{
    for (int bias = 0; bias < 2; bias++)
        for (int relu = 0; relu < 2; relu++) {
            struct problem p = problem_make(FORWARD, DTYPE_BF16, 8);
            p.has_bias = bias;
            p.relu = relu;
            cr_expect(run_all(&p, 0x1p-8) >= 3);
            problem_release(&p);
        }
    expect_no_leaks();
}

Test(simulated_convolutions, float32_is_exact_or_rounded_to_tf32_or_bfloat16)
{
    struct problem p = problem_make(FORWARD, DTYPE_F32, 5);
    cr_expect(run_all(&p, 0.05) >= 3);
    problem_release(&p);
    expect_no_leaks();
}

Test(simulated_convolutions, data_gradients_add_to_what_is_there)
{
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        struct problem p = problem_make(BACKWARD_DATA, DTYPE_BF16, 8);
        p.accumulate = accumulate;
        cr_expect(run_all(&p, 0x1p-8) >= 3);
        problem_release(&p);
    }
    expect_no_leaks();
}

Test(simulated_convolutions, filter_gradients)
{
    struct problem p = problem_make(BACKWARD_FILTER, DTYPE_BF16, 8);
    cr_expect(run_all(&p, 0x1p-8) >= 3);
    problem_release(&p);
    expect_no_leaks();
}

Test(simulated_convolutions, the_fallback_is_exact)
{
    struct problem p = problem_make(BACKWARD_FILTER, DTYPE_F32, 5);
    const descriptor graph = problem_graph(&p);
    descriptor configs[ENGINES_MAX], plan;
    int64_t promised, workspace;
    cudnnHandle_t handle;
    expect_cudnn(cudnnCreate(&handle));
    const int count = configs_list(graph, CUDNN_HEUR_MODE_FALLBACK, configs, &promised);
    int exact = 0;
    for (int i = 0; i < count; i++) {
        if (plan_try(configs[i], &plan, &workspace) == CUDNN_STATUS_SUCCESS && workspace == 0) {
            const descriptor pack = problem_pack(&p, NULL);
            expect_cudnn(cudnnBackendExecute(handle, plan, pack));
            descriptor_destroy(pack);
            check_output(&p, 0x1p-22);
            exact++;
        }
        descriptor_destroy(plan);
    }
    cr_expect(exact >= 1);
    configs_release(configs);
    descriptor_destroy(graph);
    problem_release(&p);
    expect_cudnn(cudnnDestroy(handle));
    expect_no_leaks();
}

/* Change the last element that takes part in the computation. */
static void change(struct array *a)
{
    const size_t last = a->bytes - (size_t)(a->tensor.pixel_stride - a->first - a->tensor.c + 1) *
                                       dtype_bytes(a->tensor.dtype);
    a->host[last + dtype_bytes(a->tensor.dtype) - 1] ^= 0x80; /* its sign */
    expect_cuda(cudaMemcpy(a->device, a->host, a->bytes, cudaMemcpyHostToDevice));
}

static int64_t remembered_in_a_run(struct problem *p)
{
    const int64_t before = simulated_dnn_remembered();
    cr_expect(run_all(p, 0x1p-8) >= 3);
    return simulated_dnn_remembered() - before;
}

Test(simulated_convolutions, executions_are_remembered_for_the_same_inputs_alone)
{
    simulated_dnn_remember((size_t)1 << 26);
    for (int direction = FORWARD; direction <= BACKWARD_FILTER; direction++) {
        struct problem p = problem_make((enum direction)direction, DTYPE_BF16, 8);
        p.has_bias = direction == FORWARD;
        p.accumulate = direction == BACKWARD_DATA;
        struct array *inputs[] = { &p.x, &p.w, &p.y };
        const int64_t alike = remembered_in_a_run(&p); /* engines with equal arithmetic */
        cr_expect_gt(remembered_in_a_run(&p), alike + 2);
        for (int i = 0; i < 3; i++) { /* the output too, whether accumulated or overwritten */
            const bool matters = p.accumulate || i != (direction == FORWARD         ? 2
                                                       : direction == BACKWARD_DATA ? 0
                                                                                    : 1);
            change(inputs[i]);
            const int64_t known = remembered_in_a_run(&p);
            cr_expect(matters ? known == alike : known > alike + 2, "direction %d, input %d: %d",
                      direction, i, (int)known);
        }
        problem_release(&p);
    }
    simulated_dnn_remember(0);
    expect_no_leaks();
}

static void y_reaches_out_of_its_memory(void)
{
    struct problem p = problem_make(FORWARD, DTYPE_BF16, 8);
    p.y.first = 32; /* 12 channels from 32 on would exceed the 40 */
    run_all(&p, 1);
}

Test(simulated_convolutions, tensors_must_lie_in_their_memory)
{
    int ends[2], status;
    char report[4096] = "";
    cr_assert_eq(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        y_reaches_out_of_its_memory();
        _exit(0);
    }
    close(ends[1]);
    for (size_t had = 0; had < sizeof report - 1;) {
        const ssize_t got = read(ends[0], report + had, sizeof report - 1 - had);
        if (got <= 0) break;
        had += (size_t)got;
    }
    close(ends[0]);
    waitpid(child, &status, 0);
    cr_expect(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
    cr_expect(strstr(report, "y of a cuDNN plan"), "%s", report);
}
