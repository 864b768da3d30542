/* What training requires besides arithmetic: a loss that is finite for any logit, dropout with the
 * right rate that is reproducible, and the moving statistics of batch norm. */
#include <criterion/criterion.h>
#include <math.h>

#include "micromet/base/size.h"
#include "op_case.h"

static struct tensor tensor(int n, int h, int w, int c)
{
    return (
        struct tensor) { .dtype = DTYPE_F32, .n = n, .h = h, .w = w, .c = c, .pixel_stride = c };
}

static void run(struct op_case *test, struct backend *backend)
{
    struct error err = { 0 };
    double worst = 0;
    cr_assert(op_case_run(test, backend, &err) && op_case_check(test, &worst, &err), "%s",
              err.message);
}

Test(loss, matches_the_reference)
{
    struct backend *backend = op_case_backend(1);
    for (int n = 1; n <= 65; n += 8) {
        struct op op = { .kind = OP_LOSS, .x = tensor(n, 1, 1, 1), .y = tensor(n, 1, 1, 1) };
        op.x.pixel_stride += n % 3;
        op.y.pixel_stride += n / 8 % 4;
        if (n / 8 % 2) op.loss.smoothing = 0.1;
        if (n / 16 % 2) op.loss.weights[1] = 5;
        if (n > 30) op.loss.weights[0] = 0.25;
        struct op_case test;
        op_case_init(&test, &op, (uint64_t)n);
        run(&test, backend);
        op_case_release(&test);
    }
    backend_close(backend);
}

Test(loss, survives_extreme_logits)
{
    /* logit, label, loss, probability, gradient */
    static const double rows[][5] = {
        { 0, 1, 0.69314718, 0.5, -0.5 },
        { 100, 1, 0, 1, 0 },
        { 100, 0, 100, 1, 1 },
        { -100, 0, 0, 0, 0 },
        { -100, 1, 100, 0, -1 },
        { 3e38, 0, 3e38, 1, 1 },
        { -3e38, 0, 0, 0, 0 },
        { -3e38, 1, 3e38, 0, -1 },
        { 1e-30, 1, 0.69314718, 0.5, -0.5 },
        { 20, 1, 2.0611536e-9, 1, -2.0611536e-9 },
        { -50, 0.5, 25, 1.9287498e-22, -0.5 },
    };
    struct backend *backend = op_case_backend(1);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const double *row = rows[i];
        const struct op op = { .kind = OP_LOSS, .x = tensor(1, 1, 1, 1), .y = tensor(1, 1, 1, 1) };
        struct op_case test;
        op_case_init(&test, &op, 1);
        *(float *)op_case_before(&test, ROLE_X) = (float)row[0];
        *(float *)op_case_before(&test, ROLE_LABELS) = (float)row[1];
        struct error err = { 0 };
        cr_assert(op_case_run(&test, backend, &err), "%s", err.message);
        const double loss = *(float *)op_case_after(&test, ROLE_LOSS);
        const double probability = *(float *)op_case_after(&test, ROLE_PROBABILITIES);
        const double gradient = *(float *)op_case_after(&test, ROLE_OUT);
        /* exp() and log() are off by up to two units of 2^-24 each;
         * denormals may be flushed to zero */
        const double units = 16 * 0x1p-24, least = 1e-37;
        cr_expect_float_eq(loss, row[2], units * row[2] + least, "z = %g: loss %g", row[0], loss);
        cr_expect_float_eq(probability, row[3], units * row[3] + least, "z = %g: p = %g", row[0],
                           probability);
        cr_expect_float_eq(gradient, row[4], units * (row[3] + row[1]) + least,
                           "z = %g: gradient %g", row[0], gradient);
        op_case_release(&test);
    }
    backend_close(backend);
}

/* A piece of a batch: the losses and gradients of all pieces add up to the whole's. */
Test(loss, of_a_piece_is_divided_by_the_whole)
{
    struct backend *backend = op_case_backend(1);
    const struct op op = {
        .kind = OP_LOSS, .x = tensor(5, 1, 1, 1), .y = tensor(5, 1, 1, 1), .loss.rows = 20
    };
    struct op_case test;
    op_case_init(&test, &op, 4);
    for (int i = 0; i < 5; i++) ((float *)op_case_before(&test, ROLE_X))[i] = 0;
    run(&test, backend);
    cr_expect_float_eq(*(float *)op_case_after(&test, ROLE_LOSS), 0.69314718 / 4, 1e-6);
    op_case_release(&test);
    backend_close(backend);
}

