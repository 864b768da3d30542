/* Axis classes: output positions of one axis grouped by the taps that fall inside the
 * input; see conv_view.h. */
#include "conv_view.h"

#include <string.h>

struct conv_view conv_view_of(const struct op *op)
{
    const struct op_window *w = &op->convolution.window;
    struct conv_view v = {
        .in = op->x,
        .out = op->y,
        .kernel_h = w->kernel_h,
        .kernel_w = w->kernel_w,
        .stride = w->stride,
        .pad_h = w->pad_h,
        .pad_w = w->pad_w,
        .relu = op->convolution.relu,
        .accumulate = op->convolution.accumulate,
    };
    if (op->kind == OP_CONVOLUTION_BACKWARD_DATA) {
        v.in = op->y;
        v.out = op->x;
        v.transposed = true;
        v.relu = false;
    }
    return v;
}

/* The taps of output position `out` alone, as a class of one. */
static struct axis_class axis_position(int position, int in, int kernel, int stride, int pad,
                                       bool transposed)
{
    struct axis_class class = { .out_first = position, .out_step = 1, .count = 1, .tap_step = 1 };
    class.in_step = transposed ? 1 : stride;
    if (transposed) class.out_step = class.tap_step = stride;
    for (int tap = 0; tap < kernel; tap++) {
        int from;
        if (transposed) { /* the view's taps are turned: tap t is the op's kernel - 1 - t */
            const int scaled = position + pad - (kernel - 1 - tap);
            if (scaled < 0 || scaled % stride) continue;
            from = scaled / stride;
        } else {
            from = position * stride + tap - pad;
        }
        if (from < 0 || from >= in) continue;
        if (class.taps++ == 0) {
            class.tap_first = tap;
            class.in_first = from;
        }
    }
    return class;
}

static bool class_extend(struct axis_class *class, const struct axis_class *next)
{
    const bool follows = class->out_first + class->count * class->out_step == next->out_first &&
                         class->taps == next->taps &&
                         (class->taps == 0 ||
                          (class->tap_first == next->tap_first &&
                           class->in_first + class->count * class->in_step == next->in_first));
    if (follows) class->count++;
    return follows;
}

bool axis_init(struct axis *axis, int in, int out, int kernel, int stride, int pad, bool transposed)
{
    axis->count = 0;
    for (int position = 0; position < out; position++) {
        const struct axis_class next = axis_position(position, in, kernel, stride, pad, transposed);
        int i = axis->count - 1;
        while (i >= 0 && !class_extend(&axis->classes[i], &next)) i--;
        if (i >= 0) continue;
        if (axis->count == AXIS_CLASSES_MAX) return false;
        axis->classes[axis->count++] = next;
    }
    return true;
}

void conv_view_panel(const struct conv_view *view, const struct isa *isa, const float *weights,
                     int k, int r, int s, int c_first, int count, float *to)
{
    const int width = int_min(PANEL, view->out.c - k);
    const size_t taps = (size_t)view->kernel_h * view->kernel_w;
    if (width < PANEL) memset(to, 0, (size_t)count * PANEL * sizeof(float));
    if (view->transposed) {
        const size_t tap = taps - 1 - ((size_t)r * view->kernel_w + s);
        for (int c = 0; c < count; c++)
            memcpy(to + (size_t)c * PANEL, weights + ((c_first + c) * taps + tap) * view->out.c + k,
                   width * sizeof(float));
        return;
    }
    const size_t tap = (size_t)r * view->kernel_w + s;
    const float *rows[PANEL];
    for (int j = 0; j < width; j++)
        rows[j] = weights + ((k + j) * taps + tap) * view->in.c + c_first;
    isa->transpose(rows, width, count, to, PANEL);
}
