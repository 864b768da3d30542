/* Reads what `micromet evaluate --single-input` found. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "export_parts.h"

enum { JSON_BYTES_MAX = 256 << 20 }; /* a line for each slide */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static bool take(struct export_measured *m, const struct checkpoint *checkpoint, const json_t *root,
                 const char *path, struct error *err)
{
    const json_t *single = json_object_get(root, "single_input");
    const char *ours = weights_metadata(&checkpoint->weights, "micromet.xxh3");
    if (!json_is_object(single))
        return error_set(err, EXIT_CODE_USAGE,
                         "%s: was written without --single-input; run `micromet evaluate "
                         "CHECKPOINT --single-input --split validation`",
                         path);
    if (!ours || strcmp(text_of(single, "checkpoint"), ours) != 0)
        return error_set(err, EXIT_CODE_USAGE, "%s: is of another checkpoint than %s", path,
                         checkpoint->path);
    const struct {
        const char *key;
        double *value;
    } numbers[] = {
        { "threshold", &m->threshold },           { "auc", &m->auc },
        { "auc_of_towers", &m->auc_of_towers },   { "mean_difference", &m->mean_difference },
        { "max_difference", &m->max_difference },
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const json_t *number = json_object_get(single, numbers[i].key);
        *numbers[i].value = json_number_value(number);
        if (!json_is_number(number))
            return error_set(
                err, EXIT_CODE_USAGE,
                "%s: has no single_input.%s; a threshold is chosen on validation alone "
                "(--split validation)",
                path, numbers[i].key);
    }
    m->threshold = (float)m->threshold; /* it is one of the probabilities, written with 9 digits */
    m->count = json_integer_value(json_object_get(single, "count"));
    m->flipped = json_integer_value(json_object_get(single, "decisions_differ"));
    snprintf(m->precision, sizeof m->precision, "%s", text_of(root, "precision"));
    m->known = true;
    return true;
}

bool export_measured_read(struct export_measured *measured, const struct checkpoint *checkpoint,
                          const char *path, struct error *err)
{
    char file[PATH_MAX_BYTES], *text;
    struct stat status;
    size_t size;
    const bool folder = stat(path, &status) == 0 && S_ISDIR(status.st_mode);
    *measured = (struct export_measured) { 0 };
    if (!path_join(file, folder ? path : "", folder ? "evaluation.json" : path, err) ||
        !file_read(file, JSON_BYTES_MAX, &text, &size, err))
        return error_prefix(err, "--evaluation");
    json_t *root = json_loadb(text, size, 0, NULL);
    free(text);
    const bool ok = root ? take(measured, checkpoint, root, file, err)
                         : error_set(err, EXIT_CODE_FAILED, "%s: is not valid JSON", file);
    json_decref(root);
    return ok;
}
