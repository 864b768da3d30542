/* Converts between a value's text and its field, by the kind in the schema table. */
#include "config_schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "micromet/base/size.h"
#include "micromet/base/text.h"

const char *config_kind_wants(const struct config_key *key)
{
    static const char *const wants[] = {
        [CONFIG_TEXT] = "a text",
        [CONFIG_PATH] = "a path",
        [CONFIG_BOOL] = "true or false",
        [CONFIG_INT] = "an integer",
        [CONFIG_INT64] = "an integer",
        [CONFIG_UINT64] = "an integer",
        [CONFIG_DOUBLE] = "a number",
        [CONFIG_CHOICE] = "one word",
        [CONFIG_INT_LIST] = "a list of integers such as [2, 3]",
        [CONFIG_DOUBLE_LIST] = "a list of numbers such as [0.5, 2]",
        [CONFIG_INT64_PAIR] = "a list of two integers such as [0, 0]",
        [CONFIG_LABELS] = "names and what they mean such as {Tumor: tumor}",
    };
    return wants[key->kind];
}

const char *config_item_wants(const struct config_key *key)
{
    return key->kind == CONFIG_DOUBLE_LIST ? "a number" : "an integer";
}

bool config_is_nothing(const char *text)
{
    static const char *const words[] = { "", "~", "null", "Null", "NULL", "None" };
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (strcmp(text, words[i]) == 0) return true;
    return false;
}

bool config_store_nothing(struct config *config, const struct config_key *key, struct error *err)
{
    const bool text = key->kind == CONFIG_TEXT || key->kind == CONFIG_PATH;
    if (text && !*key->initial) return config_store(config, key, "", "", err);
    return error_set(err, EXIT_CODE_USAGE,
                     "%s: expected %s, got nothing; leave it out for the default, %s", key->name,
                     config_kind_wants(key), key->initial);
}

static bool wrong_kind(const char *wants, const struct config_key *key, const char *text,
                       struct error *err)
{
    return error_set(err, EXIT_CODE_USAGE, "%s: expected %s, got '%.80s'", key->name, wants, text);
}

static bool check_range(const struct config_key *key, double value, const char *text,
                        struct error *err)
{
    if (value < key->min)
        return error_set(err, EXIT_CODE_USAGE, "%s: %.80s is below %.10g", key->name, text,
                         key->min);
    if (value > key->max)
        return error_set(err, EXIT_CODE_USAGE, "%s: %.80s is above %.10g", key->name, text,
                         key->max);
    return true;
}

static bool is_integer(const char *text)
{
    if (*text == '-' || *text == '+') text++;
    return *text && text[strspn(text, "0123456789")] == '\0';
}

/* YAML 1.1 reads 010 as octal, 8, and YAML 1.2 as 10: whoever writes it may mean either. */
static bool check_zeros(const struct config_key *key, const char *text, struct error *err)
{
    const char *digits = text + (*text == '-' || *text == '+');
    return digits[0] != '0' || digits[1] == '\0' || !is_integer(text) ||
           error_set(err, EXIT_CODE_USAGE,
                     "%s: %.80s begins with 0, which some read as octal; leave the 0 out",
                     key->name, text);
}

static bool read_integer(const struct config_key *key, const char *text, int64_t *value,
                         struct error *err)
{
    if (!is_integer(text)) return wrong_kind("an integer", key, text, err);
    if (!check_zeros(key, text, err)) return false;
    *value = strtoll(text, NULL, 10); /* saturates on overflow, which is outside every range */
    return check_range(key, (double)*value, text, err);
}

static bool read_unsigned(const struct config_key *key, const char *text, uint64_t *value,
                          struct error *err)
{
    if (!is_integer(text)) return wrong_kind("an integer", key, text, err);
    if (*text == '-')
        return error_set(err, EXIT_CODE_USAGE, "%s: %.80s is below 0", key->name, text);
    if (!check_zeros(key, text, err)) return false;
    errno = 0;
    *value = strtoull(text, NULL, 10);
    if (errno == ERANGE)
        return error_set(err, EXIT_CODE_USAGE, "%s: %.80s is above %" PRIu64, key->name, text,
                         UINT64_MAX);
    return true;
}

static bool read_number(const struct config_key *key, const char *text, double *value,
                        struct error *err)
{
    char *end;
    *value = strtod(text, &end);
    const bool decimal = text[strspn(text, "+-.0123456789eE")] == '\0';
    if (!decimal || end == text || *end) return wrong_kind("a number", key, text, err);
    return check_zeros(key, text, err) && check_range(key, *value, text, err);
}

