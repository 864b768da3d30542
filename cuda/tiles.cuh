/* The partition of a view into threads, and sums over its pixels.
 *
 * A block is a grid of lanes and rows: the lanes of a row take neighbouring channels of one pixel,
 * so that their accesses coalesce, and the rows take different pixels. The partition depends on the
 * shape alone, so sums have the same order on every GPU. */
#ifndef MICROMET_CUDA_TILES_CUH
#define MICROMET_CUDA_TILES_CUH

#include "kernels.h"
#include "micromet/base/size.h"
#include "vector.cuh"

/* Kernels may use 64 registers per thread, so that BLOCKS_MIN blocks fit on a multiprocessor. */
enum { THREADS = 256, BLOCKS_MIN = 4, WARP_LANES = 32, PIXELS_MAX = 1 << 30, ALIGNMENT = 256 };

struct tiles {
    int pixels, channels;
    int lanes, rows;   /* per block */
    int blocks, slabs; /* the grid: blocks (x) along the pixels, slabs (y) along the channels */
};

static inline int divided_up(int64_t a, int64_t b)
{
    return (int)CEIL_DIV(a, b);
}

/* `each`: approximate number of pixels per thread. */
static inline struct tiles tiles_of(const struct tensor *t, int width, int lanes_max, int each)
{
    struct tiles out = {};
    const int vectors = divided_up(t->c, width);
    out.pixels = (int)tensor_pixels(t);
    out.channels = t->c;
    out.slabs = divided_up(vectors, lanes_max);
    out.lanes = divided_up(vectors, out.slabs);
    out.rows = THREADS / out.lanes;
    out.blocks = divided_up(out.pixels, (int64_t)out.rows * each);
    return out;
}

static inline dim3 tiles_grid(const struct tiles &t)
{
    return dim3((unsigned)t.blocks, (unsigned)t.slabs);
}

/* For sums: enough blocks for a large GPU, but at most 64 values per thread summed in float; the
 * rest is summed in double. */
static inline struct tiles tiles_for_sums(const struct tensor *t, int width)
{
    enum { BLOCKS = 1024, EACH_MIN = 4, EACH_MAX = 64 };
    const struct tiles one = tiles_of(t, width, WARP_LANES, 1);
    const int each = divided_up((int64_t)one.blocks * one.slabs, BLOCKS);
    return tiles_of(t, width, WARP_LANES,
                    each < EACH_MIN   ? EACH_MIN
                    : each > EACH_MAX ? EACH_MAX
                                      : each);
}

static inline size_t aligned_bytes(size_t bytes)
{
    return round_up(bytes, ALIGNMENT);
}

/* Bytes of `sums` partial sums per block and channel, for whichever width the launch chooses. */
static inline size_t partials_bytes(const struct tensor *t, int sums)
{
    const struct tiles wide = tiles_for_sums(t, wide_width(t->dtype)),
                       narrow = tiles_for_sums(t, 1);
    const int blocks = wide.blocks > narrow.blocks ? wide.blocks : narrow.blocks;
    return aligned_bytes((size_t)blocks * (size_t)t->c * (size_t)sums * sizeof(double));
}

/* Pixels are counted in int. */
static inline bool pixels_check(const struct op *op, struct error *err)
{
    if (tensor_pixels(&op->x) <= PIXELS_MAX && tensor_pixels(&op->y) <= PIXELS_MAX) return true;
    return op_refuse(op, err, "the CUDA backend takes no more than %d pixels", PIXELS_MAX);
}

/* --- Device --- */

/* A thread's channels [channel, channel + V), and its pixels: pixel, pixel + step, and
 * so on below tiles.pixels. */
struct spot {
    int channel, pixel, step;
};

template <int V> __device__ inline struct spot spot_of(const struct tiles &t)
{
    const int row = (int)threadIdx.x / t.lanes, lane = (int)threadIdx.x % t.lanes;
    struct spot s;
    s.channel = ((int)blockIdx.y * t.lanes + lane) * V;
    s.step = (int)gridDim.x * t.rows;
    s.pixel = row < t.rows && s.channel < t.channels ? (int)blockIdx.x * t.rows + row : t.pixels;
    return s;
}

/* Sum over the rows of a block, in double. Afterwards thread i holds the sums of channel
 * own_channel(), unless that is negative. To be called by all threads, once per kernel. */
template <int V, int K>
__device__ inline void block_sums(const struct tiles &t, const float (&mine)[K][V],
                                  double (&sum)[K])
{
    __shared__ float shared[K][THREADS * V];
    const int width = t.lanes * V, thread = (int)threadIdx.x;
    if (thread < t.lanes * t.rows)
        for (int k = 0; k < K; k++)
            for (int i = 0; i < V; i++) shared[k][thread * V + i] = mine[k][i];
    __syncthreads();
    for (int k = 0; k < K; k++) {
        sum[k] = 0;
        if (thread < width)
            for (int row = 0; row < t.rows; row++)
                sum[k] += (double)shared[k][row * width + thread];
    }
}

template <int V> __device__ inline int own_channel(const struct tiles &t)
{
    const int channel = (int)blockIdx.y * t.lanes * V + (int)threadIdx.x;
    return (int)threadIdx.x < t.lanes * V && channel < t.channels ? channel : -1;
}

/* partials: (K, blocks, channels). */
template <int V, int K>
__device__ inline void store_partials(const struct tiles &t, const double (&sum)[K],
                                      double *partials)
{
    const int channel = own_channel<V>(t);
    if (channel < 0) return;
    for (int k = 0; k < K; k++)
        partials[((size_t)k * gridDim.x + blockIdx.x) * (size_t)t.channels + channel] = sum[k];
}

/* The second stage of a sum, in double, by blocks of 32 channels and 8 rows. True for the threads
 * that hold the sums of *channel. */
template <int K>
__device__ inline bool partials_sum(const double *partials, int blocks, int channels, int *channel,
                                    double (&sum)[K])
{
    enum { ROWS = THREADS / WARP_LANES };
    __shared__ double shared[K][ROWS][WARP_LANES];
    const int lane = (int)threadIdx.x % WARP_LANES, row = (int)threadIdx.x / WARP_LANES;
    *channel = (int)blockIdx.x * WARP_LANES + lane;
    for (int k = 0; k < K; k++) {
        double part = 0;
        if (*channel < channels) {
            UNROLL(4)
            for (int i = row; i < blocks; i += ROWS)
                part += partials[((size_t)k * blocks + i) * (size_t)channels + *channel];
        }
        shared[k][row][lane] = part;
    }
    __syncthreads();
    for (int k = 0; k < K; k++) {
        sum[k] = 0;
        for (int i = 0; i < ROWS; i++) sum[k] += shared[k][i][lane];
    }
    return row == 0 && *channel < channels;
}

static inline unsigned partials_grid(int channels)
{
    return (unsigned)divided_up(channels, WARP_LANES);
}

#endif
