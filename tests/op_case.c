/* Runs ops on a backend and compares them with the reference; see the header. */
#include "op_case.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>

#include "micromet/base/random.h"
#include "tolerance.h"

enum { GUARD_BYTES = 256, SAMPLES_MAX = 2000, SAMPLES_MIN = 100 };

static const double sample_terms = 3e6; /* limit of reference_terms() spent on one array */

#define BIT(role) (1u << ROLE_##role)

/* Arrays that a kind of op reads and writes. */
struct usage {
    unsigned reads, writes;
};

static const struct usage usages[OP_KIND_COUNT] = {
    [OP_CONVOLUTION] = { BIT(X) | BIT(WEIGHTS) | BIT(BIAS), BIT(OUT) },
    [OP_CONVOLUTION_BACKWARD_DATA] = { BIT(DY) | BIT(WEIGHTS), BIT(OUT) },
    [OP_CONVOLUTION_BACKWARD_FILTER] = { BIT(X) | BIT(DY), BIT(OUT) | BIT(DBIAS) },
    [OP_BATCH_NORM] = { BIT(X) | BIT(GAMMA) | BIT(BETA) | BIT(MOVING_MEAN) | BIT(MOVING_VARIANCE),
                        BIT(OUT) | BIT(MOVING_MEAN) | BIT(MOVING_VARIANCE) | BIT(SAVED_MEAN) |
                            BIT(SAVED_INVERSE_STD) },
    [OP_BATCH_NORM_BACKWARD] = { BIT(X) | BIT(Y) | BIT(DY) | BIT(GAMMA) | BIT(SAVED_MEAN) |
                                     BIT(SAVED_INVERSE_STD),
                                 BIT(OUT) | BIT(DBIAS) | BIT(DGAMMA) },
    [OP_POOL] = { BIT(X), BIT(OUT) },
    [OP_POOL_BACKWARD] = { BIT(X) | BIT(DY), BIT(OUT) },
    [OP_RELU_BACKWARD] = { BIT(Y) | BIT(DY), BIT(OUT) },
    [OP_DROPOUT] = { BIT(X), BIT(OUT) },
    [OP_LOSS] = { BIT(X) | BIT(LABELS), BIT(OUT) | BIT(LOSS) | BIT(PROBABILITIES) },
    [OP_OPTIMIZER] = { BIT(PARAMETERS) | BIT(STATE1) | BIT(STATE2) | BIT(GRADIENTS),
                       BIT(PARAMETERS) | BIT(STATE1) | BIT(STATE2) },
    [OP_SUM] = { BIT(X) | BIT(OUT), BIT(OUT) },
};

/* Those of a batch norm's parts. */
static const struct usage sums_usages[] = {
    [OP_BATCH_NORM] = { BIT(X) | BIT(MOVING_MEAN), BIT(SUMS) },
    [OP_BATCH_NORM_BACKWARD] = { BIT(X) | BIT(Y) | BIT(DY) | BIT(SAVED_MEAN) |
                                     BIT(SAVED_INVERSE_STD),
                                 BIT(SUMS) | BIT(DBIAS) | BIT(DGAMMA) },
};

static struct usage usage_of(const struct op *op)
{
    struct usage usage = usages[op->kind];
    if (op->kind != OP_BATCH_NORM && op->kind != OP_BATCH_NORM_BACKWARD) return usage;
    if (op->batch_norm.part == NORM_SUMS) return sums_usages[op->kind];
    if (op->batch_norm.part == NORM_WHOLE) return usage;
    usage.reads |= BIT(SUMS);
    usage.writes &= ~(BIT(DBIAS) | BIT(DGAMMA));
    return usage;
}

