/* Every op × shape × type of a backend against the reference, with tables of
 * options. MICROMET_TEST_REPORT=1 in the environment prints the largest errors as a
 * fraction of the tolerance. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "micromet/base/size.h"
#include "op_case.h"
#include "shapes.h"

/* Options that a shape is tested with. */
struct variant {
    enum op_kind kind;
    bool bias, relu, accumulate, frozen, unbiased_moving, gamma, exclude_padding;
    enum norm_part part;
};

/* Both halves have every kind, so that shapes tested with one half get all kinds. */
enum { VARIANTS = 8 };

static const struct variant convolutions[VARIANTS] = {
    { .kind = OP_CONVOLUTION },
    { .kind = OP_CONVOLUTION, .bias = true },
    { .kind = OP_CONVOLUTION_BACKWARD_DATA },
    { .kind = OP_CONVOLUTION_BACKWARD_FILTER },
    { .kind = OP_CONVOLUTION, .bias = true, .relu = true },
    { .kind = OP_CONVOLUTION, .relu = true },
    { .kind = OP_CONVOLUTION_BACKWARD_DATA, .accumulate = true },
    { .kind = OP_CONVOLUTION_BACKWARD_FILTER, .bias = true },
};

static const struct variant norms[VARIANTS] = {
    { .kind = OP_BATCH_NORM, .relu = true },
    { .kind = OP_BATCH_NORM_BACKWARD, .relu = true },
    { .kind = OP_BATCH_NORM, .frozen = true },
    { .kind = OP_BATCH_NORM_BACKWARD, .frozen = true },
    { .kind = OP_BATCH_NORM, .gamma = true, .unbiased_moving = true },
    { .kind = OP_BATCH_NORM_BACKWARD, .gamma = true },
    { .kind = OP_BATCH_NORM, .relu = true, .frozen = true, .gamma = true },
    { .kind = OP_BATCH_NORM_BACKWARD, .relu = true, .frozen = true, .gamma = true },
};

/* As ranks compute them that share their statistics. */
static const struct variant norm_parts[VARIANTS] = {
    { .kind = OP_BATCH_NORM, .relu = true, .part = NORM_SUMS },
    { .kind = OP_BATCH_NORM, .gamma = true, .relu = true, .part = NORM_REST },
    { .kind = OP_BATCH_NORM_BACKWARD, .relu = true, .part = NORM_SUMS },
    { .kind = OP_BATCH_NORM_BACKWARD, .gamma = true, .relu = true, .part = NORM_REST },
    { .kind = OP_BATCH_NORM, .gamma = true, .part = NORM_SUMS },
    { .kind = OP_BATCH_NORM, .unbiased_moving = true, .part = NORM_REST },
    { .kind = OP_BATCH_NORM_BACKWARD, .gamma = true, .part = NORM_SUMS },
    { .kind = OP_BATCH_NORM_BACKWARD, .part = NORM_REST },
};

static const struct variant pools[VARIANTS] = {
    { .kind = OP_POOL },
    { .kind = OP_POOL_BACKWARD },
    { .kind = OP_POOL_BACKWARD, .exclude_padding = true, .accumulate = true },
    { .kind = OP_POOL, .exclude_padding = true },
    { .kind = OP_POOL, .exclude_padding = true },
    { .kind = OP_POOL_BACKWARD, .exclude_padding = true },
    { .kind = OP_POOL_BACKWARD, .accumulate = true },
    { .kind = OP_POOL },
};

static struct op variant_op(const struct shape *shape, const struct variant *v, enum dtype dtype)
{
    struct op op = shape_op(shape, v->kind, dtype);
    if (op_is_convolution(&op)) {
        op.convolution.bias = v->bias;
        op.convolution.relu = v->relu;
        op.convolution.accumulate = v->accumulate;
    } else if (op_window(&op)) {
        op.pool.exclude_padding = v->exclude_padding;
        op.pool.accumulate = v->accumulate;
    } else {
        op.batch_norm.gamma = v->gamma;
        op.batch_norm.relu = v->relu;
        op.batch_norm.frozen = v->frozen;
        op.batch_norm.unbiased_moving = v->unbiased_moving;
        op.batch_norm.part = v->part;
        op.batch_norm.pixels = 3 * tensor_pixels(&op.x);
    }
    return op;
}

