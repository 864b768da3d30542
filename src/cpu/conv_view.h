/* A convolution as the kernels see it: forward and backward-data alike are "gather pixels,
 * multiply, add".
 *
 * Backward data of a convolution with stride s is a forward convolution of dy with the weights
 * transposed and turned by 180 degrees, in which only every s-th tap of an output pixel meets a
 * pixel of dy. So the view names the weights by strides (negative ones turn them) and each axis by
 * classes: runs of output positions that share their taps. Taps outside the image appear in no
 * class and are never multiplied. */
#ifndef MICROMET_CPU_CONV_VIEW_H
#define MICROMET_CPU_CONV_VIEW_H

#include "isa.h"
#include "micromet/base/size.h"

enum { AXIS_CLASSES_MAX = 32 };

/* Output position out_first + i*out_step, i < count, takes taps tap_first + j*tap_step, j < taps,
 * from the input positions in_first + i*in_step + j. */
struct axis_class {
    int out_first, out_step, count;
    int in_first, in_step;
    int tap_first, tap_step, taps;
};

struct axis {
    struct axis_class classes[AXIS_CLASSES_MAX];
    int count;
};

struct conv_view {
    struct tensor in, out;
    int kernel_h, kernel_w, stride, pad_h, pad_w;
    bool transposed; /* backward data */
    bool relu, accumulate;
};

struct conv_view conv_view_of(const struct op *op);

/* The classes of one axis; false if there are more than AXIS_CLASSES_MAX. */
bool axis_init(struct axis *axis, int in, int out, int kernel, int stride, int pad,
               bool transposed);

/* One panel of weights: to[c*PANEL + j] = weight of output channel k + j, tap (r, s), input channel
 * c_first + c of the view, for c < count; zero for output channels that do not exist. */
void conv_view_panel(const struct conv_view *view, const struct isa *isa, const float *weights,
                     int k, int r, int s, int c_first, int count, float *to);

static inline int int_min(int a, int b)
{
    return a < b ? a : b;
}

static inline int int_max(int a, int b)
{
    return a > b ? a : b;
}

#endif
