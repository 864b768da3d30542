/* The simulated cuBLASLt: D = epilogue(alpha op(A) op(B) + beta C) for F32 and BF16 matrices.
 *
 * The library's opaque descriptors hold plain structs; tables give the position of each attribute.
 * Algorithms differ in the workspace and the alignment that they need; both are checked
 * when one is run. */
#include <cublasLt.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"
#include "simulated.h"
#include "simulated_math.h"

struct cublasLtContext {
    int device;
};

struct matmul {
    cublasComputeType_t compute;
    cudaDataType_t scale;
    int32_t pointer_mode, transpose[2], bias_type; /* bias_type < 0: D's type */
    uint32_t epilogue;
    void *bias;
};

struct layout {
    uint32_t type;
    int32_t order, batch_count;
    uint64_t rows, cols;
    int64_t ld, batch_stride;
};

struct preference {
    uint64_t workspace_bytes;
    uint32_t alignment[4]; /* of A, B, C, D */
};

_Static_assert(sizeof(struct matmul) <= sizeof(cublasLtMatmulDescOpaque_t), "fits");
_Static_assert(sizeof(struct layout) <= sizeof(cublasLtMatrixLayoutOpaque_t), "fits");
_Static_assert(sizeof(struct preference) <= sizeof(cublasLtMatmulPreferenceOpaque_t), "fits");

static const char handle_kind[] = "cuBLASLt handle", matmul_kind[] = "matmul descriptor",
                  layout_kind[] = "matrix layout", preference_kind[] = "matmul preference";

struct field {
    int attribute;
    size_t offset, bytes;
};
#define FIELD(attribute, type, member)                                                             \
    attribute, offsetof(struct type, member), sizeof(((struct type *)0)->member)

static const struct field matmul_fields[] = {
    { FIELD(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE, matmul, compute) },
    { FIELD(CUBLASLT_MATMUL_DESC_SCALE_TYPE, matmul, scale) },
    { FIELD(CUBLASLT_MATMUL_DESC_POINTER_MODE, matmul, pointer_mode) },
    { FIELD(CUBLASLT_MATMUL_DESC_TRANSA, matmul, transpose[0]) },
    { FIELD(CUBLASLT_MATMUL_DESC_TRANSB, matmul, transpose[1]) },
    { FIELD(CUBLASLT_MATMUL_DESC_EPILOGUE, matmul, epilogue) },
    { FIELD(CUBLASLT_MATMUL_DESC_BIAS_POINTER, matmul, bias) },
    { FIELD(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, matmul, bias_type) },
    { 0 },
};
static const struct field layout_fields[] = {
    { FIELD(CUBLASLT_MATRIX_LAYOUT_TYPE, layout, type) },
    { FIELD(CUBLASLT_MATRIX_LAYOUT_ORDER, layout, order) },
    { FIELD(CUBLASLT_MATRIX_LAYOUT_ROWS, layout, rows) },
    { FIELD(CUBLASLT_MATRIX_LAYOUT_COLS, layout, cols) },
    { FIELD(CUBLASLT_MATRIX_LAYOUT_LD, layout, ld) },
    { FIELD(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, layout, batch_count) },
    { FIELD(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, layout, batch_stride) },
    { 0 },
};
static const struct field preference_fields[] = {
    { FIELD(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, preference, workspace_bytes) },
    { FIELD(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, preference, alignment[0]) },
    { FIELD(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, preference, alignment[1]) },
    { FIELD(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, preference, alignment[2]) },
    { FIELD(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, preference, alignment[3]) },
    { 0 },
};

static void *alive(const void *handle, const char *kind)
{
    if (!sim_handle_alive(handle, kind)) sim_defect("cuBLASLt: %p is no live %s", handle, kind);
    return (void *)(uintptr_t)handle;
}

