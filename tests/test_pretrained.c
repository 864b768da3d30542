/* Files of weights matched to towers: by torchvision's names, by the rank of Keras' numbers and by
 * the order of a graph; what is made of folded batch norms; and runs that begin with another run's
 * checkpoint.
 *
 * Arrays of most tests are made in memory, each a window of one block of random numbers, so that
 * every place has values of its own. */
#include <math.h>

#include "micromet/base/random.h"
#include "micromet/data/augment.h"
#include "micromet/nn/pretrained.h"
#include "micromet/run/checkpoint.h"
#include "micromet/run/export.h"
#include "nn/pretrained_parts.h"
#include "run/start_weights.h"
#include "temporary.h"

TestSuite(pretrained, .init = temporary_begin, .fini = temporary_end, .timeout = 300);

enum { BLOCK = 1 << 22 };

static const float *block(void)
{
    static float *values;
    if (values) return values;
    values = malloc(BLOCK * sizeof *values);
    struct random random = random_init(5, 0, 0, RANDOM_TEST);
    for (int i = 0; i < BLOCK; i++) values[i] = random_uniform(&random, 0.5f, 1.5f);
    return values;
}

/* --- files in memory
 * ------------------------------------------------------------------------------- */

enum layout { OIHW, HWIO };

static void add(struct weights *w, const char *name, int dims, const int64_t *shape)
{
    w->arrays = realloc(w->arrays, ((size_t)w->count + 1) * sizeof *w->arrays);
    struct weight_array *array = &w->arrays[w->count];
    *array =
        (struct weight_array) { .name = strdup(name), .dims = dims, .count = 1, .dtype = "F32" };
    for (int d = 0; d < dims; d++) array->count *= array->shape[d] = shape[d];
    array->data = block() + w->count++ * 37;
}

static void add_vector(struct weights *w, const char *name, int64_t count)
{
    add(w, name, 1, &count);
}

static void weight_shape(int unit, enum layout layout, int64_t shape[4])
{
    int64_t s[4];
    inception_weight_shape(inception_convolution(unit), s);
    const int64_t hwio[4] = { s[2], s[3], s[1], s[0] };
    memcpy(shape, layout == HWIO ? hwio : s, sizeof s);
}

/* "<prefix><layer>.<part>" of every unit. */
static void add_torch(struct weights *w, const char *prefix, const enum unit_part *parts, int count)
{
    for (int u = 0; u < INCEPTION_CONVOLUTIONS; u++)
        for (int i = 0; i < count; i++) {
            char name[128];
            int64_t shape[4];
            weight_shape(u, OIHW, shape);
            snprintf(name, sizeof name, "%s%s.%s", prefix, inception_convolution(u)->name,
                     unit_part_name(parts[i]));
            add(w, name, parts[i] == UNIT_WEIGHT ? 4 : 1, shape);
        }
}

static const enum unit_part torch_parts[] = { UNIT_WEIGHT, UNIT_GAMMA, UNIT_BETA, UNIT_MEAN,
                                              UNIT_VARIANCE };
static const enum unit_part folded_parts[] = { UNIT_WEIGHT, UNIT_BIAS };

/* Keras': convolutions numbered from `first`, batch norms from `first_norm`, the last unit first.
 */
static void add_keras(struct weights *w, int units, int first, int first_norm)
{
    static const char *const leaves[] = { "beta", "moving_mean", "moving_variance" };
    for (int u = units - 1; u >= 0; u--) {
        char name[128], number[16] = "";
        int64_t shape[4];
        weight_shape(u % INCEPTION_CONVOLUTIONS, HWIO, shape);
        if (first + u) snprintf(number, sizeof number, "_%d", first + u);
        snprintf(name, sizeof name, "conv2d%s/kernel:0", number);
        add(w, name, 4, shape);
        for (int i = 0; i < 3; i++) {
            snprintf(name, sizeof name, "batch_normalization_%d/%s:0", first_norm + u, leaves[i]);
            add_vector(w, name, shape[3]);
        }
    }
}

/* A graph without telling names. */
static void add_graph(struct weights *w, int vectors)
{
    for (int u = 0; u < INCEPTION_CONVOLUTIONS; u++) {
        char name[32];
        int64_t shape[4];
        weight_shape(u, OIHW, shape);
        for (int i = 0; i <= vectors; i++) {
            snprintf(name, sizeof name, "onnx::%d", w->count);
            add(w, name, i == 0 ? 4 : 1, shape);
        }
    }
}

