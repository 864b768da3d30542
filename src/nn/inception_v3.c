/* The table of InceptionV3's layers; see the header. Blocks of one type differ little, so each
 * type is a macro. */
#include "micromet/nn/inception_v3.h"

#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "micromet/base/error.h"
#include "micromet/base/size.h"

const char inception_v3_output[] = "Mixed_7c";
const float inception_epsilon = 1e-3f;

/* Keras' layer indices of the tensors that blocks read: a pool, and the concatenations. */
enum {
    MAXPOOL2 = 17,
    MIXED_5B = 40,
    MIXED_5C = 63,
    MIXED_5D = 86,
    MIXED_6A = 100,
    MIXED_6B = 132,
    MIXED_6C = 164,
    MIXED_6D = 196,
    MIXED_6E = 228,
    MIXED_7A = 248,
    MIXED_7B = 279,
    MIXED_7C = 310,
};

/* clang-format off */

/* A row writes `tensor` and reads `reads`; its output is part of the concatenation
 * `block`, or NULL. */
#define SAME     .stride = 1, .same = true
#define VALID    .stride = 1
#define STRIDE_2 .stride = 2
#define CONV(tensor, reads, block, count, h, w, padding, keras, norm)                              \
    { .kind = INCEPTION_CONVOLUTION, .name = tensor, .from = reads, .into = block,                 \
      .channels = count, .kernel_h = h, .kernel_w = w, padding,                                    \
      .keras_convolution = keras, .keras_batch_norm = norm }
#define MAX_POOL(tensor, reads, block)                                                             \
    { .kind = INCEPTION_MAX_POOL, .name = tensor, .from = reads, .into = block,                    \
      .kernel_h = 3, .kernel_w = 3, STRIDE_2 }
#define AVERAGE_POOL(tensor, reads)                                                                \
    { .kind = INCEPTION_AVERAGE_POOL, .name = tensor, .from = reads,                               \
      .kernel_h = 3, .kernel_w = 3, SAME }

/* The blocks of the paper's figures 5, 6, 7 and 10: b is the block's name, k the Keras index of its
 * input. Columns as in CONV: tensor, reads, block, channels, kernel, padding, Keras indices of the
 * convolution and of its batch norm. */

/* 35 × 35 at 299 px; output: 224 channels + c of the pool's branch. */
#define INCEPTION_A(b, reads, k, c)                                                        \
    CONV(b ".branch1x1",      reads,               b,     64, 1, 1, SAME, k + 11, k + 15), \
    CONV(b ".branch5x5_1",    reads,               NULL,  48, 1, 1, SAME, k +  4, k +  6), \
    CONV(b ".branch5x5_2",    b ".branch5x5_1",    b,     64, 5, 5, SAME, k + 12, k + 16), \
    CONV(b ".branch3x3dbl_1", reads,               NULL,  64, 1, 1, SAME, k +  1, k +  2), \
    CONV(b ".branch3x3dbl_2", b ".branch3x3dbl_1", NULL,  96, 3, 3, SAME, k +  5, k +  7), \
    CONV(b ".branch3x3dbl_3", b ".branch3x3dbl_2", b,     96, 3, 3, SAME, k + 13, k + 17), \
    AVERAGE_POOL(b ".pool", reads),                                                        \
    CONV(b ".branch_pool",    b ".pool",           b,      c, 1, 1, SAME, k + 14, k + 18)

/* Reduces to 17 × 17; output: 480 channels + those of the input. */
#define REDUCTION_A(b, reads, k)                                                               \
    CONV(b ".branch3x3",      reads,               b,    384, 3, 3, STRIDE_2, k +  7, k +  9), \
    CONV(b ".branch3x3dbl_1", reads,               NULL,  64, 1, 1, SAME,     k +  1, k +  2), \
    CONV(b ".branch3x3dbl_2", b ".branch3x3dbl_1", NULL,  96, 3, 3, SAME,     k +  4, k +  5), \
    CONV(b ".branch3x3dbl_3", b ".branch3x3dbl_2", b,     96, 3, 3, STRIDE_2, k +  8, k + 10), \
    MAX_POOL(b ".pool", reads, b)

