/* YAML as a tree whose every node knows its place in the file, for files that are no configuration
 * but are read, and complained of, in the same way. Aliases, anchors and tags are refused. */
#ifndef MICROMET_BASE_YAML_TREE_H
#define MICROMET_BASE_YAML_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "micromet/base/error.h"

/* Where a text of YAML comes from, for messages. */
struct yaml_source {
    const char *name;   /* the file's, which line and column follow; NULL = no file, but this: */
    const char *origin; /* NULL = "command line" */
};
/* Put the place before the message of an error. Always returns false. */
bool yaml_prefix(const struct yaml_source *source, int line, int column, struct error *err);
/* A usage error at this place. Always returns false. */
bool yaml_fail_at(const struct yaml_source *source, int line, int column, struct error *err,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_SECTION };

struct yaml_tree {
    enum yaml_kind kind;
    int line, column;
    char *text;   /* a scalar's */
    bool nothing; /* a plain scalar that stands for no value, as in `data:` */
    char *key;    /* in a section */
    int key_line, key_column;
    struct yaml_tree *first, *next; /* children; the node's next sibling */
};

/* Read one document. An empty one is a section without keys; a key that is given twice is an error.
 * The tree is malloc'ed: yaml_tree_free(). */
bool yaml_tree_read(struct yaml_tree **tree, const char *yaml, size_t size,
                    const struct yaml_source *source, struct error *err);
void yaml_tree_free(struct yaml_tree *tree); /* may be NULL */

/* The section's value of this key, or NULL. */
const struct yaml_tree *yaml_tree_find(const struct yaml_tree *section, const char *key);

#endif