static void check_variant(const struct op_case *test, const struct variant *v, double *worst)
{
    const struct op *op = test->op;
    struct error err = { 0 };
    const bool holds = op_case_check(test, worst, &err);
    cr_expect(holds, "%s, %s, %s%s%s%s%s%s%s%s: %s", op_kind_name(op->kind), op->name,
              op->x.dtype == DTYPE_F32 ? "float32" : "bfloat16", v->bias ? ", bias" : "",
              v->relu ? ", ReLU" : "", v->accumulate ? ", accumulate" : "",
              v->frozen ? ", frozen" : "", v->gamma ? ", gamma" : "",
              v->exclude_padding ? ", padding excluded" : "",
              v->part == NORM_SUMS   ? ", sums"
              : v->part == NORM_REST ? ", given sums"
                                     : "",
              err.message);
}

/* Run all concurrently, distributed over the queues. */
static void check_variants(struct backend *backend, const struct shape *shape,
                           const struct variant *variants, int count, enum dtype dtype,
                           uint64_t seed, double *worst)
{
    struct op ops[VARIANTS];
    struct op_case tests[VARIANTS];
    struct error err = { 0 };
    for (int v = 0; v < count; v++) {
        ops[v] = variant_op(shape, &variants[v], dtype);
        ops[v].queue = v % backend->facts.queues;
        op_case_init(&tests[v], &ops[v], seed + (uint64_t)v);
    }
    const bool ran = op_cases_run(tests, count, backend, &err);
    cr_expect(ran, "%s: %s", shape->name, err.message);
    for (int v = 0; v < count; v++) {
        if (ran) check_variant(&tests[v], &variants[v], worst);
        op_case_release(&tests[v]);
    }
}

enum coverage { EVERY_VARIANT, HALF_OF_THE_VARIANTS };

/* Run the variants on every shape that is (or is not) a convolution. */
static void check_shapes(const struct shapes *shapes, bool of_convolutions,
                         const struct variant variants[VARIANTS], enum coverage coverage,
                         enum dtype dtype)
{
    struct backend *backend = op_case_backend(op_case_queues());
    double worst = 0;
    int checked = 0;
    for (int i = 0; i < shapes->count; i++) {
        const struct shape *shape = &shapes->items[i];
        if ((shape->kind == INCEPTION_CONVOLUTION) != of_convolutions) continue;
        const int first = coverage == EVERY_VARIANT ? 0 : i % 2 * VARIANTS / 2;
        const int count = coverage == EVERY_VARIANT ? VARIANTS : VARIANTS / 2;
        check_variants(backend, shape, variants + first, count, dtype,
                       (uint64_t)(i * VARIANTS + first), &worst);
        checked += count;
    }
    backend_close(backend);
    cr_expect(checked > 0);
    if (getenv("MICROMET_TEST_REPORT"))
        printf("%s of %s: %d ops in %d orders, largest error %.3f of its tolerance\n",
               dtype == DTYPE_F32 ? "float32" : "bfloat16", shapes->items[0].name, checked,
               op_case_orders(), worst);
}

static const struct shapes *inception(int window)
{
    static struct shapes shapes;
    shapes_inception(&shapes, window, 2);
    return &shapes;
}

static const struct shapes *odd(void)
{
    static struct shapes shapes;
    shapes_odd(&shapes);
    return &shapes;
}

Test(backend, odd_convolutions_match_the_reference_in_float32)
{
    check_shapes(odd(), true, convolutions, EVERY_VARIANT, DTYPE_F32);
}

Test(backend, odd_convolutions_match_the_reference_in_bfloat16)
{
    check_shapes(odd(), true, convolutions, EVERY_VARIANT, DTYPE_BF16);
}

Test(backend, convolutions_at_80_px_match_the_reference_in_float32)
{
    check_shapes(inception(80), true, convolutions, HALF_OF_THE_VARIANTS, DTYPE_F32);
}

Test(backend, convolutions_at_80_px_match_the_reference_in_bfloat16)
{
    check_shapes(inception(80), true, convolutions, HALF_OF_THE_VARIANTS, DTYPE_BF16);
}

Test(backend, convolutions_at_299_px_match_the_reference_in_float32)
{
    check_shapes(inception(299), true, convolutions, HALF_OF_THE_VARIANTS, DTYPE_F32);
}

Test(backend, convolutions_at_299_px_match_the_reference_in_bfloat16)
{
    check_shapes(inception(299), true, convolutions, HALF_OF_THE_VARIANTS, DTYPE_BF16);
}

Test(backend, batch_norms_match_the_reference_in_float32)
{
    check_shapes(odd(), true, norms, EVERY_VARIANT, DTYPE_F32);
    check_shapes(inception(80), true, norms, HALF_OF_THE_VARIANTS, DTYPE_F32);
    check_shapes(inception(299), true, norms, HALF_OF_THE_VARIANTS, DTYPE_F32);
}

