/* Tests of the reference: gradients against central differences of its own forward pass, and a
 * few values computed by hand.
 *
 * The loss L = sum of dy * y over the outputs is differentiated. Inputs are multiples of 2^-8 and
 * the step is 2^-11, so that the shifted inputs are exact in float32 and the differences are
 * limited by double arithmetic only. */
#include <criterion/criterion.h>
#include <math.h>

#include "op_case.h"

static const float step = 0x1p-11f;

static void make_coarse(struct op_case *test, enum role role)
{
    const struct op_array *a = &test->arrays[role];
    float *values = op_case_before(test, role);
    const int64_t pixels = a->bytes ? tensor_pixels(&a->tensor) : 0;
    for (int64_t p = 0; p < pixels; p++)
        for (int c = 0; c < a->tensor.c; c++) {
            float *v = &values[p * a->tensor.pixel_stride + c];
            *v = roundf(*v * 256) / 256;
        }
}

static const float *element(const struct op_array *a, int64_t i)
{
    const int64_t at = i / a->tensor.c * a->tensor.pixel_stride + i % a->tensor.c;
    return (const float *)(const void *)(a->before + a->first) + at;
}

static struct reference_value at_index(const struct reference *r, enum role role,
                                       const struct tensor *t, int64_t i)
{
    const int64_t pixel = i / t->c;
    return reference_at(r, role, (int)(pixel / t->w / t->h), (int)(pixel / t->w % t->h),
                        (int)(pixel % t->w), (int)(i % t->c));
}

/* Sum of dy * forward output. */
static double weighted_output(const struct op *forward, const struct op_buffers *b,
                              const struct op_array *dy)
{
    struct reference r;
    double sum = 0;
    reference_init(&r, forward, b);
    for (int64_t i = 0; i < tensor_pixels(&dy->tensor) * dy->tensor.c; i++)
        sum += *element(dy, i) * at_index(&r, ROLE_OUT, &forward->y, i).value;
    reference_release(&r);
    return sum;
}

/* The forward output, rounded to float32, becomes `y` of the backward pass; so do
 * the batch statistics. */
static void run_forward(const struct op *forward, struct op_case *backward,
                        const struct op_buffers *b)
{
    static const enum role roles[][2] = { { ROLE_OUT, ROLE_Y },
                                          { ROLE_SAVED_MEAN, ROLE_SAVED_MEAN },
                                          { ROLE_SAVED_INVERSE_STD, ROLE_SAVED_INVERSE_STD } };
    struct reference r;
    reference_init(&r, forward, b);
    for (int k = 0; k < 3; k++) {
        const struct op_array *a = &backward->arrays[roles[k][1]];
        if (a->bytes == 0) continue;
        for (int64_t i = 0; i < tensor_pixels(&a->tensor) * a->tensor.c; i++)
            *(float *)(uintptr_t)element(a,
                                         i) = (float)at_index(&r, roles[k][0], &a->tensor, i).value;
    }
    reference_release(&r);
}

/* What the backward pass writes to `gradient` must be the derivative with respect to
 * `input` of the forward pass. */
struct derivative {
    enum op_kind forward, backward;
    enum role input, gradient;
};

static void check_derivative(struct op op, const struct derivative *d)
{
    struct op_case forward, backward;
    struct op back = op;
    op.kind = d->forward;
    back.kind = d->backward;
    op_case_init(&forward, &op, 11);
    op_case_init(&backward, &back, 11);
    make_coarse(&forward, d->input);
    struct op_buffers b = backward.before; /* the backward op sees the forward op's inputs */
    b.x = forward.before.x;
    b.weights = forward.before.weights;
    b.gamma = forward.before.gamma;
    run_forward(&op, &backward, &forward.before);
    struct reference r;
    reference_init(&r, &back, &b);
    const struct op_array *dy = &backward.arrays[ROLE_DY], *input = &forward.arrays[d->input];
    for (int64_t i = 0; i < tensor_pixels(&input->tensor) * input->tensor.c; i++) {
        float *value = (float *)(uintptr_t)element(input, i);
        const float old = *value;
        *value = old + step;
        const double above = weighted_output(&op, &forward.before, dy);
        *value = old - step;
        const double below = weighted_output(&op, &forward.before, dy);
        *value = old;
        const double numeric = (above - below) / (2 * (double)step);
        const struct reference_value v = at_index(&r, d->gradient, &input->tensor, i);
        cr_expect_float_eq(v.value, numeric, 1e-9 + 2e-6 * (v.magnitude + fabs(v.value)),
                           "%s, input %d, element %lld: %.9g, by differences %.9g",
                           op_kind_name(back.kind), (int)d->input, (long long)i, v.value, numeric);
    }
    reference_release(&r);
    op_case_release(&forward);
    op_case_release(&backward);
}

