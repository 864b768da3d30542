/* Checkpoints of every version can be read: tests/fixtures stores one of each, written by
 * the make_checkpoint of that version and compressed by `xz -9`. A new version needs a
 * row here and a file there. */
#include <math.h>

#include "checkpoint_fixture.h"
#include "micromet/base/size.h"
#include "model_inspect.h"
#include "temporary.h"

TestSuite(checkpoint, .init = temporary_begin, .fini = temporary_end, .timeout = 300);

static const struct {
    int version;
    const char *program;
    float probabilities[FIXTURE_BATCH]; /* as make_checkpoint printed them */
} kept[] = {
    { 1, "micromet 0.1.0 59b078e91e43", { 0.486898392f, 0.534324706f, 0.684437871f } },
};
enum { KEPT = COUNT_OF(kept) };

static void unpack(int version, const char *path)
{
    char command[3 * PATH_MAX_BYTES];
    snprintf(command, sizeof command,
             "xz -dc '" MICROMET_SOURCE "/tests/fixtures/checkpoint_v%d.safetensors.xz' > '%s'",
             version, path);
    cr_assert_eq(system(command), 0, "%s", command);
}

static void expect_state(const struct training_state *state)
{
    const struct training_state wanted = checkpoint_fixture_state();
    cr_expect_eq(state->step, wanted.step);
    cr_expect_eq(state->epoch, wanted.epoch);
    cr_expect_eq(state->examples, wanted.examples);
    cr_expect_eq(state->best_epoch, wanted.best_epoch);
    cr_expect_eq(state->stale_epochs, wanted.stale_epochs);
    cr_expect_eq(state->best_auc, wanted.best_auc);
    cr_expect_eq(state->patience_auc, wanted.patience_auc); /* files without it: best_auc */
    cr_expect_eq(state->threshold, wanted.threshold);
    cr_expect_eq(state->loss_sum, wanted.loss_sum);
    cr_expect_eq(state->schedule.plateau_rate, wanted.schedule.plateau_rate);
    cr_expect_eq(state->schedule.best, wanted.schedule.best);
    cr_expect_eq(state->schedule.bad_epochs, wanted.schedule.bad_epochs);
}

static void expect_configuration(const struct config *config)
{
    struct config wanted;
    int at = 0;
    checkpoint_fixture_config(&wanted);
    const char *key = config_difference(config, &wanted, &at);
    cr_expect_null(key, "%s", key);
}

static void expect_input(const struct checkpoint *c)
{
    cr_expect_eq(c->input.downsamples[0], 1);
    cr_expect_eq(c->input.downsamples[1], 4.0000963);
    cr_expect_eq(c->input.um_per_px[0], 0.243);
    cr_expect_eq(c->input.um_per_px[1], 0.972);
    cr_expect_str_eq(c->input.slides, "train 0123456789abcdef a.tif\n");
    cr_expect_str_eq(c->preprocessing, "rgb/255*2-1");
    cr_expect_str_eq(c->class_names[0], "normal");
    cr_expect_str_eq(c->class_names[1], "tumor");
    cr_expect_eq(c->precision, PRECISION_FP32);
    cr_expect(!c->gamma);
}

/* Load into a training model, so that the optimizer's state is loaded too. */
static void expect_model(struct checkpoint *c, const float probabilities[FIXTURE_BATCH])
{
    struct backend *backend;
    struct model *model;
    struct error err = { 0 };
    float got[FIXTURE_BATCH], moments[5];
    int index;
    const struct model_spec spec = model_spec_from_config(&c->config, DTYPE_F32, c->gamma, true);
    cr_assert(cpu_backend_open(&c->config.compute, 2, NULL, &backend, &err), "%s", err.message);
    cr_assert(model_init(&model, backend, &spec, &err), "%s", err.message);
    cr_assert(checkpoint_apply(c, model, true, &err), "%s", err.message);
    cr_assert(checkpoint_fixture_predict(model, got, &err), "%s", err.message);
    for (int i = 0; i < FIXTURE_BATCH; i++)
        cr_expect_float_eq(got[i], probabilities[i], 1e-5, "%.9g, not %.9g", got[i],
                           probabilities[i]);
    cr_assert(model_find(model, "head.0.bias", &index));
    cr_assert(model_read(model, index, PART_STATE1, moments, &err), "%s", err.message);
    for (int i = 0; i < 5; i++) cr_expect_eq(moments[i], 0x1p-10f * (float)(i - 2));
    cr_assert(model_read(model, index, PART_STATE2, moments, &err), "%s", err.message);
    for (int i = 0; i < 5; i++) cr_expect_eq(moments[i], 0x1p-12f * (float)(i - 2));
    model_release(model);
    backend_close(backend);
}

Test(checkpoint, every_version_is_read)
{
    for (int i = 0; i < KEPT; i++) {
        struct checkpoint checkpoint;
        struct error err = { 0 };
        const char *path = temporary_path("kept.safetensors");
        unpack(kept[i].version, path);
        cr_assert(checkpoint_open(&checkpoint, path, &err), "%s", err.message);
        cr_expect_eq(checkpoint.version, kept[i].version);
        cr_expect_str_eq(checkpoint.program, kept[i].program);
        expect_state(&checkpoint.state);
        expect_configuration(&checkpoint.config);
        expect_input(&checkpoint);
        expect_model(&checkpoint, kept[i].probabilities);
        checkpoint_release(&checkpoint);
    }
}

enum { BIAS = 5 };

static void expect_bias(struct model *model, enum parameter_part part, const float *want)
{
    struct error err = { 0 };
    float got[BIAS];
    int index;
    cr_assert(model_find(model, "head.0.bias", &index));
    cr_assert(model_read(model, index, part, got, &err), "%s", err.message);
    cr_expect_arr_eq(got, want, sizeof got);
}

