/* libyaml's events. What configurations do not support is refused here, with its place. */
#include "yaml_events.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config_schema.h"

bool yaml_prefix(const struct yaml_source *source, int line, int column, struct error *err)
{
    if (source->name) return error_prefix(err, "%s:%d:%d", source->name, line, column);
    return error_prefix(err, "%s", source->origin ? source->origin : "command line");
}

bool yaml_fail_at(const struct yaml_source *source, int line, int column, struct error *err,
                  const char *format, ...)
{
    char message[sizeof(err->message)];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    error_set(err, EXIT_CODE_USAGE, "%s", message);
    return yaml_prefix(source, line, column, err);
}

static bool fail_parser(const struct yaml_events *events, struct error *err)
{
    const yaml_parser_t *parser = &events->parser;
    yaml_mark_t mark = parser->problem_mark;
    if (parser->error == YAML_READER_ERROR) mark = parser->mark;
    return yaml_fail_at(events->source, (int)mark.line + 1, (int)mark.column + 1, err,
                        "not valid YAML: %s%s%s",
                        parser->problem ? parser->problem : "out of memory",
                        parser->context ? " " : "", parser->context ? parser->context : "");
}

static bool copy_scalar(const struct yaml_events *events, const yaml_event_t *event,
                        struct yaml_node *node, struct error *err)
{
    const char *text = (const char *)event->data.scalar.value;
    const size_t length = event->data.scalar.length;
    if (length >= sizeof(node->text))
        return yaml_fail_at(events->source, node->line, node->column, err,
                            "a value of %zu bytes; the longest that is read has %zu", length,
                            sizeof(node->text) - 1);
    if (strlen(text) != length)
        return yaml_fail_at(events->source, node->line, node->column, err,
                            "a value with a NUL byte");
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

bool yaml_events_init(struct yaml_events *events, const struct yaml_source *source,
                      const char *yaml, size_t size, struct error *err)
{
    events->source = source;
    if (!yaml_parser_initialize(&events->parser))
        return error_set(err, EXIT_CODE_FAILED, "out of memory for the YAML parser");
    yaml_parser_set_input_string(&events->parser, (const unsigned char *)yaml, size);
    return true;
}

void yaml_events_release(struct yaml_events *events)
{
    yaml_parser_delete(&events->parser);
}

bool yaml_events_next(struct yaml_events *events, struct yaml_node *node, struct error *err)
{
    yaml_event_t event;
    *node = (struct yaml_node) { 0 };
    if (!yaml_parser_parse(&events->parser, &event)) return fail_parser(events, err);
    *node = (struct yaml_node) {
        .type = event.type,
        .line = (int)event.start_mark.line + 1,
        .column = (int)event.start_mark.column + 1,
    };
    bool good = true;
    const char *feature = refused_feature(&event);
    if (feature)
        good = yaml_fail_at(events->source, node->line, node->column, err,
                            "YAML %s are not supported; write the value out", feature);
    else if (event.type == YAML_SCALAR_EVENT)
        good = copy_scalar(events, &event, node, err);
    yaml_event_delete(&event);
    return good;
}

bool yaml_events_expect(struct yaml_events *events, yaml_event_type_t type, const char *otherwise,
                        struct error *err)
{
    struct yaml_node node;
    if (!yaml_events_next(events, &node, err)) return false;
    return node.type == type ||
           yaml_fail_at(events->source, node.line, node.column, err, "%s", otherwise);
}
