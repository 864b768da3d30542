/* Element-wise kernels (ReLU gradient, dropout, bias with ReLU), the loss, and channel sums. */
#include <math.h>

#include "micromet/base/random.h"
#include "tiles.cuh"

#define PHILOX_INLINE __device__ inline
#include "micromet/base/philox.h"

enum { EACH = 4 }; /* pixels per thread */

// bytes: reads 4 writes 2 per element, least 4+2
template <typename T, int V>
__global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    relu_backward(struct tiles t, const T *y, const T *dy, int y_stride, T *dx, int x_stride)
{
    const struct spot s = spot_of<V>(t);
    for (int p = s.pixel; p < t.pixels; p += s.step) {
        const int64_t at = (int64_t)p * y_stride + s.channel;
        const floats<V> out = load<V>(y + at);
        floats<V> g = load<V>(dy + at);
        for (int i = 0; i < V; i++) g.v[i] = out.v[i] > 0 ? g.v[i] : 0;
        store<V>(dx + (int64_t)p * x_stride + s.channel, g);
    }
}

static cudaError_t launch_relu_backward(const struct op *op, const struct op_buffers *b,
                                        void *workspace, cudaStream_t stream)
{
    (void)workspace;
    const int width = wide_width(op->x.dtype);
    const bool wide = view_takes(&op->x, b->out, width) && view_takes(&op->y, b->dy, width) &&
                      view_takes(&op->y, b->y, width);
    with_form(op->x.dtype, wide, [&](auto form) {
        using T = typename decltype(form)::type;
        constexpr int V = decltype(form)::width;
        const struct tiles t = tiles_of(&op->x, V, WARP_LANES, EACH);
        CUDA_LAUNCH((relu_backward<T, V>), tiles_grid(t), THREADS, stream, t, (const T *)b->y,
                    (const T *)b->dy, op->y.pixel_stride, (T *)b->out, op->x.pixel_stride);
    });
    return cudaGetLastError();
}

/* --- Dropout --- */

/* A block of four Philox words belongs to four channels of one pixel, so the draws do not depend on
 * the partition into threads. A thread computes G such groups, one channel at a time if V is 1. */
// bytes: reads 2 writes 2 per element, least 2+2
template <typename T, int V, int G>
__global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    dropout(struct tiles t, const struct step_values *values, int row_pixels, float rate,
            float scale, const T *x, int x_stride, T *y, int y_stride)
{
    const struct spot s = spot_of<4 * G>(t);
    const uint64_t first = (uint64_t)values->first_row * (uint64_t)row_pixels;
    const uint32_t key[2] = { (uint32_t)values->seed, (uint32_t)(values->seed >> 32) };
    const uint32_t epoch = philox_epoch_and_purpose((uint32_t)values->step, RANDOM_DROPOUT);
    for (int p = s.pixel; p < t.pixels; p += s.step) {
        const T *from = x + (int64_t)p * x_stride + s.channel;
        T *to = y + (int64_t)p * y_stride + s.channel;
        float keep[4 * G];
        for (int g = 0; g < G; g++) {
            const uint64_t pixel = first + (uint64_t)p;
            const uint32_t counter[4] = { (uint32_t)(s.channel / 4 + g), epoch, (uint32_t)pixel,
                                          (uint32_t)(pixel >> 32) };
            uint32_t words[4];
            philox_block(counter, key, words);
            for (int i = 0; i < 4; i++) keep[4 * g + i] = philox_unit(words[i]) < rate ? 0 : scale;
        }
        for (int i = 0; i < 4 * G; i += V) {
            if (V == 1 && s.channel + i >= t.channels) continue;
            floats<V> v = load<V>(from + i);
            for (int j = 0; j < V; j++) v.v[j] = keep[i + j] > 0 ? v.v[j] * keep[i + j] : 0;
            store<V>(to + i, v);
        }
    }
}

static cudaError_t launch_dropout(const struct op *op, const struct op_buffers *b, void *workspace,
                                  cudaStream_t stream)
{
    (void)workspace;
    const int width = wide_width(op->x.dtype);
    const bool wide = view_takes(&op->x, b->x, width) && view_takes(&op->y, b->out, width);
    with_form(op->x.dtype, wide, [&](auto form) {
        using T = typename decltype(form)::type;
        constexpr int V = decltype(form)::width, G = V == 8 ? 2 : 1;
        const struct tiles t = tiles_of(&op->x, 4 * G, WARP_LANES, 1);
        CUDA_LAUNCH((dropout<T, V, G>), tiles_grid(t), THREADS, stream, t, b->values,
                    op->x.h * op->x.w, op->dropout.rate, 1 / (1 - op->dropout.rate),
                    (const T *)b->x, op->x.pixel_stride, (T *)b->out, op->y.pixel_stride);
    });
    return cudaGetLastError();
}

/* --- Loss --- */

/* Binary cross entropy on logits, in a form that cannot overflow. One block, in
 * double: there are few samples. */
