/* Writes weights as a safetensors file: torchvision's names in torchvision's order, one
 * array at a time. */
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"
#include "micromet/base/text.h"
#include "pretrained_parts.h"

enum { NAME_BYTES = 128 };

struct writing {
    const struct pretrained *pretrained;
    struct weight_array *arrays;
    struct array_place *places; /* in the model's towers; USE_HEAD: copied by name */
    int count, towers;
};

static void writing_release(struct writing *w)
{
    for (int i = 0; i < w->count; i++) free(w->arrays[i].name);
    free(w->arrays);
    free(w->places);
}

static bool add(struct writing *w, const char *name, int dims, const int64_t *shape,
                struct array_place place)
{
    struct weight_array *array = &w->arrays[w->count];
    *array =
        (struct weight_array) { .name = strdup(name), .dims = dims, .count = 1, .dtype = "F32" };
    if (!array->name) return false;
    for (int d = 0; d < dims; d++) {
        array->shape[d] = shape[d];
        array->count *= shape[d];
    }
    w->places[w->count++] = place;
    return true;
}

static bool add_unit(struct writing *w, int tower, int unit)
{
    static const enum unit_part parts[] = { UNIT_WEIGHT, UNIT_GAMMA, UNIT_BETA, UNIT_MEAN,
                                            UNIT_VARIANCE };
    const struct inception_layer *layer = inception_convolution(unit);
    char name[NAME_BYTES];
    int64_t shape[4];
    inception_weight_shape(layer, shape);
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (parts[i] == UNIT_GAMMA && !w->pretrained->gamma) continue;
        const int prefix = w->towers > 1 ? snprintf(name, sizeof name, "tower%d.", tower) : 0;
        snprintf(name + prefix, sizeof name - (size_t)prefix, "%s.%s", layer->name,
                 unit_part_name(parts[i]));
        const struct array_place place = { USE_TOWER, tower, unit, parts[i] };
        if (!add(w, name, parts[i] == UNIT_WEIGHT ? 4 : 1, shape, place)) return false;
    }
    return true;
}

static bool add_head(struct writing *w)
{
    const struct weights *weights = &w->pretrained->weights;
    for (int i = 0; i < weights->count; i++) {
        const struct weight_array *array = &weights->arrays[i];
        if (strncmp(array->name, "head.", 5) == 0 && !add(w, array->name, array->dims, array->shape,
                                                          (struct array_place) { .use = USE_HEAD }))
            return false;
    }
    return true;
}

static bool writing_init(struct writing *w, const struct pretrained *p, int towers, bool head,
                         struct error *err)
{
    const size_t most = (size_t)towers * INCEPTION_CONVOLUTIONS * UNIT_PARTS +
                        (size_t)p->uses[USE_HEAD];
    *w = (struct writing) { .pretrained = p,
                            .towers = towers,
                            .arrays = calloc(most, sizeof *w->arrays),
                            .places = calloc(most, sizeof *w->places) };
    bool ok = w->arrays && w->places;
    for (int t = 0; t < towers && ok; t++)
        for (int u = 0; u < INCEPTION_CONVOLUTIONS && ok; u++) ok = add_unit(w, t, u);
    ok = ok && (!head || add_head(w));
    return ok || error_set(err, EXIT_CODE_FAILED, "no memory for a list of weights");
}

static bool fill(void *context, int index, void *values, struct error *err)
{
    const struct writing *w = context;
    const struct array_place *place = &w->places[index];
    const struct pretrained *p = w->pretrained;
    if (place->use == USE_HEAD)
        return pretrained_head_values(p, w->arrays[index].name, values, err);
    return pretrained_part_values(p, p->from[place->tower], place->unit, place->part, values, err);
}

static const char format_written[] = "micromet weights";

bool pretrained_is_written(const char *path)
{
    struct weights weights;
    struct error ignored = { 0 };
    if (!safetensors_read(&weights, path, &ignored)) return false;
    const char *format = weights_metadata(&weights, "format");
    const bool is = format && strcmp(format, format_written) == 0;
    weights_release(&weights);
    return is;
}

bool pretrained_write(const struct pretrained *p, const char *path, int towers, bool *head_taken,
                      struct error *err)
{
    /* Facts about head and levels in a file of ours remain true only for the same towers. */
    static const char *const carried[] = { "towers", "class_names", "threshold", "precision" };
    const bool same = pretrained_same_towers(p, towers);
    char source[TEXT_SHOWN_MAX];
    const char *metadata[2 * (8 + COUNT_OF(carried)) + 1] = {
        "format",        format_written,
        "version",       "1",
        "program",       ("micromet " MICROMET_VERSION " " MICROMET_GIT),
        "source",        text_utf8(source, path_name(p->path)),
        "source_format", weights_format_name(p->weights.format),
        "preprocessing", MODEL_PREPROCESSING,
        "pool_padding",  pool_padding_name(p->pool_padding),
    };
    size_t at = 0;
    while (metadata[at]) at += 2;
    for (size_t i = 0; i < COUNT_OF(carried) && same && p->ours; i++) {
        const char *value = weights_metadata(&p->weights, carried[i]);
        if (!value) continue;
        metadata[at++] = carried[i];
        metadata[at++] = value;
    }
    *head_taken = same && p->uses[USE_HEAD] > 0;
    struct writing writing;
    const bool ok = writing_init(&writing, p, towers, *head_taken, err) &&
                    safetensors_write_filled(path, writing.arrays, writing.count, metadata, fill,
                                             &writing, err);
    writing_release(&writing);
    return ok;
}
