/* What an op is called, and what it costs whoever computes it. */
#include "micromet/nn/backend.h"

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

/* Taps of one axis that fall inside the map, over all outputs. */
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
