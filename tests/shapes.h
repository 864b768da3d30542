/* Shapes that backends are tested on: all distinct ones of InceptionV3 at a window size, derived
 * from its table, and unusual ones as edge cases. */
#ifndef MICROMET_TESTS_SHAPES_H
#define MICROMET_TESTS_SHAPES_H

#include "micromet/nn/backend.h"
#include "micromet/nn/inception_v3.h"

struct shape {
    char name[64];
    enum inception_kind kind;
    int n, h, w, c;      /* input */
    int out_h, out_w, k; /* output; k = c for pools */
    int kernel_h, kernel_w, stride, pad_h, pad_w;
    int x_stride, y_stride; /* pixel strides */
};

enum { SHAPES_MAX = 256 };

struct shapes {
    struct shape items[SHAPES_MAX];
    int count;
};

/* The distinct convolutions and pools of a tower, including global average pooling. Maps
 * larger than 40 px have one image, others `batch`; outputs are slices of the tensors that
 * they are concatenated into. */
void shapes_inception(struct shapes *shapes, int window, int batch);
void shapes_odd(struct shapes *shapes);

/* The op with a shape, without options. A batch norm has the shape of the convolution's output. */
struct op shape_op(const struct shape *shape, enum op_kind kind, enum dtype dtype);

#endif
