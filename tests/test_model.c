/* The whole network: its size, its gradients, and its agreement with recorded activations. */
#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>

#include "micromet/base/random.h"
#include "micromet/base/size.h"
#include "micromet/data/augment.h"
#include "micromet/nn/inception_v3.h"
#include "micromet/nn/model.h"
#include "micromet/nn/pretrained.h"
#include "model_inspect.h"
#include "op_case.h"
#include "real_weights.h"
#include "step_start.h"
#include "support.h"
#include "weight_noise.h"

static struct model_spec article(int window, int batch)
{
    struct model_spec spec = { .towers = 2,
                               .window = window,
                               .batch = batch,
                               .training = true,
                               .activations = DTYPE_F32,
                               .model = { .pool_padding = POOL_PADDING_EXCLUDE,
                                          .freeze = "keras:150",
                                          .head = { 256, 128 },
                                          .head_count = 2,
                                          .batch_norm = BATCH_NORM_BATCH,
                                          .batch_norm_momentum = 0.99 },
                               .optimizer = { .name = OPTIMIZER_ADAM,
                                              .learning_rate = 2e-4,
                                              .beta1 = 0.9,
                                              .beta2 = 0.999,
                                              .epsilon = 1e-7 } };
    return spec;
}

struct bench {
    struct backend *backend;
    struct model *model;
    struct model_spec spec;
    uint8_t *pixels[TOWERS_MAX];
    struct augment_draw *draws;
    float *labels;
    struct model_batch batch;
    struct error err;
};

static void bench_init(struct bench *b, struct model_spec spec)
{
    *b = (struct bench) { .spec = spec, .backend = op_case_backend(spec.towers) };
    cr_assert(model_init(&b->model, b->backend, &spec, &b->err), "%s", b->err.message);
    cr_assert(model_randomize(b->model, 7, &b->err), "%s", b->err.message);
    const size_t n = (size_t)spec.batch, bytes = n * (size_t)spec.window * (size_t)spec.window * 3;
    struct random random = random_init(11, 0, 0, RANDOM_TEST);
    b->draws = calloc(n, sizeof *b->draws);
    b->labels = calloc(n, sizeof *b->labels);
    for (size_t i = 0; i < n; i++) {
        b->draws[i] = augment_identity();
        b->labels[i] = (float)(i & 1);
    }
    b->batch = (struct model_batch) { .labels = b->labels, .count = spec.batch };
    for (int t = 0; t < spec.towers; t++) {
        b->pixels[t] = malloc(bytes);
        for (size_t i = 0; i < bytes; i++) b->pixels[t][i] = (uint8_t)random_u32(&random);
        b->batch.pixels[t] = b->pixels[t];
        b->batch.draws[t] = b->draws;
    }
}

static void bench_release(struct bench *b)
{
    model_release(b->model);
    backend_close(b->backend);
    for (int t = 0; t < TOWERS_MAX; t++) free(b->pixels[t]);
    free(b->draws);
    free(b->labels);
}

/* Loss with the current parameters: a step with learning rate 0. */
static double loss_of(struct bench *b, float *probabilities)
{
    float loss;
    cr_assert(model_train_step(b->model, &b->batch, 0, 1, 1, &loss, probabilities, &b->err), "%s",
              b->err.message);
    return loss;
}

Test(model, article_has_the_published_numbers_of_values)
{
    struct bench b;
    bench_init(&b, article(75, 1));
    int64_t values = 0, trained = 0;
    for (int i = 0; i < model_parameter_count(b.model); i++) {
        const struct parameter *p = model_parameter(b.model, i);
        if (strncmp(p->name, "tower1.", 7) != 0) continue;
        values += p->count;
        trained += p->trains ? p->count : 0;
    }
    cr_expect_eq(values, 21802784);
    cr_expect_eq(trained, 17366976);
    cr_expect_eq(model_values(b.model), 44687425);
    cr_expect_eq(model_trainable_values(b.model), 35815809);
    bench_release(&b);
}

