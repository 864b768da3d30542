/* Models initialised from a checkpoint of a run, from weights saved from it, or from an export of
 * it. Predictions are preserved, towers are assigned as requested, and a head that does not fit
 * is initialised as a whole. */
#include <math.h>

#include "micromet/base/size.h"
#include "micromet/data/augment.h"
#include "micromet/export/export.h"
#include "micromet/nn/pretrained.h"
#include "micromet/run/checkpoint.h"
#include "model_inspect.h"
#include "run/initial_weights.h"
#include "temporary.h"

TestSuite(initial_weights, .init = temporary_begin, .fini = temporary_end, .timeout = 300);

static void configure(struct config *config, int towers, int head)
{
    config_defaults(config);
    config->data.level_count = towers;
    for (int t = 0; t < towers; t++) config->data.levels[t] = t;
    config->data.window = 75;
    config->model.head_count = 1;
    config->model.head[0] = head;
    config->train.batch = 2;
    config->compute.backend = BACKEND_CPU;
    config->compute.threads = 2;
}

/* Fill with values that depend on the seed, with He's variance for weights;
 * no batch norm is neutral. */
static void fill(struct model *model, int seed)
{
    struct error err = { 0 };
    for (int i = 0; i < model_parameter_count(model); i++) {
        const struct parameter *p = model_parameter(model, i);
        const int64_t inputs = p->count / p->torch_shape[0];
        const bool weights = p->dims > 1;
        const float factor = weights ? sqrtf(24 / (float)inputs) : 0.5f;
        float *values = malloc((size_t)p->count * sizeof *values);
        for (int64_t k = 0; k < p->count; k++) {
            const int64_t at = (seed * 1001 + i * 37 + k) % TEST_RANDOM_BLOCK;
            values[k] = factor * (test_random_block()[at] - (float)weights);
        }
        cr_assert(model_write(model, i, PART_VALUE, values, &err), "%s", err.message);
        free(values);
    }
    cr_assert(model_refresh(model, &err), "%s", err.message);
}

static struct model *make_model(const struct config *config, bool gamma, int seed)
{
    struct backend *backend;
    struct model *model;
    struct error err = { 0 };
    const struct model_spec spec = model_spec_from_config(config, DTYPE_F32, gamma, false);
    cr_assert(cpu_backend_open(&config->compute, spec.towers, NULL, &backend, &err), "%s",
              err.message);
    cr_assert(model_init(&model, backend, &spec, &err), "%s", err.message);
    fill(model, seed);
    return model;
}

static void release_model(struct model *model)
{
    struct backend *backend = model_backend(model);
    model_release(model);
    backend_close(backend);
}

static void predict(struct model *model, float probabilities[2])
{
    enum { BYTES = 2 * 75 * 75 * 3 };
    static uint8_t pixels[TOWERS_MAX][BYTES];
    struct augment_draw draws[2] = { augment_identity(), augment_identity() };
    struct model_batch batch = { .count = 2 };
    struct error err = { 0 };
    for (int t = 0; t < model_spec(model)->towers; t++) {
        for (int i = 0; i < BYTES; i++)
            pixels[t][i] = (uint8_t)(170 *
                                     test_random_block()[(t * BYTES + i) % TEST_RANDOM_BLOCK]);
        batch.pixels[t] = pixels[t];
        batch.draws[t] = draws;
    }
    cr_assert(model_predict(model, &batch, probabilities, &err), "%s", err.message);
}

static void write_checkpoint(const char *path, struct model *model, const struct config *config)
{
    struct error err = { 0 };
    const struct training_state state = { .best_auc = NAN, .threshold = NAN };
    const struct checkpoint_input input = { .downsamples = { 1, 2 } };
    cr_assert(checkpoint_write(path, model, config, &state, &input, &err), "%s", err.message);
}

static void apply(const char *path, struct model *model, bool *head)
{
    struct pretrained p;
    struct error err = { 0 };
    cr_assert(pretrained_open(&p, path, &err), "%s", err.message);
    cr_assert(pretrained_apply(&p, model, head, &err), "%s", err.message);
    pretrained_release(&p);
}

static void read_named(struct model *model, const char *name, int64_t count, float *values)
{
    int index;
    struct error err = { 0 };
    const struct parameter *p = model_find(model, name, &index);
    cr_assert(p);
    cr_assert_eq(p->count, count);
    cr_assert(model_read(model, index, PART_VALUE, values, &err), "%s", err.message);
}

