/* The CPU backend's own kernels against plain loops in double precision: every kernel that supports
 * an op, on small and unusual shapes.
 *
 * Tensors are slices: pixel strides exceed channels, and the memory between and around the
 * pixels holds a guard value that must not change. Dividing an op into three parts must
 * give the same bits as one. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/kernels.h"
#include "isas.h"
#include "micromet/base/size.h"

enum { GUARD_FLOATS = 32 };
static const float guard = 12345.5f;

struct shape {
    int n, h, w, c, k;
    int kernel_h, kernel_w, stride, pad_h, pad_w;
    int gap_x, gap_y; /* pixel stride minus channels */
};

static const struct shape shapes[] = {
    { 3, 1, 1, 37, 1, 1, 1, 1, 0, 0, 0, 0 },   /* dense layer with one output */
    { 13, 1, 1, 48, 40, 1, 1, 1, 0, 0, 3, 7 }, /* dense layer, columns beyond the last panel */
    { 2, 5, 4, 19, 33, 1, 1, 1, 0, 0, 5, 3 },
    { 2, 11, 13, 3, 32, 3, 3, 2, 0, 0, 0, 0 }, /* first layer: taps of a row are one run */
    { 1, 11, 12, 4, 20, 3, 3, 2, 1, 1, 0, 2 },
    { 2, 5, 7, 16, 32, 3, 3, 1, 1, 1, 4, 9 },    /* Winograd, 'same', ragged tiles */
    { 3, 10, 9, 32, 16, 3, 3, 1, 0, 0, 1, 0 },   /* Winograd, 'valid' */
    { 1, 26, 25, 16, 48, 3, 3, 1, 1, 1, 0, 16 }, /* more than one block of tiles */
    { 2, 7, 7, 16, 16, 5, 5, 1, 2, 2, 0, 3 },
    { 2, 8, 8, 48, 64, 5, 5, 1, 2, 2, 2, 0 },
    { 2, 8, 8, 32, 16, 1, 3, 1, 0, 1, 0, 5 },
    { 2, 8, 8, 32, 16, 3, 1, 1, 1, 0, 5, 0 },
    { 2, 6, 17, 16, 32, 1, 7, 1, 0, 3, 2, 2 },
    { 2, 17, 6, 16, 32, 7, 1, 1, 3, 0, 2, 2 },
    { 9, 3, 3, 16, 48, 1, 7, 1, 0, 3, 8, 8 }, /* map of 3×3: only 3 of 7 taps are inside */
    { 9, 3, 3, 16, 48, 7, 1, 1, 3, 0, 8, 8 },
    { 5, 3, 3, 10, 5, 1, 7, 1, 0, 3, 1, 1 },  /* the same without Winograd */
    { 7, 1, 1, 32, 48, 3, 3, 1, 1, 1, 0, 0 }, /* one tap of nine */
    { 4, 2, 2, 16, 16, 7, 1, 1, 3, 0, 0, 0 },
    { 5, 3, 3, 20, 32, 3, 3, 2, 0, 0, 4, 4 }, /* 3x3 -> 1x1 */
    { 2, 7, 7, 24, 17, 3, 3, 2, 0, 0, 3, 3 },
    { 2, 6, 5, 16, 16, 3, 3, 2, 1, 1, 0, 1 },
    { 1, 5, 5, 16, 16, 1, 1, 2, 0, 0, 0, 0 },  /* backward: pixels that no output uses */
    { 1, 20, 19, 6, 40, 1, 1, 1, 0, 0, 0, 0 }, /* filter: several blocks of pixels */
};

enum { SHAPES = COUNT_OF(shapes) };

struct buffer {
    float *start, *data; /* data = start + GUARD_FLOATS */
    size_t count;        /* floats of data */
};

static unsigned random_state = 1;

static float random_value(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (float)((int)(random_state >> 8) - (1 << 23)) / (1 << 23);
}

