/* Ops that compute each element by itself: ReLU's gradient, dropout, the loss, and sums. */
#include <math.h>
#include <stdlib.h>

#include "micromet/base/random.h"
#include "plan.h"

static bool relu_backward(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    (void)err;
    const struct op *op = &plan->op;
    const int64_t pixels = tensor_pixels(&op->x);
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < pixels; p++) {
        float y_row[ROW_CHANNELS_MAX], dy_row[ROW_CHANNELS_MAX], out_row[ROW_CHANNELS_MAX];
        const float *y = row_load(&op->y, b->y, p, y_row);
        const float *dy = row_load(&op->y, b->dy, p, dy_row);
        float *dx = row_target(&op->x, b->out, p, out_row);
        for (int c = 0; c < op->x.c; c++) dx[c] = y[c] > 0 ? dy[c] : 0;
        row_store(&op->x, b->out, p, dx);
    }
    return true;
}

/* The mask is never stored: forward and backward draw the same stream for each pixel, whoever
 * computes it. */
static bool dropout(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    (void)err;
    const struct op *op = &plan->op;
    const int64_t pixels = tensor_pixels(&op->x);
    const float scale = 1 / (1 - op->dropout.rate);
    const uint64_t first = (uint64_t)b->values->first_row * (uint64_t)(op->x.h * op->x.w);
    for (int64_t p = 0; p < pixels; p++) {
        float in_row[ROW_CHANNELS_MAX], out_row[ROW_CHANNELS_MAX];
        struct random random = random_init(b->values->seed, (uint32_t)b->values->step,
                                           first + (uint64_t)p, RANDOM_DROPOUT);
        const float *x = row_load(&op->x, b->x, p, in_row);
        float *y = row_target(&op->y, b->out, p, out_row);
        for (int c = 0; c < op->x.c; c++)
            y[c] = random_uniform(&random, 0, 1) < op->dropout.rate ? 0 : x[c] * scale;
        row_store(&op->y, b->out, p, y);
    }
    return true;
}

/* Binary cross entropy on logits, in the form that never overflows: max(z,0) - z s +
 * log(1 + exp(-|z|)). */
static bool loss(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    (void)err;
    const struct op *op = &plan->op;
    const int n = op->x.n, rows = op->loss.rows ? op->loss.rows : n;
    double sum = 0;
    float *gradient = b->out;
    for (int i = 0; i < n; i++) {
        float row[1] = { 0 };
        const double z = row_load(&op->x, b->x, i, row)[0], p = 1 / (1 + exp(-z));
        const double s = op_loss_label(&op->loss, b->labels[i]);
        const double w = op_loss_weight(&op->loss, b->labels[i]);
        sum += w * ((z > 0 ? z : 0) - z * s + log1p(exp(-fabs(z))));
        b->probabilities[i] = (float)p;
        gradient[(int64_t)i * op->y.pixel_stride] = (float)(w * (p - s) / rows);
    }
    b->loss[0] = (float)(sum / rows);
    return true;
}

static bool sum(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    (void)err;
    const float scale = plan->op.sum.scale, *x = b->x;
    float *out = b->out;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < plan->op.sum.count; i++) out[i] = scale * (out[i] + x[i]);
    return true;
}

bool plan_pointwise(struct plan *plan, struct error *err)
{
    (void)err;
    static bool (*const functions[OP_KIND_COUNT])(struct plan *, const struct op_buffers *,
                                                  struct error *) = {
        [OP_RELU_BACKWARD] = relu_backward,
        [OP_DROPOUT] = dropout,
        [OP_LOSS] = loss,
        [OP_SUM] = sum,
    };
    plan->execute = functions[plan->op.kind];
    return true;
}
