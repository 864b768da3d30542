/* Building descriptors, walking cuDNN's engines, running plans; see the header. */
#include "cudnn_graph.h"

#include <stdlib.h>
#include <string.h>

enum { CANDIDATES_MAX = 128, DESCRIPTORS_MAX = 16, ALIGNMENT = 16 };

static bool set(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t count, const void *values,
                struct error *err)
{
    return CUDNN_OK(cudnnBackendSetAttribute(descriptor, name, type, count, values), err);
}

static bool set_descriptor(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                           cudnnBackendDescriptor_t value, struct error *err)
{
    return set(descriptor, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value, err);
}

static bool set_integer(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                        int64_t value, struct error *err)
{
    return set(descriptor, name, CUDNN_TYPE_INT64, 1, &value, err);
}

static bool set_float(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                      float value, struct error *err)
{
    return set(descriptor, name, CUDNN_TYPE_FLOAT, 1, &value, err);
}

static bool set_type(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                     cudnnDataType_t value, struct error *err)
{
    return set(descriptor, name, CUDNN_TYPE_DATA_TYPE, 1, &value, err);
}

static bool create(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *descriptor,
                   struct error *err)
{
    return CUDNN_OK(cudnnBackendCreateDescriptor(type, descriptor), err);
}

static bool finalize(cudnnBackendDescriptor_t descriptor, struct error *err)
{
    return CUDNN_OK(cudnnBackendFinalize(descriptor), err);
}

static void destroy(cudnnBackendDescriptor_t *descriptor)
{
    if (*descriptor) CUDNN_RELEASE(cudnnBackendDestroyDescriptor(*descriptor));
    *descriptor = NULL;
}

/* --- targets --- */

static bool target_init(struct cudnn_target *target, cudnnBackendAttributeName_t name,
                        cudnnBackendAttributeType_t type, int64_t count, const void *value,
                        struct error *err)
{
    *target = (struct cudnn_target) { 0 };
    if (create(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &target->device, err) &&
        set(target->device, name, type, count, value, err) && finalize(target->device, err))
        return true;
    cudnn_target_release(target);
    return false;
}

bool cudnn_target_handle(struct cudnn_target *target, cudnnHandle_t handle, struct error *err)
{
    return target_init(target, CUDNN_ATTR_DEVICEPROP_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle, err);
}

bool cudnn_target_json(struct cudnn_target *target, const char *json, struct error *err)
{
    return target_init(target, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                       (int64_t)strlen(json), json, err);
}

void cudnn_target_release(struct cudnn_target *target)
{
    destroy(&target->device);
}

/* --- the graph --- */

/* An operation graph and all it is made of. Plans keep what they need of it. */
struct cudnn_graph {
    cudnnBackendDescriptor_t descriptors[DESCRIPTORS_MAX]; /* in the order they were made */
    int count;
    cudnnBackendDescriptor_t graph;
};

static bool add(struct cudnn_graph *graph, cudnnBackendDescriptorType_t type,
                cudnnBackendDescriptor_t *descriptor, struct error *err)
{
    CHECK(graph->count < DESCRIPTORS_MAX);
    if (!create(type, descriptor, err)) return false;
    graph->descriptors[graph->count++] = *descriptor;
    return true;
}

