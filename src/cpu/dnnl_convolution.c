/* Convolutions through oneDNN: descriptor -> primitive -> execute.
 *
 * oneDNN's fast kernels want dense tensors and weights in a layout of their choice, so slices of a
 * concatenated tensor and our (K,R,S,C) weights are reordered into scratch that the plan keeps;
 * weights only when their version changes. */
#include <stdlib.h>

#include "convolution.h"
#include "dnnl_api.h"

enum { ROLE_SOURCE, ROLE_WEIGHTS, ROLE_BIAS, ROLE_TARGET, ROLE_COUNT };
enum { ARGUMENTS_MAX = ROLE_COUNT + 1 }; /* and oneDNN's scratchpad */

/* One argument of the primitive: our memory, oneDNN's, and the reorder between them if they
 * differ. */
struct argument {
    dnnl_memory_t ours, theirs; /* the same object when no reorder is needed */
    dnnl_primitive_t reorder;
    void *scratch;
    int id; /* DNNL_ARG_… */
};

struct dnnl_convolution {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t primitive;
    struct argument arguments[ROLE_COUNT];
    /* in the queue's scratch: oneDNN's own belongs to the planning thread */
    dnnl_memory_t scratchpad;
    bool has_bias;
    uint64_t weights_version;
    size_t bytes;
};

static bool failed(dnnl_status_t status, const char *what, const struct op *op, struct error *err)
{
    if (status == dnnl_success) return false;
    const char *reason = status == dnnl_out_of_memory       ? "out of memory"
                         : status == dnnl_unimplemented     ? "oneDNN has no kernel for it"
                         : status == dnnl_invalid_arguments ? "arguments refused"
                                                            : "runtime error";
    error_set(err, EXIT_CODE_FAILED, "%s %s: oneDNN %s: %s (status %d)", op_kind_name(op->kind),
              op->name ? op->name : "", what, reason, (int)status);
    return true;
}

static dnnl_data_type_t data_type(enum dtype dtype)
{
    return dtype == DTYPE_BF16 ? dnnl_bf16 : dnnl_f32;
}

/* Our tensor: NHWC with a pixel stride, in oneDNN's logical order N, C, H, W. */
static dnnl_status_t describe_tensor(memory_desc *md, const struct tensor *t)
{
    const dnnl_dims_t dims = { t->n, t->c, t->h, t->w };
    const int64_t pixel = t->pixel_stride;
    const dnnl_dims_t strides = { pixel * t->h * t->w, 1, pixel * t->w, pixel };
    return dnnl_memory_desc_create_with_strides(md, 4, dims, data_type(t->dtype), strides);
}

static dnnl_status_t describe_dense(memory_desc *md, const struct tensor *t)
{
    const dnnl_dims_t dims = { t->n, t->c, t->h, t->w };
    return dnnl_memory_desc_create_with_tag(md, 4, dims, data_type(t->dtype), dnnl_nhwc);
}

/* `tag` is dnnl_ohwi for our weights (K,R,S,C), dnnl_format_tag_any for oneDNN's choice. */
static dnnl_status_t describe_weights(memory_desc *md, const struct op *op, dnnl_data_type_t type,
                                      dnnl_format_tag_t tag)
{
    const struct op_window *w = &op->convolution.window;
    const dnnl_dims_t dims = { op->y.c, op->x.c, w->kernel_h, w->kernel_w };
    return dnnl_memory_desc_create_with_tag(md, 4, dims, type, tag);
}

static dnnl_status_t describe_bias(memory_desc *md, const struct op *op)
{
    const dnnl_dims_t dims = { op->y.c };
    return dnnl_memory_desc_create_with_tag(md, 1, dims, dnnl_f32, dnnl_a);
}

/* A convolution as described to oneDNN. Where there is no bias, its descriptors are NULL. */
struct description {
    memory_desc ours[ROLE_COUNT];   /* as the op's tensors lie in memory */
    memory_desc wanted[ROLE_COUNT]; /* as the primitive may see them */
    memory_desc forward_weights;    /* of the convolution whose gradient a backward one is */
    dnnl_dims_t strides, pad_low, pad_high;
};

