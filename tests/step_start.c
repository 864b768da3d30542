/* The initial state of a training step that is compared; see the header. */
#include "step_start.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/random.h"

/* Epochs of the Philox streams, as in train_step.py. */
enum { VECTORS = 1, PIXELS, EARLIER };

static float *allocate(int64_t count)
{
    float *values = malloc((size_t)count * sizeof *values);
    cr_assert(values);
    return values;
}

float *step_read(struct model *model, int index, enum parameter_part part)
{
    struct error err = { 0 };
    float *values = allocate(model_parameter(model, index)->count);
    cr_assert(model_read(model, index, part, values, &err), "%s", err.message);
    return values;
}

void step_write(struct model *model, int index, enum parameter_part part, const float *values)
{
    struct error err = { 0 };
    cr_assert(model_write(model, index, part, values, &err), "%s", err.message);
}

static bool ends_with(const char *name, const char *end)
{
    const size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

void step_draw_vector(const struct parameter *parameter, uint64_t seed, int index, float *values)
{
    static const struct {
        const char *end;
        float low, high;
    } ranges[] = { { ".running_mean", -0.2f, 0.2f },
                   { ".running_var", 0.5f, 1.5f },
                   { ".bn.weight", 0.75f, 1.25f },
                   { ".bn.bias", 0.3f, 0.7f },
                   { ".bias", -0.1f, 0.1f } };
    struct random random = random_init(seed, VECTORS, (uint64_t)index, RANDOM_TEST);
    int kind = 0;
    while (!ends_with(parameter->name, ranges[kind].end)) kind++;
    for (int64_t i = 0; i < parameter->count; i++)
        values[i] = random_uniform(&random, ranges[kind].low, ranges[kind].high);
}

void step_center_filters(const struct parameter *parameter, float *values)
{
    const int64_t size = parameter->count / parameter->torch_shape[0];
    if (parameter->dims != 4) return;
    for (float *filter = values; filter < values + parameter->count; filter += size) {
        double sum = 0;
        for (int64_t i = 0; i < size; i++) sum += filter[i];
        for (int64_t i = 0; i < size; i++) filter[i] -= (float)(sum / (double)size);
    }
}

void step_start_adam(struct model *model, int index, uint64_t seed, float scale)
{
    const struct config_optimizer *adam = &model_spec(model)->optimizer;
    const int64_t count = model_parameter(model, index)->count;
    const float new1 = (float)(1 - adam->beta1), new2 = (float)(1 - adam->beta2);
    struct random random = random_init(seed, EARLIER, (uint64_t)index, RANDOM_TEST);
    float *m = allocate(count), *v = allocate(count);
    for (int64_t i = 0; i < count; i++) {
        const float u = random_uniform(&random, -1, 1);
        const float g = scale * (u + copysignf(0.5f, u));
        m[i] = new1 * g;
        v[i] = new2 * g * g;
    }
    step_write(model, index, PART_STATE1, m);
    step_write(model, index, PART_STATE2, v);
    free(m);
    free(v);
}

void step_draw_window(const struct model_spec *spec, uint64_t seed, int tower, int row,
                      uint8_t *pixels)
{
    struct random random = random_init(seed, PIXELS, (uint64_t)(tower * spec->batch + row),
                                       RANDOM_TEST);
    const int side = spec->window;
    uint32_t word = 0;
    for (int i = 0; i < side * side * 3; i++) {
        const int x = i / 3 % side, y = i / 3 / side, channel = i % 3;
        word = i % 4 == 0 ? random_u32(&random) : word >> 8;
        pixels[i] = (uint8_t)(((word & 0xff) >> 1) +
                              ((x * (row + 1) + y * (tower + 2) + 40 * channel) & 127));
    }
}
