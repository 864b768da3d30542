/* A whole training step on the simulated device compared with the same step on the CPU, from a
 * start away from discontinuities of the gradient. MICROMET_TEST_REPORT=1 in the environment prints
 * the largest differences. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "step_model.h"
#include "step_start.h"
#include "weight_noise.h"

static bool reports(void)
{
    return getenv("MICROMET_TEST_REPORT") != NULL;
}

/* --- a start away from discontinuities --- */

/* A gradient is discontinuous where the input of a ReLU is zero or the two largest inputs of a max
 * pool are equal: there rounding decides (see tools/parity/train_step.py). Inputs are kept this far
 * away, in standard deviations; float32 errors are about 1e-6. */
static const float margin = 2e-4f, margin_of_maxima = 2e-5f;

static float value_at(const struct tensor *t, const void *data, int64_t pixel, int64_t channel)
{
    return ((const float *)data)[pixel * t->pixel_stride + channel];
}

static bool near_zero(const struct instruction *norm, int channel)
{
    const struct op_buffers *b = &norm->buffers;
    for (int64_t p = 0; p < tensor_pixels(&norm->op.x); p++) {
        const float x = value_at(&norm->op.x, b->x, p, channel);
        const float xhat = (x - b->saved_mean[channel]) * b->saved_inverse_std[channel];
        if (fabsf(xhat + b->beta[channel]) < margin) return true;
    }
    return false;
}

/* Shift channels that are too near; true if any was. The backend is the CPU's, so its memory can be
 * accessed directly. */
static bool shift_channels(const struct instruction *norm)
{
    bool shifted = false;
    for (int c = 0; c < norm->op.y.c; c++)
        for (; near_zero(norm, c); shifted = true) ((float *)norm->buffers.beta)[c] += 10 * margin;
    return shifted;
}

static void expect_clear_maxima(const struct instruction *pool)
{
    const struct op *op = &pool->op;
    const struct op_window *w = &op->pool.window;
    const int64_t windows = tensor_pixels(&op->y);
    for (int64_t i = 0; i < windows * op->y.c; i++) {
        const int64_t at = i / op->y.c;
        const int n = (int)(at / op->y.w / op->y.h);
        float largest = 0, second = 0; /* after a ReLU: gradients do not pass zeros */
        for (int k = 0; k < w->kernel_h * w->kernel_w; k++) {
            const int y = (int)(at / op->y.w % op->y.h) * w->stride + k / w->kernel_w;
            const int x = (int)(at % op->y.w) * w->stride + k % w->kernel_w;
            const int64_t from = ((int64_t)n * op->x.h + y) * op->x.w + x;
            const float value = value_at(&op->x, pool->buffers.x, from, i % op->y.c);
            second = fmaxf(second, fminf(value, largest));
            largest = fmaxf(largest, value);
        }
        cr_assert(largest - second > margin_of_maxima || largest == 0, "%s: take another seed",
                  op->name);
    }
}

/* After a step, whose batch is in the first slot: run the forward pass again, one trained layer
 * after the other. */
static int settle_tower(struct model *model, int tower)
{
    struct program *program = model_program(model, tower, true);
    const struct program_values values = model_program_values(model, tower);
    const int frozen_end = program->chunk_end,
              end = model->tower_branches[TRAIN][tower].stage_end[STAGE_FORWARD];
    int shifts = 0;
    struct error err = { 0 };
    OK(program_run(program, 0, frozen_end, &values, &err));
    for (int n = frozen_end; n < end; n++) {
        const struct instruction *i = &program->instructions[n];
        const bool jumps = i->op.kind == OP_BATCH_NORM && i->op.batch_norm.relu &&
                           !i->op.batch_norm.frozen;
        do {
            OK(program_run(program, n, n + 1, &values, &err));
            OK(model->backend->ops->synchronize(model->backend, &err));
        } while (jumps && shift_channels(i) && ++shifts);
        const bool last_pool = i->op.kind == OP_POOL && !i->op.pool.average && i->op.y.h == 1;
        if (last_pool) expect_clear_maxima(i); /* gradients pass no other max pool */
    }
    return shifts;
}

static float root_mean_square(const float *values, int64_t count)
{
    double squares = 0;
    for (int64_t i = 0; i < count; i++) squares += (double)values[i] * values[i];
    return (float)sqrt(squares / (double)count);
}

