/* The configuration as a whole: the defaults, then the file, then the overrides are applied, and
 * finally the rules between keys are checked. The schema is in config_schema.c, parsing of values
 * in config_value.c, YAML in config_yaml.c, and the rules in config_check.c. */
#include "micromet/base/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config_schema.h"

enum { YAML_BYTES_MAX = 1 << 20 };

/* Each key's default is applied like an override, so lists need no code of their own. */
static bool store_defaults(struct config_reader *reader, struct error *err)
{
    memset(reader->config, 0, sizeof(*reader->config));
    for (int i = 0; i < config_key_count; i++) {
        char text[256];
        snprintf(text, sizeof(text), "%s=%s", config_keys[i].name, config_keys[i].initial);
        if (!config_read_override(reader, text, err)) return false;
    }
    memset(reader->places, 0, sizeof(reader->places));
    return true;
}

void config_defaults(struct config *config)
{
    struct config_reader reader = { .config = config, .folder = "" };
    struct error err = { 0 };
    CHECK(store_defaults(&reader, &err));
    config_resolve(config, NULL);
}

/* Put the place of key number `key`, or at least the file, before an error. */
static bool fail_key(const struct config_reader *reader, int key, const char *path,
                     struct error *err)
{
    const struct config_place place = reader->places[key];
    if (path && place.line) return error_prefix(err, "%s:%d:%d", path, place.line, place.column);
    return path ? error_prefix(err, "%s", path) : error_prefix(err, "configuration");
}

static bool finish(struct config_reader *reader, const char *path, config_checker check,
                   struct error *err)
{
    int key = 0;
    const char *name = NULL;
    config_choose_towers(reader->config, reader->places[config_key_find("data.levels")].given);
    config_resolve(reader->config, path);
    if (!config_check(reader->config, &key, err)) return fail_key(reader, key, path, err);
    if (!check || check(reader->config, &name, err)) return true;
    key = config_key_find(name);
    CHECK(key >= 0);
    return fail_key(reader, key, path, err);
}

static bool read_file(struct config_reader *reader, const char *path, struct error *err)
{
    struct error cause = { 0 };
    char *yaml;
    size_t size;
    if (!file_read(path, YAML_BYTES_MAX, &yaml, &size, &cause))
        return error_set(err, EXIT_CODE_USAGE, "%s", cause.message);
    reader->source.name = path;
    const bool good = config_read_yaml(reader, yaml, size, err);
    free(yaml);
    return good;
}

/* The folder to which relative paths in the file, and default paths, refer. A configuration thus
 * means the same wherever it is used. */
static bool find_folder(char folder[PATH_MAX_BYTES], const char *path, const char *current,
                        struct error *err)
{
    char absolute[PATH_MAX_BYTES];
    struct error cause = { 0 };
    if (!path_join(absolute, current, path ? path : "-", &cause))
        return error_set(err, EXIT_CODE_USAGE, "%s", cause.message);
    path_folder(folder, absolute);
    return true;
}

bool config_load(struct config *config, const char *path, int override_count,
                 char *const *overrides, struct error *err)
{
    return config_load_checked(config, path, override_count, overrides, NULL, err);
}

bool config_load_checked(struct config *config, const char *path, int override_count,
                         char *const *overrides, config_checker check, struct error *err)
{
    return config_load_from(config, path, NULL, override_count, overrides, check, err);
}

bool config_load_from(struct config *config, const char *path, const char *overrides_folder,
                      int override_count, char *const *overrides, config_checker check,
                      struct error *err)
{
    char current[PATH_MAX_BYTES], folder[PATH_MAX_BYTES];
    if (!getcwd(current, sizeof(current)))
        return error_set(err, EXIT_CODE_USAGE, "cannot tell the current folder: %s",
                         strerror(errno));

    struct config_reader reader = { .config = config, .folder = folder };
    if (!find_folder(folder, path, current, err) || !store_defaults(&reader, err)) return false;
    snprintf(config->folder, sizeof(config->folder), "%s", folder);
    if (path && !read_file(&reader, path, err)) return false;

    reader.source.name = NULL;
    reader.folder = overrides_folder ? overrides_folder : current;
    for (int i = 0; i < override_count; i++)
        if (!config_read_override(&reader, overrides[i], err)) return false;
    return finish(&reader, path, check, err);
}

bool config_override(struct config *config, int count, char *const *overrides, struct error *err)
{
    char current[PATH_MAX_BYTES];
    if (!getcwd(current, sizeof(current)))
        return error_set(err, EXIT_CODE_USAGE, "cannot tell the current folder: %s",
                         strerror(errno));
    struct config_reader reader = { .config = config, .folder = current };
    for (int i = 0; i < count; i++)
        if (!config_read_override(&reader, overrides[i], err)) return false;
    return finish(&reader, NULL, NULL, err);
}

