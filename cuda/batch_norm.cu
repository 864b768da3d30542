/* Batch norm with ReLU, forward and backward; formulas in nn/op.h.
 *
 * Small maps take one launch, in which a block computes a few channels for all pixels. Larger ones
 * take three: partial sums over a share of the pixels, the statistics from these, and the output.
 * The sums are of deviations from the channel's first pixel, so one pass over the data gives the
 * variance without cancellation; those that ranks add up, from the moving mean, which all have. */
#include <math.h>

#include "tiles.cuh"

/* Up to this many pixels, a single launch is faster than three. */
enum { WHOLE_PIXELS_MAX = 2048, WHOLE_BYTES = 64 };

/* Parameters and statistics of the channels. */
struct norm {
    const float *gamma, *beta;
    float *moving_mean, *moving_variance, *saved_mean, *saved_inverse_std, *dgamma, *dbeta;
    float *gradient_means; /* (2, C): means of g and of g*xhat */
    float *sums;           /* (2, C): of all ranks, or to be added up */
    double pixels;         /* that the statistics are of */
    float epsilon, momentum;
    bool relu, frozen, unbiased_moving;
    enum norm_part part;
};

template <typename T> struct maps {
    const T *x, *y, *dy;
    T *out;
    int x_stride, y_stride;
};

/* --- Forward --- */

template <typename T, int V>
__device__ inline void forward_sums(const struct tiles &t, const struct norm &n, const maps<T> &m,
                                    double (&sum)[2])
{
    const struct spot s = spot_of<V>(t);
    float mine[2][V] = {};
    if (s.pixel < t.pixels) {
        const floats<V> origin = n.part == NORM_SUMS ? load_channels<V>(n.moving_mean, s.channel, 0)
                                                     : load<V>(m.x + s.channel);
        UNROLL(4)
        for (int p = s.pixel; p < t.pixels; p += s.step) {
            const floats<V> x = load<V>(m.x + (int64_t)p * m.x_stride + s.channel);
            for (int i = 0; i < V; i++) {
                const float off = x.v[i] - origin.v[i];
                mine[0][i] += off;
                mine[1][i] += off * off;
            }
        }
    }
    block_sums<V, 2>(t, mine, sum);
}

__device__ inline void finish_statistics(const struct norm &n, int channel, double origin,
                                         double sum, double squares)
{
    const double off = sum / n.pixels, spread = squares / n.pixels - off * off;
    const double variance = spread > 0 ? spread : 0;
    const double unbias = n.unbiased_moving && n.pixels > 1 ? n.pixels / (n.pixels - 1) : 1;
    const float mean = (float)(origin + off), fresh = 1 - n.momentum;
    n.saved_mean[channel] = mean;
    n.saved_inverse_std[channel] = (float)(1 / sqrt(variance + (double)n.epsilon));
    n.moving_mean[channel] = n.momentum * n.moving_mean[channel] + fresh * mean;
    n.moving_variance[channel] = n.momentum * n.moving_variance[channel] +
                                 fresh * (float)(variance * unbias);
}

/* What the ranks add up. */
__device__ inline void store_sums(const struct norm &n, int channels, int channel, double first,
                                  double second)
{
    n.sums[channel] = (float)first;
    n.sums[channels + channel] = (float)second;
}

template <typename T, int V>
__device__ inline void forward_apply(const struct tiles &t, const struct norm &n, const maps<T> &m)
{
    const struct spot s = spot_of<V>(t);
    if (s.pixel >= t.pixels) return;
    floats<V> scale = load_channels<V>(n.gamma, s.channel, 1), shift;
    for (int i = 0; i < V; i++) {
        const int c = s.channel + i;
        const float mean = n.frozen ? n.moving_mean[c] : n.saved_mean[c];
        const float inverse = n.frozen ? 1 / sqrtf(n.moving_variance[c] + n.epsilon)
                                       : n.saved_inverse_std[c];
        if (n.frozen && s.pixel == 0) {
            n.saved_mean[c] = mean;
            n.saved_inverse_std[c] = inverse;
        }
        scale.v[i] *= inverse;
        shift.v[i] = n.beta[c] - mean * scale.v[i];
    }
    for (int p = s.pixel; p < t.pixels; p += s.step) {
        floats<V> y = load<V>(m.x + (int64_t)p * m.x_stride + s.channel);
        for (int i = 0; i < V; i++) {
            y.v[i] = y.v[i] * scale.v[i] + shift.v[i];
            if (n.relu) y.v[i] = y.v[i] > 0 ? y.v[i] : 0;
        }
        store<V>(m.out + (int64_t)p * m.y_stride + s.channel, y);
    }
}