static cublasStatus_t destroy(const char *call, void *handle, const char *kind)
{
    const bool fails = sim_fails(call);
    if (!handle) return CUBLAS_STATUS_INVALID_VALUE;
    sim_handle_destroyed(handle, kind);
    free(handle);
    return fails ? CUBLAS_STATUS_INTERNAL_ERROR : CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t set_field(const char *call, void *descriptor, const char *kind,
                                const struct field *fields, int attribute, const void *value,
                                size_t bytes)
{
    if (sim_fails(call) || !descriptor || !value) return CUBLAS_STATUS_INVALID_VALUE;
    alive(descriptor, kind);
    for (; fields->bytes > 0; fields++) {
        if (fields->attribute != attribute) continue;
        if (fields->bytes != bytes) return CUBLAS_STATUS_INVALID_VALUE;
        memcpy((char *)descriptor + fields->offset, value, bytes);
        return CUBLAS_STATUS_SUCCESS;
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

const char *cublasLtGetStatusName(cublasStatus_t status)
{
    switch (status) {
    case CUBLAS_STATUS_SUCCESS:
        return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
        return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
        return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
        return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED:
        return "CUBLAS_STATUS_NOT_SUPPORTED";
    case CUBLAS_STATUS_EXECUTION_FAILED:
        return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_INTERNAL_ERROR:
        return "CUBLAS_STATUS_INTERNAL_ERROR";
    default:
        return "a status that the simulated cuBLASLt does not use";
    }
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    return cublasLtGetStatusName(status);
}

size_t cublasLtGetVersion(void)
{
    return CUBLAS_VERSION;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    int device;
    if (sim_fails(__func__)) return CUBLAS_STATUS_ALLOC_FAILED;
    if (!handle) return CUBLAS_STATUS_INVALID_VALUE;
    if (cudaGetDevice(&device) != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
    *handle = calloc(1, sizeof **handle);
    (*handle)->device = device;
    sim_handle_created(*handle, handle_kind);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    return destroy(__func__, handle, handle_kind);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *descriptor,
                                        cublasComputeType_t compute, cudaDataType_t scale)
{
    if (sim_fails(__func__)) return CUBLAS_STATUS_ALLOC_FAILED;
    struct matmul *matmul = calloc(1, sizeof(cublasLtMatmulDescOpaque_t));
    *matmul = (struct matmul) {
        .compute = compute, .scale = scale, .bias_type = -1, .epilogue = CUBLASLT_EPILOGUE_DEFAULT
    };
    sim_handle_created(matmul, matmul_kind);
    *descriptor = (cublasLtMatmulDesc_t)matmul;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t descriptor)
{
    return destroy(__func__, descriptor, matmul_kind);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t descriptor,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t bytes)
{
    return set_field(__func__, descriptor, matmul_kind, matmul_fields, (int)attribute, value,
                     bytes);
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *descriptor, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld)
{
    if (sim_fails(__func__)) return CUBLAS_STATUS_ALLOC_FAILED;
    struct layout *layout = calloc(1, sizeof(cublasLtMatrixLayoutOpaque_t));
    *layout = (struct layout) { .type = type,
                                .order = CUBLASLT_ORDER_COL,
                                .batch_count = 1,
                                .rows = rows,
                                .cols = cols,
                                .ld = ld };
    sim_handle_created(layout, layout_kind);
    *descriptor = (cublasLtMatrixLayout_t)layout;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t descriptor)
{
    return destroy(__func__, descriptor, layout_kind);
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t descriptor,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                const void *value, size_t bytes)
{
    return set_field(__func__, descriptor, layout_kind, layout_fields, (int)attribute, value,
                     bytes);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *descriptor)
{
    if (sim_fails(__func__)) return CUBLAS_STATUS_ALLOC_FAILED;
    struct preference *preference = calloc(1, sizeof(cublasLtMatmulPreferenceOpaque_t));
    *preference = (struct preference) { .alignment = { 256, 256, 256, 256 } };
    sim_handle_created(preference, preference_kind);
    *descriptor = (cublasLtMatmulPreference_t)preference;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t descriptor)
{
    return destroy(__func__, descriptor, preference_kind);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t descriptor,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t bytes)
{
    return set_field(__func__, descriptor, preference_kind, preference_fields, (int)attribute,
                     value, bytes);
}

/* --- products --- */

struct product {
    struct matmul matmul;
    struct layout a, b, c, d;
    int64_t m, n, k;
};

struct execution {
    struct product product;
    const void *a, *b, *c;
    void *d, *workspace;
    size_t workspace_bytes;
    float alpha, beta;
};

/* the smallest leading dimension: from one column (or row) to the next */
static int64_t span(const struct layout *l)
{
    return (int64_t)(l->order == CUBLASLT_ORDER_COL ? l->rows : l->cols);
}

static int64_t lines(const struct layout *l)
{
    return (int64_t)(l->order == CUBLASLT_ORDER_COL ? l->cols : l->rows);
}

static int64_t at(const struct layout *l, int64_t row, int64_t col)
{
    return l->order == CUBLASLT_ORDER_COL ? col * l->ld + row : row * l->ld + col;
}

static enum element element_type(uint32_t type)
{
    return type == CUDA_R_16BF ? ELEMENT_BF16 : ELEMENT_F32;
}

static size_t extent(const struct layout *l)
{
    return (size_t)((lines(l) - 1) * l->ld + span(l)) * (l->type == CUDA_R_16BF ? 2 : 4);
}

static bool is_possible(const struct layout *l)
{
    return l->rows > 0 && l->cols > 0 && l->ld >= span(l) && l->batch_count > 0;
}

static bool has_bias(const struct matmul *matmul)
{
    return matmul->epilogue == CUBLASLT_EPILOGUE_BIAS ||
           matmul->epilogue == CUBLASLT_EPILOGUE_RELU_BIAS;
}

static bool has_relu(const struct matmul *matmul)
{
    return matmul->epilogue == CUBLASLT_EPILOGUE_RELU ||
           matmul->epilogue == CUBLASLT_EPILOGUE_RELU_BIAS;
}

static bool gives_bias_gradient(const struct matmul *matmul)
{
    return matmul->epilogue == CUBLASLT_EPILOGUE_BGRADA ||
           matmul->epilogue == CUBLASLT_EPILOGUE_BGRADB;
}

static bool uses_bias(const struct matmul *matmul)
{
    return has_bias(matmul) || gives_bias_gradient(matmul);
}

/* Supported: inputs of one type, outputs of that type or F32, and a bias of D's type along the rows
 * of a column-major D. */
static bool is_supported(const struct product *p)
{
    const struct matmul *matmul = &p->matmul;
    const struct layout *all[4] = { &p->a, &p->b, &p->c, &p->d };
    for (int i = 0; i < 4; i++)
        if ((all[i]->order != CUBLASLT_ORDER_COL && all[i]->order != CUBLASLT_ORDER_ROW) ||
            all[i]->batch_count != 1 || (all[i]->type != CUDA_R_32F && all[i]->type != CUDA_R_16BF))
            return false;
    const bool types = p->a.type == p->b.type && p->c.type == p->d.type &&
                       (p->d.type == CUDA_R_32F || p->d.type == p->a.type) &&
                       matmul->scale == CUDA_R_32F &&
                       matmul->pointer_mode == CUBLASLT_POINTER_MODE_HOST;
    const bool compute = matmul->compute == CUBLAS_COMPUTE_32F ||
                         (matmul->compute == CUBLAS_COMPUTE_32F_FAST_TF32 &&
                          p->a.type == CUDA_R_32F);
    const bool plain = matmul->epilogue == CUBLASLT_EPILOGUE_DEFAULT ||
                       matmul->epilogue == CUBLASLT_EPILOGUE_RELU;
    const bool bias = uses_bias(matmul) && p->d.order == CUBLASLT_ORDER_COL &&
                      (matmul->bias_type < 0 || (uint32_t)matmul->bias_type == p->d.type);
    return types && compute && (plain || bias);
}

static cublasStatus_t read_product(struct product *p, cublasLtMatmulDesc_t matmul,
                                   cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                   cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d)
{
    if (!matmul || !a || !b || !c || !d) return CUBLAS_STATUS_INVALID_VALUE;
    *p = (struct product) { .matmul = *(const struct matmul *)alive(matmul, matmul_kind),
                            .a = *(const struct layout *)alive(a, layout_kind),
                            .b = *(const struct layout *)alive(b, layout_kind),
                            .c = *(const struct layout *)alive(c, layout_kind),
                            .d = *(const struct layout *)alive(d, layout_kind) };
    const bool ta = p->matmul.transpose[0] != CUBLAS_OP_N,
               tb = p->matmul.transpose[1] != CUBLAS_OP_N;
    const uint64_t m = ta ? p->a.cols : p->a.rows, k = ta ? p->a.rows : p->a.cols;
    const uint64_t n = tb ? p->b.rows : p->b.cols, inner = tb ? p->b.cols : p->b.rows;
    if (!is_possible(&p->a) || !is_possible(&p->b) || !is_possible(&p->c) || !is_possible(&p->d) ||
        k != inner || p->d.rows != m || p->d.cols != n || p->c.rows != m || p->c.cols != n)
        return CUBLAS_STATUS_INVALID_VALUE;
    p->m = (int64_t)m;
    p->n = (int64_t)n;
    p->k = (int64_t)k;
    return is_supported(p) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

/* --- algorithms --- */

enum { ALGORITHM_MARK = 0x5eed };
struct algorithm { /* contents of cublasLtMatmulAlgo_t */
    uint64_t mark, workspace_bytes, alignment, types;
    int64_t m, n, k;
};
_Static_assert(sizeof(struct algorithm) <= sizeof(cublasLtMatmulAlgo_t), "fits");

/* In order of preference. */
static const struct {
    uint64_t workspace_bytes, alignment;
} algorithms[] = {
    { (9 << 20) + 256, 16 }, { 4 << 20, 16 }, { 0, 16 }, { (9 << 20) + 512, 1 }, { 0, 1 }
};

static uint64_t types_of(const struct product *p)
{
    return (uint64_t)p->a.type << 32 | p->d.type << 8 | p->matmul.epilogue;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t matmul,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference_, int requested,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int *returned)
{
    struct product p;
    if (sim_fails(__func__)) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (!handle || !preference_ || requested < 1 || !results || !returned)
        return CUBLAS_STATUS_INVALID_VALUE;
    alive(handle, handle_kind);
    const struct preference *preference = alive(preference_, preference_kind);
    *returned = 0;
    const cublasStatus_t status = read_product(&p, matmul, a, b, c, d);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    for (size_t i = 0; i < COUNT_OF(algorithms) && *returned < requested; i++) {
        bool fits = algorithms[i].workspace_bytes <= preference->workspace_bytes;
        for (int t = 0; t < 4; t++)
            fits = fits && preference->alignment[t] % algorithms[i].alignment == 0;
        if (!fits) continue;
        const struct algorithm algorithm = { ALGORITHM_MARK,
                                             algorithms[i].workspace_bytes,
                                             algorithms[i].alignment,
                                             types_of(&p),
                                             p.m,
                                             p.n,
                                             p.k };
        cublasLtMatmulHeuristicResult_t *result = &results[(*returned)++];
        *result = (cublasLtMatmulHeuristicResult_t) { .workspaceSize = algorithm.workspace_bytes,
                                                      .state = CUBLAS_STATUS_SUCCESS,
                                                      .wavesCount = 1 };
        memcpy(&result->algo, &algorithm, sizeof algorithm);
    }
    return *returned > 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

/* --- the work --- */

/* op(matrix) as a dense array (rows, cols). */
static double *unpack(const struct layout *l, bool transposed, enum rounding rounding,
                      const void *data)
{
    const int64_t rows = (int64_t)(transposed ? l->cols : l->rows),
                  cols = (int64_t)(transposed ? l->rows : l->cols);
    double *out = malloc((size_t)(rows * cols) * sizeof *out);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            out[r * cols + c] = element_load(element_type(l->type), rounding, data,
                                             transposed ? at(l, c, r) : at(l, r, c));
    return out;
}

static void store(const struct execution *e, const double *sums)
{
    const struct product *p = &e->product;
    const enum element type = element_type(p->d.type);
    for (int64_t r = 0; r < p->m; r++)
        for (int64_t c = 0; c < p->n; c++) {
            double value = e->alpha * sums[r * p->n + c];
            if (e->beta != 0)
                value += e->beta *
                         element_load(element_type(p->c.type), ROUND_NOT, e->c, at(&p->c, r, c));
            if (has_bias(&p->matmul)) value += element_load(type, ROUND_NOT, p->matmul.bias, r);
            if (has_relu(&p->matmul) && value < 0) value = 0;
            element_store(type, e->d, at(&p->d, r, c), value);
        }
}

static int64_t bias_length(const struct product *p)
{
    return p->matmul.epilogue == CUBLASLT_EPILOGUE_BGRADB ? p->n : p->m;
}

/* Bias gradient: sums over k of the rows of op(A), or of the columns of op(B). */
static void store_bias_gradient(const struct product *p, const double *a, const double *b)
{
    const bool of_a = p->matmul.epilogue == CUBLASLT_EPILOGUE_BGRADA;
    for (int64_t i = 0; i < bias_length(p); i++) {
        double sum = 0;
        for (int64_t k = 0; k < p->k; k++) sum += of_a ? a[i * p->k + k] : b[k * p->n + i];
        element_store(element_type(p->d.type), p->matmul.bias, i, sum);
    }
}

static void execute(void *argument)
{
    const struct execution *e = argument;
    const struct product *p = &e->product;
    sim_expect_device(e->a, extent(&p->a), "A of a product");
    sim_expect_device(e->b, extent(&p->b), "B of a product");
    sim_expect_device(e->d, extent(&p->d), "D of a product");
    if (e->beta != 0) sim_expect_device(e->c, extent(&p->c), "C of a product");
    if (uses_bias(&p->matmul))
        sim_expect_device(p->matmul.bias,
                          (size_t)bias_length(p) * (p->d.type == CUDA_R_16BF ? 2 : 4),
                          "the bias of a product");
    if (e->workspace_bytes > 0) {
        sim_expect_device(e->workspace, e->workspace_bytes, "the workspace of a product");
        memset(e->workspace, 0xff, e->workspace_bytes);
    }
    const enum rounding rounding = p->matmul.compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? ROUND_TF32
                                                                                     : ROUND_NOT;
    double *a = unpack(&p->a, p->matmul.transpose[0] != CUBLAS_OP_N, rounding, e->a);
    double *b = unpack(&p->b, p->matmul.transpose[1] != CUBLAS_OP_N, rounding, e->b);
    double *sums = malloc((size_t)(p->m * p->n) * sizeof *sums);
    multiply(p->m, p->n, p->k, a, b, sums);
    store(e, sums);
    if (gives_bias_gradient(&p->matmul)) store_bias_gradient(p, a, b);
    free(sums);
    free(b);
    free(a);
}

static bool is_aligned(const void *p, uint64_t alignment)
{
    return (uintptr_t)p % alignment == 0;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t matmul,
                              const void *alpha, const void *a, cublasLtMatrixLayout_t a_layout,
                              const void *b, cublasLtMatrixLayout_t b_layout, const void *beta,
                              const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo,
                              void *workspace, size_t workspace_bytes, cudaStream_t stream)
{
    struct execution e = { .a = a, .b = b, .c = c, .d = d, .workspace = workspace };
    if (sim_fails(__func__)) return CUBLAS_STATUS_EXECUTION_FAILED;
    if (!handle || !alpha || !beta || !a || !b || !d) return CUBLAS_STATUS_INVALID_VALUE;
    alive(handle, handle_kind);
    const cublasStatus_t status = read_product(&e.product, matmul, a_layout, b_layout, c_layout,
                                               d_layout);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    const struct product *p = &e.product;
    struct algorithm algorithm = { .alignment = 1 };
    if (algo) memcpy(&algorithm, algo, sizeof algorithm);
    if (algo && (algorithm.mark != ALGORITHM_MARK || algorithm.types != types_of(p) ||
                 algorithm.m != p->m || algorithm.n != p->n || algorithm.k != p->k))
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(&e.alpha, alpha, sizeof e.alpha);
    memcpy(&e.beta, beta, sizeof e.beta);
    e.workspace_bytes = algorithm.workspace_bytes;
    if (e.workspace_bytes > workspace_bytes ||
        (e.workspace_bytes > 0 && (!workspace || !is_aligned(workspace, 16))) ||
        (e.beta != 0 && !c) || (uses_bias(&p->matmul) && !p->matmul.bias) ||
        !is_aligned(a, algorithm.alignment) || !is_aligned(b, algorithm.alignment) ||
        !is_aligned(c, algorithm.alignment) || !is_aligned(d, algorithm.alignment))
        return CUBLAS_STATUS_INVALID_VALUE;
    struct execution *queued = malloc(sizeof *queued);
    *queued = e;
    sim_enqueue(stream, "cublasLtMatmul", execute, queued);
    return CUBLAS_STATUS_SUCCESS;
}
