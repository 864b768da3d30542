/* Reads a sweep's text: one function for each of its sections. */
#include "parse.h"

#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"
#include "micromet/base/text.h"

typedef bool (*section_reader)(const struct sweep_parser *p, const struct yaml_tree *node,
                               struct error *err);

static bool read_base(const struct sweep_parser *p, const struct yaml_tree *node, struct error *err)
{
    struct sweep *sweep = p->sweep;
    char expanded[PATH_MAX_BYTES];
    struct error cause = { 0 };
    if (!parse_kind(p, node, YAML_SCALAR, "base", err)) return false;
    if (path_expand(expanded, node->text, &cause) &&
        path_join(sweep->base, sweep->folder, expanded, &cause))
        return true;
    return yaml_fail_at(&p->source, node->line, node->column, err, "base: %.900s", cause.message);
}

static bool read_name(const struct sweep_parser *p, const struct yaml_tree *node, struct error *err)
{
    char *name = p->sweep->name;
    if (!parse_kind(p, node, YAML_SCALAR, "name", err)) return false;
    if (!*node->text || strchr(node->text, '/') || node->text[0] == '.' ||
        strlen(node->text) >= sizeof p->sweep->name)
        return yaml_fail_at(&p->source, node->line, node->column, err,
                            "name: '%.80s' is not a plain folder name", node->text);
    strcpy(name, node->text);
    return true;
}

static bool read_metric(const struct sweep_parser *p, const struct yaml_tree *node,
                        struct error *err)
{
    static const char *const goals[] = { "minimize", "maximize" };
    struct sweep *sweep = p->sweep;
    struct error cause = { 0 };
    if (!parse_kind(p, node, YAML_SECTION, "metric", err))
        return error_append(err, " such as {name: validation.auc, goal: maximize}");
    for (const struct yaml_tree *key = node->first; key; key = key->next) {
        if (!parse_kind(p, key, YAML_SCALAR, key->key, err)) return false;
        if (strcmp(key->key, "name") != 0) continue;
        sweep->metric = metric_find(key->text, &cause);
        if (!sweep->metric)
            return yaml_fail_at(&p->source, key->line, key->column, err, "metric.name: %s",
                                cause.message);
        sweep->maximize = sweep->metric->maximize;
    }
    for (const struct yaml_tree *key = node->first; key; key = key->next) {
        if (strcmp(key->key, "name") == 0) continue;
        if (strcmp(key->key, "goal") != 0)
            return yaml_fail_at(&p->source, key->key_line, key->key_column, err,
                                "metric: has no `%.80s`; it has name and goal", key->key);
        sweep->maximize = strcmp(key->text, goals[1]) == 0;
        if (!sweep->maximize && strcmp(key->text, goals[0]) != 0)
            return yaml_fail_at(&p->source, key->line, key->column, err,
                                "metric.goal: '%.80s' is neither %s nor %s", key->text, goals[0],
                                goals[1]);
    }
    return true;
}

static bool refuse_repeated(const struct sweep_parser *p, const struct sweep_column *column,
                            const struct yaml_tree *list, struct error *err)
{
    const struct yaml_tree *item = list->first;
    for (int i = 0; i < column->count; i++, item = item->next)
        for (int k = 0; k < i; k++)
            if (strcmp(column->values[i].value, column->values[k].value) == 0)
                return yaml_fail_at(&p->source, item->line, item->column, err,
                                    "%s: %.80s stands in the list twice", column->key,
                                    column->values[i].value);
    return true;
}

/* Each key an axis of its own: all combinations. */
static bool read_product(const struct sweep_parser *p, const struct yaml_tree *node,
                         struct error *err)
{
    struct sweep *sweep = p->sweep;
    if (!parse_kind(p, node, YAML_SECTION, node->key, err)) return false;
    for (const struct yaml_tree *key = node->first; key; key = key->next) {
        struct sweep_column *column = parse_column(p, key, sweep->axis_count, err);
        if (!column || !parse_values(p, column, key, err) || !refuse_repeated(p, column, key, err))
            return false;
        sweep->axes[sweep->axis_count++] = column->count;
    }
    return true;
}

static bool read_repeat(const struct sweep_parser *p, const struct yaml_tree *node,
                        struct error *err)
{
    struct sweep *sweep = p->sweep;
    const int first = sweep->column_count;
    if (!read_product(p, node, err)) return false;
    for (int i = first; i < sweep->column_count; i++) sweep->columns[i].repeated = true;
    return true;
}

