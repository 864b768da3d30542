/* Opens a file of weights, and copies the matched arrays into a model or another file. One function
 * returns the values of any part of any unit in PyTorch's layout: from the file, or those of a
 * neutral batch norm where the file has none. */
#include "micromet/nn/pretrained.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pretrained_parts.h"

/* --- Opening ---------------------------------------------------------------------------------- */

static const char *tower_text(const struct pretrained *p, int tower, char text[24])
{
    if (p->towers == 1) return "";
    snprintf(text, 24, "tower %d: ", tower);
    return text;
}

static void shape_text(const int64_t *shape, int dims, char text[96])
{
    int at = 0;
    text[0] = '\0';
    for (int d = 0; d < dims && at < 80; d++)
        at += snprintf(text + at, 96 - (size_t)at, "%s%lld", d ? "x" : "", (long long)shape[d]);
}

static bool check_shape(const struct pretrained *p, int tower, int unit, enum unit_part part,
                        struct error *err)
{
    static const int oihw[] = { 0, 1, 2, 3 }, hwio[] = { 3, 2, 0, 1 };
    const int *order = weights_are_keras(&p->weights) ? hwio : oihw;
    const struct inception_layer *layer = inception_convolution(unit);
    const struct weight_array *array = p->units[tower][unit].parts[part];
    const int dims = part == UNIT_WEIGHT ? 4 : 1;
    int64_t shape[4];
    inception_weight_shape(layer, shape);
    bool same = array->dims == dims;
    for (int d = 0; d < dims && same; d++)
        same = array->shape[dims == 4 ? order[d] : d] == shape[d];
    if (same) return true;
    char has[96], wants[96], which[24];
    shape_text(array->shape, array->dims, has);
    shape_text(shape, dims, wants);
    return error_set(err, EXIT_CODE_FAILED, "%s: %s'%s' has shape %s where %s.%s wants %s%s: %s",
                     p->path, tower_text(p, tower, which), array->name, has, layer->name,
                     unit_part_name(part), wants, order == hwio && dims == 4 ? " (as OIHW)" : "",
                     p->matching == MATCHING_ORDER
                         ? "not an InceptionV3, or its convolutions stand in another order"
                         : "another architecture");
}

/* The first required part that a unit lacks, or UNIT_PARTS. A unit needs weights and either a batch
 * norm or the bias that one was folded into. */
static enum unit_part missing_part(const struct unit_arrays *unit)
{
    static const enum unit_part of_norm[] = { UNIT_BETA, UNIT_MEAN, UNIT_VARIANCE };
    if (!unit->parts[UNIT_WEIGHT]) return UNIT_WEIGHT;
    bool folded = unit->parts[UNIT_BIAS] && !unit->parts[UNIT_GAMMA];
    for (int i = 0; i < 3; i++) folded &= !unit->parts[of_norm[i]];
    for (int i = 0; i < 3 && !folded; i++)
        if (!unit->parts[of_norm[i]]) return of_norm[i];
    return UNIT_PARTS;
}

static bool is_folded(const struct unit_arrays *unit)
{
    return !unit->parts[UNIT_BETA];
}

static bool check_unit(struct pretrained *p, int tower, int unit, struct error *err)
{
    const struct unit_arrays *arrays = &p->units[tower][unit];
    const enum unit_part missing = missing_part(arrays);
    char which[24];
    for (int part = 0; part < UNIT_PARTS; part++)
        if (arrays->parts[part] && !check_shape(p, tower, unit, (enum unit_part)part, err))
            return false;
    if (missing != UNIT_PARTS)
        return error_set(
            err, EXIT_CODE_FAILED, "%s: %shas no %s.%s%s; it is not a whole InceptionV3", p->path,
            tower_text(p, tower, which), inception_convolution(unit)->name, unit_part_name(missing),
            p->matching == MATCHING_NUMBERS ? " (by the rank of Keras' number)" : "");
    p->gamma |= arrays->parts[UNIT_GAMMA] != NULL;
    p->folded += is_folded(arrays);
    return true;
}