static void take(struct pretrained *p)
{
    struct error err = { 0 };
    snprintf(p->path, sizeof p->path, "file");
    cr_assert(pretrained_take(p, &err), "%s", err.message);
}

static void expect_refused(struct pretrained *p, const char *reason)
{
    struct error err = { 0 };
    snprintf(p->path, sizeof p->path, "file");
    cr_assert(!pretrained_take(p, &err), "expected: %s", reason);
    cr_expect(strstr(err.message, reason), "%s", err.message);
    pretrained_release(p);
}

static const char *name_at(const struct pretrained *p, int tower, int unit, enum unit_part part)
{
    const struct weight_array *array = p->units[tower][unit].parts[part];
    return array ? array->name : "";
}

/* --- matching
 * --------------------------------------------------------------------------------------- */

Test(pretrained, torchvision_names_behind_any_prefix)
{
    static const char *const prefixes[] = { "", "module.", "state_dict.model.", "tower0." };
    for (int i = 0; i < 4; i++) {
        struct pretrained p = { .weights.format = WEIGHTS_TORCH_ZIP };
        char expected[128];
        snprintf(expected, sizeof expected, "%sAuxLogits.conv0.bn.num_batches_tracked",
                 prefixes[i]);
        add_vector(&p.weights, expected, 1);
        add_torch(&p.weights, prefixes[i], torch_parts, 5);
        add_vector(&p.weights, "optimizer.state1.tower0.Conv2d_1a_3x3.conv.weight", 1);
        take(&p);
        cr_expect_eq(p.towers, 1);
        cr_expect_eq(p.matching, MATCHING_NAMES);
        cr_expect_eq(p.pool_padding, POOL_PADDING_INCLUDE);
        cr_expect(p.gamma);
        cr_expect_eq(p.uses[USE_TOWER], 5 * INCEPTION_CONVOLUTIONS);
        cr_expect_eq(p.uses[USE_AUXILIARY], 1);
        cr_expect_eq(p.uses[USE_OPTIMIZER], 1);
        for (int u = 0; u < INCEPTION_CONVOLUTIONS; u++)
            for (int k = 0; k < 5; k++) {
                snprintf(expected, sizeof expected, "%s%s.%s", prefixes[i],
                         inception_convolution(u)->name, unit_part_name(torch_parts[k]));
                cr_expect_str_eq(name_at(&p, 0, u, torch_parts[k]), expected);
            }
        pretrained_release(&p);
    }
}

Test(pretrained, numbered_prefixes_are_towers_and_averages_are_not)
{
    struct pretrained towers = { .weights.format = WEIGHTS_SAFETENSORS };
    add_torch(&towers.weights, "tower1.", torch_parts, 5); /* in whatever order */
    add_torch(&towers.weights, "tower0.", torch_parts, 5);
    take(&towers);
    cr_expect_eq(towers.towers, 2);
    cr_expect_str_eq(name_at(&towers, 1, 93, UNIT_BETA), "tower1.Mixed_7c.branch_pool.bn.bias");
    cr_expect_str_eq(name_at(&towers, 0, 0, UNIT_WEIGHT), "tower0.Conv2d_1a_3x3.conv.weight");
    pretrained_release(&towers);

    struct pretrained averaged = { .weights.format = WEIGHTS_TORCH_ZIP };
    add_torch(&averaged.weights, "model.", torch_parts, 5);
    add_torch(&averaged.weights, "model_ema.", torch_parts, 5);
    take(&averaged);
    cr_expect_eq(averaged.towers, 1);
    cr_expect_str_eq(name_at(&averaged, 0, 0, UNIT_WEIGHT), "model.Conv2d_1a_3x3.conv.weight");
    cr_expect_eq(averaged.uses[USE_OTHER], 5 * INCEPTION_CONVOLUTIONS);
    cr_expect_str_eq(averaged.other, "model_ema.Conv2d_1a_3x3.conv.weight");
    pretrained_release(&averaged);
}