static cudnnDataType_t data_type(enum dtype dtype)
{
    return dtype == DTYPE_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

/* Slices are cut at multiples of 16 bytes where the whole pixel is one, and anywhere else. */
int64_t cudnn_alignment(const struct tensor *t)
{
    const size_t element = dtype_bytes(t->dtype);
    const bool slice = t->pixel_stride != t->c;
    return slice && (size_t)t->pixel_stride * element % ALIGNMENT ? (int64_t)element : ALIGNMENT;
}

struct layout {
    cudnnDataType_t type;
    int64_t uid, alignment;
    int64_t dims[4]; /* n, c, h, w; in memory n, h, w, c */
    int64_t pixel_stride;
    bool virtual;
};

static bool add_tensor(struct cudnn_graph *graph, const struct layout *l,
                       cudnnBackendDescriptor_t *tensor, struct error *err)
{
    const int64_t row = l->dims[3] * l->pixel_stride;
    const int64_t strides[4] = { l->dims[2] * row, 1, row, l->pixel_stride };
    return add(graph, CUDNN_BACKEND_TENSOR_DESCRIPTOR, tensor, err) &&
           set_type(*tensor, CUDNN_ATTR_TENSOR_DATA_TYPE, l->type, err) &&
           set(*tensor, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, l->dims, err) &&
           set(*tensor, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides, err) &&
           set_integer(*tensor, CUDNN_ATTR_TENSOR_UNIQUE_ID, l->uid, err) &&
           set_integer(*tensor, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, l->alignment, err) &&
           set(*tensor, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &l->virtual, err) &&
           finalize(*tensor, err);
}

static struct layout view_layout(const struct tensor *t, enum cudnn_tensor uid)
{
    return (struct layout) { .type = data_type(t->dtype),
                             .uid = uid,
                             .alignment = cudnn_alignment(t),
                             .dims = { t->n, t->c, t->h, t->w },
                             .pixel_stride = t->pixel_stride };
}

static struct layout weights_layout(const struct op *op)
{
    const struct op_window *window = &op->convolution.window;
    return (struct layout) { .type = data_type(op->x.dtype),
                             .uid = CUDNN_W,
                             .alignment = ALIGNMENT,
                             .dims = { op->y.c, op->x.c, window->kernel_h, window->kernel_w },
                             .pixel_stride = op->x.c };
}

static struct layout bias_layout(const struct op *op)
{
    return (struct layout) { .type = CUDNN_DATA_FLOAT,
                             .uid = CUDNN_BIAS,
                             .alignment = ALIGNMENT,
                             .dims = { 1, op->y.c, 1, 1 },
                             .pixel_stride = op->y.c };
}

/* What lies between the operations of a fused graph: dense F32 that is never stored. */
static struct layout between_layout(const struct op *op, int64_t uid)
{
    const struct tensor *y = &op->y;
    return (struct layout) { .type = CUDNN_DATA_FLOAT,
                             .uid = uid,
                             .alignment = ALIGNMENT,
                             .dims = { y->n, y->c, y->h, y->w },
                             .pixel_stride = y->c,
                             .virtual = true };
}

static bool add_convolution(struct cudnn_graph *graph, const struct op *op,
                            cudnnBackendDescriptor_t *convolution, struct error *err)
{
    const struct op_window *w = &op->convolution.window;
    const int64_t pads[2] = { w->pad_h, w->pad_w }, dilations[2] = { 1, 1 };
    /* Padding behind the last pixel, such that the kernel fits the outputs exactly. */
    const int64_t behind[2] = {
        (int64_t)(op->y.h - 1) * w->stride + w->kernel_h - op->x.h - w->pad_h,
        (int64_t)(op->y.w - 1) * w->stride + w->kernel_w - op->x.w - w->pad_w
    };
    const int64_t posts[2] = { behind[0] > 0 ? behind[0] : 0, behind[1] > 0 ? behind[1] : 0 };
    const int64_t strides[2] = { w->stride, w->stride };
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    return add(graph, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, convolution, err) &&
           set_type(*convolution, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT, err) &&
           set(*convolution, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1,
               &mode, err) &&
           set_integer(*convolution, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 2, err) &&
           set(*convolution, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilations,
               err) &&
           set(*convolution, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, strides,
               err) &&
           set(*convolution, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pads, err) &&
           set(*convolution, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, posts,
               err) &&
           finalize(*convolution, err);
}

/* The three kinds differ in names only. */
static const struct kind_names {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t convolution, x, w, y, alpha, beta;
} kind_names[] = {
    [OP_CONVOLUTION] = {
        CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
    },
    [OP_CONVOLUTION_BACKWARD_DATA] = {
        CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
    },
    [OP_CONVOLUTION_BACKWARD_FILTER] = {
        CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
    },
};

/* The convolution itself; its y may be a tensor between operations. */
static bool add_kind(struct cudnn_graph *graph, const struct op *op, cudnnBackendDescriptor_t y,
                     cudnnBackendDescriptor_t *operation, struct error *err)
{
    const struct kind_names *names = &kind_names[op->kind];
    const struct layout x_layout = view_layout(&op->x, CUDNN_X), w_layout = weights_layout(op);
    cudnnBackendDescriptor_t x, w, convolution;
    return add_tensor(graph, &x_layout, &x, err) && add_tensor(graph, &w_layout, &w, err) &&
           add_convolution(graph, op, &convolution, err) &&
           add(graph, names->type, operation, err) &&
           set_descriptor(*operation, names->convolution, convolution, err) &&
           set_descriptor(*operation, names->x, x, err) &&
           set_descriptor(*operation, names->w, w, err) &&
           set_descriptor(*operation, names->y, y, err) &&
           set_float(*operation, names->alpha, 1, err) &&
           set_float(*operation, names->beta, op->convolution.accumulate, err) &&
           finalize(*operation, err);
}

static bool add_pointwise(struct cudnn_graph *graph, cudnnPointwiseMode_t mode,
                          cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t b,
                          cudnnBackendDescriptor_t y, cudnnBackendDescriptor_t *operation,
                          struct error *err)
{
    cudnnBackendDescriptor_t pointwise;
    return add(graph, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, &pointwise, err) &&
           set(pointwise, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode, err) &&
           set_type(pointwise, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT, err) &&
           finalize(pointwise, err) &&
           add(graph, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, operation, err) &&
           set_descriptor(*operation, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise,
                          err) &&
           set_descriptor(*operation, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x, err) &&
           (!b || set_descriptor(*operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b, err)) &&
           set_descriptor(*operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y, err) &&
           finalize(*operation, err);
}

/* Forward: convolution, then bias, then ReLU, as far as the op has them; what one writes the next
 * one reads. */
static bool add_operations(struct cudnn_graph *graph, const struct op *op,
                           cudnnBackendDescriptor_t operations[3], int *count, struct error *err)
{
    const bool forward = op->kind == OP_CONVOLUTION;
    const bool bias = forward && op->convolution.bias, relu = forward && op->convolution.relu;
    const int steps = 1 + bias + relu;
    const struct layout y_layout = view_layout(&op->y, CUDNN_Y), b_layout = bias_layout(op);
    cudnnBackendDescriptor_t outputs[3], b = NULL;
    for (int i = 0; i < steps; i++) {
        const struct layout between = between_layout(op, CUDNN_TENSORS + i);
        if (!add_tensor(graph, i == steps - 1 ? &y_layout : &between, &outputs[i], err))
            return false;
    }
    *count = steps;
    if (!add_kind(graph, op, outputs[0], &operations[0], err)) return false;
    if (bias && !(add_tensor(graph, &b_layout, &b, err) &&
                  add_pointwise(graph, CUDNN_POINTWISE_ADD, outputs[0], b, outputs[1],
                                &operations[1], err)))
        return false;
    return !relu || add_pointwise(graph, CUDNN_POINTWISE_RELU_FWD, outputs[steps - 2], NULL,
                                  outputs[steps - 1], &operations[steps - 1], err);
}

static void graph_release(struct cudnn_graph *graph)
{
    while (graph->count > 0) destroy(&graph->descriptors[--graph->count]);
    graph->graph = NULL;
}

static bool graph_init(struct cudnn_graph *graph, const struct op *op, struct error *err)
{
    CHECK(op->kind <= OP_CONVOLUTION_BACKWARD_FILTER && op->x.dtype == op->y.dtype);
    *graph = (struct cudnn_graph) { 0 };
    cudnnBackendDescriptor_t operations[3];
    int count;
    if (add_operations(graph, op, operations, &count, err) &&
        add(graph, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &graph->graph, err) &&
        set(graph->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count,
            operations, err) &&
        finalize(graph->graph, err))
        return true;
    graph_release(graph);
    return false;
}

/* --- plans --- */

void cudnn_plan_release(struct cudnn_plan *plan)
{
    destroy(&plan->pack);
    destroy(&plan->plan);
    destroy(&plan->config);
    *plan = (struct cudnn_plan) { 0 };
}

/* Whether the engine computes as exactly, and as repeatably, as asked. */
static bool engine_fits(cudnnBackendDescriptor_t engine, const struct op *op,
                        const struct cudnn_limits *limits, struct error *err)
{
    cudnnBackendNumericalNote_t notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t count = 0;
    if (!CUDNN_OK(cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                           CUDNN_TYPE_NUMERICAL_NOTE,
                                           CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count, notes),
                  err))
        return false;
    for (int i = 0; i < count; i++) {
        if (notes[i] == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)
            return error_set(err, EXIT_CODE_FAILED, "its sums come in no fixed order");
        const bool narrower = notes[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS ||
                              (notes[i] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE &&
                               !limits->tensor_cores);
        if (op->x.dtype == DTYPE_F32 && narrower)
            return error_set(err, EXIT_CODE_FAILED, "it computes with fewer bits than float32");
    }
    return true;
}

static bool read_workspace(struct cudnn_plan *plan, const struct cudnn_limits *limits,
                           struct error *err)
{
    int64_t workspace = 0, one;
    if (!CUDNN_OK(cudnnBackendGetAttribute(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                           CUDNN_TYPE_INT64, 1, &one, &workspace),
                  err))
        return false;
    plan->workspace_bytes = (size_t)workspace;
    if (plan->workspace_bytes <= limits->workspace_bytes) return true;
    return error_set(err, EXIT_CODE_FAILED, "it needs %.1f MiB of workspace, more than %.1f MiB",
                     (double)workspace / (1 << 20), (double)limits->workspace_bytes / (1 << 20));
}

/* Takes over the configuration. */
static bool plan_from_config(struct cudnn_plan *plan, cudnnBackendDescriptor_t config,
                             const struct op *op, const struct cudnn_target *target,
                             const struct cudnn_limits *limits, struct error *err)
{
    cudnnBackendDescriptor_t engine = NULL;
    int64_t one;
    *plan = (struct cudnn_plan) { .config = config };
    const bool ok =
        create(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine, err) &&
        CUDNN_OK(cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE,
                                          CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &one, &engine),
                 err) &&
        CUDNN_OK(cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64,
                                          1, &one, &plan->engine),
                 err) &&
        engine_fits(engine, op, limits, err) &&
        create(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan->plan, err) &&
        set_descriptor(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config, err) &&
        set_descriptor(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, target->device, err) &&
        finalize(plan->plan, err) && read_workspace(plan, limits, err);
    destroy(&engine);
    if (!ok) cudnn_plan_release(plan);
    return ok;
}

