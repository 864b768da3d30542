/* Dense layers, that is 1×1 convolutions of 1×1 maps, by cuBLASLt.
 *
 * cuBLASLt is column-major: it sees a row-major (rows, columns) matrix as the transpose.
 * With X (n, c), Y (n, k) and W (k, c) in memory, Yᵀ = W Xᵀ, dXᵀ = Wᵀ dYᵀ and dWᵀ = Xᵀ dY.
 * The leading dimension of X and Y is the pixel stride, so the zero channels that pad an
 * input beyond c are skipped. */
#include <stdlib.h>

#include "cuda_backend.h"
#include "micromet/base/size.h"

/* The alignment of all addresses that an algorithm requires. */
enum alignment { ALIGNED_16, ALIGNED_ELEMENT, ALIGNMENTS };

struct dense {
    cublasLtMatmulDesc_t multiply;
    cublasLtMatrixLayout_t a, b, d;
    cublasLtMatmulAlgo_t algorithms[ALIGNMENTS];
    size_t workspace_bytes; /* for the multiplication */
    /* BF16 with a bias: F32 result in scratch after the workspace, rounded
     * only once the bias is added. */
    struct tensor sum;
    bool sums_aside;
};

static void release(void *detail)
{
    struct dense *dense = detail;
    if (dense->multiply) CUBLAS_RELEASE(cublasLtMatmulDescDestroy(dense->multiply));
    if (dense->a) CUBLAS_RELEASE(cublasLtMatrixLayoutDestroy(dense->a));
    if (dense->b) CUBLAS_RELEASE(cublasLtMatrixLayoutDestroy(dense->b));
    if (dense->d) CUBLAS_RELEASE(cublasLtMatrixLayoutDestroy(dense->d));
    free(dense);
}

