/* From stored samples to a mask's values: what mask_tiff.c decodes, mask_pixels.c understands. */
#ifndef SLIDE_MASK_PIXELS_H
#define SLIDE_MASK_PIXELS_H

#include <stdint.h>
#include <tiffio.h>

#include "micromet/base/error.h"

enum { MASK_SAMPLES_MAX = 8 };

struct mask_pixels {
    const char *path;
    const char *lossy;   /* the compression's name if it changes values, else NULL */
    uint16_t bits;       /* a sample */
    int samples, colors; /* colours first, then alpha and the like */
    bool planar;         /* samples are stored in planes */
    bool inverted;       /* 0 is white */
    double (*read)(const uint8_t *sample);
    /* What was met, for samples that differ within a pixel. */
    bool any_tint, any_gray;
    uint16_t tint[MASK_SAMPLES_MAX];
    bool any_pixel;
    uint16_t extra[MASK_SAMPLES_MAX];                                     /* of the first pixel */
    bool extra_varies[MASK_SAMPLES_MAX], extra_differs[MASK_SAMPLES_MAX]; /* from the value */
};

/* Of the directory at which `tiff` stands. Refuses kinds of pixels that mean no values. */
bool mask_pixels_init(struct mask_pixels *pixels, TIFF *tiff, const char *path, struct error *err);

/* Of unsigned samples of 1, 2, 4, 8 or 16 bits: gray, or RGB from three on, then alpha. */
void mask_pixels_init_plain(struct mask_pixels *pixels, const char *path, int bits, int samples);

/* The values of `width` px of a decoded row; with planes, sample s is s × plane_bytes behind it. */
bool mask_pixels_row(struct mask_pixels *pixels, const uint8_t *row, size_t plane_bytes,
                     uint32_t width, uint16_t *values, struct error *err);

/* After the last row: refuse what cannot be one value a pixel. */
bool mask_pixels_check(const struct mask_pixels *pixels, struct error *err);

#endif