static void description_release(struct description *d)
{
    for (int i = 0; i < ROLE_COUNT; i++) {
        if (d->ours[i]) dnnl_memory_desc_destroy(d->ours[i]);
        if (d->wanted[i]) dnnl_memory_desc_destroy(d->wanted[i]);
    }
    if (d->forward_weights) dnnl_memory_desc_destroy(d->forward_weights);
}

/* On failure, too, description_release() frees what was made. */
static bool description_init(struct description *d, const struct op *op, bool has_bias,
                             struct error *err)
{
    const struct op_window *w = &op->convolution.window;
    const bool filter = op->kind == OP_CONVOLUTION_BACKWARD_FILTER;
    const dnnl_data_type_t type = data_type(op->x.dtype);
    *d = (struct description) { 0 };
    for (int i = 0; i < 2; i++) {
        d->strides[i] = w->stride;
        d->pad_low[i] = i ? w->pad_w : w->pad_h;
        const int out = i ? op->y.w : op->y.h, in = i ? op->x.w : op->x.h;
        const int kernel = i ? w->kernel_w : w->kernel_h;
        d->pad_high[i] = (int64_t)(out - 1) * w->stride + kernel - in - d->pad_low[i];
    }
    return !failed(describe_tensor(&d->ours[ROLE_SOURCE], &op->x), "tensor", op, err) &&
           !failed(describe_dense(&d->wanted[ROLE_SOURCE], &op->x), "tensor", op, err) &&
           !failed(describe_tensor(&d->ours[ROLE_TARGET], &op->y), "tensor", op, err) &&
           !failed(describe_dense(&d->wanted[ROLE_TARGET], &op->y), "tensor", op, err) &&
           !failed(describe_weights(&d->ours[ROLE_WEIGHTS], op, dnnl_f32, dnnl_ohwi), "weights", op,
                   err) &&
           !failed(describe_weights(&d->wanted[ROLE_WEIGHTS], op, filter ? dnnl_f32 : type,
                                    dnnl_format_tag_any),
                   "weights", op, err) &&
           !failed(describe_weights(&d->forward_weights, op, type, dnnl_format_tag_any), "weights",
                   op, err) &&
           (!has_bias || (!failed(describe_bias(&d->ours[ROLE_BIAS], op), "bias", op, err) &&
                          !failed(describe_bias(&d->wanted[ROLE_BIAS], op), "bias", op, err)));
}

static dnnl_status_t create_forward(const struct op *op, const struct description *d,
                                    dnnl_engine_t engine, dnnl_primitive_attr_t attributes,
                                    dnnl_primitive_desc_t *pd)
{
    dnnl_post_ops_t post;
    dnnl_status_t status = dnnl_post_ops_create(&post);
    if (status != dnnl_success) return status;
    if (op->convolution.relu) status = dnnl_api_append_relu(post);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(attributes, post);
    if (status == dnnl_success)
        status = dnnl_convolution_forward_primitive_desc_create(
            pd, engine, dnnl_forward_inference, dnnl_convolution_direct, d->wanted[ROLE_SOURCE],
            d->wanted[ROLE_WEIGHTS], d->wanted[ROLE_BIAS], d->wanted[ROLE_TARGET], d->strides, NULL,
            d->pad_low, d->pad_high, attributes);
    dnnl_post_ops_destroy(post);
    return status;
}