Test(backend, batch_norms_in_two_parts_match_the_reference)
{
    check_shapes(odd(), true, norm_parts, EVERY_VARIANT, DTYPE_F32);
    check_shapes(odd(), true, norm_parts, EVERY_VARIANT, DTYPE_BF16);
    check_shapes(inception(80), true, norm_parts, HALF_OF_THE_VARIANTS, DTYPE_F32);
    check_shapes(inception(299), true, norm_parts, HALF_OF_THE_VARIANTS, DTYPE_BF16);
}

Test(backend, batch_norms_match_the_reference_in_bfloat16)
{
    check_shapes(odd(), true, norms, EVERY_VARIANT, DTYPE_BF16);
    check_shapes(inception(80), true, norms, HALF_OF_THE_VARIANTS, DTYPE_BF16);
    check_shapes(inception(299), true, norms, HALF_OF_THE_VARIANTS, DTYPE_BF16);
}

Test(backend, pools_match_the_reference_in_float32)
{
    check_shapes(odd(), false, pools, EVERY_VARIANT, DTYPE_F32);
    check_shapes(inception(80), false, pools, EVERY_VARIANT, DTYPE_F32);
    check_shapes(inception(299), false, pools, HALF_OF_THE_VARIANTS, DTYPE_F32);
}

Test(backend, pools_match_the_reference_in_bfloat16)
{
    check_shapes(odd(), false, pools, EVERY_VARIANT, DTYPE_BF16);
    check_shapes(inception(80), false, pools, EVERY_VARIANT, DTYPE_BF16);
    check_shapes(inception(299), false, pools, HALF_OF_THE_VARIANTS, DTYPE_BF16);
}

/* ReLU gradient and dropout on a slice of a wider tensor. */
static void check_elementwise(struct op op, enum dtype dtype)
{
    struct backend *backend = op_case_backend(1);
    const int sizes[][5] = { { 1, 1, 1, 1, 1 }, { 4, 1, 1, 256, 256 }, { 2, 3, 5, 17, 40 } };
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        const int *s = sizes[i];
        op.x = (struct tensor) {
            .dtype = dtype, .n = s[0], .h = s[1], .w = s[2], .c = s[3], .pixel_stride = s[3]
        };
        op.y = op.x;
        op.y.pixel_stride = s[4];
        struct error err = { 0 };
        double worst = 0;
        cr_expect(op_case_holds(&op, backend, 7 + i, &worst, &err), "size %zu: %s", i, err.message);
    }
    backend_close(backend);
}

Test(backend, relu_gradients_match_the_reference)
{
    check_elementwise((struct op) { .kind = OP_RELU_BACKWARD }, DTYPE_F32);
    check_elementwise((struct op) { .kind = OP_RELU_BACKWARD }, DTYPE_BF16);
}

Test(backend, dropout_matches_the_reference)
{
    for (int i = 0; i < 4; i++) {
        const float rates[] = { 0, 0.3f, 0.5f, 0.9f };
        check_elementwise((struct op) { .kind = OP_DROPOUT, .dropout.rate = rates[i] }, DTYPE_F32);
        check_elementwise((struct op) { .kind = OP_DROPOUT, .dropout.rate = rates[i] }, DTYPE_BF16);
    }
}

static const struct shape *find_shape(const struct shapes *shapes, const char *name)
{
    for (int i = 0; i < shapes->count; i++)
        if (strcmp(shapes->items[i].name, name) == 0) return &shapes->items[i];
    cr_assert(false, "no shape '%s'", name);
    return NULL;
}

/* Shapes that are computed by different kernels. */
static const char *const picked[] = {
    "3x3 same between slices", "1x1 between slices", "three channels, stride 2, odd",
    "7x1 taller than the map", "1x7 same",           "dense"
};
enum { PICKED = COUNT_OF(picked) };

Test(backend, new_weights_of_a_new_version_are_used)
{
    struct backend *backend = op_case_backend(1);
    for (int i = 0; i < 4 * PICKED; i++) {
        const struct op op = shape_op(find_shape(odd(), picked[i / 4]),
                                      i % 2 ? OP_CONVOLUTION_BACKWARD_DATA : OP_CONVOLUTION,
                                      i % 4 < 2 ? DTYPE_F32 : DTYPE_BF16);
        struct error err = { 0 };
        struct plan *plan;
        cr_assert(backend->ops->plan(backend, &op, &plan, &err), "%s", err.message);
        for (uint64_t version = 1; version <= 3; version++) {
            struct op_case test;
            double worst = 0;
            op_case_init(&test, &op, version);
            test.before.weights_version = version;
            cr_expect(op_case_run_plan(&test, backend, plan, &err) &&
                          op_case_check(&test, &worst, &err),
                      "%s, version %d: %s", op.name, (int)version, err.message);
            op_case_release(&test);
        }
        backend->ops->plan_release(plan);
    }
    backend_close(backend);
}