/* At z = 0, where p is 1/2: the labels 0 and 1 become 0.1 and 0.9. */
Test(loss, with_smoothed_labels_and_weights)
{
    const struct op op = { .kind = OP_LOSS,
                           .x = tensor(2, 1, 1, 1),
                           .y = tensor(2, 1, 1, 1),
                           .loss = { .smoothing = 0.2, .weights = { 0.5, 3 } } };
    struct backend *backend = op_case_backend(1);
    struct op_case test;
    op_case_init(&test, &op, 1);
    memcpy(op_case_before(&test, ROLE_X), (float[2]) { 0, 0 }, 2 * sizeof(float));
    memcpy(op_case_before(&test, ROLE_LABELS), (float[2]) { 0, 1 }, 2 * sizeof(float));
    run(&test, backend);
    cr_expect_float_eq(*(float *)op_case_after(&test, ROLE_LOSS), 0.69314718 * 3.5 / 2, 1e-6);
    cr_expect_float_eq(((float *)op_case_after(&test, ROLE_OUT))[0], 0.5 * 0.4 / 2, 1e-7);
    cr_expect_float_eq(((float *)op_case_after(&test, ROLE_OUT))[1], -3 * 0.4 / 2, 1e-7);
    op_case_release(&test);
    backend_close(backend);
}

Test(sum, is_scaled)
{
    struct backend *backend = op_case_backend(1);
    static const float scales[] = { 1, 0.25f, 1.0f / 3 };
    for (int count = 1; count < 70000; count = 3 * count + 1)
        for (size_t i = 0; i < COUNT_OF(scales); i++) {
            const struct op op = { .kind = OP_SUM, .sum = { count, scales[i] } };
            struct op_case test;
            op_case_init(&test, &op, (uint64_t)count);
            run(&test, backend);
            op_case_release(&test);
        }
    backend_close(backend);
}

Test(loss, is_the_mean_over_samples)
{
    const struct op op = { .kind = OP_LOSS, .x = tensor(4, 1, 1, 1), .y = tensor(4, 1, 1, 1) };
    struct backend *backend = op_case_backend(1);
    struct op_case test;
    op_case_init(&test, &op, 1);
    memcpy(op_case_before(&test, ROLE_X), (float[4]) { 0, 0, 200, -200 }, 4 * sizeof(float));
    memcpy(op_case_before(&test, ROLE_LABELS), (float[4]) { 0, 1, 0, 1 }, 4 * sizeof(float));
    run(&test, backend);
    cr_expect_float_eq(*(float *)op_case_after(&test, ROLE_LOSS), (2 * 0.69314718 + 400) / 4, 1e-4);
    cr_expect_float_eq(((float *)op_case_after(&test, ROLE_OUT))[0], 0.125, 1e-7);
    cr_expect_float_eq(((float *)op_case_after(&test, ROLE_OUT))[2], 0.25, 1e-7);
    op_case_release(&test);
    backend_close(backend);
}

enum { ROWS = 64, COLUMNS = 256 };

/* The mask of 0 and 1/(1 - rate), obtained by dropout of ones. */
static void dropout_mask_from(struct backend *backend, int64_t first_row, float rate, uint64_t seed,
                              int64_t step, float mask[ROWS * COLUMNS])
{
    const struct op op = { .kind = OP_DROPOUT,
                           .dropout.rate = rate,
                           .x = tensor(ROWS, 1, 1, COLUMNS),
                           .y = tensor(ROWS, 1, 1, COLUMNS) };
    struct op_case test;
    op_case_init(&test, &op, 1);
    test.values.seed = seed;
    test.values.step = step;
    test.values.first_row = first_row;
    for (int i = 0; i < ROWS * COLUMNS; i++) ((float *)op_case_before(&test, ROLE_X))[i] = 1;
    run(&test, backend);
    memcpy(mask, op_case_after(&test, ROLE_OUT), ROWS * COLUMNS * sizeof *mask);
    op_case_release(&test);
}

static void dropout_mask(struct backend *backend, float rate, uint64_t seed, int64_t step,
                         float mask[ROWS * COLUMNS])
{
    dropout_mask_from(backend, 0, rate, seed, step, mask);
}

