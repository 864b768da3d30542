/* One training step of the article's network against the same step in PyTorch in double precision:
 * the loss within 1e-5, and the gradient and update of every array within 1e-3 of their norms.
 *
 * tools/parity/train_step.py explains how both sides get the same initial state, why it avoids the
 * discontinuities of ReLU, max pooling and Adam, and what a sketch is: a few sums, small enough to
 * store, that give the norm of a difference to 9 %. An array off by twice the bound passes once in
 * 1e9. tools/check-train-step compares every element; for it this program writes them to
 * $MICROMET_STEP_DUMP/CASE.safetensors. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "micromet/base/random.h"
#include "micromet/data/augment.h"
#include "micromet/format/weights.h"
#include "micromet/nn/model.h"
#include "op_case.h"
#include "step_start.h"
#include "support.h"

/* Epochs of the Philox streams, as in train_step.py. */
enum { SKETCH = 4, REDRAW = 16, SKETCH_SIZE = 64, TOWERS = 2 };

static const double loss_off = 1e-5, relative_off = 1e-3, logit_off = 2e-4;

struct step {
    const char *name;
    struct weights fixture;
    struct backend *backend;
    struct model *model;
    struct model_spec spec;
    uint64_t seed;
    uint8_t *pixels[TOWERS_MAX];
    struct augment_draw *draws;
    float *labels, *probabilities;
    struct model_batch batch;
    float **before; /* by parameter; NULL if it does not change */
};

static const char *text(const struct step *s, const char *key)
{
    const char *value = weights_metadata(&s->fixture, key);
    cr_assert(value, "%s: the fixture has no '%s'", s->name, key);
    return value;
}

static double number(const struct step *s, const char *key)
{
    return strtod(text(s, key), NULL);
}

/* The fixture's array NAME.WHAT. */
static const void *find(const struct step *s, const char *name, const char *what, int64_t *count)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", name, what);
    const struct weight_array *array = weights_find(&s->fixture, key);
    if (count) *count = array ? array->count : 0;
    return array ? array->data : NULL;
}

static struct model_spec spec_of(const struct step *s)
{
    struct model_spec spec = {
        .towers = TOWERS,
        .window = (int)number(s, "window"),
        .batch = (int)number(s, "batch"),
        .training = true,
        .activations = DTYPE_F32,
        .gamma = number(s, "gamma") != 0,
        .model = { .pool_padding = POOL_PADDING_EXCLUDE,
                   .head = { 256, 128 },
                   .head_count = 2,
                   .batch_norm_momentum = 0.99 },
        .optimizer = { .name = OPTIMIZER_ADAM,
                       .beta1 = number(s, "beta1"),
                       .beta2 = number(s, "beta2"),
                       .epsilon = number(s, "epsilon") },
    };
    snprintf(spec.model.freeze, sizeof spec.model.freeze, "%s", text(s, "freeze"));
    return spec;
}

static float *allocate(int64_t count)
{
    float *values = malloc((size_t)count * sizeof *values);
    cr_assert(values);
    return values;
}

/* --- the start ------------------------------------------------------------------------------- */

static void redraw_filter(const struct parameter *p, struct random random, float *filter)
{
    const int64_t size = p->count / p->torch_shape[0];
    const float deviation = (float)sqrt(2 / (double)size);
    const float limit = (float)sqrt(6 / (double)(size + p->torch_shape[0]));
    for (int64_t i = 0; i < size; i++)
        filter[i] = p->dims == 4 ? deviation * random_normal(&random)
                                 : random_uniform(&random, -limit, limit);
}

static void settle_filters(const struct step *s, const struct parameter *p, int index,
                           float *values)
{
    const uint8_t *attempts = find(s, p->name, "redraws", NULL);
    const int64_t size = p->count / p->torch_shape[0];
    for (int64_t k = 0; k < p->torch_shape[0]; k++)
        if (attempts && attempts[k])
            redraw_filter(p,
                          random_init(s->seed, REDRAW + attempts[k], (uint64_t)(4096 * index + k),
                                      RANDOM_TEST),
                          values + k * size);
    step_center_filters(p, values);
}

static void start_optimizer(struct step *s, int index)
{
    const struct parameter *p = model_parameter(s->model, index);
    const float *gradient = find(s, p->name, "gradient", NULL);
    cr_assert(gradient, "%s: the fixture has no gradient of %s", s->name, p->name);
    step_start_adam(s->model, index, s->seed, (float)(gradient[0] / sqrt((double)p->count)));
}