static void check_keras(int units, int first, int first_norm)
{
    struct pretrained p = { .weights.format = WEIGHTS_KERAS2_HDF5 };
    char expected[64];
    add_keras(&p.weights, units, first, first_norm);
    add_vector(&p.weights, "predictions/bias:0", 1000);
    take(&p);
    cr_expect_eq(p.matching, MATCHING_NUMBERS);
    cr_expect_eq(p.pool_padding, POOL_PADDING_EXCLUDE);
    cr_expect(!p.gamma);
    cr_expect_eq(p.towers, units / INCEPTION_CONVOLUTIONS);
    cr_expect_eq(p.uses[USE_CLASSIFIER], 1);
    for (int rank = 0; rank < p.towers * INCEPTION_CONVOLUTIONS; rank++) {
        const int t = rank / INCEPTION_CONVOLUTIONS, u = rank % INCEPTION_CONVOLUTIONS;
        snprintf(expected, sizeof expected, first + rank ? "conv2d_%d/kernel:0" : "conv2d/kernel:0",
                 first + rank);
        cr_expect_str_eq(name_at(&p, t, u, UNIT_WEIGHT), expected);
        snprintf(expected, sizeof expected, "batch_normalization_%d/moving_mean:0",
                 first_norm + rank);
        cr_expect_str_eq(name_at(&p, t, u, UNIT_MEAN), expected);
    }
    pretrained_release(&p);
}

Test(pretrained, keras_numbers_count_by_rank)
{
    check_keras(INCEPTION_CONVOLUTIONS, 1, 1);        /* Keras 2 */
    check_keras(INCEPTION_CONVOLUTIONS, 0, 7);        /* Keras 3 counts from nothing */
    check_keras(INCEPTION_CONVOLUTIONS, 95, 95);      /* the second model of a session */
    check_keras(2 * INCEPTION_CONVOLUTIONS, 95, 189); /* two towers */
}

Test(pretrained, a_convolution_too_many_shows_by_its_shape)
{
    struct pretrained p = { .weights.format = WEIGHTS_KERAS2_HDF5 };
    add(&p.weights, "conv2d/kernel:0", 4, (int64_t[]) { 1, 1, 6, 3 }); /* before the first */
    add_keras(&p.weights, INCEPTION_CONVOLUTIONS, 1, 1);
    expect_refused(&p, "'conv2d/kernel:0' has shape 1x1x6x3 where Conv2d_1a_3x3.conv.weight wants "
                       "32x3x3x3 (as OIHW)");
}

Test(pretrained, graphs_by_order_with_batch_norm_folded_or_not)
{
    static const int vectors[] = { 1, 4, 5 };
    for (int i = 0; i < 3; i++) {
        const int step = vectors[i] + 1, first = vectors[i] == 4 ? 1 : 2;
        struct pretrained p = { .weights.format = WEIGHTS_ONNX };
        char expected[32];
        add_graph(&p.weights, vectors[i]);
        take(&p);
        cr_expect_eq(p.matching, MATCHING_ORDER);
        cr_expect_eq(p.folded, vectors[i] == 1 ? INCEPTION_CONVOLUTIONS : 0);
        cr_expect_eq(p.gamma, vectors[i] != 1);
        cr_expect_eq(p.uses[USE_TOWER], step * INCEPTION_CONVOLUTIONS);
        snprintf(expected, sizeof expected, "onnx::%d", 40 * step);
        cr_expect_str_eq(name_at(&p, 0, 40, UNIT_WEIGHT), expected);
        snprintf(expected, sizeof expected, "onnx::%d", 40 * step + 1);
        if (vectors[i] != 4) cr_expect_str_eq(name_at(&p, 0, 40, UNIT_BIAS), expected);
        snprintf(expected, sizeof expected, "onnx::%d", 40 * step + first + 3);
        if (vectors[i] != 1) cr_expect_str_eq(name_at(&p, 0, 40, UNIT_VARIANCE), expected);
        pretrained_release(&p);
    }
}

Test(pretrained, graphs_by_name_where_nodes_share_an_array)
{
    struct pretrained p = { .weights.format = WEIGHTS_ONNX };
    add_torch(&p.weights, "", torch_parts, 5);
    for (int i = 0; i < p.weights.count; i++)
        if (strstr(p.weights.arrays[i].name, "1x1.bn.weight"))
            strcpy(p.weights.arrays[i].name, "ones");
    take(&p);
    cr_expect_eq(p.matching, MATCHING_NAMES);
    cr_expect_str_eq(name_at(&p, 0, 5, UNIT_GAMMA), "ones");
    cr_expect_eq(p.uses[USE_OTHER], 0);
    pretrained_release(&p);
}

Test(pretrained, graphs_in_another_order_are_refused)
{
    struct pretrained p = { .weights.format = WEIGHTS_ONNX };
    add_graph(&p.weights, 1);
    struct weight_array *arrays = p.weights.arrays, kept[2] = { arrays[12], arrays[13] };
    memcpy(&arrays[12], &arrays[14], sizeof kept); /* unit 7, 5x5, before unit 6 */
    memcpy(&arrays[14], kept, sizeof kept);
    expect_refused(&p, "not an InceptionV3, or its convolutions stand in another order");
}