/* cuDNN's list for one mode of its heuristics. */
static bool list_configs(const struct cudnn_graph *graph, const struct cudnn_target *target,
                         cudnnBackendHeurMode_t mode, cudnnBackendDescriptor_t *configs, int *count,
                         struct error *err)
{
    cudnnBackendDescriptor_t heuristics = NULL;
    int64_t found = 0;
    *count = 0;
    bool ok = create(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristics, err) &&
              set_descriptor(heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph->graph,
                             err) &&
              set(heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode, err) &&
              set_descriptor(heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, target->device, err) &&
              finalize(heuristics, err) &&
              CUDNN_OK(cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                                CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &found, NULL),
                       err);
    if (found > CANDIDATES_MAX) found = CANDIDATES_MAX;
    for (; ok && *count < found; ++*count)
        ok = create(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &configs[*count], err);
    const int made = *count;
    if (ok && found > 0)
        ok = CUDNN_OK(cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                               CUDNN_TYPE_BACKEND_DESCRIPTOR, found, &found,
                                               configs),
                      err);
    *count = ok ? (int)found : 0;
    for (int i = *count; i < made; i++) destroy(&configs[i]);
    destroy(&heuristics);
    return ok;
}

bool cudnn_plan_op(struct cudnn_plan *plans, int most, int *count, const struct op *op,
                   const struct cudnn_target *target, const struct cudnn_limits *limits,
                   struct error *err)
{
    static const cudnnBackendHeurMode_t modes[] = { CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_B,
                                                    CUDNN_HEUR_MODE_FALLBACK };
    struct cudnn_graph graph;
    struct error refusal = { 0 };
    int tried = 0;
    *count = 0;
    if (!graph_init(&graph, op, err)) return false;
    for (size_t m = 0; m < sizeof modes / sizeof *modes && *count == 0; m++) {
        cudnnBackendDescriptor_t configs[CANDIDATES_MAX] = { NULL };
        int listed;
        error_clear(&refusal);
        if (!list_configs(&graph, target, modes[m], configs, &listed, &refusal)) continue;
        for (int i = 0; i < listed; i++) {
            if (*count == most) {
                destroy(&configs[i]);
                continue;
            }
            tried++;
            error_clear(&refusal);
            *count += plan_from_config(&plans[*count], configs[i], op, target, limits, &refusal);
        }
    }
    graph_release(&graph);
    if (*count > 0) return true;
    return error_set(err, EXIT_CODE_FAILED, "cuDNN has no engine (%d tried): %.800s", tried,
                     refusal.message[0] ? refusal.message : "none is listed");
}