static void start_model(struct step *s)
{
    struct error err = { 0 };
    cr_assert(model_randomize(s->model, s->seed, &err), "%s", err.message);
    s->before = calloc((size_t)model_parameter_count(s->model), sizeof *s->before);
    for (int i = 0; i < model_parameter_count(s->model); i++) {
        const struct parameter *p = model_parameter(s->model, i);
        float *values = step_read(s->model, i, PART_VALUE);
        if (p->dims == 1)
            step_draw_vector(p, s->seed, i, values);
        else
            settle_filters(s, p, i, values);
        step_write(s->model, i, PART_VALUE, values);
        if (p->trains) start_optimizer(s, i);
        if (p->trains || (p->statistic && !p->host))
            s->before[i] = values;
        else
            free(values);
    }
    cr_assert(model_refresh(s->model, &err), "%s", err.message);
}

static void draw_batch(struct step *s)
{
    const size_t n = (size_t)s->spec.batch;
    const size_t bytes = (size_t)s->spec.window * (size_t)s->spec.window * 3;
    s->draws = malloc(n * sizeof *s->draws);
    s->labels = allocate(s->spec.batch);
    s->probabilities = allocate(s->spec.batch);
    for (size_t i = 0; i < n; i++) {
        s->draws[i] = augment_identity();
        s->labels[i] = i % 2 == 0;
    }
    s->batch = (struct model_batch) { .labels = s->labels, .count = s->spec.batch };
    for (int t = 0; t < s->spec.towers; t++) {
        s->pixels[t] = malloc(n * bytes);
        for (int i = 0; i < s->spec.batch; i++)
            step_draw_window(&s->spec, s->seed, t, i, s->pixels[t] + (size_t)i * bytes);
        s->batch.pixels[t] = s->pixels[t];
        s->batch.draws[t] = s->draws;
    }
}

static void step_init(struct step *s, const char *name)
{
    char path[PATH_MAX_BYTES];
    struct error err = { 0 };
    *s = (struct step) { .name = name };
    snprintf(path, sizeof path, MICROMET_SOURCE "/tests/fixtures/train_step_%s.safetensors", name);
    cr_assert(safetensors_read(&s->fixture, path, &err), "%s", err.message);
    s->spec = spec_of(s);
    s->seed = (uint64_t)number(s, "seed");
    s->backend = op_case_backend(s->spec.towers);
    cr_assert(model_init(&s->model, s->backend, &s->spec, &err), "%s", err.message);
    start_model(s);
    draw_batch(s);
}

static void step_release(struct step *s)
{
    for (int i = 0; i < model_parameter_count(s->model); i++) free(s->before[i]);
    free(s->before);
    model_release(s->model);
    backend_close(s->backend);
    for (int t = 0; t < TOWERS_MAX; t++) free(s->pixels[t]);
    free(s->draws);
    free(s->labels);
    free(s->probabilities);
    weights_release(&s->fixture);
}

/* --- comparing ------------------------------------------------------------------------------- */

static double logit(double probability)
{
    return log(probability / (1 - probability));
}

static void check_logits(const struct step *s, const char *key)
{
    int64_t count;
    const float *logits = find(s, "step", key, &count);
    cr_assert_eq(count, s->spec.batch);
    for (int i = 0; i < s->spec.batch; i++) {
        const double got = logit(s->probabilities[i]);
        cr_expect_float_eq(got, logits[i], logit_off, "%s: %s of sample %d: %.8g, not %.8g",
                           s->name, key, i, got, logits[i]);
    }
}

/* An array of at most SKETCH_SIZE elements is its own sketch. Returns how many sums there are. */
static int sketch(const struct step *s, int index, const float *values, int64_t count,
                  double sums[SKETCH_SIZE])
{
    struct random random = random_init(s->seed, SKETCH, (uint64_t)index, RANDOM_TEST);
    memset(sums, 0, SKETCH_SIZE * sizeof *sums);
    for (int64_t i = 0; i < count; i++) {
        const uint32_t word = count <= SKETCH_SIZE ? (uint32_t)i : random_u32(&random);
        sums[word % SKETCH_SIZE] += word >> 31 ? -values[i] : values[i];
    }
    return count < SKETCH_SIZE ? (int)count : SKETCH_SIZE;
}

/* The fixture has the norm of the correct array, then its sketch. */
static void check_array(const struct step *s, int index, const char *what, const float *values)
{
    double sums[SKETCH_SIZE], squares = 0;
    int64_t recorded;
    const struct parameter *p = model_parameter(s->model, index);
    const float *right = find(s, p->name, what, &recorded);
    const int count = sketch(s, index, values, p->count, sums);
    cr_assert_eq(recorded, count + 1, "%s: the fixture has %d values for the %s of %s", s->name,
                 (int)recorded, what, p->name);
    for (int i = 0; i < count; i++) squares += (sums[i] - right[1 + i]) * (sums[i] - right[1 + i]);
    cr_expect_leq(sqrt(squares), relative_off * right[0], "%s: the %s of %s is off by %.2e of it",
                  s->name, what, p->name, sqrt(squares) / right[0]);
}

