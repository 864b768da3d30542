/* Winograd convolution for stride 1: fewer products for the price of two cheap transforms.
 *
 * Output is cut into tiles. A block of tiles is transformed to `points` matrices (tiles, C), each
 * multiplied by its own packed weight matrix (C, K), and transformed back, a slice of output
 * channels at a time, so that everything but the weights stays in the second-level cache.
 * Two-dimensional F(4x4, 3x3) needs 36 products for 16 outputs instead of 144. Weights are packed
 * [point][panel of 16 outputs][C][16]. Algorithms and their sources: toom.h. */
#include <string.h>

#include "conv_view.h"
#include "kernels.h"
#include "micromet/base/size.h"
#include "toom.h"

enum {
    TILES_MAX = 96,             /* of a block */
    VALUES_FLOATS = 48 << 10,   /* a block's transformed input, as far as TILES_MIN lets */
    PRODUCTS_FLOATS = 56 << 10, /* a block's products for one slice of output channels */
    TILES_MIN = 24,
    POINTS_MAX = 64,
    SPREAD =
        16, /* floats between the points' matrices, so that they start in different cache sets */
};

struct algorithm {
    enum winograd_kind kind;
    enum toom down, across;
    int kernel_h, kernel_w;
    int map_h, map_w; /* needs exactly this size and 'same' padding; 0 = any */
};

static const struct algorithm algorithms[] = {
    { WINOGRAD_3X3, TOOM_4_3, TOOM_4_3, 3, 3, 0, 0 },
    { WINOGRAD_5X5, TOOM_4_5, TOOM_4_5, 5, 5, 0, 0 },
    { WINOGRAD_1X3, TOOM_NONE, TOOM_4_3, 1, 3, 0, 0 },
    { WINOGRAD_3X1, TOOM_4_3, TOOM_NONE, 3, 1, 0, 0 },
    { WINOGRAD_MAP_ROW, TOOM_NONE, TOOM_MAP_3, 1, 7, 0, 3 },
    { WINOGRAD_MAP_COLUMN, TOOM_MAP_3, TOOM_NONE, 7, 1, 3, 0 },
    { WINOGRAD_1X7, TOOM_NONE, TOOM_4_7, 1, 7, 0, 0 },
    { WINOGRAD_7X1, TOOM_4_7, TOOM_NONE, 7, 1, 0, 0 },
};

struct winograd {
    struct kernel_plan plan;
    const struct isa *isa;
    struct conv_view view;
    const struct algorithm *algorithm;
    struct toom_shape h, w;
    int points, pad_h, pad_w;
    int tiles_h, tiles_w;
    int64_t tiles;
    int block;             /* tiles of a block */
    int slice;             /* output channels of a slice */
    size_t value_stride;   /* floats from point to point, inputs */
    size_t product_stride; /* ... products */
};

static bool fits(const struct algorithm *a, const struct conv_view *v)
{
    if (a->kernel_h != v->kernel_h || a->kernel_w != v->kernel_w) return false;
    if (a->map_h && (v->in.h != a->map_h || v->out.h != a->map_h)) return false;
    return !a->map_w || (v->in.w == a->map_w && v->out.w == a->map_w);
}

static const struct algorithm *algorithm_of(const struct conv_view *v)
{
    for (size_t i = 0; i < COUNT_OF(algorithms); i++)
        if (fits(&algorithms[i], v)) return &algorithms[i];
    return NULL;
}