static cudaDataType_t cuda_type(enum dtype dtype)
{
    return dtype == DTYPE_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

/* One of the three matrices as stored, not transposed. */
struct matrix {
    enum dtype dtype;
    int rows, columns, leading; /* column-major */
};

static struct matrix matrix_of(const struct tensor *t, int channels)
{
    return (struct matrix) { t->dtype, channels, t->n, t->pixel_stride };
}

static bool layout(cublasLtMatrixLayout_t *out, const struct matrix *m, struct error *err)
{
    return CUBLAS_OK(cublasLtMatrixLayoutCreate(out, cuda_type(m->dtype), (uint64_t)m->rows,
                                                (uint64_t)m->columns, m->leading),
                     err);
}

static bool set_epilogue(struct dense *dense, const struct op *op, struct error *err)
{
    if (op->kind != OP_CONVOLUTION) return true;
    const cublasLtEpilogue_t epilogue =
        op->convolution.bias
            ? (op->convolution.relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS)
            : (op->convolution.relu ? CUBLASLT_EPILOGUE_RELU : CUBLASLT_EPILOGUE_DEFAULT);
    return CUBLAS_OK(cublasLtMatmulDescSetAttribute(dense->multiply, CUBLASLT_MATMUL_DESC_EPILOGUE,
                                                    &epilogue, sizeof epilogue),
                     err);
}

static bool describe(struct dense *dense, const struct plan *plan, struct error *err)
{
    const struct op *op = &plan->op;
    const bool filter = op->kind == OP_CONVOLUTION_BACKWARD_FILTER;
    const bool data = op->kind == OP_CONVOLUTION_BACKWARD_DATA;
    const int c = op_weight_channels(op);
    const struct matrix x = matrix_of(&op->x, c);
    const struct matrix y = matrix_of(dense->sums_aside ? &dense->sum : &op->y, op->y.c);
    const struct matrix w = { filter ? DTYPE_F32 : op->x.dtype, c, op->y.c, c };
    const struct matrix *a = filter ? &x : &w, *b = data || filter ? &y : &x;
    const struct matrix *d = filter ? &w : data ? &x : &y;
    const cublasOperation_t transpose = CUBLAS_OP_T;
    const cublasComputeType_t compute = plan->backend->precision == PRECISION_TF32 &&
                                                op->x.dtype == DTYPE_F32
                                            ? CUBLAS_COMPUTE_32F_FAST_TF32
                                            : CUBLAS_COMPUTE_32F;
    if (!CUBLAS_OK(cublasLtMatmulDescCreate(&dense->multiply, compute, CUDA_R_32F), err) ||
        !layout(&dense->a, a, err) || !layout(&dense->b, b, err) || !layout(&dense->d, d, err))
        return false;
    const cublasLtMatmulDescAttributes_t transposed = filter ? CUBLASLT_MATMUL_DESC_TRANSB
                                                             : CUBLASLT_MATMUL_DESC_TRANSA;
    if (!data && !CUBLAS_OK(cublasLtMatmulDescSetAttribute(dense->multiply, transposed, &transpose,
                                                           sizeof transpose),
                            err))
        return false;
    return set_epilogue(dense, op, err);
}

static bool set_preference(cublasLtMatmulPreference_t preference,
                           cublasLtMatmulPreferenceAttributes_t attribute, const void *value,
                           size_t bytes, struct error *err)
{
    return CUBLAS_OK(cublasLtMatmulPreferenceSetAttribute(preference, attribute, value, bytes),
                     err);
}

static bool choose(struct dense *dense, const struct plan *plan,
                   cublasLtMatmulPreference_t preference, enum alignment alignment,
                   struct error *err)
{
    const size_t element = dtype_bytes(plan->op.x.dtype);
    const uint32_t aligned = alignment == ALIGNED_16 ? 16 : (uint32_t)element;
    const size_t limit = plan->backend->workspace_limit;
    cublasLtMatmulHeuristicResult_t result;
    int found = 0;
    if (!set_preference(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &limit, sizeof limit,
                        err) ||
        !set_preference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &aligned,
                        sizeof aligned, err) ||
        !set_preference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &aligned,
                        sizeof aligned, err) ||
        !set_preference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &aligned,
                        sizeof aligned, err) ||
        !set_preference(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &aligned,
                        sizeof aligned, err) ||
        !CUBLAS_OK(cublasLtMatmulAlgoGetHeuristic(plan->backend->cublas, dense->multiply, dense->a,
                                                  dense->b, dense->d, dense->d, preference, 1,
                                                  &result, &found),
                   err))
        return false;
    if (found == 0) return op_refuse(&plan->op, err, "cuBLASLt has no algorithm for it");
    dense->algorithms[alignment] = result.algo;
    if (result.workspaceSize > dense->workspace_bytes)
        dense->workspace_bytes = result.workspaceSize;
    return true;
}

static bool choose_both(struct dense *dense, const struct plan *plan, struct error *err)
{
    cublasLtMatmulPreference_t preference;
    if (!CUBLAS_OK(cublasLtMatmulPreferenceCreate(&preference), err)) return false;
    const bool ok = choose(dense, plan, preference, ALIGNED_16, err) &&
                    choose(dense, plan, preference, ALIGNED_ELEMENT, err);
    CUBLAS_RELEASE(cublasLtMatmulPreferenceDestroy(preference));
    return ok;
}

static bool multiply(const struct plan *plan, const void *a, const void *b, void *d,
                     struct error *err)
{
    const struct dense *dense = plan->detail;
    const float one = 1, beta = plan->op.convolution.accumulate ? 1 : 0;
    const bool aligned = (((uintptr_t)a | (uintptr_t)b | (uintptr_t)d) & 15) == 0;
    const cublasLtMatmulAlgo_t *algorithm =
        &dense->algorithms[aligned ? ALIGNED_16 : ALIGNED_ELEMENT];
    return CUBLAS_OK(cublasLtMatmul(plan->backend->cublas, dense->multiply, &one, a, dense->a, b,
                                    dense->b, &beta, d, dense->d, d, dense->d, algorithm,
                                    plan_workspace(plan), dense->workspace_bytes,
                                    plan_stream(plan)),
                     err);
}

