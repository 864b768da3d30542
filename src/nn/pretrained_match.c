/* Finds where each array of a file belongs, in one of three ways: by torchvision's names, by
 * the rank of Keras' layer numbers, or by the order in an ONNX graph. Each assigns a place to
 * every array. Whether all places are filled, with the right shapes, is checked afterwards,
 * alike for all three. */
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"
#include "pretrained_parts.h"

static const struct {
    const char *torch, *stem, *leaf; /* "bn.bias"; "batch_normalization_7/beta:0" */
} part_names[UNIT_PARTS] = {
    [UNIT_WEIGHT] = { "conv.weight", "conv2d", "kernel" },
    [UNIT_BIAS] = { "conv.bias", "conv2d", "bias" },
    [UNIT_GAMMA] = { "bn.weight", "batch_normalization", "gamma" },
    [UNIT_BETA] = { "bn.bias", "batch_normalization", "beta" },
    [UNIT_MEAN] = { "bn.running_mean", "batch_normalization", "moving_mean" },
    [UNIT_VARIANCE] = { "bn.running_var", "batch_normalization", "moving_variance" },
};

/* Uses by the beginning and end of a name, after the prefix of its tower. */
static const struct {
    enum array_use use;
    const char *start, *end;
} known_uses[] = {
    { USE_OPTIMIZER, "optimizer.", "" },
    { USE_AUXILIARY, "AuxLogits.", "" },
    { USE_CLASSIFIER, "fc.", "" },
    { USE_CLASSIFIER, "predictions/", "" },
    { USE_COUNTER, "", ".num_batches_tracked" },
    { USE_HEAD, "head.", "" },
};

/* A convolution with a folded batch norm may be named after its layer alone. */
static const char *const folded_names[UNIT_PARTS] = {
    [UNIT_WEIGHT] = "weight", [UNIT_BIAS] = "bias"
};

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), wanted = strlen(end);
    return length >= wanted && strcmp(text + length - wanted, end) == 0;
}

enum array_use pretrained_known_use(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(known_uses); i++)
        if (starts_with(name, known_uses[i].start) && ends_with(name, known_uses[i].end))
            return known_uses[i].use;
    return USE_OTHER;
}

const char *unit_part_name(enum unit_part part)
{
    return part_names[part].torch;
}

bool unit_find(const char *name, int *unit, enum unit_part *part)
{
    int rank = 0;
    for (int i = 0; i < INCEPTION_LAYERS; i++) {
        if (inception_v3[i].kind != INCEPTION_CONVOLUTION) continue;
        const char *layer = inception_v3[i].name;
        const size_t length = strlen(layer);
        *unit = rank++;
        if (strncmp(name, layer, length) != 0 || name[length] != '.') continue;
        for (int p = 0; p < UNIT_PARTS; p++) {
            *part = (enum unit_part)p;
            if (strcmp(name + length + 1, part_names[p].torch) == 0 ||
                (folded_names[p] && strcmp(name + length + 1, folded_names[p]) == 0))
                return true;
        }
    }
    return false;
}

/* --- torchvision's names ---------------------------------------------------------------------- */

static struct array_place place_by_name(const struct prefixes *prefixes, const char *name)
{
    struct array_place place = { .use = pretrained_known_use(name) };
    for (int t = 0; t < prefixes->count; t++) {
        if (strncmp(name, prefixes->names[t], prefixes->lengths[t]) != 0) continue;
        const char *bare = name + prefixes->lengths[t];
        const enum array_use use = pretrained_known_use(bare);
        if (unit_find(bare, &place.unit, &place.part))
            return (struct array_place) { USE_TOWER, t, place.unit, place.part };
        if (use != USE_OTHER) place.use = use;
    }
    return place;
}

static int match_names(const struct weights *weights, const struct prefixes *prefixes,
                       struct array_place *places)
{
    for (int i = 0; i < weights->count; i++)
        places[i] = place_by_name(prefixes, weights->arrays[i].name);
    return prefixes->count;
}

/* Number of complete towers; convolutions beyond them get no place. */
static int towers_of(int convolutions)
{
    const int towers = convolutions / INCEPTION_CONVOLUTIONS;
    return towers < TOWERS_MAX ? towers : TOWERS_MAX;
}

static struct array_place place_by_rank(int rank, int towers, enum unit_part part)
{
    if (rank >= towers * INCEPTION_CONVOLUTIONS) return (struct array_place) { .use = USE_OTHER };
    return (struct array_place) { .use = USE_TOWER,
                                  .tower = rank / INCEPTION_CONVOLUTIONS,
                                  .unit = rank % INCEPTION_CONVOLUTIONS,
                                  .part = part };
}

/* --- Keras' numbers --------------------------------------------------------------------------- */

/* For part UNIT_WEIGHT: "inception_v3/conv2d_17/kernel:0" -> 17, "conv2d/kernel" -> 0 (the first in
 * Keras 3). -1 if the name is not of this part. */
static long layer_number(const char *name, enum unit_part part)
{
    const char *stem = part_names[part].stem, *leaf = strrchr(name, '/');
    if (!leaf || strcspn(leaf + 1, ":") != strlen(part_names[part].leaf) ||
        !starts_with(leaf + 1, part_names[part].leaf))
        return -1;
    const char *layer = leaf;
    while (layer > name && layer[-1] != '/') layer--;
    if (!starts_with(layer, stem)) return -1;
    layer += strlen(stem);
    return layer == leaf ? 0 : *layer == '_' ? strtol(layer + 1, NULL, 10) : -1;
}

