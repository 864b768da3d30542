/* Handles and plan execution of the simulated cuDNN. Whatever the arguments reveal is checked in
 * the call; memory is checked in the queued work. The whole workspace is overwritten with NaN,
 * because real engines leave it undefined. */
#include <stdlib.h>
#include <string.h>

#include "cudnn_memo.h"
#include "cudnn_plan.h"

static const char handle_kind[] = "cuDNN handle";

size_t cudnnGetVersion(void)
{
    return CUDNN_VERSION;
}

const char *cudnnGetErrorString(cudnnStatus_t status)
{
    switch (status) {
    case CUDNN_STATUS_SUCCESS:
        return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_NOT_INITIALIZED:
        return "CUDNN_STATUS_NOT_INITIALIZED";
    case CUDNN_STATUS_BAD_PARAM:
        return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_BAD_PARAM_NULL_POINTER:
        return "CUDNN_STATUS_BAD_PARAM_NULL_POINTER";
    case CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER:
        return "CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER";
    case CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED:
        return "CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED";
    case CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE:
        return "CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE";
    case CUDNN_STATUS_NOT_SUPPORTED:
        return "CUDNN_STATUS_NOT_SUPPORTED";
    case CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN:
        return "CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN";
    case CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH:
        return "CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH";
    case CUDNN_STATUS_INTERNAL_ERROR:
        return "CUDNN_STATUS_INTERNAL_ERROR";
    case CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED:
        return "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED";
    case CUDNN_STATUS_EXECUTION_FAILED:
        return "CUDNN_STATUS_EXECUTION_FAILED";
    default:
        return "a status that the simulated cuDNN does not use";
    }
}

static void expect_handle(cudnnHandle_t handle)
{
    if (!sim_handle_alive(handle, handle_kind))
        sim_defect("cuDNN: %p is no live handle", (void *)handle);
}

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle)
{
    struct cudaDeviceProp properties;
    int device;
    if (sim_fails(__func__))
        return cudnn_refuse(CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED,
                            "out of host memory");
    if (!handle) return CUDNN_STATUS_BAD_PARAM;
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaGetDeviceProperties(&properties, device) != cudaSuccess)
        return cudnn_refuse(CUDNN_STATUS_NOT_INITIALIZED, "there is no device");
    *handle = calloc(1, sizeof **handle);
    (*handle)->device_version = properties.major * 100 + properties.minor * 10;
    sim_handle_created(*handle, handle_kind);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
    const bool fails = sim_fails(__func__);
    if (!handle) return CUDNN_STATUS_SUCCESS;
    sim_handle_destroyed(handle, handle_kind);
    free(handle);
    return fails ? cudnn_refuse(CUDNN_STATUS_INTERNAL_ERROR, "injected") : CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
    if (sim_fails(__func__)) return cudnn_refuse(CUDNN_STATUS_INTERNAL_ERROR, "injected");
    if (!handle) return CUDNN_STATUS_BAD_PARAM;
    expect_handle(handle);
    handle->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t *stream)
{
    if (sim_fails(__func__)) return cudnn_refuse(CUDNN_STATUS_INTERNAL_ERROR, "injected");
    if (!handle || !stream) return CUDNN_STATUS_BAD_PARAM;
    expect_handle(handle);
    *stream = handle->stream;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t finalise_pack(struct node *node)
{
    if (node_count(node, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS) ==
        node_count(node, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS))
        return CUDNN_STATUS_SUCCESS;
    return cudnn_refuse(CUDNN_STATUS_BAD_PARAM, "unique ids and data pointers differ in number");
}

/* --- the work --- */

struct execution {
    struct prepared plan;
    void *x, *w, *y, *bias, *workspace;
    int64_t run; /* run number, for nondeterministic plans */
};

/* Unpack a strided NHWC tensor into a dense array of double. */
static double *unpack(const struct problem_tensor *t, enum rounding rounding, const void *data)
{
    const int64_t pixels = t->dims[0] * t->dims[2] * t->dims[3], channels = t->dims[1];
    double *out = malloc((size_t)(pixels * channels) * sizeof *out);
    for (int64_t p = 0; p < pixels; p++)
        element_load_row(element_of(t->type), rounding, data, p * t->strides[3], channels,
                         out + p * channels);
    return out;
}

/* Emulates summation in varying order: the last bit of a float changes from run to run. */
static double disturbed(double value, int64_t run, int64_t i)
{
    return value * (1 + 0x1p-23 * (double)((run + i) % 3 - 1));
}

/* Apply alpha, beta, bias and ReLU, and round to the output's type. */
static void store(const struct execution *e, const double *sums, void *data)
{
    const struct problem *problem = &e->plan.problem;
    const struct problem_tensor *t = problem_output(problem);
    const int64_t pixels = t->dims[0] * t->dims[2] * t->dims[3], channels = t->dims[1];
    const enum element type = element_of(t->type);
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t c = 0; c < channels; c++) {
            const int64_t at = p * t->strides[3] + c;
            double value = problem->alpha * sums[p * channels + c];
            if (e->plan.nondeterministic) value = disturbed(value, e->run, at);
            if (problem->beta != 0)
                value += problem->beta * element_load(type, ROUND_NOT, data, at);
            if (e->bias) value += ((const float *)e->bias)[c];
            if (problem_has_relu(problem) && value < 0) value = 0;
            element_store(type, data, at, value);
        }
}

