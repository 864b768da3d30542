/* Everything is reduced to one cache-friendly product: output rows, each a sum of scaled rows of a
 * matrix; see the header. */
#include "simulated_math.h"

#include <stdlib.h>
#include <string.h>

#include "micromet/nn/tensor.h"

enum { ROWS = 8, COLUMNS = 64 };

static double to_tf32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if ((bits & 0x7f800000) != 0x7f800000)
        bits = (bits + 0xfff + ((bits >> 13) & 1)) & ~UINT32_C(0x1fff);
    memcpy(&value, &bits, 4);
    return value;
}

double element_load(enum element type, enum rounding rounding, const void *data, int64_t i)
{
    if (type == ELEMENT_BF16) return bf16_to_float(((const uint16_t *)data)[i]);
    const float value = ((const float *)data)[i];
    switch (rounding) {
    case ROUND_NOT:
        return value;
    case ROUND_TF32:
        return to_tf32(value);
    case ROUND_BF16:
        return bf16_to_float(bf16_from_float(value));
    }
    return value;
}

void element_load_row(enum element type, enum rounding rounding, const void *data, int64_t i,
                      int64_t count, double *out)
{
    const float *values = (const float *)data + i;
    if (type == ELEMENT_F32 && rounding == ROUND_NOT)
        for (int64_t k = 0; k < count; k++) out[k] = values[k];
    else
        for (int64_t k = 0; k < count; k++) out[k] = element_load(type, rounding, data, i + k);
}

void element_store(enum element type, void *data, int64_t i, double value)
{
    if (type == ELEMENT_BF16)
        ((uint16_t *)data)[i] = bf16_from_float((float)value);
    else
        ((float *)data)[i] = (float)value;
}

/* sums[row][0..columns) += sum over i of factors[row][i] * matrix[i][0..columns); rows with NULL
 * factors are skipped. Four i at a time, to load and store the sums less often. */
__attribute__((target_clones("avx2", "default"))) static void
add_products(double sums[ROWS][COLUMNS], const double *const factors[ROWS], int64_t count,
             const double *matrix, int64_t pitch, int64_t columns)
{
    int64_t i = 0;
    for (; i + 4 <= count; i += 4) {
        const double *restrict m0 = matrix + i * pitch, *restrict m1 = m0 + pitch,
                               *restrict m2 = m1 + pitch, *restrict m3 = m2 + pitch;
        for (int r = 0; r < ROWS; r++) {
            if (!factors[r]) continue;
            const double *f = factors[r] + i;
            const double f0 = f[0], f1 = f[1], f2 = f[2], f3 = f[3];
            double *restrict sum = sums[r];
            for (int64_t c = 0; c < columns; c++)
                sum[c] += (f0 * m0[c] + f1 * m1[c]) + (f2 * m2[c] + f3 * m3[c]);
        }
    }
    for (; i < count; i++)
        for (int r = 0; r < ROWS; r++)
            for (int64_t c = 0; factors[r] && c < columns; c++)
                sums[r][c] += factors[r][i] * matrix[i * pitch + c];
}

/* The row of factors for one output pixel and one tap of the kernel; NULL if the tap lies
 * in the padding. */
typedef const double *find_row(const struct convolution_shape *shape, const double *in,
                               int64_t pixel, int64_t r, int64_t s);

/* out (pixels, columns) = sum over all taps of the rows that `find` returns (`count` values) × taps
 * (r, s, count, columns). */
static void gather(const struct convolution_shape *shape, find_row *find, const double *in,
                   int64_t count, const double *taps, double *out, int64_t pixels, int64_t columns)
{
    for (int64_t first = 0; first < pixels; first += ROWS)
        for (int64_t column = 0; column < columns; column += COLUMNS) {
            const int64_t width = columns - column < COLUMNS ? columns - column : COLUMNS;
            const int64_t rows = pixels - first < ROWS ? pixels - first : ROWS;
            double sums[ROWS][COLUMNS] = { 0 };
            for (int64_t tap = 0; tap < shape->r * shape->s; tap++) {
                const double *factors[ROWS] = { NULL };
                for (int64_t i = 0; i < rows; i++)
                    factors[i] = find(shape, in, first + i, tap / shape->s, tap % shape->s);
                add_products(sums, factors, count, taps + tap * count * columns + column, columns,
                             width);
            }
            for (int64_t i = 0; i < rows; i++)
                memcpy(out + (first + i) * columns + column, sums[i],
                       (size_t)width * sizeof(double));
        }
}