/* Two places of an axis at which all of its keys have the same values. */
static bool refuse_repeated_row(const struct sweep_parser *p, const struct yaml_tree *node,
                                int axis, struct error *err)
{
    const struct sweep *sweep = p->sweep;
    for (int i = 0; i < sweep->axes[axis]; i++)
        for (int k = 0; k < i; k++) {
            bool same = true;
            for (int c = 0; c < sweep->column_count && same; c++) {
                const struct sweep_column *column = &sweep->columns[c];
                same = column->axis != axis ||
                       strcmp(column->values[i].value, column->values[k].value) == 0;
            }
            if (same)
                return yaml_fail_at(&p->source, node->line, node->column, err,
                                    "paired: the values at places %d and %d are the same", k + 1,
                                    i + 1);
        }
    return true;
}

/* All keys on one axis: the first values, the second values, ... */
static bool read_paired(const struct sweep_parser *p, const struct yaml_tree *node,
                        struct error *err)
{
    struct sweep *sweep = p->sweep;
    const int axis = sweep->axis_count++;
    if (!parse_kind(p, node, YAML_SECTION, "paired", err)) return false;
    for (const struct yaml_tree *key = node->first; key; key = key->next) {
        struct sweep_column *column = parse_column(p, key, axis, err);
        if (!column || !parse_values(p, column, key, err)) return false;
        if (!sweep->axes[axis]) sweep->axes[axis] = column->count;
        if (sweep->axes[axis] != column->count)
            return yaml_fail_at(&p->source, key->line, key->column, err,
                                "%s: %d values, but the keys that it is paired with have %d",
                                column->key, column->count, sweep->axes[axis]);
    }
    return node->first
               ? refuse_repeated_row(p, node, axis, err)
               : yaml_fail_at(&p->source, node->line, node->column, err, "paired: names no key");
}

static bool read_random(const struct sweep_parser *p, const struct yaml_tree *node,
                        struct error *err)
{
    return parse_kind(p, node, YAML_SECTION, "random", err) && parse_random(p, node, err);
}

static bool read_condition(const struct sweep_parser *p, const struct yaml_tree *node,
                           struct sweep_exclude *exclude, struct error *err)
{
    const struct sweep *sweep = p->sweep;
    struct sweep_value value;
    int column = 0;
    while (column < sweep->column_count && strcmp(sweep->columns[column].key, node->key) != 0)
        column++;
    if (column == sweep->column_count)
        return yaml_fail_at(&p->source, node->key_line, node->key_column, err,
                            "exclude: %.100s is no key that this sweep varies", node->key);
    const bool ok = parse_one(p, node->key, node, &value, err);
    free(value.override);
    exclude->conditions[exclude->count++] = (struct sweep_condition) { column, value.value };
    return ok;
}

static bool read_excludes(const struct sweep_parser *p, const struct yaml_tree *list,
                          struct error *err)
{
    struct sweep *sweep = p->sweep;
    if (!parse_kind(p, list, YAML_LIST, "exclude", err))
        return error_append(err, " such as [{train.batch: 32}]");
    sweep->excludes = calloc(SWEEP_EXCLUDES_MAX, sizeof *sweep->excludes);
    if (!sweep->excludes) return error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
    for (const struct yaml_tree *item = list->first; item; item = item->next) {
        if (!parse_kind(p, item, YAML_SECTION, "exclude", err)) return false;
        if (!item->first || sweep->exclude_count == SWEEP_EXCLUDES_MAX)
            return yaml_fail_at(&p->source, item->line, item->column, err, "exclude: %s",
                                item->first ? "too many" : "nothing is named");
        struct sweep_exclude *exclude = &sweep->excludes[sweep->exclude_count++];
        for (const struct yaml_tree *key = item->first; key; key = key->next)
            if (!read_condition(p, key, exclude, err)) return false;
    }
    return true;
}

static bool read_halving(const struct sweep_parser *p, const struct yaml_tree *node,
                         struct error *err)
{
    struct sweep *sweep = p->sweep;
    int64_t min = 1, max = 0, factor = 3;
    const struct {
        const char *name;
        int64_t *field, least;
    } keys[] = { { "min_epochs", &min, 1 }, { "max_epochs", &max, 1 }, { "factor", &factor, 2 } };
    if (!parse_kind(p, node, YAML_SECTION, "halving", err)) return false;
    for (const struct yaml_tree *key = node->first; key; key = key->next) {
        size_t i = 0;
        if (strcmp(key->key, "asynchronous") == 0) {
            if (!parse_bool(p, key, "asynchronous", &sweep->halving.asynchronous, err))
                return false;
            continue;
        }
        while (i < COUNT_OF(keys) && strcmp(keys[i].name, key->key) != 0) i++;
        if (i == COUNT_OF(keys))
            return yaml_fail_at(&p->source, key->key_line, key->key_column, err,
                                "halving: has no `%.80s`; it has min_epochs, max_epochs, factor "
                                "and asynchronous",
                                key->key);
        if (!parse_integer(p, key, key->key, keys[i].least, 1000000, keys[i].field, err))
            return false;
    }
    if (max < min)
        return yaml_fail_at(&p->source, node->line, node->column, err, "halving: max_epochs %s",
                            max ? "is below min_epochs" : "is missing: epochs of the last rung");
    for (int i = 0; i < sweep->column_count; i++)
        if (strcmp(sweep->columns[i].key, "train.epochs") == 0)
            return yaml_fail_at(&p->source, node->line, node->column, err,
                                "halving: max_epochs is train.epochs of every run; leave "
                                "train.epochs out of the other sections");
    sweep->halving.min_epochs = (int)min;
    sweep->halving.max_epochs = (int)max;
    sweep->halving.factor = (int)factor;
    return true;
}