static void expect_same_array(struct model *a, const char *name_a, struct model *b,
                              const char *name_b, int64_t count)
{
    float *x = malloc((size_t)count * sizeof *x), *y = malloc((size_t)count * sizeof *y);
    read_named(a, name_a, count, x);
    read_named(b, name_b, count, y);
    cr_expect_arr_eq(x, y, (size_t)count * sizeof *x, "%s and %s", name_a, name_b);
    free(x);
    free(y);
}

Test(initial_weights, a_run_goes_on_from_another_runs_model_bit_for_bit)
{
    struct config config;
    struct pretrained p;
    struct error err = { 0 };
    float before[2], after[2];
    bool head;
    configure(&config, 2, 5);
    config.model.pool_padding = POOL_PADDING_INCLUDE;
    struct model *model = make_model(&config, true, 3);
    predict(model, before);
    cr_assert_neq(before[0], before[1]);
    write_checkpoint(temporary_path("run.safetensors"), model, &config);
    cr_assert(pretrained_open(&p, temporary_path("run.safetensors"), &err), "%s", err.message);
    cr_assert(pretrained_write(&p, temporary_path("weights.safetensors"), 2, &head, &err), "%s",
              err.message);
    cr_expect(head);
    pretrained_release(&p);

    static const char *const files[] = { "run.safetensors", "weights.safetensors" };
    for (int i = 0; i < 2; i++) {
        fill(model, 4);
        predict(model, after);
        cr_assert_neq(before[0], after[0]);
        struct config next = config;
        next.model.pool_padding = POOL_PADDING_AUTO;
        snprintf(next.model.weights, sizeof next.model.weights, "%s", temporary_path(files[i]));
        cr_assert(initial_weights_open(&p, &next, &err), "%s", err.message);
        cr_expect_eq(next.model.pool_padding, POOL_PADDING_INCLUDE);
        cr_assert(pretrained_apply(&p, model, &head, &err), "%s", err.message);
        predict(model, after);
        cr_expect(head && p.ours);
        cr_expect_eq(before[0], after[0], "%s: %.9g and %.9g", files[i], before[0], after[0]);
        cr_expect_eq(before[1], after[1], "%s: %.9g and %.9g", files[i], before[1], after[1]);
        cr_expect(strstr(weights_metadata(&p.weights, "towers"), "\"level\":1"), "levels go along");
        pretrained_release(&p);
    }
    release_model(model);
}

static void export(const char *checkpoint_path, enum export_format format, const char *path)
{
    struct checkpoint checkpoint;
    struct error err = { 0 };
    char written[2 * PATH_MAX_BYTES];
    const struct export_options options = { .format = format };
    cr_assert(checkpoint_open(&checkpoint, checkpoint_path, &err), "%s", err.message);
    cr_assert(export_write(&checkpoint, &options, path, written, &err), "%s", err.message);
    checkpoint_release(&checkpoint);
}

Test(initial_weights, a_run_goes_on_from_an_export)
{
    static const struct {
        const char *name;
        enum export_format format;
        double off;
    } exports[] = { { "model.safetensors", EXPORT_SAFETENSORS, 0 },
                    { "model.onnx", EXPORT_ONNX, 1e-5 } };
    struct config config;
    float before[2], after[2];
    bool head;
    configure(&config, 2, 5);
    config.model.pool_padding = POOL_PADDING_INCLUDE;
    struct model *model = make_model(&config, false, 3); /* a folded batch norm has no scale */
    predict(model, before);
    write_checkpoint(temporary_path("run.safetensors"), model, &config);
    for (int i = 0; i < 2; i++) {
        struct pretrained p;
        struct error err = { 0 };
        export(temporary_path("run.safetensors"), exports[i].format,
               temporary_path(exports[i].name));
        cr_assert(pretrained_open(&p, temporary_path(exports[i].name), &err), "%s", err.message);
        cr_expect(p.ours);
        cr_expect_eq(p.towers, 2);
        cr_expect_eq(p.matching, MATCHING_NAMES);
        cr_expect_eq(p.pool_padding, POOL_PADDING_INCLUDE);
        cr_expect(pretrained_check_strict(&p, &err), "%s", err.message);
        fill(model, 4);
        cr_assert(pretrained_apply(&p, model, &head, &err), "%s", err.message);
        predict(model, after);
        cr_expect(head);
        for (int k = 0; k < 2; k++)
            cr_expect_leq(fabs((double)after[k] - before[k]), exports[i].off, "%s: %.9g and %.9g",
                          exports[i].name, before[k], after[k]);
        pretrained_release(&p);
    }
    release_model(model);
}