// bytes: reads 2 writes 0 per element, least 2+0
template <typename T, int V>
__global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    norm_sums(struct tiles t, struct norm n, maps<T> m, double *partials)
{
    double sum[2];
    forward_sums<T, V>(t, n, m, sum);
    store_partials<V, 2>(t, sum, partials);
}

// bytes: reads 8 writes 16 per channel, least 8+16
template <typename T>
__global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    norm_statistics(struct tiles t, struct norm n, const T *x, const double *partials)
{
    int channel;
    double sum[2];
    if (!partials_sum<2>(partials, t.blocks, t.channels, &channel, sum)) return;
    if (n.part == NORM_SUMS)
        store_sums(n, t.channels, channel, sum[0], sum[1]);
    else
        finish_statistics(n, channel, load<1>(x + channel).v[0], sum[0], sum[1]);
}

// bytes: reads 16 writes 16 per channel, least 16+16
static __global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    norm_shared_statistics(struct norm n, int channels)
{
    const int channel = blockIdx.x * THREADS + threadIdx.x;
    if (channel >= channels) return;
    finish_statistics(n, channel, n.moving_mean[channel], n.sums[channel],
                      n.sums[channels + channel]);
}

// bytes: reads 2 writes 2 per element, least 2+2
template <typename T, int V>
__global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    norm_apply(struct tiles t, struct norm n, maps<T> m)
{
    forward_apply<T, V>(t, n, m);
}

// bytes: reads 4 writes 2 per element, least 2+2 (the second reading comes from cache)
template <typename T, int V>
__global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    norm_whole(struct tiles t, struct norm n, maps<T> m)
{
    double sum[2];
    forward_sums<T, V>(t, n, m, sum);
    const int channel = own_channel<V>(t);
    if (channel >= 0) finish_statistics(n, channel, load<1>(m.x + channel).v[0], sum[0], sum[1]);
    __syncthreads();
    forward_apply<T, V>(t, n, m);
}

/* --- Backward --- */

template <typename T, int V>
__device__ inline floats<V> masked_gradient(const struct norm &n, const maps<T> &m, int pixel,
                                            int channel)
{
    const int64_t at = (int64_t)pixel * m.y_stride + channel;
    floats<V> g = load<V>(m.dy + at);
    if (n.relu) {
        const floats<V> y = load<V>(m.y + at);
        for (int i = 0; i < V; i++) g.v[i] = y.v[i] > 0 ? g.v[i] : 0;
    }
    return g;
}

/* sum g and sum g*(x - mean). With frozen statistics dx needs no sums and is written here too. */
template <typename T, int V, bool FROZEN>
__device__ inline void backward_sums(const struct tiles &t, const struct norm &n, const maps<T> &m,
                                     double (&sum)[2])
{
    const struct spot s = spot_of<V>(t);
    const bool reads_x = !FROZEN || n.dgamma;
    float mine[2][V] = {};
    if (s.pixel < t.pixels) {
        const floats<V> mean = load_channels<V>(n.saved_mean, s.channel, 0);
        floats<V> scale = {};
        if (FROZEN) {
            scale = load_channels<V>(n.gamma, s.channel, 1);
            for (int i = 0; i < V; i++) scale.v[i] *= n.saved_inverse_std[s.channel + i];
        }
        UNROLL(2)
        for (int p = s.pixel; p < t.pixels; p += s.step) {
            const int64_t at = (int64_t)p * m.x_stride + s.channel;
            floats<V> g = masked_gradient<T, V>(n, m, p, s.channel);
            for (int i = 0; i < V; i++) mine[0][i] += g.v[i];
            if (reads_x) {
                const floats<V> x = load<V>(m.x + at);
                for (int i = 0; i < V; i++) mine[1][i] += g.v[i] * (x.v[i] - mean.v[i]);
            }
            if (FROZEN) {
                for (int i = 0; i < V; i++) g.v[i] *= scale.v[i];
                store<V>(m.out + at, g);
            }
        }
    }
    block_sums<V, 2>(t, mine, sum);
}