static dnnl_status_t create_backward(const struct op *op, const struct description *d,
                                     dnnl_engine_t engine, dnnl_primitive_attr_t attributes,
                                     dnnl_primitive_desc_t *pd)
{
    const const_memory_desc x = d->wanted[ROLE_SOURCE], y = d->wanted[ROLE_TARGET];
    dnnl_primitive_desc_t forward;
    dnnl_status_t status = dnnl_convolution_forward_primitive_desc_create(
        &forward, engine, dnnl_forward_training, dnnl_convolution_direct, x, d->forward_weights,
        NULL, y, d->strides, NULL, d->pad_low, d->pad_high, NULL);
    if (status != dnnl_success) return status;
    if (op->kind == OP_CONVOLUTION_BACKWARD_DATA)
        status = dnnl_convolution_backward_data_primitive_desc_create(
            pd, engine, dnnl_convolution_direct, x, d->wanted[ROLE_WEIGHTS], y, d->strides, NULL,
            d->pad_low, d->pad_high, forward, attributes);
    else
        status = dnnl_convolution_backward_weights_primitive_desc_create(
            pd, engine, dnnl_convolution_direct, x, d->wanted[ROLE_WEIGHTS], d->wanted[ROLE_BIAS],
            y, d->strides, NULL, d->pad_low, d->pad_high, forward, attributes);
    dnnl_primitive_desc_destroy(forward);
    return status;
}

static dnnl_status_t create(const struct op *op, const struct description *d, dnnl_engine_t engine,
                            dnnl_primitive_desc_t *pd)
{
    dnnl_primitive_attr_t attributes;
    dnnl_status_t status = dnnl_primitive_attr_create(&attributes);
    if (status != dnnl_success) return status;
    status = dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
    if (status == dnnl_success)
        status = (op->kind == OP_CONVOLUTION ? create_forward : create_backward)(op, d, engine,
                                                                                 attributes, pd);
    dnnl_primitive_attr_destroy(attributes);
    return status;
}

static bool scratchpad_init(struct plan *plan, struct dnnl_convolution *c,
                            const_dnnl_primitive_desc_t pd, struct error *err)
{
    const const_memory_desc md = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    return queue_scratch_reserve(plan, dnnl_memory_desc_get_size(md), err) &&
           !failed(dnnl_memory_create(&c->scratchpad, md, c->engine, DNNL_MEMORY_NONE),
                   "scratchpad", &plan->op, err);
}

static dnnl_status_t argument_init(struct dnnl_convolution *c, struct argument *a, int id,
                                   const_memory_desc ours, const_memory_desc theirs, bool output,
                                   bool copy)
{
    dnnl_status_t status = dnnl_memory_create(&a->ours, ours, c->engine, DNNL_MEMORY_NONE);
    a->id = id;
    if (status != dnnl_success) return status;
    if (!copy && dnnl_memory_desc_equal(ours, theirs)) {
        a->theirs = a->ours;
        return dnnl_success;
    }
    const size_t bytes = dnnl_memory_desc_get_size(theirs);
    struct error ignored = { 0 };
    if (!cpu_alloc(bytes, &a->scratch, &ignored)) return dnnl_out_of_memory;
    c->bytes += bytes;
    status = dnnl_memory_create(&a->theirs, theirs, c->engine, a->scratch);
    if (status != dnnl_success || copy) return status;
    dnnl_primitive_desc_t pd;
    status = dnnl_reorder_primitive_desc_create(&pd, output ? theirs : ours, c->engine,
                                                output ? ours : theirs, c->engine, NULL);
    if (status != dnnl_success) return status;
    status = dnnl_primitive_create(&a->reorder, pd);
    dnnl_primitive_desc_destroy(pd);
    return status;
}

static dnnl_status_t reorder(const struct dnnl_convolution *c, const struct argument *a, bool out)
{
    const dnnl_exec_arg_t arguments[2] = { { DNNL_ARG_FROM, out ? a->theirs : a->ours },
                                           { DNNL_ARG_TO, out ? a->ours : a->theirs } };
    return dnnl_primitive_execute(a->reorder, c->stream, 2, arguments);
}

static void release(void *detail)
{
    struct dnnl_convolution *c = detail;
    if (!c) return;
    for (int i = 0; i < ROLE_COUNT; i++) {
        struct argument *a = &c->arguments[i];
        if (a->reorder) dnnl_primitive_destroy(a->reorder);
        if (a->theirs && a->theirs != a->ours) dnnl_memory_destroy(a->theirs);
        if (a->ours) dnnl_memory_destroy(a->ours);
        free(a->scratch);
    }
    if (c->scratchpad) dnnl_memory_destroy(c->scratchpad);
    if (c->primitive) dnnl_primitive_destroy(c->primitive);
    if (c->stream) dnnl_stream_destroy(c->stream);
    if (c->engine) dnnl_engine_destroy(c->engine);
    free(c);
}

