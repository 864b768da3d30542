/* Parses YAML into the configuration. libyaml's events are matched against the schema table as they
 * arrive, without building a document tree, so every value is checked where it stands and errors
 * name its line and column. */
#include "config_schema.h"

#include <string.h>

#include "yaml_events.h"

enum { KEY_MAX = 128 };

struct walk {
    struct config_reader *reader;
    struct yaml_events events;
    bool seen[CONFIG_KEYS_MAX];         /* by key */
    bool section_seen[CONFIG_KEYS_MAX]; /* by the section's first key */
};

static const char *node_describe(const struct yaml_node *node, char text[128])
{
    if (node->type == YAML_SEQUENCE_START_EVENT) return "a list";
    if (node->type == YAML_MAPPING_START_EVENT) return "a section of keys";
    if (node->nothing) return "nothing";
    snprintf(text, 128, "'%.80s'", node->text);
    return text;
}

/* Index of the section's first key, or -1. */
static int section_find(const char *name)
{
    const size_t length = strlen(name);
    for (int i = 0; i < config_key_count; i++)
        if (strncmp(config_keys[i].name, name, length) == 0 && config_keys[i].name[length] == '.')
            return i;
    return -1;
}

static bool fail_unknown(const struct walk *walk, const char *name, const struct yaml_node *node,
                         struct error *err)
{
    char suggestion[SUGGESTION_MAX];
    config_suggest(name, suggestion);
    return yaml_fail_at(&walk->reader->source, node->line, node->column, err,
                        "%.100s: unknown key; %s", name,
                        *suggestion ? suggestion : "`micromet config --help` lists all keys");
}

/* Add the place to an error of config_store*(), which knows only the key. */
static bool fail_value(const struct walk *walk, const struct yaml_node *node, struct error *err)
{
    return yaml_prefix(&walk->reader->source, node->line, node->column, err);
}

static bool fail_kind(const struct walk *walk, const char *name, const char *wants,
                      const struct yaml_node *node, struct error *err)
{
    char got[128];
    return yaml_fail_at(&walk->reader->source, node->line, node->column, err,
                        "%s: expected %s, got %s", name, wants, node_describe(node, got));
}

static bool read_list(struct walk *walk, const struct config_key *key,
                      const struct yaml_node *start, struct error *err)
{
    struct config *config = walk->reader->config;
    for (int count = 0;; count++) {
        struct yaml_node item;
        if (!yaml_events_next(&walk->events, &item, err)) return false;
        if (item.type == YAML_SEQUENCE_END_EVENT)
            return config_store_count(config, key, count, err) || fail_value(walk, start, err);
        if (item.type != YAML_SCALAR_EVENT)
            return fail_kind(walk, key->name, config_item_wants(key), &item, err);
        if (!config_store_item(config, key, count, item.text, err))
            return fail_value(walk, &item, err);
    }
}

/* The value of the pair `name` of a mapping. */
static bool read_pair(struct walk *walk, const struct config_key *key, const char *name,
                      const struct yaml_node *value, struct error *err)
{
    if (value->type != YAML_SCALAR_EVENT || value->nothing)
        return fail_kind(walk, key->name, "one word for each name", value, err);
    return config_store_label(walk->reader->config, key, name, value->text, err) ||
           fail_value(walk, value, err);
}

/* A mapping replaces the one before it. */
static bool read_mapping(struct walk *walk, const struct config_key *key, struct error *err)
{
    struct config *config = walk->reader->config;
    int *count = (int *)((char *)config + key->count_offset);
    memset((char *)config + key->offset, 0, key->capacity * sizeof(struct config_label));
    *count = 0;
    for (int pairs = 1;; pairs++) {
        struct yaml_node name, value;
        if (!yaml_events_next(&walk->events, &name, err)) return false;
        if (name.type == YAML_MAPPING_END_EVENT) return true;
        if (name.type != YAML_SCALAR_EVENT) return fail_kind(walk, key->name, "a name", &name, err);
        if (!yaml_events_next(&walk->events, &value, err) ||
            !read_pair(walk, key, name.text, &value, err))
            return false;
        if (*count < pairs)
            return yaml_fail_at(&walk->reader->source, name.line, name.column, err,
                                "%s: '%.80s' is given twice (case makes no difference)", key->name,
                                name.text);
    }
}

static bool read_key(struct walk *walk, int index, const struct yaml_node *value, struct error *err)
{
    const struct config_key *key = &config_keys[index];
    struct config_reader *reader = walk->reader;
    reader->places[index] = (struct config_place) { .given = true };
    if (reader->source.name)
        reader->places[index] = (struct config_place) { value->line, value->column, true };

    const bool list = config_key_is_list(key);
    if (value->nothing)
        return config_store_nothing(reader->config, key, err) || fail_value(walk, value, err);
    if (key->kind == CONFIG_LABELS && value->type == YAML_MAPPING_START_EVENT)
        return read_mapping(walk, key, err);
    if (list && key->kind != CONFIG_LABELS && value->type == YAML_SEQUENCE_START_EVENT)
        return read_list(walk, key, value, err);
    if (list || value->type != YAML_SCALAR_EVENT)
        return fail_kind(walk, key->name, config_kind_wants(key), value, err);
    return config_store(reader->config, key, value->text, reader->folder, err) ||
           fail_value(walk, value, err);
}

