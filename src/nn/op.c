/* Names, validity and cost of ops. */
#include "micromet/nn/op.h"

#include <stdarg.h>
#include <stdio.h>

const char *op_kind_name(enum op_kind kind)
{
    static const char *const names[OP_KIND_COUNT] = {
        [OP_CONVOLUTION] = "convolution",
        [OP_CONVOLUTION_BACKWARD_DATA] = "convolution data gradient",
        [OP_CONVOLUTION_BACKWARD_FILTER] = "convolution filter gradient",
        [OP_BATCH_NORM] = "batch norm",
        [OP_BATCH_NORM_BACKWARD] = "batch norm gradient",
        [OP_POOL] = "pool",
        [OP_POOL_BACKWARD] = "pool gradient",
        [OP_RELU_BACKWARD] = "ReLU gradient",
        [OP_DROPOUT] = "dropout",
        [OP_LOSS] = "loss",
        [OP_AUGMENT] = "augment",
        [OP_OPTIMIZER] = "optimizer",
        [OP_SUM] = "sum",
        [OP_ALL_REDUCE] = "sum over ranks",
    };
    return names[kind];
}

bool op_is_convolution(const struct op *op)
{
    return op->kind <= OP_CONVOLUTION_BACKWARD_FILTER;
}

const struct op_window *op_window(const struct op *op)
{
    if (op_is_convolution(op)) return &op->convolution.window;
    const bool pool = op->kind == OP_POOL || op->kind == OP_POOL_BACKWARD;
    return pool ? &op->pool.window : NULL;
}

bool op_is_dense(const struct op *op)
{
    if (!op_is_convolution(op)) return false;
    const struct op_window *w = &op->convolution.window;
    return op->x.h == 1 && op->x.w == 1 && w->kernel_h == 1 && w->kernel_w == 1 && w->pad_h == 0 &&
           w->pad_w == 0;
}

int64_t op_weight_rows(const struct op *op)
{
    CHECK(op_is_convolution(op));
    const struct op_window *w = &op->convolution.window;
    return (int64_t)op->y.c * w->kernel_h * w->kernel_w;
}

int op_weight_channels(const struct op *op)
{
    CHECK(op_is_convolution(op));
    return op->convolution.weights_c ? op->convolution.weights_c : op->x.c;
}

/* --- cost --- */

/* Number of taps inside the map along one axis, over all outputs. */
static double axis_taps(int in, int out, int kernel, int stride, int pad)
{
    double taps = 0;
    for (int o = 0; o < out; o++)
        for (int k = 0; k < kernel; k++) {
            const int i = o * stride + k - pad;
            taps += i >= 0 && i < in;
        }
    return taps;
}

double op_macs(const struct op *op)
{
    if (!op_is_convolution(op)) return 0;
    const struct op_window *w = &op->convolution.window;
    return axis_taps(op->x.h, op->y.h, w->kernel_h, w->stride, w->pad_h) *
           axis_taps(op->x.w, op->y.w, w->kernel_w, w->stride, w->pad_w) * op->x.n *
           (double)op->x.c * op->y.c;
}

/* --- validity --- */

bool op_refuse(const struct op *op, struct error *err, const char *format, ...)
{
    char reason[900];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return error_set(err, EXIT_CODE_FAILED, "%s%s%s: %s", op_kind_name(op->kind),
                     op->name ? " " : "", op->name ? op->name : "", reason);
}

static bool tensor_check(const struct op *op, const struct tensor *t, const char *name,
                         struct error *err)
{
    if (t->n < 1 || t->h < 1 || t->w < 1 || t->c < 1)
        return op_refuse(op, err, "%s is empty: %d×%d×%d×%d", name, t->n, t->h, t->w, t->c);
    if (t->pixel_stride < t->c)
        return op_refuse(op, err, "pixels of %s overlap: %d channels, pixel stride %d", name, t->c,
                         t->pixel_stride);
    return true;
}

static bool floats_check(const struct op *op, struct error *err)
{
    if (op->x.dtype != DTYPE_U8 && op->y.dtype != DTYPE_U8) return true;
    return op_refuse(op, err, "x and y must be float32 or bfloat16");
}

static bool one_type_check(const struct op *op, struct error *err)
{
    if (!floats_check(op, err)) return false;
    return op->x.dtype == op->y.dtype || op_refuse(op, err, "x and y must have one type");
}

