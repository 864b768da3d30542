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
    if (op->kind > OP_CONVOLUTION_BACKWARD_FILTER) return 0;
    return axis_taps(op->x.h, op->y.h, op->kernel_h, op->stride, op->pad_h) *
           axis_taps(op->x.w, op->y.w, op->kernel_w, op->stride, op->pad_w) * op->x.n *
           (double)op->x.c * op->y.c;
}