static void compute(const struct execution *e)
{
    const struct problem *problem = &e->plan.problem;
    const enum rounding rounding = e->plan.rounding;
    const struct problem_tensor *out = problem_output(problem);
    const struct convolution_shape *shape = &problem->shape;
    double *x = out == &problem->x ? NULL : unpack(&problem->x, rounding, e->x);
    double *w = out == &problem->w ? NULL : unpack(&problem->w, rounding, e->w);
    double *y = out == &problem->y ? NULL : unpack(&problem->y, rounding, e->y);
    double *sums = malloc((size_t)(out->dims[0] * out->dims[1] * out->dims[2] * out->dims[3]) *
                          sizeof *sums);
    if (!y) {
        convolve(shape, x, w, sums);
        store(e, sums, e->y);
    } else if (!x) {
        convolve_back_data(shape, y, w, sums);
        store(e, sums, e->x);
    } else {
        convolve_back_filter(shape, y, x, sums);
        store(e, sums, e->w);
    }
    free(sums);
    free(y);
    free(w);
    free(x);
}

static void *output_address(const struct execution *e)
{
    const struct problem *problem = &e->plan.problem;
    const struct problem_tensor *out = problem_output(problem);
    return out == &problem->x ? e->x : out == &problem->w ? e->w : e->y;
}

/* Copy the output from the strided tensor to a dense array, or back. */
static void copy_output(const struct execution *e, char *dense, bool to_dense)
{
    const struct problem_tensor *t = problem_output(&e->plan.problem);
    const size_t element = element_of(t->type) == ELEMENT_BF16 ? 2 : 4;
    const size_t channels = (size_t)t->dims[1] * element, step = (size_t)t->strides[3] * element;
    const int64_t pixels = t->dims[0] * t->dims[2] * t->dims[3];
    char *strided = output_address(e);
    for (int64_t p = 0; p < pixels; p++, dense += channels, strided += step)
        memcpy(to_dense ? dense : strided, to_dense ? strided : dense, channels);
}

/* All inputs that the result depends on. */
static int inputs_of(const struct execution *e, struct memo_part parts[MEMO_PARTS_MAX])
{
    const struct problem *problem = &e->plan.problem;
    const struct problem_tensor *out = problem_output(problem);
    const struct {
        const struct problem_tensor *tensor;
        const void *data;
    } tensors[] = { { &problem->x, e->x }, { &problem->w, e->w }, { &problem->y, e->y } };
    int count = 0;
    parts[count++] = (struct memo_part) { &e->plan, sizeof e->plan };
    for (int i = 0; i < 3; i++)
        if (tensors[i].tensor != out || problem->beta != 0)
            parts[count++] = (struct memo_part) { tensors[i].data,
                                                  tensor_extent(tensors[i].tensor) };
    if (e->bias) parts[count++] = (struct memo_part) { e->bias, tensor_extent(&problem->bias) };
    return count;
}