/* Weights given to plan_load(), twice. */
Test(backend, loaded_weights_are_used_and_replaced)
{
    struct backend *backend = op_case_backend(1);
    for (int i = 0; i < 4 * PICKED; i++) {
        const struct op op = shape_op(find_shape(odd(), picked[i / 4]),
                                      i % 2 ? OP_CONVOLUTION_BACKWARD_DATA : OP_CONVOLUTION,
                                      i % 4 < 2 ? DTYPE_F32 : DTYPE_BF16);
        struct error err = { 0 };
        struct plan *plan;
        cr_assert(backend->ops->plan(backend, &op, &plan, &err), "%s", err.message);
        for (uint64_t seed = 1; seed <= 2; seed++) {
            struct op_case test;
            double worst = 0;
            op_case_init(&test, &op, seed);
            test.loads = true;
            cr_expect(op_case_run_plan(&test, backend, plan, &err) &&
                          op_case_check(&test, &worst, &err),
                      "%s, load %d: %s", op.name, (int)seed, err.message);
            op_case_release(&test);
        }
        backend->ops->plan_release(plan);
    }
    backend_close(backend);
}

static bool same_results(const struct op_case *a, const struct op_case *b)
{
    for (int role = 0; role < ROLE_COUNT; role++)
        if (a->arrays[role].bytes > 0 &&
            memcmp(a->arrays[role].after, b->arrays[role].after, a->arrays[role].bytes) != 0)
            return false;
    return true;
}

Test(backend, a_second_run_gives_the_same_bits)
{
    struct backend *backend = op_case_backend(1);
    for (int i = 0; i < PICKED * VARIANTS; i++) {
        struct op op = shape_op(find_shape(odd(), picked[i / VARIANTS]),
                                convolutions[i % VARIANTS].kind, DTYPE_F32);
        op.convolution.accumulate = convolutions[i % VARIANTS].accumulate;
        op.convolution.bias = convolutions[i % VARIANTS].bias;
        struct op_case runs[2];
        for (int k = 0; k < 2; k++) {
            struct error err = { 0 };
            op_case_init(&runs[k], &op, 5);
            cr_expect(op_case_run(&runs[k], backend, &err), "%s", err.message);
        }
        cr_expect(same_results(&runs[0], &runs[1]), "%s, %s", op.name, op_kind_name(op.kind));
        op_case_release(&runs[0]);
        op_case_release(&runs[1]);
    }
    backend_close(backend);
}

Test(backend, every_queue_computes_the_same)
{
    struct backend *backend = op_case_backend(2);
    cr_assert_geq(backend->facts.queues, 1);
    for (int i = 0; i < PICKED * backend->facts.queues; i++) {
        struct op op = shape_op(find_shape(odd(), picked[i / backend->facts.queues]),
                                OP_CONVOLUTION, DTYPE_F32);
        op.queue = i % backend->facts.queues;
        struct error err = { 0 };
        double worst = 0;
        cr_expect(op_case_holds(&op, backend, 3, &worst, &err), "queue %d: %s: %s", op.queue,
                  op.name, err.message);
    }
    backend_close(backend);
}

Test(backend, a_queue_goes_on_only_after_the_one_it_waits_for)
{
    struct backend *backend = op_case_backend(2);
    const struct backend_ops *ops = backend->ops;
    const int last = backend->facts.queues - 1;
    enum { BYTES = 32 << 20, ROUNDS = 20 };
    struct error err = { 0 };
    unsigned char *memory, *copy, *host = malloc(BYTES);
    cr_assert(host && ops->alloc(backend, BYTES, (void **)&memory, &err));
    cr_assert(ops->alloc(backend, BYTES, (void **)&copy, &err));
    for (int round = 1; round <= ROUNDS; round++) {
        op_case_order(round);
        memset(host, round, BYTES);
        cr_assert(ops->copy(backend, 0, memory, host, BYTES, &err));
        uint64_t ticket;
        cr_assert(ops->fence(backend, 0, &ticket, &err));
        cr_assert(ops->wait(backend, last, 0, ticket, &err));
        cr_assert(ops->copy(backend, last, copy, memory, BYTES, &err));
        cr_assert(ops->fence(backend, last, &ticket, &err));
        cr_assert(ops->wait(backend, 0, last, ticket, &err));
        cr_assert(ops->zero(backend, 0, memory, BYTES, &err));
        cr_assert(ops->copy(backend, last, host, copy, BYTES, &err));
        cr_assert(ops->synchronize(backend, &err), "%s", err.message);
        for (int i = 0; i < BYTES; i += 4093) cr_assert_eq(host[i], round);
    }
    ops->free(backend, memory);
    ops->free(backend, copy);
    free(host);
    backend_close(backend);
}

