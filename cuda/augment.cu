/* Augmentation of a batch, with the arithmetic of nn/augment_pixel.h that the CPU uses too.
 *
 * Contrast is scaled about the mean of the window's recoloured pixels. A first kernel, one block
 * per window, computes that mean without storing the colours: computing them again costs less than
 * a float copy of the window. It reads the window unrotated, so that the orientation never changes
 * the colours, and skips windows whose contrast is unchanged. */
#include <math.h>

#include "tiles.cuh"

#define AUGMENT_INLINE __host__ __device__ inline
#include "micromet/nn/augment_pixel.h"

enum { MEAN_THREADS = 1024, STRETCH = 8, TILE = 16, BATCH_MAX = 65535 };

__device__ inline struct augment_rgb colored(const uint8_t *p, struct augment_color color)
{
    return color.turn != 0 ? augment_pixel(p[0], p[1], p[2], color, true)
                           : augment_pixel(p[0], p[1], p[2], color, false);
}

// bytes: reads 3 writes 0 per pixel, least 3+0 (contrast 1: nothing)
static __global__ void __launch_bounds__(MEAN_THREADS, 1)
    augment_means(const uint8_t *pixels, const struct augment_draw *draws, int area,
                  struct augment_contrast *contrasts)
{
    __shared__ double shared[3][MEAN_THREADS];
    const struct augment_draw draw = draws[blockIdx.x];
    const int thread = (int)threadIdx.x;
    double sum[3] = {};
    if (draw.contrast != 1) {
        const uint8_t *window = pixels + (size_t)blockIdx.x * (size_t)area * 3;
        const struct augment_color color = augment_color_of(&draw);
        for (int first = thread; first < area; first += STRETCH * MEAN_THREADS) {
            float part[3] = {};
            for (int i = first; i < area && i < first + STRETCH * MEAN_THREADS; i += MEAN_THREADS) {
                const struct augment_rgb rgb = colored(window + 3 * (size_t)i, color);
                part[0] += rgb.r;
                part[1] += rgb.g;
                part[2] += rgb.b;
            }
            for (int c = 0; c < 3; c++) sum[c] += part[c];
        }
        for (int c = 0; c < 3; c++) shared[c][thread] = sum[c];
        for (int reach = MEAN_THREADS / 2; reach > 0; reach /= 2) {
            __syncthreads();
            if (thread < reach)
                for (int c = 0; c < 3; c++) shared[c][thread] += shared[c][thread + reach];
        }
        for (int c = 0; c < 3; c++) sum[c] = shared[c][0] / area;
    }
    if (thread == 0) contrasts[blockIdx.x] = augment_contrast_of(draw.contrast, sum);
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
                  const struct augment_contrast *contrasts, T *out, int channels)
{
    const int x = (int)blockIdx.x * TILE + (int)threadIdx.x;
    const int y = (int)blockIdx.y * TILE + (int)threadIdx.y;
    if (x >= window || y >= window) return;
    const struct augment_draw draw = draws[blockIdx.z];
    const struct augment_contrast contrast = contrasts[blockIdx.z];
    const size_t first = (size_t)blockIdx.z * (size_t)window * (size_t)window;
    const size_t source = first + (size_t)augment_source(&draw, window, y, x);
    const struct augment_rgb rgb = colored(pixels + 3 * source, augment_color_of(&draw));
    const size_t target = first + (size_t)y * (size_t)window + (size_t)x;
    store_pixel<T, C>(out + target * (size_t)channels, channels,
                      augment_finish(rgb.r, contrast.scale, contrast.offset[0]),
                      augment_finish(rgb.g, contrast.scale, contrast.offset[1]),
                      augment_finish(rgb.b, contrast.scale, contrast.offset[2]));
}

static size_t workspace_bytes(const struct op *op)
{
    return aligned_bytes((size_t)op->x.n * sizeof(struct augment_contrast));
}

static cudaError_t launch(const struct op *op, const struct op_buffers *b, void *workspace,
                          cudaStream_t stream)
{
    const int window = op->x.h, channels = op->y.c;
    const uint8_t *pixels = (const uint8_t *)b->x;
    struct augment_contrast *contrasts = (struct augment_contrast *)workspace;
    const unsigned tiles = (unsigned)divided_up(window, TILE), n = (unsigned)op->x.n;
    const bool aligned = (uintptr_t)b->out % 16 == 0;
    CUDA_LAUNCH(augment_means, n, MEAN_THREADS, stream, pixels, b->draws, window * window,
                contrasts);
    with_form(op->y.dtype, false, [&](auto form) {
        using T = typename decltype(form)::type;
        auto *apply = aligned && channels == 4   ? augment_apply<T, 4>
                      : aligned && channels == 8 ? augment_apply<T, 8>
                                                 : augment_apply<T, 0>;
        CUDA_LAUNCH(apply, dim3(tiles, tiles, n), dim3(TILE, TILE), stream, pixels, b->draws,
                    window, contrasts, (T *)b->out, channels);
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