/* 17 × 17; output: 768 channels, with c inside the 7×7 branches. */
#define INCEPTION_B(b, reads, k, c)                                                        \
    CONV(b ".branch1x1",      reads,               b,    192, 1, 1, SAME, k + 20, k + 24), \
    CONV(b ".branch7x7_1",    reads,               NULL,   c, 1, 1, SAME, k +  7, k +  9), \
    CONV(b ".branch7x7_2",    b ".branch7x7_1",    NULL,   c, 1, 7, SAME, k + 13, k + 15), \
    CONV(b ".branch7x7_3",    b ".branch7x7_2",    b,    192, 7, 1, SAME, k + 21, k + 25), \
    CONV(b ".branch7x7dbl_1", reads,               NULL,   c, 1, 1, SAME, k +  1, k +  2), \
    CONV(b ".branch7x7dbl_2", b ".branch7x7dbl_1", NULL,   c, 7, 1, SAME, k +  4, k +  5), \
    CONV(b ".branch7x7dbl_3", b ".branch7x7dbl_2", NULL,   c, 1, 7, SAME, k +  8, k + 10), \
    CONV(b ".branch7x7dbl_4", b ".branch7x7dbl_3", NULL,   c, 7, 1, SAME, k + 14, k + 16), \
    CONV(b ".branch7x7dbl_5", b ".branch7x7dbl_4", b,    192, 1, 7, SAME, k + 22, k + 26), \
    AVERAGE_POOL(b ".pool", reads),                                                        \
    CONV(b ".branch_pool",    b ".pool",           b,    192, 1, 1, SAME, k + 23, k + 27)

/* Reduces to 8 × 8; output: 512 channels + those of the input. */
#define REDUCTION_B(b, reads, k)                                                             \
    CONV(b ".branch3x3_1",   reads,              NULL, 192, 1, 1, SAME,     k +  7, k +  9), \
    CONV(b ".branch3x3_2",   b ".branch3x3_1",   b,    320, 3, 3, STRIDE_2, k + 13, k + 15), \
    CONV(b ".branch7x7x3_1", reads,              NULL, 192, 1, 1, SAME,     k +  1, k +  2), \
    CONV(b ".branch7x7x3_2", b ".branch7x7x3_1", NULL, 192, 1, 7, SAME,     k +  4, k +  5), \
    CONV(b ".branch7x7x3_3", b ".branch7x7x3_2", NULL, 192, 7, 1, SAME,     k +  8, k + 10), \
    CONV(b ".branch7x7x3_4", b ".branch7x7x3_3", b,    192, 3, 3, STRIDE_2, k + 14, k + 16), \
    MAX_POOL(b ".pool", reads, b)

/* 8 × 8; output: 2048 channels. */
#define INCEPTION_C(b, reads, k)                                                            \
    CONV(b ".branch1x1",       reads,               b,    320, 1, 1, SAME, k + 15, k + 21), \
    CONV(b ".branch3x3_1",     reads,               NULL, 384, 1, 1, SAME, k +  4, k +  6), \
    CONV(b ".branch3x3_2a",    b ".branch3x3_1",    b,    384, 1, 3, SAME, k + 10, k + 16), \
    CONV(b ".branch3x3_2b",    b ".branch3x3_1",    b,    384, 3, 1, SAME, k + 11, k + 17), \
    CONV(b ".branch3x3dbl_1",  reads,               NULL, 448, 1, 1, SAME, k +  1, k +  2), \
    CONV(b ".branch3x3dbl_2",  b ".branch3x3dbl_1", NULL, 384, 3, 3, SAME, k +  5, k +  7), \
    CONV(b ".branch3x3dbl_3a", b ".branch3x3dbl_2", b,    384, 1, 3, SAME, k + 12, k + 18), \
    CONV(b ".branch3x3dbl_3b", b ".branch3x3dbl_2", b,    384, 3, 1, SAME, k + 13, k + 19), \
    AVERAGE_POOL(b ".pool", reads),                                                         \
    CONV(b ".branch_pool",     b ".pool",           b,    192, 1, 1, SAME, k + 20, k + 26)

const struct inception_layer inception_v3[INCEPTION_LAYERS] = {
    /*    tensor           reads            block channels, kernel, padding, Keras at 299 px */
    CONV("Conv2d_1a_3x3", "input",         NULL,  32, 3, 3, STRIDE_2,  1,  2), /* 149 × 149 */
    CONV("Conv2d_2a_3x3", "Conv2d_1a_3x3", NULL,  32, 3, 3, VALID,     4,  5), /* 147 × 147 */
    CONV("Conv2d_2b_3x3", "Conv2d_2a_3x3", NULL,  64, 3, 3, SAME,      7,  8), /* 147 × 147 */
    MAX_POOL("maxpool1",  "Conv2d_2b_3x3", NULL),                              /* 73 × 73 */
    CONV("Conv2d_3b_1x1", "maxpool1",      NULL,  80, 1, 1, VALID,    11, 12), /* 73 × 73 */
    CONV("Conv2d_4a_3x3", "Conv2d_3b_1x1", NULL, 192, 3, 3, VALID,    14, 15), /* 71 × 71 */
    MAX_POOL("maxpool2",  "Conv2d_4a_3x3", NULL),                              /* 35 × 35 × 192 */
    INCEPTION_A("Mixed_5b", "maxpool2", MAXPOOL2, 32),                         /* 35 × 35 × 256 */
    INCEPTION_A("Mixed_5c", "Mixed_5b", MIXED_5B, 64),                         /* 35 × 35 × 288 */
    INCEPTION_A("Mixed_5d", "Mixed_5c", MIXED_5C, 64),                         /* 35 × 35 × 288 */
    REDUCTION_A("Mixed_6a", "Mixed_5d", MIXED_5D),                             /* 17 × 17 × 768 */
    INCEPTION_B("Mixed_6b", "Mixed_6a", MIXED_6A, 128),                        /* 17 × 17 × 768 */
    INCEPTION_B("Mixed_6c", "Mixed_6b", MIXED_6B, 160),                        /* 17 × 17 × 768 */
    INCEPTION_B("Mixed_6d", "Mixed_6c", MIXED_6C, 160),                        /* 17 × 17 × 768 */
    INCEPTION_B("Mixed_6e", "Mixed_6d", MIXED_6D, 192),                        /* 17 × 17 × 768 */
    REDUCTION_B("Mixed_7a", "Mixed_6e", MIXED_6E),                             /* 8 × 8 × 1280 */
    INCEPTION_C("Mixed_7b", "Mixed_7a", MIXED_7A),                             /* 8 × 8 × 2048 */
    INCEPTION_C("Mixed_7c", "Mixed_7b", MIXED_7B),                             /* 8 × 8 × 2048 */
};
/* clang-format on */

