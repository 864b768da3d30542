/* The filter's gradient as GEMM over pixels: dw[k][tap][c] = sum over pixels of dy[pixel][k] *
 * x[pixel + tap][c].
 *
 * For each tap only the output pixels whose input lies inside the image take part. A block of them
 * is brought into the shape that the register tile of the forward pass reads: dy transposed to (K,
 * pixels), x in panels (pixels, 16); the tile then reduces over pixels where the forward pass
 * reduces over channels. Parts share out taps and channels of dw, so there is no sum across threads
 * and the bits do not depend on them. */
#include <string.h>

#include "conv_view.h"
#include "isa.h"
#include "kernels.h"

enum { PIXELS_MAX = 256 };

/* The output pixels (all images, rows y0.., columns x0..) that tap (r, s) connects to input pixels.
 */
struct filter_tap {
    int r, s;
    int y0, y_count, x0, x_count;
    int64_t pixels;
};

static bool supports(const struct op *op)
{
    return op->kind == OP_CONVOLUTION_BACKWARD_FILTER && isa_best() && op->x.dtype == DTYPE_F32 &&
           op->y.dtype == DTYPE_F32;
}

static size_t packed_bytes(const struct op *op)
{
    (void)op;
    return 0;
}

static void pack(const struct op *op, const float *weights, float *packed)
{
    (void)op, (void)weights, (void)packed;
}

static size_t scratch_bytes(const struct op *op)
{
    return (size_t)PIXELS_MAX * (op->y.c + PANELS_MAX * PANEL) * sizeof(float);
}

static void valid_range(int in, int out, int stride, int offset, int *first, int *count)
{
    int end = out;
    while (end > 0 && (end - 1) * stride + offset >= in) end--;
    *first = 0;
    while (*first < end && *first * stride + offset < 0) (*first)++;
    *count = end - *first;
}

static struct filter_tap filter_tap_of(const struct op *op, int r, int s)
{
    const struct op_window *w = &op->convolution.window;
    struct filter_tap t = { .r = r, .s = s };
    valid_range(op->x.h, op->y.h, w->stride, r - w->pad_h, &t.y0, &t.y_count);
    valid_range(op->x.w, op->y.w, w->stride, s - w->pad_w, &t.x0, &t.x_count);
    t.pixels = (int64_t)op->y.n * t.y_count * t.x_count;
    return t;
}

static void find_pixels(const struct op *op, const struct filter_tap *t, const float *x,
                        const float *dy, int64_t first, int count, const float **x_pixels,
                        const float **dy_pixels)
{
    const struct op_window *w = &op->convolution.window;
    for (int i = 0; i < count; i++) {
        const int64_t row = (first + i) / t->x_count, n = row / t->y_count;
        const int64_t ox = t->x0 + (first + i) % t->x_count, oy = t->y0 + row % t->y_count;
        const int64_t iy = oy * w->stride + t->r - w->pad_h;
        const int64_t ix = ox * w->stride + t->s - w->pad_w;
        x_pixels[i] = x + ((n * op->x.h + iy) * op->x.w + ix) * op->x.pixel_stride;
        dy_pixels[i] = dy + ((n * op->y.h + oy) * op->y.w + ox) * op->y.pixel_stride;
    }
}

/* (pixels, channels c..) to panels[q] (pixels, PANEL); the last panel's missing channels are zero.
 */
static void fill_panels(const float *const *pixels, int count, int c, int columns, float *panels)
{
    for (int j = 0; j < columns; j += PANEL, panels += PIXELS_MAX * PANEL) {
        const int width = int_min(PANEL, columns - j);
        for (int i = 0; i < count; i++) {
            float *to = panels + i * PANEL;
            if (width == PANEL) {
                memcpy(to, pixels[i] + c + j, PANEL * sizeof(float));
            } else {
                memset(to, 0, PANEL * sizeof(float));
                memcpy(to, pixels[i] + c + j, width * sizeof(float));
            }
        }
    }
}