Test(pretrained, what_is_no_whole_inception_is_refused_by_name)
{
    struct pretrained cut = { .weights.format = WEIGHTS_SAFETENSORS };
    add_torch(&cut.weights, "", torch_parts, 5);
    free(cut.weights.arrays[--cut.weights.count].name);
    expect_refused(&cut, "has no Mixed_7c.branch_pool.bn.running_var; it is not a whole");

    struct pretrained bare = { .weights.format = WEIGHTS_SAFETENSORS };
    add_torch(&bare.weights, "", torch_parts, 1); /* neither batch norms nor biases */
    expect_refused(&bare, "has no Conv2d_1a_3x3.bn.bias");

    struct pretrained other = { .weights.format = WEIGHTS_SAFETENSORS };
    add_vector(&other.weights, "layer4.1.bn2.bias", 512);
    expect_refused(&other, "is not an InceptionV3: among its 1 arrays (safetensors, the first is "
                           "'layer4.1.bn2.bias')");
}

Test(pretrained, strict_knows_what_may_be_left_out)
{
    struct error err = { 0 };
    struct pretrained p = { .weights.format = WEIGHTS_TORCH_ZIP };
    add_torch(&p.weights, "", torch_parts, 5);
    add_vector(&p.weights, "fc.bias", 1000);
    add_vector(&p.weights, "AuxLogits.fc.bias", 1000);
    add_vector(&p.weights, "Conv2d_1a_3x3.bn.num_batches_tracked", 1);
    take(&p);
    cr_expect(pretrained_check_strict(&p, &err), "%s", err.message);
    pretrained_release(&p);

    struct pretrained more = { .weights.format = WEIGHTS_TORCH_ZIP };
    add_torch(&more.weights, "", torch_parts, 5);
    add_vector(&more.weights, "Mixed_5b.attention.weight", 7);
    take(&more);
    cr_expect(!pretrained_check_strict(&more, &err));
    cr_expect(strstr(err.message, "'Mixed_5b.attention.weight'"), "%s", err.message);
    pretrained_release(&more);

    struct pretrained unscaled = { .weights.format = WEIGHTS_TORCH_ZIP };
    add_torch(&unscaled.weights, "", torch_parts, 5);
    strcpy(unscaled.weights.arrays[6].name, "fc.weight"); /* was the second layer's bn.weight */
    take(&unscaled);
    cr_expect_eq(unscaled.scales_missing, 1);
    err = (struct error) { 0 };
    cr_expect(!pretrained_check_strict(&unscaled, &err));
    cr_expect(strstr(err.message, "1 batch norms have no scale"), "%s", err.message);
    pretrained_release(&unscaled);
}

/* --- values
 * ------------------------------------------------------------------------------------------- */

static float *values_of(const struct pretrained *p, int unit, enum unit_part part)
{
    int64_t shape[4];
    struct error err = { 0 };
    weight_shape(unit, OIHW, shape);
    float *values = malloc((size_t)(shape[0] * shape[1] * shape[2] * shape[3]) * sizeof *values);
    cr_assert(pretrained_part_values(p, 0, unit, part, values, &err), "%s", err.message);
    return values;
}

Test(pretrained, keras_kernels_are_turned)
{
    struct pretrained p = { .weights.format = WEIGHTS_KERAS3_HDF5 };
    add_keras(&p.weights, INCEPTION_CONVOLUTIONS, 1, 1);
    take(&p);
    for (int u = 0; u < 50; u += 7) { /* 3x3, 1x1, 5x5, 1x7, 7x1 */
        int64_t s[4];
        weight_shape(u, OIHW, s);
        const float *hwio = p.units[0][u].parts[UNIT_WEIGHT]->data;
        float *oihw = values_of(&p, u, UNIT_WEIGHT);
        int wrong = 0;
        for (int64_t o = 0; o < s[0]; o++)
            for (int64_t i = 0; i < s[1]; i++)
                for (int64_t y = 0; y < s[2]; y++)
                    for (int64_t x = 0; x < s[3]; x++)
                        wrong += oihw[((o * s[1] + i) * s[2] + y) * s[3] + x] !=
                                 hwio[((y * s[3] + x) * s[1] + i) * s[0] + o];
        cr_expect_eq(wrong, 0, "unit %d", u);
        free(oihw);
    }
    pretrained_release(&p);
}

