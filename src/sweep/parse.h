/* Parts of reading a sweep's text. */
#ifndef MICROMET_SWEEP_PARSE_H
#define MICROMET_SWEEP_PARSE_H

#include "micromet/base/yaml_tree.h"
#include "micromet/sweep/sweep.h"

struct sweep_parser {
    struct sweep *sweep;
    struct yaml_source source;
};

bool parse_kind(const struct sweep_parser *p, const struct yaml_tree *node, enum yaml_kind kind,
                const char *what, struct error *err);
bool parse_integer(const struct sweep_parser *p, const struct yaml_tree *node, const char *what,
                   int64_t min, int64_t max, int64_t *value, struct error *err);
bool parse_number(const struct sweep_parser *p, const struct yaml_tree *node, const char *what,
                  double *value, struct error *err);
bool parse_bool(const struct sweep_parser *p, const struct yaml_tree *node, const char *what,
                bool *value, struct error *err);

/* Add the column of a key on an axis; refuses what is no key, is there already, or is the sweep's
 * own. NULL on failure. */
struct sweep_column *parse_column(const struct sweep_parser *p, const struct yaml_tree *node,
                                  int axis, struct error *err);
/* Add a value to a column, after a check by the schema. */
bool parse_value(const struct sweep_parser *p, struct sweep_column *column,
                 const struct yaml_tree *node, struct error *err);
/* The same for all items of a list. */
bool parse_values(const struct sweep_parser *p, struct sweep_column *column,
                  const struct yaml_tree *list, struct error *err);
/* The value of a key out of the text, malloc'ed. */
bool parse_one(const struct sweep_parser *p, const char *key, const struct yaml_tree *node,
               struct sweep_value *value, struct error *err);
bool parse_random(const struct sweep_parser *p, const struct yaml_tree *section, struct error *err);

/* Make the runs. */
bool sweep_expand(struct sweep *sweep, struct error *err);
/* Of all that tells the run from others, or its configuration from others. */
uint64_t sweep_run_identity(const struct sweep *sweep, int run, bool repetitions);
/* Find out which runs are of one configuration. */
bool sweep_group(struct sweep *sweep, struct error *err);
/* Runs by identity, those of equal ones ascending. */
struct sweep_identity {
    uint64_t identity;
    int run;
};
bool sweep_identities(const struct sweep *sweep, bool repetitions, struct sweep_identity **sorted,
                      struct error *err); /* (run_count), malloc'ed */

#endif
