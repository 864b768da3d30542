/* make_checkpoint OUT.safetensors: writes a checkpoint for tests/fixtures. One is stored there for
 * each version of the format before the next version is introduced, so that test_checkpoint proves
 * that old ones can be read for ever.
 *
 * It has two whole towers of 88 MB, of values that repeat, so that `xz -9` compresses them to some
 * 20 KB. Prints what test_checkpoint should find. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "checkpoint_fixture.h"

/* One nonzero value per filter, at its centre, each time in the next channel. */
static void fill_filters(const struct parameter *p, float *values)
{
    const int64_t channels = p->torch_shape[1], h = p->torch_shape[2], w = p->torch_shape[3];
    for (int64_t i = 0; i < p->count; i++) values[i] = 0;
    for (int64_t k = 0; k < p->torch_shape[0]; k++)
        values[((k * channels + k % channels) * h + h / 2) * w + w / 2] = 1.5f;
}

static void fill_pattern(const struct parameter *p, float *values, float step)
{
    const float shift = strstr(p->name, "running_var") ? 1.5f : 0;
    for (int64_t i = 0; i < p->count; i++) values[i] = shift + step * (float)(i % 7 - 2);
}

static bool fill(struct model *model, int index, enum parameter_part part, float step,
                 struct error *err)
{
    const struct parameter *p = model_parameter(model, index);
    float *values = malloc((size_t)p->count * sizeof *values);
    if (!values) return error_set(err, EXIT_CODE_FAILED, "out of memory");
    if (p->dims == 4)
        fill_filters(p, values);
    else
        fill_pattern(p, values, step);
    const bool ok = model_write(model, index, part, values, err);
    free(values);
    return ok;
}

static bool fill_all(struct model *model, struct error *err)
{
    for (int i = 0; i < model_parameter_count(model); i++) {
        const struct parameter *p = model_parameter(model, i);
        if (!fill(model, i, PART_VALUE, p->dims == 2 ? 0x1p-7f : 0x1p-3f, err)) return false;
        if (p->state1 && !fill(model, i, PART_STATE1, 0x1p-10f, err)) return false;
        if (p->state2 && !fill(model, i, PART_STATE2, 0x1p-12f, err)) return false;
    }
    return model_refresh(model, err);
}

int main(int argc, char **argv)
{
    struct config config;
    struct backend *backend;
    struct model *model;
    struct error err = { 0 };
    float probabilities[FIXTURE_BATCH];
    checkpoint_fixture_config(&config);
    const struct model_spec spec = model_spec_from_config(&config, DTYPE_F32, false, true);
    const struct training_state state = checkpoint_fixture_state();
    const struct checkpoint_input input = { .downsamples = { 1, 4.0000963 },
                                            .um_per_px = { 0.243, 0.972 },
                                            .slides = "train 0123456789abcdef a.tif\n" };
    if (argc != 2 || !cpu_backend_open(&config.compute, 2, NULL, &backend, &err) ||
        !model_init(&model, backend, &spec, &err) || !fill_all(model, &err) ||
        !checkpoint_write(argv[1], model, &config, &state, &input, &err) ||
        !checkpoint_fixture_predict(model, probabilities, &err)) {
        fprintf(stderr, "make_checkpoint: %s\n", argc == 2 ? err.message : "which file?");
        return 1;
    }
    for (int i = 0; i < FIXTURE_BATCH; i++) printf("%.9g\n", (double)probabilities[i]);
    model_release(model);
    backend_close(backend);
    return 0;
}