/* Index of the convolution that the parameter belongs to, by its layer's name; -1 for others. */
static int convolution_of(const char *parameter, const char *end)
{
    char name[128];
    int rank = 0;
    for (int i = 0; i < INCEPTION_LAYERS; i++) {
        if (inception_v3[i].kind != INCEPTION_CONVOLUTION) continue;
        snprintf(name, sizeof name, ".%s.%s", inception_v3[i].name, end);
        if (strncmp(parameter, "tower", 5) == 0 && strcmp(parameter + 6, name) == 0) return rank;
        rank++;
    }
    return -1;
}

/* Determined by what a step changes: Keras creates the layers of a block in
 * another order than the table's. */
Test(model, keras_150_trains_exactly_the_convolutions_behind_the_cut)
{
    bool wanted[INCEPTION_CONVOLUTIONS] = { [40] = true, [43] = true, [48] = true, [49] = true };
    for (int i = 50; i < INCEPTION_CONVOLUTIONS; i++) wanted[i] = true;
    struct bench b;
    bench_init(&b, article(75, 2));
    const int count = model_parameter_count(b.model);
    float **before = calloc((size_t)count, sizeof *before), loss;
    int found = 0, trained = 0;
    for (int i = 0; i < count; i++) before[i] = step_read(b.model, i, PART_VALUE);
    cr_assert(model_train_step(b.model, &b.batch, 1e-3f, 1, 1, &loss, NULL, &b.err));
    for (int i = 0; i < count; i++) {
        const struct parameter *p = model_parameter(b.model, i);
        const int weight = convolution_of(p->name, "conv.weight");
        const int rank = weight >= 0 ? weight : convolution_of(p->name, "bn.bias");
        float *after = step_read(b.model, i, PART_VALUE);
        if (rank >= 0) {
            const bool moved = memcmp(before[i], after, (size_t)p->count * sizeof *after) != 0;
            cr_expect_eq(moved, wanted[rank], "%s %s", p->name, moved ? "moves" : "stays");
            found++;
            trained += moved;
        }
        free(after);
        free(before[i]);
    }
    cr_expect_eq(found, 2 * 2 * INCEPTION_CONVOLUTIONS); /* towers, arrays */
    cr_expect_eq(trained, 2 * 2 * 48);
    free(before);
    bench_release(&b);
}

/* Directional derivative of the loss along a random direction of one array,
 * against the gradient. */
static void check_gradient(struct bench *b, const char *name, double length)
{
    int index;
    const struct parameter *p = model_find(b->model, name, &index);
    cr_assert(p && p->trains, "%s", name);
    const size_t n = (size_t)p->count;
    float *values = malloc(n * 4), *moved = malloc(n * 4), *gradient = malloc(n * 4);
    struct random random = random_init(5, 0, (uint64_t)index, RANDOM_TEST);
    loss_of(b, NULL);
    cr_assert(model_read(b->model, index, PART_VALUE, values, &b->err));
    cr_assert(model_read(b->model, index, PART_GRADIENT, gradient, &b->err));
    double norm = 0, along = 0;
    for (size_t i = 0; i < n; i++) norm += (double)gradient[i] * gradient[i];
    norm = sqrt(norm);
    cr_assert(norm > 0, "%s has no gradient", name);
    /* half along the gradient, half random: large enough to measure, but
     * not limited to the gradient */
    float *direction = malloc(n * 4);
    for (size_t i = 0; i < n; i++) {
        direction[i] = (float)(gradient[i] / norm + 0.3 * random_normal(&random) / sqrt((double)n));
        along += (double)direction[i] * gradient[i];
    }
    double losses[2];
    const double step = length / norm;
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < n; i++)
            moved[i] = (float)(values[i] + (side ? step : -step) * direction[i]);
        cr_assert(model_write(b->model, index, PART_VALUE, moved, &b->err));
        losses[side] = loss_of(b, NULL);
    }
    cr_assert(model_write(b->model, index, PART_VALUE, values, &b->err));
    const double measured = (losses[1] - losses[0]) / (2 * step);
    cr_expect(fabs(measured / along - 1) < 0.02, "%s: finite difference %.6g, gradient %.6g", name,
              measured, along);
    free(direction);
    free(values);
    free(moved);
    free(gradient);
}

