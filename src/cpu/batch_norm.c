/* Batch norm with ReLU, forward and backward. Channels are cut into blocks, one thread a block, so
 * every sum is taken in the same order whatever the number of threads. Sums run in float over short
 * stretches and in double across them. */
#include <math.h>
#include <stdlib.h>

#include "plan.h"

enum { BLOCK = 64, STRETCH = 64 };

struct block {
    int first, count;
};

/* The channels [first, first + count) of one pixel as floats. */
static inline const float *load(const struct tensor *t, const void *data, int64_t pixel,
                                struct block b, float *row)
{
    const int64_t at = pixel * t->pixel_stride + b.first;
    if (t->dtype == DTYPE_F32) return (const float *)data + at;
    for (int c = 0; c < b.count; c++) row[c] = bf16_to_float(((const uint16_t *)data)[at + c]);
    return row;
}

static inline void store(const struct tensor *t, void *data, int64_t pixel, struct block b,
                         const float *row)
{
    const int64_t at = pixel * t->pixel_stride + b.first;
    if (t->dtype == DTYPE_F32)
        memcpy((float *)data + at, row, (size_t)b.count * sizeof *row);
    else
        for (int c = 0; c < b.count; c++) ((uint16_t *)data)[at + c] = bf16_from_float(row[c]);
}

/* sums[c] = sum over pixels of (x - shift[c])^power, power 1 or 2. */
CPU_CLONES static void sum_block(const struct tensor *x, const void *data, struct block b,
                                 const float *shift, bool square, double *sums)
{
    const int64_t pixels = tensor_pixels(x);
    float row[BLOCK];
    memset(sums, 0, BLOCK * sizeof *sums);
    for (int64_t first = 0; first < pixels; first += STRETCH) {
        const int64_t last = first + STRETCH < pixels ? first + STRETCH : pixels;
        float part[BLOCK] = { 0 };
        for (int64_t p = first; p < last; p++) {
            const float *v = load(x, data, p, b, row);
            if (square)
                for (int c = 0; c < b.count; c++) part[c] += (v[c] - shift[c]) * (v[c] - shift[c]);
            else
                for (int c = 0; c < b.count; c++) part[c] += v[c];
        }
        for (int c = 0; c < b.count; c++) sums[c] += part[c];
    }
}

static void statistics_block(const struct op *op, const struct op_buffers *b, struct block k)
{
    float *mean = b->saved_mean + k.first, *inverse = b->saved_inverse_std + k.first;
    float *moving_mean = b->moving_mean + k.first, *moving_variance = b->moving_variance + k.first;
    if (op->batch_norm.frozen) {
        memcpy(mean, moving_mean, (size_t)k.count * sizeof *mean);
        for (int c = 0; c < k.count; c++)
            inverse[c] = 1 / sqrtf(moving_variance[c] + op->batch_norm.epsilon);
        return;
    }
    const double m = (double)tensor_pixels(&op->x);
    double sums[BLOCK];
    sum_block(&op->x, b->x, k, NULL, false, sums);
    for (int c = 0; c < k.count; c++) mean[c] = (float)(sums[c] / m);
    sum_block(&op->x, b->x, k, mean, true, sums);
    const double unbias = op->batch_norm.unbiased_moving && m > 1 ? m / (m - 1) : 1;
    for (int c = 0; c < k.count; c++) {
        const double variance = sums[c] / m;
        inverse[c] = (float)(1 / sqrt(variance + op->batch_norm.epsilon));
        moving_mean[c] = op->batch_norm.momentum * moving_mean[c] +
                         (1 - op->batch_norm.momentum) * mean[c];
        moving_variance[c] = op->batch_norm.momentum * moving_variance[c] +
                             (1 - op->batch_norm.momentum) * (float)(variance * unbias);
    }
}

CPU_CLONES static void forward_block(const struct op *op, const struct op_buffers *b,
                                     struct block k)
{
    statistics_block(op, b, k);
    float scale[BLOCK], shift[BLOCK], in_row[BLOCK], out[BLOCK];
    for (int c = 0; c < k.count; c++) {
        const int i = k.first + c;
        scale[c] = b->saved_inverse_std[i] * (b->gamma ? b->gamma[i] : 1);
        shift[c] = b->beta[i] - b->saved_mean[i] * scale[c];
    }
    const float low = op->batch_norm.relu ? 0 : -INFINITY;
    const int64_t pixels = tensor_pixels(&op->x);
    for (int64_t p = 0; p < pixels; p++) {
        const float *x = load(&op->x, b->x, p, k, in_row);
        for (int c = 0; c < k.count; c++) {
            const float y = x[c] * scale[c] + shift[c];
            out[c] = y > low ? y : low;
        }
        store(&op->y, b->out, p, k, out);
    }
}