struct role_spec {
    int id;
    dnnl_query_t query;
    bool output;
};

/* Which memory plays which role, for each kind of convolution. */
static const struct role_spec roles[3][ROLE_COUNT] = {
    [OP_CONVOLUTION] = { { DNNL_ARG_SRC, dnnl_query_src_md, false },
                         { DNNL_ARG_WEIGHTS, dnnl_query_weights_md, false },
                         { DNNL_ARG_BIAS, dnnl_query_undef, false },
                         { DNNL_ARG_DST, dnnl_query_dst_md, true } },
    [OP_CONVOLUTION_BACKWARD_DATA] = { { DNNL_ARG_DIFF_SRC, dnnl_query_diff_src_md, true },
                                       { DNNL_ARG_WEIGHTS, dnnl_query_weights_md, false },
                                       { DNNL_ARG_BIAS, dnnl_query_undef, false },
                                       { DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md, false } },
    [OP_CONVOLUTION_BACKWARD_FILTER] = { { DNNL_ARG_SRC, dnnl_query_src_md, false },
                                         { DNNL_ARG_DIFF_WEIGHTS, dnnl_query_diff_weights_md,
                                           true },
                                         { DNNL_ARG_DIFF_BIAS, dnnl_query_undef, true },
                                         { DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md, false } },
};

static bool arguments_init(struct dnnl_convolution *c, const struct op *op,
                           const struct description *d, const_dnnl_primitive_desc_t pd,
                           struct error *err)
{
    for (int i = 0; i < ROLE_COUNT; i++) {
        if (i == ROLE_BIAS && !c->has_bias) continue;
        const struct role_spec *role = &roles[op->kind][i];
        const const_memory_desc theirs = i == ROLE_BIAS
                                             ? d->wanted[i]
                                             : dnnl_primitive_desc_query_md(pd, role->query, 0);
        const bool add_after = i == ROLE_SOURCE && op->convolution.accumulate;
        if (failed(argument_init(c, &c->arguments[i], role->id, d->ours[i], theirs, role->output,
                                 add_after),
                   "memory", op, err))
            return false;
    }
    return true;
}

/* dx += scratch, when gradients of several branches meet. */
static void accumulate(const struct op *op, const void *scratch, void *dx)
{
    struct tensor dense = op->x;
    dense.pixel_stride = dense.c;
    const int64_t pixels = tensor_pixels(&op->x);
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < pixels; p++) {
        float from_row[ROW_CHANNELS_MAX], sum_row[ROW_CHANNELS_MAX];
        const float *from = row_load(&dense, scratch, p, from_row);
        const float *old = row_load(&op->x, dx, p, sum_row);
        float *to = row_target(&op->x, dx, p, sum_row);
        for (int i = 0; i < op->x.c; i++) to[i] = old[i] + from[i];
        row_store(&op->x, dx, p, to);
    }
}

static void *role_memory(const struct op *op, const struct op_buffers *b, int role)
{
    const bool forward = op->kind == OP_CONVOLUTION;
    const bool filter = op->kind == OP_CONVOLUTION_BACKWARD_FILTER;
    switch (role) {
    case ROLE_SOURCE:
        return op->kind == OP_CONVOLUTION_BACKWARD_DATA ? b->out : (void *)b->x;
    case ROLE_WEIGHTS:
        return filter ? b->out : (void *)b->weights;
    case ROLE_BIAS:
        return filter ? (void *)b->dbias : (void *)b->bias;
    default:
        return forward ? b->out : (void *)b->dy;
    }
}

