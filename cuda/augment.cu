/* Augmentation of a batch, with the arithmetic of nn/augment_pixel.h that the CPU uses too.
 *
 * Contrast is scaled about the mean of the window's recoloured pixels. A first kernel, one block
 * per window, computes that mean without storing the colours: computing them again costs less than
 * a float copy of the window. It reads the window unrotated, so that the orientation never changes
 * the colours, and skips windows whose contrast is unchanged. Before that, it finds whether windows
 * to be stained anew are: sums of bytes are exact in doubles, whatever their order. */
#include <math.h>

#include "tiles.cuh"

#define AUGMENT_INLINE __host__ __device__ inline
#define AUGMENT_TABLE  static __device__ const
#include "micromet/nn/augment_pixel.h"

enum { MEAN_THREADS = 1024, STRETCH = 8, TILE = 16, BATCH_MAX = 65535 };

/* What the first kernel finds out about a window. */
struct window_facts {
    struct augment_contrast contrast;
    int stains;
};

__device__ inline struct augment_rgb colored(const uint8_t *p, const struct augment_draw &draw,
                                             bool stains)
{
    const struct augment_color color = augment_color_of(&draw);
    struct augment_rgb x = { p[0] / 255.0f, p[1] / 255.0f, p[2] / 255.0f };
    if (stains)
        x = augment_stained(augment_density[p[0]], augment_density[p[1]], augment_density[p[2]],
                            augment_stain_of(&draw));
    return color.turn != 0 ? augment_pixel(x.r, x.g, x.b, color, true)
                           : augment_pixel(x.r, x.g, x.b, color, false);
}

/* Each thread's sums become those of all threads. */
__device__ inline void block_sums(double sum[3])
{
    __shared__ double shared[3][MEAN_THREADS];
    const int thread = (int)threadIdx.x;
    __syncthreads(); /* earlier sums have been read */
    for (int c = 0; c < 3; c++) shared[c][thread] = sum[c];
    for (int reach = MEAN_THREADS / 2; reach > 0; reach /= 2) {
        __syncthreads();
        if (thread < reach)
            for (int c = 0; c < 3; c++) shared[c][thread] += shared[c][thread + reach];
    }
    __syncthreads();
    for (int c = 0; c < 3; c++) sum[c] = shared[c][0];
}

__device__ inline bool window_stains(const uint8_t *window, const struct augment_draw &draw,
                                     int area)
{
    double sum[3] = {};
    if (!augment_stains(&draw)) return false;
    for (int i = (int)threadIdx.x; i < area; i += MEAN_THREADS)
        for (int c = 0; c < 3; c++) sum[c] += window[3 * (size_t)i + (size_t)c];
    block_sums(sum);
    return augment_stainable((int64_t)(sum[0] + sum[1] + sum[2]), area);
}

// bytes: reads 3 writes 0 per pixel, least 3+0 (contrast 1: nothing; with stains: 6)
static __global__ void __launch_bounds__(MEAN_THREADS, 1)
    augment_means(const uint8_t *pixels, const struct augment_draw *draws, int area,
                  struct window_facts *facts)
{
    const struct augment_draw draw = draws[blockIdx.x];
    const uint8_t *window = pixels + (size_t)blockIdx.x * (size_t)area * 3;
    const bool stains = window_stains(window, draw, area);
    const int thread = (int)threadIdx.x;
    double sum[3] = {};
    if (draw.contrast != 1) {
        for (int first = thread; first < area; first += STRETCH * MEAN_THREADS) {
            float part[3] = {};
            for (int i = first; i < area && i < first + STRETCH * MEAN_THREADS; i += MEAN_THREADS) {
                const struct augment_rgb rgb = colored(window + 3 * (size_t)i, draw, stains);
                part[0] += rgb.r;
                part[1] += rgb.g;
                part[2] += rgb.b;
            }
            for (int c = 0; c < 3; c++) sum[c] += part[c];
        }
        block_sums(sum);
        for (int c = 0; c < 3; c++) sum[c] /= area;
    }
    if (thread == 0) facts[blockIdx.x] = { augment_contrast_of(draw.contrast, sum), stains };
}

