/* The CPU's inner loops: every instruction set gives the same bits, and MICROMET_CPU_ISA chooses
 * one. Products of matrices are in test_kernels.c. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "isas.h"
#include "micromet/base/random.h"

/* A map of odd size whose channels fill neither a block of batch norm nor a vector. */
enum { IMAGES = 2, SIDE = 9, OUT_SIDE = 5, CHANNELS = NORM_CHANNELS + 7 };
enum { MAP = IMAGES * SIDE * SIDE * CHANNELS, IMAGE = SIDE * SIDE * CHANNELS };
enum { TAPS_MAX = 9 };

/* All memory that an op reads and writes, so that two runs can be compared as a whole. */
struct memory {
    float x[MAP], y[MAP], dy[MAP], out[MAP];
    float gamma[CHANNELS], beta[CHANNELS], dgamma[CHANNELS], dbeta[CHANNELS];
    float moving_mean[CHANNELS], moving_variance[CHANNELS];
    float saved_mean[CHANNELS], saved_inverse_std[CHANNELS];
    float norm_sums[2 * CHANNELS];
    float sums[IMAGE];
};

/* Positive numbers, both as float32 and as pairs of bfloat16; the maps have negative ones too. */
static void memory_fill(struct memory *memory)
{
    struct random random = random_init(3, 0, 0, RANDOM_TEST);
    enum { HALVES = sizeof *memory / sizeof(uint16_t), MAP_HALVES = 2 * 4 * MAP };
    for (size_t i = 0; i < HALVES; i++) {
        const float value = random_uniform(&random, 0.25f, 1);
        const bool negative = i < MAP_HALVES && random_u32(&random) % 2;
        const uint16_t half = bf16_from_float(negative ? -value : value);
        memcpy((char *)memory + i * sizeof half, &half, sizeof half);
    }
}

static struct op_buffers buffers_of(struct memory *m)
{
    return (struct op_buffers) {
        .x = m->x,
        .y = m->y,
        .dy = m->dy,
        .out = m->out,
        .gamma = m->gamma,
        .beta = m->beta,
        .dgamma = m->dgamma,
        .dbias = m->dbeta,
        .moving_mean = m->moving_mean,
        .moving_variance = m->moving_variance,
        .saved_mean = m->saved_mean,
        .saved_inverse_std = m->saved_inverse_std,
        .sums = m->norm_sums,
        .parameters = m->x,
        .gradients = m->y,
        .state1 = m->dgamma,
        .state2 = m->dbeta,
    };
}

typedef void loops(const struct isa *isa, const struct op *op, struct memory *memory);

static void expect_same_bits(loops *run, const struct op *op, const char *what)
{
    const struct isa *sets[TEST_ISAS_MAX];
    const int count = test_isas(sets);
    struct memory *start = malloc(sizeof *start), *first = malloc(sizeof *first),
                  *other = malloc(sizeof *other);
    memory_fill(start);
    *first = *start;
    run(sets[0], op, first);
    cr_assert(memcmp(first, start, sizeof *first) != 0, "%s wrote nothing", what);
    for (int i = 1; i < count; i++) {
        *other = *start;
        run(sets[i], op, other);
        cr_assert(memcmp(first, other, sizeof *first) == 0, "%s: %s and %s differ", what,
                  sets[0]->name, sets[i]->name);
    }
    free(start);
    free(first);
    free(other);
}

static struct op op_of(enum op_kind kind, enum dtype dtype, int out_side)
{
    return (struct op) {
        .kind = kind,
        .x = { dtype, IMAGES, SIDE, SIDE, CHANNELS, CHANNELS, NULL },
        .y = { dtype, IMAGES, out_side, out_side, CHANNELS, CHANNELS, NULL },
    };
}

static void run_batch_norm(const struct isa *isa, const struct op *op, struct memory *m)
{
    const struct op_buffers b = buffers_of(m);
    const bool forward = op->kind == OP_BATCH_NORM;
    for (int c = 0; c < CHANNELS; c += NORM_CHANNELS) {
        const int count = CHANNELS - c < NORM_CHANNELS ? CHANNELS - c : NORM_CHANNELS;
        (forward ? isa->batch_norm : isa->batch_norm_backward)(op, &b, c, count);
    }
}

Test(isa, batch_norm_gives_the_same_bits)
{
    for (int i = 0; i < 16; i++) {
        struct op op = op_of(i & 1 ? OP_BATCH_NORM_BACKWARD : OP_BATCH_NORM,
                             i & 2 ? DTYPE_BF16 : DTYPE_F32, SIDE);
        op.batch_norm = (struct op_batch_norm) { .gamma = true,
                                                 .relu = true,
                                                 .frozen = i / 4 == 1,
                                                 .part = i < 8    ? NORM_WHOLE
                                                         : i < 12 ? NORM_SUMS
                                                                  : NORM_REST,
                                                 .pixels = 2 * tensor_pixels(&op.x),
                                                 .unbiased_moving = true,
                                                 .epsilon = 1e-3f,
                                                 .momentum = 0.9f };
        expect_same_bits(run_batch_norm, &op, op_kind_name(op.kind));
    }
}

