/* See the header. */
#include "micromet/format/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/file.h"
#include "micromet/base/text.h"

enum { FILE_BYTES_MAX = 64 << 20 };

json_t *json_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *json_name(const char *name)
{
    char text[TEXT_SHOWN_MAX];
    return json_string(text_utf8(text, name));
}

json_t *json_path(const char *path)
{
    char *whole = realpath(path, NULL);
    json_t *name = json_name(whole ? whole : path);
    free(whole);
    return name;
}

json_t *json_read_object(const char *path)
{
    struct error ignored = { 0 };
    char *text;
    size_t size;
    if (!file_exists(path) || !file_read(path, FILE_BYTES_MAX, &text, &size, &ignored)) return NULL;
    json_t *object = json_loadb(text, size, 0, NULL);
    free(text);
    if (json_is_object(object)) return object;
    json_decref(object);
    return NULL;
}

bool json_write(const char *path, json_t *object, struct error *err)
{
    char *text = json_dumps(object, JSON_REAL_PRECISION(9));
    const bool ok = text ? file_write_atomic(path, text, strlen(text), err)
                         : error_set(err, EXIT_CODE_FAILED, "%s: out of memory", path);
    free(text);
    json_decref(object);
    return ok;
}