/* Store a pixel and the zeros after its third channel, in one access if that
 * is 16 bytes, or 8 of BF16. */
template <typename T, int C>
__device__ inline void store_pixel(T *to, int channels, float r, float g, float b)
{
    if constexpr (C == 8) {
        const floats<8> v = { { r, g, b } };
        store<8>(to, v);
    } else if constexpr (C == 4 && sizeof(T) == sizeof(float)) {
        const floats<4> v = { { r, g, b } };
        store<4>(to, v);
    } else if constexpr (C == 4) {
        *reinterpret_cast<uint2 *>(to) = uint2 { bf16_pair(r, g), bf16_pair(b, 0) };
    } else {
        store<1>(to, { { r } });
        store<1>(to + 1, { { g } });
        store<1>(to + 2, { { b } });
        for (int c = 3; c < channels; c++) store<1>(to + c, { { 0 } });
    }
}

/* Square tiles, so that a window rotated by 90 degrees is also read in contiguous runs. C: the
 * number of channels if that is 4 or 8, else 0. */
// bytes: reads 3 writes 8 per pixel (4 channels), least 3+8
template <typename T, int C>
__global__ void __launch_bounds__(TILE *TILE)
    augment_apply(const uint8_t *pixels, const struct augment_draw *draws, int window,
                  const struct window_facts *facts, T *out, int channels)
{
    const int x = (int)blockIdx.x * TILE + (int)threadIdx.x;
    const int y = (int)blockIdx.y * TILE + (int)threadIdx.y;
    if (x >= window || y >= window) return;
    const struct augment_draw draw = draws[blockIdx.z];
    const struct augment_contrast contrast = facts[blockIdx.z].contrast;
    const size_t first = (size_t)blockIdx.z * (size_t)window * (size_t)window;
    const size_t source = first + (size_t)augment_source(&draw, window, y, x);
    const struct augment_rgb rgb = colored(pixels + 3 * source, draw, facts[blockIdx.z].stains);
    const size_t target = first + (size_t)y * (size_t)window + (size_t)x;
    store_pixel<T, C>(out + target * (size_t)channels, channels,
                      augment_finish(rgb.r, contrast.scale, contrast.offset[0]),
                      augment_finish(rgb.g, contrast.scale, contrast.offset[1]),
                      augment_finish(rgb.b, contrast.scale, contrast.offset[2]));
}

static size_t workspace_bytes(const struct op *op)
{
    return aligned_bytes((size_t)op->x.n * sizeof(struct window_facts));
}

static cudaError_t launch(const struct op *op, const struct op_buffers *b, void *workspace,
                          cudaStream_t stream)
{
    const int window = op->x.h, channels = op->y.c;
    const uint8_t *pixels = (const uint8_t *)b->x;
    struct window_facts *facts = (struct window_facts *)workspace;
    const unsigned tiles = (unsigned)divided_up(window, TILE), n = (unsigned)op->x.n;
    const bool aligned = (uintptr_t)b->out % 16 == 0;
    CUDA_LAUNCH(augment_means, n, MEAN_THREADS, stream, pixels, b->draws, window * window, facts);
    with_form(op->y.dtype, false, [&](auto form) {
        using T = typename decltype(form)::type;
        auto *apply = aligned && channels == 4   ? augment_apply<T, 4>
                      : aligned && channels == 8 ? augment_apply<T, 8>
                                                 : augment_apply<T, 0>;
        CUDA_LAUNCH(apply, dim3(tiles, tiles, n), dim3(TILE, TILE), stream, pixels, b->draws,
                    window, facts, (T *)b->out, channels);
    });
    return cudaGetLastError();
}

static bool check(const struct op *op, struct error *err)
{
    if (op->x.n <= BATCH_MAX && (int64_t)op->x.h * op->x.w <= PIXELS_MAX) return true;
    return op_refuse(op, err, "the CUDA backend takes no more than %d windows of %d pixels",
                     BATCH_MAX, PIXELS_MAX);
}

const struct cuda_kernel cuda_kernel_augment = { check, workspace_bytes, launch };