/* sum g and sum g*xhat, with g = dy masked by ReLU. */
CPU_CLONES static void backward_sums(const struct op *op, const struct op_buffers *b,
                                     struct block k, double *sum_g, double *sum_gx)
{
    const float *mean = b->saved_mean + k.first, *inverse = b->saved_inverse_std + k.first;
    const int64_t pixels = tensor_pixels(&op->x);
    float x_row[BLOCK], y_row[BLOCK], dy_row[BLOCK];
    memset(sum_g, 0, BLOCK * sizeof *sum_g);
    memset(sum_gx, 0, BLOCK * sizeof *sum_gx);
    for (int64_t first = 0; first < pixels; first += STRETCH) {
        const int64_t last = first + STRETCH < pixels ? first + STRETCH : pixels;
        float g_part[BLOCK] = { 0 }, gx_part[BLOCK] = { 0 };
        for (int64_t p = first; p < last; p++) {
            const float *x = load(&op->x, b->x, p, k, x_row);
            const float *dy = load(&op->y, b->dy, p, k, dy_row);
            const float *y = op->batch_norm.relu ? load(&op->y, b->y, p, k, y_row) : dy;
            for (int c = 0; c < k.count; c++) {
                const float g = op->batch_norm.relu && !(y[c] > 0) ? 0 : dy[c];
                g_part[c] += g;
                gx_part[c] += g * ((x[c] - mean[c]) * inverse[c]);
            }
        }
        for (int c = 0; c < k.count; c++) {
            sum_g[c] += g_part[c];
            sum_gx[c] += gx_part[c];
        }
    }
}

CPU_CLONES static void backward_block(const struct op *op, const struct op_buffers *b,
                                      struct block k)
{
    double sum_g[BLOCK], sum_gx[BLOCK];
    float scale[BLOCK], mean_g[BLOCK], mean_gx[BLOCK];
    backward_sums(op, b, k, sum_g, sum_gx);
    const double m = (double)tensor_pixels(&op->x);
    for (int c = 0; c < k.count; c++) {
        const int i = k.first + c;
        b->dbias[i] = (float)sum_g[c];
        if (b->dgamma) b->dgamma[i] = (float)sum_gx[c];
        scale[c] = b->saved_inverse_std[i] * (b->gamma ? b->gamma[i] : 1);
        mean_g[c] = op->batch_norm.frozen ? 0 : (float)(sum_g[c] / m);
        mean_gx[c] = op->batch_norm.frozen ? 0 : (float)(sum_gx[c] / m);
    }
    const float *mean = b->saved_mean + k.first, *inverse = b->saved_inverse_std + k.first;
    const int64_t pixels = tensor_pixels(&op->x);
    float x_row[BLOCK], y_row[BLOCK], dy_row[BLOCK], out[BLOCK];
    for (int64_t p = 0; p < pixels; p++) {
        const float *x = load(&op->x, b->x, p, k, x_row);
        const float *dy = load(&op->y, b->dy, p, k, dy_row);
        const float *y = op->batch_norm.relu ? load(&op->y, b->y, p, k, y_row) : dy;
        for (int c = 0; c < k.count; c++) {
            const float g = op->batch_norm.relu && !(y[c] > 0) ? 0 : dy[c];
            const float xhat = (x[c] - mean[c]) * inverse[c];
            out[c] = scale[c] * (g - mean_g[c] - xhat * mean_gx[c]);
        }
        store(&op->x, b->out, p, k, out);
    }
}

static bool execute(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    (void)err;
    const struct op *op = &plan->op;
    const int blocks = (op->x.c + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < blocks; i++) {
        const int first = i * BLOCK;
        const struct block k = { first, op->x.c - first < BLOCK ? op->x.c - first : BLOCK };
        if (op->kind == OP_BATCH_NORM)
            forward_block(op, b, k);
        else
            backward_block(op, b, k);
    }
    return true;
}

bool plan_batch_norm(struct plan *plan, struct error *err)
{
    (void)err;
    plan->execute = execute;
    return true;
}