static struct winograd winograd_of(const struct conv_view *v, const struct algorithm *algorithm,
                                   const struct isa *isa)
{
    struct winograd g = { .isa = isa, .view = *v, .algorithm = algorithm };
    g.h = toom_shapes[algorithm->down];
    g.w = toom_shapes[algorithm->across];
    g.points = g.h.points * g.w.points;
    g.pad_h = algorithm->map_h ? 0 : v->transposed ? v->kernel_h - 1 - v->pad_h : v->pad_h;
    g.pad_w = algorithm->map_w ? 0 : v->transposed ? v->kernel_w - 1 - v->pad_w : v->pad_w;
    g.tiles_h = CEIL_DIV(v->out.h, g.h.out);
    g.tiles_w = CEIL_DIV(v->out.w, g.w.out);
    g.tiles = (int64_t)v->out.n * g.tiles_h * g.tiles_w;
    g.block = int_max(TILES_MIN, int_min(TILES_MAX, VALUES_FLOATS / (g.points * v->in.c)));
    g.block -= g.block % isa->rows;
    g.slice = int_max(2, PRODUCTS_FLOATS / (g.points * g.block * PANEL)) / 2 * 2 * PANEL;
    g.slice = int_min(g.slice, v->out.c);
    g.value_stride = (size_t)g.block * v->in.c + SPREAD;
    g.product_stride = (size_t)g.block * g.slice + SPREAD;
    g.plan.packed_bytes = (size_t)g.points * v->in.c * v->out.c * sizeof(float);
    g.plan.scratch_bytes = (g.points * (g.value_stride + g.product_stride) + v->in.c + v->out.c) *
                           sizeof(float);
    return g;
}

/* Faster than the direct kernel, which skips taps outside the image? */
static bool is_fast(const struct winograd *g, const struct op *op)
{
    enum { TRANSFORM_MACS = 10 }; /* a transformed value costs as much as so many multiply-adds */
    const double c = g->view.in.c, k = g->view.out.c;
    const double macs = (double)g->tiles * g->points * (c * k + TRANSFORM_MACS * (c + k));
    return macs < 0.9 * op_macs(op);
}

static bool plan(const struct op *op, const struct isa *isa, struct kernel_plan **plan,
                 struct error *err)
{
    if (op->kind != OP_CONVOLUTION && op->kind != OP_CONVOLUTION_BACKWARD_DATA) return true;
    if (op->x.dtype != DTYPE_F32 || op->y.dtype != DTYPE_F32) return true;
    const struct conv_view v = conv_view_of(op);
    if (v.stride != 1 || v.in.c % PANEL || v.out.c % PANEL) return true;
    if (v.pad_h >= v.kernel_h || v.pad_w >= v.kernel_w) return true;
    const struct algorithm *algorithm = algorithm_of(&v);
    if (!algorithm) return true;
    const struct winograd planned = winograd_of(&v, algorithm, isa);
    if (!is_fast(&planned, op)) return true;
    struct winograd *g = kernel_plan_alloc(&kernel_winograd, sizeof *g, err);
    if (!g) return false;
    *g = planned;
    g->plan.kernel = &kernel_winograd;
    *plan = &g->plan;
    return true;
}

/* The direct layout of a few input channels at a time, then each point as a combination of the
 * taps. */
static void pack(const struct kernel_plan *plan, const float *weights, float *packed)
{
    enum { CHANNELS = 32, TAPS_MAX = 25 };
    const struct winograd *g = (const struct winograd *)plan;
    const struct conv_view *v = &g->view;
    const int taps = v->kernel_h * v->kernel_w;
    double down[TOOM_POINTS_MAX][TOOM_TAPS_MAX], across[TOOM_POINTS_MAX][TOOM_TAPS_MAX];
    float factors[POINTS_MAX][TAPS_MAX];
    float panel[TAPS_MAX * CHANNELS * PANEL];
    toom_weight_factors(g->algorithm->down, v->kernel_h, down);
    toom_weight_factors(g->algorithm->across, v->kernel_w, across);
    for (int i = 0; i < g->points; i++)
        for (int t = 0; t < taps; t++)
            factors[i][t] = (float)(down[i / g->w.points][t / v->kernel_w] *
                                    across[i % g->w.points][t % v->kernel_w]);
    for (int k = 0; k < v->out.c; k += PANEL)
        for (int c = 0; c < v->in.c; c += CHANNELS) {
            const int count = int_min(CHANNELS, v->in.c - c);
            for (int t = 0; t < taps; t++)
                conv_view_panel(v, g->isa, weights, k, t / v->kernel_w, t % v->kernel_w, c, count,
                                panel + t * CHANNELS * PANEL);
            for (int i = 0; i < g->points; i++)
                g->isa->combine(factors[i], taps, panel, CHANNELS * PANEL, count * PANEL,
                                packed + ((size_t)i * v->out.c + k) * v->in.c + c * PANEL);
        }
}