static bool check_units(struct pretrained *p, struct error *err)
{
    for (int t = 0; t < p->towers; t++)
        for (int u = 0; u < INCEPTION_CONVOLUTIONS; u++)
            if (!check_unit(p, t, u, err)) return false;
    for (int t = 0; t < p->towers; t++)
        for (int u = 0; u < INCEPTION_CONVOLUTIONS; u++)
            p->scales_missing += p->gamma && !is_folded(&p->units[t][u]) &&
                                 !p->units[t][u].parts[UNIT_GAMMA];
    return true;
}

/* Whether the name, behind any prefix, is of a tower's array. */
static bool is_of_tower(const char *name)
{
    int unit;
    enum unit_part part;
    for (const char *at = name; at; at = strchr(at, '.')) {
        at += *at == '.';
        if (unit_find(at, &unit, &part)) return true;
    }
    return false;
}

/* Enter the arrays in their places. If two claim one place, the second counts as unknown. */
static void take_places(struct pretrained *p, const struct array_place *places)
{
    for (int i = 0; i < p->weights.count; i++) {
        const struct array_place *place = &places[i];
        const struct weight_array **at = &p->units[place->tower][place->unit].parts[place->part];
        enum array_use use = place->use;
        if (use == USE_TOWER && *at) use = USE_OTHER;
        if (use == USE_OTHER && p->sets && is_of_tower(p->weights.arrays[i].name))
            use = USE_UNCHOSEN;
        if (use == USE_TOWER) *at = &p->weights.arrays[i];
        if (use == USE_OTHER && !p->other) p->other = p->weights.arrays[i].name;
        p->uses[use]++;
    }
}

/* Keras' average pools exclude padding, PyTorch's include it; files of ours and ONNX
 * graphs state it. */
static enum pool_padding pool_padding_of(const struct pretrained *p)
{
    const char *said = weights_metadata(&p->weights, "pool_padding");
    if (!said) said = weights_metadata(&p->weights, "onnx.pool_padding");
    if (said && strcmp(said, "exclude") == 0) return POOL_PADDING_EXCLUDE;
    if (said && strcmp(said, "include") == 0) return POOL_PADDING_INCLUDE;
    return weights_are_keras(&p->weights) ? POOL_PADDING_EXCLUDE : POOL_PADDING_INCLUDE;
}

/* The epsilon of a graph's batch norms; if it differs from ours, the variances are adjusted. */
static bool find_epsilon(struct pretrained *p, struct error *err)
{
    const char *said = weights_metadata(&p->weights, "onnx.epsilon");
    char *end = NULL;
    p->epsilon = said ? strtof(said, &end) : inception_epsilon;
    return !said || (*said && !*end) ||
           error_set(err, EXIT_CODE_FAILED,
                     "%s: its batch norms add different epsilons; fold them into their "
                     "convolutions when you export the model (do_constant_folding)",
                     p->path);
}

static bool check_preprocessing(const struct pretrained *p, struct error *err)
{
    const char *said = weights_metadata(&p->weights, "preprocessing");
    return !p->ours || !said || strcmp(said, MODEL_PREPROCESSING) == 0 ||
           error_set(err, EXIT_CODE_FAILED,
                     "%s: is for input prepared as '%.80s'; this program gives its towers '%s'",
                     p->path, said, MODEL_PREPROCESSING);
}

bool pretrained_take(struct pretrained *p, struct error *err)
{
    const size_t count = (size_t)p->weights.count + 1;
    struct array_place *places = calloc(count, sizeof *places);
    if (!places) return error_set(err, EXIT_CODE_FAILED, "%s: no memory for its names", p->path);
    struct prefixes prefixes;
    const bool ok = pretrained_find_prefixes(p, &prefixes, err) &&
                    pretrained_match(p, &prefixes, places, err);
    if (ok) take_places(p, places);
    free(places);
    if (!ok || !check_units(p, err)) return false;
    for (int t = 0; t < TOWERS_MAX; t++) p->from[t] = t < p->towers ? t : p->towers - 1;
    const char *format = weights_metadata(&p->weights, "format");
    p->ours = format && strncmp(format, "micromet ", 9) == 0;
    p->pool_padding = pool_padding_of(p);
    return find_epsilon(p, err) && check_preprocessing(p, err) && pretrained_check_values(p, err);
}