/* What a tower computes with: w*s and beta - mean*s. */
static double scale_of(const struct pretrained *p, int unit, int channel, double *bias)
{
    float *const v[] = { values_of(p, unit, UNIT_GAMMA), values_of(p, unit, UNIT_BETA),
                         values_of(p, unit, UNIT_MEAN), values_of(p, unit, UNIT_VARIANCE) };
    const double scale = v[0][channel] / sqrt((double)v[3][channel] + inception_epsilon);
    *bias = v[1][channel] - v[2][channel] * scale;
    for (int i = 0; i < 4; i++) free(v[i]);
    return scale;
}

Test(pretrained, folded_batch_norm_gives_back_weights_and_bias)
{
    struct pretrained p = { .weights.format = WEIGHTS_ONNX };
    add_torch(&p.weights, "", folded_parts, 2);
    take(&p);
    cr_expect_eq(p.folded, INCEPTION_CONVOLUTIONS);
    cr_expect(!p.gamma);
    for (int u = 0; u < INCEPTION_CONVOLUTIONS; u += 31) {
        const float *stored = p.units[0][u].parts[UNIT_BIAS]->data;
        double bias;
        cr_expect_float_eq(scale_of(&p, u, 3, &bias), 1, 1e-7);
        cr_expect_float_eq(bias, stored[3], 1e-7);
    }
    pretrained_release(&p);
}

Test(pretrained, a_bias_before_batch_norm_and_another_epsilon_are_made_up_for)
{
    static const enum unit_part parts[] = { UNIT_WEIGHT, UNIT_BIAS, UNIT_GAMMA,
                                            UNIT_BETA,   UNIT_MEAN, UNIT_VARIANCE };
    struct pretrained p = { .weights.format = WEIGHTS_ONNX };
    p.weights.metadata = calloc(3, sizeof *p.weights.metadata);
    p.weights.metadata[0] = strdup("onnx.epsilon");
    p.weights.metadata[1] = strdup("1e-5");
    add_torch(&p.weights, "", parts, 6);
    take(&p);
    const struct unit_arrays *arrays = &p.units[0][10];
    double stored[UNIT_PARTS], bias;
    for (int part = UNIT_BIAS; part < UNIT_PARTS; part++)
        stored[part] = ((const float *)arrays->parts[part]->data)[3];
    const double right = stored[UNIT_GAMMA] / sqrt(stored[UNIT_VARIANCE] + 1e-5);
    cr_expect_float_eq(scale_of(&p, 10, 3, &bias), right, 1e-6);
    cr_expect_float_eq(bias, stored[UNIT_BETA] + (stored[UNIT_BIAS] - stored[UNIT_MEAN]) * right,
                       1e-6);
    free(p.weights.metadata[1]);
    p.weights.metadata[1] = strdup("mixed");
    memset(p.units, 0, sizeof p.units);
    expect_refused(&p, "its batch norms add different epsilons");
}

/* --- models
 * --------------------------------------------------------------------------------------------- */

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

/* Values of its own for every seed, of He's size where they are weights; no batch norm is neutral.
 */
static void fill(struct model *model, int seed)
{
    struct error err = { 0 };
    for (int i = 0; i < model_parameter_count(model); i++) {
        const struct parameter *p = model_parameter(model, i);
        const int64_t inputs = p->count / p->torch_shape[0];
        const bool weights = p->dims > 1;
        const float factor = weights ? sqrtf(24 / (float)inputs) : 0.5f;
        float *values = malloc((size_t)p->count * sizeof *values);
        for (int64_t k = 0; k < p->count; k++)
            values[k] = factor * (block()[(seed * 1001 + i * 37 + k) % BLOCK] - (float)weights);
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
    cr_assert(cpu_backend_open(&config->compute, spec.towers, &backend, &err), "%s", err.message);
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
            pixels[t][i] = (uint8_t)(170 * block()[(t * BYTES + i) % BLOCK]);
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

Test(pretrained, a_run_goes_on_from_another_runs_model_bit_for_bit)
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
        cr_assert(start_weights_open(&p, &next, &err), "%s", err.message);
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

Test(pretrained, a_run_goes_on_from_an_export)
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

Test(pretrained, towers_go_from_one_to_another)
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
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err = (struct error) { 0 };
        cr_expect(!pretrained_choose_towers(&p, bad[i], &err), "'%s'", bad[i]);
    }
    err = (struct error) { 0 };
    pretrained_release(&p);

    /* plain names, as torchvision has them; one tower fills one, or all */
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

Test(pretrained, a_changed_head_is_new_as_a_whole)
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