Test(model, gradients_of_the_whole_network_agree_with_finite_differences)
{
    static const char *const names[] = {
        "tower0.Mixed_6c.branch1x1.conv.weight",
        "tower1.Mixed_6c.branch7x7_3.bn.bias",
        "tower0.Mixed_6d.branch7x7dbl_3.conv.weight",
        "tower1.Mixed_6e.branch_pool.conv.weight",
        "tower0.Mixed_7a.branch3x3_2.conv.weight",
        "tower1.Mixed_7b.branch3x3_2a.conv.weight",
        "tower0.Mixed_7c.branch3x3dbl_3b.bn.bias",
        "tower1.Mixed_7c.branch1x1.conv.weight",
        "head.0.weight",
        "head.1.bias",
        "head.2.weight",
    };
    struct bench b;
    struct model_spec spec = article(139, 4);
    bench_init(&b, spec);
    for (size_t i = 0; i < COUNT_OF(names); i++) check_gradient(&b, names[i], 3e-3);
    bench_release(&b);
}

Test(model, gradients_with_scales_and_frozen_statistics_agree_with_finite_differences)
{
    struct bench b;
    struct model_spec spec = article(107, 3);
    spec.towers = 1;
    spec.gamma = true;
    spec.model.batch_norm = BATCH_NORM_FROZEN;
    strcpy(spec.model.freeze, "mixed_6e");
    bench_init(&b, spec);
    check_gradient(&b, "tower0.Mixed_7a.branch7x7x3_2.conv.weight", 2e-5);
    check_gradient(&b, "tower0.Mixed_7b.branch1x1.bn.weight", 2e-5);
    check_gradient(&b, "tower0.Mixed_7c.branch3x3_1.bn.bias", 2e-5);
    bench_release(&b);
}

/* With frozen statistics and no dropout, training's forward pass and the folded inference program
 * are one function. */
Test(model, folded_inference_agrees_with_the_unfolded_forward_pass)
{
    struct bench b;
    struct model_spec spec = article(80, 4);
    spec.model.batch_norm = BATCH_NORM_FROZEN;
    bench_init(&b, spec);
    float trained[4], folded[4];
    loss_of(&b, trained);
    cr_assert(model_refresh(b.model, &b.err), "%s", b.err.message);
    cr_assert(model_predict(b.model, &b.batch, folded, &b.err), "%s", b.err.message);
    for (int i = 0; i < 4; i++)
        cr_expect(fabsf(trained[i] - folded[i]) < 1e-5f, "%g %g", trained[i], folded[i]);
    bench_release(&b);
}

/* The folded weights would be those before the step. */
Test(model, inference_behind_a_step_without_a_refresh_is_a_programmers_error, .signal = SIGABRT)
{
    struct bench b;
    struct model_spec spec = article(75, 1);
    float probability;
    spec.towers = 1;
    strcpy(spec.model.freeze, "all"); /* only the head trains */
    bench_init(&b, spec);
    loss_of(&b, NULL);
    cr_assert(model_refresh(b.model, &b.err), "%s", b.err.message);
    cr_assert(model_predict(b.model, &b.batch, &probability, &b.err), "%s", b.err.message);
    loss_of(&b, NULL);
    model_predict(b.model, &b.batch, &probability, &b.err); /* aborts here */
    bench_release(&b);
}