bool pretrained_open(struct pretrained *pretrained, const char *path, struct error *err)
{
    return pretrained_open_sets(pretrained, path, NULL, err);
}

bool pretrained_open_sets(struct pretrained *pretrained, const char *path, const char *sets,
                          struct error *err)
{
    *pretrained = (struct pretrained) { .sets = sets };
    snprintf(pretrained->path, sizeof pretrained->path, "%s", path);
    bool ok = weights_read(&pretrained->weights, path, err);
    ok = ok && pretrained_take(pretrained, err);
    if (!ok) pretrained_release(pretrained);
    return ok;
}

void pretrained_release(struct pretrained *pretrained)
{
    weights_release(&pretrained->weights);
    *pretrained = (struct pretrained) { 0 };
}

bool pretrained_choose_towers(struct pretrained *pretrained, const char *list, struct error *err)
{
    int from[TOWERS_MAX], count = 0;
    const char *at = list;
    do {
        char *end;
        const long tower = strtol(at, &end, 10);
        if (end == at || (*end && *end != ',') || count == TOWERS_MAX)
            return error_set(err, EXIT_CODE_USAGE,
                             "'%.80s' is not a list of at most %d towers, such as 1 or 1,0", list,
                             TOWERS_MAX);
        if (tower < 0 || tower >= pretrained->towers)
            return error_set(err, EXIT_CODE_USAGE, "%s: has no tower %ld; its last one is %d",
                             pretrained->path, tower, pretrained->towers - 1);
        from[count++] = (int)tower;
        at = *end ? end + 1 : end;
    } while (*at || at[-1] == ',');
    for (int t = 0; t < TOWERS_MAX; t++) pretrained->from[t] = from[t < count ? t : count - 1];
    return true;
}

bool pretrained_same_towers(const struct pretrained *pretrained, int towers)
{
    for (int t = 0; t < towers; t++)
        if (pretrained->from[t] != t) return false;
    return towers == pretrained->towers;
}

bool pretrained_check_strict(const struct pretrained *p, struct error *err)
{
    if (p->other)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: %d arrays belong to nothing known, the first is '%.200s'", p->path,
                         p->uses[USE_OTHER], p->other);
    return p->scales_missing == 0 ||
           error_set(err, EXIT_CODE_FAILED,
                     "%s: %d batch norms have no scale (bn.weight), while others have", p->path,
                     p->scales_missing);
}

/* --- Values ----------------------------------------------------------------------------------- */

/* HWIO, that is (T*I) x O, to OIHW; in blocks of I x O small enough to cache all T of them. */
static void from_hwio(const int64_t oihw[4], const float *from, float *to)
{
    enum { SIDE = 16 };
    const int64_t outputs = oihw[0], inputs = oihw[1], taps = oihw[2] * oihw[3];
    for (int64_t o0 = 0; o0 < outputs; o0 += SIDE)
        for (int64_t i0 = 0; i0 < inputs; i0 += SIDE)
            for (int64_t t = 0; t < taps; t++)
                for (int64_t i = i0; i < inputs && i < i0 + SIDE; i++)
                    for (int64_t o = o0; o < outputs && o < o0 + SIDE; o++)
                        to[(o * inputs + i) * taps + t] = from[(t * inputs + i) * outputs + o];
}

/* Values of a missing batch norm part, folded or not, that leave the result unchanged. */
static float neutral_value(enum unit_part part)
{
    return part == UNIT_GAMMA ? 1 : part == UNIT_VARIANCE ? 1 - inception_epsilon : 0;
}

static bool subtract(float *values, const struct weight_array *array, struct error *err)
{
    float *converted;
    const float *less = weights_floats(array, &converted, err);
    for (int64_t i = 0; i < array->count && less; i++) values[i] -= less[i];
    free(converted);
    return less != NULL;
}