/* Offset of a role's pointer in struct op_buffers. */
static const size_t pointer_offsets[ROLE_COUNT] = {
    [ROLE_X] = offsetof(struct op_buffers, x),
    [ROLE_Y] = offsetof(struct op_buffers, y),
    [ROLE_DY] = offsetof(struct op_buffers, dy),
    [ROLE_OUT] = offsetof(struct op_buffers, out),
    [ROLE_WEIGHTS] = offsetof(struct op_buffers, weights),
    [ROLE_BIAS] = offsetof(struct op_buffers, bias),
    [ROLE_DBIAS] = offsetof(struct op_buffers, dbias),
    [ROLE_GAMMA] = offsetof(struct op_buffers, gamma),
    [ROLE_BETA] = offsetof(struct op_buffers, beta),
    [ROLE_DGAMMA] = offsetof(struct op_buffers, dgamma),
    [ROLE_MOVING_MEAN] = offsetof(struct op_buffers, moving_mean),
    [ROLE_MOVING_VARIANCE] = offsetof(struct op_buffers, moving_variance),
    [ROLE_SAVED_MEAN] = offsetof(struct op_buffers, saved_mean),
    [ROLE_SAVED_INVERSE_STD] = offsetof(struct op_buffers, saved_inverse_std),
    [ROLE_SUMS] = offsetof(struct op_buffers, sums),
    [ROLE_LABELS] = offsetof(struct op_buffers, labels),
    [ROLE_LOSS] = offsetof(struct op_buffers, loss),
    [ROLE_PROBABILITIES] = offsetof(struct op_buffers, probabilities),
    [ROLE_PARAMETERS] = offsetof(struct op_buffers, parameters),
    [ROLE_STATE1] = offsetof(struct op_buffers, state1),
    [ROLE_STATE2] = offsetof(struct op_buffers, state2),
    [ROLE_GRADIENTS] = offsetof(struct op_buffers, gradients),
};

static const char *const role_names[ROLE_COUNT] = {
    "x",           "y",
    "dy",          "out",
    "weights",     "bias",
    "dbias",       "gamma",
    "beta",        "dgamma",
    "moving_mean", "moving_variance",
    "saved_mean",  "saved_inverse_std",
    "sums",        "labels",
    "loss",        "probabilities",
    "parameters",  "state1",
    "state2",      "gradients",
};

static bool is_cuda(void)
{
    const char *name = getenv("MICROMET_TEST_BACKEND");
    return name && strcmp(name, "cuda") == 0;
}

struct backend *op_case_backend(int queues)
{
    return op_case_backend_in(queues, NULL);
}

struct backend *op_case_backend_in(int queues, struct world *world)
{
    const struct config_compute compute = { .backend = is_cuda() ? BACKEND_CUDA : BACKEND_CPU,
                                            .threads = 2,
                                            .workspace = 256 };
    struct backend *backend;
    char why_not[256];
    struct error err = { 0 };
    cr_assert(backend_open(&compute, queues, world, &backend, why_not, &err), "%s", err.message);
    return backend;
}

int op_case_queues(void)
{
    return is_cuda() ? 2 : 1;
}

/* --- orders --- */

/* The simulated device's cache of convolution results, which are the same in all orders; enough for
 * the cases that run concurrently. */
static const size_t remembered_bytes = (size_t)512 << 20;

/* A function of the simulated device (tests/simulated_cuda); NULL for other backends. */
static void *simulated(const char *name)
{
    const char *path = getenv("MICROMET_CUDA_LIBRARY");
    void *library = is_cuda() && path ? dlopen(path, RTLD_NOW | RTLD_NOLOAD) : NULL;
    return library ? dlsym(library, name) : NULL;
}

int op_case_orders(void)
{
    const char *orders = getenv("MICROMET_TEST_ORDERS");
    return orders && simulated("simulated_seed") ? atoi(orders) : 1;
}

void op_case_order(int order)
{
    void (*seed)(uint64_t), (*remember)(size_t);
    void *symbols[] = { simulated("simulated_seed"), simulated("simulated_dnn_remember") };
    if (op_case_orders() == 1) return;
    memcpy(&seed, &symbols[0], sizeof seed);
    memcpy(&remember, &symbols[1], sizeof remember);
    remember(remembered_bytes);
    seed((uint64_t)order);
}