/* Passes are collected in the order of submission, each with its own tag. */
Test(model, collecting_a_step_tells_which_one_it_was)
{
    struct bench b;
    struct model_spec spec = article(75, 2);
    struct model_result result;
    int tags[PASSES_MAX];
    spec.towers = 1;
    strcpy(spec.model.freeze, "all");
    bench_init(&b, spec);
    for (int i = 0; i < PASSES_MAX; i++) {
        b.batch.tag = &tags[i];
        cr_assert(model_train_submit(b.model, &b.batch, 1e-3 / (i + 1), i + 1, 1, &b.err), "%s",
                  b.err.message);
        cr_expect_eq(model_in_flight(b.model), i + 1);
    }
    for (int i = 0; i < PASSES_MAX; i++) {
        cr_assert(model_train_collect(b.model, &result, NULL, &b.err), "%s", b.err.message);
        cr_expect_eq(result.tag, &tags[i]);
        cr_expect_eq(result.count, 2);
        cr_expect_eq(result.learning_rate, 1e-3 / (i + 1));
        cr_expect(isfinite(result.loss) && result.loss > 0, "loss %g", result.loss);
    }
    cr_assert(model_refresh(b.model, &b.err), "%s", b.err.message);
    for (int i = 0; i < PASSES_MAX; i++) {
        b.batch.tag = &tags[i];
        b.batch.count = 2 - i % 2;
        cr_assert(model_predict_submit(b.model, &b.batch, &b.err), "%s", b.err.message);
    }
    for (int i = 0; i < PASSES_MAX; i++) {
        float probabilities[2] = { -1, -1 };
        cr_assert(model_predict_collect(b.model, &result, probabilities, &b.err), "%s",
                  b.err.message);
        cr_expect_eq(result.tag, &tags[i]);
        cr_expect_eq(result.count, 2 - i % 2);
        for (int k = 0; k < 2; k++) cr_expect_eq(probabilities[k] >= 0, k < result.count);
    }
    cr_expect_eq(model_in_flight(b.model), 0);
    bench_release(&b);
}

Test(model, a_fixed_model_predicts_the_same_and_keeps_only_the_head)
{
    struct bench whole, fixed;
    struct model_spec spec = article(80, 2);
    spec.training = false;
    bench_init(&whole, spec);
    spec.fixed = true;
    bench_init(&fixed, spec);
    float p[2], q[2];
    cr_assert(model_predict(whole.model, &whole.batch, p, &whole.err), "%s", whole.err.message);
    cr_assert(model_predict(fixed.model, &fixed.batch, q, &fixed.err), "%s", fixed.err.message);
    cr_expect_arr_eq(p, q, sizeof p);
    const size_t values = (size_t)model_values(fixed.model);
    cr_expect_geq(model_memory(whole.model).parameters, values * sizeof(float));
    cr_expect_lt(model_memory(fixed.model).parameters, values * sizeof(float) / 20);
    bench_release(&whole);
    bench_release(&fixed);
}

/* Batches pass through the first blocks in chunks; a single window is a chunk. */
Test(model, a_batch_gives_what_its_windows_give_alone)
{
    enum { BATCH = 12 };
    struct bench together, alone;
    struct model_spec spec = article(80, BATCH);
    spec.training = false;
    bench_init(&together, spec);
    spec.batch = 1;
    bench_init(&alone, spec);
    float all[BATCH], one;
    cr_assert(model_predict(together.model, &together.batch, all, &together.err));
    for (int i = 0; i < BATCH; i++) {
        struct model_batch batch = { .count = 1 };
        for (int t = 0; t < 2; t++) {
            batch.pixels[t] = together.pixels[t] + (size_t)i * 80 * 80 * 3;
            batch.draws[t] = together.draws;
        }
        cr_assert(model_predict(alone.model, &batch, &one, &alone.err));
        cr_expect(fabsf(one - all[i]) < 1e-5f, "window %d: %g alone, %g in the batch", i, one,
                  all[i]);
    }
    for (int i = 1; i < BATCH; i++) cr_expect_neq(all[i], all[0]);
    bench_release(&together);
    bench_release(&alone);
}

