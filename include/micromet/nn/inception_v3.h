/* InceptionV3 (Szegedy et al. 2015, arXiv 1512.00567) without its classifier, as one table.
 *
 * Rows are in Keras' creation order of convolutions (conv2d_1 … conv2d_94); names are
 * torchvision's. A row reads the tensor `from` and writes its own, or the next channels of the
 * concatenated tensor `into`. Every convolution is followed by batch norm (epsilon 1e-3) and ReLU
 * and has no bias. The Keras indices are positions in model.layers (read from Keras 3 by running
 * it), which is what `freeze: keras:N` counts. */
#ifndef MICROMET_NN_INCEPTION_V3_H
#define MICROMET_NN_INCEPTION_V3_H

#include <stdbool.h>
#include <stdint.h>

enum inception_kind { INCEPTION_CONVOLUTION, INCEPTION_MAX_POOL, INCEPTION_AVERAGE_POOL };

struct inception_layer {
    enum inception_kind kind;
    const char *name;
    const char *from, *into;
    int channels; /* of the output; 0 = as the input (pools) */
    int kernel_h, kernel_w, stride;
    bool same; /* padding: output size = ceil(input / stride) at stride 1; else none */
    int keras_convolution, keras_batch_norm; /* index in model.layers */
};

enum {
    INCEPTION_LAYERS = 107,
    INCEPTION_CONVOLUTIONS = 94,
    INCEPTION_FEATURES = 2048,
    INCEPTION_WINDOW_MIN = 75, /* smaller inputs leave a pool without a pixel */
};

extern const struct inception_layer inception_v3[INCEPTION_LAYERS];
extern const char inception_v3_output[]; /* name of the last tensor */
extern const float inception_epsilon;    /* of every batch norm */

/* Channels of a tensor of the table, which may be "input". */
int inception_channels(const char *tensor);
/* The convolution that was created as the rank-th, from 0. */
const struct inception_layer *inception_convolution(int rank);
/* (K,C,R,S) of a convolution's weights. */
void inception_weight_shape(const struct inception_layer *layer, int64_t shape[4]);

/* What a batch norm multiplies its convolution's weights with when it is folded into them:
 * w' = w*s, b' = beta - mean*s with s = gamma / sqrt(variance + epsilon). */
double inception_fold_scale(float gamma, float variance);

/* Index in model.layers of the first layer behind a block ("mixed_6d"), as `freeze: mixed_6d`
 * freezes up to and including that block; -1 if there is no such block. */
int inception_block_end(const char *block);

#endif
