/* Colour augmentation of one pixel, for C and CUDA (define AUGMENT_INLINE to add qualifiers).
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

#include "micromet/data/augment_draw.h"

#ifndef AUGMENT_INLINE
#define AUGMENT_INLINE static inline
#endif

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

/* 1 - w of a channel that is `away` sixths of the circle from the hue, |away| <= 8: 0 up to one
 * sixth, 1 from two on. */
AUGMENT_INLINE float augment_hue_less(float away)
{
    const float a = fabsf(away);
    const float b = fabsf(6 - a);
    return augment_clamp((a < b ? a : b) - 1, 0, 1);
}

/* Brightness, saturation and, if `hue`, the hue shift. r, g, b: 0..255. */
AUGMENT_INLINE struct augment_rgb augment_pixel(float r, float g, float b,
                                                struct augment_color color, bool hue)
{
    r = r / 255 + color.brightness;
    g = g / 255 + color.brightness;
    b = b / 255 + color.brightness;
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
