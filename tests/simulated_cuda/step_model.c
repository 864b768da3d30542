/* The article's network on batches of generated windows; see step_model.h. */
#include "step_model.h"

#include <stdlib.h>

#include "step_start.h"

static const struct config_augment augmentation = { .rotate = true,
                                                    .flip = true,
                                                    .brightness = 0.25098,
                                                    .saturation = 0.25,
                                                    .hue = 0.04,
                                                    .contrast = 0.75 };

struct model_spec step_spec(enum dtype activations, int batch)
{
    return (struct model_spec) {
        .towers = TOWERS,
        .window = WINDOW,
        .batch = batch,
        .training = true,
        .activations = activations,
        .model = { .pool_padding = POOL_PADDING_EXCLUDE,
                   .freeze = "keras:150",
                   .head = { 256, 128 },
                   .head_count = 2,
                   .dropout = 0.3,
                   .batch_norm = BATCH_NORM_BATCH,
                   .batch_norm_momentum = 0.99 },
        .optimizer = { .name = OPTIMIZER_ADAM, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-7 }
    };
}

struct backend *step_backend(enum backend_name name)
{
    const struct config_compute compute = { .backend = name, .threads = 2, .workspace = 256 };
    struct backend *backend;
    struct error err = { 0 };
    char why_not[256];
    OK(backend_open(&compute, TOWERS, NULL, &backend, why_not, &err));
    return backend;
}

static void *allocate(size_t bytes)
{
    void *memory = malloc(bytes);
    cr_assert(memory);
    return memory;
}

/* --- batches --- */

void step_batch_init(struct step_batch *batch, int rows)
{
    for (int t = 0; t < TOWERS; t++)
        batch->draws[t] = allocate((size_t)rows * sizeof *batch->draws[t]);
    batch->labels = allocate((size_t)rows * sizeof *batch->labels);
}

void step_batch_release(struct step_batch *batch)
{
    for (int t = 0; t < TOWERS; t++) free(batch->draws[t]);
    free(batch->labels);
}

void step_whole_batch_init(struct step_batch *batch, int rows)
{
    step_batch_init(batch, rows);
    for (int t = 0; t < TOWERS; t++) batch->pixels[t] = allocate((size_t)rows * WINDOW_BYTES);
}

void step_whole_batch_release(struct step_batch *batch)
{
    for (int t = 0; t < TOWERS; t++) free(batch->pixels[t]);
    step_batch_release(batch);
}

struct model_batch step_batch_fill(struct step_batch *batch, const struct model_spec *spec,
                                   int step)
{
    struct model_batch filled = { .labels = batch->labels, .count = spec->batch };
    for (int row = 0; row < spec->batch; row++) {
        struct augment_draw draws[TOWERS_MAX];
        augment_draw(&augmentation, TOWERS, SEED, 0, (uint64_t)(step * spec->batch + row), draws);
        for (int t = 0; t < TOWERS; t++) {
            batch->draws[t][row] = draws[t];
            step_draw_window(spec, (uint64_t)(SEED + step), t, row,
                             batch->pixels[t] + (size_t)row * WINDOW_BYTES);
        }
        batch->labels[row] = (row + step) % 2;
    }
    for (int t = 0; t < TOWERS; t++) {
        filled.pixels[t] = batch->pixels[t];
        filled.draws[t] = batch->draws[t];
    }
    return filled;
}

/* --- all arrays of a model --- */

static bool has_part(const struct parameter *p, int part)
{
    const void *const memory[PARTS] = { [PART_VALUE] = p->host ? p->host : p->device,
                                        [PART_GRADIENT] = p->gradient,
                                        [PART_STATE1] = p->state1,
                                        [PART_STATE2] = p->state2 };
    return memory[part] && (part == PART_VALUE || p->trains);
}

struct arrays arrays_read(struct model *model)
{
    struct arrays arrays = { .count = model_parameter_count(model) };
    arrays.parameters = allocate((size_t)arrays.count * sizeof *arrays.parameters);
    for (int i = 0; i < arrays.count; i++) arrays.parameters[i] = *model_parameter(model, i);
    for (int part = 0; part < PARTS; part++) {
        arrays.parts[part] = calloc((size_t)arrays.count, sizeof *arrays.parts[part]);
        cr_assert(arrays.parts[part]);
        for (int i = 0; i < arrays.count; i++)
            if (has_part(model_parameter(model, i), part))
                arrays.parts[part][i] = step_read(model, i, (enum parameter_part)part);
    }
    return arrays;
}

void arrays_write(const struct arrays *arrays, struct model *model)
{
    struct error err = { 0 };
    for (int part = 0; part < PARTS; part++)
        for (int i = 0; i < arrays->count && part != PART_GRADIENT; i++)
            if (arrays->parts[part][i])
                step_write(model, i, (enum parameter_part)part, arrays->parts[part][i]);
    OK(model_refresh(model, &err));
}

void arrays_release(struct arrays *arrays)
{
    for (int part = 0; part < PARTS; part++) {
        for (int i = 0; i < arrays->count; i++) free(arrays->parts[part][i]);
        free(arrays->parts[part]);
    }
    free(arrays->parameters);
}
