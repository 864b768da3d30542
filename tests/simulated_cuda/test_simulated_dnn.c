/* The simulated cuDNN and cuBLASLt: results against naive loops, and refusals as the real libraries
 * refuse. */
#include <criterion/criterion.h>
#include <cublasLt.h>
#include <cudnn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "micromet/nn/tensor.h"
#include "simulated_control.h"
#include "simulated_dnn_control.h"

typedef cudnnBackendDescriptor_t descriptor;

enum uid { UID_X, UID_W, UID_Y, UID_BIAS, UID_BETWEEN };
enum { ENGINES_MAX = 64 };

static void expect_cudnn(cudnnStatus_t status)
{
    char why[256];
    cudnnGetLastErrorString(why, sizeof why);
    cr_assert_eq(status, CUDNN_STATUS_SUCCESS, "%s: %s", cudnnGetErrorString(status), why);
}

static void expect_cublas(cublasStatus_t status)
{
    cr_assert_eq(status, CUBLAS_STATUS_SUCCESS, "%s", cublasLtGetStatusName(status));
}

static void expect_cuda(cudaError_t status)
{
    cr_assert_eq(status, cudaSuccess, "%s", cudaGetErrorName(status));
}

/* --- memory --- */

struct array { /* NHWC view with a host copy; the whole allocation has `bytes` */
    struct tensor tensor;
    size_t bytes;
    int first; /* channel of the allocation's pixel that the view begins with */
    unsigned char *host, *device;
};

static struct array make_array(enum dtype dtype, int n, int h, int w, int c, int pixel_stride,
                               int first)
{
    struct array a = {
        .tensor = { .dtype = dtype, .n = n, .h = h, .w = w, .c = c, .pixel_stride = pixel_stride },
        .first = first
    };
    a.bytes = tensor_bytes(&a.tensor);
    a.host = malloc(a.bytes);
    for (size_t i = 0; i < a.bytes / dtype_bytes(dtype); i++) {
        const float value = (float)(rand() % 2001 - 1000) / 1000;
        if (dtype == DTYPE_F32)
            ((float *)a.host)[i] = value;
        else
            ((uint16_t *)a.host)[i] = bf16_from_float(value);
    }
    expect_cuda(cudaMalloc((void **)&a.device, a.bytes));
    expect_cuda(cudaMemcpy(a.device, a.host, a.bytes, cudaMemcpyHostToDevice));
    return a;
}

static void *view(const struct array *a)
{
    return a->device + (size_t)a->first * dtype_bytes(a->tensor.dtype);
}

static void free_array(struct array *a)
{
    free(a->host);
    expect_cuda(cudaFree(a->device));
}

static double load(const struct array *a, const unsigned char *memory, int n, int y, int x, int c)
{
    const struct tensor *t = &a->tensor;
    const int64_t i = (((int64_t)n * t->h + y) * t->w + x) * t->pixel_stride + a->first + c;
    return t->dtype == DTYPE_F32 ? ((const float *)memory)[i]
                                 : bf16_to_float(((const uint16_t *)memory)[i]);
}

static unsigned char *fetch(const struct array *a)
{
    unsigned char *out = malloc(a->bytes);
    expect_cuda(cudaMemcpy(out, a->device, a->bytes, cudaMemcpyDeviceToHost));
    return out;
}

/* --- graphs --- */

static descriptor create(cudnnBackendDescriptorType_t type)
{
    descriptor d;
    expect_cudnn(cudnnBackendCreateDescriptor(type, &d));
    return d;
}

static void set(descriptor d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                int64_t count, const void *values)
{
    expect_cudnn(cudnnBackendSetAttribute(d, name, type, count, values));
}

static void set_child(descriptor d, cudnnBackendAttributeName_t name, descriptor child)
{
    set(d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &child);
}

static void destroy(descriptor d)
{
    expect_cudnn(cudnnBackendDestroyDescriptor(d));
}