/* `pixels` pixels of `channels` random channels, guards elsewhere. */
static struct buffer buffer_of(size_t pixels, int channels, int stride)
{
    struct buffer b = { .count = pixels * stride };
    b.start = malloc((b.count + 2 * GUARD_FLOATS) * sizeof(float));
    b.data = b.start + GUARD_FLOATS;
    for (size_t i = 0; i < b.count + 2 * GUARD_FLOATS; i++) b.start[i] = guard;
    for (size_t i = 0; i < pixels; i++)
        for (int c = 0; c < channels; c++) b.data[i * stride + c] = random_value();
    return b;
}

static struct buffer buffer_of_tensor(const struct tensor *t)
{
    return buffer_of((size_t)tensor_pixels(t), t->c, t->pixel_stride);
}

static struct op op_of(const struct shape *s, enum op_kind kind)
{
    struct op op = {
        .kind = kind,
        .convolution.window = { s->kernel_h, s->kernel_w, s->stride, s->pad_h, s->pad_w },
    };
    op.x = (struct tensor) { DTYPE_F32, s->n, s->h, s->w, s->c, s->c + s->gap_x, NULL };
    op.y = op.x;
    op.y.h = (s->h + 2 * s->pad_h - s->kernel_h) / s->stride + 1;
    op.y.w = (s->w + 2 * s->pad_w - s->kernel_w) / s->stride + 1;
    op.y.c = s->k;
    op.y.pixel_stride = s->k + s->gap_y;
    return op;
}

/* One multiplication of the convolution: indices into x, w and y. */
struct term {
    size_t x, w, y;
};

static size_t pixel_index(const struct tensor *t, int n, int y, int x)
{
    return (((size_t)n * t->h + y) * t->w + x) * t->pixel_stride;
}

/* sums[...] += a * b over all terms of the convolution; `kind`: which of x, w, y is the sum. */
static void reference(const struct op *op, const float *x, const float *w, const float *y,
                      double *sums)
{
    const struct op_window *window = &op->convolution.window;
    const struct tensor *in = &op->x, *out = &op->y;
    for (int n = 0; n < out->n; n++)
        for (int oy = 0; oy < out->h; oy++)
            for (int ox = 0; ox < out->w; ox++)
                for (int r = 0; r < window->kernel_h; r++)
                    for (int s = 0; s < window->kernel_w; s++) {
                        const int iy = oy * window->stride + r - window->pad_h;
                        const int ix = ox * window->stride + s - window->pad_w;
                        if (iy < 0 || iy >= in->h || ix < 0 || ix >= in->w) continue;
                        for (int k = 0; k < out->c; k++)
                            for (int c = 0; c < in->c; c++) {
                                const size_t i = pixel_index(in, n, iy, ix) + c;
                                const size_t o = pixel_index(out, n, oy, ox) + k;
                                const size_t f =
                                    (((size_t)k * window->kernel_h + r) * window->kernel_w + s) *
                                        in->c +
                                    c;
                                if (op->kind == OP_CONVOLUTION)
                                    sums[o] += (double)x[i] * w[f];
                                else if (op->kind == OP_CONVOLUTION_BACKWARD_DATA)
                                    sums[i] += (double)y[o] * w[f];
                                else
                                    sums[f] += (double)y[o] * x[i];
                            }
                    }
}

static void run_in_parts(const struct kernel_plan *plan, const float *x, const float *packed,
                         const float *bias, float *y, int parts)
{
    for (int part = 0; part < parts; part++) {
        void *scratch = aligned_alloc(64, (plan->scratch_bytes + 64) / 64 * 64);
        memset(scratch, 0xff, plan->scratch_bytes);
        plan->kernel->run(plan, x, packed, bias, y, scratch, part, parts);
        free(scratch);
    }
}

/* Every float of `actual` must be as expected in a channel, and the guard value elsewhere. */
static void check(const struct buffer *actual, const double *expected, int channels, int stride,
                  const char *kernel, int shape)
{
    double largest = 0;
    for (size_t i = 0; i < actual->count; i++)
        if ((int)(i % stride) < channels) largest = fmax(largest, fabs(expected[i]));
    for (size_t i = 0; i < actual->count; i++) {
        const float value = actual->data[i];
        if ((int)(i % stride) >= channels)
            cr_assert(value == guard, "%s, shape %d: guard %zu overwritten", kernel, shape, i);
        else
            cr_assert(fabs(value - expected[i]) <= 1e-5 * largest,
                      "%s, shape %d: [%zu] is %g, not %g", kernel, shape, i, value, expected[i]);
    }
    for (int i = 0; i < GUARD_FLOATS; i++)
        cr_assert(actual->start[i] == guard && actual->data[actual->count + i] == guard,
                  "%s, shape %d: written outside the tensor", kernel, shape);
}