Test(backend, what_cannot_be_computed_is_refused_when_planned)
{
    const struct tensor t = { .n = 1, .h = 4, .w = 4, .c = 8, .pixel_stride = 8 };
    struct tensor narrow = t, empty = t, bytes = t, other = t;
    narrow.pixel_stride = 4;
    empty.h = 0;
    bytes.dtype = DTYPE_U8;
    other.c = 7;
    other.pixel_stride = 7;
    const struct op_window window = { 3, 3, .stride = 1, .pad_h = 1, .pad_w = 1 };
    struct op conv = { .kind = OP_CONVOLUTION, .name = "this one", .x = t, .y = t };
    struct op norm = conv, pool = conv, loss = conv;
    conv.convolution.window = window;
    norm.kind = OP_BATCH_NORM;
    pool.kind = OP_POOL;
    pool.pool.window = window;
    loss.kind = OP_LOSS; /* needs one logit per sample */
    struct op refused[] = { conv, conv, conv, conv, norm, pool, pool, loss };
    refused[0].x = narrow;
    refused[1].y = empty;
    refused[2].x = bytes;
    refused[3].y.h = 9; /* a 4×4 map cannot give 9 rows */
    refused[4].y = other;
    refused[5].y = other;
    refused[6].y.w = 9; /* the last window would have no pixel */
    struct backend *backend = op_case_backend(1);
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct error err = { 0 };
        struct plan *plan;
        cr_expect_not(backend->ops->plan(backend, &refused[i], &plan, &err), "op %zu", i);
        cr_expect_neq(err.code, EXIT_CODE_OK);
        cr_expect(strlen(err.message) > 0, "op %zu", i);
    }
    backend_close(backend);
}

Test(backend, the_cpu_refuses_what_it_has_no_kernels_for)
{
    struct backend *backend = op_case_backend(1);
    if (strcmp(backend->facts.name, "cpu") != 0) {
        backend_close(backend);
        cr_skip("another backend");
    }
    struct op padded = shape_op(find_shape(odd(), "3x3 same between slices"), OP_CONVOLUTION,
                                DTYPE_F32);
    struct op wide = { .kind = OP_RELU_BACKWARD, .name = "wide" };
    padded.convolution.weights_c = padded.x.c - 1;
    wide.x = wide.y = (struct tensor) { DTYPE_F32, 1, 1, 1, 8193, 8193, NULL };
    const struct op *const refused[] = { &padded, &wide };
    const char *const messages[] = {
        "convolution 3x3 same between slices: the CPU backend takes no input padded with channels",
        "ReLU gradient wide: the CPU backend takes no more than 8192 channels"
    };
    for (int i = 0; i < 2; i++) {
        struct error err = { 0 };
        struct plan *plan;
        cr_expect_not(backend->ops->plan(backend, refused[i], &plan, &err));
        cr_expect_str_eq(err.message, messages[i]);
    }
    backend_close(backend);
}

Test(shapes, inception_has_the_maps_it_is_known_for)
{
    const struct shapes *shapes = inception(80);
    cr_expect_eq(find_shape(shapes, "Mixed_6b.branch7x7_2 at 80 px")->h, 3);
    cr_expect_eq(find_shape(shapes, "global pool at 80 px")->h, 1);
    cr_expect_eq(find_shape(shapes, "global pool at 80 px")->c, 2048);
    shapes = inception(299);
    cr_expect_eq(find_shape(shapes, "Conv2d_4a_3x3 at 299 px")->out_h, 71);
    cr_expect_eq(find_shape(shapes, "Mixed_6b.branch7x7_2 at 299 px")->h, 17);
    cr_expect_eq(find_shape(shapes, "Mixed_6b.branch7x7_3 at 299 px")->y_stride, 768);
    cr_expect_eq(find_shape(shapes, "global pool at 299 px")->h, 8);
}