static void set_pointer(struct op_buffers *buffers, enum role role, void *address)
{
    memcpy((char *)buffers + pointer_offsets[role], &address, sizeof address);
}

static struct tensor dense(int n, int h, int w, int c)
{
    return (
        struct tensor) { .dtype = DTYPE_F32, .n = n, .h = h, .w = w, .c = c, .pixel_stride = c };
}

static struct tensor tensor_of(const struct op *op, enum role role)
{
    const bool backward = op->kind == OP_CONVOLUTION_BACKWARD_DATA ||
                          op->kind == OP_BATCH_NORM_BACKWARD || op->kind == OP_POOL_BACKWARD ||
                          op->kind == OP_RELU_BACKWARD;
    if (op->kind == OP_SUM) return dense(1, 1, 1, (int)op->sum.count);
    switch (role) {
    case ROLE_X:
        return op->x;
    case ROLE_Y:
    case ROLE_DY:
        return op->y;
    case ROLE_WEIGHTS:
        return dense(op->y.c, op->convolution.window.kernel_h, op->convolution.window.kernel_w,
                     op->x.c);
    case ROLE_OUT:
        if (op->kind == OP_CONVOLUTION_BACKWARD_FILTER) return tensor_of(op, ROLE_WEIGHTS);
        return backward ? op->x : op->y;
    case ROLE_SUMS:
        return dense(1, 1, 2, op->x.c);
    case ROLE_LABELS:
    case ROLE_PROBABILITIES:
        return dense(op->x.n, 1, 1, 1);
    case ROLE_LOSS:
        return dense(1, 1, 1, 1);
    case ROLE_PARAMETERS:
    case ROLE_STATE1:
    case ROLE_STATE2:
    case ROLE_GRADIENTS:
        return dense(1, 1, 1, (int)op->optimizer.count);
    default:
        return dense(1, 1, 1, op->y.c);
    }
}

static unsigned unused_roles(const struct op *op)
{
    switch (op->kind) {
    case OP_CONVOLUTION:
    case OP_CONVOLUTION_BACKWARD_FILTER:
        return op->convolution.bias ? 0 : BIT(BIAS) | BIT(DBIAS);
    case OP_BATCH_NORM:
        return op->batch_norm.gamma ? 0 : BIT(GAMMA);
    case OP_BATCH_NORM_BACKWARD:
        return (op->batch_norm.gamma ? 0 : BIT(GAMMA) | BIT(DGAMMA)) |
               (op->batch_norm.relu ? 0 : BIT(Y));
    case OP_OPTIMIZER:
        return op->optimizer.rule.name == OPTIMIZER_SGD ? BIT(STATE2) : 0;
    default:
        return 0;
    }
}

static float draw(struct random *random, const struct op *op, enum role role, int64_t pixel)
{
    const float u = random_uniform(random, -1, 1);
    const bool squares = role == ROLE_SUMS && pixel == 1 && op->kind == OP_BATCH_NORM;
    switch (role) {
    case ROLE_SUMS: /* such that the variance is positive */
        return (squares ? 1 + u / 2 : u / 2) * (float)op->batch_norm.pixels;
    case ROLE_Y:
        return u > 0 ? u : 0;
    case ROLE_X: /* coarse values for pools, so that maxima are often tied */
        return op->kind == OP_POOL || op->kind == OP_POOL_BACKWARD ? roundf(4 * u) / 4 : u;
    case ROLE_MOVING_VARIANCE:
    case ROLE_SAVED_INVERSE_STD:
        return 1 + u / 2;
    case ROLE_STATE1:
        return op->optimizer.rule.name == OPTIMIZER_RMSPROP ? fabsf(u) : u;
    case ROLE_STATE2:
        return op->optimizer.rule.name == OPTIMIZER_ADAM ||
                       op->optimizer.rule.name == OPTIMIZER_ADAMW
                   ? fabsf(u)
                   : u;
    case ROLE_LABELS:
        return (1 + u) / 2;
    default:
        return u;
    }
}

