/* A tensor: a view of NHWC memory with a pixel stride, so that a layer can write directly into its
 * channels of a concatenated tensor. */
#ifndef MICROMET_NN_TENSOR_H
#define MICROMET_NN_TENSOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum dtype { DTYPE_F32, DTYPE_BF16, DTYPE_U8 };

struct tensor { /* element (n,y,x,c) at ((n*h + y)*w + x)*pixel_stride + c */
    enum dtype dtype;
    int n, h, w, c;
    int pixel_stride; /* elements from pixel to pixel; > c in a slice of a concatenated tensor */
    void *data;       /* memory of the backend's device */
};

static inline size_t dtype_bytes(enum dtype dtype)
{
    return dtype == DTYPE_F32 ? 4 : dtype == DTYPE_BF16 ? 2 : 1;
}

static inline int64_t tensor_pixels(const struct tensor *t)
{
    return (int64_t)t->n * t->h * t->w;
}

/* Bytes of the view's pixels with the gaps between them, counted as if it began at its allocation's
 * first channel. */
static inline size_t tensor_bytes(const struct tensor *t)
{
    return (size_t)tensor_pixels(t) * (size_t)t->pixel_stride * dtype_bytes(t->dtype);
}

/* bfloat16, the upper half of a float: round to nearest, ties to even; NaN stays NaN. */
static inline uint16_t bf16_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)((bits >> 16) | 0x40);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static inline float bf16_to_float(uint16_t value)
{
    const uint32_t bits = (uint32_t)value << 16;
    float out;
    memcpy(&out, &bits, 4);
    return out;
}

#endif