static bool images_check(const struct op *op, struct error *err)
{
    if (op->x.n == op->y.n) return true;
    return op_refuse(op, err, "%d images do not become %d", op->x.n, op->y.n);
}

static bool channels_check(const struct op *op, struct error *err)
{
    if (op->x.c == op->y.c) return true;
    return op_refuse(op, err, "%d channels do not become %d", op->x.c, op->y.c);
}

static bool axis_fits(int in, int out, int kernel, int stride, int pad)
{
    return in + 2 * pad >= kernel && out == (in + 2 * pad - kernel) / stride + 1;
}

/* The window is valid, and takes x's map to y's. */
static bool window_check(const struct op *op, struct error *err)
{
    const struct op_window *w = op_window(op);
    const struct tensor *x = &op->x, *y = &op->y;
    if (w->kernel_h < 1 || w->kernel_w < 1)
        return op_refuse(op, err, "there is no window of %d×%d pixels", w->kernel_h, w->kernel_w);
    if (w->stride < 1) return op_refuse(op, err, "there is no stride of %d", w->stride);
    if (w->pad_h < 0 || w->pad_w < 0)
        return op_refuse(op, err, "there is no padding of %d, %d", w->pad_h, w->pad_w);
    if (axis_fits(x->h, y->h, w->kernel_h, w->stride, w->pad_h) &&
        axis_fits(x->w, y->w, w->kernel_w, w->stride, w->pad_w))
        return true;
    return op_refuse(
        op, err,
        "a window of %d×%d pixels with stride %d and padding %d, %d does not take maps "
        "of %d×%d to %d×%d",
        w->kernel_h, w->kernel_w, w->stride, w->pad_h, w->pad_w, x->h, x->w, y->h, y->w);
}

static bool convolution_check(const struct op *op, struct error *err)
{
    const struct op_convolution *c = &op->convolution;
    if (!one_type_check(op, err) || !images_check(op, err) || !window_check(op, err)) return false;
    if (c->weights_c < 0 || c->weights_c > op->x.c)
        return op_refuse(op, err, "weights of %d channels for %d", c->weights_c, op->x.c);
    if (c->bias && op->kind == OP_CONVOLUTION_BACKWARD_DATA)
        return op_refuse(op, err, "a data gradient has no bias");
    if (c->relu && op->kind != OP_CONVOLUTION)
        return op_refuse(op, err, "ReLU's gradient is an op of its own");
    if (c->accumulate && op->kind != OP_CONVOLUTION_BACKWARD_DATA)
        return op_refuse(op, err, "only data gradients are added to what is there");
    return true;
}

static bool pool_check(const struct op *op, struct error *err)
{
    const struct op_pool *p = &op->pool;
    if (!floats_check(op, err) || !images_check(op, err) || !channels_check(op, err) ||
        !window_check(op, err))
        return false;
    if (op->y.dtype != op->x.dtype && op->y.dtype != DTYPE_F32)
        return op_refuse(op, err, "y must have x's type, or be float32");
    if (p->window.pad_h >= p->window.kernel_h || p->window.pad_w >= p->window.kernel_w)
        return op_refuse(op, err, "a window would hold no pixel");
    if (p->accumulate && op->kind != OP_POOL_BACKWARD)
        return op_refuse(op, err, "only gradients are added to what is there");
    return true;
}

/* For kinds that work per element or per channel. */
static bool same_shape_check(const struct op *op, struct error *err)
{
    const struct tensor *x = &op->x, *y = &op->y;
    if (!one_type_check(op, err) || !images_check(op, err) || !channels_check(op, err))
        return false;
    if (x->h == y->h && x->w == y->w) return true;
    return op_refuse(op, err, "maps of %d×%d do not become %d×%d", x->h, x->w, y->h, y->w);
}

/* The comparisons here and below also refuse NaN. */
static bool batch_norm_check(const struct op *op, struct error *err)
{
    const struct op_batch_norm *b = &op->batch_norm;
    if (!same_shape_check(op, err)) return false;
    if (!(b->epsilon >= 0))
        return op_refuse(op, err, "an epsilon is at least 0, and not %g", (double)b->epsilon);
    if (b->part != NORM_WHOLE && b->frozen)
        return op_refuse(op, err, "frozen statistics need no sums");
    if (b->part == NORM_REST && b->pixels < tensor_pixels(&op->x))
        return op_refuse(op, err, "sums over %lld pixels leave out some of its own",
                         (long long)b->pixels);
    if (b->momentum >= 0 && b->momentum <= 1) return true;
    return op_refuse(op, err, "a momentum lies in [0, 1], and not at %g", (double)b->momentum);
}