static void store(const struct tensor *t, void *data, int64_t i, float value)
{
    if (t->dtype == DTYPE_F32) ((float *)data)[i] = value;
    if (t->dtype == DTYPE_BF16) ((uint16_t *)data)[i] = bf16_from_float(value);
    if (t->dtype == DTYPE_U8) ((uint8_t *)data)[i] = (uint8_t)(127.5f * (1 + value));
}

static void fill(struct op_array *array, const struct op *op, enum role role, uint64_t seed)
{
    struct random random = random_init(seed, 0, role, RANDOM_TEST);
    const struct tensor *t = &array->tensor;
    const int64_t pixels = tensor_pixels(t);
    for (int64_t p = 0; p < pixels; p++)
        for (int c = 0; c < t->c; c++)
            store(t, array->before + array->first, p * t->pixel_stride + c,
                  draw(&random, op, role, p));
}

/* Channels before the slice: half of the gap, rounded to multiples of 8 if the stride is one. */
static int slice_first(const struct tensor *t)
{
    const int half = (t->pixel_stride - t->c) / 2;
    return t->pixel_stride % 8 ? half : half / 8 * 8;
}

/* Signalling NaN in float32 and bfloat16: reading it, computing with it and writing
 * it back changes its bits. */
static void fill_with_nan(unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) bytes[i] = i % 2 ? 0x7f : 0xa0;
}

/* Whether the op adds to its output. */
static bool accumulates(const struct op *op)
{
    return (op->kind == OP_CONVOLUTION_BACKWARD_DATA && op->convolution.accumulate) ||
           (op->kind == OP_POOL_BACKWARD && op->pool.accumulate);
}

static void array_init(struct op_array *array, const struct op *op, enum role role, uint64_t seed)
{
    const struct usage usage = usage_of(op);
    const unsigned bit = 1u << role & ~unused_roles(op);
    const bool moving = role == ROLE_MOVING_MEAN || role == ROLE_MOVING_VARIANCE;
    const bool frozen = moving && op->kind == OP_BATCH_NORM && op->batch_norm.frozen;
    *array = (struct op_array) { .reads = usage.reads & bit,
                                 .writes = usage.writes & bit && !frozen };
    if (role == ROLE_OUT && accumulates(op)) array->reads = true;
    if (!array->reads && !array->writes) return;
    array->tensor = tensor_of(op, role);
    const size_t element = dtype_bytes(array->tensor.dtype);
    array->bytes = tensor_bytes(&array->tensor) + 2 * GUARD_BYTES;
    array->first = GUARD_BYTES + (size_t)slice_first(&array->tensor) * element;
    array->before = malloc(array->bytes);
    array->after = malloc(array->bytes);
    CHECK(array->before && array->after);
    fill_with_nan(array->before, array->bytes);
    if (array->reads) fill(array, op, role, seed);
}

void op_case_init(struct op_case *test, const struct op *op, uint64_t seed)
{
    *test = (struct op_case) { .op = op };
    for (int role = 0; role < ROLE_COUNT; role++) {
        struct op_array *array = &test->arrays[role];
        array_init(array, op, (enum role)role, seed);
        if (array->bytes) set_pointer(&test->before, (enum role)role, array->before + array->first);
    }
    test->values = (struct step_values) { .seed = seed, .step = 3, .learning_rate = 0.01f };
    test->before.values = &test->values;
    test->before.weights_version = seed + 1;
}

void op_case_release(struct op_case *test)
{
    for (int role = 0; role < ROLE_COUNT; role++) {
        free(test->arrays[role].before);
        free(test->arrays[role].after);
    }
    *test = (struct op_case) { 0 };
}