/* Windows of 3×3 with stride 2 and padding of 1. */
static void run_pool(const struct isa *isa, const struct op *op, struct memory *m)
{
    const struct op_buffers b = buffers_of(m);
    struct pool_range ranges[OUT_SIDE];
    const struct pool pool = { op, ranges, ranges };
    const void *taps[TAPS_MAX];
    for (int i = 0; i < OUT_SIDE; i++)
        ranges[i] = (struct pool_range) { i ? 2 * i - 1 : 0, 2 * i + 2 < SIDE ? 2 * i + 2 : SIDE };
    for (int n = 0; n < IMAGES; n++)
        if (op->kind == OP_POOL_BACKWARD)
            isa->pool_backward(&pool, &b, n, m->sums);
        else
            for (int oy = 0; oy < OUT_SIDE; oy++) isa->pool(&pool, &b, n, oy, taps);
}

Test(isa, pools_give_the_same_bits)
{
    for (int i = 0; i < 16; i++) {
        struct op op = op_of(i & 1 ? OP_POOL_BACKWARD : OP_POOL, i & 2 ? DTYPE_BF16 : DTYPE_F32,
                             OUT_SIDE);
        op.pool = (struct op_pool) { .window = { 3, 3, 2, 1, 1 },
                                     .average = i & 4,
                                     .exclude_padding = i & 8,
                                     .accumulate = i & 8 };
        expect_same_bits(run_pool, &op, op_kind_name(op.kind));
    }
}

static void run_optimizer(const struct isa *isa, const struct op *op, struct memory *m)
{
    struct op_buffers b = buffers_of(m);
    const struct step_values values = { .step = 3, .learning_rate = 1e-2f };
    b.values = &values;
    isa->optimizer[op->optimizer.rule.name](&op->optimizer.rule, &b, 0, op->optimizer.count);
}

Test(isa, optimizers_give_the_same_bits)
{
    struct config *config = malloc(sizeof *config);
    config_defaults(config);
    for (int i = OPTIMIZER_ADAM; i <= OPTIMIZER_ADAMW; i++) {
        struct op op = { .kind = OP_OPTIMIZER };
        op.optimizer = (struct op_optimizer) { .rule = config->optimizer, .count = CHANNELS };
        op.optimizer.rule.name = i;
        op.optimizer.rule.momentum = 0.9;
        op.optimizer.rule.weight_decay = 1e-2;
        expect_same_bits(run_optimizer, &op, "optimizer");
    }
    free(config);
}

static void run_augment(const struct isa *isa, const struct op *op, struct memory *m)
{
    struct random random = random_init(5, 0, 0, RANDOM_TEST);
    enum { WINDOW = 37, BYTES = WINDOW * WINDOW * 3 };
    uint8_t pixels[BYTES];
    for (int i = 0; i < BYTES; i++) pixels[i] = (uint8_t)random_u32(&random);
    for (int k = 0; k < 16; k++) {
        const struct augment_draw draw = { k,
                                           k & 4,
                                           k & 8,
                                           k & 1 ? random_uniform(&random, -0.3f, 0.3f) : 0,
                                           k & 1 ? random_uniform(&random, 0.7f, 1.3f) : 1,
                                           k & 2 ? random_uniform(&random, -0.1f, 0.1f) : 0,
                                           k & 2 ? random_uniform(&random, 0.2f, 1.8f) : 1,
                                           { k >= 8 ? random_uniform(&random, -1, 1) : 0, 0, 0 },
                                           { 0, 0, k >= 8 ? 0.1f : 0 } };
        isa->augment(pixels, &draw, WINDOW, op->y.dtype, 3 + k % 3, m->out);
    }
}

Test(isa, augmentation_gives_the_same_bits)
{
    for (int i = 0; i < 2; i++) {
        const struct op op = op_of(OP_AUGMENT, i ? DTYPE_BF16 : DTYPE_F32, SIDE);
        expect_same_bits(run_augment, &op, "augment");
    }
}

/* --- MICROMET_CPU_ISA --- */

Test(isa, the_environment_caps_the_set)
{
    const struct isa *sets[ISA_COUNT_MAX];
    const int count = isa_available(sets);
    struct error err = { 0 };
    unsetenv("MICROMET_CPU_ISA");
    cr_assert_eq(isa_chosen(&err), sets[count - 1], "not the widest");
    for (int i = 0; i < count; i++) {
        setenv("MICROMET_CPU_ISA", sets[i]->name, 1);
        cr_assert_eq(isa_chosen(&err), sets[i]);
    }
    setenv("MICROMET_CPU_ISA", "PLAIN", 1);
    cr_assert_eq(isa_chosen(&err), &isa_plain);
    cr_assert_eq(err.code, EXIT_CODE_OK);
}

Test(isa, the_backend_names_its_set_and_refuses_others)
{
    const struct config_compute compute = { .threads = 1 };
    struct backend *backend;
    struct error err = { 0 };
    setenv("MICROMET_CPU_ISA", "plain", 1);
    cr_assert(cpu_backend_open(&compute, 1, NULL, &backend, &err), "%s", err.message);
    cr_assert(strstr(backend->facts.description, "own kernels plain"), "%s",
              backend->facts.description);
    backend_close(backend);
    setenv("MICROMET_CPU_ISA", "vector9000", 1);
    cr_assert_not(cpu_backend_open(&compute, 1, NULL, &backend, &err));
    cr_assert_eq(err.code, EXIT_CODE_USAGE);
    cr_assert(strstr(err.message, "MICROMET_CPU_ISA=vector9000: this processor has plain"), "%s",
              err.message);
}
