/* Shrinking by area: the mean of a box of pixels, with those at its edges in part.
 *
 * With a ratio r > 1, pixel i of the shrunk axis covers the interval [e(i), e(i+1)) of the fine
 * one, in steps of 1/4096 of a fine pixel: e(i) = round(4096 i r). With the lengths w of a fine
 * pixel's share in it, a sample is
 *
 *     floor((sum of wx wy v + a/2) / a),   a = (ex(i+1) - ex(i)) (ey(j+1) - ey(j)),
 *
 * the weighted mean rounded to the nearest number, halves up. All sums are of integers, so the
 * result depends on neither the order nor the pieces in which the fine pixels come. The grid is
 * fixed: pixel (0, 0) begins where fine pixel (0, 0) does. */
#ifndef MICROMET_SLIDE_SHRINK_H
#define MICROMET_SLIDE_SHRINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHRINK_RATIO_MAX 1024.0 /* up to which all sums are exact */

/* e(i), and the largest i with e(i) <= 4096 * length: as many pixels are whole. */
int64_t shrink_edge(double ratio, int64_t i);
int64_t shrink_length(double ratio, int64_t length);

/* The fine pixels [*first, *end) that touch the shrunk pixels [i, i + count). */
void shrink_span(double ratio, int64_t i, int64_t count, int64_t *first, int64_t *end);

/* A rectangle of the shrunk plane while its fine pixels arrive. */
struct shrink {
    double ratio;
    int64_t x, y;      /* its corner, shrunk px */
    int width, height; /* shrunk px */
    int64_t *edges;    /* (width + 1): of its columns */
    int64_t *sums;     /* (height, width, 3) */
    uint32_t *line;    /* (line_px, 3) */
    int line_px;
};
/* Rectangles of up to width × height px, from pieces of up to line_px fine pixels across. */
bool shrink_init(struct shrink *shrink, int width, int height, int line_px);
void shrink_release(struct shrink *shrink);
void shrink_begin(struct shrink *shrink, double ratio, int64_t x, int64_t y, int width, int height);
/* Add a piece of the fine plane, whose corner is (x, y): rgb[row*row_stride + 3*column]. Each fine
 * pixel of the rectangle comes once; others have no effect. */
void shrink_add(struct shrink *shrink, const uint8_t *rgb, int64_t x, int64_t y, int width,
                int height, size_t row_stride);
/* rgb: (height, width, 3) */
void shrink_finish(const struct shrink *shrink, uint8_t *rgb);

#endif