static bool load(struct plan *plan, const float *weights, struct error *err)
{
    struct dnnl_convolution *c = plan->detail;
    struct argument *a = &c->arguments[ROLE_WEIGHTS];
    const struct op *op = &plan->op;
    const size_t bytes = (size_t)op_weight_rows(op) * (size_t)op->x.c * sizeof(float);
    if (a->reorder)
        return !failed(dnnl_memory_set_data_handle(a->ours, (void *)(uintptr_t)weights), "memory",
                       op, err) &&
               !failed(reorder(c, a, false), "reorder", op, err) &&
               !failed(dnnl_stream_wait(c->stream), "wait", op, err);
    if (!a->scratch && !cpu_alloc(bytes, &a->scratch, err)) return false;
    memcpy(a->scratch, weights, bytes);
    plan->bytes = c->bytes + bytes;
    return true;
}

static bool execute(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    const struct op *op = &plan->op;
    struct dnnl_convolution *c = plan->detail;
    dnnl_exec_arg_t arguments[ARGUMENTS_MAX] = { { DNNL_ARG_SCRATCHPAD, c->scratchpad } };
    int count = 1;
    if (failed(dnnl_memory_set_data_handle(c->scratchpad, queue_scratch(plan)), "scratchpad", op,
               err))
        return false;
    for (int i = 0; i < ROLE_COUNT; i++) {
        struct argument *a = &c->arguments[i];
        if (!a->ours) continue;
        arguments[count++] = (dnnl_exec_arg_t) { a->id, a->theirs };
        void *memory = role_memory(op, b, i);
        const bool loaded = !memory; /* by load() */
        if (failed(dnnl_memory_set_data_handle(a->ours, loaded ? a->scratch : memory), "memory", op,
                   err))
            return false;
        if (!a->reorder || loaded || roles[op->kind][i].output) continue;
        if (i == ROLE_WEIGHTS && b->weights_version == c->weights_version) continue;
        if (failed(reorder(c, a, false), "reorder", op, err)) return false;
        if (i == ROLE_WEIGHTS) c->weights_version = b->weights_version;
    }
    if (failed(dnnl_primitive_execute(c->primitive, c->stream, count, arguments), "run", op, err))
        return false;
    for (int i = 0; i < ROLE_COUNT; i++)
        if (c->arguments[i].reorder && roles[op->kind][i].output &&
            failed(reorder(c, &c->arguments[i], true), "reorder", op, err))
            return false;
    if (failed(dnnl_stream_wait(c->stream), "wait", op, err)) return false;
    if (op->convolution.accumulate) accumulate(op, c->arguments[ROLE_SOURCE].scratch, b->out);
    return true;
}

bool dnnl_convolution_plan(struct plan *plan, struct error *err)
{
    const struct op *op = &plan->op;
    struct dnnl_convolution *c = calloc(1, sizeof *c);
    if (!c) return error_set(err, EXIT_CODE_FAILED, "out of memory for a plan");
    struct description d;
    dnnl_primitive_desc_t pd = NULL;
    c->has_bias = op->convolution.bias && op->kind != OP_CONVOLUTION_BACKWARD_DATA;
    bool planned = false;
    if (!description_init(&d, op, c->has_bias, err)) goto done;
    if (failed(dnnl_engine_create(&c->engine, dnnl_cpu, 0), "engine", op, err)) goto done;
    if (failed(dnnl_stream_create(&c->stream, c->engine, dnnl_stream_default_flags), "stream", op,
               err))
        goto done;
    if (failed(create(op, &d, c->engine, &pd), "plan", op, err)) goto done;
    if (!scratchpad_init(plan, c, pd, err)) goto done;
    if (failed(dnnl_primitive_create(&c->primitive, pd), "kernel", op, err)) goto done;
    planned = arguments_init(c, op, &d, pd, err);
done:
    if (pd) dnnl_primitive_desc_destroy(pd);
    description_release(&d);
    if (!planned) {
        release(c);
        return false;
    }
    plan->detail = c;
    plan->release = release;
    plan->load = load;
    plan->execute = execute;
    plan->bytes = c->bytes;
    return true;
}
