/* Parses YAML into the configuration. libyaml's events are matched against the schema table as they
 * arrive, without building a document tree, so every value is checked where it stands and errors
 * name its line and column. */
#include "config_schema.h"

#include <stdarg.h>
#include <string.h>
#include <yaml.h>

enum { KEY_MAX = 128 };

/* A copy of one libyaml event, so that error paths have nothing to free. */
struct node {
    yaml_event_type_t type;
    int line, column;
    bool nothing; /* a plain scalar that stands for no value, as in `data:` */
    char text[PATH_MAX_BYTES];
};

struct walk {
    struct config_reader *reader;
    yaml_parser_t parser;
    bool seen[CONFIG_KEYS_MAX];         /* by key */
    bool section_seen[CONFIG_KEYS_MAX]; /* by the section's first key */
};

__attribute__((format(printf, 5, 6))) static bool fail_at(const struct config_reader *reader,
                                                          int line, int column, struct error *err,
                                                          const char *format, ...)
{
    char message[sizeof(err->message)];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    error_set(err, EXIT_CODE_USAGE, "%s", message);
    if (reader->name) return error_prefix(err, "%s:%d:%d", reader->name, line, column);
    return error_prefix(err, "command line");
}

static bool fail_parser(const struct walk *walk, struct error *err)
{
    const yaml_parser_t *parser = &walk->parser;
    yaml_mark_t mark = parser->problem_mark;
    if (parser->error == YAML_READER_ERROR) mark = parser->mark;
    return fail_at(walk->reader, (int)mark.line + 1, (int)mark.column + 1, err,
                   "not valid YAML: %s%s%s", parser->problem ? parser->problem : "out of memory",
                   parser->context ? " " : "", parser->context ? parser->context : "");
}

static bool copy_scalar(const struct walk *walk, const yaml_event_t *event, struct node *node,
                        struct error *err)
{
    const char *text = (const char *)event->data.scalar.value;
    const size_t length = event->data.scalar.length;
    if (length >= sizeof(node->text))
        return fail_at(walk->reader, node->line, node->column, err,
                       "a value of %zu bytes; the longest that is read has %zu", length,
                       sizeof(node->text) - 1);
    if (strlen(text) != length)
        return fail_at(walk->reader, node->line, node->column, err, "a value with a NUL byte");
    memcpy(node->text, text, length + 1);
    node->nothing = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && config_is_nothing(text);
    return true;
}

/* YAML features that configurations do not support; NULL if the event uses none. */
static const char *refused_feature(const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return "aliases (*name)";
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        break;
    default:
        break;
    }
    return anchor ? "anchors (&name)" : tag ? "tags (!name)" : NULL;
}

static bool next_node(struct walk *walk, struct node *node, struct error *err)
{
    yaml_event_t event;
    *node = (struct node) { 0 };
    if (!yaml_parser_parse(&walk->parser, &event)) return fail_parser(walk, err);
    *node = (struct node) {
        .type = event.type,
        .line = (int)event.start_mark.line + 1,
        .column = (int)event.start_mark.column + 1,
    };
    bool good = true;
    const char *feature = refused_feature(&event);
    if (feature)
        good = fail_at(walk->reader, node->line, node->column, err,
                       "YAML %s are not supported; write the value out", feature);
    else if (event.type == YAML_SCALAR_EVENT)
        good = copy_scalar(walk, &event, node, err);
    yaml_event_delete(&event);
    return good;
}

static const char *node_describe(const struct node *node, char text[128])
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

static bool fail_unknown(const struct walk *walk, const char *name, const struct node *node,
                         struct error *err)
{
    char suggestion[SUGGESTION_MAX];
    config_suggest(name, suggestion);
    return fail_at(walk->reader, node->line, node->column, err, "%.100s: unknown key; %s", name,
                   *suggestion ? suggestion : "`micromet config --help` lists all keys");
}

/* Add the place to an error of config_store*(), which knows only the key. */
static bool fail_value(const struct walk *walk, const struct node *node, struct error *err)
{
    if (!walk->reader->name) return error_prefix(err, "command line");
    return error_prefix(err, "%s:%d:%d", walk->reader->name, node->line, node->column);
}

static bool fail_kind(const struct walk *walk, const char *name, const char *wants,
                      const struct node *node, struct error *err)
{
    char got[128];
    return fail_at(walk->reader, node->line, node->column, err, "%s: expected %s, got %s", name,
                   wants, node_describe(node, got));
}

static bool read_list(struct walk *walk, const struct config_key *key, const struct node *start,
                      struct error *err)
{
    struct config *config = walk->reader->config;
    for (int count = 0;; count++) {
        struct node item;
        if (!next_node(walk, &item, err)) return false;
        if (item.type == YAML_SEQUENCE_END_EVENT)
            return config_store_count(config, key, count, err) || fail_value(walk, start, err);
        if (item.type != YAML_SCALAR_EVENT)
            return fail_kind(walk, key->name, "an integer", &item, err);
        if (!config_store_item(config, key, count, item.text, err))
            return fail_value(walk, &item, err);
    }
}

