/* Maximum and average pools, forward and backward, a row of output pixels at a time. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "isa.h"
#include "plan.h"

struct range {
    int first, last; /* half-open, inside the input */
};

static struct range taps(int out, int kernel, int stride, int pad, int in)
{
    const int first = out * stride - pad, last = first + kernel;
    return (struct range) { first < 0 ? 0 : first, last > in ? in : last };
}

static struct range row_taps(const struct op *op, int oy)
{
    const struct op_window *w = &op->pool.window;
    return taps(oy, w->kernel_h, w->stride, w->pad_h, op->x.h);
}

static struct range column_taps(const struct op *op, int ox)
{
    const struct op_window *w = &op->pool.window;
    return taps(ox, w->kernel_w, w->stride, w->pad_w, op->x.w);
}

static float average_scale(const struct op *op, struct range rows, struct range columns)
{
    const int inside = (rows.last - rows.first) * (columns.last - columns.first);
    const struct op_window *w = &op->pool.window;
    return 1.0f / (float)(op->pool.exclude_padding ? inside : w->kernel_h * w->kernel_w);
}

static inline int64_t pixel_at(const struct tensor *t, int n, int y, int x)
{
    return ((int64_t)n * t->h + y) * t->w + x;
}

/* The plain loop: for channels that fill no vector, and for processors without one of isa.h's
 * instruction sets. */
static void reduce_plain(const struct pool_pixel *p, int first, bool bf16)
{
    for (int c = first; c < p->channels; c++) {
        float sum = p->average ? 0 : -INFINITY;
        for (int t = 0; t < p->taps; t++) {
            const float value = bf16 ? bf16_to_float(((const uint16_t *)p->pixels[t])[c])
                                     : ((const float *)p->pixels[t])[c];
            sum = p->average ? sum + value : value > sum ? value : sum;
        }
        p->y[c] = p->average ? sum * p->scale : sum;
    }
}

/* `pixels` has room for kernel_h*kernel_w pointers. */
static void forward_pixel(const struct op *op, const struct op_buffers *b, int n, int oy, int ox,
                          const void **pixels)
{
    const struct range rows = row_taps(op, oy);
    const struct range columns = column_taps(op, ox);
    const struct isa *isa = isa_best();
    const bool bf16 = op->x.dtype == DTYPE_BF16;
    const int64_t target = pixel_at(&op->y, n, oy, ox);
    float out_row[ROW_CHANNELS_MAX];
    struct pool_pixel pixel = {
        .pixels = pixels,
        .y = row_target(&op->y, b->out, target, out_row),
        .channels = op->x.c,
        .average = op->pool.average,
        .scale = op->pool.average ? average_scale(op, rows, columns) : 1,
    };
    for (int y = rows.first; y < rows.last; y++)
        for (int x = columns.first; x < columns.last; x++)
            pixels[pixel.taps++] = (const char *)b->x +
                                   (size_t)(pixel_at(&op->x, n, y, x) * op->x.pixel_stride) *
                                       dtype_bytes(op->x.dtype);
    reduce_plain(&pixel, isa ? isa->pool[bf16](&pixel) : 0, bf16);
    row_store(&op->y, b->out, target, pixel.y);
}

/* Of the taps of one output pixel, for each thread. */
struct pointers {
    size_t taps;
    const void **memory; /* (threads, taps) */
};

static void pointers_release(void *detail)
{
    struct pointers *pointers = detail;
    free(pointers->memory);
    free(pointers);
}

static bool forward(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    (void)err;
    const struct op *op = &plan->op;
    const struct pointers *pointers = plan->detail;
#pragma omp parallel for schedule(static) collapse(2)
    for (int n = 0; n < op->y.n; n++)
        for (int oy = 0; oy < op->y.h; oy++)
            for (int ox = 0; ox < op->y.w; ox++)
                forward_pixel(op, b, n, oy, ox,
                              pointers->memory + (size_t)omp_get_thread_num() * pointers->taps);
    return true;
}

/* Add scale * dy to every input pixel of an average window. */
CPU_CLONES static void spread_average(const struct op *op, const float *dy, struct range rows,
                                      struct range columns, float *image)
{
    const float scale = average_scale(op, rows, columns);
    for (int y = rows.first; y < rows.last; y++)
        for (int x = columns.first; x < columns.last; x++) {
            float *dx = image + ((int64_t)y * op->x.w + x) * op->x.c;
            for (int c = 0; c < op->x.c; c++) dx[c] += scale * dy[c];
        }
}