__device__ inline void store_gradient_means(const struct norm &n, int channels, int channel,
                                            double sum_g, double sum_gxhat)
{
    n.gradient_means[channel] = (float)(sum_g / n.pixels);
    n.gradient_means[channels + channel] = (float)(sum_gxhat / n.pixels);
}

__device__ inline void finish_gradients(const struct norm &n, int channels, int channel,
                                        double sum_g, double sum_gx)
{
    const double sum_gxhat = sum_gx * n.saved_inverse_std[channel];
    n.dbeta[channel] = (float)sum_g;
    if (n.dgamma) n.dgamma[channel] = (float)sum_gxhat;
    if (n.frozen) return;
    if (n.part == NORM_SUMS)
        store_sums(n, channels, channel, sum_g, sum_gxhat);
    else
        store_gradient_means(n, channels, channel, sum_g, sum_gxhat);
}

template <typename T, int V>
__device__ inline void backward_apply(const struct tiles &t, const struct norm &n, const maps<T> &m)
{
    const struct spot s = spot_of<V>(t);
    if (s.pixel >= t.pixels) return;
    const floats<V> mean = load_channels<V>(n.saved_mean, s.channel, 0);
    const floats<V> mean_g = load_channels<V>(n.gradient_means, s.channel, 0);
    floats<V> slope = load_channels<V>(n.gradient_means + t.channels, s.channel,
                                       0); /* multiplies x - mean */
    floats<V> scale = load_channels<V>(n.gamma, s.channel, 1);
    for (int i = 0; i < V; i++) {
        const float inverse = n.saved_inverse_std[s.channel + i];
        scale.v[i] *= inverse;
        slope.v[i] *= inverse;
    }
    for (int p = s.pixel; p < t.pixels; p += s.step) {
        const int64_t at = (int64_t)p * m.x_stride + s.channel;
        const floats<V> x = load<V>(m.x + at);
        floats<V> g = masked_gradient<T, V>(n, m, p, s.channel);
        for (int i = 0; i < V; i++)
            g.v[i] = scale.v[i] * (g.v[i] - mean_g.v[i] - (x.v[i] - mean.v[i]) * slope.v[i]);
        store<V>(m.out + at, g);
    }
}

// bytes: reads 6 writes 0 per element, least 6+0 (frozen: reads 4 or 6, writes 2)
template <typename T, int V, bool FROZEN>
__global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    norm_backward_sums(struct tiles t, struct norm n, maps<T> m, double *partials)
{
    double sum[2];
    backward_sums<T, V, FROZEN>(t, n, m, sum);
    store_partials<V, 2>(t, sum, partials);
}

// bytes: reads 4 writes 16 per channel, least 4+16
static __global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    norm_gradients(struct tiles t, struct norm n, const double *partials)
{
    int channel;
    double sum[2];
    if (partials_sum<2>(partials, t.blocks, t.channels, &channel, sum))
        finish_gradients(n, t.channels, channel, sum[0], sum[1]);
}

// bytes: reads 8 writes 8 per channel, least 8+8
static __global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    norm_shared_gradient_means(struct norm n, int channels)
{
    const int channel = blockIdx.x * THREADS + threadIdx.x;
    if (channel < channels)
        store_gradient_means(n, channels, channel, n.sums[channel], n.sums[channels + channel]);
}

