/* Maximum and average pooling. A thread computes a few channels of one pixel: in the forward pass
 * of an output pixel, in the backward pass of an input pixel, which gathers from all windows that
 * contain it, so that no atomic additions are needed.
 *
 * The gradient of a maximum takes two launches: the first finds which tap of each window is its
 * first maximum (one byte each), the second gathers. In one launch, overlapping windows would be
 * searched again for each of their pixels. */
#include <math.h>

#include "tiles.cuh"

/* Few lanes, so that the overlapping windows of a block share the cache. */
enum { POOL_LANES = 8, TAPS_MAX = 255, NO_TAP = 255 };

struct pool {
    int in_h, in_w, out_h, out_w, kernel_h, kernel_w, stride, pad_h, pad_w, x_stride, y_stride;
    bool average, exclude_padding, accumulate;
};

struct range {
    int first, end;
};

struct pixel_place {
    int n, y, x;
};

__device__ inline struct pixel_place place_of(int pixel, int h, int w)
{
    return { pixel / (h * w), pixel / w % h, pixel % w };
}

/* Input positions within an output's window, along one axis. */
__device__ inline struct range taps_of(int out, int kernel, int stride, int pad, int in)
{
    const int first = out * stride - pad, end = first + kernel;
    return { first < 0 ? 0 : first, end > in ? in : end };
}

/* Outputs whose windows contain an input position, along one axis. */
__device__ inline struct range windows_of(int in, int kernel, int stride, int pad, int out)
{
    const int before = in + pad - kernel; /* last start of a window that ends before `in` */
    const int first = before < 0 ? 0 : before / stride + 1, end = (in + pad) / stride + 1;
    return { first, end > out ? out : end };
}

__device__ inline float average_scale(const struct pool &p, struct range rows, struct range columns)
{
    const int inside = (rows.end - rows.first) * (columns.end - columns.first);
    return 1.0f / (float)(p.exclude_padding ? inside : p.kernel_h * p.kernel_w);
}

// bytes: reads 2 writes 0.5 per input element (3x3, stride 2), least 2+0.5
template <typename X, typename Y, int V>
__global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    pool_forward(struct tiles t, struct pool p, const X *x, Y *y)
{
    const struct spot s = spot_of<V>(t);
    for (int pixel = s.pixel; pixel < t.pixels; pixel += s.step) {
        const struct pixel_place at = place_of(pixel, p.out_h, p.out_w);
        const struct range rows = taps_of(at.y, p.kernel_h, p.stride, p.pad_h, p.in_h);
        const struct range columns = taps_of(at.x, p.kernel_w, p.stride, p.pad_w, p.in_w);
        floats<V> out;
        for (int i = 0; i < V; i++) out.v[i] = p.average ? 0 : -INFINITY;
        for (int iy = rows.first; iy < rows.end; iy++) {
            const X *row = x + ((int64_t)at.n * p.in_h + iy) * p.in_w * p.x_stride + s.channel;
            UNROLL(4)
            for (int ix = columns.first; ix < columns.end; ix++) {
                const floats<V> tap = load<V>(row + (int64_t)ix * p.x_stride);
                for (int i = 0; i < V; i++) {
                    const float greater = tap.v[i] > out.v[i] ? tap.v[i] : out.v[i];
                    out.v[i] = p.average ? out.v[i] + tap.v[i] : greater;
                }
            }
        }
        if (p.average) {
            const float scale = average_scale(p, rows, columns);
            for (int i = 0; i < V; i++) out.v[i] *= scale;
        }
        store<V>(y + (int64_t)pixel * p.y_stride + s.channel, out);
    }
}

template <int V> struct taps {
    uint8_t v[V];
};