/* Pointers to the pixels of rows and columns of tile `tile` at (tile's corner)*out - pad; `outside`
 * where there is none. */
static void tile_pixels(const struct winograd *g, const struct tensor *map, const float *data,
                        int64_t tile, int rows, int columns, int pad_h, int pad_w,
                        const float *outside, const float **pixels)
{
    const int x = (int)(tile % g->tiles_w) * g->w.out - pad_w;
    const int y = (int)(tile / g->tiles_w % g->tiles_h) * g->h.out - pad_h;
    const int64_t n = tile / g->tiles_w / g->tiles_h;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            const bool inside = y + i >= 0 && y + i < map->h && x + j >= 0 && x + j < map->w;
            const int64_t pixel = (n * map->h + y + i) * map->w + x + j;
            *pixels++ = inside ? data + pixel * map->pixel_stride : outside;
        }
}

static void transform_inputs(const struct winograd *g, const float *x, int64_t first, int tiles,
                             const float *zeros, float *values)
{
    const float *pixels[POINTS_MAX];
    const int c = g->view.in.c;
    for (int i = 0; i < tiles; i++) {
        tile_pixels(g, &g->view.in, x, first + i, g->h.in, g->w.in, g->pad_h, g->pad_w, zeros,
                    pixels);
        g->isa->winograd_input[g->algorithm->kind](&(struct winograd_input) {
            .pixels = pixels,
            .values = values + (size_t)i * c,
            .stride = g->value_stride,
            .channels = c,
        });
    }
}

/* products[point] (tiles, slice) = values[point] (tiles, C) * weights[point] (C, slice) */
static void multiply(const struct winograd *g, const float *values, const float *packed, int k,
                     int slice, int tiles, float *products)
{
    const int c = g->view.in.c;
    for (int point = 0; point < g->points; point++)
        g->isa->gemm(&(struct gemm) {
            .a = values + point * g->value_stride,
            .b = packed + ((size_t)point * g->view.out.c + k) * c,
            .a_stride = c,
            .y = products + point * g->product_stride,
            .y_stride = g->slice,
            .rows = tiles,
            .depth = c,
            .columns = slice,
            .next = point + 1 < g->points ? packed + ((size_t)(point + 1) * g->view.out.c + k) * c
                                          : NULL,
        });
}

static void transform_outputs(const struct winograd *g, const float *products, const float *bias,
                              int k, int slice, int64_t first, int tiles, float *y, float *trash)
{
    const float *pixels[POINTS_MAX];
    for (int i = 0; i < tiles; i++) {
        tile_pixels(g, &g->view.out, y, first + i, g->h.out, g->w.out, 0, 0, trash, pixels);
        g->isa->winograd_output[g->algorithm->kind](&(struct winograd_output) {
            .values = products + (size_t)i * g->slice,
            .stride = g->product_stride,
            .pixels = (float *const *)pixels,
            .first = k,
            .bias = bias ? bias + k : NULL,
            .channels = slice,
            .accumulate = g->view.accumulate,
            .relu = g->view.relu,
        });
    }
}

static void run(const struct kernel_plan *plan, const float *x, const float *packed,
                const float *bias, float *y, void *scratch, int part, int parts)
{
    const struct winograd *g = (const struct winograd *)plan;
    float *values = scratch, *products = values + g->points * g->value_stride;
    float *zeros = products + g->points * g->product_stride, *trash = zeros + g->view.in.c;
    memset(zeros, 0, (size_t)(g->view.in.c + g->view.out.c) * sizeof(float));
    const int64_t first = g->tiles * part / parts, end = g->tiles * (part + 1) / parts;
    for (int64_t tile = first; tile < end; tile += g->block) {
        const int tiles = end - tile < g->block ? (int)(end - tile) : g->block;
        transform_inputs(g, x, tile, tiles, zeros, values);
        for (int k = 0; k < g->view.out.c; k += g->slice) {
            const int slice = int_min(g->slice, g->view.out.c - k);
            multiply(g, values, packed, k, slice, tiles, products);
            transform_outputs(g, products, bias, k, slice, tile, tiles, y, trash);
        }
    }
}

const struct kernel kernel_winograd = {
    .name = "winograd",
    .plan = plan,
    .pack = pack,
    .run = run,
};