static float *update_of(const struct step *s, int index)
{
    float *update = step_read(s->model, index, PART_VALUE);
    for (int64_t i = 0; i < model_parameter(s->model, index)->count; i++)
        update[i] -= s->before[index][i];
    return update;
}

static void check_arrays(const struct step *s)
{
    int checked = 0;
    for (int i = 0; i < model_parameter_count(s->model); i++) {
        if (!s->before[i]) continue;
        if (model_parameter(s->model, i)->trains) {
            float *gradient = step_read(s->model, i, PART_GRADIENT);
            check_array(s, i, "gradient", gradient);
            free(gradient);
        }
        float *update = update_of(s, i);
        check_array(s, i, "update", update);
        free(update);
        checked++;
    }
    cr_expect_eq(checked, (int)number(s, "arrays"), "%s: %d arrays change", s->name, checked);
}

/* --- every element, for tools/check-train-step ----------------------------------------------- */

struct dump {
    const struct step *step;
    struct weight_array *arrays;
    int count, *indices; /* of the parameters */
    bool *is_update;
};

static bool fill(void *context, int index, void *values, struct error *err)
{
    (void)err;
    const struct dump *dump = context;
    const int parameter = dump->indices[index];
    float *source = dump->is_update[index] ? update_of(dump->step, parameter)
                                           : step_read(dump->step->model, parameter, PART_GRADIENT);
    memcpy(values, source, (size_t)dump->arrays[index].count * sizeof *source);
    free(source);
    return true;
}

static void dump_add(struct dump *dump, int index, bool is_update)
{
    const struct parameter *p = model_parameter(dump->step->model, index);
    struct weight_array *array = &dump->arrays[dump->count];
    *array = (struct weight_array) {
        .dims = 1, .shape = { p->count }, .count = p->count, .dtype = "F32"
    };
    cr_assert(asprintf(&array->name, "%s.%s", p->name, is_update ? "update" : "gradient") > 0);
    dump->indices[dump->count] = index;
    dump->is_update[dump->count++] = is_update;
}

static void dump_step(const struct step *s, const char *folder, float loss)
{
    char path[PATH_MAX_BYTES], loss_text[32];
    struct error err = { 0 };
    const size_t most = 2 * (size_t)model_parameter_count(s->model);
    struct dump dump = { .step = s,
                         .arrays = calloc(most, sizeof *dump.arrays),
                         .indices = calloc(most, sizeof *dump.indices),
                         .is_update = calloc(most, sizeof *dump.is_update) };
    for (int i = 0; i < model_parameter_count(s->model); i++) {
        if (model_parameter(s->model, i)->trains) dump_add(&dump, i, false);
        if (s->before[i]) dump_add(&dump, i, true);
    }
    snprintf(loss_text, sizeof loss_text, "%.9g", (double)loss);
    const char *const metadata[] = { "loss", loss_text, NULL };
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, s->name);
    cr_assert(safetensors_write_filled(path, dump.arrays, dump.count, metadata, fill, &dump, &err),
              "%s", err.message);
    for (int i = 0; i < dump.count; i++) free(dump.arrays[i].name);
    free(dump.arrays);
    free(dump.indices);
    free(dump.is_update);
}

static void check_step(const char *name)
{
    struct step s;
    struct error err = { 0 };
    float loss;
    step_init(&s, name);
    cr_assert(model_predict(s.model, &s.batch, s.probabilities, &err), "%s", err.message);
    check_logits(&s, "inference_logits");
    cr_assert(model_train_step(s.model, &s.batch, (float)number(&s, "learning_rate"),
                               (int64_t)number(&s, "step"), 1, &loss, s.probabilities, &err),
              "%s", err.message);
    check_logits(&s, "logits");
    cr_expect_float_eq(loss, number(&s, "loss"), loss_off, "%s: a loss of %.9g, not %.9g", name,
                       (double)loss, number(&s, "loss"));
    check_arrays(&s);
    const char *folder = getenv("MICROMET_STEP_DUMP");
    if (folder) dump_step(&s, folder, loss);
    step_release(&s);
}

Test(train_step, article)
{
    check_step("article");
}

Test(train_step, unfrozen)
{
    check_step("unfrozen");
}
