/* A step cut into shards: the order in which they are added up, and what a model makes of them. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "micromet/base/random.h"
#include "micromet/data/augment.h"
#include "micromet/nn/model.h"
#include "micromet/nn/shard_tree.h"
#include "micromet/world/world.h"
#include "op_case.h"
#include "step_start.h"

/* --- the tree --- */

enum { SHARDS = 48 };

/* The sum of [first, last) as the tree's definition has it. */
static float tree_sum(const float *values, int first, int last)
{
    int half = 1;
    if (last - first == 1) return values[first];
    while (2 * half < last - first) half *= 2;
    return tree_sum(values, first, first + half) + tree_sum(values, first + half, last);
}

/* Push a value and add to it those that the tree adds. */
static void push(struct shard_stack *stack, float *sums, struct shard_span span, float value)
{
    const int count = stack->count, added = shard_push(stack, span);
    for (int i = 1; i <= added; i++) value = sums[count - i] + value;
    sums[count - added] = value;
    cr_assert_eq(stack->count, count - added + 1);
}

/* Each of `ranks` adds up its shards, and their terms are added up. */
static float sum_by_ranks(const float *values, int shards, int ranks)
{
    struct shard_stack all = { .shards = shards };
    float sums[SHARD_TERMS_MAX];
    const int each = shards / ranks;
    for (int r = 0; r < ranks; r++) {
        struct shard_stack own = { .shards = shards };
        float terms[SHARD_TERMS_MAX];
        for (int s = r * each; s < (r + 1) * each; s++)
            push(&own, terms, (struct shard_span) { s, s + 1 }, values[s]);
        const struct shard_stack expected = shard_terms(shards, r * each, (r + 1) * each);
        cr_assert_eq(own.count, expected.count);
        for (int i = 0; i < own.count; i++) push(&all, sums, own.spans[i], terms[i]);
    }
    cr_assert_eq(all.count, 1, "%d terms are left of %d shards", all.count, shards);
    return sums[0];
}

Test(shard_tree, gives_the_same_bits_for_any_number_of_ranks)
{
    float values[SHARDS];
    struct random random = random_init(3, 0, 0, RANDOM_TEST);
    int unlike_in_order = 0;
    for (int shards = 1; shards <= SHARDS; shards++) {
        float in_order = 0;
        for (int s = 0; s < shards; s++) {
            values[s] = random_uniform(&random, -1, 1);
            in_order += values[s];
        }
        const float sum = tree_sum(values, 0, shards);
        unlike_in_order += sum != in_order;
        for (int ranks = 1; ranks <= shards; ranks++)
            if (shards % ranks == 0)
                cr_assert_eq(sum_by_ranks(values, shards, ranks), sum, "%d shards, %d ranks",
                             shards, ranks);
    }
    cr_expect_gt(unlike_in_order, 5, "the values do not tell one order from another");
}

Test(shard_tree, leaves_one_term_if_the_shards_are_a_power_of_two)
{
    for (int ranks = 1; ranks <= 32; ranks *= 2)
        for (int r = 0; r < ranks; r++)
            cr_expect_eq(shard_terms(32, r * 32 / ranks, (r + 1) * 32 / ranks).count, 1);
    const struct shard_stack odd = shard_terms(6, 3, 6); /* 3 and 4 + 5 */
    cr_assert_eq(odd.count, 2);
    cr_expect_eq(odd.spans[0].last, 4);
}

Test(shard_tree, gives_each_float_to_one_rank)
{
    static const int64_t counts[] = { 0, 1, 15, 16, 100, 1000003, (int64_t)1 << 40 };
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (int ranks = 1; ranks <= 8; ranks++) {
            int64_t end = 0;
            for (int r = 0; r < ranks; r++) {
                const struct rank_terms own = shard_rank_terms(counts[c], 2 * ranks, r, ranks);
                cr_expect_eq(own.first, end);
                cr_expect(own.first % 16 == 0 || own.first == counts[c]);
                cr_expect_lt(llabs(own.count - counts[c] / ranks), 17, "unevenly");
                cr_expect_eq(own.terms.spans[0].first, 2 * r);
                end = own.first + own.count;
            }
            cr_expect_eq(end, counts[c]);
        }
}

/* --- models --- */

enum { ROWS = 2, ROWS_MAX = 4, WINDOW = 75 };

