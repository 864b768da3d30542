/* InceptionV3 (Szegedy et al. 2015, arXiv 1512.00567) without its classifier, as a table.
 *
 * Convolutions are in the order in which Keras creates them (conv2d_1 … conv2d_94); names are
 * torchvision's. A layer reads tensor `from` and writes a tensor of its own name, or the next
 * channels of the concatenated tensor `into`. Every convolution has no bias and is followed by
 * batch norm (epsilon 1e-3) and ReLU. Keras indices are positions in model.layers (as printed by
 * Keras 3), which `freeze: keras:N` refers to. */
#ifndef MICROMET_NN_INCEPTION_V3_H
#define MICROMET_NN_INCEPTION_V3_H

#include <stdbool.h>
#include <stdint.h>

#include "micromet/base/error.h"

enum inception_kind { INCEPTION_CONVOLUTION, INCEPTION_MAX_POOL, INCEPTION_AVERAGE_POOL };

struct inception_layer {
    enum inception_kind kind;
    const char *name;
    const char *from, *into;
    int channels; /* of the output; 0 = as the input (pools) */
    int kernel_h, kernel_w, stride;
    bool same; /* pad so that stride 1 keeps the size; if false, no padding */
    int keras_convolution, keras_batch_norm; /* index in model.layers */
};

enum {
    INCEPTION_LAYERS = 107,
    INCEPTION_CONVOLUTIONS = 94,
    INCEPTION_FEATURES = 2048,
    INCEPTION_WINDOW_MIN = 75, /* with smaller inputs a pool's output is empty */
};

extern const struct inception_layer inception_v3[INCEPTION_LAYERS];
extern const char inception_v3_output[]; /* name of the last tensor */
extern const float inception_epsilon;    /* of every batch norm */

/* Channels of a tensor named in the table, or of "input". */
int inception_channels(const char *tensor);
/* The convolution with the given rank in order of creation, from 0. */
const struct inception_layer *inception_convolution(int rank);
/* Shape (K,C,R,S) of a convolution's weights. */
void inception_weight_shape(const struct inception_layer *layer, int64_t shape[4]);

/* The factor s by which folding a batch norm scales its convolution's weights: w' = w*s, b' = beta
 * - mean*s with s = gamma / sqrt(variance + epsilon). */
double inception_fold_scale(float gamma, float variance);

/* Index in model.layers of the first layer after a block ("mixed_6d"): `freeze: mixed_6d` freezes
 * everything before it. -1 if there is no such block. */
int inception_block_end(const char *block);

/* Index in model.layers of the first layer that trains: of model.freeze "keras:N", a block's name,
 * "none" (0) or "all" (INT_MAX). */
bool inception_first_trained(const char *freeze, int *first_trained, struct error *err);

/* Sides of the square maps that layers read and write, where the input is `window` px. */
int inception_output_side(const struct inception_layer *layer, int input_side, int kernel);
int inception_map_side(const char *tensor, int window);

#endif
