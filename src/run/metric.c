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
    { "validation.auc", "auc", true },
    { "validation.loss", "loss", false },
};

const struct metric *metric_find(const char *name, struct error *err)
{
    for (size_t i = 0; i < COUNT_OF(metrics); i++)
        if (strcmp(metrics[i].name, name) == 0) return &metrics[i];
    error_set(err, EXIT_CODE_USAGE, "'%.80s' is no metric; there are %s and %s", name,
              metrics[0].name, metrics[1].name);
    return NULL;
}

/* The line's value if it is a validation's of one of the first epochs, else NaN. */
static double value_of(const json_t *line, const char *key, int epochs)
{
    const char *kind = json_string_value(json_object_get(line, "kind"));
    const json_t *value = json_object_get(line, key);
    if (!kind || strcmp(kind, "validation") != 0 || !json_is_number(value) ||
        json_integer_value(json_object_get(line, "epoch")) > epochs)
        return NAN;
    return json_number_value(value);
}

bool metric_read(const struct metric *metric, bool maximize, const char *run_folder, int epochs,
                 double *value, struct error *err)
{
    char path[PATH_MAX_BYTES], *text;
    size_t size;
    *value = NAN;
    if (!path_join(path, run_folder, "metrics.jsonl", err)) return false;
    if (!file_exists(path)) return true;
    if (!file_read(path, METRICS_BYTES_MAX, &text, &size, err)) return false;
    for (char *line = text, *end; (end = memchr(line, '\n', (size_t)(text + size - line)));
         line = end + 1) {
        json_t *object = json_loadb(line, (size_t)(end - line), 0, NULL);
        const double found = value_of(object, metric->key, epochs);
        json_decref(object);
        const bool better = maximize ? found > *value : found < *value;
        if (better || isnan(*value)) *value = found;
    }
    free(text);
    return true;
}