static void draw_parameters(struct model *model)
{
    struct error err = { 0 };
    OK(model_randomize(model, SEED, &err));
    for (int i = 0; i < model_parameter_count(model); i++) {
        const struct parameter *p = model_parameter(model, i);
        float *values = step_read(model, i, PART_VALUE);
        if (p->dims == 1)
            step_draw_vector(p, SEED, i, values);
        else
            step_center_filters(p, values);
        step_write(model, i, PART_VALUE, values);
        free(values);
    }
    OK(model_refresh(model, &err));
}

/* Set Adam's state as one earlier step would have left it. From a zero state, Adam's update is the
 * sign of the gradient, which rounding decides where it is small. */
static void start_optimizer(struct model *model)
{
    for (int i = 0; i < model_parameter_count(model); i++) {
        const struct parameter *p = model_parameter(model, i);
        if (!p->trains) continue;
        float *gradient = step_read(model, i, PART_GRADIENT);
        step_start_adam(model, i, SEED, root_mean_square(gradient, p->count));
        free(gradient);
    }
}

static struct arrays settled_start(const struct model_spec *spec)
{
    struct backend *backend = step_backend(BACKEND_CPU);
    struct model *model;
    struct step_batch batch;
    struct error err = { 0 };
    float loss;
    OK(model_init(&model, backend, spec, &err));
    draw_parameters(model);
    step_whole_batch_init(&batch, spec->batch);
    const struct model_batch first = step_batch_fill(&batch, spec, 1);
    OK(model_train_step(model, &first, 0, 1, SEED, &loss, NULL, &err));
    for (int t = 0; t < TOWERS; t++) {
        const int shifts = settle_tower(model, t);
        if (reports()) printf("tower %d: channels shifted in %d layers\n", t, shifts);
    }
    start_optimizer(model);
    struct arrays start = arrays_read(model);
    step_whole_batch_release(&batch);
    model_release(model);
    backend_close(backend);
    return start;
}

/* --- one step on each backend --- */

enum { BATCH = 16, STEP = 2 };

struct result {
    float loss, probabilities[BATCH];
    struct arrays arrays;
};

/* `draw`: which noise the weights have (weight_noise.h); 0 = none. */
static struct result step_with_noise(enum backend_name name, const struct model_spec *spec,
                                     const struct arrays *start, uint64_t draw)
{
    struct backend *backend = step_backend(name);
    struct model *model;
    struct step_batch batch;
    struct result result;
    struct error err = { 0 };
    OK(model_init(&model, backend, spec, &err));
    arrays_write(start, model);
    if (draw) weight_noise(model, draw);
    step_whole_batch_init(&batch, spec->batch);
    const struct model_batch first = step_batch_fill(&batch, spec, 1);
    OK(model_train_step(model, &first, 2e-4f, STEP, SEED, &result.loss, result.probabilities,
                        &err));
    result.arrays = arrays_read(model);
    step_whole_batch_release(&batch);
    model_release(model);
    backend_close(backend);
    return result;
}

static struct result step_on(enum backend_name name, const struct model_spec *spec,
                             const struct arrays *start)
{
    return step_with_noise(name, spec, start, 0);
}

struct difference {
    double norm;    /* norm of a - b, relative to b's */
    double element; /* largest |a_i - b_i| / max(|b_i|, root mean square of b) */
};

/* Difference between the updates from `start`, or between the arrays if it is NULL. */
static struct difference difference_of(const float *a, const float *b, const float *start,
                                       int64_t count)
{
    double squares = 0, apart = 0;
    struct difference d = { 0 };
    for (int64_t i = 0; i < count; i++) {
        const double right = (double)b[i] - (start ? start[i] : 0), off = (double)a[i] - b[i];
        squares += right * right;
        apart += off * off;
    }
    const double typical = sqrt(squares / (double)count);
    for (int64_t i = 0; i < count; i++) {
        const double right = fabs((double)b[i] - (start ? start[i] : 0));
        const double share = fabs((double)a[i] - b[i]) / fmax(right, typical);
        d.element = share > d.element ? share : d.element;
    }
    d.norm = sqrt(apart / squares);
    return d;
}

/* The largest difference over all arrays, and the name of its array. */
struct worst {
    struct difference difference;
    const char *name;
};