static bool run_forward(struct plan *plan, const struct op_buffers *buffers, struct error *err)
{
    const struct dense *dense = plan->detail;
    const struct op *op = &plan->op;
    const void *weights;
    void *out = dense->sums_aside ? (char *)plan_workspace(plan) + dense->workspace_bytes
                                  : buffers->out;
    if (!weights_take(plan, buffers, &weights, err)) return false;
    if (op->convolution.bias && !CUBLAS_OK(cublasLtMatmulDescSetAttribute(
                                               dense->multiply, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                               &buffers->bias, sizeof buffers->bias),
                                           err))
        return false;
    if (!multiply(plan, weights, buffers->x, out, err)) return false;
    return !dense->sums_aside || CUDA_OK(launch_copy_view(&op->y, buffers->out, &dense->sum, out,
                                                          false, plan_stream(plan)),
                                         err);
}

static bool run_data(struct plan *plan, const struct op_buffers *buffers, struct error *err)
{
    const void *weights;
    return weights_take(plan, buffers, &weights, err) &&
           multiply(plan, weights, buffers->dy, buffers->out, err);
}

static bool run_filter(struct plan *plan, const struct op_buffers *buffers, struct error *err)
{
    if (!multiply(plan, buffers->x, buffers->dy, buffers->out, err)) return false;
    return !plan->op.convolution.bias ||
           CUDA_OK(launch_channel_sums(&plan->op.y, buffers->dy, buffers->dbias,
                                       plan_workspace(plan), plan_stream(plan)),
                   err);
}

size_t dense_kept_bytes(const struct op *op)
{
    const bool packed = op->x.dtype != DTYPE_F32 && op->kind != OP_CONVOLUTION_BACKWARD_FILTER;
    return packed ? (size_t)op->y.c * (size_t)op_weight_channels(op) * dtype_bytes(op->x.dtype) : 0;
}

/* Reserve memory for packed weights, and the queue's workspace. */
static bool reserve(struct plan *plan, struct dense *dense, struct error *err)
{
    const struct op *op = &plan->op;
    const bool filter = op->kind == OP_CONVOLUTION_BACKWARD_FILTER;
    const size_t sums = filter && op->convolution.bias ? channel_sums_workspace_bytes(&op->y) : 0;
    dense->workspace_bytes = round_up(dense->workspace_bytes, 256);
    size_t bytes = dense->workspace_bytes;
    if (dense->sums_aside) bytes += tensor_bytes(&dense->sum);
    return workspace_reserve(plan->backend, op->queue, sums > bytes ? sums : bytes, err) &&
           weights_reserve(plan, op->x.dtype, op_weight_channels(op), dense_kept_bytes(op), err);
}

bool cuda_plan_dense(struct plan *plan, struct error *err)
{
    static bool (*const runs[])(struct plan *, const struct op_buffers *, struct error *) = {
        [OP_CONVOLUTION] = run_forward,
        [OP_CONVOLUTION_BACKWARD_DATA] = run_data,
        [OP_CONVOLUTION_BACKWARD_FILTER] = run_filter,
    };
    const struct op *op = &plan->op;
    if (op->kind == OP_CONVOLUTION_BACKWARD_DATA && op_weight_channels(op) != op->x.c)
        return op_refuse(op, err, "no data gradient of an input with padding channels");
    struct dense *dense = calloc(1, sizeof *dense);
    if (!dense) return op_refuse(op, err, "out of memory for a plan");
    dense->sums_aside = op->kind == OP_CONVOLUTION && op->convolution.bias &&
                        op->y.dtype != DTYPE_F32;
    dense->sum = op->y;
    dense->sum.dtype = DTYPE_F32;
    dense->sum.pixel_stride = op->y.c;
    plan->detail = dense;
    plan->release = release;
    plan->run = runs[op->kind];
    if (describe(dense, plan, err) && choose_both(dense, plan, err) && reserve(plan, dense, err))
        return true;
    release(dense);
    return false;
}