Test(initial_weights, towers_go_from_one_to_another)
{
    static const char weight[] = "Conv2d_2a_3x3.conv.weight", head_weight[] = "head.0.weight";
    enum { COUNT = 32 * 32 * 9 };
    struct config two, one;
    struct pretrained p;
    struct error err = { 0 };
    bool head;
    configure(&two, 2, 5);
    configure(&one, 1, 5);
    struct model *source = make_model(&two, false, 3), *pair = make_model(&two, false, 4);
    struct model *single = make_model(&one, false, 5), *fresh = make_model(&two, false, 4);
    write_checkpoint(temporary_path("two.safetensors"), source, &two);

    cr_assert(pretrained_open(&p, temporary_path("two.safetensors"), &err), "%s", err.message);
    cr_assert(pretrained_choose_towers(&p, "1,0", &err), "%s", err.message);
    cr_assert(pretrained_apply(&p, pair, &head, &err), "%s", err.message);
    cr_expect(!head, "its features come in another order");
    char name0[64], name1[64];
    snprintf(name0, sizeof name0, "tower0.%s", weight);
    snprintf(name1, sizeof name1, "tower1.%s", weight);
    expect_same_array(source, name1, pair, name0, COUNT);
    expect_same_array(source, name0, pair, name1, COUNT);
    expect_same_array(fresh, head_weight, pair, head_weight, 5 * 4096);

    cr_assert(pretrained_choose_towers(&p, "1", &err), "%s", err.message);
    cr_assert(pretrained_write(&p, temporary_path("one.safetensors"), 1, &head, &err), "%s",
              err.message);
    cr_expect(!head);
    cr_expect(!pretrained_choose_towers(&p, "2", &err));
    cr_expect(strstr(err.message, "has no tower 2"), "%s", err.message);
    static const char *const bad[] = { "", "x", "1,", "0,1,0,1,0", "-1", "0;1" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        err = (struct error) { 0 };
        cr_expect(!pretrained_choose_towers(&p, bad[i], &err), "'%s'", bad[i]);
    }
    err = (struct error) { 0 };
    pretrained_release(&p);

    /* plain names, as in torchvision; the one tower initialises one tower, or all */
    cr_assert(pretrained_open(&p, temporary_path("one.safetensors"), &err), "%s", err.message);
    cr_expect(weights_find(&p.weights, weight));
    pretrained_release(&p);
    apply(temporary_path("one.safetensors"), single, &head);
    expect_same_array(source, name1, single, name0, COUNT);
    apply(temporary_path("one.safetensors"), pair, &head);
    expect_same_array(source, name1, pair, name0, COUNT);
    expect_same_array(source, name1, pair, name1, COUNT);
    release_model(source);
    release_model(pair);
    release_model(single);
    release_model(fresh);
}

Test(initial_weights, a_changed_head_is_new_as_a_whole)
{
    struct config was, is;
    bool head;
    configure(&was, 1, 5);
    configure(&is, 1, 6); /* head.1.bias alone would fit */
    struct model *first = make_model(&was, false, 3), *second = make_model(&is, false, 4);
    struct model *fresh = make_model(&is, false, 4);
    write_checkpoint(temporary_path("run.safetensors"), first, &was);
    apply(temporary_path("run.safetensors"), second, &head);
    cr_expect(!head);
    expect_same_array(first, "tower0.Conv2d_2a_3x3.bn.bias", second, "tower0.Conv2d_2a_3x3.bn.bias",
                      32);
    static const char *const names[] = { "head.0.weight", "head.0.bias", "head.1.weight",
                                         "head.1.bias" };
    static const int counts[] = { 6 * 2048, 6, 6, 1 };
    for (int i = 0; i < 4; i++) expect_same_array(fresh, names[i], second, names[i], counts[i]);
    release_model(first);
    release_model(second);
    release_model(fresh);
}