/* The words that YAML 1.1 and 1.2 have for the two, in each one's three spellings. */
static bool read_bool(const struct config_key *key, const char *text, bool *value,
                      struct error *err)
{
    static const char *const words[2][9] = {
        { "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF" },
        { "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON" },
    };
    for (int truth = 0; truth < 2; truth++)
        for (size_t i = 0; i < COUNT_OF(words[truth]); i++)
            if (strcmp(text, words[truth][i]) == 0) {
                *value = truth;
                return true;
            }
    return wrong_kind("true or false", key, text, err);
}

static bool read_choice(const struct config_key *key, const char *text, int *value,
                        struct error *err)
{
    for (*value = 0; key->choices[*value]; ++*value)
        if (strcmp(key->choices[*value], text) == 0) return true;

    char all[256] = "";
    struct text_nearest nearest = text_nearest_init(text);
    for (int i = 0; key->choices[i]; i++) {
        const size_t length = strlen(all);
        snprintf(all + length, sizeof(all) - length, "%s%s", i ? ", " : "", key->choices[i]);
        text_nearest_offer(&nearest, key->choices[i]);
    }
    return error_set(err, EXIT_CODE_USAGE, "%s: '%.80s' is none of %s%s%s%s", key->name, text, all,
                     nearest.best[0] ? "; did you mean " : "", nearest.best,
                     nearest.best[0] ? "?" : "");
}

static bool read_text(const struct config_key *key, const char *text, char *value,
                      struct error *err)
{
    const size_t length = strlen(text);
    if (length >= key->capacity)
        return error_set(err, EXIT_CODE_USAGE, "%s: is longer than %zu bytes", key->name,
                         key->capacity - 1);
    if (!text_is_utf8(text))
        return error_set(err, EXIT_CODE_USAGE, "%s: is not valid UTF-8", key->name);
    memset(value, 0, key->capacity);
    memcpy(value, text, length + 1);
    return true;
}

/* A path as config_write() wrote it: absolute, with each dollar sign doubled. */
static bool read_written_path(const struct config_key *key, const char *text, char *value,
                              struct error *err)
{
    char path[PATH_MAX_BYTES];
    size_t length = 0;
    for (const char *p = text; *p && length < sizeof(path) - 1; p++) {
        path[length++] = *p;
        if (p[0] == '$' && p[1] == '$') p++;
    }
    path[length] = '\0';
    return read_text(key, strlen(text) < sizeof(path) ? path : text, value, err);
}

/* Refuse what would become a folder of that name: an address, a path of Windows, a null. */
static bool check_path(const struct config_key *key, const char *text, struct error *err)
{
    const bool drive = text[0] && text[1] == ':' && text[2] == '\\';
    if (strstr(text, "://") || drive)
        return error_set(err, EXIT_CODE_USAGE, "%s: '%.200s' is no path of this machine", key->name,
                         text);
    if (!config_is_nothing(text) || *text == '~') return true;
    return error_set(err, EXIT_CODE_USAGE, "%s: '%s' is no path%s%s", key->name, text,
                     *text ? "; for a file or folder of that name write ./" : "", text);
}

static bool read_path(const struct config_key *key, const char *text, const char *folder,
                      char *value, struct error *err)
{
    for (int i = 0; key->choices && key->choices[i]; i++)
        if (strcmp(key->choices[i], text) == 0) return read_text(key, text, value, err);
    if (!*folder) return read_written_path(key, text, value, err);
    if (!*text && !*key->initial) return read_text(key, text, value, err);
    if (!check_path(key, text, err)) return false;

    char path[PATH_MAX_BYTES], expanded[PATH_MAX_BYTES];
    struct error cause = { 0 };
    const char *name = expanded;
    bool ok = path_expand(expanded, text, &cause);
    while (ok && strncmp(name, "./", 2) == 0 && name[2]) name += 2;
    ok = ok && path_join(path, folder, name, &cause);
    if (!ok) return error_set(err, EXIT_CODE_USAGE, "%s: %.900s", key->name, cause.message);
    return read_text(key, path, value, err);
}

bool config_store(struct config *config, const struct config_key *key, const char *text,
                  const char *folder, struct error *err)
{
    void *field = (char *)config + key->offset;
    int64_t integer = 0;
    switch (key->kind) {
    case CONFIG_TEXT:
        return read_text(key, text, field, err);
    case CONFIG_PATH:
        return read_path(key, text, folder, field, err);
    case CONFIG_BOOL:
        return read_bool(key, text, field, err);
    case CONFIG_INT:
        if (!read_integer(key, text, &integer, err)) return false;
        *(int *)field = (int)integer;
        return true;
    case CONFIG_INT64:
        return read_integer(key, text, field, err);
    case CONFIG_UINT64:
        return read_unsigned(key, text, field, err);
    case CONFIG_DOUBLE:
        return read_number(key, text, field, err);
    case CONFIG_CHOICE:
        return read_choice(key, text, field, err);
    case CONFIG_INT_LIST:
    case CONFIG_DOUBLE_LIST:
    case CONFIG_INT64_PAIR:
    case CONFIG_LABELS:
        break;
    }
    return wrong_kind(config_kind_wants(key), key, text, err);
}