static struct model_spec spec_of(int towers, int shards, double dropout)
{
    return (struct model_spec) { .towers = towers,
                                 .window = WINDOW,
                                 .batch = ROWS,
                                 .shards = shards,
                                 .training = true,
                                 .activations = DTYPE_F32,
                                 .model = { .pool_padding = POOL_PADDING_EXCLUDE,
                                            .freeze = "keras:280",
                                            .head = { 16 },
                                            .head_count = 1,
                                            .dropout = dropout,
                                            .batch_norm = BATCH_NORM_BATCH,
                                            .batch_norm_momentum = 0.75 },
                                 .optimizer = { .name = OPTIMIZER_SGD, .momentum = 0.5 } };
}

/* Run one pass with the rows of shard `shard` of the whole batch. */
static struct model_result pass(struct model *model, int shard, int own, int64_t step, double rate)
{
    const struct model_spec *spec = model_spec(model);
    const size_t bytes = (size_t)WINDOW * WINDOW * 3;
    const int rows = spec->batch;
    struct augment_draw draws[ROWS_MAX];
    float labels[ROWS_MAX];
    struct model_batch batch = { .labels = labels, .count = rows, .shard = own };
    struct model_spec whole = *spec; /* windows do not depend on how they are cut into shards */
    struct model_result result;
    struct error err = { 0 };
    whole.batch = ROWS_MAX * ROWS;
    for (int t = 0; t < spec->towers; t++) {
        uint8_t *pixels = malloc((size_t)rows * bytes);
        for (int i = 0; i < rows; i++) {
            const int row = shard * rows + i;
            step_draw_window(&whole, (uint64_t)step, t, row, pixels + (size_t)i * bytes);
            draws[i] = augment_identity();
            labels[i] = (float)((row / ROWS + row) % 2);
        }
        batch.pixels[t] = pixels;
        batch.draws[t] = draws;
    }
    cr_assert(model_train_submit(model, &batch, rate, step, 5, &err), "%s", err.message);
    cr_assert(model_train_collect(model, &result, NULL, &err), "%s", err.message);
    for (int t = 0; t < spec->towers; t++) free((void *)batch.pixels[t]);
    return result;
}

static struct model *open(struct backend *backend, struct model_spec spec)
{
    struct model *model;
    struct error err = { 0 };
    cr_assert(model_init(&model, backend, &spec, &err), "%s", err.message);
    cr_assert(model_randomize(model, 9, &err), "%s", err.message);
    return model;
}

/* The parts of an array that a step of shards has to match: gradients add up, statistics are
 * averaged. */
static float *part_of(struct model *model, int index)
{
    const struct parameter *p = model_parameter(model, index);
    return step_read(model, index, p->trains ? PART_GRADIENT : PART_VALUE);
}

/* Four shards of one step, against four models that each do one of them as a batch of their own. A
 * loss divided by 2 rows instead of 8 is four times as large, exactly. */
Test(shards, add_up_gradients_and_average_statistics)
{
    enum { V = 4, ARRAYS_MAX = 1024 };
    struct backend *backend = op_case_backend(2);
    struct model *whole = open(backend, spec_of(2, V, 0)),
                 *single = open(backend, spec_of(2, 1, 0));
    struct error err = { 0 };
    static float *parts[V][ARRAYS_MAX];
    float loss = 0, losses[V];
    struct model_result result = { 0 };
    for (int s = 0; s < V; s++) {
        cr_assert(model_randomize(single, 9, &err), "%s", err.message);
        losses[s] = pass(single, s, 0, 1, 0.1).loss / V;
        for (int i = 0; i < model_parameter_count(single); i++) parts[s][i] = part_of(single, i);
        result = pass(whole, s, s, 1, 0.1);
        cr_assert_eq(result.step_done, s == V - 1);
    }
    loss = (losses[0] + losses[1]) + (losses[2] + losses[3]);
    cr_expect_eq(result.loss, loss, "loss %.9g instead of %.9g", (double)result.loss, (double)loss);
    int moved = 0;
    for (int i = 0; i < model_parameter_count(whole); i++) {
        const struct parameter *p = model_parameter(whole, i);
        float *has = part_of(whole, i);
        for (int64_t k = 0; k < p->count && (p->trains || p->statistic); k++) {
            const float sum = (parts[0][i][k] + parts[1][i][k]) + (parts[2][i][k] + parts[3][i][k]);
            const float want = 0.25f * sum;
            cr_assert_eq(has[k], want, "%s[%lld] is %.9g instead of %.9g", p->name, (long long)k,
                         (double)has[k], (double)want);
            moved += p->statistic && !p->host && parts[0][i][k] != parts[1][i][k];
        }
        free(has);
        for (int s = 0; s < V; s++) free(parts[s][i]);
    }
    cr_expect_gt(moved, 100, "no statistics differ between shards");
    model_release(whole);
    model_release(single);
    backend_close(backend);
}