static bool read_key(struct walk *walk, int index, const struct node *value, struct error *err)
{
    const struct config_key *key = &config_keys[index];
    struct config_reader *reader = walk->reader;
    reader->places[index] = (struct config_place) { 0 };
    if (reader->name) reader->places[index] = (struct config_place) { value->line, value->column };

    const bool list = config_key_is_list(key);
    if (value->nothing)
        return config_store_nothing(reader->config, key, err) || fail_value(walk, value, err);
    if (list && value->type == YAML_SEQUENCE_START_EVENT) return read_list(walk, key, value, err);
    if (list || value->type != YAML_SCALAR_EVENT)
        return fail_kind(walk, key->name, config_kind_wants(key), value, err);
    return config_store(reader->config, key, value->text, reader->folder, err) ||
           fail_value(walk, value, err);
}

static bool read_section(struct walk *walk, const char *section, struct error *err);

/* Read the value of `name`, whose first event is `value`. */
static bool read_entry(struct walk *walk, const char *name, const struct node *value,
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
        struct node key, value;
        if (!next_node(walk, &key, err)) return false;
        if (key.type == YAML_MAPPING_END_EVENT) return true;
        if (key.type != YAML_SCALAR_EVENT)
            return fail_at(walk->reader, key.line, key.column, err,
                           "a key must be one word, not a list or a section");

        char name[KEY_MAX];
        const int length = snprintf(name, sizeof(name), "%s%s%s", section, *section ? "." : "",
                                    key.text);
        const int index = config_key_find(name), first = section_find(name);
        if (length >= KEY_MAX || (index < 0 && first < 0))
            return fail_unknown(walk, name, &key, err);
        bool *seen = index >= 0 ? &walk->seen[index] : &walk->section_seen[first];
        if (*seen)
            return fail_at(walk->reader, key.line, key.column, err, "%s: is given twice", name);
        *seen = true;

        if (!next_node(walk, &value, err) || !read_entry(walk, name, &value, err)) return false;
    }
}

static bool expect(struct walk *walk, yaml_event_type_t type, const char *otherwise,
                   struct error *err)
{
    struct node node;
    if (!next_node(walk, &node, err)) return false;
    return node.type == type || fail_at(walk->reader, node.line, node.column, err, "%s", otherwise);
}

/* Read one document: the value of `name`, or the top level if name is "". */
static bool read_document(struct walk *walk, const char *name, struct error *err)
{
    struct node node;
    if (!expect(walk, YAML_STREAM_START_EVENT, "not valid YAML", err)) return false;
    if (!next_node(walk, &node, err)) return false;
    if (node.type == YAML_STREAM_END_EVENT) return true;

    if (!next_node(walk, &node, err)) return false;
    if (*name) {
        if (!read_entry(walk, name, &node, err)) return false;
    } else if (node.type == YAML_MAPPING_START_EVENT) {
        if (!read_section(walk, "", err)) return false;
    } else if (!node.nothing) {
        return fail_kind(walk, "the file", "a section of keys", &node, err);
    }
    return expect(walk, YAML_DOCUMENT_END_EVENT, "not valid YAML", err) &&
           expect(walk, YAML_STREAM_END_EVENT, "a second document begins here; one is enough", err);
}

static bool read_text(struct config_reader *reader, const char *yaml, size_t size, const char *name,
                      struct error *err)
{
    struct walk walk = { .reader = reader };
    if (!yaml_parser_initialize(&walk.parser))
        return error_set(err, EXIT_CODE_FAILED, "out of memory for the YAML parser");
    yaml_parser_set_input_string(&walk.parser, (const unsigned char *)yaml, size);
    const bool good = read_document(&walk, name, err);
    yaml_parser_delete(&walk.parser);
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
        return error_set(err, EXIT_CODE_USAGE, "command line: expected key=value, got '%.200s'",
                         override);
    snprintf(name, sizeof(name), "%.*s", (int)(equals - override), override);

    const struct walk walk = { .reader = reader };
    const int index = config_key_find(name);
    if (index < 0 && section_find(name) < 0)
        return fail_unknown(&walk, name, &(struct node) { 0 }, err);
    if (index < 0 || config_key_is_list(&config_keys[index]))
        return read_text(reader, equals + 1, strlen(equals + 1), name, err);

    reader->places[index] = (struct config_place) { 0 };
    const struct config_key *key = &config_keys[index];
    const bool nothing = config_is_nothing(equals + 1);
    return (nothing ? config_store_nothing(reader->config, key, err)
                    : config_store(reader->config, key, equals + 1, reader->folder, err)) ||
           error_prefix(err, "command line");
}