// bytes: reads 8 writes 8 per sample, least 8+8
template <typename T>
__global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    loss(int n, struct op_loss o, const T *logits, int stride, const float *labels,
         float *probabilities, float *gradient, int gradient_stride, float *mean)
{
    __shared__ double shared[THREADS];
    double sum = 0;
    for (int i = (int)threadIdx.x; i < n; i += THREADS) {
        const double z = load<1>(logits + (int64_t)i * stride).v[0], p = 1 / (1 + exp(-z));
        const double label = labels[i] * (1 - o.smoothing) + o.smoothing / 2;
        const double weight = o.weights[0] + labels[i] * (o.weights[1] - o.weights[0]);
        sum += weight * ((z > 0 ? z : 0) - z * label + log1p(exp(-fabs(z))));
        probabilities[i] = (float)p;
        gradient[(int64_t)i * gradient_stride] = (float)(weight * (p - label) / o.rows);
    }
    shared[threadIdx.x] = sum;
    for (int reach = THREADS / 2; reach > 0; reach /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < reach) shared[threadIdx.x] += shared[threadIdx.x + (unsigned)reach];
    }
    if (threadIdx.x == 0) *mean = (float)(shared[0] / o.rows);
}

static cudaError_t launch_loss(const struct op *op, const struct op_buffers *b, void *workspace,
                               cudaStream_t stream)
{
    (void)workspace;
    struct op_loss o = op->loss;
    o.rows = o.rows ? o.rows : op->x.n;
    for (int t = 0; t < 2; t++) o.weights[t] = op_loss_weight(&op->loss, t);
    with_form(op->x.dtype, false, [&](auto form) {
        using T = typename decltype(form)::type;
        CUDA_LAUNCH(loss<T>, 1, THREADS, stream, op->x.n, o, (const T *)b->x, op->x.pixel_stride,
                    b->labels, b->probabilities, (float *)b->out, op->y.pixel_stride, b->loss);
    });
    return cudaGetLastError();
}

/* --- Bias and ReLU in place --- */

// bytes: reads 2 writes 2 per element, least 2+2
template <typename T, int V>
__global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    bias_relu(struct tiles t, T *y, int stride, const float *bias, bool relu)
{
    const struct spot s = spot_of<V>(t);
    if (s.pixel >= t.pixels) return;
    const floats<V> added = load_channels<V>(bias, s.channel, 0);
    for (int p = s.pixel; p < t.pixels; p += s.step) {
        T *at = y + (int64_t)p * stride + s.channel;
        floats<V> v = load<V>(at);
        for (int i = 0; i < V; i++) {
            v.v[i] += added.v[i];
            if (relu) v.v[i] = v.v[i] > 0 ? v.v[i] : 0;
        }
        store<V>(at, v);
    }
}

cudaError_t launch_bias_relu(const struct tensor *y, void *data, const float *bias, bool relu,
                             cudaStream_t stream)
{
    with_form(y->dtype, view_takes(y, data, wide_width(y->dtype)), [&](auto form) {
        using T = typename decltype(form)::type;
        constexpr int V = decltype(form)::width;
        const struct tiles t = tiles_of(y, V, WARP_LANES, EACH);
        CUDA_LAUNCH((bias_relu<T, V>), tiles_grid(t), THREADS, stream, t, (T *)data,
                    y->pixel_stride, bias, relu);
    });
    return cudaGetLastError();
}

/* --- Sums over channels --- */

// bytes: reads 2 writes 0 per element, least 2+0
template <typename T, int V>
__global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    channel_partials(struct tiles t, const T *x, int stride, double *partials)
{
    const struct spot s = spot_of<V>(t);
    float mine[1][V] = {};
    double sum[1];
    UNROLL(4)
    for (int p = s.pixel; p < t.pixels; p += s.step) {
        const floats<V> v = load<V>(x + (int64_t)p * stride + s.channel);
        for (int i = 0; i < V; i++) mine[0][i] += v.v[i];
    }
    block_sums<V, 1>(t, mine, sum);
    store_partials<V, 1>(t, sum, partials);
}

// bytes: reads 4 writes 4 per channel, least 0+4
static __global__ void __launch_bounds__(THREADS, BLOCKS_MIN)
    channel_totals(struct tiles t, const double *partials, float *sums)
{
    int channel;
    double sum[1];
    if (partials_sum<1>(partials, t.blocks, t.channels, &channel, sum))
        sums[channel] = (float)sum[0];
}

size_t channel_sums_workspace_bytes(const struct tensor *x)
{
    return partials_bytes(x, 1);
}

cudaError_t launch_channel_sums(const struct tensor *x, const void *data, float *sums,
                                void *workspace, cudaStream_t stream)
{
    with_form(x->dtype, view_takes(x, data, wide_width(x->dtype)), [&](auto form) {
        using T = typename decltype(form)::type;
        constexpr int V = decltype(form)::width;
        const struct tiles t = tiles_for_sums(x, V);
        double *partials = (double *)workspace;
        CUDA_LAUNCH((channel_partials<T, V>), tiles_grid(t), THREADS, stream, t, (const T *)data,
                    x->pixel_stride, partials);
        CUDA_LAUNCH(channel_totals, partials_grid(x->c), THREADS, stream, t, partials, sums);
    });
    return cudaGetLastError();
}

const struct cuda_kernel cuda_kernel_relu_backward = { pixels_check, nullptr,
                                                       launch_relu_backward };
const struct cuda_kernel cuda_kernel_dropout = { pixels_check, nullptr, launch_dropout };
const struct cuda_kernel cuda_kernel_loss = { pixels_check, nullptr, launch_loss };
