/* Descriptors and plans of one convolution; see the header. */
#include "convolution_problem.h"

#include <stdlib.h>

descriptor descriptor_create(cudnnBackendDescriptorType_t type)
{
    descriptor d;
    expect_cudnn(cudnnBackendCreateDescriptor(type, &d));
    return d;
}

void descriptor_set(descriptor d, cudnnBackendAttributeName_t name,
                    cudnnBackendAttributeType_t type, int64_t count, const void *values)
{
    expect_cudnn(cudnnBackendSetAttribute(d, name, type, count, values));
}

void descriptor_set_child(descriptor d, cudnnBackendAttributeName_t name, descriptor child)
{
    descriptor_set(d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &child);
}

void descriptor_destroy(descriptor d)
{
    expect_cudnn(cudnnBackendDestroyDescriptor(d));
}

descriptor raw_tensor_descriptor(cudnnDataType_t type, const int64_t dims[4], int64_t pixel_stride,
                                 int64_t uid, bool virtual)
{
    const descriptor d = descriptor_create(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    const int64_t row = dims[3] * pixel_stride, alignment = 8;
    const int64_t strides[4] = { dims[2] * row, 1, row, pixel_stride };
    descriptor_set(d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    descriptor_set(d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims);
    descriptor_set(d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
    descriptor_set(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid);
    descriptor_set(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    descriptor_set(d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &virtual);
    return d;
}

static cudnnDataType_t data_type(enum dtype dtype)
{
    return dtype == DTYPE_F32 ? CUDNN_DATA_FLOAT : CUDNN_DATA_BFLOAT16;
}

descriptor tensor_descriptor(const struct array *a, int64_t uid, bool virtual)
{
    const struct tensor *t = &a->tensor;
    const int64_t dims[4] = { t->n, t->c, t->h, t->w };
    const descriptor d = raw_tensor_descriptor(virtual ? CUDNN_DATA_FLOAT : data_type(t->dtype),
                                               dims, virtual ? t->c : t->pixel_stride, uid,
                                               virtual);
    expect_cudnn(cudnnBackendFinalize(d));
    return d;
}

descriptor convolution_descriptor(int64_t stride, int64_t pad)
{
    const descriptor d = descriptor_create(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const int64_t spatial = 2, ones[2] = { 1, 1 }, strides[2] = { stride, stride },
                  pads[2] = { pad, pad };
    descriptor_set(d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    descriptor_set(d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    descriptor_set(d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &spatial);
    descriptor_set(d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, ones);
    descriptor_set(d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, strides);
    descriptor_set(d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pads);
    descriptor_set(d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pads);
    expect_cudnn(cudnnBackendFinalize(d));
    return d;
}

static const struct names {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t convolution, x, w, y, beta;
} names[] = {
    [FORWARD] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                  CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                  CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                  CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                  CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                  CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA },
    [BACKWARD_DATA] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA },
    [BACKWARD_FILTER] = { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA },
};

descriptor convolution_operation(enum direction direction, descriptor c, descriptor x, descriptor w,
                                 descriptor y, float beta)
{
    const descriptor d = descriptor_create(names[direction].type);
    descriptor_set_child(d, names[direction].convolution, c);
    descriptor_set_child(d, names[direction].x, x);
    descriptor_set_child(d, names[direction].w, w);
    descriptor_set_child(d, names[direction].y, y);
    descriptor_set(d, names[direction].beta, CUDNN_TYPE_FLOAT, 1, &beta);
    descriptor_destroy(c);
    descriptor_destroy(x);
    descriptor_destroy(w);
    descriptor_destroy(y);
    return d;
}

static descriptor pointwise_operation(cudnnPointwiseMode_t mode, descriptor x, descriptor b,
                                      descriptor y)
{
    const descriptor p = descriptor_create(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    descriptor_set(p, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    descriptor_set(p, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &type);
    expect_cudnn(cudnnBackendFinalize(p));
    const descriptor d = descriptor_create(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    descriptor_set_child(d, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, p);
    descriptor_set_child(d, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (b) descriptor_set_child(d, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    descriptor_set_child(d, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    expect_cudnn(cudnnBackendFinalize(d));
    descriptor_destroy(p);
    descriptor_destroy(x);
    if (b) descriptor_destroy(b);
    descriptor_destroy(y);
    return d;
}

static descriptor finish_graph(const descriptor *operations, int count)
{
    const descriptor graph = descriptor_create(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    descriptor_set(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count,
                   operations);
    expect_cudnn(cudnnBackendFinalize(graph));
    for (int i = 0; i < count; i++) descriptor_destroy(operations[i]);
    return graph;
}

struct problem problem_make(enum direction direction, enum dtype dtype, int channels)
{
    srand(1);
    struct problem p = { .direction = direction, .stride = 2, .pad = 1 };
    p.x = array_make(dtype, 2, 9, 8, channels, channels, 0);
    p.w = array_make(dtype, 12, 3, 3, channels, channels, 0);
    p.y = array_make(dtype, 2, 5, 4, 12, 40, 16); /* a slice of a concatenated tensor */
    p.bias = array_make(DTYPE_F32, 1, 1, 1, 12, 12, 0);
    return p;
}

void problem_release(struct problem *p)
{
    array_release(&p->x);
    array_release(&p->w);
    array_release(&p->y);
    array_release(&p->bias);
}

descriptor problem_graph(const struct problem *p)
{
    descriptor operations[3];
    int count = 0;
    const int steps = 1 + p->has_bias + p->relu;
    operations[count++] = convolution_operation(
        p->direction, convolution_descriptor(p->stride, p->pad),
        tensor_descriptor(&p->x, UID_X, false), tensor_descriptor(&p->w, UID_W, false),
        tensor_descriptor(&p->y, steps > 1 ? (int64_t)UID_BETWEEN : (int64_t)UID_Y, steps > 1),
        p->accumulate);
    expect_cudnn(cudnnBackendFinalize(operations[0]));
    for (; count < steps; count++) {
        const bool last = count == steps - 1, bias = p->has_bias && count == 1;
        operations[count] = pointwise_operation(
            bias ? CUDNN_POINTWISE_ADD : CUDNN_POINTWISE_RELU_FWD,
            tensor_descriptor(&p->y, UID_BETWEEN + count - 1, true),
            bias ? tensor_descriptor(&p->bias, UID_BIAS, false) : NULL,
            tensor_descriptor(&p->y, last ? (int64_t)UID_Y : (int64_t)UID_BETWEEN + count, !last));
    }
    return finish_graph(operations, count);
}

int configs_list(descriptor graph, cudnnBackendHeurMode_t mode, descriptor configs[ENGINES_MAX],
                 int64_t *promised)
{
    const descriptor h = descriptor_create(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    int64_t count = 0;
    descriptor_set_child(h, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    descriptor_set(h, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    expect_cudnn(cudnnBackendFinalize(h));
    expect_cudnn(cudnnBackendGetAttribute(h, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                          CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, promised, NULL));
    for (int i = 0; i < ENGINES_MAX; i++)
        configs[i] = descriptor_create(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    expect_cudnn(cudnnBackendGetAttribute(h, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                          CUDNN_TYPE_BACKEND_DESCRIPTOR, ENGINES_MAX, &count,
                                          configs));
    descriptor_destroy(h);
    return (int)count;
}

void configs_release(descriptor configs[ENGINES_MAX])
{
    for (int i = 0; i < ENGINES_MAX; i++) descriptor_destroy(configs[i]);
}

cudnnStatus_t plan_try(descriptor config, descriptor *plan, int64_t *workspace)
{
    int64_t count;
    *plan = descriptor_create(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    descriptor_set_child(*plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    const cudnnStatus_t status = cudnnBackendFinalize(*plan);
    if (status == CUDNN_STATUS_SUCCESS)
        expect_cudnn(cudnnBackendGetAttribute(*plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                              CUDNN_TYPE_INT64, 1, &count, workspace));
    return status;
}

descriptor problem_pack(const struct problem *p, void *workspace)
{
    const descriptor pack = descriptor_create(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    const int64_t uids[4] = { UID_X, UID_W, UID_Y, UID_BIAS };
    void *pointers[4] = { array_view(&p->x), array_view(&p->w), array_view(&p->y),
                          array_view(&p->bias) };
    descriptor_set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 4, uids);
    descriptor_set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 4, pointers);
    descriptor_set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    expect_cudnn(cudnnBackendFinalize(pack));
    return pack;
}