static struct tensor tensor(int n, int h, int w, int c, int pixel_stride)
{
    return (struct tensor) {
        .dtype = DTYPE_F32, .n = n, .h = h, .w = w, .c = c, .pixel_stride = pixel_stride
    };
}

static const struct op small_convolutions[] = {
    { .x = { DTYPE_F32, 2, 4, 5, 3, 5, NULL },
      .y = { DTYPE_F32, 2, 4, 5, 2, 4, NULL },
      .convolution.window = { .kernel_h = 3, .kernel_w = 3, .stride = 1, .pad_h = 1, .pad_w = 1 },
      .convolution.bias = true },
    { .x = { DTYPE_F32, 1, 7, 6, 2, 2, NULL },
      .y = { DTYPE_F32, 1, 3, 2, 3, 3, NULL },
      .convolution.window = { .kernel_h = 3, .kernel_w = 3, .stride = 2 },
      .convolution.bias = true },
    { .x = { DTYPE_F32, 1, 3, 4, 2, 2, NULL },
      .y = { DTYPE_F32, 1, 3, 4, 2, 2, NULL },
      .convolution.window = { .kernel_h = 1, .kernel_w = 7, .stride = 1, .pad_w = 3 },
      .convolution.bias = true },
};

Test(reference, convolution_gradients_are_derivatives)
{
    static const struct derivative derivatives[] = {
        { OP_CONVOLUTION, OP_CONVOLUTION_BACKWARD_DATA, ROLE_X, ROLE_OUT },
        { OP_CONVOLUTION, OP_CONVOLUTION_BACKWARD_FILTER, ROLE_WEIGHTS, ROLE_OUT },
        { OP_CONVOLUTION, OP_CONVOLUTION_BACKWARD_FILTER, ROLE_BIAS, ROLE_DBIAS },
    };
    for (int i = 0; i < 9; i++) check_derivative(small_convolutions[i / 3], &derivatives[i % 3]);
}

Test(reference, batch_norm_gradients_are_derivatives)
{
    static const struct derivative derivatives[] = {
        { OP_BATCH_NORM, OP_BATCH_NORM_BACKWARD, ROLE_X, ROLE_OUT },
        { OP_BATCH_NORM, OP_BATCH_NORM_BACKWARD, ROLE_GAMMA, ROLE_DGAMMA },
        { OP_BATCH_NORM, OP_BATCH_NORM_BACKWARD, ROLE_BETA, ROLE_DBIAS },
    };
    for (int i = 0; i < 12; i++) {
        const struct op op = { .x = tensor(2, 3, 2, 4, 4),
                               .y = tensor(2, 3, 2, 4, 7),
                               .batch_norm = { .gamma = true,
                                               .relu = i / 6,
                                               .frozen = i / 3 % 2,
                                               .epsilon = 1e-3f,
                                               .momentum = 0.9f } };
        check_derivative(op, &derivatives[i % 3]);
    }
}

Test(reference, pool_gradients_are_derivatives)
{
    const struct derivative derivative = { OP_POOL, OP_POOL_BACKWARD, ROLE_X, ROLE_OUT };
    for (int i = 0; i < 4; i++)
        check_derivative((struct op) { .x = tensor(1, 5, 4, 2, 3),
                                       .y = tensor(1, 5, 4, 2, 2),
                                       .pool.window = { .kernel_h = 3,
                                                        .kernel_w = 3,
                                                        .stride = 1,
                                                        .pad_h = 1,
                                                        .pad_w = 1 },
                                       .pool.average = true,
                                       .pool.exclude_padding = i % 2 },
                         &derivative);
}

/* Max pooling is not differentiable where maxima tie, so all values are distinct. */
Test(reference, max_pool_gradients_are_derivatives)
{
    const struct op forward = { .kind = OP_POOL,
                                .x = tensor(1, 5, 7, 1, 1),
                                .y = tensor(1, 2, 3, 1, 1),
                                .pool.window = { .kernel_h = 3, .kernel_w = 3, .stride = 2 } };
    struct op backward = forward;
    float x[35], dy[6] = { 1, 2, 3, 4, 5, 6 };
    backward.kind = OP_POOL_BACKWARD;
    for (int i = 0; i < 35; i++) x[i] = (float)(i * 13 % 35);
    const struct op_buffers b = { .x = x, .dy = dy };
    struct reference r;
    for (int i = 0; i < 35; i++) {
        double sums[2] = { 0, 0 };
        for (int side = 0; side < 2; side++) {
            x[i] += side ? -2 * step : step;
            reference_init(&r, &forward, &b);
            for (int o = 0; o < 6; o++)
                sums[side] += dy[o] * reference_at(&r, ROLE_OUT, 0, o / 3, o % 3, 0).value;
        }
        x[i] += step;
        reference_init(&r, &backward, &b);
        cr_expect_float_eq(reference_at(&r, ROLE_OUT, 0, i / 7, i % 7, 0).value,
                           (sums[0] - sums[1]) / (2 * (double)step), 1e-9, "pixel %d", i);
    }
}

