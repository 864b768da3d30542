/* The simulated cuBLASLt: products with epilogues against loops, and what it refuses. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "device_array.h"

enum { M = 12, N = 5, K = 9 };

/* A dense layer y (N, M) = [relu](x (N, K) × wᵀ (K, M) + bias), row-major, computed as the
 * column-major D (M, N) with transposed weights. */
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
    unsigned char *got = array_fetch(&t->y);
    for (int n = 0; n < N; n++)
        for (int m = 0; m < M; m++) {
            double right = t->bias ? array_value(&t->b, t->b.host, 0, 0, 0, m) : 0;
            for (int k = 0; k < K; k++)
                right += array_value(&t->x, t->x.host, n, 0, 0, k) *
                         array_value(&t->w, t->w.host, m, 0, 0, k);
            if (t->relu && right < 0) right = 0;
            const double value = array_value(&t->y, got, n, 0, 0, m);
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
    void *bias = array_view(&t->b), *workspace;
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
        expect_cublas(cublasLtMatmul(handle, matmul, &one, array_view(&t->w), a, array_view(&t->x),
                                     b, &zero, array_view(&t->y), d, array_view(&t->y), d,
                                     &results[i].algo, workspace, limit, NULL));
        check_dense(t);
        if (results[i].workspaceSize > 0)
            cr_expect_eq(cublasLtMatmul(handle, matmul, &one, array_view(&t->w), a,
                                        array_view(&t->x), b, &zero, array_view(&t->y), d,
                                        array_view(&t->y), d, &results[i].algo, workspace,
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

Test(simulated_products, products_with_bias_and_relu)
{
    for (int variant = 0; variant < 8; variant++) {
        const enum dtype dtype = variant & 4 ? DTYPE_BF16 : DTYPE_F32;
        struct dense t = { .dtype = dtype, .bias = variant & 1, .relu = variant & 2 };
        t.x = array_make(dtype, N, 1, 1, K, K + 7, 0);
        t.w = array_make(dtype, M, 1, 1, K, K, 0);
        t.y = array_make(dtype, N, 1, 1, M, M + 4, 0);
        t.b = array_make(dtype, 1, 1, 1, M, M, 0);
        run_dense(&t);
        array_release(&t.x);
        array_release(&t.w);
        array_release(&t.y);
        array_release(&t.b);
    }
    expect_no_leaks();
}

Test(simulated_products, products_that_are_not_supported)
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