/* Shards of the same windows drop other features, and do so again in another run. Steps after the
 * first start from the averaged statistics and the updated weights. Three shards leave a term
 * alone. */
Test(shards, draw_dropout_by_the_row_of_the_whole_batch)
{
    enum { V = 3 };
    struct backend *backend = op_case_backend(2);
    struct model *model = open(backend, spec_of(1, V, 0.5));
    struct error err = { 0 };
    float losses[2][2] = { 0 }, alone[2][V];
    for (int repeat = 0; repeat < 2; repeat++) {
        cr_assert(model_randomize(model, 9, &err), "%s", err.message);
        for (int64_t step = 1; step <= 2; step++)
            for (int s = 0; s < V; s++) {
                const struct model_result result = pass(model, 0, s, step, 0.1);
                if (step == 1) alone[repeat][s] = result.loss;
                if (result.step_done) losses[repeat][step - 1] = result.loss;
            }
    }
    cr_expect_arr_eq(losses[0], losses[1], sizeof losses[0]);
    cr_expect_arr_eq(alone[0], alone[1], sizeof alone[0]);
    cr_expect_neq(losses[0][0], losses[0][1]);
    cr_expect_neq(alone[0][0], alone[0][1], "both shards drop the same");
    model_release(model);
    backend_close(backend);
}

/* Steps of two shards: run as they come, or recorded in the second step and replayed in the
 * third. */
static void run_steps(struct model *model, float losses[3])
{
    for (int64_t step = 1; step <= 3; step++)
        for (int s = 0; s < 2; s++) losses[step - 1] = pass(model, s, s, step, 0.1).loss;
}

Test(shards, end_in_the_same_bits_recorded_or_not)
{
    struct backend *backend = op_case_backend(2);
    if (!backend->ops->replay) {
        backend_close(backend);
        cr_skip_test("this backend records nothing");
    }
    const struct backend_ops *recorded_ops = backend->ops;
    struct backend_ops plain_ops = *recorded_ops;
    plain_ops.replay = NULL;
    struct model *recorded = open(backend, spec_of(2, 2, 0.5)),
                 *plain = open(backend, spec_of(2, 2, 0.5));
    float losses[2][3];
    run_steps(recorded, losses[0]);
    backend->ops = &plain_ops;
    run_steps(plain, losses[1]);
    backend->ops = recorded_ops;
    cr_expect_arr_eq(losses[0], losses[1], sizeof losses[0]);
    for (int i = 0; i < model_parameter_count(plain); i++) {
        const struct parameter *p = model_parameter(plain, i);
        float *values[] = { step_read(recorded, i, PART_VALUE), step_read(plain, i, PART_VALUE) };
        cr_assert_arr_eq(values[0], values[1], (size_t)p->count * sizeof(float), "%s", p->name);
        free(values[0]);
        free(values[1]);
    }
    model_release(recorded);
    model_release(plain);
    backend_close(backend);
}

/* A step that lacks a shard has not been: the statistics are those of the step before. */
Test(shards, are_taken_back_if_their_step_is_not_completed)
{
    enum { V = 3 };
    struct backend *backend = op_case_backend(2);
    struct model *model = open(backend, spec_of(1, V, 0));
    struct error err = { 0 };
    int compared = 0;
    for (int s = 0; s < V; s++) pass(model, s, s, 1, 0.1);
    for (int i = 0; i < model_parameter_count(model); i++) {
        const struct parameter *p = model_parameter(model, i);
        if (!p->statistic || p->host) continue;
        float *before = step_read(model, i, PART_VALUE);
        if (compared++ % 8 == 0) pass(model, 1, 0, 2, 0.1); /* else nothing is to be taken back */
        cr_assert(model_train_rewind(model, &err), "%s", err.message);
        float *after = step_read(model, i, PART_VALUE);
        cr_expect_arr_eq(before, after, (size_t)p->count * sizeof *before, "%s", p->name);
        free(before);
        free(after);
    }
    cr_expect_gt(compared, 8);
    model_release(model);
    backend_close(backend);
}

