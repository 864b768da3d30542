/* A later text of a sweep: what it may have more, and the runs that this adds. */
#include <stdlib.h>
#include <string.h>

#include "parse.h"

/* --- what has changed ------------------------------------------------------------------------- */

/* What may differ below a node. */
enum growth {
    FIXED,
    OF_SWEEP,  /* its sections grid and random */
    OF_RANDOM, /* runs */
    OF_GRID,   /* the lists */
    OF_LIST,   /* it may have more items */
    OF_NUMBER, /* it may be larger */
};

static enum growth growth_below(enum growth growth, const char *key)
{
    if (growth == OF_GRID) return OF_LIST;
    if (growth == OF_RANDOM && strcmp(key, "runs") == 0) return OF_NUMBER;
    if (growth == OF_SWEEP && strcmp(key, "grid") == 0) return OF_GRID;
    if (growth == OF_SWEEP && strcmp(key, "random") == 0) return OF_RANDOM;
    return FIXED;
}

static bool is_same(const struct yaml_tree *a, const struct yaml_tree *b)
{
    if (a->kind != b->kind) return false;
    if (a->kind == YAML_SCALAR) return strcmp(a->text, b->text) == 0;
    const struct yaml_tree *x = a->first, *y = b->first;
    for (; x && y; x = x->next, y = y->next)
        if ((x->key && strcmp(x->key, y->key) != 0) || !is_same(x, y)) return false;
    return !x && !y;
}

static bool holds(const struct yaml_tree *list, const struct yaml_tree *item)
{
    for (const struct yaml_tree *other = list->first; other; other = other->next)
        if (is_same(other, item)) return true;
    return false;
}

/* Whether the node is as it was but for what it may have more. */
static bool has_grown(const struct yaml_tree *before, const struct yaml_tree *after,
                      enum growth growth)
{
    if (growth == OF_NUMBER && before->kind == YAML_SCALAR && after->kind == YAML_SCALAR)
        return atoi(after->text) >= atoi(before->text);
    if (growth != OF_LIST || before->kind != YAML_LIST || after->kind != YAML_LIST)
        return is_same(before, after);
    for (const struct yaml_tree *item = before->first; item; item = item->next)
        if (!holds(after, item)) return false;
    return true;
}

static bool fail_changed(const struct yaml_source *source, const struct yaml_tree *node,
                         const char *key, struct error *err)
{
    return yaml_fail_at(source, node->line, node->column, err,
                        "%.100s: is not as it was when the sweep's folder was made; to a sweep "
                        "that has begun more random.runs, or more values of a key in the grid, "
                        "may be added; for all else give another --out",
                        key);
}

/* Whether a section has the keys that it had, in their order, and no others. */
static bool check_section(const struct yaml_source *source, const struct yaml_tree *before,
                          const struct yaml_tree *after, enum growth growth, struct error *err)
{
    const struct yaml_tree *x = before->first, *y = after->first;
    for (; y; x = x ? x->next : NULL, y = y->next) {
        const enum growth below = growth_below(growth, y->key);
        if (!x || strcmp(x->key, y->key) != 0) return fail_changed(source, y, y->key, err);
        const bool sections = x->kind == YAML_SECTION && y->kind == YAML_SECTION;
        if (sections && (below == OF_GRID || below == OF_RANDOM)) {
            if (!check_section(source, x, y, below, err)) return false;
        } else if (!has_grown(x, y, below)) {
            return fail_changed(source, y, y->key, err);
        }
    }
    return !x || fail_changed(source, after, x->key, err);
}

static bool check_text(const char *earlier, size_t earlier_size, const char *yaml, size_t size,
                       const char *path, struct error *err)
{
    const struct yaml_source source = { .name = path };
    struct yaml_tree *before = NULL, *after = NULL;
    const bool ok = yaml_tree_read(&before, earlier, earlier_size, &source, err) &&
                    yaml_tree_read(&after, yaml, size, &source, err) &&
                    check_section(&source, before, after, OF_SWEEP, err);
    yaml_tree_free(before);
    yaml_tree_free(after);
    return ok;
}

/* --- the new runs ----------------------------------------------------------------------------- */

/* Mark the runs of `newer` that `sweep` has; it must have them all. */
static bool find_known(const struct sweep *sweep, const struct sweep *newer, bool *known,
                       struct error *err)
{
    struct sweep_identity *have = NULL, *all = NULL;
    bool ok = sweep_identities(sweep, true, &have, err) && sweep_identities(newer, true, &all, err);
    for (int i = 0, k = 0; ok && i < sweep->run_count; i++, k++) {
        while (k < newer->run_count && all[k].identity < have[i].identity) k++;
        ok = (k < newer->run_count && all[k].identity == have[i].identity) ||
             error_set(err, EXIT_CODE_USAGE, "run %04d would no longer be part of the sweep",
                       have[i].run);
        if (ok) known[all[k].run] = true;
    }
    free(have);
    free(all);
    return ok;
}

/* Move the runs that are not known behind those of `sweep`. */
static bool append(struct sweep *sweep, struct sweep *newer, const bool *known, struct error *err)
{
    struct sweep_run *grown = realloc(sweep->runs, (size_t)newer->run_count * sizeof *grown);
    if (!grown) return error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
    const int before = sweep->run_count;
    sweep->runs = grown;
    for (int run = 0; run < newer->run_count; run++) {
        if (known[run]) continue;
        grown[sweep->run_count++] = newer->runs[run];
        newer->runs[run] = (struct sweep_run) { 0 };
    }
    if (sweep->run_count > before) sweep->ends[sweep->generation_count++] = sweep->run_count;
    return sweep_group(sweep, err);
}

static bool merge(struct sweep *sweep, struct sweep *newer, struct error *err)
{
    bool *known = calloc((size_t)newer->run_count, sizeof *known);
    bool ok = known || error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
    ok = ok && find_known(sweep, newer, known, err) && append(sweep, newer, known, err);
    free(known);
    return ok;
}

bool sweep_extend(struct sweep *sweep, const char *earlier, size_t earlier_size, const char *yaml,
                  size_t size, const char *path, const char *folder, struct error *err)
{
    struct sweep newer;
    if (sweep->generation_count == SWEEP_GENERATIONS_MAX)
        return error_set(err, EXIT_CODE_USAGE, "the sweep has grown %d times; give another --out",
                         SWEEP_GENERATIONS_MAX - 1);
    if (!check_text(earlier, earlier_size, yaml, size, path, err)) return false;
    const bool ok = sweep_parse(&newer, yaml, size, path, folder, err) && merge(sweep, &newer, err);
    sweep_release(&newer);
    return ok;
}