static void compute_or_remember(const struct execution *e)
{
    const struct problem_tensor *out = problem_output(&e->plan.problem);
    const int64_t elements = out->dims[0] * out->dims[1] * out->dims[2] * out->dims[3];
    const size_t bytes = (size_t)elements * (element_of(out->type) == ELEMENT_BF16 ? 2 : 4);
    struct memo_part parts[MEMO_PARTS_MAX];
    const int count = inputs_of(e, parts);
    const void *known = memo_find(parts, count);
    if (known) {
        copy_output(e, (char *)(uintptr_t)known, false);
        return;
    }
    char *kept = e->plan.nondeterministic ? NULL : memo_keep(parts, count, bytes);
    compute(e);
    if (kept) copy_output(e, kept, true);
}

static void execute(void *argument)
{
    const struct execution *e = argument;
    const struct problem *problem = &e->plan.problem;
    sim_expect_device(e->x, tensor_extent(&problem->x), "x of a cuDNN plan");
    sim_expect_device(e->w, tensor_extent(&problem->w), "w of a cuDNN plan");
    sim_expect_device(e->y, tensor_extent(&problem->y), "y of a cuDNN plan");
    if (e->bias)
        sim_expect_device(e->bias, tensor_extent(&problem->bias), "the bias of a cuDNN plan");
    if (e->plan.workspace_bytes > 0) {
        sim_expect_device(e->workspace, e->plan.workspace_bytes, "the workspace of a cuDNN plan");
        memset(e->workspace, 0xff, e->plan.workspace_bytes);
    }
    compute_or_remember(e);
}

/* --- the call --- */

static cudnnStatus_t find_pointer(const struct node *pack, const struct problem_tensor *tensor,
                                  void **pointer)
{
    const int64_t *uids = node_elements(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    void *const *pointers = node_elements(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    *pointer = NULL;
    for (int64_t i = 0; i < node_count(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS); i++)
        if (uids[i] == tensor->uid) *pointer = pointers[i];
    if (!*pointer)
        return cudnn_refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER,
                            "the variant pack has no pointer for tensor %lld",
                            (long long)tensor->uid);
    if ((uintptr_t)*pointer % (uintptr_t)tensor->alignment)
        return cudnn_refuse(CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER,
                            "tensor %lld is not aligned to %lld bytes", (long long)tensor->uid,
                            (long long)tensor->alignment);
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t find_pointers(struct execution *e, const struct node *pack)
{
    const struct problem *problem = &e->plan.problem;
    cudnnStatus_t status = find_pointer(pack, &problem->x, &e->x);
    if (status == CUDNN_STATUS_SUCCESS) status = find_pointer(pack, &problem->w, &e->w);
    if (status == CUDNN_STATUS_SUCCESS) status = find_pointer(pack, &problem->y, &e->y);
    if (status == CUDNN_STATUS_SUCCESS && problem_has_bias(problem))
        status = find_pointer(pack, &problem->bias, &e->bias);
    void *const *workspace = node_elements(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
    e->workspace = workspace ? *workspace : NULL;
    if (status == CUDNN_STATUS_SUCCESS && e->plan.workspace_bytes > 0 && !e->workspace)
        status = cudnn_refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER,
                              "the variant pack has no workspace");
    return status;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t execution_plan,
                                  cudnnBackendDescriptor_t variant_pack)
{
    static atomic_int_fast64_t runs;
    if (sim_fails(__func__)) return cudnn_refuse(CUDNN_STATUS_EXECUTION_FAILED, "injected");
    const struct node *plan = node_of(execution_plan, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    const struct node *pack = node_of(variant_pack, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    if (!handle || !plan || !pack) return CUDNN_STATUS_BAD_PARAM;
    expect_handle(handle);
    if (!plan->finalised || !pack->finalised)
        return cudnn_refuse(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED,
                            "the plan or the variant pack is not finalised");
    const struct prepared *prepared = plan_prepared(plan);
    if (prepared->device_version && prepared->device_version != handle->device_version)
        return cudnn_refuse(CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH,
                            "the plan is for sm_%d, the device is sm_%d",
                            prepared->device_version / 10, handle->device_version / 10);
    struct execution *e = calloc(1, sizeof *e);
    e->plan = *prepared;
    e->run = runs++;
    const cudnnStatus_t status = find_pointers(e, pack);
    if (status == CUDNN_STATUS_SUCCESS)
        sim_enqueue(handle->stream, "cudnnBackendExecute", execute, e);
    else
        free(e);
    return status;
}