/* dw[all k][tap][c .. c+columns) (+)= turned (K, pixels) * panels (pixels, columns) */
static void multiply(const struct op *op, const struct isa *isa, const float *turned,
                     const float *panels, int pixels, float *dw, int columns, bool accumulate)
{
    const struct op_window *w = &op->convolution.window;
    const size_t stride = (size_t)w->kernel_h * w->kernel_w * op->x.c;
    const ptrdiff_t zero = 0;
    const float *a[ROWS_MAX];
    float *y[ROWS_MAX];
    const struct tile tile = {
        .a = a,
        .a_offset = &zero,
        .b = panels,
        .b_offset = &zero,
        .panel_stride = PIXELS_MAX * PANEL,
        .runs = 1,
        .depth = pixels,
        .y = y,
        .columns = columns,
        .accumulate = accumulate,
        .fetch = (const char *)panels,
    };
    const int tiles = ceil_div(op->y.c, isa->rows);
    for (int i = 0; i < tiles; i++) {
        const int k = (int)((int64_t)op->y.c * i / tiles);
        const int rows = (int)((int64_t)op->y.c * (i + 1) / tiles) - k;
        for (int r = 0; r < rows; r++) {
            a[r] = turned + (size_t)(k + r) * PIXELS_MAX;
            y[r] = dw + (k + r) * stride;
        }
        isa->tile(&tile, rows, ceil_div(columns, PANEL));
    }
}

/* One tap's dw for the channels [c_first, c_end). */
static void run_tap(const struct op *op, const struct filter_tap *t, const float *x,
                    const float *dy, float *dw, int c_first, int c_end, float *scratch)
{
    const struct isa *isa = isa_best();
    const int step = isa->panels * PANEL;
    float *turned = scratch, *panels = turned + (size_t)PIXELS_MAX * op->y.c;
    const float *x_pixels[PIXELS_MAX], *dy_pixels[PIXELS_MAX];
    float *to = dw + ((size_t)t->r * op->convolution.window.kernel_w + t->s) * op->x.c;
    const int64_t blocks = (t->pixels + PIXELS_MAX - 1) / PIXELS_MAX;
    if (blocks == 0)
        for (int c = c_first; c < c_end; c += step)
            multiply(op, isa, turned, panels, 0, to + c, int_min(step, c_end - c), false);
    for (int64_t i = 0; i < blocks; i++) {
        const int64_t first = t->pixels * i / blocks;
        const int count = (int)(t->pixels * (i + 1) / blocks - first);
        find_pixels(op, t, x, dy, first, count, x_pixels, dy_pixels);
        isa->transpose(dy_pixels, count, op->y.c, turned, PIXELS_MAX);
        for (int c = c_first; c < c_end; c += step) {
            const int columns = int_min(step, c_end - c);
            fill_panels(x_pixels, count, c, columns, panels);
            multiply(op, isa, turned, panels, count, to + c, columns, i > 0);
        }
    }
}

static void run(const struct op *op, const float *x, const float *dy, const float *bias, float *dw,
                void *scratch, int part, int parts)
{
    (void)bias;
    const struct op_window *w = &op->convolution.window;
    const int panels = ceil_div(op->x.c, PANEL);
    const int64_t items = (int64_t)w->kernel_h * w->kernel_w * panels;
    const int64_t first = items * part / parts, end = items * (part + 1) / parts;
    for (int64_t item = first; item < end;) {
        const int tap = (int)(item / panels), panel = (int)(item % panels);
        const int panel_end = int_min(panels, panel + (int)(end - item));
        const struct filter_tap t = filter_tap_of(op, tap / w->kernel_w, tap % w->kernel_w);
        run_tap(op, &t, x, dy, dw, panel * PANEL, int_min(op->x.c, panel_end * PANEL), scratch);
        item += panel_end - panel;
    }
}

void kernel_dbias(const struct op *op, const float *dy, float *dbias, int part, int parts)
{
    enum { WIDTH = 64 };
    const int first = (int)((int64_t)op->y.c * part / parts);
    const int end = (int)((int64_t)op->y.c * (part + 1) / parts);
    const int64_t pixels = tensor_pixels(&op->y);
    for (int k = first; k < end; k += WIDTH) {
        const int width = int_min(WIDTH, end - k);
        double sums[WIDTH] = { 0 };
        for (int64_t i = 0; i < pixels; i++)
            for (int j = 0; j < width; j++) sums[j] += dy[i * op->y.pixel_stride + k + j];
        for (int j = 0; j < width; j++) dbias[k + j] = (float)sums[j];
    }
}

const struct kernel kernel_filter = {
    .name = "filter",
    .supports = supports,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
