/* A few channels of one pixel in registers: loaded and stored in 16-byte accesses where
 * possible, as floats in between.
 *
 * Kernels are templates on the element type and on V, the number of channels that a thread
 * processes at once. The host chooses V by the addresses, strides and channel counts of
 * the launch (forms, below). */
#ifndef MICROMET_CUDA_VECTOR_CUH
#define MICROMET_CUDA_VECTOR_CUH

#include <cuda_bf16.h>
#include <stdint.h>
#include <string.h>

#include "launch.h"
#include "micromet/nn/tensor.h"

#ifdef __CUDACC__
#define DEVICE_PRAGMA(text) _Pragma(#text)
#define UNROLL(times)       DEVICE_PRAGMA(unroll times)
#else
#define UNROLL(times) /* g++ decides */
#endif

using bf16 = uint16_t; /* its bits; arithmetic is in float */

template <int V> struct floats {
    float v[V];
};

__device__ inline float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

__device__ inline uint32_t bf16_pair(float low, float high)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    uint32_t bits;
    memcpy(&bits, &pair, sizeof bits);
    return bits;
}

template <int V> __device__ inline floats<V> load(const float *p)
{
    static_assert(V == 1 || V % 4 == 0, "one float or whole 16 bytes");
    floats<V> out;
    if constexpr (V == 1) {
        out.v[0] = *p;
    } else {
        for (int i = 0; i < V; i += 4) {
            const float4 four = *reinterpret_cast<const float4 *>(p + i);
            out.v[i] = four.x;
            out.v[i + 1] = four.y;
            out.v[i + 2] = four.z;
            out.v[i + 3] = four.w;
        }
    }
    return out;
}

template <int V> __device__ inline floats<V> load(const bf16 *p)
{
    static_assert(V == 1 || V == 8, "one bfloat16 or 16 bytes");
    floats<V> out;
    if constexpr (V == 1) {
        out.v[0] = float_of_bits((uint32_t)*p << 16);
    } else {
        const uint4 eight = *reinterpret_cast<const uint4 *>(p);
        const uint32_t words[4] = { eight.x, eight.y, eight.z, eight.w };
        for (int i = 0; i < 4; i++) {
            out.v[2 * i] = float_of_bits(words[i] << 16);
            out.v[2 * i + 1] = float_of_bits(words[i] & 0xffff0000);
        }
    }
    return out;
}

template <int V> __device__ inline void store(float *p, const floats<V> &in)
{
    if constexpr (V == 1)
        *p = in.v[0];
    else
        for (int i = 0; i < V; i += 4)
            *reinterpret_cast<float4 *>(p + i) = float4 { in.v[i], in.v[i + 1], in.v[i + 2],
                                                          in.v[i + 3] };
}

template <int V> __device__ inline void store(bf16 *p, const floats<V> &in)
{
    if constexpr (V == 1)
        *p = (bf16)bf16_pair(in.v[0], 0);
    else
        *reinterpret_cast<uint4 *>(
            p) = uint4 { bf16_pair(in.v[0], in.v[1]), bf16_pair(in.v[2], in.v[3]),
                         bf16_pair(in.v[4], in.v[5]), bf16_pair(in.v[6], in.v[7]) };
}

/* Values of V channels from an array of any alignment; `otherwise` if the array is NULL. */
template <int V>
__device__ inline floats<V> load_channels(const float *p, int channel, float otherwise)
{
    floats<V> out;
    for (int i = 0; i < V; i++) out.v[i] = p ? p[channel + i] : otherwise;
    return out;
}

/* --- Host: which instance of a kernel --- */

template <typename T, int V> struct form {
    using type = T;
    static constexpr int width = V;
};

/* Number of channels in 16 bytes. */
static inline int wide_width(enum dtype dtype)
{
    return dtype == DTYPE_F32 ? 4 : 8;
}

/* Whether the view can be accessed 16 bytes at a time: `width` divides its
 * channels, and pixels are aligned. */
static inline bool view_takes(const struct tensor *t, const void *data, int width)
{
    return t->c % width == 0 && (size_t)t->pixel_stride * dtype_bytes(t->dtype) % 16 == 0 &&
           (uintptr_t)data % 16 == 0;
}

/* Call launch(form<T, V>{}) with the form for tensors of one type, F32 or BF16. */
template <typename Launch> void with_form(enum dtype dtype, bool wide, Launch launch)
{
    if (dtype == DTYPE_F32) {
        if (wide)
            launch(form<float, 4> {});
        else
            launch(form<float, 1> {});
    } else {
        if (wide)
            launch(form<bf16, 8> {});
        else
            launch(form<bf16, 1> {});
    }
}

#endif