int inception_channels(const char *tensor)
{
    if (strcmp(tensor, "input") == 0) return 3;
    int sum = 0;
    for (int i = 0; i < INCEPTION_LAYERS; i++) {
        const struct inception_layer *l = &inception_v3[i];
        if (strcmp(l->into ? l->into : l->name, tensor) != 0) continue;
        sum += l->channels ? l->channels : inception_channels(l->from);
    }
    return sum;
}

const struct inception_layer *inception_convolution(int rank)
{
    for (int i = 0; i < INCEPTION_LAYERS; i++)
        if (inception_v3[i].kind == INCEPTION_CONVOLUTION && rank-- == 0) return &inception_v3[i];
    CHECK(!"a convolution beyond the last");
    return NULL;
}

void inception_weight_shape(const struct inception_layer *layer, int64_t shape[4])
{
    const int64_t values[4] = { layer->channels, inception_channels(layer->from), layer->kernel_h,
                                layer->kernel_w };
    memcpy(shape, values, sizeof values);
}

double inception_fold_scale(float gamma, float variance)
{
    return gamma / sqrt((double)variance + inception_epsilon);
}

int inception_block_end(const char *block)
{
    static const struct {
        const char *name;
        int concat; /* Keras index of the block's concatenation */
    } blocks[] = {
        { "mixed_5b", MIXED_5B }, { "mixed_5c", MIXED_5C }, { "mixed_5d", MIXED_5D },
        { "mixed_6a", MIXED_6A }, { "mixed_6b", MIXED_6B }, { "mixed_6c", MIXED_6C },
        { "mixed_6d", MIXED_6D }, { "mixed_6e", MIXED_6E }, { "mixed_7a", MIXED_7A },
        { "mixed_7b", MIXED_7B }, { "mixed_7c", MIXED_7C },
    };
    for (unsigned i = 0; i < COUNT_OF(blocks); i++)
        if (strcasecmp(blocks[i].name, block) == 0) return blocks[i].concat + 1;
    return -1;
}

bool inception_first_trained(const char *freeze, int *first_trained, struct error *err)
{
    int consumed = 0;
    *first_trained = 0;
    if (strcmp(freeze, "none") == 0) return true;
    *first_trained = INT_MAX;
    if (strcmp(freeze, "all") == 0) return true;
    if (sscanf(freeze, "keras:%d%n", first_trained, &consumed) == 1 && !freeze[consumed] &&
        *first_trained >= 0 && *first_trained <= 311)
        return true;
    *first_trained = inception_block_end(freeze);
    if (*first_trained >= 0) return true;
    return error_set(err, EXIT_CODE_USAGE,
                     "model.freeze: '%s' is none of keras:0 … keras:311, mixed_5b … mixed_7c, "
                     "none, all",
                     freeze);
}

int inception_output_side(const struct inception_layer *layer, int input_side, int kernel)
{
    return layer->same ? input_side : (input_side - kernel) / layer->stride + 1;
}

int inception_map_side(const char *tensor, int window)
{
    if (strcmp(tensor, "input") == 0) return window;
    for (int i = 0; i < INCEPTION_LAYERS; i++) {
        const struct inception_layer *l = &inception_v3[i];
        if (strcmp(l->name, tensor) == 0 || (l->into && strcmp(l->into, tensor) == 0))
            return inception_output_side(l, inception_map_side(l->from, window), l->kernel_h);
    }
    CHECK(!"a tensor of the table");
    return 0;
}
