/* Builds the tree from libyaml's events. */
#include "micromet/base/yaml_tree.h"

#include <stdlib.h>
#include <string.h>

#include "yaml_events.h"

enum { DEPTH_MAX = 16 };

void yaml_tree_free(struct yaml_tree *tree)
{
    while (tree) {
        struct yaml_tree *next = tree->next;
        yaml_tree_free(tree->first);
        free(tree->text);
        free(tree->key);
        free(tree);
        tree = next;
    }
}

const struct yaml_tree *yaml_tree_find(const struct yaml_tree *section, const char *key)
{
    for (const struct yaml_tree *child = section->first; child; child = child->next)
        if (strcmp(child->key, key) == 0) return child;
    return NULL;
}

static bool out_of_memory(struct error *err)
{
    return error_set(err, EXIT_CODE_FAILED, "out of memory for a file of YAML");
}

static bool read_children(struct yaml_events *events, struct yaml_tree *parent, int depth,
                          struct error *err);

/* Append the node that begins with this event, and all that is in it, at *link. */
static bool read_node(struct yaml_events *events, const struct yaml_node *start, int depth,
                      struct yaml_tree **link, struct error *err)
{
    struct yaml_tree *node = *link = calloc(1, sizeof *node);
    if (!node) return out_of_memory(err);
    node->line = start->line;
    node->column = start->column;
    node->nothing = start->nothing;
    if (start->type == YAML_SCALAR_EVENT)
        return (node->text = strdup(start->text)) != NULL || out_of_memory(err);
    node->kind = start->type == YAML_SEQUENCE_START_EVENT ? YAML_LIST : YAML_SECTION;
    if (depth == DEPTH_MAX)
        return yaml_fail_at(events->source, start->line, start->column, err,
                            "lists and sections are nested deeper than %d", DEPTH_MAX);
    return read_children(events, node, depth + 1, err);
}

static bool read_children(struct yaml_events *events, struct yaml_tree *parent, int depth,
                          struct error *err)
{
    const bool section = parent->kind == YAML_SECTION;
    for (struct yaml_tree **link = &parent->first;; link = &(*link)->next) {
        struct yaml_node key, value;
        if (!yaml_events_next(events, &key, err)) return false;
        if (key.type == YAML_MAPPING_END_EVENT || key.type == YAML_SEQUENCE_END_EVENT) return true;
        if (!section) {
            if (!read_node(events, &key, depth, link, err)) return false;
            continue;
        }
        if (key.type != YAML_SCALAR_EVENT)
            return yaml_fail_at(events->source, key.line, key.column, err,
                                "a key must be one word, not a list or a section");
        if (yaml_tree_find(parent, key.text))
            return yaml_fail_at(events->source, key.line, key.column, err, "%.100s: is given twice",
                                key.text);
        char *name = strdup(key.text);
        const bool read = name && yaml_events_next(events, &value, err) &&
                          read_node(events, &value, depth, link, err);
        if (!*link) { /* nobody else has the name */
            free(name);
            return name ? false : out_of_memory(err);
        }
        (*link)->key = name;
        (*link)->key_line = key.line;
        (*link)->key_column = key.column;
        if (!read) return false;
    }
}

static bool read_document(struct yaml_events *events, struct yaml_tree **tree, struct error *err)
{
    struct yaml_node node;
    if (!yaml_events_expect(events, YAML_STREAM_START_EVENT, "not valid YAML", err) ||
        !yaml_events_next(events, &node, err))
        return false;
    if (node.type == YAML_STREAM_END_EVENT) {
        *tree = calloc(1, sizeof **tree);
        if (!*tree) return out_of_memory(err);
        **tree = (struct yaml_tree) { .kind = YAML_SECTION, .line = 1, .column = 1 };
        return true;
    }
    return yaml_events_next(events, &node, err) && read_node(events, &node, 0, tree, err) &&
           yaml_events_expect(events, YAML_DOCUMENT_END_EVENT, "not valid YAML", err) &&
           yaml_events_expect(events, YAML_STREAM_END_EVENT,
                              "a second document begins here; one is enough", err);
}

bool yaml_tree_read(struct yaml_tree **tree, const char *yaml, size_t size,
                    const struct yaml_source *source, struct error *err)
{
    struct yaml_events events;
    *tree = NULL;
    if (!yaml_events_init(&events, source, yaml, size, err)) return false;
    const bool good = read_document(&events, tree, err);
    yaml_events_release(&events);
    if (good) return true;
    yaml_tree_free(*tree);
    *tree = NULL;
    return false;
}