bool pretrained_part_values(const struct pretrained *p, int tower, int unit, enum unit_part part,
                            float *values, struct error *err)
{
    const struct unit_arrays *arrays = &p->units[tower][unit];
    const struct weight_array *bias = arrays->parts[UNIT_BIAS];
    const struct weight_array *array = part == UNIT_BETA && is_folded(arrays) ? bias
                                                                              : arrays->parts[part];
    const struct inception_layer *layer = inception_convolution(unit);
    for (int k = 0; k < layer->channels && !array; k++) values[k] = neutral_value(part);
    if (!array) return true;
    float *converted;
    const float *from = weights_floats(array, &converted, err);
    if (!from) return error_prefix(err, "%s", p->path);
    if (part == UNIT_WEIGHT && weights_are_keras(&p->weights)) {
        int64_t shape[4];
        inception_weight_shape(layer, shape);
        from_hwio(shape, from, values);
    } else {
        memcpy(values, from, (size_t)array->count * sizeof *values);
    }
    free(converted);
    weights_let_go(&p->weights, array);
    const float more = part == UNIT_VARIANCE ? p->epsilon - inception_epsilon : 0;
    for (int64_t i = 0; i < array->count && more != 0; i++) values[i] += more;
    /* A bias before a batch norm: (wx + b) - mean = wx - (mean - b) */
    return part != UNIT_MEAN || !bias || subtract(values, bias, err);
}

/* --- Into a model ----------------------------------------------------------------------------- */

static bool is_head(const char *name)
{
    return strncmp(name, "head.", 5) == 0;
}

/* Whether the file's head fits the model; it is used as a whole or not at all. */
static bool head_fits(const struct pretrained *pretrained, const struct model *model)
{
    int count = 0;
    for (int i = 0; i < model_parameter_count(model); i++) {
        const struct parameter *p = model_parameter(model, i);
        if (!is_head(p->name)) continue;
        if (!weights_fit(weights_find(&pretrained->weights, p->name), p->dims, p->torch_shape))
            return false;
        count++;
    }
    return count == pretrained->uses[USE_HEAD] &&
           pretrained_same_towers(pretrained, model_spec(model)->towers);
}

bool pretrained_head_values(const struct pretrained *pretrained, const char *name, float *values,
                            struct error *err)
{
    const struct weight_array *array = weights_find(&pretrained->weights, name);
    float *converted;
    const float *from = weights_floats(array, &converted, err);
    if (from) memcpy(values, from, (size_t)array->count * sizeof *values);
    free(converted);
    weights_let_go(&pretrained->weights, array);
    return from != NULL;
}

/* Values by parameter name: "tower1.Mixed_5b.branch1x1.bn.bias". */
static bool tower_values(const struct pretrained *pretrained, const char *name, float *values,
                         struct error *err)
{
    char *rest;
    int unit;
    enum unit_part part;
    CHECK(strncmp(name, "tower", 5) == 0);
    const long tower = strtol(name + 5, &rest, 10);
    CHECK(*rest == '.' && unit_find(rest + 1, &unit, &part));
    return pretrained_part_values(pretrained, pretrained->from[tower], unit, part, values, err);
}

static float *largest_scratch(const struct model *model, struct error *err)
{
    int64_t most = 1;
    for (int i = 0; i < model_parameter_count(model); i++) {
        const int64_t count = model_parameter(model, i)->count;
        most = count > most ? count : most;
    }
    float *scratch = calloc((size_t)most, sizeof *scratch);
    if (!scratch) error_set(err, EXIT_CODE_FAILED, "no memory for weights");
    return scratch;
}

bool pretrained_apply(const struct pretrained *pretrained, struct model *model, bool *head_taken,
                      struct error *err)
{
    CHECK(model_spec(model)->gamma == pretrained->gamma);
    *head_taken = head_fits(pretrained, model);
    float *values = largest_scratch(model, err);
    bool ok = values != NULL;
    for (int i = 0; i < model_parameter_count(model) && ok; i++) {
        const char *name = model_parameter(model, i)->name;
        const bool head = is_head(name);
        if (head && !*head_taken) continue;
        ok = (head ? pretrained_head_values : tower_values)(pretrained, name, values, err) &&
             model_write(model, i, PART_VALUE, values, err);
    }
    free(values);
    return ok && model_refresh(model, err);
}