bool config_store_item(struct config *config, const struct config_key *key, int index,
                       const char *text, struct error *err)
{
    void *field = (char *)config + key->offset;
    int64_t integer = 0;
    if ((size_t)index >= key->capacity)
        return error_set(err, EXIT_CODE_USAGE, "%s: holds more than %zu values", key->name,
                         key->capacity);
    if (key->kind == CONFIG_DOUBLE_LIST)
        return read_number(key, text, (double *)field + index, err);
    if (!read_integer(key, text, &integer, err)) return false;
    if (key->kind == CONFIG_INT_LIST)
        ((int *)field)[index] = (int)integer;
    else
        ((int64_t *)field)[index] = integer;
    return true;
}

bool config_store_label(struct config *config, const struct config_key *key, const char *name,
                        const char *word, struct error *err)
{
    struct config_label *labels = (void *)((char *)config + key->offset);
    int *count = (int *)((char *)config + key->count_offset), at = 0, meaning;
    if (strlen(name) >= LABEL_NAME_BYTES || !text_is_utf8(name))
        return error_set(err, EXIT_CODE_USAGE, "%s: '%.80s' is longer than %d bytes, or no UTF-8",
                         key->name, name, LABEL_NAME_BYTES - 1);
    if (!read_choice(key, word, &meaning, err)) return error_append(err, " (of '%.80s')", name);
    while (at < *count && strcasecmp(labels[at].name, name) != 0) at++;
    if ((size_t)at >= key->capacity)
        return error_set(err, EXIT_CODE_USAGE, "%s: holds more than %zu names", key->name,
                         key->capacity);
    labels[at] = (struct config_label) { .meaning = meaning };
    memcpy(labels[at].name, name, strlen(name) + 1);
    *count += at == *count;
    return true;
}

int config_label_find(const struct config_data *data, const char *name)
{
    for (int i = 0; i < data->label_count; i++)
        if (strcasecmp(data->labels[i].name, name) == 0) return data->labels[i].meaning;
    return -1;
}

bool config_store_count(struct config *config, const struct config_key *key, int count,
                        struct error *err)
{
    if (key->kind == CONFIG_INT64_PAIR) {
        if (count == 2) return true;
        return error_set(err, EXIT_CODE_USAGE, "%s: expected two integers, got %d", key->name,
                         count);
    }
    if (key->kind == CONFIG_LABELS) return true; /* config_store_label() counts */
    const size_t size = key->kind == CONFIG_INT_LIST ? sizeof(int) : sizeof(double);
    memset((char *)config + key->offset + (size_t)count * size, 0,
           (key->capacity - (size_t)count) * size);
    *(int *)((char *)config + key->count_offset) = count;
    return true;
}

/* Whether some YAML parser reads the word as something other than a text. */
static bool means_something(const char *text)
{
    static const char *const words[] = {
        "null", "true", "false", "yes", "no", "on", "off", "y", "n"
    };
    if (config_is_nothing(text)) return true;
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (strcasecmp(text, words[i]) == 0) return true;
    return false;
}

/* Plain where every YAML parser reads it as a string, otherwise double-quoted with escapes. */
void config_quote(const char *text, char out[CONFIG_TEXT_MAX])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    static const char others[] = "0123456789_-./:";
    size_t plain = 0;
    while (text[plain] && (strchr(letters, text[plain]) || strchr(others, text[plain]))) plain++;
    if (text[0] && text[plain] == '\0' && (text[0] == '/' || strchr(letters, text[0])) &&
        text[plain - 1] != ':' && !means_something(text)) {
        snprintf(out, CONFIG_TEXT_MAX, "%s", text);
        return;
    }

    size_t length = 0;
    out[length++] = '"';
    for (const char *p = text; *p;) {
        const char *start = p;
        const int32_t point = text_utf8_next(&p);
        CHECK(point >= 0); /* config_store() accepts only valid UTF-8 */
        char *end = out + length;
        const size_t room = CONFIG_TEXT_MAX - length;
        const bool special = point < 0x20 || (point >= 0x7f && point < 0xa0) ||
                             (point >= 0x2028 && point <= 0x2029) || point == 0xfeff ||
                             point == 0xfffe || point == 0xffff;
        if (special)
            length += (size_t)snprintf(end, room, "\\u%04X", (unsigned)point);
        else if (point == '"' || point == '\\')
            length += (size_t)snprintf(end, room, "\\%c", (char)point);
        else
            length += (size_t)snprintf(end, room, "%.*s", (int)(p - start), start);
    }
    out[length++] = '"';
    out[length] = '\0';
}