Test(reference, the_first_of_equal_maxima_gets_the_gradient)
{
    const struct op op = { .kind = OP_POOL_BACKWARD,
                           .x = tensor(1, 2, 2, 1, 1),
                           .y = tensor(1, 1, 1, 1, 1),
                           .pool.window = { .kernel_h = 2, .kernel_w = 2, .stride = 1 } };
    const float x[4] = { 1, 3, 3, 3 }, dy[1] = { 5 }, want[4] = { 0, 5, 0, 0 };
    struct reference r;
    reference_init(&r, &op, &(struct op_buffers) { .x = x, .dy = dy });
    for (int i = 0; i < 4; i++)
        cr_expect_eq(reference_at(&r, ROLE_OUT, 0, i / 2, i % 2, 0).value, want[i]);
}

Test(reference, the_gradient_of_the_loss_is_its_derivative)
{
    float z[4] = { -3, 0, 0.5f, 2 };
    const float labels[4] = { 1, 0, 0.25f, 1 };
    struct op op = { .kind = OP_LOSS, .x = tensor(4, 1, 1, 1, 1), .y = tensor(4, 1, 1, 1, 1) };
    struct reference r;
    reference_init(&r, &op, &(struct op_buffers) { .x = z, .labels = labels });
    for (int k = 0; k < 8; k++) {
        const int i = k % 4;
        if (k >= 4) op.loss = (struct op_loss) { .smoothing = 0.2, .weights = { 0.5, 3 } };
        const float old = z[i];
        z[i] = old + step;
        const double above = reference_at(&r, ROLE_LOSS, 0, 0, 0, 0).value;
        z[i] = old - step;
        const double below = reference_at(&r, ROLE_LOSS, 0, 0, 0, 0).value;
        z[i] = old;
        cr_expect_float_eq(reference_at(&r, ROLE_OUT, i, 0, 0, 0).value,
                           (above - below) / (2 * (double)step), 1e-7, "logit %d", i);
    }
}

/* 1 2 3   1 0   1+5 2+6
 * 4 5 6 * 0 1 = 4+8 5+9
 * 7 8 9                  */
Test(reference, a_convolution_worked_out_by_hand)
{
    const float x[9] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 }, w[4] = { 1, 0, 0, 1 }, bias[1] = { -13 };
    const struct op_buffers b = { .x = x, .weights = w, .bias = bias };
    struct op op = { .kind = OP_CONVOLUTION,
                     .x = tensor(1, 3, 3, 1, 1),
                     .y = tensor(1, 2, 2, 1, 1),
                     .convolution.window = { .kernel_h = 2, .kernel_w = 2, .stride = 1 } };
    const double plain[4] = { 6, 8, 12, 14 }, biased[4] = { 0, 0, 0, 1 };
    struct reference r;
    reference_init(&r, &op, &b);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(reference_at(&r, ROLE_OUT, 0, i / 2, i % 2, 0).value, plain[i]);
    op.convolution.bias = op.convolution.relu = true;
    for (int i = 0; i < 4; i++)
        cr_expect_eq(reference_at(&r, ROLE_OUT, 0, i / 2, i % 2, 0).value, biased[i]);
    op.convolution.bias = op.convolution.relu = false;
    /* windows begin at -1 and 1 */
    op.convolution.window = (struct op_window) { 2, 2, .stride = 2, .pad_h = 1, .pad_w = 1 };
    const double padded[4] = { 1, 3, 7, 14 };
    for (int i = 0; i < 4; i++)
        cr_expect_eq(reference_at(&r, ROLE_OUT, 0, i / 2, i % 2, 0).value, padded[i]);
}

Test(reference, average_pools_divide_by_what_they_are_told_to)
{
    const float x[4] = { 4, 8, 12, 36 };
    struct op op = {
        .kind = OP_POOL,
        .x = tensor(1, 2, 2, 1, 1),
        .y = tensor(1, 2, 2, 1, 1),
        .pool.window = { .kernel_h = 3, .kernel_w = 3, .stride = 1, .pad_h = 1, .pad_w = 1 },
        .pool.average = true
    };
    struct reference r;
    reference_init(&r, &op, &(struct op_buffers) { .x = x });
    cr_expect_float_eq(reference_at(&r, ROLE_OUT, 0, 0, 0, 0).value, 60.0 / 9, 1e-12);
    op.pool.exclude_padding = true;
    cr_expect_float_eq(reference_at(&r, ROLE_OUT, 0, 0, 0, 0).value, 60.0 / 4, 1e-12);
}