static bool read_section(struct walk *walk, const char *section, struct error *err);

/* Read the value of `name`, whose first event is `value`. */
static bool read_entry(struct walk *walk, const char *name, const struct yaml_node *value,
                       struct error *err)
{
    const int index = config_key_find(name);
    if (index >= 0) return read_key(walk, index, value, err);
    if (value->type == YAML_MAPPING_START_EVENT) return read_section(walk, name, err);
    if (value->nothing) return true;
    char chooser[KEY_MAX + 8], wants[256] = "a section of keys"; /* "optimizer: adam" */
    snprintf(chooser, sizeof chooser, "%s.name", name);
    if (value->type == YAML_SCALAR_EVENT && config_key_find(chooser) >= 0)
        snprintf(wants, sizeof wants, "a section of keys such as {name: %.80s}", value->text);
    return fail_kind(walk, name, wants, value, err);
}

/* Read a section's keys ("" = the top level) up to its end. */
static bool read_section(struct walk *walk, const char *section, struct error *err)
{
    for (;;) {
        struct yaml_node key, value;
        if (!yaml_events_next(&walk->events, &key, err)) return false;
        if (key.type == YAML_MAPPING_END_EVENT) return true;
        if (key.type != YAML_SCALAR_EVENT)
            return yaml_fail_at(&walk->reader->source, key.line, key.column, err,
                                "a key must be one word, not a list or a section");

        char name[KEY_MAX];
        const int length = snprintf(name, sizeof(name), "%s%s%s", section, *section ? "." : "",
                                    key.text);
        const int index = config_key_find(name), first = section_find(name);
        if (length >= KEY_MAX || (index < 0 && first < 0))
            return fail_unknown(walk, name, &key, err);
        bool *seen = index >= 0 ? &walk->seen[index] : &walk->section_seen[first];
        if (*seen)
            return yaml_fail_at(&walk->reader->source, key.line, key.column, err,
                                "%s: is given twice", name);
        *seen = true;

        if (!yaml_events_next(&walk->events, &value, err) || !read_entry(walk, name, &value, err))
            return false;
    }
}

/* Read one document: the value of `name`, or the top level if name is "". */
static bool read_document(struct walk *walk, const char *name, struct error *err)
{
    struct yaml_node node;
    if (!yaml_events_expect(&walk->events, YAML_STREAM_START_EVENT, "not valid YAML", err))
        return false;
    if (!yaml_events_next(&walk->events, &node, err)) return false;
    if (node.type == YAML_STREAM_END_EVENT) return true;

    if (!yaml_events_next(&walk->events, &node, err)) return false;
    if (*name) {
        if (!read_entry(walk, name, &node, err)) return false;
    } else if (node.type == YAML_MAPPING_START_EVENT) {
        if (!read_section(walk, "", err)) return false;
    } else if (!node.nothing) {
        return fail_kind(walk, "the file", "a section of keys", &node, err);
    }
    return yaml_events_expect(&walk->events, YAML_DOCUMENT_END_EVENT, "not valid YAML", err) &&
           yaml_events_expect(&walk->events, YAML_STREAM_END_EVENT,
                              "a second document begins here; one is enough", err);
}

static bool read_text(struct config_reader *reader, const char *yaml, size_t size, const char *name,
                      struct error *err)
{
    struct walk walk = { .reader = reader };
    if (!yaml_events_init(&walk.events, &reader->source, yaml, size, err)) return false;
    const bool good = read_document(&walk, name, err);
    yaml_events_release(&walk.events);
    return good;
}

bool config_read_yaml(struct config_reader *reader, const char *yaml, size_t size,
                      struct error *err)
{
    return read_text(reader, yaml, size, "", err);
}

bool config_read_override(struct config_reader *reader, const char *override, struct error *err)
{
    const char *equals = strchr(override, '=');
    char name[KEY_MAX];
    if (!equals)
        return yaml_fail_at(&reader->source, 0, 0, err, "expected key=value, got '%.200s'",
                            override);
    snprintf(name, sizeof(name), "%.*s", (int)(equals - override), override);

    const struct walk walk = { .reader = reader };
    const char *pair;
    const int index = config_key_find(name), mapping = config_key_find_pair(name, &pair);
    if (mapping >= 0)
        return config_store_label(reader->config, &config_keys[mapping], pair, equals + 1, err) ||
               yaml_prefix(&reader->source, 0, 0, err);
    if (index < 0 && section_find(name) < 0)
        return fail_unknown(&walk, name, &(struct yaml_node) { 0 }, err);
    if (index < 0 || config_key_is_list(&config_keys[index]))
        return read_text(reader, equals + 1, strlen(equals + 1), name, err);

    reader->places[index] = (struct config_place) { .given = true };
    const struct config_key *key = &config_keys[index];
    const bool nothing = config_is_nothing(equals + 1);
    return (nothing ? config_store_nothing(reader->config, key, err)
                    : config_store(reader->config, key, equals + 1, reader->folder, err)) ||
           yaml_prefix(&reader->source, 0, 0, err);
}