static const double *x_of_y(const struct convolution_shape *q, const double *x, int64_t pixel,
                            int64_t r, int64_t s)
{
    const int64_t n = pixel / (q->oh * q->ow);
    const int64_t iy = pixel / q->ow % q->oh * q->stride[0] + r * q->dilation[0] - q->pad[0];
    const int64_t ix = pixel % q->ow * q->stride[1] + s * q->dilation[1] - q->pad[1];
    return iy < 0 || iy >= q->h || ix < 0 || ix >= q->w ? NULL
                                                        : x + ((n * q->h + iy) * q->w + ix) * q->c;
}

static const double *y_of_x(const struct convolution_shape *q, const double *y, int64_t pixel,
                            int64_t r, int64_t s)
{
    const int64_t n = pixel / (q->h * q->w);
    const int64_t oy = pixel / q->w % q->h + q->pad[0] - r * q->dilation[0];
    const int64_t ox = pixel % q->w + q->pad[1] - s * q->dilation[1];
    if (oy < 0 || ox < 0 || oy % q->stride[0] || ox % q->stride[1]) return NULL;
    const int64_t py = oy / q->stride[0], px = ox / q->stride[1];
    return py >= q->oh || px >= q->ow ? NULL : y + ((n * q->oh + py) * q->ow + px) * q->k;
}

/* w (k, r, s, c) to (r, s, c, k), or to (r, s, k, c). */
static double *weights_by_tap(const struct convolution_shape *q, const double *w, int64_t c_pitch,
                              int64_t k_pitch)
{
    const int64_t taps = q->r * q->s;
    double *out = malloc((size_t)(q->k * taps * q->c) * sizeof *out);
    for (int64_t k = 0; k < q->k; k++)
        for (int64_t tap = 0; tap < taps; tap++)
            for (int64_t c = 0; c < q->c; c++)
                out[tap * q->c * q->k + c * c_pitch + k * k_pitch] = w[(k * taps + tap) * q->c + c];
    return out;
}

void convolve(const struct convolution_shape *q, const double *x, const double *w, double *y)
{
    double *taps = weights_by_tap(q, w, q->k, 1);
    gather(q, x_of_y, x, q->c, taps, y, q->n * q->oh * q->ow, q->k);
    free(taps);
}

void convolve_back_data(const struct convolution_shape *q, const double *dy, const double *w,
                        double *dx)
{
    double *taps = weights_by_tap(q, w, 1, q->c);
    gather(q, y_of_x, dy, q->k, taps, dx, q->n * q->h * q->w, q->c);
    free(taps);
}

/* For each tap: transpose(dy) × x as seen by that tap, with zeros in the padding. */
void convolve_back_filter(const struct convolution_shape *q, const double *dy, const double *x,
                          double *dw)
{
    const int64_t pixels = q->n * q->oh * q->ow, taps = q->r * q->s;
    double *seen = malloc((size_t)(pixels * q->c) * sizeof *seen);
    double *columns = malloc((size_t)(pixels * q->k) * sizeof *columns);
    double *product = malloc((size_t)(q->k * q->c) * sizeof *product);
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t k = 0; k < q->k; k++) columns[k * pixels + p] = dy[p * q->k + k];
    for (int64_t tap = 0; tap < taps; tap++) {
        for (int64_t p = 0; p < pixels; p++) {
            const double *row = x_of_y(q, x, p, tap / q->s, tap % q->s);
            for (int64_t c = 0; c < q->c; c++) seen[p * q->c + c] = row ? row[c] : 0;
        }
        multiply(q->k, q->c, pixels, columns, seen, product);
        for (int64_t k = 0; k < q->k; k++)
            memcpy(dw + (k * taps + tap) * q->c, product + k * q->c, (size_t)q->c * sizeof *dw);
    }
    free(product);
    free(columns);
    free(seen);
}

void multiply(int64_t m, int64_t n, int64_t k, const double *a, const double *b, double *d)
{
    for (int64_t row = 0; row < m; row += ROWS)
        for (int64_t column = 0; column < n; column += COLUMNS) {
            const int64_t width = n - column < COLUMNS ? n - column : COLUMNS;
            const int64_t rows = m - row < ROWS ? m - row : ROWS;
            const double *factors[ROWS] = { NULL };
            double sums[ROWS][COLUMNS] = { 0 };
            for (int64_t i = 0; i < rows; i++) factors[i] = a + (row + i) * k;
            add_products(sums, factors, k, b + column, n, width);
            for (int64_t i = 0; i < rows; i++)
                memcpy(d + (row + i) * n + column, sums[i], (size_t)width * sizeof(double));
        }
}