void *op_case_before(struct op_case *test, enum role role)
{
    return test->arrays[role].before + test->arrays[role].first;
}

void *op_case_after(struct op_case *test, enum role role)
{
    return test->arrays[role].after + test->arrays[role].first;
}

/* --- running --- */

static bool place(struct op_case *test, struct backend *backend, struct error *err)
{
    const struct backend_ops *ops = backend->ops;
    const int queue = test->op->queue;
    bool ok = ops->alloc(backend, sizeof test->values, &test->device_values, err) &&
              ops->copy(backend, queue, test->device_values, &test->values, sizeof test->values,
                        err);
    for (int role = 0; role < ROLE_COUNT && ok; role++) {
        struct op_array *a = &test->arrays[role];
        if (a->bytes) ok = ops->alloc(backend, a->bytes, (void **)&a->device, err);
    }
    return ok;
}

static void displace(struct op_case *test, struct backend *backend)
{
    const struct backend_ops *ops = backend->ops;
    ops->free(backend, test->device_values);
    test->device_values = NULL;
    for (int role = 0; role < ROLE_COUNT; role++) {
        struct op_array *a = &test->arrays[role];
        ops->free(backend, a->device);
        free(a->again);
        a->device = a->again = NULL;
    }
}

/* Upload the arrays that the previous order may have changed. */
static bool upload(struct op_case *test, int order, struct backend *backend, struct error *err)
{
    bool ok = true;
    for (int role = 0; role < ROLE_COUNT && ok; role++) {
        struct op_array *a = &test->arrays[role];
        if (a->bytes && (order == 1 || a->writes))
            ok = backend->ops->copy(backend, test->op->queue, a->device, a->before, a->bytes, err);
    }
    return ok;
}

/* Start a run. The version of the weights changes, so that they are packed again in every order. */
static bool start(struct op_case *test, int order, struct plan *plan, struct backend *backend,
                  struct error *err)
{
    struct op_buffers buffers = test->before;
    buffers.values = test->device_values;
    buffers.weights_version += (uint64_t)(order - 1) << 32;
    for (int role = 0; role < ROLE_COUNT; role++) {
        struct op_array *a = &test->arrays[role];
        if (a->bytes) set_pointer(&buffers, (enum role)role, a->device + a->first);
    }
    if (test->loads) buffers.weights = NULL;
    return (!test->loads || backend->ops->plan_load(plan, test->before.weights, err)) &&
           backend->ops->run(plan, &buffers, err);
}

/* All arrays in the first and last order, otherwise only those that are written. */
static bool is_fetched(const struct op_array *a, int order)
{
    return a->bytes && (a->writes || order == 1 || order == op_case_orders());
}

static bool download(struct op_case *test, int order, struct backend *backend, struct error *err)
{
    bool ok = true;
    for (int role = 0; role < ROLE_COUNT && ok; role++) {
        struct op_array *a = &test->arrays[role];
        if (!is_fetched(a, order)) continue;
        if (order > 1 && !a->again) CHECK((a->again = malloc(a->bytes)) != NULL);
        ok = backend->ops->copy(backend, test->op->queue, order == 1 ? a->after : a->again,
                                a->device, a->bytes, err);
    }
    return ok;
}

static bool same_bits(const struct op_case *test, int order, struct error *err)
{
    const struct op *op = test->op;
    for (int role = 0; role < ROLE_COUNT; role++) {
        const struct op_array *a = &test->arrays[role];
        if (!is_fetched(a, order) || memcmp(a->after, a->again, a->bytes) == 0) continue;
        size_t i = 0;
        while (a->after[i] == a->again[i]) i++;
        return error_set(err, EXIT_CODE_FAILED,
                         "%s %s: in order %d byte %td behind the first element of %s is not what "
                         "it is in order 1",
                         op_kind_name(op->kind), op->name ? op->name : "", order,
                         (ptrdiff_t)i - (ptrdiff_t)a->first, role_names[role]);
    }
    return true;
}