/* --- shared batch statistics --- */

enum { RANKS = 2, STEPS = 3 };

/* All arrays that a step has to match, one behind the other; at most `floats` of them. */
static size_t collect(struct model *model, float *values, size_t floats)
{
    size_t count = 0;
    for (int i = 0; i < model_parameter_count(model); i++) {
        const struct parameter *p = model_parameter(model, i);
        if (!p->trains && !(p->statistic && !p->host)) continue;
        float *part = part_of(model, i);
        cr_assert_leq(count + (size_t)p->count, floats);
        memcpy(values + count, part, (size_t)p->count * sizeof *part);
        count += (size_t)p->count;
        free(part);
    }
    return count;
}

/* Steps that leave the weights alone: run, recorded and replayed, if the backend can. */
static size_t steps_of(struct backend *backend, struct model_spec spec, int shard, float *values,
                       size_t floats)
{
    struct model *model = open(backend, spec);
    for (int64_t step = 1; step <= STEPS; step++) pass(model, shard, 0, step, 0);
    const size_t count = collect(model, values, floats);
    model_release(model);
    return count;
}

static void set_number(const char *name, int number)
{
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    setenv(name, text, 1);
}

/* In a process of its own. */
static void be_rank(int rank, int port, bool sync, float *values, size_t floats)
{
    struct model_spec spec = spec_of(2, RANKS, 0);
    struct world *world;
    struct error err = { 0 };
    set_number("RANK", rank);
    set_number("LOCAL_RANK", rank);
    set_number("WORLD_SIZE", RANKS);
    set_number("LOCAL_WORLD_SIZE", RANKS);
    set_number("MASTER_PORT", port);
    set_number("MICROMET_SIMULATED_SEED", port + rank);
    setenv("MASTER_ADDR", "127.0.0.1", 1);
    cr_assert(world_open(&world, &err), "%s", err.message);
    struct backend *backend = op_case_backend_in(2, world);
    spec.model.batch_norm_sync = sync;
    steps_of(backend, spec, rank, values + (size_t)rank * floats, floats);
    backend_close(backend);
    world_close(world);
    _exit(0);
}

/* What the ranks' arrays are off by, as a share of those of a single process with the whole batch;
 * all ranks must have the same bits. */
static double ranks_off_by(bool sync)
{
    const size_t floats = (size_t)32 << 20;
    const size_t bytes = (RANKS + 1) * floats * sizeof(float);
    const int port = 20000 + (int)((unsigned)getpid() * 2 + sync) % 12000;
    float *values = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t children[RANKS];
    cr_assert_neq(values, MAP_FAILED);
    for (int rank = 0; rank < RANKS; rank++) {
        children[rank] = fork();
        cr_assert_geq(children[rank], 0);
        if (children[rank] == 0) be_rank(rank, port, sync, values, floats);
    }
    for (int rank = 0; rank < RANKS; rank++) {
        int status;
        cr_assert_eq(waitpid(children[rank], &status, 0), children[rank]);
        cr_assert_eq(status, 0, "rank %d: %x", rank, status);
    }
    struct backend *backend = op_case_backend(2);
    struct model_spec spec = spec_of(2, 1, 0);
    spec.batch = RANKS * ROWS;
    float *single = values + RANKS * floats;
    const size_t count = steps_of(backend, spec, 0, single, floats);
    backend_close(backend);
    cr_assert_arr_eq(values, values + floats, count * sizeof *values, "ranks differ");
    double off = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        off += pow((double)values[i] - (double)single[i], 2);
        size += pow((double)single[i], 2);
    }
    munmap(values, bytes);
    return sqrt(off / size);
}

Test(shards, share_their_batch_statistics_if_they_are_asked_to)
{
    const double apart = ranks_off_by(false), together = ranks_off_by(true);
    printf("off by %.3g, with statistics of their own %.3g\n", together, apart);
    cr_expect_lt(together, 1e-3, "off by %.3g", together);
    cr_expect_gt(apart, 0.1, "statistics of their own make no difference: %.3g", apart);
}