/* The inputs of an op and its expected output. */
struct trial {
    const struct op *op;
    int shape;
    const float *x, *second, *weights, *bias; /* weights NULL: second is dy */
    const struct buffer *start;               /* the output before the op */
    int channels, stride;                     /* of the output */
    const double *expected;
};

/* Run in one part and in three. Returns the output, to be freed. */
static float *check_plan(const struct trial *t, const struct kernel_plan *plan, const char *name)
{
    struct buffer results[2];
    float *packed = aligned_alloc(64, (plan->packed_bytes + 64) / 64 * 64);
    if (t->weights) plan->kernel->pack(plan, t->weights, packed);
    for (int i = 0; i < 2; i++) {
        const size_t all = t->start->count + 2 * GUARD_FLOATS;
        results[i] = (struct buffer) { .start = malloc(all * sizeof(float)),
                                       .count = t->start->count };
        results[i].data = results[i].start + GUARD_FLOATS;
        memcpy(results[i].start, t->start->start, all * sizeof(float));
        run_in_parts(plan, t->x, t->weights ? packed : t->second, t->bias, results[i].data,
                     i == 0 ? 1 : 3);
        check(&results[i], t->expected, t->channels, t->stride, name, t->shape);
    }
    cr_assert(memcmp(results[0].data, results[1].data, t->start->count * sizeof(float)) == 0,
              "%s, shape %d: three parts give other bits than one", name, t->shape);
    free(packed);
    free(results[1].start);
    return results[0].start;
}

/* With all instruction sets; those that fuse multiply-adds give the same bits. Returns how many of
 * them took the op. */
static int check_kernel(const struct trial *t, const struct kernel *kernel)
{
    const struct isa *sets[TEST_ISAS_MAX];
    const int count = test_isas(sets);
    float *fused = NULL;
    int taken = 0;
    for (int i = 0; i < count; i++) {
        struct kernel_plan *plan = NULL;
        char name[64];
        snprintf(name, sizeof name, "%s, %s", kernel->name, sets[i]->name);
        cr_assert(kernel->plan(t->op, sets[i], &plan, NULL));
        if (!plan) continue;
        float *result = check_plan(t, plan, name);
        if (fused && isa_fuses(sets[i]))
            cr_assert(memcmp(result, fused, t->start->count * sizeof(float)) == 0,
                      "%s, shape %d: other bits than a narrower set", name, t->shape);
        if (!fused && isa_fuses(sets[i]))
            fused = result;
        else
            free(result);
        free(plan);
        taken++;
    }
    free(fused);
    return taken;
}

/* Returns how many kernels and sets took the op. */
static int check_op(const struct op *op, int shape)
{
    const bool forward = op->kind == OP_CONVOLUTION;
    const bool filter = op->kind == OP_CONVOLUTION_BACKWARD_FILTER;
    const size_t count = (size_t)op_weight_rows(op) * op->x.c;
    struct buffer x = buffer_of_tensor(&op->x), y = buffer_of_tensor(&op->y);
    struct buffer w = buffer_of(1, (int)count, (int)count), bias = buffer_of(1, op->y.c, op->y.c);
    const struct buffer *out = forward ? &y : filter ? &w : &x;
    double *sums = calloc(out->count, sizeof(double));
    const struct trial trial = {
        .op = op,
        .shape = shape,
        .x = forward || filter ? x.data : y.data,
        .second = y.data,
        .weights = filter ? NULL : w.data,
        .bias = op->convolution.bias ? bias.data : NULL,
        .start = out,
        .channels = forward  ? op->y.c
                    : filter ? (int)count
                             : op->x.c,
        .stride = forward  ? op->y.pixel_stride
                  : filter ? (int)count
                           : op->x.pixel_stride,
        .expected = sums,
    };
    for (size_t i = 0; i < out->count; i++) {
        const int channel = (int)(i % trial.stride);
        if (forward && op->convolution.bias && channel < trial.channels)
            sums[i] = bias.data[channel];
        if (op->convolution.accumulate) sums[i] += out->data[i];
    }
    reference(op, x.data, w.data, y.data, sums);
    for (size_t i = 0; op->convolution.relu && i < out->count; i++) sums[i] = fmax(sums[i], 0);
    int taken = 0;
    for (int i = 0; kernels[i]; i++) taken += check_kernel(&trial, kernels[i]);
    free(sums);
    free(x.start);
    free(y.start);
    free(w.start);
    free(bias.start);
    return taken;
}

