/* Chooses how a convolution is computed. On processors without bf16 arithmetic, bf16 tensors are
 * converted, and the convolution is computed in fp32. */
#include "convolution.h"

#include <stdlib.h>

/* bf16 emulated: an fp32 plan between dense fp32 copies of bf16 tensors. */
struct widened {
    struct plan inner;
    void *x, *y; /* dense float32 copies */
};

static void widened_release(void *detail)
{
    struct widened *w = detail;
    if (!w) return;
    if (w->inner.release) w->inner.release(w->inner.detail);
    free(w->x);
    free(w->y);
    free(w);
}

static void convert(const struct tensor *from, const void *source, const struct tensor *to,
                    void *target)
{
    const int64_t pixels = tensor_pixels(from);
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < pixels; p++) {
        float row[ROW_CHANNELS_MAX], out_row[ROW_CHANNELS_MAX];
        const float *in = row_load(from, source, p, row);
        float *out = row_target(to, target, p, out_row);
        memcpy(out, in, (size_t)from->c * sizeof *out);
        row_store(to, target, p, out);
    }
}

static bool widened_execute(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    const struct op *op = &plan->op;
    struct widened *w = plan->detail;
    const struct op *inner = &w->inner.op;
    struct op_buffers buffers = *b;
    const bool data = op->kind == OP_CONVOLUTION_BACKWARD_DATA;
    if (!data) convert(&op->x, b->x, &inner->x, w->x);
    if (data && op->convolution.accumulate) convert(&op->x, b->out, &inner->x, w->x);
    if (op->kind != OP_CONVOLUTION) convert(&op->y, b->dy, &inner->y, w->y);
    buffers.x = w->x;
    buffers.dy = w->y;
    if (op->kind == OP_CONVOLUTION) buffers.out = w->y;
    if (data) buffers.out = w->x;
    if (!w->inner.execute(&w->inner, &buffers, err)) return false;
    if (op->kind == OP_CONVOLUTION) convert(&inner->y, w->y, &op->y, b->out);
    if (data) convert(&inner->x, w->x, &op->x, b->out);
    return true;
}

static bool widened_load(struct plan *plan, const float *weights, struct error *err)
{
    struct widened *w = plan->detail;
    return w->inner.load(&w->inner, weights, err);
}

static struct tensor as_dense_f32(const struct tensor *t)
{
    struct tensor dense = *t;
    dense.dtype = DTYPE_F32;
    dense.pixel_stride = t->c;
    return dense;
}

static bool plan_widened(struct plan *plan, struct error *err)
{
    struct widened *w = calloc(1, sizeof *w);
    if (!w) return error_set(err, EXIT_CODE_FAILED, "out of memory for a plan");
    w->inner.backend = plan->backend;
    w->inner.queue = plan->queue;
    w->inner.isa = plan->isa;
    w->inner.op = plan->op;
    w->inner.op.x = as_dense_f32(&plan->op.x);
    w->inner.op.y = as_dense_f32(&plan->op.y);
    const size_t x_bytes = tensor_bytes(&w->inner.op.x), y_bytes = tensor_bytes(&w->inner.op.y);
    if (!cpu_alloc(x_bytes, &w->x, err) || !cpu_alloc(y_bytes, &w->y, err) ||
        !plan_convolution(&w->inner, err)) {
        widened_release(w);
        return false;
    }
    plan->detail = w;
    plan->load = widened_load;
    plan->execute = widened_execute;
    plan->release = widened_release;
    plan->bytes = w->inner.bytes + x_bytes + y_bytes;
    return true;
}

bool plan_convolution(struct plan *plan, struct error *err)
{
    const bool bf16 = plan->op.x.dtype == DTYPE_BF16;
    const bool native = ((const struct backend *)plan->backend)->facts.native_bf16;
    if (bf16 && !native) return plan_widened(plan, err);
    bool found = false;
    if (!bf16 && !kernel_convolution_plan(plan, &found, err)) return false;
    return found || dnnl_convolution_plan(plan, err);
}