// bytes: reads 6 writes 2 per element, least 6+2
template <typename T, int V>
__global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    norm_backward_apply(struct tiles t, struct norm n, maps<T> m)
{
    backward_apply<T, V>(t, n, m);
}

// bytes: reads 12 writes 2 per element, least 6+2 (the second reading comes from cache)
template <typename T, int V, bool FROZEN>
__global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    norm_backward_whole(struct tiles t, struct norm n, maps<T> m)
{
    double sum[2];
    backward_sums<T, V, FROZEN>(t, n, m, sum);
    const int channel = own_channel<V>(t);
    if (channel >= 0) finish_gradients(n, t.channels, channel, sum[0], sum[1]);
    if (FROZEN) return;
    __syncthreads();
    backward_apply<T, V>(t, n, m);
}

/* --- Host --- */

static size_t gradient_means_bytes(const struct op *op)
{
    return aligned_bytes(2 * (size_t)op->x.c * sizeof(float));
}

/* Whether one launch does it all. */
static bool is_whole(const struct op *op)
{
    return op->batch_norm.part == NORM_WHOLE && tensor_pixels(&op->x) <= WHOLE_PIXELS_MAX;
}

/* Whether sums over pixels are to be made. */
static bool sums_pixels(const struct op *op)
{
    const bool given = op->batch_norm.part == NORM_REST;
    return !given && (op->kind == OP_BATCH_NORM_BACKWARD || !op->batch_norm.frozen);
}

static size_t workspace_bytes(const struct op *op)
{
    return (op->kind == OP_BATCH_NORM_BACKWARD ? gradient_means_bytes(op) : 0) +
           (sums_pixels(op) && !is_whole(op) ? partials_bytes(&op->x, 2) : 0);
}

static struct norm norm_of(const struct op *op, const struct op_buffers *b, void *workspace)
{
    struct norm n = {};
    n.gamma = op->batch_norm.gamma ? b->gamma : nullptr;
    n.dgamma = op->batch_norm.gamma ? b->dgamma : nullptr;
    n.beta = b->beta;
    n.dbeta = b->dbias;
    n.moving_mean = b->moving_mean;
    n.moving_variance = b->moving_variance;
    n.saved_mean = b->saved_mean;
    n.saved_inverse_std = b->saved_inverse_std;
    n.gradient_means = (float *)workspace;
    n.sums = b->sums;
    n.part = op->batch_norm.part;
    n.pixels = n.part == NORM_REST ? (double)op->batch_norm.pixels : (double)tensor_pixels(&op->x);
    n.epsilon = op->batch_norm.epsilon;
    n.momentum = op->batch_norm.momentum;
    n.relu = op->batch_norm.relu;
    n.frozen = op->batch_norm.frozen;
    n.unbiased_moving = op->batch_norm.unbiased_moving;
    return n;
}

template <typename T> static maps<T> maps_of(const struct op *op, const struct op_buffers *b)
{
    return { (const T *)b->x, (const T *)b->y,    (const T *)b->dy,
             (T *)b->out,     op->x.pixel_stride, op->y.pixel_stride };
}

/* A block computes 64 bytes of channels: few, so that small maps still give many blocks. */
static struct tiles whole_tiles(const struct op *op, int width)
{
    struct tiles t = tiles_of(&op->x, width, WHOLE_BYTES / 16, 1);
    t.blocks = 1;
    return t;
}

/* A thread a channel. */
static unsigned channels_grid(const struct op *op)
{
    return (unsigned)divided_up(op->x.c, THREADS);
}

enum { APPLY_EACH = 8 }; /* pixels per thread, to amortise loading the channels' parameters */

