/* Colour augmentation of one pixel, for C and CUDA (define AUGMENT_INLINE and AUGMENT_TABLE to add
 * qualifiers).
 *
 * Stains come first: haematoxylin, eosin and DAB (Ruifrok & Johnston 2001), as scikit-image's
 * rgb2hed and hed2rgb separate and join them with hed_from_rgb and rgb_from_hed. Concentrations c =
 * max(0, density * hed_from_rgb) become c*(1 + sigma) + beta, as in Tellez et al. 2018
 * (doi:10.1109/TMI.2018.2820199). scikit-image's unit is the density of 1e-6; here it is that of a
 * half, which only beta notices. Bytes have few densities: they are a table. The result is within
 * 4e-6 of exact arithmetic.
 *
 * tf.image.adjust_saturation and adjust_hue (CPU kernels of TensorFlow 2) convert to HSV: V = max,
 * C = max - min, S = C/V (0 if V <= 0), H = angle on the colour circle. Multiplying S by f and
 * clipping it to [0,1] is the same as C' = clamp(C*f, 0, V), and each channel is x = V - C*(1 - w)
 * with a weight w in [0,1] that depends on the hue. So S need not be computed, one division is
 * enough, and with factor 1 pixels in [0,1] keep their bits. */
#ifndef MICROMET_NN_AUGMENT_PIXEL_H
#define MICROMET_NN_AUGMENT_PIXEL_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "micromet/data/augment_draw.h"

#ifndef AUGMENT_INLINE
#define AUGMENT_INLINE static inline
#endif
#ifndef AUGMENT_TABLE
#define AUGMENT_TABLE static const
#endif
#include "micromet/nn/augment_density.h"

struct augment_rgb {
    float r, g, b;
};

/* The part of a draw that applies before contrast. */
struct augment_color {
    float brightness, saturation;
    float turn; /* hue shift in sixths of the circle, [-3, 3] */
};

AUGMENT_INLINE struct augment_color augment_color_of(const struct augment_draw *draw)
{
    const struct augment_color color = { draw->brightness, draw->saturation,
                                         6 * (draw->hue - floorf(draw->hue + 0.5f)) };
    return color;
}

/* What becomes of the stains' concentrations: c*scale + shift. */
struct augment_stain {
    float scale[3], shift[3];
};

AUGMENT_INLINE struct augment_stain augment_stain_of(const struct augment_draw *draw)
{
    const float unit = 19.931568569324174f; /* -log2(1e-6) */
    struct augment_stain stain;
    for (int k = 0; k < 3; k++) {
        stain.scale[k] = 1 + draw->stain_scale[k];
        stain.shift[k] = unit * draw->stain_shift[k];
    }
    return stain;
}

AUGMENT_INLINE bool augment_stains(const struct augment_draw *draw)
{
    bool some = false;
    for (int k = 0; k < 3; k++) some |= draw->stain_scale[k] != 0 || draw->stain_shift[k] != 0;
    return some;
}

/* Whether a window is stained anew: those are left alone that are almost black or almost white, the
 * mean of all bytes being below 0.05 or above 0.95 of 255. */
AUGMENT_INLINE bool augment_stainable(int64_t sum_of_bytes, int64_t pixels)
{
    const int64_t twentieth = 255 * 3 * pixels;
    return 20 * sum_of_bytes >= twentieth && 20 * sum_of_bytes <= 19 * twentieth;
}

/* Index of the source pixel (row-major, window×window) for output pixel (y, x);
 * linear in y and x. */
AUGMENT_INLINE int augment_source(const struct augment_draw *draw, int window, int y, int x)
{
    const int last = window - 1;
    const int i = draw->flip_y ? last - y : y;
    const int j = draw->flip_x ? last - x : x;
    switch (draw->quarter_turns & 3) {
    case 0:
        return i * window + j;
    case 1:
        return j * window + last - i;
    case 2:
        return (last - i) * window + last - j;
    default:
        return (last - j) * window + i;
    }
}

/* Clamp to [low, high]; `low` if low > high. */
AUGMENT_INLINE float augment_clamp(float x, float low, float high)
{
    x = x < high ? x : high;
    return x > low ? x : low;
}

/* 2^-x for 0 <= x <= 125, and for others that of the nearest of these; within 1.1e-7 of it, and
 * exact for whole x. A polynomial (degree 6, Remez) for the fraction, in [-0.5, 0.5], whose bits
 * then take the whole part as their exponent. */