static void take_worse(struct worst *worst, struct difference d, const char *name)
{
    if (d.norm > worst->difference.norm) worst->name = name;
    worst->difference.norm = fmax(worst->difference.norm, d.norm);
    worst->difference.element = fmax(worst->difference.element, d.element);
}

/* Elements cannot be expected to agree as well as norms: where the 16 values of a channel hardly
 * differ, batch norm amplifies their rounding errors, on the CPU too (measured: 1.4e-3 among 36
 * million elements, 1.1e-4 for norms). */
static const double norm_off = 1e-3, element_off = 5e-3, loss_off = 1e-5;

/* Compare the loss, every update and every gradient; arrays that are not trained must
 * keep their bits. */
static void compare_steps(const struct result *a, const struct result *b,
                          const struct arrays *start)
{
    struct worst updates = { 0 }, gradients = { 0 };
    int changed = 0;
    cr_expect_float_eq(a->loss, b->loss, loss_off * b->loss, "a loss of %.9g, not %.9g",
                       (double)a->loss, (double)b->loss);
    for (int i = 0; i < start->count; i++) {
        const struct parameter *p = &start->parameters[i];
        const float *const *now = (const float *const *)a->arrays.parts[PART_VALUE];
        const float *const *right = (const float *const *)b->arrays.parts[PART_VALUE];
        const float *before = start->parts[PART_VALUE][i];
        if (!p->trains && !(p->statistic && p->device)) {
            const size_t bytes = (size_t)p->count * sizeof(float);
            cr_expect(memcmp(now[i], before, bytes) == 0, "%s does not stay", p->name);
            cr_expect(memcmp(right[i], before, bytes) == 0, "%s does not stay", p->name);
            continue;
        }
        const struct difference u = difference_of(now[i], right[i], before, p->count);
        take_worse(&updates, u, p->name);
        cr_expect(u.norm <= norm_off && u.element <= element_off,
                  "%s: updates differ by %.2e of their norm, an element by %.2e", p->name, u.norm,
                  u.element);
        changed++;
        if (!p->trains) continue;
        const struct difference g = difference_of(
            a->arrays.parts[PART_GRADIENT][i], b->arrays.parts[PART_GRADIENT][i], NULL, p->count);
        take_worse(&gradients, g, p->name);
        cr_expect(g.norm <= norm_off && g.element <= element_off,
                  "%s: gradients differ by %.2e of their norm, an element by %.2e", p->name, g.norm,
                  g.element);
    }
    cr_expect_gt(changed, 0);
    if (reports())
        printf("%d arrays; updates differ by at most %.2e (%s), an element by %.2e; gradients by "
               "%.2e (%s), %.2e; losses %.9g, %.9g\n",
               changed, updates.difference.norm, updates.name, updates.difference.element,
               gradients.difference.norm, gradients.name, gradients.difference.element,
               (double)a->loss, (double)b->loss);
}

/* --- bfloat16 --- */

/* How far each array's gradient is from the float32 step's. */
struct distances {
    double *norms;  /* |a - b| of |b| */
    double *alongs; /* a·b of |b|²: how much of that gradient is in this one */
};

static void distances_init(struct distances *d, int count)
{
    d->norms = calloc((size_t)count, sizeof *d->norms);
    d->alongs = calloc((size_t)count, sizeof *d->alongs);
    cr_assert(d->norms && d->alongs);
}

static void distances_release(struct distances *d)
{
    free(d->norms);
    free(d->alongs);
}

static void distances_of(const struct result *a, const struct result *exact, struct distances *d)
{
    for (int i = 0; i < exact->arrays.count; i++) {
        const struct parameter *p = &exact->arrays.parameters[i];
        if (!p->trains) continue;
        const float *got = a->arrays.parts[PART_GRADIENT][i];
        const float *right = exact->arrays.parts[PART_GRADIENT][i];
        double squares = 0, product = 0;
        for (int64_t k = 0; k < p->count; k++) {
            product += (double)got[k] * right[k];
            squares += (double)right[k] * right[k];
        }
        d->norms[i] = difference_of(got, right, NULL, p->count).norm;
        d->alongs[i] = product / squares;
    }
}

/* The worst of some float32 steps with noise in their weights (weight_noise.h). */
struct noise {
    struct distances worst;
    double loss_off;
};