static void check_shapes(enum op_kind kind, bool bias, bool relu, bool accumulate)
{
    for (int i = 0; i < SHAPES; i++) {
        struct op op = op_of(&shapes[i], kind);
        op.convolution.bias = bias;
        op.convolution.relu = relu;
        op.convolution.accumulate = accumulate;
        cr_assert(check_op(&op, i) > 0);
    }
}

Test(kernels, forward_equals_plain_loops)
{
    check_shapes(OP_CONVOLUTION, false, false, false);
}

Test(kernels, forward_adds_bias_and_clips_at_zero)
{
    check_shapes(OP_CONVOLUTION, true, true, false);
}

Test(kernels, backward_data_overwrites)
{
    check_shapes(OP_CONVOLUTION_BACKWARD_DATA, false, false, false);
}

Test(kernels, backward_data_accumulates)
{
    check_shapes(OP_CONVOLUTION_BACKWARD_DATA, false, false, true);
}

Test(kernels, filter_gradient_equals_plain_loops)
{
    check_shapes(OP_CONVOLUTION_BACKWARD_FILTER, false, false, false);
}

Test(kernels, bias_gradient_is_the_sum_over_pixels)
{
    const struct shape shape = { 3, 4, 5, 8, 77, 1, 1, 1, 0, 0, 0, 6 };
    const struct op op = op_of(&shape, OP_CONVOLUTION_BACKWARD_FILTER);
    struct buffer dy = buffer_of_tensor(&op.y);
    float dbias[78];
    dbias[77] = guard;
    for (int part = 0; part < 3; part++) kernel_dbias(&op, dy.data, dbias, part, 3);
    for (int k = 0; k < 77; k++) {
        double sum = 0, magnitude = 0;
        for (int i = 0; i < 60; i++) {
            sum += dy.data[i * 83 + k];
            magnitude += fabsf(dy.data[i * 83 + k]);
        }
        cr_assert_float_eq(dbias[k], sum, 8 * 0x1p-24 * magnitude); /* tolerance.c: sums */
    }
    cr_assert(dbias[77] == guard);
    free(dy.start);
}

static const struct kernel *kernel_of(const struct op *op)
{
    struct kernel_plan *plan;
    cr_assert(kernel_plan(op, &isa_plain, &plan, NULL));
    const struct kernel *kernel = plan ? plan->kernel : NULL;
    free(plan);
    return kernel;
}

Test(kernels, winograd_serves_the_shapes_it_is_for_and_only_those)
{
    const struct shape fits = { 32, 7, 7, 96, 96, 3, 3, 1, 1, 1, 0, 0 };
    const struct shape one_pixel = { 32, 1, 1, 96, 96, 3, 3, 1, 1, 1, 0, 0 };
    const struct shape odd_channels = { 32, 7, 7, 96, 90, 3, 3, 1, 1, 1, 0, 0 };
    struct op op = op_of(&fits, OP_CONVOLUTION);
    cr_assert_eq(kernel_of(&op), &kernel_winograd);
    op = op_of(&one_pixel, OP_CONVOLUTION);
    cr_assert_eq(kernel_of(&op), &kernel_direct);
    op = op_of(&odd_channels, OP_CONVOLUTION);
    cr_assert_eq(kernel_of(&op), &kernel_direct);
    op.x.dtype = DTYPE_BF16;
    cr_assert_null(kernel_of(&op));
}
