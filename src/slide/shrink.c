/* Along y first: the fine rows of one shrunk row are added up, weighted, in a line as wide as the
 * piece, which is fast; then the line's pixels are added up along x, which is done once a shrunk
 * row. */
#include "micromet/slide/shrink.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/error.h"

enum { ONE = 4096 }; /* steps of a fine pixel */

int64_t shrink_edge(double ratio, int64_t i)
{
    return llround((double)i * ratio * ONE);
}

int64_t shrink_length(double ratio, int64_t length)
{
    int64_t count = (int64_t)((double)length / ratio);
    while (shrink_edge(ratio, count) > length * ONE) count--;
    while (shrink_edge(ratio, count + 1) <= length * ONE) count++;
    return count;
}

void shrink_span(double ratio, int64_t i, int64_t count, int64_t *first, int64_t *end)
{
    *first = shrink_edge(ratio, i) / ONE;
    *end = (shrink_edge(ratio, i + count) + ONE - 1) / ONE;
}

bool shrink_init(struct shrink *shrink, int width, int height, int line_px)
{
    *shrink = (struct shrink) { .line_px = line_px };
    shrink->edges = malloc(((size_t)width + 1) * sizeof *shrink->edges);
    shrink->sums = malloc(3 * (size_t)width * (size_t)height * sizeof *shrink->sums);
    shrink->line = malloc(3 * (size_t)line_px * sizeof *shrink->line);
    return shrink->edges && shrink->sums && shrink->line;
}

void shrink_release(struct shrink *shrink)
{
    free(shrink->edges);
    free(shrink->sums);
    free(shrink->line);
    *shrink = (struct shrink) { 0 };
}

void shrink_begin(struct shrink *shrink, double ratio, int64_t x, int64_t y, int width, int height)
{
    CHECK(ratio >= 1 && ratio <= SHRINK_RATIO_MAX);
    shrink->ratio = ratio;
    shrink->x = x, shrink->y = y;
    shrink->width = width, shrink->height = height;
    for (int i = 0; i <= width; i++) shrink->edges[i] = shrink_edge(ratio, x + i);
    memset(shrink->sums, 0, 3 * (size_t)width * (size_t)height * sizeof *shrink->sums);
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The first of `count` shrunk pixels from `start` on that ends behind fine pixel `x`; or else the
 * end. */
static int64_t first_behind(double ratio, int64_t start, int64_t count, int64_t x)
{
    int64_t i = larger(start, (int64_t)((double)x / ratio) - 1);
    while (i < start + count && shrink_edge(ratio, i + 1) <= x * ONE) i++;
    return i;
}

/* Add the rows [y0, y1) of a piece, as far as they lie between the edges `top` and `bottom`. */
static void sum_rows(uint32_t *restrict line, const uint8_t *restrict rgb, size_t samples,
                     size_t row_stride, int64_t y, int64_t top, int64_t bottom)
{
    memset(line, 0, samples * sizeof *line);
    for (int64_t row = top / ONE; row * ONE < bottom; row++) {
        const uint32_t weight = (uint32_t)(smaller(bottom, (row + 1) * ONE) -
                                           larger(top, row * ONE));
        const uint8_t *restrict from = rgb + (size_t)(row - y) * row_stride;
        for (size_t i = 0; i < samples; i++) line[i] += weight * from[i];
    }
}

/* Add a line, whose first pixel is fine pixel x, to the sums of a row. */
static void sum_columns(const struct shrink *shrink, int64_t *sums, int64_t x, int width)
{
    const int64_t *edges = shrink->edges, last = (x + width) * ONE;
    int64_t i = first_behind(shrink->ratio, shrink->x, shrink->width, x) - shrink->x;

    for (; i < shrink->width && edges[i] < last; i++) {
        const int64_t from = larger(edges[i], x * ONE), to = smaller(edges[i + 1], last);
        int64_t sum[3] = { 0 };
        for (int64_t column = from / ONE; column * ONE < to; column++) {
            const int64_t weight = smaller(to, (column + 1) * ONE) - larger(from, column * ONE);
            const uint32_t *sample = shrink->line + 3 * (column - x);
            for (int c = 0; c < 3; c++) sum[c] += weight * sample[c];
        }
        for (int c = 0; c < 3; c++) sums[3 * i + c] += sum[c];
    }
}

void shrink_add(struct shrink *shrink, const uint8_t *rgb, int64_t x, int64_t y, int width,
                int height, size_t row_stride)
{
    const int64_t end = shrink->y + shrink->height, last = (y + height) * ONE;
    CHECK(width <= shrink->line_px);

    for (int64_t j = first_behind(shrink->ratio, shrink->y, shrink->height, y); j < end; j++) {
        const int64_t top = larger(shrink_edge(shrink->ratio, j), y * ONE);
        const int64_t bottom = smaller(shrink_edge(shrink->ratio, j + 1), last);
        if (top >= last) return;
        sum_rows(shrink->line, rgb, 3 * (size_t)width, row_stride, y, top, bottom);
        sum_columns(shrink, shrink->sums + 3 * (j - shrink->y) * shrink->width, x, width);
    }
}

void shrink_finish(const struct shrink *shrink, uint8_t *rgb)
{
    const int64_t *sum = shrink->sums;
    for (int64_t j = shrink->y; j < shrink->y + shrink->height; j++) {
        const int64_t height = shrink_edge(shrink->ratio, j + 1) - shrink_edge(shrink->ratio, j);
        for (int i = 0; i < shrink->width; i++) {
            const int64_t area = height * (shrink->edges[i + 1] - shrink->edges[i]);
            /* Both are below 2^53, and the quotient's distance to the next whole number is no less
             * than 1 / area, far more than its rounding: the division is as exact as in integers,
             * and faster. */
            for (int c = 0; c < 3; c++)
                *rgb++ = (uint8_t)((double)(*sum++ + area / 2) / (double)area);
        }
    }
}
