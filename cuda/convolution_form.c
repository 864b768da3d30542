/* Chooses the form of a convolution: tries a list of fallbacks, from the fastest to the most
 * general, until cuDNN accepts the graph. */
#include "convolution.h"

#include <stdio.h>
#include <string.h>

#include "kernels.h"
#include "micromet/base/size.h"

/* Fallbacks, best first. */
static const struct fallback {
    bool unfused, copy_x, copy_y, f32;
} fallbacks[] = {
    { false, false, false, false }, { true, false, false, false }, { true, false, true, false },
    { true, true, false, false },   { true, true, true, false },   { false, true, true, false },
    { false, true, true, true },    { true, true, true, true },
};

static struct tensor dense(const struct tensor *t, enum dtype dtype)
{
    struct tensor copy = *t;
    copy.dtype = dtype;
    copy.pixel_stride = t->c;
    return copy;
}

static bool dense_already(const struct tensor *t, enum dtype dtype)
{
    return t->dtype == dtype && t->pixel_stride == t->c;
}

static size_t take(size_t *at, size_t bytes)
{
    enum { ALIGNMENT = 256 };
    const size_t start = *at;
    *at += round_up(bytes, ALIGNMENT);
    return start;
}

/* The form with these fallbacks, as far as they apply to the op. */
static void apply_fallback(struct convolution_form *form, const struct op *op,
                           const struct fallback *c)
{
    const enum dtype type = c->f32 ? DTYPE_F32 : op->x.dtype;
    const int weights_c = op_weight_channels(op);
    const bool forward = op->kind == OP_CONVOLUTION;
    const bool adds = op->kind == OP_CONVOLUTION_BACKWARD_DATA && op->convolution.accumulate;
    *form = (struct convolution_form) { .graph = *op };
    form->copy_x = op->x.dtype != type || (c->copy_x && (!dense_already(&op->x, type) || adds));
    form->copy_y = op->y.dtype != type || (c->copy_y && !dense_already(&op->y, type));
    form->pack = type != DTYPE_F32 || weights_c != op->x.c;
    if (form->copy_x) form->graph.x = dense(&op->x, type);
    if (form->copy_y) form->graph.y = dense(&op->y, type);
    form->graph.convolution.accumulate = adds && !form->copy_x;
    form->bias_relu = forward && c->unfused && (op->convolution.bias || op->convolution.relu);
    form->graph.convolution.bias = forward && op->convolution.bias && !c->unfused;
    form->graph.convolution.relu = forward && op->convolution.relu && !c->unfused;
}

static bool same(const struct convolution_form *a, const struct convolution_form *b)
{
    return a->bias_relu == b->bias_relu && a->copy_x == b->copy_x && a->copy_y == b->copy_y &&
           a->graph.x.dtype == b->graph.x.dtype;
}

/* Whether the bias would be added to a sum already rounded to BF16; it must be added in F32. */
static bool rounds_twice(const struct convolution_form *form, const struct op *op)
{
    return form->bias_relu && op->convolution.bias && form->graph.y.dtype == DTYPE_BF16;
}

void convolution_form_lay_out(struct convolution_form *form, const struct op *op,
                              const struct cudnn_plan *plan)
{
    const struct op *graph = &form->graph;
    const bool filter = op->kind == OP_CONVOLUTION_BACKWARD_FILTER;
    const size_t weights = (size_t)op_weight_rows(graph) * (size_t)graph->x.c *
                           dtype_bytes(graph->x.dtype);
    size_t at = 0;
    take(&at, plan->workspace_bytes);
    if (form->copy_x) form->x_at = take(&at, tensor_bytes(&graph->x));
    if (form->copy_y) form->y_at = take(&at, tensor_bytes(&graph->y));
    if (filter && form->pack) form->w_at = take(&at, weights);
    if (filter && op->convolution.bias)
        form->sums_at = take(&at, channel_sums_workspace_bytes(&op->y));
    form->scratch_bytes = at;
    form->kept_bytes = !filter && form->pack ? weights : 0;
}

bool convolution_form_plan(struct convolution_form *form, struct cudnn_plan *plan, bool *reused,
                           const struct op *op, struct plan_cache *cache, struct error *err)
{
    enum { COUNT = COUNT_OF(fallbacks) };
    struct convolution_form tried[COUNT];
    struct error refusal = { 0 };
    for (int i = 0; i < COUNT; i++) {
        apply_fallback(&tried[i], op, &fallbacks[i]);
        bool passed_over = rounds_twice(&tried[i], op);
        for (int j = 0; j < i; j++) passed_over |= same(&tried[i], &tried[j]);
        if (passed_over) continue;
        error_clear(&refusal);
        if (!plan_cache_plan(cache, &tried[i].graph, plan, reused, &refusal)) continue;
        *form = tried[i];
        convolution_form_lay_out(form, op, plan);
        return true;
    }
    return op_refuse(op, err, "%s", refusal.message);
}

void convolution_form_name(const struct convolution_form *form, char name[64])
{
    const bool forward = form->graph.kind == OP_CONVOLUTION;
    const struct op_convolution *graph = &form->graph.convolution;
    snprintf(name, 64, "%s%s%s%s", graph->bias || graph->relu ? "fused" : "plain",
             form->bias_relu ? ", then bias+relu" : "",
             form->copy_x ? (forward ? ", x copied" : ", dx copied") : "",
             form->copy_y ? (forward ? ", y copied" : ", dy copied") : "");
    if (form->graph.kind == OP_CONVOLUTION_BACKWARD_FILTER && form->copy_x)
        snprintf(name, 64, "plain, x copied%s", form->copy_y ? ", dy copied" : "");
}