/* maxima (output pixels, C): the tap of the first maximum; NO_TAP if no value is above -inf. */
// bytes: reads 2 writes 0.25 per input element (3x3, stride 2), least 2+0
template <typename X, int V>
__global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    pool_first_maximum(struct tiles t, struct pool p, const X *x, uint8_t *maxima)
{
    const struct spot s = spot_of<V>(t);
    for (int pixel = s.pixel; pixel < t.pixels; pixel += s.step) {
        const struct pixel_place at = place_of(pixel, p.out_h, p.out_w);
        const int top = at.y * p.stride - p.pad_h, left = at.x * p.stride - p.pad_w;
        const struct range rows = taps_of(at.y, p.kernel_h, p.stride, p.pad_h, p.in_h);
        const struct range columns = taps_of(at.x, p.kernel_w, p.stride, p.pad_w, p.in_w);
        floats<V> best;
        int place[V];
        for (int i = 0; i < V; i++) {
            best.v[i] = -INFINITY;
            place[i] = NO_TAP;
        }
        for (int iy = rows.first; iy < rows.end; iy++) {
            const X *row = x + ((int64_t)at.n * p.in_h + iy) * p.in_w * p.x_stride + s.channel;
            UNROLL(4)
            for (int ix = columns.first; ix < columns.end; ix++) {
                const floats<V> tap = load<V>(row + (int64_t)ix * p.x_stride);
                const int here = (iy - top) * p.kernel_w + ix - left;
                for (int i = 0; i < V; i++) {
                    place[i] = tap.v[i] > best.v[i] ? here : place[i];
                    best.v[i] = tap.v[i] > best.v[i] ? tap.v[i] : best.v[i];
                }
            }
        }
        taps<V> out;
        for (int i = 0; i < V; i++) out.v[i] = (uint8_t)place[i];
        memcpy(__builtin_assume_aligned(maxima + (int64_t)pixel * t.channels + s.channel, V), &out,
               sizeof out);
    }
}

// bytes: reads 0.75 writes 2 per input element (3x3, stride 2), least 0.5+2 (average: 0.5+2)
template <typename X, typename Y, int V, bool AVERAGE>
__global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    pool_backward(struct tiles t, struct pool p, const Y *dy, const uint8_t *maxima, X *dx)
{
    const struct spot s = spot_of<V>(t);
    for (int pixel = s.pixel; pixel < t.pixels; pixel += s.step) {
        const struct pixel_place at = place_of(pixel, p.in_h, p.in_w);
        const struct range rows = windows_of(at.y, p.kernel_h, p.stride, p.pad_h, p.out_h);
        const struct range columns = windows_of(at.x, p.kernel_w, p.stride, p.pad_w, p.out_w);
        floats<V> sum = {};
        for (int oy = rows.first; oy < rows.end; oy++)
            for (int ox = columns.first; ox < columns.end; ox++) {
                const int64_t out = ((int64_t)at.n * p.out_h + oy) * p.out_w + ox;
                const floats<V> g = load<V>(dy + out * p.y_stride + s.channel);
                if (AVERAGE) {
                    const float scale = average_scale(
                        p, taps_of(oy, p.kernel_h, p.stride, p.pad_h, p.in_h),
                        taps_of(ox, p.kernel_w, p.stride, p.pad_w, p.in_w));
                    for (int i = 0; i < V; i++) sum.v[i] += scale * g.v[i];
                } else {
                    const int here = (at.y + p.pad_h - oy * p.stride) * p.kernel_w + at.x +
                                     p.pad_w - ox * p.stride;
                    taps<V> maximum;
                    memcpy(&maximum,
                           __builtin_assume_aligned(maxima + out * t.channels + s.channel, V),
                           sizeof maximum);
                    for (int i = 0; i < V; i++) sum.v[i] += maximum.v[i] == here ? g.v[i] : 0;
                }
            }
        X *to = dx + (int64_t)pixel * p.x_stride + s.channel;
        if (p.accumulate) {
            const floats<V> old = load<V>(to);
            for (int i = 0; i < V; i++) sum.v[i] += old.v[i];
        }
        store<V>(to, sum);
    }
}