static int compare_numbers(const void *a, const void *b)
{
    const long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

/* The layer numbers of all arrays of one part, sorted; returns their count. */
static int sorted_numbers(const struct weights *weights, enum unit_part part, long *numbers)
{
    int count = 0;
    for (int i = 0; i < weights->count; i++) {
        const long number = layer_number(weights->arrays[i].name, part);
        if (number >= 0) numbers[count++] = number;
    }
    qsort(numbers, (size_t)count, sizeof *numbers, compare_numbers);
    return count;
}

/* Convolutions and batch norms are numbered separately, each in order of creation, so the n-th of
 * one belongs to the n-th of the other. */
static int match_numbers(const struct weights *weights, struct array_place *places, long *numbers)
{
    const int towers = towers_of(sorted_numbers(weights, UNIT_WEIGHT, numbers));
    for (int i = 0; i < weights->count; i++)
        places[i] = (struct array_place) { .use = pretrained_known_use(weights->arrays[i].name) };
    for (int p = 0; p < UNIT_PARTS; p++) {
        const enum unit_part part = (enum unit_part)p;
        const enum unit_part everywhere = part <= UNIT_BIAS ? UNIT_WEIGHT : UNIT_BETA;
        const int count = sorted_numbers(weights, everywhere, numbers);
        for (int i = 0; i < weights->count; i++) {
            const long number = layer_number(weights->arrays[i].name, part);
            if (number < 0) continue;
            const long *found = bsearch(&number, numbers, (size_t)count, sizeof number,
                                        compare_numbers);
            if (found) places[i] = place_by_rank((int)(found - numbers), towers, part);
        }
    }
    return towers;
}

/* --- The order of an ONNX graph --------------------------------------------------------------- */

/* Which parts the vectors after a convolution's weights are, by their number. */
static const struct {
    int count;
    enum unit_part parts[UNIT_PARTS];
} runs[] = {
    { 1, { UNIT_BIAS } },
    { 4, { UNIT_GAMMA, UNIT_BETA, UNIT_MEAN, UNIT_VARIANCE } },
    { 5, { UNIT_BIAS, UNIT_GAMMA, UNIT_BETA, UNIT_MEAN, UNIT_VARIANCE } },
};

/* Place each convolution's weights and the vectors that follow them. An array that several nodes
 * share occurs after each of them under one name. Towers are found by name, or else by counting. */
static int match_graph(const struct weights *weights, const struct prefixes *prefixes,
                       struct array_place *places)
{
    const struct weight_array *arrays = weights->arrays;
    int convolutions = 0, rank = 0;
    for (int i = 0; i < weights->count; i++) {
        places[i] = (struct array_place) { .use = USE_OTHER };
        convolutions += arrays[i].dims == 4;
    }
    const int towers = prefixes->count ? prefixes->count : towers_of(convolutions);
    for (int i = 0; i < weights->count; i++) {
        if (arrays[i].dims != 4) continue;
        int vectors = 0;
        while (i + vectors + 1 < weights->count && arrays[i + vectors + 1].dims == 1) vectors++;
        places[i] = prefixes->count ? place_by_name(prefixes, arrays[i].name)
                                    : place_by_rank(rank++, towers, UNIT_WEIGHT);
        for (size_t r = 0; r < COUNT_OF(runs); r++)
            for (int v = 0; runs[r].count == vectors && v < vectors; v++) {
                places[i + 1 + v] = places[i];
                places[i + 1 + v].part = runs[r].parts[v];
            }
    }
    return towers;
}

static bool refuse(const struct pretrained *p, struct error *err)
{
    const struct weights *w = &p->weights;
    return error_set(err, EXIT_CODE_FAILED,
                     "%s: is not an InceptionV3: among its %d arrays (%s, the first is '%.80s') "
                     "there are not %d convolutions under torchvision's or timm's names%s",
                     p->path, w->count, weights_format_name(w->format),
                     w->count ? w->arrays[0].name : "", INCEPTION_CONVOLUTIONS,
                     weights_are_keras(w)        ? ", nor numbered as Keras does (conv2d_7)"
                     : w->format == WEIGHTS_ONNX ? ", nor as many in its graph"
                                                 : "");
}

bool pretrained_match(struct pretrained *p, const struct prefixes *prefixes,
                      struct array_place *places, struct error *err)
{
    long *numbers = calloc((size_t)p->weights.count + 1, sizeof *numbers);
    if (!numbers) return error_set(err, EXIT_CODE_FAILED, "%s: no memory for its names", p->path);
    const struct weights *weights = &p->weights;
    p->matching = MATCHING_NAMES;
    if (weights->format == WEIGHTS_ONNX) {
        if (prefixes->count == 0) p->matching = MATCHING_ORDER;
        p->towers = match_graph(weights, prefixes, places);
    } else if (prefixes->count > 0) {
        p->towers = match_names(weights, prefixes, places);
    } else if (weights_are_keras(weights)) {
        p->matching = MATCHING_NUMBERS;
        p->towers = match_numbers(weights, places, numbers);
    }
    free(numbers);
    return p->towers > 0 || refuse(p, err);
}