bool cudnn_plan_serialize(const struct cudnn_plan *plan, char **json, size_t *size,
                          struct error *err)
{
    int64_t length = 0;
    *json = NULL;
    if (!CUDNN_OK(cudnnBackendGetAttribute(plan->plan,
                                           CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                           CUDNN_TYPE_CHAR, 0, &length, NULL),
                  err))
        return false;
    *json = malloc((size_t)length + 1);
    if (!*json) return error_set(err, EXIT_CODE_FAILED, "out of memory for a plan of cuDNN");
    if (!CUDNN_OK(cudnnBackendGetAttribute(plan->plan,
                                           CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                           CUDNN_TYPE_CHAR, length, &length, *json),
                  err)) {
        free(*json);
        *json = NULL;
        return false;
    }
    *size = (size_t)length;
    return true;
}

bool cudnn_plan_load(struct cudnn_plan *plan, const char *json, size_t size, int64_t engine,
                     const struct cudnn_target *target, const struct cudnn_limits *limits,
                     struct error *err)
{
    *plan = (struct cudnn_plan) { .engine = engine };
    if (create(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan->plan, err) &&
        set_descriptor(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, target->device, err) &&
        set(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
            (int64_t)size, json, err) &&
        finalize(plan->plan, err) && read_workspace(plan, limits, err))
        return true;
    cudnn_plan_release(plan);
    return false;
}