Test(model, a_step_moves_what_trains_and_nothing_else)
{
    struct bench b;
    bench_init(&b, article(75, 2));
    const int count = model_parameter_count(b.model);
    float **before = calloc((size_t)count, sizeof *before), loss;
    for (int i = 0; i < count; i++) {
        before[i] = malloc((size_t)model_parameter(b.model, i)->count * sizeof(float));
        cr_assert(model_read(b.model, i, PART_VALUE, before[i], &b.err));
    }
    cr_assert(model_train_step(b.model, &b.batch, 1e-3f, 1, 1, &loss, NULL, &b.err));
    for (int i = 0; i < count; i++) {
        const struct parameter *p = model_parameter(b.model, i);
        float *after = malloc((size_t)p->count * sizeof(float));
        cr_assert(model_read(b.model, i, PART_VALUE, after, &b.err));
        const bool moved = memcmp(before[i], after, (size_t)p->count * sizeof(float)) != 0;
        const bool should = p->trains || (p->statistic && p->device);
        cr_expect_eq(moved, should, "%s", p->name);
        free(after);
        free(before[i]);
    }
    free(before);
    bench_release(&b);
}

/* Values of the array whose average is followed: as the formula has it, and their average. */
struct followed_average {
    float *want, *value;
};

static void expect_average(struct bench *b, int index, struct followed_average *f)
{
    const struct parameter *p = model_parameter(b->model, index);
    float *value = step_read(b->model, index, PART_VALUE);
    float *average = step_read(b->model, index, PART_AVERAGE);
    for (int64_t k = 0; k < p->count; k++) {
        f->want[k] += 0.25f * (value[k] - f->want[k]);
        cr_assert_float_eq(average[k], f->want[k], 1e-6f * fabsf(f->want[k]) + 1e-12f, "%s",
                           p->name);
    }
    free(average);
    free(f->value);
    f->value = value;
}

static void expect_swapped(struct bench *b, const struct followed_average *all, bool swapped)
{
    for (int i = 0; i < model_parameter_count(b->model); i++) {
        if (!all[i].want) continue;
        float *value = step_read(b->model, i, swapped ? PART_AVERAGE : PART_VALUE);
        const size_t bytes = (size_t)model_parameter(b->model, i)->count * sizeof *value;
        cr_expect_eq(memcmp(value, all[i].value, bytes), 0, "%s",
                     model_parameter(b->model, i)->name);
        free(value);
    }
}

Test(model, averages_follow_the_weights_and_can_stand_in_for_them)
{
    struct model_spec spec = article(75, 2);
    struct bench b;
    float loss, trained[2], averaged[2], again[2];
    spec.towers = 1;
    spec.ema = 0.75;
    snprintf(spec.model.freeze, sizeof spec.model.freeze, "mixed_7b");
    bench_init(&b, spec);
    const int count = model_parameter_count(b.model);
    struct followed_average *all = calloc((size_t)count, sizeof *all);
    cr_assert(model_start_average(b.model, &b.err));
    for (int i = 0; i < count; i++) {
        const struct parameter *p = model_parameter(b.model, i);
        cr_expect_eq(p->average != NULL, p->trains || (p->statistic && p->device), "%s", p->name);
        if (p->average) all[i].want = step_read(b.model, i, PART_VALUE);
    }
    for (int step = 1; step <= 2; step++) {
        cr_assert(model_train_step(b.model, &b.batch, 1e-2f, step, 1, &loss, NULL, &b.err));
        for (int i = 0; i < count; i++)
            if (all[i].want) expect_average(&b, i, &all[i]);
    }
    cr_assert(model_refresh(b.model, &b.err) && model_predict(b.model, &b.batch, trained, &b.err));
    cr_assert(model_swap_average(b.model, &b.err) && model_refresh(b.model, &b.err));
    cr_assert(model_predict(b.model, &b.batch, averaged, &b.err));
    expect_swapped(&b, all, true);
    cr_assert(model_swap_average(b.model, &b.err) && model_refresh(b.model, &b.err));
    cr_assert(model_predict(b.model, &b.batch, again, &b.err));
    expect_swapped(&b, all, false);
    cr_expect(averaged[0] != trained[0] && memcmp(trained, again, sizeof trained) == 0);
    for (int i = 0; i < count; i++) {
        free(all[i].want);
        free(all[i].value);
    }
    free(all);
    bench_release(&b);
}

