/* Checks of tensors and operations, and interpretation of graphs; see the header. An unsupported
 * graph finalises all the same: as in cuDNN, the heuristics then return no engine. */
#include "cudnn_problem.h"

#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"

cudnnStatus_t finalise_tensor(struct node *node)
{
    const int64_t *dims = node_elements(node, CUDNN_ATTR_TENSOR_DIMENSIONS);
    const int64_t *strides = node_elements(node, CUDNN_ATTR_TENSOR_STRIDES);
    const int64_t count = node_count(node, CUDNN_ATTR_TENSOR_DIMENSIONS);
    const int64_t alignment = node_integer(node, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 0);
    if (node_count(node, CUDNN_ATTR_TENSOR_STRIDES) != count)
        return cudnn_refuse(CUDNN_STATUS_BAD_PARAM,
                            "a tensor's dimensions and strides differ in number");
    for (int64_t i = 0; i < count; i++)
        if (dims[i] < 1 || strides[i] < 1)
            return cudnn_refuse(CUDNN_STATUS_BAD_PARAM,
                                "dimension or stride %lld of a tensor is not positive",
                                (long long)i);
    if (alignment < 1 || (alignment & (alignment - 1)))
        return cudnn_refuse(CUDNN_STATUS_BAD_PARAM, "%lld is no alignment", (long long)alignment);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t finalise_convolution(struct node *node)
{
    static const struct {
        cudnnBackendAttributeName_t name;
        int64_t least;
    } arrays[] = { { CUDNN_ATTR_CONVOLUTION_DILATIONS, 1 },
                   { CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, 1 },
                   { CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, 0 },
                   { CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, 0 } };
    const int64_t spatial = node_integer(node, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 0);
    for (size_t a = 0; a < COUNT_OF(arrays); a++) {
        const int64_t *values = node_elements(node, arrays[a].name);
        if (node_count(node, arrays[a].name) != spatial)
            return cudnn_refuse(CUDNN_STATUS_BAD_PARAM,
                                "attribute %d is not one for each spatial dimension",
                                arrays[a].name);
        for (int64_t i = 0; i < spatial; i++)
            if (values[i] < arrays[a].least)
                return cudnn_refuse(CUDNN_STATUS_BAD_PARAM, "attribute %d is below %lld",
                                    arrays[a].name, (long long)arrays[a].least);
    }
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t finalise_pointwise(struct node *node)
{
    switch (node_enum(node, CUDNN_ATTR_POINTWISE_MODE, -1)) {
    case CUDNN_POINTWISE_ADD:
    case CUDNN_POINTWISE_RELU_FWD:
    case CUDNN_POINTWISE_IDENTITY:
        return CUDNN_STATUS_SUCCESS;
    }
    return cudnn_refuse(CUDNN_STATUS_NOT_SUPPORTED, "this pointwise mode is not simulated");
}

/* --- operations --- */

/* Attributes of the three convolution operations. */
static const struct convolution_names {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t convolution, x, w, y, alpha, beta;
    enum simulated_dnn_form form;
} convolutions[] = {
    { CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, SIMULATED_FORWARD },
    { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, SIMULATED_BACKWARD_DATA },
    { CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
      CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA, SIMULATED_BACKWARD_FILTER },
};

static const struct convolution_names *names_of(const struct node *operation)
{
    for (size_t i = 0; i < COUNT_OF(convolutions); i++)
        if (convolutions[i].type == node_type(operation)) return &convolutions[i];
    return NULL;
}

static cudnnStatus_t check_convolution(const struct node *operation,
                                       const struct convolution_names *names)
{
    const struct node *tensors[3] = { node_child(operation, names->x),
                                      node_child(operation, names->w),
                                      node_child(operation, names->y) };
    const struct node *convolution = node_child(operation, names->convolution);
    const int64_t spatial = node_integer(convolution, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 0);
    for (int t = 0; t < 3; t++)
        if (node_count(tensors[t], CUDNN_ATTR_TENSOR_DIMENSIONS) != spatial + 2)
            return cudnn_refuse(CUDNN_STATUS_BAD_PARAM,
                                "a tensor does not have the convolution's spatial dimensions");
    const int64_t *x = node_elements(tensors[0], CUDNN_ATTR_TENSOR_DIMENSIONS);
    const int64_t *w = node_elements(tensors[1], CUDNN_ATTR_TENSOR_DIMENSIONS);
    const int64_t *y = node_elements(tensors[2], CUDNN_ATTR_TENSOR_DIMENSIONS);
    const int64_t *pre = node_elements(convolution, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
    const int64_t *post = node_elements(convolution, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS);
    const int64_t *stride = node_elements(convolution, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
    const int64_t *dilation = node_elements(convolution, CUDNN_ATTR_CONVOLUTION_DILATIONS);
    bool fits = x[0] == y[0] && x[1] % w[1] == 0 && y[1] == w[0];
    for (int64_t i = 0; i < spatial; i++) {
        const int64_t reach = x[i + 2] + pre[i] + post[i] - dilation[i] * (w[i + 2] - 1) - 1;
        fits = fits && reach >= 0 && y[i + 2] == reach / stride[i] + 1;
    }
    if (!fits)
        return cudnn_refuse(CUDNN_STATUS_BAD_PARAM,
                            "the shapes of x, w and y do not fit the convolution");
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t finalise_operation(struct node *node)
{
    const struct convolution_names *names = names_of(node);
    if (names) return check_convolution(node, names);
    const int mode = node_enum(node_child(node, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR),
                               CUDNN_ATTR_POINTWISE_MODE, -1);
    if (mode == CUDNN_POINTWISE_ADD && !node_child(node, CUDNN_ATTR_OPERATION_POINTWISE_BDESC))
        return cudnn_refuse(CUDNN_STATUS_BAD_PARAM, "an addition needs a second operand");
    return CUDNN_STATUS_SUCCESS;
}

/* --- graphs --- */

static struct problem_tensor read_tensor(const struct node *node)
{
    struct problem_tensor t = {
        .type = (cudnnDataType_t)node_enum(node, CUDNN_ATTR_TENSOR_DATA_TYPE, 0),
        .uid = node_integer(node, CUDNN_ATTR_TENSOR_UNIQUE_ID, 0),
        .alignment = node_integer(node, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 0)
    };
    const int64_t *dims = node_elements(node, CUDNN_ATTR_TENSOR_DIMENSIONS);
    const int64_t *strides = node_elements(node, CUDNN_ATTR_TENSOR_STRIDES);
    for (int64_t i = 0; i < 4 && i < node_count(node, CUDNN_ATTR_TENSOR_DIMENSIONS); i++) {
        t.dims[i] = dims[i];
        t.strides[i] = strides[i];
    }
    return t;
}

static bool is_virtual(const struct node *tensor)
{
    const bool *value = node_elements(tensor, CUDNN_ATTR_TENSOR_IS_VIRTUAL);
    return value && *value;
}

static float read_float(const struct node *node, cudnnBackendAttributeName_t name, float otherwise)
{
    const float *value = node_elements(node, name);
    return value ? *value : otherwise;
}

static struct convolution_shape read_shape(const struct problem *problem,
                                           const struct node *convolution)
{
    const int64_t *x = problem->x.dims, *w = problem->w.dims, *y = problem->y.dims;
    struct convolution_shape shape = { .n = x[0],
                                       .c = x[1],
                                       .h = x[2],
                                       .w = x[3],
                                       .k = y[1],
                                       .oh = y[2],
                                       .ow = y[3],
                                       .r = w[2],
                                       .s = w[3] };
    memcpy(shape.stride, node_elements(convolution, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES),
           sizeof shape.stride);
    memcpy(shape.dilation, node_elements(convolution, CUDNN_ATTR_CONVOLUTION_DILATIONS),
           sizeof shape.dilation);
    memcpy(shape.pad, node_elements(convolution, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS),
           sizeof shape.pad);
    return shape;
}

static bool read_convolution(struct problem *problem, const struct node *operation,
                             const struct convolution_names *names)
{
    const struct node *convolution = node_child(operation, names->convolution);
    problem->form = names->form;
    problem->x = read_tensor(node_child(operation, names->x));
    problem->w = read_tensor(node_child(operation, names->w));
    problem->y = read_tensor(node_child(operation, names->y));
    problem->alpha = read_float(operation, names->alpha, 1);
    problem->beta = read_float(operation, names->beta, 0);
    if (node_integer(convolution, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 0) != 2 ||
        node_enum(convolution, CUDNN_ATTR_CONVOLUTION_CONV_MODE, -1) != CUDNN_CROSS_CORRELATION ||
        node_enum(convolution, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, -1) != CUDNN_DATA_FLOAT)
        return false;
    problem->shape = read_shape(problem, convolution);
    return problem->w.dims[1] == problem->shape.c;
}

/* Whether the tensor is one value per channel. */
static bool is_bias(const struct problem_tensor *b, const struct problem *problem)
{
    return b->dims[0] == 1 && b->dims[1] == problem->shape.k && b->dims[2] == 1 && b->dims[3] == 1;
}

/* Add the pointwise operation that reads problem->y to the problem. */
static bool fuse(struct problem *problem, const struct node *operation)
{
    const struct node *pointwise = node_child(operation,
                                              CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    const struct node *b = node_child(operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
    if (read_float(operation, CUDNN_ATTR_OPERATION_POINTWISE_ALPHA1, 1) != 1 ||
        read_float(operation, CUDNN_ATTR_OPERATION_POINTWISE_ALPHA2, 1) != 1 ||
        node_enum(pointwise, CUDNN_ATTR_POINTWISE_MATH_PREC, -1) != CUDNN_DATA_FLOAT)
        return false;
    const struct problem_tensor before = problem->y;
    problem->y = read_tensor(node_child(operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
    if (memcmp(before.dims, problem->y.dims, sizeof before.dims) != 0) return false;
    switch (node_enum(pointwise, CUDNN_ATTR_POINTWISE_MODE, -1)) {
    case CUDNN_POINTWISE_IDENTITY:
        return true;
    case CUDNN_POINTWISE_ADD:
        if (problem->form != SIMULATED_FORWARD || is_virtual(b)) return false;
        problem->bias = read_tensor(b);
        problem->form = SIMULATED_FORWARD_BIAS;
        return is_bias(&problem->bias, problem);
    case CUDNN_POINTWISE_RELU_FWD:
        if (problem->form > SIMULATED_FORWARD_BIAS) return false;
        problem->form = problem->form == SIMULATED_FORWARD ? SIMULATED_FORWARD_RELU
                                                           : SIMULATED_FORWARD_BIAS_RELU;
        return true;
    }
    return false;
}

static const struct node *reader_of(const struct problem_tensor *tensor,
                                    struct node *const *operations, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!names_of(operations[i]) &&
            node_integer(node_child(operations[i], CUDNN_ATTR_OPERATION_POINTWISE_XDESC),
                         CUDNN_ATTR_TENSOR_UNIQUE_ID, 0) == tensor->uid)
            return operations[i];
    return NULL;
}

/* Operations may be listed in any order: each is found by the tensor that it reads. */
static bool read_graph(struct problem *problem, struct node *const *operations, int64_t count)
{
    const struct node *output = NULL;
    int convolutions_found = 0;
    for (int64_t i = 0; i < count; i++) {
        const struct convolution_names *names = names_of(operations[i]);
        if (!names) continue;
        convolutions_found++;
        if (!read_convolution(problem, operations[i], names)) return false;
        if (is_virtual(node_child(operations[i], names->x)) ||
            is_virtual(node_child(operations[i], names->w)))
            return false;
        output = node_child(operations[i], names->y);
    }
    if (convolutions_found != 1 || (count > 1 && problem->form != SIMULATED_FORWARD)) return false;
    for (int64_t i = 1; i < count; i++) {
        const struct node *reader = reader_of(&problem->y, operations, count);
        if (!reader || !is_virtual(output) || !fuse(problem, reader)) return false;
        output = node_child(reader, CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
    }
    return !is_virtual(output) && (count == 1 || (problem->alpha == 1 && problem->beta == 0));
}

cudnnStatus_t finalise_graph(struct node *node)
{
    struct problem *problem = calloc(1, sizeof *problem);
    node->detail = problem;
    if (!read_graph(problem, node_elements(node, CUDNN_ATTR_OPERATIONGRAPH_OPS),
                    node_count(node, CUDNN_ATTR_OPERATIONGRAPH_OPS)))
        problem->form = SIMULATED_FORMS;
    const int64_t uids[4] = { problem->x.uid, problem->w.uid, problem->y.uid, problem->bias.uid };
    for (int i = 1; i < (problem_has_bias(problem) ? 4 : 3); i++)
        for (int j = 0; j < i && problem->form != SIMULATED_FORMS; j++)
            if (uids[i] == uids[j])
                sim_defect("cuDNN: two tensors of a graph have the unique id %lld",
                           (long long)uids[i]);
    return CUDNN_STATUS_SUCCESS;
}

const struct problem *graph_problem(const struct node *graph)
{
    return graph->detail;
}

bool problem_has_bias(const struct problem *problem)
{
    return problem->form == SIMULATED_FORWARD_BIAS || problem->form == SIMULATED_FORWARD_BIAS_RELU;
}

bool problem_has_relu(const struct problem *problem)
{
    return problem->form == SIMULATED_FORWARD_RELU || problem->form == SIMULATED_FORWARD_BIAS_RELU;
}

const struct problem_tensor *problem_output(const struct problem *problem)
{
    return problem->form == SIMULATED_BACKWARD_DATA     ? &problem->x
           : problem->form == SIMULATED_BACKWARD_FILTER ? &problem->w
                                                        : &problem->y;
}

enum element element_of(cudnnDataType_t type)
{
    return type == CUDNN_DATA_BFLOAT16 ? ELEMENT_BF16 : ELEMENT_F32;
}

size_t tensor_extent(const struct problem_tensor *t)
{
    int64_t last = 0;
    for (int i = 0; i < 4; i++) last += (t->dims[i] - 1) * t->strides[i];
    return (size_t)(last + 1) * (t->type == CUDNN_DATA_BFLOAT16 ? 2 : 4);
}