static bool dropout_check(const struct op *op, struct error *err)
{
    const float rate = op->dropout.rate;
    if (!same_shape_check(op, err)) return false;
    if (rate >= 0 && rate < 1) return true;
    return op_refuse(op, err, "a rate lies in [0, 1), and not at %g", (double)rate);
}

static bool loss_check(const struct op *op, struct error *err)
{
    const struct tensor *x = &op->x, *y = &op->y;
    if (!floats_check(op, err) || !images_check(op, err)) return false;
    if (x->h != 1 || x->w != 1 || x->c != 1 || y->h != 1 || y->w != 1 || y->c != 1)
        return op_refuse(op, err, "there must be one logit a sample, and one gradient");
    if (y->dtype != DTYPE_F32) return op_refuse(op, err, "gradients of logits are float32");
    if (!(op->loss.smoothing >= 0 && op->loss.smoothing < 1))
        return op_refuse(op, err, "a smoothing lies in [0, 1), and not at %g", op->loss.smoothing);
    if (!(op->loss.weights[0] >= 0 && op->loss.weights[1] >= 0))
        return op_refuse(op, err, "weights of %g and %g: none is below 0", op->loss.weights[0],
                         op->loss.weights[1]);
    return op->loss.rows == 0 || op->loss.rows >= x->n ||
           op_refuse(op, err, "%d rows are no piece of %d", x->n, op->loss.rows);
}

static bool augment_check(const struct op *op, struct error *err)
{
    const struct tensor *x = &op->x, *y = &op->y;
    if (!images_check(op, err)) return false;
    if (x->dtype != DTYPE_U8 || x->c != 3 || x->h != x->w)
        return op_refuse(op, err, "windows must be square, of three uint8 channels");
    if (y->dtype == DTYPE_U8 || y->c < 3 || y->h != x->h || y->w != x->w)
        return op_refuse(op, err,
                         "y must be as large as the windows, of three float channels or "
                         "more");
    if (x->pixel_stride != x->c || y->pixel_stride != y->c)
        return op_refuse(op, err, "pixels must lie side by side");
    return true;
}

static bool optimizer_check(const struct op *op, struct error *err)
{
    return op->optimizer.count > 0 || op_refuse(op, err, "there are no parameters");
}

static bool sum_check(const struct op *op, struct error *err)
{
    return op->sum.count > 0 || op_refuse(op, err, "there is nothing to add");
}

static bool all_reduce_check(const struct op *op, struct error *err)
{
    const struct op_all_reduce *r = &op->all_reduce;
    if (r->count <= 0) return op_refuse(op, err, "there is nothing to add");
    if (r->shards <= 0) return op_refuse(op, err, "there are no shards");
    return r->term_stride >= r->count || op_refuse(op, err, "its terms overlap");
}

bool op_check(const struct op *op, struct error *err)
{
    static bool (*const checks[OP_KIND_COUNT])(const struct op *, struct error *) = {
        [OP_CONVOLUTION] = convolution_check,
        [OP_CONVOLUTION_BACKWARD_DATA] = convolution_check,
        [OP_CONVOLUTION_BACKWARD_FILTER] = convolution_check,
        [OP_BATCH_NORM] = batch_norm_check,
        [OP_BATCH_NORM_BACKWARD] = batch_norm_check,
        [OP_POOL] = pool_check,
        [OP_POOL_BACKWARD] = pool_check,
        [OP_RELU_BACKWARD] = same_shape_check,
        [OP_DROPOUT] = dropout_check,
        [OP_LOSS] = loss_check,
        [OP_AUGMENT] = augment_check,
        [OP_OPTIMIZER] = optimizer_check,
        [OP_SUM] = sum_check,
        [OP_ALL_REDUCE] = all_reduce_check,
    };
    CHECK(op->kind >= 0 && op->kind < OP_KIND_COUNT);
    const bool tensors = op->kind >= OP_OPTIMIZER ||
                         (tensor_check(op, &op->x, "x", err) && tensor_check(op, &op->y, "y", err));
    return tensors && checks[op->kind](op, err);
}