enum { WINDOWS = 8, FOLLOWED = 6 };

static const char *const followed[FOLLOWED] = {
    "tower0.Mixed_6d.branch7x7_1.conv.weight", "tower0.Mixed_6e.branch_pool.conv.weight",
    "tower0.Mixed_7a.branch3x3_2.conv.weight", "tower0.Mixed_7b.branch3x3_2a.bn.bias",
    "tower0.Mixed_7c.branch1x1.conv.weight",   "head.0.weight",
};

/* Logits of inference and of training's forward pass, and some gradients. */
struct pass {
    float logits[2][WINDOWS];
    float *gradients[FOLLOWED];
    int64_t counts[FOLLOWED];
};

static struct pass pass_of(struct bench *b)
{
    struct pass pass;
    cr_assert(model_predict(b->model, &b->batch, pass.logits[0], &b->err), "%s", b->err.message);
    loss_of(b, pass.logits[1]);
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < WINDOWS; k++)
            pass.logits[i][k] = logf(pass.logits[i][k] / (1 - pass.logits[i][k]));
    for (int i = 0; i < FOLLOWED; i++) {
        int index = 0;
        while (strcmp(model_parameter(b->model, index)->name, followed[i]) != 0) index++;
        pass.counts[i] = model_parameter(b->model, index)->count;
        pass.gradients[i] = step_read(b->model, index, PART_GRADIENT);
    }
    return pass;
}

static void pass_release(struct pass *pass)
{
    for (int i = 0; i < FOLLOWED; i++) free(pass->gradients[i]);
}

/* a - b| as a fraction of |b - shift|. */
static double off(const float *a, const float *b, int64_t count, double shift)
{
    double apart = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        apart += pow((double)a[i] - b[i], 2);
        norm += pow(b[i] - shift, 2);
    }
    return sqrt(apart / norm);
}

/* How far a pass is from the exact one: logits relative to their variation between windows, then
 * gradients relative to their norms. */
static void distances(const struct pass *pass, const struct pass *exact, double far[2 + FOLLOWED])
{
    for (int i = 0; i < 2; i++) {
        double mean = 0;
        for (int k = 0; k < WINDOWS; k++) mean += exact->logits[i][k] / WINDOWS;
        far[i] = off(pass->logits[i], exact->logits[i], WINDOWS, mean);
    }
    for (int i = 0; i < FOLLOWED; i++)
        far[2 + i] = off(pass->gradients[i], exact->gradients[i], exact->counts[i], 0);
}

/* Statistics are frozen, because with the few values of small maps batch
 * norm amplifies any rounding. */