bool config_read_value(const char *override, const char *folder, const char *origin,
                       char value[CONFIG_VALUE_MAX], struct error *err)
{
    struct config config;
    struct config_reader reader = { .config = &config, .folder = folder };
    if (!store_defaults(&reader, err)) return false;
    reader.source.origin = origin;
    if (!config_read_override(&reader, override, err)) return false;
    char key[128];
    snprintf(key, sizeof key, "%.*s", (int)strcspn(override, "="), override);
    if (config_key_find(key) < 0)
        return yaml_fail_at(&reader.source, 0, 0, err, "%s: is a section; name one of its keys",
                            key);
    config_value(&config, key, value);
    return true;
}

const char *config_difference(const struct config *a, const struct config *b, int *index)
{
    while (*index < config_key_count) {
        const struct config_key *key = &config_keys[(*index)++];
        char one[CONFIG_TEXT_MAX], other[CONFIG_TEXT_MAX];
        config_format(a, key, one);
        config_format(b, key, other);
        if (strcmp(one, other) != 0) return key->name;
    }
    return NULL;
}

void config_value(const struct config *config, const char *key, char text[CONFIG_VALUE_MAX])
{
    const int index = config_key_find(key);
    CHECK(index >= 0);
    config_format(config, &config_keys[index], text);
}

bool config_parse(struct config *config, const char *yaml, size_t size, const char *name,
                  struct error *err)
{
    struct config_reader reader = { .config = config, .folder = "" };
    if (!store_defaults(&reader, err)) return false;
    reader.source.name = name;
    return config_read_yaml(&reader, yaml, size, err) && finish(&reader, name, NULL, err);
}

/* Number of leading bytes of `name` that are whole sections shared with `previous`. */
static size_t shared_sections(const char *name, const char *previous)
{
    size_t shared = 0;
    for (size_t i = 0; name[i] && name[i] == previous[i]; i++)
        if (name[i] == '.') shared = i + 1;
    return shared;
}

bool config_write(const struct config *config, FILE *stream, struct error *err)
{
    const char *previous = "";
    for (int i = 0; i < config_key_count; i++) {
        const char *name = config_keys[i].name;
        const size_t shared = shared_sections(name, previous);
        int indent = 0;
        const char *part = name;
        for (const char *dot; (dot = strchr(part, '.')); part = dot + 1, indent += 2)
            if (part >= name + shared)
                fprintf(stream, "%*s%.*s:\n", indent, "", (int)(dot - part), part);

        char value[CONFIG_TEXT_MAX];
        config_format(config, &config_keys[i], value);
        fprintf(stream, "%*s%s: %s\n", indent, "", part, value);
        previous = name;
    }
    if (ferror(stream))
        return error_set(err, EXIT_CODE_FAILED, "cannot write the configuration: %s",
                         strerror(errno));
    return true;
}

static void describe_range(const struct config_key *key, char *range, size_t size)
{
    range[0] = '\0';
    if (key->kind == CONFIG_UINT64) snprintf(range, size, "0 .. 2^64-1");
    if (key->kind > CONFIG_BOOL && key->kind != CONFIG_UINT64 && key->kind != CONFIG_CHOICE &&
        key->kind != CONFIG_LABELS)
        snprintf(range, size, "%.10g .. %.10g", key->min, key->max);
    for (int i = 0; key->choices && key->choices[i]; i++) {
        const size_t length = strlen(range);
        snprintf(range + length, size - length, "%s%s", i ? " " : "", key->choices[i]);
    }
}

bool config_key_describe(int index, struct config_key_facts *facts)
{
    static const char *const types[] = {
        [CONFIG_TEXT] = "text",
        [CONFIG_PATH] = "path",
        [CONFIG_BOOL] = "bool",
        [CONFIG_INT] = "integer",
        [CONFIG_INT64] = "integer",
        [CONFIG_UINT64] = "integer",
        [CONFIG_DOUBLE] = "number",
        [CONFIG_CHOICE] = "choice",
        [CONFIG_INT_LIST] = "integers",
        [CONFIG_DOUBLE_LIST] = "numbers",
        [CONFIG_INT64_PAIR] = "2 integers",
        [CONFIG_LABELS] = "mapping",
    };
    static const char *const truths[] = { "true", "false", NULL };
    if (index >= config_key_count) return false;
    const struct config_key *key = &config_keys[index];
    *facts = (struct config_key_facts) {
        .name = key->name,
        .type = types[key->kind],
        .initial = key->initial,
        .help = key->help,
        .words = key->kind == CONFIG_BOOL     ? truths
                 : key->kind == CONFIG_LABELS ? NULL
                                              : key->choices,
        .is_path = key->kind == CONFIG_PATH,
    };
    describe_range(key, facts->range, sizeof(facts->range));
    return true;
}

void config_print_help(FILE *stream)
{
    static const char row[] = "%-27s %-10s %-37s %-21s %s\n";
    fprintf(stream, row, "key", "type", "range", "default", "what it is");
    const char *previous = "";
    struct config_key_facts key;
    for (int i = 0; config_key_describe(i, &key); i++) {
        if (strcspn(key.name, ".") != strcspn(previous, ".") ||
            strncmp(key.name, previous, strcspn(key.name, ".")) != 0)
            if (strchr(key.name, '.')) fputc('\n', stream);
        fprintf(stream, row, key.name, key.type, key.range, *key.initial ? key.initial : "-",
                key.help);
        previous = key.name;
    }
}