/* With each dollar sign doubled, since reading expands variables. */
static void format_path(const char *path, char out[CONFIG_TEXT_MAX])
{
    char doubled[2 * PATH_MAX_BYTES];
    size_t length = 0;
    for (const char *p = path; *p; p++) {
        if (*p == '$') doubled[length++] = '$';
        doubled[length++] = *p;
    }
    doubled[length] = '\0';
    config_quote(doubled, out);
}

/* The shortest decimal that reads back as the same number. */
static void format_number(double value, char out[CONFIG_TEXT_MAX])
{
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, CONFIG_TEXT_MAX, "%.*g", digits, value);
        if (strtod(out, NULL) == value) return;
    }
}

/* Item `index` of a list; false behind the last one. */
static bool format_item(const struct config_key *key, const void *field, int index,
                        char out[CONFIG_TEXT_MAX])
{
    if (key->kind == CONFIG_DOUBLE_LIST) {
        format_number(((const double *)field)[index], out);
        return true;
    }
    const int64_t item = key->kind == CONFIG_INT_LIST ? ((const int *)field)[index]
                                                      : ((const int64_t *)field)[index];
    snprintf(out, CONFIG_TEXT_MAX, "%" PRId64, item);
    return (double)item >= key->min;
}

static void format_list(const struct config_key *key, const void *field, int count,
                        char out[CONFIG_TEXT_MAX])
{
    char item[CONFIG_TEXT_MAX];
    int length = snprintf(out, CONFIG_TEXT_MAX, "[");
    for (int i = 0; i < count && format_item(key, field, i, item); i++)
        length += snprintf(out + length, CONFIG_TEXT_MAX - (size_t)length, "%s%.40s", i ? ", " : "",
                           item);
    snprintf(out + length, CONFIG_TEXT_MAX - (size_t)length, "]");
}

static void format_labels(const struct config_key *key, const struct config_label *labels,
                          int count, char out[CONFIG_TEXT_MAX])
{
    char name[CONFIG_TEXT_MAX];
    int length = snprintf(out, CONFIG_TEXT_MAX, "{");
    for (int i = 0; i < count; i++) {
        config_quote(labels[i].name, name);
        length += snprintf(out + length, CONFIG_TEXT_MAX - (size_t)length, "%s%.*s: %s",
                           i ? ", " : "", 6 * LABEL_NAME_BYTES, name,
                           key->choices[labels[i].meaning]);
    }
    snprintf(out + length, CONFIG_TEXT_MAX - (size_t)length, "}");
}

void config_format(const struct config *config, const struct config_key *key,
                   char text[CONFIG_TEXT_MAX])
{
    const void *field = (const char *)config + key->offset;
    switch (key->kind) {
    case CONFIG_TEXT:
        config_quote(field, text);
        break;
    case CONFIG_PATH:
        format_path(field, text);
        break;
    case CONFIG_BOOL:
        snprintf(text, CONFIG_TEXT_MAX, "%s", *(const bool *)field ? "true" : "false");
        break;
    case CONFIG_INT:
        snprintf(text, CONFIG_TEXT_MAX, "%d", *(const int *)field);
        break;
    case CONFIG_INT64:
        snprintf(text, CONFIG_TEXT_MAX, "%" PRId64, *(const int64_t *)field);
        break;
    case CONFIG_UINT64:
        snprintf(text, CONFIG_TEXT_MAX, "%" PRIu64, *(const uint64_t *)field);
        break;
    case CONFIG_DOUBLE:
        format_number(*(const double *)field, text);
        break;
    case CONFIG_CHOICE:
        snprintf(text, CONFIG_TEXT_MAX, "%s", key->choices[*(const int *)field]);
        break;
    case CONFIG_INT_LIST:
    case CONFIG_DOUBLE_LIST:
        format_list(key, field, *(const int *)((const char *)config + key->count_offset), text);
        break;
    case CONFIG_INT64_PAIR:
        format_list(key, field, 2, text);
        break;
    case CONFIG_LABELS:
        format_labels(key, field, *(const int *)((const char *)config + key->count_offset), text);
        break;
    }
}