Test(checkpoint, averages_are_the_model_and_training_goes_on_from_the_weights)
{
    static const float weights[BIAS] = { 1, 2, 3, 4, 5 }, averages[BIAS] = { 6, 7, 8, 9, 10 };
    const struct training_state state = checkpoint_fixture_state();
    const struct checkpoint_input input = { .downsamples = { 1, 4 } };
    const char *path = temporary_path("averages.safetensors");
    struct config config;
    struct backend *backend;
    struct model *models[3]; /* the one written, one to resume with, and one to apply */
    struct checkpoint c;
    struct error err = { 0 };
    int index;
    checkpoint_fixture_config(&config);
    config.train.ema = 0.5;
    const struct model_spec spec = model_spec_from_config(&config, DTYPE_F32, false, true);
    cr_assert(cpu_backend_open(&config.compute, 2, NULL, &backend, &err), "%s", err.message);
    for (int i = 0; i < 2; i++)
        cr_assert(model_init(&models[i], backend, &spec, &err) &&
                      model_randomize(models[i], 1, &err) && model_start_average(models[i], &err),
                  "%s", err.message);
    cr_assert(model_find(models[0], "head.0.bias", &index));
    cr_assert(model_write(models[0], index, PART_VALUE, weights, &err));
    cr_assert(model_write(models[0], index, PART_AVERAGE, averages, &err));
    cr_assert(checkpoint_write(path, models[0], &config, &state, &input, &err), "%s", err.message);
    cr_assert(checkpoint_open(&c, path, &err), "%s", err.message);
    cr_assert(checkpoint_apply(&c, models[1], true, &err), "%s", err.message);
    cr_assert(checkpoint_model(&c, backend, 1, &models[2], &err), "%s", err.message);
    expect_bias(models[1], PART_VALUE, weights);
    expect_bias(models[1], PART_AVERAGE, averages);
    expect_bias(models[2], PART_VALUE, averages);
    checkpoint_release(&c);
    for (int i = 0; i < 3; i++) model_release(models[i]);
    backend_close(backend);
}

Test(checkpoint, every_version_has_its_file)
{
    cr_assert_eq(KEPT, CHECKPOINT_VERSION);
    for (int i = 0; i < KEPT; i++) cr_expect_eq(kept[i].version, i + 1);
}

/* A file of one array with the metadata of a checkpoint, except one key. */
static void expect_refused(const char *key, const char *value, const char *reason)
{
    const float zero = 0;
    const char *metadata[] = { "format",
                               "micromet checkpoint",
                               "version",
                               "1",
                               "program",
                               "p",
                               "config",
                               "name: n\n",
                               "state",
                               "{}",
                               "towers",
                               "[{\"downsample\": 1}, {\"downsample\": 2}]",
                               "gamma",
                               "false",
                               "precision",
                               "fp32",
                               "preprocessing",
                               "rgb/255*2-1",
                               "class_names",
                               "[\"normal\",\"tumor\"]",
                               NULL };
    const struct weight_array array = {
        .name = "a", .dims = 1, .shape = { 1 }, .count = 1, .data = &zero, .dtype = "F32"
    };
    struct checkpoint checkpoint;
    struct error err = { 0 };
    for (int i = 0; metadata[i]; i += 2)
        if (strcmp(metadata[i], key) == 0) metadata[value ? i + 1 : i] = value ? value : "gone";
    cr_assert(safetensors_write(temporary_path("m.safetensors"), &array, 1, metadata, &err), "%s",
              err.message);
    cr_assert(!checkpoint_open(&checkpoint, temporary_path("m.safetensors"), &err));
    cr_expect(strstr(err.message, reason), "%s", err.message);
}

Test(checkpoint, what_this_program_would_misread_is_refused)
{
    expect_refused("version", "2", "checkpoint version 2; this program reads versions 1 to 1");
    expect_refused("version", "0", "checkpoint version 0");
    expect_refused("preprocessing", "imagenet", "wants pixels prepared as 'imagenet'");
    expect_refused("preprocessing", NULL, "its metadata has no 'preprocessing'");
    expect_refused("class_names", "[\"one\"]", "its class names cannot be read");
    expect_refused("towers", "[]", "its towers cannot be read");
    expect_refused("state", "{}", "its training state cannot be read");
}

Test(checkpoint, the_best_is_the_largest_auc_and_min_delta_decides_on_patience_alone)
{
    static const struct {
        double auc;
        bool best;
        int64_t best_epoch, stale;
    } epochs[] = {
        { 0.50, true, 1, 0 },   { 0.505, true, 2, 1 }, /* a gain below 0.01 */
        { 0.509, true, 3, 2 },  { 0.512, true, 4, 0 }, /* 0.012 since the first */
        { 0.512, false, 4, 1 }, { 0.4, false, 4, 2 },  { 0.53, true, 7, 0 },
    };
    struct training_state state = { .best_auc = NAN, .patience_auc = NAN };
    for (size_t i = 0; i < COUNT_OF(epochs); i++) {
        cr_expect_eq(training_state_judge(&state, epochs[i].auc, 0.01), epochs[i].best, "%d",
                     (int)i);
        cr_expect_eq(state.epoch, (int64_t)i + 1);
        cr_expect_eq(state.best_epoch, epochs[i].best_epoch, "%d", (int)i);
        cr_expect_eq(state.stale_epochs, epochs[i].stale, "%d", (int)i);
    }
    cr_expect_eq(state.best_auc, 0.53);
}