Test(model, bf16_activations_follow_fp32_within_their_rounding)
{
    struct model_spec spec = article(75, WINDOWS);
    spec.towers = 1;
    spec.model.batch_norm = BATCH_NORM_FROZEN;
    struct pass exact = { 0 };
    double noise[2 + FOLLOWED] = { 0 }, rounded[2 + FOLLOWED];
    for (int draw = 0; draw <= NOISE_DRAWS; draw++) {
        struct bench b;
        double far[2 + FOLLOWED];
        bench_init(&b, spec);
        if (draw) weight_noise(b.model, (uint64_t)draw);
        struct pass pass = pass_of(&b);
        bench_release(&b);
        if (draw == 0) {
            exact = pass;
            continue;
        }
        distances(&pass, &exact, far);
        for (int i = 0; i < 2 + FOLLOWED; i++) noise[i] = fmax(noise[i], far[i]);
        pass_release(&pass);
    }
    struct bench b;
    spec.activations = DTYPE_BF16;
    bench_init(&b, spec);
    struct pass pass = pass_of(&b);
    distances(&pass, &exact, rounded);
    for (int i = 0; i < 2 + FOLLOWED; i++) {
        const char *what = i < 2 ? (i ? "logits of training" : "logits of inference")
                                 : followed[i - 2];
        const double bound = NOISE_FACTOR * noise[i];
        cr_log_info("%s: off by %.3f, noise %.3f", what, rounded[i], noise[i]);
        cr_expect_leq(rounded[i], bound, "%s: off by %.3f, may be by %.3f", what, rounded[i],
                      bound);
        cr_expect_gt(rounded[i], 1e-5, "%s: nothing was rounded", what);
        cr_expect_lt(bound, 1, "%s: a bound of %.3f lets chance pass", what, bound);
    }
    pass_release(&pass);
    pass_release(&exact);
    bench_release(&b);
}

static float *floats_read(const char *name, size_t *count)
{
    char path[PATH_MAX_BYTES], *bytes;
    size_t size;
    struct error err = { 0 };
    snprintf(path, sizeof path, "%s/inception-v3/reference/%s.f32", MICROMET_SHARED_DATA, name);
    cr_assert(file_read(path, 1 << 28, &bytes, &size, &err), "%s", err.message);
    *count = size / 4;
    return (float *)(void *)bytes;
}

Test(model, activations_agree_with_an_independent_implementation)
{
    if (!real_weights_present()) cr_skip("no real weights at " MICROMET_SHARED_DATA "\n");
    static const char *const layers[][2] = {
        { "activation_1", "Conv2d_1a_3x3" },
        { "activation_5", "Conv2d_4a_3x3" },
        { "mixed2", "Mixed_5d" },
        { "mixed5", "Mixed_6c" },
        { "mixed8", "Mixed_7a" },
        { "mixed10", "Mixed_7c" },
        { "flatten_1", "features" },
    };
    struct bench b;
    struct model_spec spec = article(299, 1);
    spec.towers = 1;
    spec.training = false;
    bench_init(&b, spec);
    char folder[PATH_MAX_BYTES], path[PATH_MAX_BYTES];
    struct pretrained pretrained;
    bool head;
    test_folder_make(folder);
    test_path(path, folder, "weights.safetensors");
    cr_assert(real_weights_write(path, &b.err), "%s", b.err.message);
    cr_assert(pretrained_open(&pretrained, path, &b.err), "%s", b.err.message);
    cr_assert(pretrained_apply(&pretrained, b.model, &head, &b.err), "%s", b.err.message);
    pretrained_release(&pretrained);
    size_t count;
    float *input = floats_read("input", &count);
    for (size_t i = 0; i < COUNT_OF(layers); i++) {
        float *values, *wanted = floats_read(layers[i][0], &count);
        int shape[4];
        cr_assert(model_activation(b.model, 0, input, layers[i][1], &values, shape, &b.err), "%s",
                  b.err.message);
        cr_assert_eq((size_t)shape[0] * shape[1] * shape[2] * shape[3], count);
        double difference = 0, magnitude = 0;
        for (size_t k = 0; k < count; k++) {
            difference += pow((double)values[k] - wanted[k], 2);
            magnitude += pow(wanted[k], 2);
        }
        const double relative = sqrt(difference / magnitude);
        cr_log_info("%s: relative error %.3g", layers[i][1], relative);
        cr_expect(relative <= 1e-4, "%s: relative error %.3g", layers[i][1], relative);
        free(values);
        free(wanted);
    }
    free(input);
    test_folder_remove(folder);
    bench_release(&b);
}