/* Give dy to the first maximum of its window, channel by channel. */
CPU_CLONES static void send_to_maximum(const struct op *op, const struct op_buffers *b, int n,
                                       const float *dy, struct range rows, struct range columns,
                                       float *image)
{
    float best[ROW_CHANNELS_MAX], in_row[ROW_CHANNELS_MAX];
    int at[ROW_CHANNELS_MAX];
    for (int c = 0; c < op->x.c; c++) best[c] = -INFINITY;
    for (int y = rows.first; y < rows.last; y++)
        for (int x = columns.first; x < columns.last; x++) {
            const float *in = row_load(&op->x, b->x, pixel_at(&op->x, n, y, x), in_row);
            const int here = y * op->x.w + x;
            for (int c = 0; c < op->x.c; c++) {
                at[c] = in[c] > best[c] ? here : at[c];
                best[c] = in[c] > best[c] ? in[c] : best[c];
            }
        }
    for (int c = 0; c < op->x.c; c++)
        if (best[c] > -INFINITY) image[(int64_t)at[c] * op->x.c + c] += dy[c];
}

/* One image: gathered in a dense float32 image, then written or added to dx. */
CPU_CLONES static void backward_image(const struct op *op, const struct op_buffers *b, int n,
                                      float *image)
{
    const int64_t pixels = (int64_t)op->x.h * op->x.w;
    memset(image, 0, (size_t)(pixels * op->x.c) * sizeof *image);
    float dy_row[ROW_CHANNELS_MAX];
    for (int oy = 0; oy < op->y.h; oy++)
        for (int ox = 0; ox < op->y.w; ox++) {
            const struct range rows = row_taps(op, oy);
            const struct range columns = column_taps(op, ox);
            const float *dy = row_load(&op->y, b->dy, pixel_at(&op->y, n, oy, ox), dy_row);
            if (op->pool.average)
                spread_average(op, dy, rows, columns, image);
            else
                send_to_maximum(op, b, n, dy, rows, columns, image);
        }
    for (int64_t p = 0; p < pixels; p++) {
        float row[ROW_CHANNELS_MAX];
        const int64_t pixel = n * pixels + p;
        const float *from = image + p * op->x.c;
        const float *old = row_load(&op->x, b->out, pixel, row);
        float *to = row_target(&op->x, b->out, pixel, row);
        if (op->pool.accumulate)
            for (int c = 0; c < op->x.c; c++) to[c] = old[c] + from[c];
        else
            memcpy(to, from, (size_t)op->x.c * sizeof *to);
        row_store(&op->x, b->out, pixel, to);
    }
}

struct images {
    int threads;
    size_t floats; /* of one image */
    float *memory; /* (threads, floats) */
};

static void images_release(void *detail)
{
    struct images *images = detail;
    free(images->memory);
    free(images);
}

static bool backward(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    (void)err;
    const struct op *op = &plan->op;
    const struct images *images = plan->detail;
#pragma omp parallel for schedule(static) num_threads(images->threads)
    for (int n = 0; n < op->x.n; n++)
        backward_image(op, b, n, images->memory + (size_t)omp_get_thread_num() * images->floats);
    return true;
}

static bool plan_backward(struct plan *plan, struct error *err)
{
    struct images *images = calloc(1, sizeof *images);
    if (!images) return error_set(err, EXIT_CODE_FAILED, "out of memory for a plan");
    images->threads = omp_get_max_threads();
    images->floats = (size_t)plan->op.x.h * plan->op.x.w * plan->op.x.c;
    plan->bytes = (size_t)images->threads * images->floats * sizeof(float);
    if (!cpu_alloc(plan->bytes, (void **)&images->memory, err)) {
        free(images);
        return false;
    }
    plan->detail = images;
    plan->release = images_release;
    plan->execute = backward;
    return true;
}

static bool plan_forward(struct plan *plan, struct error *err)
{
    struct pointers *pointers = calloc(1, sizeof *pointers);
    if (!pointers) return error_set(err, EXIT_CODE_FAILED, "out of memory for a plan");
    const struct op_window *w = &plan->op.pool.window;
    pointers->taps = (size_t)w->kernel_h * (size_t)w->kernel_w;
    plan->bytes = (size_t)omp_get_max_threads() * pointers->taps * sizeof *pointers->memory;
    if (!cpu_alloc(plan->bytes, (void **)&pointers->memory, err)) {
        free(pointers);
        return false;
    }
    plan->detail = pointers;
    plan->release = pointers_release;
    plan->execute = forward;
    return true;
}

bool plan_pool(struct plan *plan, struct error *err)
{
    return (plan->op.kind == OP_POOL_BACKWARD ? plan_backward : plan_forward)(plan, err);
}
