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
#include "kernels.h"
#include "micromet/base/size.h"

enum { PIXELS_MAX = 256 };

/* The output pixels (all images, rows y0.., columns x0..) that a tap connects to input pixels: each
 * to the one at (oy, ox) * stride + (in_y, in_x). */
struct filter_tap {
    int in_y, in_x;
    int y0, y_count, x0, x_count;
    int64_t pixels;
};

struct filter {
    struct kernel_plan plan;
    const struct isa *isa;
    struct tensor x, y;
    int stride, tap_count;
    struct filter_tap taps[];
};

static void valid_range(int in, int out, int stride, int offset, int *first, int *count)
{
    int end = out;
    while (end > 0 && (end - 1) * stride + offset >= in) end--;
    *first = 0;
    while (*first < end && *first * stride + offset < 0) (*first)++;
    *count = end - *first;
}

static bool plan(const struct op *op, const struct isa *isa, struct kernel_plan **plan,
                 struct error *err)
{
    if (op->kind != OP_CONVOLUTION_BACKWARD_FILTER) return true;
    if (op->x.dtype != DTYPE_F32 || op->y.dtype != DTYPE_F32) return true;
    const struct op_window *w = &op->convolution.window;
    const int taps = w->kernel_h * w->kernel_w;
    struct filter *f = kernel_plan_alloc(&kernel_filter, sizeof *f + taps * sizeof *f->taps, err);
    if (!f) return false;
    f->plan.scratch_bytes = (size_t)PIXELS_MAX * (op->y.c + PANELS_MAX * PANEL) * sizeof(float);
    f->isa = isa;
    f->x = op->x;
    f->y = op->y;
    f->stride = w->stride;
    f->tap_count = taps;
    for (int i = 0; i < taps; i++) {
        struct filter_tap *t = &f->taps[i];
        t->in_y = i / w->kernel_w - w->pad_h;
        t->in_x = i % w->kernel_w - w->pad_w;
        valid_range(op->x.h, op->y.h, w->stride, t->in_y, &t->y0, &t->y_count);
        valid_range(op->x.w, op->y.w, w->stride, t->in_x, &t->x0, &t->x_count);
        t->pixels = (int64_t)op->y.n * t->y_count * t->x_count;
    }
    *plan = &f->plan;
    return true;
}

static void pack(const struct kernel_plan *plan, const float *weights, float *packed)
{
    (void)plan, (void)weights, (void)packed;
}

static void find_pixels(const struct filter *f, const struct filter_tap *t, const float *x,
                        const float *dy, int64_t first, int count, const float **x_pixels,
                        const float **dy_pixels)
{
    for (int i = 0; i < count; i++) {
        const int64_t row = (first + i) / t->x_count, n = row / t->y_count;
        const int64_t ox = t->x0 + (first + i) % t->x_count, oy = t->y0 + row % t->y_count;
        const int64_t iy = oy * f->stride + t->in_y, ix = ox * f->stride + t->in_x;
        x_pixels[i] = x + ((n * f->x.h + iy) * f->x.w + ix) * f->x.pixel_stride;
        dy_pixels[i] = dy + ((n * f->y.h + oy) * f->y.w + ox) * f->y.pixel_stride;
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
static void multiply(const struct filter *f, const float *turned, const float *panels, int pixels,
                     float *dw, int columns, bool accumulate)
{
    const size_t stride = (size_t)f->tap_count * f->x.c;
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
    const int tiles = CEIL_DIV(f->y.c, f->isa->rows);
    for (int i = 0; i < tiles; i++) {
        const int k = (int)((int64_t)f->y.c * i / tiles);
        const int rows = (int)((int64_t)f->y.c * (i + 1) / tiles) - k;
        for (int r = 0; r < rows; r++) {
            a[r] = turned + (size_t)(k + r) * PIXELS_MAX;
            y[r] = dw + (k + r) * stride;
        }
        f->isa->tile(&tile, rows, CEIL_DIV(columns, PANEL));
    }
}

/* One tap's dw for the channels [c_first, c_end). */
static void run_tap(const struct filter *f, int tap, const float *x, const float *dy, float *dw,
                    int c_first, int c_end, float *scratch)
{
    const struct filter_tap *t = &f->taps[tap];
    const int step = f->isa->panels * PANEL;
    float *turned = scratch, *panels = turned + (size_t)PIXELS_MAX * f->y.c;
    const float *x_pixels[PIXELS_MAX], *dy_pixels[PIXELS_MAX];
    float *to = dw + (size_t)tap * f->x.c;
    const int64_t blocks = CEIL_DIV(t->pixels, PIXELS_MAX);
    if (blocks == 0)
        for (int c = c_first; c < c_end; c += step)
            multiply(f, turned, panels, 0, to + c, int_min(step, c_end - c), false);
    for (int64_t i = 0; i < blocks; i++) {
        const int64_t first = t->pixels * i / blocks;
        const int count = (int)(t->pixels * (i + 1) / blocks - first);
        find_pixels(f, t, x, dy, first, count, x_pixels, dy_pixels);
        f->isa->transpose(dy_pixels, count, f->y.c, turned, PIXELS_MAX);
        for (int c = c_first; c < c_end; c += step) {
            const int columns = int_min(step, c_end - c);
            fill_panels(x_pixels, count, c, columns, panels);
            multiply(f, turned, panels, count, to + c, columns, i > 0);
        }
    }
}

static void run(const struct kernel_plan *plan, const float *x, const float *dy, const float *bias,
                float *dw, void *scratch, int part, int parts)
{
    (void)bias;
    const struct filter *f = (const struct filter *)plan;
    const int panels = CEIL_DIV(f->x.c, PANEL);
    const int64_t items = (int64_t)f->tap_count * panels;
    const int64_t first = items * part / parts, end = items * (part + 1) / parts;
    for (int64_t item = first; item < end;) {
        const int tap = (int)(item / panels), panel = (int)(item % panels);
        const int panel_end = int_min(panels, panel + (int)(end - item));
        run_tap(f, tap, x, dy, dw, panel * PANEL, int_min(f->x.c, panel_end * PANEL), scratch);
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
    .plan = plan,
    .pack = pack,
    .run = run,
};