Test(dropout, of_a_piece_is_that_of_the_whole_batch)
{
    static float whole[ROWS * COLUMNS], piece[ROWS * COLUMNS];
    enum { FIRST = 48 };
    struct backend *backend = op_case_backend(1);
    dropout_mask(backend, 0.5f, 42, 7, whole);
    dropout_mask_from(backend, FIRST, 0.5f, 42, 7, piece);
    cr_expect_arr_eq(piece, whole + FIRST * COLUMNS, (ROWS - FIRST) * COLUMNS * sizeof *piece);
    dropout_mask_from(backend, 1 + ((int64_t)1 << 33), 0.5f, 42, 7, piece); /* past 32 bits */
    cr_expect_arr_neq(piece, whole + COLUMNS, COLUMNS * sizeof *piece);
    backend_close(backend);
}

Test(dropout, keeps_its_share_and_scales_it)
{
    static float mask[ROWS * COLUMNS];
    struct backend *backend = op_case_backend(1);
    const float rates[] = { 0.1f, 0.3f, 0.75f };
    for (int i = 0; i < 3; i++) {
        int kept = 0;
        dropout_mask(backend, rates[i], 42, 1, mask);
        for (int k = 0; k < ROWS * COLUMNS; k++) {
            cr_assert(mask[k] == 0 || fabsf(mask[k] - 1 / (1 - rates[i])) < 1e-6f);
            kept += mask[k] != 0;
        }
        const double n = ROWS * COLUMNS, p = 1 - (double)rates[i];
        cr_expect_float_eq(kept, n * p, 4 * sqrt(n * p * (1 - p)), "kept %d at rate %g", kept,
                           (double)rates[i]);
    }
    dropout_mask(backend, 0, 42, 1, mask);
    for (int k = 0; k < ROWS * COLUMNS; k++) cr_assert_eq(mask[k], 1);
    backend_close(backend);
}

static int agreements(const float *a, const float *b)
{
    int count = 0;
    for (int i = 0; i < ROWS * COLUMNS; i++) count += (a[i] == 0) == (b[i] == 0);
    return count;
}

Test(dropout, repeats_for_a_step_and_differs_between_steps_and_seeds)
{
    static float first[ROWS * COLUMNS], other[ROWS * COLUMNS];
    const int all = ROWS * COLUMNS;
    const double half = all / 2.0, deviations = 4 * sqrt(all * 0.25);
    struct backend *backend = op_case_backend(1);
    dropout_mask(backend, 0.5f, 42, 7, first);
    dropout_mask(backend, 0.5f, 42, 7, other);
    cr_expect_eq(agreements(first, other), all);
    dropout_mask(backend, 0.5f, 42, 8, other);
    cr_expect_float_eq(agreements(first, other), half, deviations);
    dropout_mask(backend, 0.5f, 43, 7, other);
    cr_expect_float_eq(agreements(first, other), half, deviations);
    int same_rows = 0; /* samples must not share a mask */
    for (int r = 1; r < ROWS; r++)
        same_rows += memcmp(first, first + r * COLUMNS, COLUMNS * sizeof *first) == 0;
    cr_expect_eq(same_rows, 0);
    backend_close(backend);
}

/* Batch norm over x = 1, 2, 3, 6 in one channel: mean 3, biased variance 3.5, unbiased 14/3. */
static void batch_norm_of_four(const struct op_batch_norm *options, struct op_case *test,
                               struct backend *backend)
{
    const struct op op = { .kind = OP_BATCH_NORM,
                           .x = tensor(2, 1, 2, 1),
                           .y = tensor(2, 1, 2, 1),
                           .batch_norm = *options };
    op_case_init(test, &op, 1);
    memcpy(op_case_before(test, ROLE_X), (float[4]) { 1, 2, 3, 6 }, 4 * sizeof(float));
    *(float *)op_case_before(test, ROLE_BETA) = 10;
    *(float *)op_case_before(test, ROLE_MOVING_MEAN) = -1;
    *(float *)op_case_before(test, ROLE_MOVING_VARIANCE) = 2;
    struct error err = { 0 };
    cr_assert(op_case_run(test, backend, &err), "%s", err.message);
}

static double result(struct op_case *test, enum role role)
{
    return *(float *)op_case_after(test, role);
}