static struct pool pool_of(const struct op *op)
{
    const struct op_window &w = op->pool.window;
    return { op->x.h,
             op->x.w,
             op->y.h,
             op->y.w,
             w.kernel_h,
             w.kernel_w,
             w.stride,
             w.pad_h,
             w.pad_w,
             op->x.pixel_stride,
             op->y.pixel_stride,
             op->pool.average,
             op->pool.exclude_padding,
             op->pool.accumulate };
}

/* launch(form of x, form of y). y may be F32 if x is BF16, as for the towers' features. */
template <typename Launch> static void with_forms(const struct op *op, bool wide, Launch launch)
{
    with_form(op->x.dtype, wide, [&](auto x) {
        if (op->y.dtype == op->x.dtype)
            launch(x, x);
        else if constexpr (decltype(x)::width != 4) /* an F32 x needs an F32 y */
            launch(x, form<float, decltype(x)::width> {});
    });
}

static cudaError_t launch_forward(const struct op *op, const struct op_buffers *b, void *workspace,
                                  cudaStream_t stream)
{
    (void)workspace;
    const int width = wide_width(op->x.dtype);
    const bool wide = view_takes(&op->x, b->x, width) && view_takes(&op->y, b->out, width);
    with_forms(op, wide, [&](auto x, auto y) {
        using X = typename decltype(x)::type;
        using Y = typename decltype(y)::type;
        constexpr int V = decltype(x)::width;
        const struct tiles t = tiles_of(&op->y, V, POOL_LANES, 1);
        CUDA_LAUNCH((pool_forward<X, Y, V>), tiles_grid(t), THREADS, stream, t, pool_of(op),
                    (const X *)b->x, (Y *)b->out);
    });
    return cudaGetLastError();
}

static cudaError_t launch_backward(const struct op *op, const struct op_buffers *b, void *workspace,
                                   cudaStream_t stream)
{
    const int width = wide_width(op->x.dtype);
    const bool wide = view_takes(&op->x, b->out, width) && view_takes(&op->y, b->dy, width) &&
                      (op->pool.average || view_takes(&op->x, b->x, width));
    with_forms(op, wide, [&](auto x, auto y) {
        using X = typename decltype(x)::type;
        using Y = typename decltype(y)::type;
        constexpr int V = decltype(x)::width;
        const struct pool p = pool_of(op);
        const struct tiles out = tiles_of(&op->y, V, POOL_LANES, 1);
        const struct tiles in = tiles_of(&op->x, V, POOL_LANES, 1);
        const Y *dy = (const Y *)b->dy;
        uint8_t *maxima = (uint8_t *)workspace;
        if (op->pool.average) {
            CUDA_LAUNCH((pool_backward<X, Y, V, true>), tiles_grid(in), THREADS, stream, in, p, dy,
                        maxima, (X *)b->out);
            return;
        }
        CUDA_LAUNCH((pool_first_maximum<X, V>), tiles_grid(out), THREADS, stream, out, p,
                    (const X *)b->x, maxima);
        CUDA_LAUNCH((pool_backward<X, Y, V, false>), tiles_grid(in), THREADS, stream, in, p, dy,
                    maxima, (X *)b->out);
    });
    return cudaGetLastError();
}

static size_t backward_workspace_bytes(const struct op *op)
{
    return op->pool.average ? 0 : aligned_bytes((size_t)tensor_pixels(&op->y) * (size_t)op->y.c);
}

static bool check_backward(const struct op *op, struct error *err)
{
    const struct op_window &w = op->pool.window;
    if (!op->pool.average && (int64_t)w.kernel_h * w.kernel_w > TAPS_MAX)
        return op_refuse(op, err, "the CUDA backend takes the maximum of no more than %d pixels",
                         TAPS_MAX);
    return pixels_check(op, err);
}

const struct cuda_kernel cuda_kernel_pool = { pixels_check, nullptr, launch_forward };
const struct cuda_kernel cuda_kernel_pool_backward = { check_backward, backward_workspace_bytes,
                                                       launch_backward };
