/* Reads a run's metrics.jsonl. */
#include "micromet/run/metric.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/file.h"
#include "micromet/base/size.h"

enum { METRICS_BYTES_MAX = 1 << 30 };

static const struct metric metrics[] = {
    { "validation.auc", offsetof(struct validation, auc), true },
    { "validation.loss", offsetof(struct validation, loss), false },
};

const struct metric *metric_find(const char *name, struct error *err)
{
    for (size_t i = 0; i < COUNT_OF(metrics); i++)
        if (strcmp(metrics[i].name, name) == 0) return &metrics[i];
    error_set(err, EXIT_CODE_USAGE, "'%.80s' is no metric; there are %s and %s", name,
              metrics[0].name, metrics[1].name);
    return NULL;
}

double metric_of(const struct metric *metric, const struct validation *validation)
{
    return *(const double *)(const void *)((const char *)validation + metric->offset);
}

static double number_of(const json_t *line, const char *key)
{
    const json_t *value = json_object_get(line, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* Whether the line is a validation's. */
static bool read_line(const char *text, size_t size, struct validation *validation)
{
    static const char kind[] = "\"validation\"";
    if (!memmem(text, size, kind, strlen(kind))) return false; /* most lines are steps */
    json_t *line = json_loadb(text, size, 0, NULL);
    const char *is = json_string_value(json_object_get(line, "kind"));
    const bool found = is && strcmp(is, "validation") == 0;
    *validation = (struct validation) {
        .epoch = json_integer_value(json_object_get(line, "epoch")),
        .step = json_integer_value(json_object_get(line, "step")),
        .train_loss = number_of(line, "train_loss"),
        .loss = number_of(line, "loss"),
        .auc = number_of(line, "auc"),
    };
    json_decref(line);
    return found;
}

static bool append(struct validation **validations, int *count, const struct validation *validation,
                   struct error *err)
{
    if ((*count & (*count - 1)) == 0) { /* full: 0, 1, 2, 4, ... */
        const size_t room = *count ? 2 * (size_t)*count : 1;
        struct validation *grown = realloc(*validations, room * sizeof *grown);
        if (!grown) return error_set(err, EXIT_CODE_FAILED, "out of memory for validations");
        *validations = grown;
    }
    (*validations)[(*count)++] = *validation;
    return true;
}

bool validations_read(const char *run_folder, struct validation **validations, int *count,
                      struct error *err)
{
    char path[PATH_MAX_BYTES], *text;
    size_t size;
    *validations = NULL;
    *count = 0;
    if (!path_join(path, run_folder, "metrics.jsonl", err)) return false;
    if (!file_exists(path)) return true;
    if (!file_read(path, METRICS_BYTES_MAX, &text, &size, err)) return false;
    bool ok = true;
    for (char *line = text, *end; ok && (end = memchr(line, '\n', (size_t)(text + size - line)));
         line = end + 1) {
        struct validation validation;
        if (read_line(line, (size_t)(end - line), &validation))
            ok = append(validations, count, &validation, err);
    }
    free(text);
    return ok;
}

bool metric_read(const struct metric *metric, bool maximize, const char *run_folder, int epochs,
                 double *value, struct error *err)
{
    struct validation *validations;
    int count;
    *value = NAN;
    const bool ok = validations_read(run_folder, &validations, &count, err);
    for (int i = 0; ok && i < count; i++) {
        const double found = metric_of(metric, &validations[i]);
        if (validations[i].epoch > epochs || isnan(found)) continue;
        const bool better = maximize ? found > *value : found < *value;
        if (better || isnan(*value)) *value = found;
    }
    free(validations);
    return ok;
}