Test(batch_norm, moving_statistics_are_biased_unless_asked_otherwise)
{
    struct backend *backend = op_case_backend(1);
    struct op_case test;
    batch_norm_of_four(&(struct op_batch_norm) { .momentum = 0.75f }, &test, backend);
    cr_expect_float_eq(result(&test, ROLE_SAVED_MEAN), 3, 1e-6);
    cr_expect_float_eq(result(&test, ROLE_SAVED_INVERSE_STD), 1 / sqrt(3.5), 1e-6);
    cr_expect_float_eq(result(&test, ROLE_MOVING_MEAN), 0.75 * -1 + 0.25 * 3, 1e-6);
    cr_expect_float_eq(result(&test, ROLE_MOVING_VARIANCE), 0.75 * 2 + 0.25 * 3.5, 1e-6);
    cr_expect_float_eq(result(&test, ROLE_OUT), 10 - 2 / sqrt(3.5), 1e-5);
    op_case_release(&test);
    batch_norm_of_four(&(struct op_batch_norm) { .momentum = 0.75f, .unbiased_moving = true },
                       &test, backend);
    cr_expect_float_eq(result(&test, ROLE_SAVED_INVERSE_STD), 1 / sqrt(3.5), 1e-6);
    cr_expect_float_eq(result(&test, ROLE_MOVING_VARIANCE), 0.75 * 2 + 0.25 * 14 / 3, 1e-6);
    op_case_release(&test);
    backend_close(backend);
}

Test(batch_norm, frozen_statistics_are_used_and_kept)
{
    struct backend *backend = op_case_backend(1);
    struct op_case test;
    batch_norm_of_four(
        &(struct op_batch_norm) { .momentum = 0.75f, .frozen = true, .epsilon = 0.25f }, &test,
        backend);
    cr_expect_float_eq(result(&test, ROLE_OUT), 10 + 2 / 1.5, 1e-5);
    cr_expect_float_eq(result(&test, ROLE_SAVED_MEAN), -1, 0);
    cr_expect_float_eq(result(&test, ROLE_SAVED_INVERSE_STD), 1 / 1.5, 1e-6);
    cr_expect_float_eq(result(&test, ROLE_MOVING_MEAN), -1, 0);
    cr_expect_float_eq(result(&test, ROLE_MOVING_VARIANCE), 2, 0);
    op_case_release(&test);
    backend_close(backend);
}

/* Values far from zero with a small spread: the mean of squares minus the square of the
 * mean would lose all digits. */
Test(batch_norm, a_small_spread_far_from_zero_is_resolved)
{
    struct backend *backend = op_case_backend(1);
    const struct op op = { .kind = OP_BATCH_NORM,
                           .x = tensor(2, 9, 9, 8),
                           .y = tensor(2, 9, 9, 8),
                           .batch_norm = { .epsilon = 1e-12f, .momentum = 0.5f } };
    struct op_case test;
    struct error err = { 0 };
    op_case_init(&test, &op, 1);
    float *x = op_case_before(&test, ROLE_X);
    for (int i = 0; i < 2 * 9 * 9 * 8; i++) x[i] = 1000 + (i / 8 % 2 ? 0.125f : -0.125f);
    cr_assert(op_case_run(&test, backend, &err), "%s", err.message);
    for (int c = 0; c < 8; c++) {
        const double inverse = ((float *)op_case_after(&test, ROLE_SAVED_INVERSE_STD))[c];
        cr_expect_float_eq(inverse, 8, 0.01, "channel %d: %g", c, inverse);
    }
    op_case_release(&test);
    backend_close(backend);
}

/* One value per channel: the variance is 0 and Bessel's correction is undefined. */
Test(batch_norm, a_single_value_is_normalised_to_beta)
{
    struct backend *backend = op_case_backend(1);
    const struct op op = { .kind = OP_BATCH_NORM,
                           .x = tensor(1, 1, 1, 3),
                           .y = tensor(1, 1, 1, 3),
                           .batch_norm = {
                               .unbiased_moving = true, .epsilon = 1e-3f, .momentum = 0.5f } };
    struct op_case test;
    op_case_init(&test, &op, 1);
    run(&test, backend);
    const float *beta = op_case_before(&test, ROLE_BETA), *y = op_case_after(&test, ROLE_OUT);
    for (int c = 0; c < 3; c++) cr_expect_float_eq(y[c], beta[c], 1e-4);
    op_case_release(&test);
    backend_close(backend);
}
