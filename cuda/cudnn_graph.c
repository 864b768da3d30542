/* Builds cuDNN operation graphs: the convolution or gradient, and for the forward pass a pointwise
 * operation each for bias and ReLU. The tensors between operations are virtual. */
#include "cudnn_graph.h"

#include "cudnn_attributes.h"

enum { ALIGNMENT = 16 };

static bool add(struct cudnn_graph *graph, cudnnBackendDescriptorType_t type,
                cudnnBackendDescriptor_t *descriptor, struct error *err)
{
    CHECK(graph->count < CUDNN_DESCRIPTORS_MAX);
    if (!cudnn_create(type, descriptor, err)) return false;
    graph->descriptors[graph->count++] = *descriptor;
    return true;
}

static cudnnDataType_t data_type(enum dtype dtype)
{
    return dtype == DTYPE_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

/* Slices of channels begin at multiples of 16 bytes if the pixel stride is
 * one, else at any element. */
int64_t cudnn_alignment(const struct tensor *t)
{
    const size_t element = dtype_bytes(t->dtype);
    const bool slice = t->pixel_stride != t->c;
    return slice && (size_t)t->pixel_stride * element % ALIGNMENT ? (int64_t)element : ALIGNMENT;
}

struct layout {
    cudnnDataType_t type;
    int64_t uid, alignment;
    int64_t dims[4]; /* n, c, h, w; NHWC in memory */
    int64_t pixel_stride;
    bool virtual;
};

static bool add_tensor(struct cudnn_graph *graph, const struct layout *l,
                       cudnnBackendDescriptor_t *tensor, struct error *err)
{
    const int64_t row = l->dims[3] * l->pixel_stride;
    const int64_t strides[4] = { l->dims[2] * row, 1, row, l->pixel_stride };
    return add(graph, CUDNN_BACKEND_TENSOR_DESCRIPTOR, tensor, err) &&
           cudnn_set_type(*tensor, CUDNN_ATTR_TENSOR_DATA_TYPE, l->type, err) &&
           cudnn_set(*tensor, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, l->dims, err) &&
           cudnn_set(*tensor, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides, err) &&
           cudnn_set_integer(*tensor, CUDNN_ATTR_TENSOR_UNIQUE_ID, l->uid, err) &&
           cudnn_set_integer(*tensor, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, l->alignment, err) &&
           cudnn_set(*tensor, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &l->virtual,
                     err) &&
           cudnn_finalize(*tensor, err);
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

/* A virtual tensor between the operations of a fused graph: F32 that is never stored. */
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
    /* Padding after the last pixel, such that the kernel fits the outputs exactly. */
    const int64_t behind[2] = {
        (int64_t)(op->y.h - 1) * w->stride + w->kernel_h - op->x.h - w->pad_h,
        (int64_t)(op->y.w - 1) * w->stride + w->kernel_w - op->x.w - w->pad_w
    };
    const int64_t posts[2] = { behind[0] > 0 ? behind[0] : 0, behind[1] > 0 ? behind[1] : 0 };
    const int64_t strides[2] = { w->stride, w->stride };
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    return add(graph, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, convolution, err) &&
           cudnn_set_type(*convolution, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT, err) &&
           cudnn_set(*convolution, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1,
                     &mode, err) &&
           cudnn_set_integer(*convolution, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 2, err) &&
           cudnn_set(*convolution, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilations,
                     err) &&
           cudnn_set(*convolution, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2,
                     strides, err) &&
           cudnn_set(*convolution, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pads,
                     err) &&
           cudnn_set(*convolution, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, posts,
                     err) &&
           cudnn_finalize(*convolution, err);
}

/* The three kinds differ in the names of their attributes only. */
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

/* The convolution or gradient; y may be a virtual tensor. */
static bool add_kind(struct cudnn_graph *graph, const struct op *op, cudnnBackendDescriptor_t y,
                     cudnnBackendDescriptor_t *operation, struct error *err)
{
    const struct kind_names *names = &kind_names[op->kind];
    const struct layout x_layout = view_layout(&op->x, CUDNN_X), w_layout = weights_layout(op);
    cudnnBackendDescriptor_t x, w, convolution;
    return add_tensor(graph, &x_layout, &x, err) && add_tensor(graph, &w_layout, &w, err) &&
           add_convolution(graph, op, &convolution, err) &&
           add(graph, names->type, operation, err) &&
           cudnn_set_descriptor(*operation, names->convolution, convolution, err) &&
           cudnn_set_descriptor(*operation, names->x, x, err) &&
           cudnn_set_descriptor(*operation, names->w, w, err) &&
           cudnn_set_descriptor(*operation, names->y, y, err) &&
           cudnn_set_float(*operation, names->alpha, 1, err) &&
           cudnn_set_float(*operation, names->beta, op->convolution.accumulate, err) &&
           cudnn_finalize(*operation, err);
}

static bool add_pointwise(struct cudnn_graph *graph, cudnnPointwiseMode_t mode,
                          cudnnBackendDescriptor_t x, cudnnBackendDescriptor_t b,
                          cudnnBackendDescriptor_t y, cudnnBackendDescriptor_t *operation,
                          struct error *err)
{
    cudnnBackendDescriptor_t pointwise;
    return add(graph, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, &pointwise, err) &&
           cudnn_set(pointwise, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode,
                     err) &&
           cudnn_set_type(pointwise, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT, err) &&
           cudnn_finalize(pointwise, err) &&
           add(graph, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, operation, err) &&
           cudnn_set_descriptor(*operation, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise,
                                err) &&
           cudnn_set_descriptor(*operation, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x, err) &&
           (!b || cudnn_set_descriptor(*operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b, err)) &&
           cudnn_set_descriptor(*operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y, err) &&
           cudnn_finalize(*operation, err);
}

/* Forward: convolution, then bias and ReLU if the op has them, each reading the
 * output of the one before. */
static bool add_operations(struct cudnn_graph *graph, const struct op *op,
                           cudnnBackendDescriptor_t operations[3], int *count, struct error *err)
{
    const bool forward = op->kind == OP_CONVOLUTION;
    const bool bias = forward && op->convolution.bias, relu = forward && op->convolution.relu;
    const int steps = 1 + bias + relu;
    const struct layout y_layout = view_layout(&op->y, CUDNN_Y), b_layout = bias_layout(op);
    cudnnBackendDescriptor_t outputs[3] = { NULL }, b = NULL;
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

void cudnn_graph_release(struct cudnn_graph *graph)
{
    while (graph->count > 0) cudnn_destroy(&graph->descriptors[--graph->count]);
    graph->graph = NULL;
}

bool cudnn_graph_init(struct cudnn_graph *graph, const struct op *op, struct error *err)
{
    CHECK(op->kind <= OP_CONVOLUTION_BACKWARD_FILTER && op->x.dtype == op->y.dtype);
    *graph = (struct cudnn_graph) { 0 };
    cudnnBackendDescriptor_t operations[3];
    int count;
    if (add_operations(graph, op, operations, &count, err) &&
        add(graph, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &graph->graph, err) &&
        cudnn_set(graph->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count,
                  operations, err) &&
        cudnn_finalize(graph->graph, err))
        return true;
    cudnn_graph_release(graph);
    return false;
}