/* In the order in which they are read, which is that of the axes. */
static const struct section {
    const char *name;
    section_reader read;
} sections[] = {
    { "base", read_base },     { "name", read_name },        { "metric", read_metric },
    { "random", read_random }, { "grid", read_product },     { "paired", read_paired },
    { "repeat", read_repeat }, { "exclude", read_excludes }, { "halving", read_halving },
};

/* What other programs call them. */
static const struct hint {
    const char *name, *means;
} hints[] = {
    { "method", "the sections say it: grid, random, paired" },
    { "parameters", "values to combine go into `grid`, distributions into `random`" },
    { "early_terminate", "halving: {min_epochs: 1, max_epochs: 9, factor: 3}" },
    { "command", "every run is a `micromet train`" },
    { "program", "every run is a `micromet train`" },
};

static bool fail_unknown(const struct sweep_parser *p, const struct yaml_tree *node,
                         struct error *err)
{
    struct text_nearest nearest = text_nearest_init(node->key);
    const char *help = NULL;
    for (size_t i = 0; i < COUNT_OF(sections); i++) text_nearest_offer(&nearest, sections[i].name);
    for (size_t i = 0; i < COUNT_OF(hints); i++)
        if (strcmp(hints[i].name, node->key) == 0) help = hints[i].means;
    yaml_fail_at(&p->source, node->key_line, node->key_column, err,
                 "%.100s: a sweep has no such section", node->key);
    if (help) return error_append(err, "; %s", help);
    return nearest.best[0] ? error_append(err, "; did you mean %s?", nearest.best) : false;
}

static bool read_all(const struct sweep_parser *p, const struct yaml_tree *tree, struct error *err)
{
    if (!parse_kind(p, tree, YAML_SECTION, "the file", err)) return false;
    if (!yaml_tree_find(tree, "base"))
        return yaml_fail_at(&p->source, tree->line, tree->column, err,
                            "no sweep: `base`, the configuration of all runs, is missing; to vary "
                            "the keys of a configuration, write key=value,value behind it");
    for (const struct yaml_tree *node = tree->first; node; node = node->next) {
        bool known = false;
        for (size_t i = 0; i < COUNT_OF(sections); i++)
            known = known || strcmp(node->key, sections[i].name) == 0;
        if (!known) return fail_unknown(p, node, err);
    }
    for (size_t i = 0; i < COUNT_OF(sections); i++) {
        const struct yaml_tree *node = yaml_tree_find(tree, sections[i].name);
        if (node && !sections[i].read(p, node, err)) return false;
    }
    return p->sweep->column_count > 0 ||
           yaml_fail_at(&p->source, tree->line, tree->column, err,
                        "no key varies: give it a grid, random, paired or repeat");
}

bool sweep_parse(struct sweep *sweep, const char *yaml, size_t size, const char *path,
                 const char *folder, struct error *err)
{
    const struct sweep_parser parser = { .sweep = sweep, .source = { .name = path } };
    struct error none = { 0 };
    struct yaml_tree *tree;
    *sweep = (struct sweep) { .metric = metric_find("validation.auc", &none) };
    sweep->maximize = sweep->metric->maximize;
    snprintf(sweep->folder, sizeof sweep->folder, "%s", folder);
    if (!yaml_tree_read(&tree, yaml, size, &parser.source, err)) return false;
    const bool ok = read_all(&parser, tree, err) && sweep_expand(sweep, err);
    yaml_tree_free(tree);
    return ok;
}

bool sweep_is_sweep(const char *yaml, size_t size)
{
    const struct yaml_source source = { 0 };
    struct error ignored = { 0 };
    struct yaml_tree *tree;
    if (!yaml_tree_read(&tree, yaml, size, &source, &ignored)) return false;
    const bool has_base = tree->kind == YAML_SECTION && yaml_tree_find(tree, "base");
    yaml_tree_free(tree);
    return has_base;
}