AUGMENT_INLINE float augment_exp2_negative(float x)
{
    const float y = -augment_clamp(x, 0, 125);
    const float shifted = y + 12582912.0f; /* 1.5 * 2^23: rounds to a whole number */
    const float f = y - (shifted - 12582912.0f);
    const float p =
        1 + f * (0.693147182f +
                 f * (0.240226462f +
                      f * (0.0555032864f +
                           f * (0.00961848907f + f * (0.00133999309f + f * 0.00015345811f)))));
    uint32_t whole, bits;
    float out;
    memcpy(&whole, &shifted, sizeof whole);
    memcpy(&bits, &p, sizeof bits);
    bits += whole << 23;
    memcpy(&out, &bits, sizeof out);
    return out;
}

/* r, g, b: densities of bytes. Returns RGB in [0, 1]. */
AUGMENT_INLINE struct augment_rgb augment_stained(float r, float g, float b,
                                                  struct augment_stain stain)
{
    const float hematoxylin = 1.87798274f * r - 0.0659080622f * g - 0.601907363f * b;
    const float eosin = 1.13473037f * g - 1.00767869f * r - 0.480414188f * b;
    const float dab = 1.57358807f * b - 0.556115818f * r - 0.135521799f * g;
    const float h = (hematoxylin > 0 ? hematoxylin : 0) * stain.scale[0] + stain.shift[0];
    const float e = (eosin > 0 ? eosin : 0) * stain.scale[1] + stain.shift[1];
    const float d = (dab > 0 ? dab : 0) * stain.scale[2] + stain.shift[2];
    struct augment_rgb out;
    out.r = augment_exp2_negative(0.65f * h + 0.07f * e + 0.27f * d);
    out.g = augment_exp2_negative(0.70f * h + 0.99f * e + 0.57f * d);
    out.b = augment_exp2_negative(0.29f * h + 0.11f * e + 0.78f * d);
    return out;
}

/* 1 - w of a channel that is `away` sixths of the circle from the hue, |away| <= 8: 0 up to one
 * sixth, 1 from two on. */
AUGMENT_INLINE float augment_hue_less(float away)
{
    const float a = fabsf(away);
    const float b = fabsf(6 - a);
    return augment_clamp((a < b ? a : b) - 1, 0, 1);
}

/* Brightness, saturation and, if `hue`, the hue shift. r, g, b: [0, 1]. */
AUGMENT_INLINE struct augment_rgb augment_pixel(float r, float g, float b,
                                                struct augment_color color, bool hue)
{
    r += color.brightness;
    g += color.brightness;
    b += color.brightness;
    const float rg_max = r > g ? r : g, rg_min = r < g ? r : g;
    const float value = rg_max > b ? rg_max : b;
    const float range = value - (rg_min < b ? rg_min : b);
    const float divisor = range > 0 ? range : 1;
    const float chroma = augment_clamp(range * color.saturation, 0, value);
    struct augment_rgb out;
    if (hue) {
        const bool red = r == value, green = g == value;
        const float difference = red ? g - b : green ? b - r : r - g;
        const float base = red ? 0 : green ? 2 : -2;
        const float h = base + (difference / divisor + color.turn);
        out.r = value - chroma * augment_hue_less(h);
        out.g = value - chroma * augment_hue_less(h - 2);
        out.b = value - chroma * augment_hue_less(h + 2);
    } else {
        const float lift = 1 - chroma / divisor;
        out.r = r + (value - r) * lift;
        out.g = g + (value - g) * lift;
        out.b = b + (value - b) * lift;
    }
    return out;
}

/* Contrast, clip and 2x - 1 combined: clamp(x*scale + offset, -1, 1). */
struct augment_contrast {
    float scale;
    float offset[3]; /* of r, g, b */
};

AUGMENT_INLINE struct augment_contrast augment_contrast_of(float contrast, const double mean[3])
{
    struct augment_contrast out;
    out.scale = 2 * contrast;
    for (int c = 0; c < 3; c++) out.offset[c] = (float)(2 * mean[c] * (1 - (double)contrast) - 1);
    return out;
}

AUGMENT_INLINE float augment_finish(float x, float scale, float offset)
{
    return augment_clamp(x * scale + offset, -1, 1);
}

#endif