/* --- running --- */

static bool make_pack(struct cudnn_plan *plan, void *const tensors[CUDNN_TENSORS], void *workspace,
                      struct error *err)
{
    int64_t uids[CUDNN_TENSORS];
    void *pointers[CUDNN_TENSORS];
    int count = 0;
    for (int t = 0; t < CUDNN_TENSORS; t++) {
        plan->pointers[t] = tensors[t];
        if (!tensors[t]) continue;
        uids[count] = t;
        pointers[count++] = tensors[t];
    }
    plan->pointers[CUDNN_TENSORS] = workspace;
    return create(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &plan->pack, err) &&
           set(plan->pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, uids,
               err) &&
           set(plan->pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count,
               pointers, err) &&
           set(plan->pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace,
               err) &&
           finalize(plan->pack, err);
}

bool cudnn_plan_run(struct cudnn_plan *plan, cudnnHandle_t handle,
                    void *const tensors[CUDNN_TENSORS], void *workspace, struct error *err)
{
    const bool same = plan->pack && plan->pointers[CUDNN_TENSORS] == workspace &&
                      memcmp(plan->pointers, tensors, CUDNN_TENSORS * sizeof *tensors) == 0;
    if (!same) {
        destroy(&plan->pack);
        if (!make_pack(plan, tensors, workspace, err)) return false;
    }
    return CUDNN_OK(cudnnBackendExecute(handle, plan->plan, plan->pack), err);
}