static bool run_in_order(struct op_case *tests, struct plan **plans, int count, int order,
                         struct backend *backend, struct error *err)
{
    bool ok = true;
    op_case_order(order);
    for (int i = 0; i < count && ok; i++) ok = upload(&tests[i], order, backend, err);
    for (int i = 0; i < count && ok; i++) ok = start(&tests[i], order, plans[i], backend, err);
    for (int i = 0; i < count && ok; i++) ok = download(&tests[i], order, backend, err);
    ok = backend->ops->synchronize(backend, err) && ok;
    for (int i = 0; i < count && ok && order > 1; i++) ok = same_bits(&tests[i], order, err);
    return ok;
}

static bool run_plans(struct op_case *tests, struct plan **plans, int count,
                      struct backend *backend, struct error *err)
{
    bool ok = true;
    for (int i = 0; i < count && ok; i++) ok = place(&tests[i], backend, err);
    for (int order = 1; order <= op_case_orders() && ok; order++)
        ok = run_in_order(tests, plans, count, order, backend, err);
    for (int i = 0; i < count; i++) displace(&tests[i], backend);
    return ok;
}

bool op_case_run_plan(struct op_case *test, struct backend *backend, struct plan *plan,
                      struct error *err)
{
    return run_plans(test, &plan, 1, backend, err);
}

bool op_cases_run(struct op_case *tests, int count, struct backend *backend, struct error *err)
{
    struct plan **plans = calloc((size_t)count, sizeof *plans);
    CHECK(plans);
    bool ok = true;
    for (int i = 0; i < count && ok; i++)
        ok = backend->ops->plan(backend, tests[i].op, &plans[i], err);
    ok = ok && run_plans(tests, plans, count, backend, err);
    for (int i = 0; i < count; i++)
        if (plans[i]) backend->ops->plan_release(plans[i]);
    free(plans);
    return ok;
}

bool op_case_run(struct op_case *test, struct backend *backend, struct error *err)
{
    return op_cases_run(test, 1, backend, err);
}

void op_case_advance(struct op_case *test)
{
    for (int role = 0; role < ROLE_COUNT; role++) {
        struct op_array *array = &test->arrays[role];
        if (array->writes) memcpy(array->before, array->after, array->bytes);
    }
}

static bool untouched(const struct op_case *test, enum role role, size_t from, size_t to,
                      struct error *err)
{
    const struct op_array *a = &test->arrays[role];
    for (size_t i = from; i < to; i++)
        if (a->before[i] != a->after[i])
            return error_set(err, EXIT_CODE_FAILED,
                             "%s: byte %td behind the first element was overwritten",
                             role_names[role], (ptrdiff_t)i - (ptrdiff_t)a->first);
    return true;
}

/* Check that guards and gaps are unchanged, and inputs as a whole. */
static bool surroundings_untouched(const struct op_case *test, enum role role, struct error *err)
{
    const struct op_array *a = &test->arrays[role];
    const size_t element = dtype_bytes(a->tensor.dtype);
    const size_t pixel = (size_t)a->tensor.pixel_stride * element;
    size_t checked = 0;
    for (int64_t p = 0; a->writes && p < tensor_pixels(&a->tensor); p++) {
        const size_t begin = a->first + (size_t)p * pixel;
        if (!untouched(test, role, checked, begin, err)) return false;
        checked = begin + (size_t)a->tensor.c * element;
    }
    return untouched(test, role, checked, a->bytes, err);
}

struct place {
    int n, y, x, c;
};