static cudaError_t launch_forward(const struct op *op, const struct op_buffers *b, void *workspace,
                                  cudaStream_t stream)
{
    const int width = wide_width(op->x.dtype);
    const bool wide = view_takes(&op->x, b->x, width) && view_takes(&op->y, b->out, width);
    const struct norm n = norm_of(op, b, workspace);
    with_form(op->x.dtype, wide, [&](auto form) {
        using T = typename decltype(form)::type;
        constexpr int V = decltype(form)::width;
        const auto m = maps_of<T>(op, b);
        if (!op->batch_norm.frozen && is_whole(op)) {
            const struct tiles t = whole_tiles(op, V);
            CUDA_LAUNCH((norm_whole<T, V>), tiles_grid(t), THREADS, stream, t, n, m);
            return;
        }
        if (sums_pixels(op)) {
            const struct tiles t = tiles_for_sums(&op->x, V);
            double *partials = (double *)workspace;
            CUDA_LAUNCH((norm_sums<T, V>), tiles_grid(t), THREADS, stream, t, n, m, partials);
            CUDA_LAUNCH(norm_statistics<T>, partials_grid(op->x.c), THREADS, stream, t, n, m.x,
                        partials);
        }
        if (n.part == NORM_SUMS) return;
        if (n.part == NORM_REST)
            CUDA_LAUNCH(norm_shared_statistics, channels_grid(op), THREADS, stream, n, op->x.c);
        const struct tiles t = tiles_of(&op->x, V, WARP_LANES, APPLY_EACH);
        CUDA_LAUNCH((norm_apply<T, V>), tiles_grid(t), THREADS, stream, t, n, m);
    });
    return cudaGetLastError();
}

template <typename T, int V, bool FROZEN>
static void launch_backward_form(const struct op *op, const struct op_buffers *b, void *workspace,
                                 cudaStream_t stream)
{
    const struct norm n = norm_of(op, b, workspace);
    const auto m = maps_of<T>(op, b);
    if (is_whole(op)) {
        const struct tiles t = whole_tiles(op, V);
        CUDA_LAUNCH((norm_backward_whole<T, V, FROZEN>), tiles_grid(t), THREADS, stream, t, n, m);
        return;
    }
    if (sums_pixels(op)) {
        double *partials = (double *)((char *)workspace + gradient_means_bytes(op));
        const struct tiles sums = tiles_for_sums(&op->x, V);
        CUDA_LAUNCH((norm_backward_sums<T, V, FROZEN>), tiles_grid(sums), THREADS, stream, sums, n,
                    m, partials);
        CUDA_LAUNCH(norm_gradients, partials_grid(op->x.c), THREADS, stream, sums, n, partials);
    }
    if (FROZEN || n.part == NORM_SUMS) return;
    if (n.part == NORM_REST)
        CUDA_LAUNCH(norm_shared_gradient_means, channels_grid(op), THREADS, stream, n, op->x.c);
    const struct tiles t = tiles_of(&op->x, V, WARP_LANES, APPLY_EACH);
    CUDA_LAUNCH((norm_backward_apply<T, V>), tiles_grid(t), THREADS, stream, t, n, m);
}

static cudaError_t launch_backward(const struct op *op, const struct op_buffers *b, void *workspace,
                                   cudaStream_t stream)
{
    const int width = wide_width(op->x.dtype);
    const bool wide = view_takes(&op->x, b->x, width) && view_takes(&op->x, b->out, width) &&
                      view_takes(&op->y, b->dy, width) &&
                      (!op->batch_norm.relu || view_takes(&op->y, b->y, width));
    with_form(op->x.dtype, wide, [&](auto form) {
        using T = typename decltype(form)::type;
        constexpr int V = decltype(form)::width;
        if (op->batch_norm.frozen)
            launch_backward_form<T, V, true>(op, b, workspace, stream);
        else
            launch_backward_form<T, V, false>(op, b, workspace, stream);
    });
    return cudaGetLastError();
}

const struct cuda_kernel cuda_kernel_batch_norm = { pixels_check, workspace_bytes, launch_forward };
const struct cuda_kernel cuda_kernel_batch_norm_backward = { pixels_check, workspace_bytes,
                                                             launch_backward };