static descriptor raw_tensor(cudnnDataType_t type, const int64_t dims[4], int64_t pixel_stride,
                             int64_t uid, bool virtual)
{
    const descriptor d = create(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    const int64_t row = dims[3] * pixel_stride, alignment = 8;
    const int64_t strides[4] = { dims[2] * row, 1, row, pixel_stride };
    set(d, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims);
    set(d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
    set(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid);
    set(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    set(d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &virtual);
    return d;
}

static cudnnDataType_t data_type(enum dtype dtype)
{
    return dtype == DTYPE_F32 ? CUDNN_DATA_FLOAT : CUDNN_DATA_BFLOAT16;
}

/* `virtual` ones are dense F32. */
static descriptor tensor(const struct array *a, int64_t uid, bool virtual)
{
    const struct tensor *t = &a->tensor;
    const int64_t dims[4] = { t->n, t->c, t->h, t->w };
    const descriptor d = raw_tensor(virtual ? CUDNN_DATA_FLOAT : data_type(t->dtype), dims,
                                    virtual ? t->c : t->pixel_stride, uid, virtual);
    expect_cudnn(cudnnBackendFinalize(d));
    return d;
}

static descriptor convolution(int64_t stride, int64_t pad)
{
    const descriptor d = create(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const int64_t spatial = 2, ones[2] = { 1, 1 }, strides[2] = { stride, stride },
                  pads[2] = { pad, pad };
    set(d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &spatial);
    set(d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, ones);
    set(d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, strides);
    set(d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pads);
    set(d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pads);
    expect_cudnn(cudnnBackendFinalize(d));
    return d;
}

enum direction { FORWARD, BACKWARD_DATA, BACKWARD_FILTER };

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

/* Takes over the four descriptors, as a caller may who does not need them any more. */
static descriptor operation(enum direction direction, descriptor c, descriptor x, descriptor w,
                            descriptor y, float beta)
{
    const descriptor d = create(names[direction].type);
    set_child(d, names[direction].convolution, c);
    set_child(d, names[direction].x, x);
    set_child(d, names[direction].w, w);
    set_child(d, names[direction].y, y);
    set(d, names[direction].beta, CUDNN_TYPE_FLOAT, 1, &beta);
    destroy(c);
    destroy(x);
    destroy(w);
    destroy(y);
    return d;
}

static descriptor pointwise(cudnnPointwiseMode_t mode, descriptor x, descriptor b, descriptor y)
{
    const descriptor p = create(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    set(p, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set(p, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &type);
    expect_cudnn(cudnnBackendFinalize(p));
    const descriptor d = create(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_child(d, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, p);
    set_child(d, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (b) set_child(d, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    set_child(d, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    expect_cudnn(cudnnBackendFinalize(d));
    destroy(p);
    destroy(x);
    if (b) destroy(b);
    destroy(y);
    return d;
}

static descriptor finish_graph(const descriptor *operations, int count)
{
    const descriptor graph = create(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, operations);
    expect_cudnn(cudnnBackendFinalize(graph));
    for (int i = 0; i < count; i++) destroy(operations[i]);
    return graph;
}

struct problem {
    enum direction direction;
    struct array x, w, y, bias;
    int stride, pad;
    bool has_bias, relu, accumulate;
};

static struct problem make_problem(enum direction direction, enum dtype dtype, int channels)
{
    srand(1);
    struct problem p = { .direction = direction, .stride = 2, .pad = 1 };
    p.x = make_array(dtype, 2, 9, 8, channels, channels, 0);
    p.w = make_array(dtype, 12, 3, 3, channels, channels, 0);
    p.y = make_array(dtype, 2, 5, 4, 12, 40, 16); /* a slice of a concatenated tensor */
    p.bias = make_array(DTYPE_F32, 1, 1, 1, 12, 12, 0);
    return p;
}

static void free_problem(struct problem *p)
{
    free_array(&p->x);
    free_array(&p->w);
    free_array(&p->y);
    free_array(&p->bias);
}

static descriptor make_graph(const struct problem *p)
{
    descriptor operations[3];
    int count = 0;
    const int steps = 1 + p->has_bias + p->relu;
    operations[count++] = operation(
        p->direction, convolution(p->stride, p->pad), tensor(&p->x, UID_X, false),
        tensor(&p->w, UID_W, false),
        tensor(&p->y, steps > 1 ? (int64_t)UID_BETWEEN : (int64_t)UID_Y, steps > 1), p->accumulate);
    expect_cudnn(cudnnBackendFinalize(operations[0]));
    for (; count < steps; count++) {
        const bool last = count == steps - 1, bias = p->has_bias && count == 1;
        operations[count] = pointwise(
            bias ? CUDNN_POINTWISE_ADD : CUDNN_POINTWISE_RELU_FWD,
            tensor(&p->y, UID_BETWEEN + count - 1, true),
            bias ? tensor(&p->bias, UID_BIAS, false) : NULL,
            tensor(&p->y, last ? (int64_t)UID_Y : (int64_t)UID_BETWEEN + count, !last));
    }
    return finish_graph(operations, count);
}

/* --- plans --- */

static int list_configs(descriptor graph, cudnnBackendHeurMode_t mode,
                        descriptor configs[ENGINES_MAX], int64_t *promised)
{
    const descriptor h = create(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    int64_t count = 0;
    set_child(h, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    set(h, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    expect_cudnn(cudnnBackendFinalize(h));
    expect_cudnn(cudnnBackendGetAttribute(h, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                          CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, promised, NULL));
    for (int i = 0; i < ENGINES_MAX; i++) configs[i] = create(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    expect_cudnn(cudnnBackendGetAttribute(h, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                          CUDNN_TYPE_BACKEND_DESCRIPTOR, ENGINES_MAX, &count,
                                          configs));
    destroy(h);
    return (int)count;
}

static void free_configs(descriptor configs[ENGINES_MAX])
{
    for (int i = 0; i < ENGINES_MAX; i++) destroy(configs[i]);
}

static int engines_for(descriptor graph)
{
    descriptor configs[ENGINES_MAX];
    int64_t promised;
    const int count = list_configs(graph, CUDNN_HEUR_MODE_A, configs, &promised);
    free_configs(configs);
    return count;
}

static cudnnStatus_t try_plan(descriptor config, descriptor *plan, int64_t *workspace)
{
    int64_t count;
    *plan = create(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    set_child(*plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    const cudnnStatus_t status = cudnnBackendFinalize(*plan);
    if (status == CUDNN_STATUS_SUCCESS)
        expect_cudnn(cudnnBackendGetAttribute(*plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                              CUDNN_TYPE_INT64, 1, &count, workspace));
    return status;
}

static descriptor make_pack(const struct problem *p, void *workspace)
{
    const descriptor pack = create(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    const int64_t uids[4] = { UID_X, UID_W, UID_Y, UID_BIAS };
    void *pointers[4] = { view(&p->x), view(&p->w), view(&p->y), view(&p->bias) };
    set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 4, uids);
    set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 4, pointers);
    set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    expect_cudnn(cudnnBackendFinalize(pack));
    return pack;
}

/* One element, by the definition. `at` is (n, y, x, c) of the output, (k, r, s, c) of a filter
 * gradient. */
static double expected(const struct problem *p, const int at[4])
{
    double sum = 0;
    const struct tensor *x = &p->x.tensor, *y = &p->y.tensor, *w = &p->w.tensor;
    for (int n = 0; n < y->n; n++)
        for (int oy = 0; oy < y->h; oy++)
            for (int ox = 0; ox < y->w; ox++)
                for (int r = 0; r < w->h; r++)
                    for (int s = 0; s < w->w; s++) {
                        const int iy = oy * p->stride + r - p->pad,
                                  ix = ox * p->stride + s - p->pad;
                        if (iy < 0 || iy >= x->h || ix < 0 || ix >= x->w) continue;
                        if (p->direction == FORWARD && n == at[0] && oy == at[1] && ox == at[2])
                            for (int c = 0; c < x->c; c++)
                                sum += load(&p->x, p->x.host, n, iy, ix, c) *
                                       load(&p->w, p->w.host, at[3], r, s, c);
                        if (p->direction == BACKWARD_DATA && n == at[0] && iy == at[1] &&
                            ix == at[2])
                            for (int k = 0; k < y->c; k++)
                                sum += load(&p->y, p->y.host, n, oy, ox, k) *
                                       load(&p->w, p->w.host, k, r, s, at[3]);
                        if (p->direction == BACKWARD_FILTER && r == at[1] && s == at[2])
                            sum += load(&p->x, p->x.host, n, iy, ix, at[3]) *
                                   load(&p->y, p->y.host, n, oy, ox, at[0]);
                    }
    if (p->has_bias) sum += ((const float *)p->bias.host)[at[3]];
    if (p->accumulate) sum += load(&p->x, p->x.host, at[0], at[1], at[2], at[3]);
    return p->relu && sum < 0 ? 0 : sum;
}

static void check_output(const struct problem *p, double tolerance)
{
    const struct array *out = p->direction == FORWARD         ? &p->y
                              : p->direction == BACKWARD_DATA ? &p->x
                                                              : &p->w;
    unsigned char *got = fetch(out);
    const struct tensor *t = &out->tensor;
    for (int n = 0; n < t->n; n++)
        for (int y = 0; y < t->h; y++)
            for (int x = 0; x < t->w; x++) {
                for (int c = -out->first; c < t->pixel_stride - out->first; c++)
                    cr_assert((c >= 0 && c < t->c) ||
                                  load(out, got, n, y, x, c) == load(out, out->host, n, y, x, c),
                              "the gap was written to");
                for (int c = 0; c < t->c; c++) {
                    const double value = load(out, got, n, y, x, c),
                                 right = expected(p, (const int[4]) { n, y, x, c });
                    cr_assert(fabs(value - right) <= tolerance * (1 + fabs(right)),
                              "%d,%d,%d,%d: %g is not %g", n, y, x, c, value, right);
                }
            }
    free(got);
}

/* Runs every plan that finalises; says how many there were. */
static int run_all(struct problem *p, double tolerance)
{
    descriptor configs[ENGINES_MAX], plan;
    const descriptor graph = make_graph(p);
    cudnnHandle_t handle;
    int64_t promised, workspace_bytes = 0;
    int done = 0;
    expect_cudnn(cudnnCreate(&handle));
    const int count = list_configs(graph, CUDNN_HEUR_MODE_A, configs, &promised);
    struct array *out = p->direction == FORWARD         ? &p->y
                        : p->direction == BACKWARD_DATA ? &p->x
                                                        : &p->w;
    for (int i = 0; i < count; i++) {
        if (try_plan(configs[i], &plan, &workspace_bytes) == CUDNN_STATUS_SUCCESS &&
            workspace_bytes < 100 << 20) {
            void *workspace = NULL;
            if (workspace_bytes > 0) expect_cuda(cudaMalloc(&workspace, (size_t)workspace_bytes));
            const descriptor pack = make_pack(p, workspace);
            expect_cuda(cudaMemcpy(out->device, out->host, out->bytes, cudaMemcpyHostToDevice));
            expect_cudnn(cudnnBackendExecute(handle, plan, pack));
            destroy(pack);
            check_output(p, tolerance);
            expect_cuda(cudaFree(workspace));
            done++;
        }
        destroy(plan);
    }
    free_configs(configs);
    destroy(graph);
    expect_cudnn(cudnnDestroy(handle));
    return done;
}

static void expect_no_leaks(void)
{
    char report[1024];
    cr_assert_eq(simulated_leaks(report, sizeof report), 0, "%s", report);
}

/* --- convolutions --- */

Test(simulated_dnn, forward_with_bias_and_relu_into_a_slice)
{
    for (int bias = 0; bias < 2; bias++)
        for (int relu = 0; relu < 2; relu++) {
            struct problem p = make_problem(FORWARD, DTYPE_BF16, 8);
            p.has_bias = bias;
            p.relu = relu;
            cr_expect(run_all(&p, 0x1p-8) >= 3);
            free_problem(&p);
        }
    expect_no_leaks();
}

Test(simulated_dnn, float32_is_exact_or_rounded_to_tf32_or_bfloat16)
{
    struct problem p = make_problem(FORWARD, DTYPE_F32, 5);
    cr_expect(run_all(&p, 0.05) >= 3);
    free_problem(&p);
    expect_no_leaks();
}

Test(simulated_dnn, data_gradients_add_to_what_is_there)
{
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        struct problem p = make_problem(BACKWARD_DATA, DTYPE_BF16, 8);
        p.accumulate = accumulate;
        cr_expect(run_all(&p, 0x1p-8) >= 3);
        free_problem(&p);
    }
    expect_no_leaks();
}

Test(simulated_dnn, filter_gradients)
{
    struct problem p = make_problem(BACKWARD_FILTER, DTYPE_BF16, 8);
    cr_expect(run_all(&p, 0x1p-8) >= 3);
    free_problem(&p);
    expect_no_leaks();
}

Test(simulated_dnn, the_fallback_is_exact)
{
    struct problem p = make_problem(BACKWARD_FILTER, DTYPE_F32, 5);
    const descriptor graph = make_graph(&p);
    descriptor configs[ENGINES_MAX], plan;
    int64_t promised, workspace;
    cudnnHandle_t handle;
    expect_cudnn(cudnnCreate(&handle));
    const int count = list_configs(graph, CUDNN_HEUR_MODE_FALLBACK, configs, &promised);
    int exact = 0;
    for (int i = 0; i < count; i++) {
        if (try_plan(configs[i], &plan, &workspace) == CUDNN_STATUS_SUCCESS && workspace == 0) {
            const descriptor pack = make_pack(&p, NULL);
            expect_cudnn(cudnnBackendExecute(handle, plan, pack));
            destroy(pack);
            check_output(&p, 0x1p-22);
            exact++;
        }
        destroy(plan);
    }
    cr_expect(exact >= 1);
    free_configs(configs);
    destroy(graph);
    free_problem(&p);
    expect_cudnn(cudnnDestroy(handle));
    expect_no_leaks();
}

/* Changes the last element that is computed with. */
static void change(struct array *a)
{
    const size_t last = a->bytes - (size_t)(a->tensor.pixel_stride - a->first - a->tensor.c + 1) *
                                       dtype_bytes(a->tensor.dtype);
    a->host[last + dtype_bytes(a->tensor.dtype) - 1] ^= 0x80; /* its sign */
    expect_cuda(cudaMemcpy(a->device, a->host, a->bytes, cudaMemcpyHostToDevice));
}

static int64_t remembered_in_a_run(struct problem *p)
{
    const int64_t before = simulated_dnn_remembered();
    cr_expect(run_all(p, 0x1p-8) >= 3);
    return simulated_dnn_remembered() - before;
}

Test(simulated_dnn, executions_are_remembered_for_the_same_inputs_alone)
{
    simulated_dnn_remember((size_t)1 << 26);
    for (int direction = FORWARD; direction <= BACKWARD_FILTER; direction++) {
        struct problem p = make_problem((enum direction)direction, DTYPE_BF16, 8);
        p.has_bias = direction == FORWARD;
        p.accumulate = direction == BACKWARD_DATA;
        struct array *inputs[] = { &p.x, &p.w, &p.y };
        const int64_t alike = remembered_in_a_run(&p); /* engines with the same arithmetic */
        cr_expect_gt(remembered_in_a_run(&p), alike + 2);
        for (int i = 0; i < 3; i++) { /* an output too, which is added to or written over */
            const bool matters = p.accumulate || i != (direction == FORWARD         ? 2
                                                       : direction == BACKWARD_DATA ? 0
                                                                                    : 1);
            change(inputs[i]);
            const int64_t known = remembered_in_a_run(&p);
            cr_expect(matters ? known == alike : known > alike + 2, "direction %d, input %d: %d",
                      direction, i, (int)known);
        }
        free_problem(&p);
    }
    simulated_dnn_remember(0);
    expect_no_leaks();
}

/* --- refusals --- */

Test(simulated_dnn, graphs_without_engines)
{
    struct problem three = make_problem(FORWARD, DTYPE_BF16, 3);
    descriptor graph = make_graph(&three);
    cr_expect(engines_for(graph) > 0, "3 channels alone");
    destroy(graph);
    three.relu = three.has_bias = true;
    graph = make_graph(&three);
    cr_expect_eq(engines_for(graph), 0, "3 channels in a fused graph");
    destroy(graph);
    free_problem(&three);

    struct problem four = make_problem(FORWARD, DTYPE_BF16, 4);
    four.relu = true;
    graph = make_graph(&four);
    cr_expect(engines_for(graph) > 0, "4 channels in a fused graph");
    destroy(graph);
    free_problem(&four);

    struct problem mixed = make_problem(BACKWARD_FILTER, DTYPE_BF16, 8);
    free_array(&mixed.w);
    mixed.w = make_array(DTYPE_F32, 12, 3, 3, 8, 8, 0);
    graph = make_graph(&mixed);
    cr_expect_eq(engines_for(graph), 0, "a float32 filter gradient of bfloat16");
    destroy(graph);
    free_problem(&mixed);
    expect_no_leaks();
}

static int plans_of(const struct problem *p)
{
    descriptor configs[ENGINES_MAX], plan;
    const descriptor graph = make_graph(p);
    int64_t promised, workspace;
    int plans = 0;
    const int count = list_configs(graph, CUDNN_HEUR_MODE_A, configs, &promised);
    cr_expect(promised > count, "as many as promised");
    for (int i = 0; i < count; i++) {
        plans += try_plan(configs[i], &plan, &workspace) == CUDNN_STATUS_SUCCESS;
        destroy(plan);
    }
    free_configs(configs);
    destroy(graph);
    return plans;
}

Test(simulated_dnn, refusals_are_seeded_and_can_be_set)
{
    struct problem p = make_problem(FORWARD, DTYPE_BF16, 8);
    simulated_dnn_refuse(SIMULATED_FORWARD, 0);
    const int all = plans_of(&p);
    simulated_dnn_refuse(SIMULATED_FORWARD, 100);
    cr_expect_eq(plans_of(&p), 0);
    p.relu = true;
    cr_expect(plans_of(&p) > 0, "another form is refused too");
    p.relu = false;
    simulated_dnn_refuse(SIMULATED_FORWARD, 50);
    bool differ = false;
    for (uint64_t seed = 0; seed < 10; seed++) {
        simulated_dnn_seed(seed);
        const int some = plans_of(&p);
        cr_expect_eq(some, plans_of(&p), "the same seed, another answer");
        differ = differ || some < all;
    }
    cr_expect(differ);
    free_problem(&p);
    expect_no_leaks();
}

Test(simulated_dnn, plans_can_be_made_again_from_engine_and_knobs)
{
    struct problem p = make_problem(FORWARD, DTYPE_BF16, 8);
    descriptor configs[ENGINES_MAX], plan, again;
    const descriptor graph = make_graph(&p);
    int64_t promised, count, index, tile, bytes, bytes_again;
    simulated_dnn_refuse(SIMULATED_FORWARD, 0);
    const int listed = list_configs(graph, CUDNN_HEUR_MODE_B, configs, &promised);
    for (int i = 0; i < listed; i++) {
        descriptor engine = create(CUDNN_BACKEND_ENGINE_DESCRIPTOR),
                   knob = create(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
        expect_cudnn(try_plan(configs[i], &plan, &bytes));
        expect_cudnn(cudnnBackendGetAttribute(configs[i], CUDNN_ATTR_ENGINECFG_ENGINE,
                                              CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &engine));
        expect_cudnn(cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX,
                                              CUDNN_TYPE_INT64, 1, &count, &index));
        expect_cudnn(cudnnBackendGetAttribute(configs[i], CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                                              CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &knob));
        cr_assert_eq(count, 1);
        expect_cudnn(cudnnBackendGetAttribute(knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE,
                                              CUDNN_TYPE_INT64, 1, &count, &tile));
        destroy(engine);

        engine = create(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
        set_child(engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph);
        set(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &index);
        expect_cudnn(cudnnBackendFinalize(engine));
        const descriptor config = create(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
        set_child(config, CUDNN_ATTR_ENGINECFG_ENGINE, engine);
        set_child(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, knob);
        expect_cudnn(cudnnBackendFinalize(config));
        expect_cudnn(try_plan(config, &again, &bytes_again));
        cr_expect_eq(bytes, bytes_again);
        destroy(config);
        destroy(again);
        destroy(knob);
        destroy(engine);
        destroy(plan);
    }
    free_configs(configs);
    destroy(graph);
    free_problem(&p);
    expect_no_leaks();
}

static const int64_t dims[4] = { 2, 8, 5, 4 };

Test(simulated_dnn, attributes_are_checked_as_they_are_set)
{
    const descriptor d = raw_tensor(CUDNN_DATA_FLOAT, dims, 8, 0, false);
    const int64_t one = 1;
    const float real = 1;
    const cudnnDataType_t type = CUDNN_DATA_FLOAT;
    cr_expect_eq(
        cudnnBackendSetAttribute(NULL, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &one),
        CUDNN_STATUS_BAD_PARAM_NULL_POINTER);
    cr_expect_eq(
        cudnnBackendSetAttribute(d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_FLOAT, 1, &real),
        CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE);
    cr_expect_eq(
        cudnnBackendSetAttribute(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 2, dims),
        CUDNN_STATUS_BAD_PARAM);
    cr_expect_eq(
        cudnnBackendSetAttribute(d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, NULL),
        CUDNN_STATUS_BAD_PARAM);
    cr_expect_eq(cudnnBackendSetAttribute(d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE,
                                          1, &type),
                 CUDNN_STATUS_BAD_PARAM);
    int64_t count, value;
    cr_expect_eq(cudnnBackendGetAttribute(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1,
                                          &count, &value),
                 CUDNN_STATUS_NOT_INITIALIZED);
    expect_cudnn(cudnnBackendFinalize(d));
    cr_expect_eq(cudnnBackendFinalize(d), CUDNN_STATUS_BAD_PARAM);
    cr_expect_eq(
        cudnnBackendSetAttribute(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &one),
        CUDNN_STATUS_BAD_PARAM);
    cr_expect_eq(cudnnBackendGetAttribute(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_FLOAT, 1,
                                          &count, &value),
                 CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE);
    expect_cudnn(cudnnBackendGetAttribute(d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 0,
                                          &count, NULL));
    cr_expect_eq(count, 4);
    destroy(d);
    expect_no_leaks();
}

Test(simulated_dnn, finalising_looks_at_everything_below)
{
    const int64_t wrong[4] = { 2, 12, 5, 5 };
    struct problem p = make_problem(FORWARD, DTYPE_F32, 8);
    descriptor d = create(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    cr_expect_eq(cudnnBackendFinalize(d), CUDNN_STATUS_BAD_PARAM, "an empty tensor");
    destroy(d);

    d = operation(FORWARD, convolution(2, 1), tensor(&p.x, UID_X, false),
                  tensor(&p.w, UID_W, false), raw_tensor(CUDNN_DATA_FLOAT, dims, 40, UID_Y, false),
                  0);
    cr_expect_eq(cudnnBackendFinalize(d), CUDNN_STATUS_BAD_PARAM, "y is not finalised");
    descriptor graph = create(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    cr_expect_eq(cudnnBackendSetAttribute(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS,
                                          CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &d),
                 CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED);
    cr_expect_eq(cudnnBackendFinalize(graph), CUDNN_STATUS_BAD_PARAM, "an empty graph");
    destroy(d);

    const descriptor y = raw_tensor(CUDNN_DATA_FLOAT, wrong, 40, UID_Y, false);
    expect_cudnn(cudnnBackendFinalize(y));
    d = operation(FORWARD, convolution(2, 1), tensor(&p.x, UID_X, false),
                  tensor(&p.w, UID_W, false), y, 0);
    cr_expect_eq(cudnnBackendFinalize(d), CUDNN_STATUS_BAD_PARAM, "y does not fit");
    destroy(d);

    d = create(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    set(d, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    set_child(d, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    cr_expect_eq(cudnnBackendFinalize(d), CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED);
    destroy(d);
    destroy(graph);

    d = create(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    cr_expect_eq(cudnnBackendFinalize(d), CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED,
                 "a plan without an engine");
    destroy(d);
    d = create(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    cr_expect_eq(cudnnBackendFinalize(d), CUDNN_STATUS_NOT_INITIALIZED, "no device");
    set(d, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, 3, "{x}");
    cr_expect_eq(cudnnBackendFinalize(d), CUDNN_STATUS_BAD_PARAM, "no JSON");
    destroy(d);
    free_problem(&p);
    expect_no_leaks();
}

Test(simulated_dnn, what_execution_refuses)
{
    struct problem p = make_problem(FORWARD, DTYPE_BF16, 8);
    descriptor configs[ENGINES_MAX], plan;
    const descriptor graph = make_graph(&p);
    cudnnHandle_t handle;
    int64_t promised, workspace;
    expect_cudnn(cudnnCreate(&handle));
    simulated_dnn_refuse(SIMULATED_FORWARD, 0);
    const int count = list_configs(graph, CUDNN_HEUR_MODE_A, configs, &promised);
    for (int i = 0; i < count; i++) {
        expect_cudnn(try_plan(configs[i], &plan, &workspace));
        descriptor pack = make_pack(&p, NULL);
        if (workspace > 0)
            cr_expect_eq(cudnnBackendExecute(handle, plan, pack),
                         CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no workspace");
        destroy(pack);
        p.y.first = 1;
        pack = make_pack(&p, p.y.device);
        cr_expect_eq(cudnnBackendExecute(handle, plan, pack),
                     CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER);
        cr_expect_eq(cudnnBackendExecute(NULL, plan, pack), CUDNN_STATUS_BAD_PARAM);
        p.y.first = 16;
        destroy(pack);
        pack = create(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
        cr_expect_eq(cudnnBackendExecute(handle, plan, pack), CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED);
        destroy(pack);
        destroy(plan);
    }
    free_configs(configs);
    destroy(graph);
    expect_cudnn(cudnnDestroy(handle));
    free_problem(&p);
    expect_no_leaks();
}

static void y_reaches_out_of_its_memory(void)
{
    struct problem p = make_problem(FORWARD, DTYPE_BF16, 8);
    p.y.first = 32; /* of 40, and 12 channels follow */
    run_all(&p, 1);
}

Test(simulated_dnn, tensors_must_lie_in_their_memory)
{
    int ends[2], status;
    char report[4096] = "";
    cr_assert_eq(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        y_reaches_out_of_its_memory();
        _exit(0);
    }
    close(ends[1]);
    for (size_t had = 0; had < sizeof report - 1;) {
        const ssize_t got = read(ends[0], report + had, sizeof report - 1 - had);
        if (got <= 0) break;
        had += (size_t)got;
    }
    close(ends[0]);
    waitpid(child, &status, 0);
    cr_expect(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
    cr_expect(strstr(report, "y of a cuDNN plan"), "%s", report);
}

Test(simulated_dnn, injected_failures)
{
    descriptor d = NULL;
    cudnnHandle_t handle;
    simulated_fail("cudnnBackendCreateDescriptor", 1);
    cr_expect_eq(cudnnBackendCreateDescriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR, &d),
                 CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED);
    d = raw_tensor(CUDNN_DATA_FLOAT, dims, 8, 0, false);
    simulated_fail("cudnnBackendFinalize", 1);
    cr_expect_eq(cudnnBackendFinalize(d), CUDNN_STATUS_NOT_SUPPORTED);
    expect_cudnn(cudnnBackendFinalize(d));
    destroy(d);
    simulated_no_device(true);
    cr_expect_eq(cudnnCreate(&handle), CUDNN_STATUS_NOT_INITIALIZED);
    expect_no_leaks();
}

/* --- products --- */

enum { M = 12, N = 5, K = 9 };

/* y (N, M) = relu?(x (N, K) × wᵀ (K, M) + bias), row by row, is D (M, N) in column order of the
 * transposed weights. */
struct dense {
    enum dtype dtype;
    bool bias, relu;
    struct array x, w, y, b;
};

static cublasLtMatrixLayout_t layout_of(enum dtype dtype, uint64_t rows, uint64_t cols, int64_t ld)
{
    cublasLtMatrixLayout_t layout;
    expect_cublas(cublasLtMatrixLayoutCreate(&layout, dtype == DTYPE_F32 ? CUDA_R_32F : CUDA_R_16BF,
                                             rows, cols, ld));
    return layout;
}

static void check_dense(const struct dense *t)
{
    unsigned char *got = fetch(&t->y);
    for (int n = 0; n < N; n++)
        for (int m = 0; m < M; m++) {
            double right = t->bias ? load(&t->b, t->b.host, 0, 0, 0, m) : 0;
            for (int k = 0; k < K; k++)
                right += load(&t->x, t->x.host, n, 0, 0, k) * load(&t->w, t->w.host, m, 0, 0, k);
            if (t->relu && right < 0) right = 0;
            const double value = load(&t->y, got, n, 0, 0, m);
            const double tolerance = t->dtype == DTYPE_F32 ? 0x1p-22 : 0x1p-8;
            cr_assert(fabs(value - right) <= tolerance * (1 + fabs(right)), "%d,%d: %g is not %g",
                      n, m, value, right);
        }
    free(got);
}

static void run_dense(struct dense *t)
{
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t matmul;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t results[8];
    int count = 0;
    const uint64_t limit = 5 << 20;
    const uint32_t aligned = (uint32_t)dtype_bytes(t->dtype);
    const cublasOperation_t transpose = CUBLAS_OP_T;
    const cublasLtEpilogue_t epilogue =
        t->bias ? (t->relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS)
                : (t->relu ? CUBLASLT_EPILOGUE_RELU : CUBLASLT_EPILOGUE_DEFAULT);
    void *bias = view(&t->b), *workspace;
    expect_cublas(cublasLtCreate(&handle));
    expect_cublas(cublasLtMatmulDescCreate(&matmul, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    expect_cublas(cublasLtMatmulDescSetAttribute(matmul, CUBLASLT_MATMUL_DESC_TRANSA, &transpose,
                                                 sizeof transpose));
    expect_cublas(cublasLtMatmulDescSetAttribute(matmul, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                                                 sizeof epilogue));
    expect_cublas(cublasLtMatmulDescSetAttribute(matmul, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias,
                                                 sizeof bias));
    cublasLtMatrixLayout_t a = layout_of(t->dtype, K, M, K),
                           b = layout_of(t->dtype, K, N, t->x.tensor.pixel_stride),
                           d = layout_of(t->dtype, M, N, t->y.tensor.pixel_stride);
    expect_cublas(cublasLtMatmulPreferenceCreate(&preference));
    expect_cublas(cublasLtMatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &limit, sizeof limit));
    expect_cublas(cublasLtMatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &aligned, sizeof aligned));
    expect_cublas(
        cublasLtMatmulAlgoGetHeuristic(handle, matmul, a, b, d, d, preference, 8, results, &count));
    cr_expect(count > 0);
    expect_cuda(cudaMalloc(&workspace, limit));
    for (int i = 0; i < count; i++) {
        const float one = 1, zero = 0;
        cr_expect(results[i].workspaceSize <= limit);
        expect_cublas(cublasLtMatmul(handle, matmul, &one, view(&t->w), a, view(&t->x), b, &zero,
                                     view(&t->y), d, view(&t->y), d, &results[i].algo, workspace,
                                     limit, NULL));
        check_dense(t);
        if (results[i].workspaceSize > 0)
            cr_expect_eq(cublasLtMatmul(handle, matmul, &one, view(&t->w), a, view(&t->x), b, &zero,
                                        view(&t->y), d, view(&t->y), d, &results[i].algo, workspace,
                                        results[i].workspaceSize - 1, NULL),
                         CUBLAS_STATUS_INVALID_VALUE);
    }
    expect_cuda(cudaFree(workspace));
    expect_cublas(cublasLtMatmulPreferenceDestroy(preference));
    expect_cublas(cublasLtMatrixLayoutDestroy(a));
    expect_cublas(cublasLtMatrixLayoutDestroy(b));
    expect_cublas(cublasLtMatrixLayoutDestroy(d));
    expect_cublas(cublasLtMatmulDescDestroy(matmul));
    expect_cublas(cublasLtDestroy(handle));
}

Test(simulated_dnn, products_with_bias_and_relu)
{
    for (int variant = 0; variant < 8; variant++) {
        const enum dtype dtype = variant & 4 ? DTYPE_BF16 : DTYPE_F32;
        struct dense t = { .dtype = dtype, .bias = variant & 1, .relu = variant & 2 };
        t.x = make_array(dtype, N, 1, 1, K, K + 7, 0);
        t.w = make_array(dtype, M, 1, 1, K, K, 0);
        t.y = make_array(dtype, N, 1, 1, M, M + 4, 0);
        t.b = make_array(dtype, 1, 1, 1, M, M, 0);
        run_dense(&t);
        free_array(&t.x);
        free_array(&t.w);
        free_array(&t.y);
        free_array(&t.b);
    }
    expect_no_leaks();
}

Test(simulated_dnn, products_that_are_not_supported)
{
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t matmul;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t result;
    int count;
    expect_cublas(cublasLtCreate(&handle));
    expect_cublas(cublasLtMatmulDescCreate(&matmul, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    expect_cublas(cublasLtMatmulPreferenceCreate(&preference));
    cublasLtMatrixLayout_t a = layout_of(DTYPE_F32, M, K, M), b = layout_of(DTYPE_BF16, K, N, K),
                           d = layout_of(DTYPE_F32, M, N, M),
                           short_d = layout_of(DTYPE_F32, M, N, M - 1);
    cr_expect_eq(
        cublasLtMatmulAlgoGetHeuristic(handle, matmul, a, b, d, d, preference, 1, &result, &count),
        CUBLAS_STATUS_NOT_SUPPORTED, "F32 times BF16");
    cr_expect_eq(
        cublasLtMatmulAlgoGetHeuristic(handle, matmul, a, a, d, d, preference, 1, &result, &count),
        CUBLAS_STATUS_INVALID_VALUE, "shapes that do not fit");
    cr_expect_eq(cublasLtMatmulAlgoGetHeuristic(handle, matmul, a, b, d, short_d, preference, 1,
                                                &result, &count),
                 CUBLAS_STATUS_INVALID_VALUE, "columns that overlap");
    cr_expect_eq(cublasLtMatmulDescSetAttribute(matmul, CUBLASLT_MATMUL_DESC_EPILOGUE, &count, 1),
                 CUBLAS_STATUS_INVALID_VALUE, "an attribute of another size");
    expect_cublas(cublasLtMatrixLayoutDestroy(a));
    expect_cublas(cublasLtMatrixLayoutDestroy(b));
    expect_cublas(cublasLtMatrixLayoutDestroy(d));
    expect_cublas(cublasLtMatrixLayoutDestroy(short_d));
    expect_cublas(cublasLtMatmulPreferenceDestroy(preference));
    expect_cublas(cublasLtMatmulDescDestroy(matmul));
    expect_cublas(cublasLtDestroy(handle));
    expect_no_leaks();
}