static bool compare(const struct op_case *test, const struct reference *reference, enum role role,
                    struct place at, double *worst, struct error *err)
{
    const struct op_array *a = &test->arrays[role];
    const struct reference_value want = reference_at(reference, role, at.n, at.y, at.x, at.c);
    const double got = reference_load(&a->tensor, a->after + a->first, at.n, at.y, at.x, at.c);
    const double tolerance = tolerance_of(test->op, role, a->tensor.dtype, &want);
    const double off = distance_of(got, &want);
    if (tolerance > 0 && off / tolerance > *worst) *worst = off / tolerance;
    if (off <= tolerance) return true;
    return error_set(err, EXIT_CODE_FAILED,
                     "%s(%d,%d,%d,%d) is %.9g, should be %.9g (off by %.3g, tolerance %.3g)",
                     role_names[role], at.n, at.y, at.x, at.c, got, want.value, off, tolerance);
}

/* A random index that is often the first or last, at the edges. */
static int sample_index(struct random *random, int count)
{
    switch (random_below(random, 8)) {
    case 0:
        return 0;
    case 1:
        return count - 1;
    default:
        return (int)random_below(random, (uint64_t)count);
    }
}

static bool compare_array(const struct op_case *test, const struct reference *reference,
                          enum role role, double *worst, struct error *err)
{
    const struct tensor *t = &test->arrays[role].tensor;
    const double elements = (double)tensor_pixels(t) * t->c;
    const double affordable = sample_terms / reference_terms(test->op, role);
    const double samples = fmin(SAMPLES_MAX, fmax(SAMPLES_MIN, affordable));
    if (elements <= samples) {
        for (int n = 0; n < t->n; n++)
            for (int y = 0; y < t->h; y++)
                for (int x = 0; x < t->w; x++)
                    for (int c = 0; c < t->c; c++)
                        if (!compare(test, reference, role, (struct place) { n, y, x, c }, worst,
                                     err))
                            return false;
        return true;
    }
    struct random random = random_init(test->values.seed, 1, role, RANDOM_TEST);
    for (int i = 0; i < samples; i++) {
        const struct place at = { .n = sample_index(&random, t->n),
                                  .y = sample_index(&random, t->h),
                                  .x = sample_index(&random, t->w),
                                  .c = sample_index(&random, t->c) };
        if (!compare(test, reference, role, at, worst, err)) return false;
    }
    return true;
}

/* Check all elements for NaN, sampled or not: an output that was never written. */
static bool all_written(const struct op_case *test, enum role role, struct error *err)
{
    const struct op_array *a = &test->arrays[role];
    for (int64_t p = 0; p < tensor_pixels(&a->tensor); p++) {
        const struct tensor flat = {
            .dtype = a->tensor.dtype, .h = 1, .w = 1, .pixel_stride = a->tensor.pixel_stride
        };
        for (int c = 0; c < a->tensor.c; c++)
            if (isnan(reference_load(&flat, a->after + a->first, (int)p, 0, 0, c)))
                return error_set(err, EXIT_CODE_FAILED, "%s: pixel %lld, channel %d is NaN",
                                 role_names[role], (long long)p, c);
    }
    return true;
}

bool op_case_check(const struct op_case *test, double *worst, struct error *err)
{
    struct reference reference;
    reference_init(&reference, test->op, &test->before);
    bool ok = true;
    for (int i = 0; i < ROLE_COUNT && ok; i++) {
        const enum role role = (enum role)i;
        const struct op_array *a = &test->arrays[role];
        if (a->bytes == 0) continue;
        ok = surroundings_untouched(test, role, err);
        if (ok && a->writes)
            ok = all_written(test, role, err) && compare_array(test, &reference, role, worst, err);
    }
    reference_release(&reference);
    return ok;
}

bool op_case_holds(const struct op *op, struct backend *backend, uint64_t seed, double *worst,
                   struct error *err)
{
    struct op_case test;
    op_case_init(&test, op, seed);
    const bool ok = op_case_run(&test, backend, err) && op_case_check(&test, worst, err);
    op_case_release(&test);
    return ok;
}
