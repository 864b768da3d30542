/* The InceptionV3 table; see the header. */
#include "micromet/nn/inception_v3.h"

#include <math.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "micromet/base/error.h"

#define CONVOLUTION  INCEPTION_CONVOLUTION
#define MAX_POOL     INCEPTION_MAX_POOL
#define AVERAGE_POOL INCEPTION_AVERAGE_POOL
#define SAME         true
#define VALID        false

const char inception_v3_output[] = "Mixed_7c";
const float inception_epsilon = 1e-3f;

/* clang-format off */
const struct inception_layer inception_v3[INCEPTION_LAYERS] = {
    /* kind, name, from, into, channels, kernel h, w, stride, padding, Keras index of convolution, batch norm */
    { CONVOLUTION, "Conv2d_1a_3x3", "input", NULL, 32, 3, 3, 2, VALID, 1, 2 },
    { CONVOLUTION, "Conv2d_2a_3x3", "Conv2d_1a_3x3", NULL, 32, 3, 3, 1, VALID, 4, 5 },
    { CONVOLUTION, "Conv2d_2b_3x3", "Conv2d_2a_3x3", NULL, 64, 3, 3, 1, SAME, 7, 8 },
    { MAX_POOL, "maxpool1", "Conv2d_2b_3x3", NULL, 0, 3, 3, 2, VALID, 0, 0 },
    { CONVOLUTION, "Conv2d_3b_1x1", "maxpool1", NULL, 80, 1, 1, 1, VALID, 11, 12 },
    { CONVOLUTION, "Conv2d_4a_3x3", "Conv2d_3b_1x1", NULL, 192, 3, 3, 1, VALID, 14, 15 },
    { MAX_POOL, "maxpool2", "Conv2d_4a_3x3", NULL, 0, 3, 3, 2, VALID, 0, 0 },
    { CONVOLUTION, "Mixed_5b.branch1x1", "maxpool2", "Mixed_5b", 64, 1, 1, 1, SAME, 28, 32 },
    { CONVOLUTION, "Mixed_5b.branch5x5_1", "maxpool2", NULL, 48, 1, 1, 1, SAME, 21, 23 },
    { CONVOLUTION, "Mixed_5b.branch5x5_2", "Mixed_5b.branch5x5_1", "Mixed_5b", 64, 5, 5, 1, SAME, 29, 33 },
    { CONVOLUTION, "Mixed_5b.branch3x3dbl_1", "maxpool2", NULL, 64, 1, 1, 1, SAME, 18, 19 },
    { CONVOLUTION, "Mixed_5b.branch3x3dbl_2", "Mixed_5b.branch3x3dbl_1", NULL, 96, 3, 3, 1, SAME, 22, 24 },
    { CONVOLUTION, "Mixed_5b.branch3x3dbl_3", "Mixed_5b.branch3x3dbl_2", "Mixed_5b", 96, 3, 3, 1, SAME, 30, 34 },
    { AVERAGE_POOL, "Mixed_5b.pool", "maxpool2", NULL, 0, 3, 3, 1, SAME, 0, 0 },
    { CONVOLUTION, "Mixed_5b.branch_pool", "Mixed_5b.pool", "Mixed_5b", 32, 1, 1, 1, SAME, 31, 35 },
    { CONVOLUTION, "Mixed_5c.branch1x1", "Mixed_5b", "Mixed_5c", 64, 1, 1, 1, SAME, 51, 55 },
    { CONVOLUTION, "Mixed_5c.branch5x5_1", "Mixed_5b", NULL, 48, 1, 1, 1, SAME, 44, 46 },
    { CONVOLUTION, "Mixed_5c.branch5x5_2", "Mixed_5c.branch5x5_1", "Mixed_5c", 64, 5, 5, 1, SAME, 52, 56 },
    { CONVOLUTION, "Mixed_5c.branch3x3dbl_1", "Mixed_5b", NULL, 64, 1, 1, 1, SAME, 41, 42 },
    { CONVOLUTION, "Mixed_5c.branch3x3dbl_2", "Mixed_5c.branch3x3dbl_1", NULL, 96, 3, 3, 1, SAME, 45, 47 },
    { CONVOLUTION, "Mixed_5c.branch3x3dbl_3", "Mixed_5c.branch3x3dbl_2", "Mixed_5c", 96, 3, 3, 1, SAME, 53, 57 },
    { AVERAGE_POOL, "Mixed_5c.pool", "Mixed_5b", NULL, 0, 3, 3, 1, SAME, 0, 0 },
    { CONVOLUTION, "Mixed_5c.branch_pool", "Mixed_5c.pool", "Mixed_5c", 64, 1, 1, 1, SAME, 54, 58 },
    { CONVOLUTION, "Mixed_5d.branch1x1", "Mixed_5c", "Mixed_5d", 64, 1, 1, 1, SAME, 74, 78 },
    { CONVOLUTION, "Mixed_5d.branch5x5_1", "Mixed_5c", NULL, 48, 1, 1, 1, SAME, 67, 69 },
    { CONVOLUTION, "Mixed_5d.branch5x5_2", "Mixed_5d.branch5x5_1", "Mixed_5d", 64, 5, 5, 1, SAME, 75, 79 },
    { CONVOLUTION, "Mixed_5d.branch3x3dbl_1", "Mixed_5c", NULL, 64, 1, 1, 1, SAME, 64, 65 },
    { CONVOLUTION, "Mixed_5d.branch3x3dbl_2", "Mixed_5d.branch3x3dbl_1", NULL, 96, 3, 3, 1, SAME, 68, 70 },
    { CONVOLUTION, "Mixed_5d.branch3x3dbl_3", "Mixed_5d.branch3x3dbl_2", "Mixed_5d", 96, 3, 3, 1, SAME, 76, 80 },
    { AVERAGE_POOL, "Mixed_5d.pool", "Mixed_5c", NULL, 0, 3, 3, 1, SAME, 0, 0 },
    { CONVOLUTION, "Mixed_5d.branch_pool", "Mixed_5d.pool", "Mixed_5d", 64, 1, 1, 1, SAME, 77, 81 },
    { CONVOLUTION, "Mixed_6a.branch3x3", "Mixed_5d", "Mixed_6a", 384, 3, 3, 2, VALID, 93, 95 },
    { CONVOLUTION, "Mixed_6a.branch3x3dbl_1", "Mixed_5d", NULL, 64, 1, 1, 1, SAME, 87, 88 },
    { CONVOLUTION, "Mixed_6a.branch3x3dbl_2", "Mixed_6a.branch3x3dbl_1", NULL, 96, 3, 3, 1, SAME, 90, 91 },
    { CONVOLUTION, "Mixed_6a.branch3x3dbl_3", "Mixed_6a.branch3x3dbl_2", "Mixed_6a", 96, 3, 3, 2, VALID, 94, 96 },
    { MAX_POOL, "Mixed_6a.pool", "Mixed_5d", "Mixed_6a", 0, 3, 3, 2, VALID, 0, 0 },
    { CONVOLUTION, "Mixed_6b.branch1x1", "Mixed_6a", "Mixed_6b", 192, 1, 1, 1, SAME, 120, 124 },
    { CONVOLUTION, "Mixed_6b.branch7x7_1", "Mixed_6a", NULL, 128, 1, 1, 1, SAME, 107, 109 },
    { CONVOLUTION, "Mixed_6b.branch7x7_2", "Mixed_6b.branch7x7_1", NULL, 128, 1, 7, 1, SAME, 113, 115 },
    { CONVOLUTION, "Mixed_6b.branch7x7_3", "Mixed_6b.branch7x7_2", "Mixed_6b", 192, 7, 1, 1, SAME, 121, 125 },
    { CONVOLUTION, "Mixed_6b.branch7x7dbl_1", "Mixed_6a", NULL, 128, 1, 1, 1, SAME, 101, 102 },
    { CONVOLUTION, "Mixed_6b.branch7x7dbl_2", "Mixed_6b.branch7x7dbl_1", NULL, 128, 7, 1, 1, SAME, 104, 105 },
    { CONVOLUTION, "Mixed_6b.branch7x7dbl_3", "Mixed_6b.branch7x7dbl_2", NULL, 128, 1, 7, 1, SAME, 108, 110 },
    { CONVOLUTION, "Mixed_6b.branch7x7dbl_4", "Mixed_6b.branch7x7dbl_3", NULL, 128, 7, 1, 1, SAME, 114, 116 },
    { CONVOLUTION, "Mixed_6b.branch7x7dbl_5", "Mixed_6b.branch7x7dbl_4", "Mixed_6b", 192, 1, 7, 1, SAME, 122, 126 },
    { AVERAGE_POOL, "Mixed_6b.pool", "Mixed_6a", NULL, 0, 3, 3, 1, SAME, 0, 0 },
    { CONVOLUTION, "Mixed_6b.branch_pool", "Mixed_6b.pool", "Mixed_6b", 192, 1, 1, 1, SAME, 123, 127 },
    { CONVOLUTION, "Mixed_6c.branch1x1", "Mixed_6b", "Mixed_6c", 192, 1, 1, 1, SAME, 152, 156 },
    { CONVOLUTION, "Mixed_6c.branch7x7_1", "Mixed_6b", NULL, 160, 1, 1, 1, SAME, 139, 141 },
    { CONVOLUTION, "Mixed_6c.branch7x7_2", "Mixed_6c.branch7x7_1", NULL, 160, 1, 7, 1, SAME, 145, 147 },
    { CONVOLUTION, "Mixed_6c.branch7x7_3", "Mixed_6c.branch7x7_2", "Mixed_6c", 192, 7, 1, 1, SAME, 153, 157 },
    { CONVOLUTION, "Mixed_6c.branch7x7dbl_1", "Mixed_6b", NULL, 160, 1, 1, 1, SAME, 133, 134 },
    { CONVOLUTION, "Mixed_6c.branch7x7dbl_2", "Mixed_6c.branch7x7dbl_1", NULL, 160, 7, 1, 1, SAME, 136, 137 },
    { CONVOLUTION, "Mixed_6c.branch7x7dbl_3", "Mixed_6c.branch7x7dbl_2", NULL, 160, 1, 7, 1, SAME, 140, 142 },
    { CONVOLUTION, "Mixed_6c.branch7x7dbl_4", "Mixed_6c.branch7x7dbl_3", NULL, 160, 7, 1, 1, SAME, 146, 148 },
    { CONVOLUTION, "Mixed_6c.branch7x7dbl_5", "Mixed_6c.branch7x7dbl_4", "Mixed_6c", 192, 1, 7, 1, SAME, 154, 158 },
    { AVERAGE_POOL, "Mixed_6c.pool", "Mixed_6b", NULL, 0, 3, 3, 1, SAME, 0, 0 },
    { CONVOLUTION, "Mixed_6c.branch_pool", "Mixed_6c.pool", "Mixed_6c", 192, 1, 1, 1, SAME, 155, 159 },
    { CONVOLUTION, "Mixed_6d.branch1x1", "Mixed_6c", "Mixed_6d", 192, 1, 1, 1, SAME, 184, 188 },
    { CONVOLUTION, "Mixed_6d.branch7x7_1", "Mixed_6c", NULL, 160, 1, 1, 1, SAME, 171, 173 },
    { CONVOLUTION, "Mixed_6d.branch7x7_2", "Mixed_6d.branch7x7_1", NULL, 160, 1, 7, 1, SAME, 177, 179 },
    { CONVOLUTION, "Mixed_6d.branch7x7_3", "Mixed_6d.branch7x7_2", "Mixed_6d", 192, 7, 1, 1, SAME, 185, 189 },
    { CONVOLUTION, "Mixed_6d.branch7x7dbl_1", "Mixed_6c", NULL, 160, 1, 1, 1, SAME, 165, 166 },
    { CONVOLUTION, "Mixed_6d.branch7x7dbl_2", "Mixed_6d.branch7x7dbl_1", NULL, 160, 7, 1, 1, SAME, 168, 169 },
    { CONVOLUTION, "Mixed_6d.branch7x7dbl_3", "Mixed_6d.branch7x7dbl_2", NULL, 160, 1, 7, 1, SAME, 172, 174 },
    { CONVOLUTION, "Mixed_6d.branch7x7dbl_4", "Mixed_6d.branch7x7dbl_3", NULL, 160, 7, 1, 1, SAME, 178, 180 },
    { CONVOLUTION, "Mixed_6d.branch7x7dbl_5", "Mixed_6d.branch7x7dbl_4", "Mixed_6d", 192, 1, 7, 1, SAME, 186, 190 },
    { AVERAGE_POOL, "Mixed_6d.pool", "Mixed_6c", NULL, 0, 3, 3, 1, SAME, 0, 0 },
    { CONVOLUTION, "Mixed_6d.branch_pool", "Mixed_6d.pool", "Mixed_6d", 192, 1, 1, 1, SAME, 187, 191 },
    { CONVOLUTION, "Mixed_6e.branch1x1", "Mixed_6d", "Mixed_6e", 192, 1, 1, 1, SAME, 216, 220 },
    { CONVOLUTION, "Mixed_6e.branch7x7_1", "Mixed_6d", NULL, 192, 1, 1, 1, SAME, 203, 205 },
    { CONVOLUTION, "Mixed_6e.branch7x7_2", "Mixed_6e.branch7x7_1", NULL, 192, 1, 7, 1, SAME, 209, 211 },
    { CONVOLUTION, "Mixed_6e.branch7x7_3", "Mixed_6e.branch7x7_2", "Mixed_6e", 192, 7, 1, 1, SAME, 217, 221 },
    { CONVOLUTION, "Mixed_6e.branch7x7dbl_1", "Mixed_6d", NULL, 192, 1, 1, 1, SAME, 197, 198 },
    { CONVOLUTION, "Mixed_6e.branch7x7dbl_2", "Mixed_6e.branch7x7dbl_1", NULL, 192, 7, 1, 1, SAME, 200, 201 },
    { CONVOLUTION, "Mixed_6e.branch7x7dbl_3", "Mixed_6e.branch7x7dbl_2", NULL, 192, 1, 7, 1, SAME, 204, 206 },
    { CONVOLUTION, "Mixed_6e.branch7x7dbl_4", "Mixed_6e.branch7x7dbl_3", NULL, 192, 7, 1, 1, SAME, 210, 212 },
    { CONVOLUTION, "Mixed_6e.branch7x7dbl_5", "Mixed_6e.branch7x7dbl_4", "Mixed_6e", 192, 1, 7, 1, SAME, 218, 222 },
    { AVERAGE_POOL, "Mixed_6e.pool", "Mixed_6d", NULL, 0, 3, 3, 1, SAME, 0, 0 },
    { CONVOLUTION, "Mixed_6e.branch_pool", "Mixed_6e.pool", "Mixed_6e", 192, 1, 1, 1, SAME, 219, 223 },
    { CONVOLUTION, "Mixed_7a.branch3x3_1", "Mixed_6e", NULL, 192, 1, 1, 1, SAME, 235, 237 },
    { CONVOLUTION, "Mixed_7a.branch3x3_2", "Mixed_7a.branch3x3_1", "Mixed_7a", 320, 3, 3, 2, VALID, 241, 243 },
    { CONVOLUTION, "Mixed_7a.branch7x7x3_1", "Mixed_6e", NULL, 192, 1, 1, 1, SAME, 229, 230 },
    { CONVOLUTION, "Mixed_7a.branch7x7x3_2", "Mixed_7a.branch7x7x3_1", NULL, 192, 1, 7, 1, SAME, 232, 233 },
    { CONVOLUTION, "Mixed_7a.branch7x7x3_3", "Mixed_7a.branch7x7x3_2", NULL, 192, 7, 1, 1, SAME, 236, 238 },
    { CONVOLUTION, "Mixed_7a.branch7x7x3_4", "Mixed_7a.branch7x7x3_3", "Mixed_7a", 192, 3, 3, 2, VALID, 242, 244 },
    { MAX_POOL, "Mixed_7a.pool", "Mixed_6e", "Mixed_7a", 0, 3, 3, 2, VALID, 0, 0 },
    { CONVOLUTION, "Mixed_7b.branch1x1", "Mixed_7a", "Mixed_7b", 320, 1, 1, 1, SAME, 263, 269 },
    { CONVOLUTION, "Mixed_7b.branch3x3_1", "Mixed_7a", NULL, 384, 1, 1, 1, SAME, 252, 254 },
    { CONVOLUTION, "Mixed_7b.branch3x3_2a", "Mixed_7b.branch3x3_1", "Mixed_7b", 384, 1, 3, 1, SAME, 258, 264 },
    { CONVOLUTION, "Mixed_7b.branch3x3_2b", "Mixed_7b.branch3x3_1", "Mixed_7b", 384, 3, 1, 1, SAME, 259, 265 },
    { CONVOLUTION, "Mixed_7b.branch3x3dbl_1", "Mixed_7a", NULL, 448, 1, 1, 1, SAME, 249, 250 },
    { CONVOLUTION, "Mixed_7b.branch3x3dbl_2", "Mixed_7b.branch3x3dbl_1", NULL, 384, 3, 3, 1, SAME, 253, 255 },
    { CONVOLUTION, "Mixed_7b.branch3x3dbl_3a", "Mixed_7b.branch3x3dbl_2", "Mixed_7b", 384, 1, 3, 1, SAME, 260, 266 },
    { CONVOLUTION, "Mixed_7b.branch3x3dbl_3b", "Mixed_7b.branch3x3dbl_2", "Mixed_7b", 384, 3, 1, 1, SAME, 261, 267 },
    { AVERAGE_POOL, "Mixed_7b.pool", "Mixed_7a", NULL, 0, 3, 3, 1, SAME, 0, 0 },
    { CONVOLUTION, "Mixed_7b.branch_pool", "Mixed_7b.pool", "Mixed_7b", 192, 1, 1, 1, SAME, 268, 274 },
    { CONVOLUTION, "Mixed_7c.branch1x1", "Mixed_7b", "Mixed_7c", 320, 1, 1, 1, SAME, 294, 300 },
    { CONVOLUTION, "Mixed_7c.branch3x3_1", "Mixed_7b", NULL, 384, 1, 1, 1, SAME, 283, 285 },
    { CONVOLUTION, "Mixed_7c.branch3x3_2a", "Mixed_7c.branch3x3_1", "Mixed_7c", 384, 1, 3, 1, SAME, 289, 295 },
    { CONVOLUTION, "Mixed_7c.branch3x3_2b", "Mixed_7c.branch3x3_1", "Mixed_7c", 384, 3, 1, 1, SAME, 290, 296 },
    { CONVOLUTION, "Mixed_7c.branch3x3dbl_1", "Mixed_7b", NULL, 448, 1, 1, 1, SAME, 280, 281 },
    { CONVOLUTION, "Mixed_7c.branch3x3dbl_2", "Mixed_7c.branch3x3dbl_1", NULL, 384, 3, 3, 1, SAME, 284, 286 },
    { CONVOLUTION, "Mixed_7c.branch3x3dbl_3a", "Mixed_7c.branch3x3dbl_2", "Mixed_7c", 384, 1, 3, 1, SAME, 291, 297 },
    { CONVOLUTION, "Mixed_7c.branch3x3dbl_3b", "Mixed_7c.branch3x3dbl_2", "Mixed_7c", 384, 3, 1, 1, SAME, 292, 298 },
    { AVERAGE_POOL, "Mixed_7c.pool", "Mixed_7b", NULL, 0, 3, 3, 1, SAME, 0, 0 },
    { CONVOLUTION, "Mixed_7c.branch_pool", "Mixed_7c.pool", "Mixed_7c", 192, 1, 1, 1, SAME, 299, 305 },
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
        { "mixed_5b", 40 },  { "mixed_5c", 63 },  { "mixed_5d", 86 },  { "mixed_6a", 100 },
        { "mixed_6b", 132 }, { "mixed_6c", 164 }, { "mixed_6d", 196 }, { "mixed_6e", 228 },
        { "mixed_7a", 248 }, { "mixed_7b", 279 }, { "mixed_7c", 310 },
    };
    for (unsigned i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        if (strcasecmp(blocks[i].name, block) == 0) return blocks[i].concat + 1;
    return -1;
}
