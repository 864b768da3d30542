/* Reads the end of a run's metrics.jsonl. */
#include "pace.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "micromet/base/file.h"

enum { TAIL_BYTES = 1 << 16 };

static void read_line(struct pace *pace, const char *line, size_t size)
{
    json_t *object = json_loadb(line, size, 0, NULL);
    const json_int_t step = json_integer_value(json_object_get(object, "step")),
                     epoch = json_integer_value(json_object_get(object, "epoch"));
    const char *kind = json_string_value(json_object_get(object, "kind"));
    const json_t *speed = json_object_get(object, "windows_per_s");
    if (step > pace->steps) pace->steps = step;
    if (json_is_number(speed)) pace->windows_per_s = json_number_value(speed);
    if (kind && strcmp(kind, "validation") == 0 && epoch > 0) pace->epoch_steps = step / epoch;
    json_decref(object);
}

bool pace_read(struct pace *pace, const char *run_folder, struct error *err)
{
    char path[PATH_MAX_BYTES], tail[TAIL_BYTES + 1];
    *pace = (struct pace) { .windows_per_s = NAN };
    if (!path_join(path, run_folder, "metrics.jsonl", err)) return false;
    FILE *stream = fopen(path, "rbe");
    if (!stream) return true;
    if (fseek(stream, -TAIL_BYTES, SEEK_END) != 0) rewind(stream);
    tail[fread(tail, 1, TAIL_BYTES, stream)] = '\0';
    fclose(stream);
    for (char *line = tail, *end; (end = strchr(line, '\n')); line = end + 1)
        read_line(pace, line, (size_t)(end - line)); /* the first may be cut, and is then no JSON */
    return true;
}