static struct noise noise_of(const struct model_spec *spec, const struct arrays *start,
                             const struct result *exact)
{
    struct noise noise = { .loss_off = 0 };
    struct distances d;
    distances_init(&d, start->count);
    distances_init(&noise.worst, start->count);
    for (int i = 0; i < start->count; i++) noise.worst.alongs[i] = 1;
    for (int draw = 1; draw <= NOISE_DRAWS; draw++) {
        struct result noisy = step_with_noise(BACKEND_CPU, spec, start, (uint64_t)draw);
        distances_of(&noisy, exact, &d);
        for (int i = 0; i < start->count; i++) {
            noise.worst.norms[i] = fmax(noise.worst.norms[i], d.norms[i]);
            noise.worst.alongs[i] = fmin(noise.worst.alongs[i], d.alongs[i]);
        }
        noise.loss_off = fmax(noise.loss_off, fabs((double)noisy.loss - exact->loss));
        arrays_release(&noisy.arrays);
    }
    distances_release(&d);
    return noise;
}

/* Errors of 2^-8 in every layer change the gradients of this network by most of their norms: batch
 * norms divide by the deviation of as few as 16 values, and ReLUs switch on and off. So a gradient
 * that is not there at all would be near enough; but of one that is, the noise leaves more than
 * half, and rounding must leave half as much. Gradients are compared and not updates, which differ
 * less: they are mostly what the optimizer's state was before. */
static void compare_rounded(const char *backend, const struct result *rounded,
                            const struct result *exact, const struct noise *noise)
{
    enum { FEW = 100 };
    struct distances d;
    double worst = 0, least = INFINITY;
    int compared = 0;
    distances_init(&d, exact->arrays.count);
    distances_of(rounded, exact, &d);
    for (int i = 0; i < exact->arrays.count; i++) {
        const struct parameter *p = &exact->arrays.parameters[i];
        if (!p->trains) continue;
        const double bound = (p->count < FEW ? NOISE_FACTOR_OF_FEW : NOISE_FACTOR) *
                             noise->worst.norms[i];
        cr_expect_leq(
            d.norms[i], bound,
            "%s, %s: the gradient differs from float32's by %.2e of its norm, may by %.2e", backend,
            p->name, d.norms[i], bound);
        cr_expect_geq(d.alongs[i], noise->worst.alongs[i] / 2,
                      "%s, %s: %.2f of float32's gradient is left, with noise %.2f", backend,
                      p->name, d.alongs[i], noise->worst.alongs[i]);
        worst = fmax(worst, d.norms[i] / noise->worst.norms[i]);
        least = fmin(least, d.alongs[i] / noise->worst.alongs[i]);
        compared++;
    }
    distances_release(&d);
    cr_expect_gt(compared, 0);
    cr_expect_float_eq(rounded->loss, exact->loss, NOISE_FACTOR_OF_FEW * noise->loss_off,
                       "%s: a loss of %.6g, in float32 %.6g", backend, (double)rounded->loss,
                       (double)exact->loss);
    if (reports())
        printf("%s: %d arrays; at most %.2f times as far from float32 as with noise, at least %.2f "
               "times as much of it left; losses %.9g, float32 %.9g, off by %.3g with noise\n",
               backend, compared, worst, least, (double)rounded->loss, (double)exact->loss,
               noise->loss_off);
}

Test(cuda_step, is_the_cpus_in_float32_and_within_the_rounding_of_bfloat16)
{
    struct model_spec spec = step_spec(DTYPE_F32, BATCH);
    struct arrays start = settled_start(&spec);
    struct result cpu = step_on(BACKEND_CPU, &spec, &start);
    struct result cuda = step_on(BACKEND_CUDA, &spec, &start);
    compare_steps(&cuda, &cpu, &start);
    arrays_release(&cuda.arrays);
    struct noise noise = noise_of(&spec, &start, &cpu);
    spec.activations = DTYPE_BF16;
    struct result rounded = step_on(BACKEND_CPU, &spec, &start);
    compare_rounded("cpu", &rounded, &cpu, &noise);
    arrays_release(&rounded.arrays);
    rounded = step_on(BACKEND_CUDA, &spec, &start);
    compare_rounded("cuda", &rounded, &cpu, &noise);
    arrays_release(&rounded.arrays);
    distances_release(&noise.worst);
    arrays_release(&cpu.arrays);
    arrays_release(&start);
}
