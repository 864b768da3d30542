/* Files of weights matched to towers: by torchvision's names, by the rank of Keras' numbers or by
 * the order of a graph; and folded batch norms.
 *
 * Arrays are made in memory, each a window of one block of random numbers, so that every
 * place has distinct values. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"
#include "micromet/nn/pretrained.h"
#include "nn/pretrained_parts.h"
#include "support.h"

TestSuite(pretrained, .timeout = 300);

/* --- files in memory --- */

enum layout { OIHW, HWIO };

static void add(struct weights *w, const char *name, int dims, const int64_t *shape)
{
    w->arrays = realloc(w->arrays, ((size_t)w->count + 1) * sizeof *w->arrays);
    struct weight_array *array = &w->arrays[w->count];
    *array =
        (struct weight_array) { .name = strdup(name), .dims = dims, .count = 1, .dtype = "F32" };
    for (int d = 0; d < dims; d++) array->count *= array->shape[d] = shape[d];
    array->data = test_random_block() + w->count++ * 37;
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

/* Keras': convolutions numbered from `first`, batch norms from `first_norm`, the
 * last unit first. */
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

/* A graph without meaningful names. */
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

/* --- matching --- */

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

Test(pretrained, numbered_prefixes_are_towers)
{
    struct pretrained towers = { .weights.format = WEIGHTS_SAFETENSORS };
    add_torch(&towers.weights, "tower1.", torch_parts, 5); /* in whatever order */
    add_torch(&towers.weights, "tower0.", torch_parts, 5);
    take(&towers);
    cr_expect_eq(towers.towers, 2);
    cr_expect_str_eq(name_at(&towers, 1, 93, UNIT_BETA), "tower1.Mixed_7c.branch_pool.bn.bias");
    cr_expect_str_eq(name_at(&towers, 0, 0, UNIT_WEIGHT), "tower0.Conv2d_1a_3x3.conv.weight");
    pretrained_release(&towers);
}

/* Take from a file with two prefixes, of which `sets` chooses; NULL = none is chosen. */
static void take_of_two(struct pretrained *p, const char *one, const char *other, const char *sets,
                        const char *reason)
{
    *p = (struct pretrained) { .sets = sets, .weights.format = WEIGHTS_TORCH_ZIP };
    add_torch(&p->weights, one, torch_parts, 5);
    add_torch(&p->weights, other, torch_parts, 5);
    if (reason)
        expect_refused(p, reason);
    else
        take(p);
}

Test(pretrained, of_several_sets_of_weights_one_is_chosen)
{
    static const struct {
        const char *one, *other, *listed;
    } pairs[] = {
        { "model.", "model_ema.", "holds 2 sets of weights: model, model_ema; choose" },
        { "", "ema.module.", "holds 2 sets of weights: ., ema.module; choose" },
        { "models.0.", "models.1.", "holds 2 sets of weights: models.0, models.1; choose" },
        { "state_dict.tower0.", "state_dict_ema.tower0.",
          "holds 2 sets of weights: state_dict, state_dict_ema; choose" },
    };
    struct pretrained p;
    for (size_t i = 0; i < COUNT_OF(pairs); i++)
        take_of_two(&p, pairs[i].one, pairs[i].other, NULL, pairs[i].listed);

    take_of_two(&p, "model.", "model_ema.", "model_ema", NULL);
    cr_expect_eq(p.towers, 1);
    cr_expect_str_eq(name_at(&p, 0, 0, UNIT_WEIGHT), "model_ema.Conv2d_1a_3x3.conv.weight");
    cr_expect_eq(p.uses[USE_UNCHOSEN], 5 * INCEPTION_CONVOLUTIONS);
    cr_expect_eq(p.uses[USE_OTHER], 0);
    pretrained_release(&p);

    take_of_two(&p, "ema.", "", ".", NULL);
    cr_expect_str_eq(name_at(&p, 0, 0, UNIT_WEIGHT), "Conv2d_1a_3x3.conv.weight");
    pretrained_release(&p);

    take_of_two(&p, "models.0.", "models.1.", "models.1,models.0", NULL);
    cr_expect_eq(p.towers, 2);
    cr_expect_str_eq(name_at(&p, 0, 0, UNIT_WEIGHT), "models.1.Conv2d_1a_3x3.conv.weight");
    pretrained_release(&p);

    take_of_two(&p, "ema.tower1.", "ema.tower0.", NULL, NULL);
    cr_expect_eq(p.towers, 2);
    cr_expect_str_eq(name_at(&p, 0, 0, UNIT_WEIGHT), "ema.tower0.Conv2d_1a_3x3.conv.weight");
    pretrained_release(&p);

    take_of_two(
        &p, "model.", "ema.", "emma",
        "--set: 'emma' is none of its sets; it holds 2 sets of weights: model, ema; choose");
}

Test(pretrained, a_copy_under_changed_names_is_no_reason_to_guess)
{
    struct pretrained p = { .weights.format = WEIGHTS_SAFETENSORS };
    add_torch(&p.weights, "model.", torch_parts, 5);
    add_torch(&p.weights, "model_ema.", torch_parts, 1);
    for (int i = 0; i < p.weights.count; i++) { /* as LitEma names its copies */
        char *name = p.weights.arrays[i].name, *out = name + strlen("model_ema.");
        if (strncmp(name, "model_ema.", 10) != 0) continue;
        for (const char *in = out; *in; in++)
            if (*in != '.') *out++ = *in;
        *out = '\0';
    }
    expect_refused(&p, "holds 2 sets of weights: model, and one that cannot be read "
                       "('model_ema.Conv2d_1a_3x3convweight'); choose");
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
    check_keras(INCEPTION_CONVOLUTIONS, 0, 7);        /* Keras 3 gives the first no number */
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

/* --- values --- */

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

/* The folded weights that a tower uses: w*s and beta - mean*s. */
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

/* --- impossible values --- */

/* The file's array of that name holds `value` at one place, or everywhere for at = -1. */
static void expect_value_refused(const char *name, int64_t at, float value, const char *reason)
{
    struct pretrained p = { .weights.format = WEIGHTS_SAFETENSORS };
    add_torch(&p.weights, "", torch_parts, 5);
    struct weight_array *array = NULL;
    for (int i = 0; i < p.weights.count; i++)
        if (strcmp(p.weights.arrays[i].name, name) == 0) array = &p.weights.arrays[i];
    cr_assert(array);
    float *values = malloc((size_t)array->count * sizeof *values);
    for (int64_t i = 0; i < array->count; i++)
        values[i] = at < 0 || i == at ? value : ((const float *)array->data)[i];
    array->data = values;
    if (reason) {
        expect_refused(&p, reason);
    } else {
        take(&p);
        pretrained_release(&p);
    }
    free(values);
}

Test(pretrained, values_that_no_network_has_are_named_with_array_and_index)
{
    static const char weight[] = "Conv2d_2a_3x3.conv.weight"; /* 32x32x3x3 */
    static const char variance[] = "Mixed_6c.branch7x7_2.bn.running_var";
    const int64_t at = ((5 * 32 + 7) * 3 + 1) * 3 + 2;
    expect_value_refused(weight, at, NAN,
                         "file: 'Conv2d_2a_3x3.conv.weight' holds nan at [5, 7, 1, 2], no number");
    expect_value_refused(weight, at, -INFINITY, "holds -inf at [5, 7, 1, 2], no number");
    expect_value_refused(weight, at, 1e20f, "holds 1e+20 at [5, 7, 1, 2], larger than any");
    expect_value_refused(weight, -1, 0, "'Conv2d_2a_3x3.conv.weight' holds nothing but zeros");
    expect_value_refused(weight, at, 0, NULL);
    expect_value_refused(variance, 9, -1e-4f, "holds -0.0001 at [9], a negative variance");
    expect_value_refused(variance, -1, 0, "running_var' holds nothing but zeros");
    expect_value_refused(variance, 9, 0, NULL);
    expect_value_refused("Mixed_5b.branch1x1.bn.bias", -1, 0, NULL);
    expect_value_refused("Mixed_5b.branch1x1.bn.running_mean", 3, -5, NULL);
}
