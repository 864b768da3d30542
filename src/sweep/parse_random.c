/* The section `random`: keys whose values are drawn, by the distributions of W&B. */
#include <math.h>
#include <string.h>

#include "micromet/base/size.h"
#include "parse.h"

static const struct distribution {
    const char *name;
    enum sweep_draw draw;
    const char *needs[2]; /* keys that it has, and no others */
} distributions[] = {
    { "constant", SWEEP_CHOICE, { "value" } },
    { "choice", SWEEP_CHOICE, { "values" } },
    { "categorical", SWEEP_CHOICE, { "values" } },
    { "values", SWEEP_CHOICE, { "values" } },
    { "uniform", SWEEP_UNIFORM, { "min", "max" } },
    { "int_uniform", SWEEP_INT_UNIFORM, { "min", "max" } },
    { "log_uniform_values", SWEEP_LOG_UNIFORM, { "min", "max" } },
};

static bool is_whole(const struct yaml_tree *node)
{
    return node && node->text && !node->text[strspn(node->text, "-+0123456789")];
}

/* The distribution that is named, or the one that W&B takes where none is. */
static const char *name_of(const struct yaml_tree *section)
{
    const struct yaml_tree *named = yaml_tree_find(section, "distribution");
    if (named) return named->text ? named->text : "";
    if (yaml_tree_find(section, "value")) return "constant";
    if (yaml_tree_find(section, "values")) return "choice";
    return is_whole(yaml_tree_find(section, "min")) && is_whole(yaml_tree_find(section, "max"))
               ? "int_uniform"
               : "uniform";
}

static bool find_distribution(const struct sweep_parser *p, const struct yaml_tree *node,
                              const struct distribution **found, struct error *err)
{
    const char *name = name_of(node);
    char all[256] = "";
    for (size_t i = 0; i < COUNT_OF(distributions); i++) {
        *found = &distributions[i];
        if (strcmp(name, distributions[i].name) == 0) return true;
        const size_t length = strlen(all);
        snprintf(all + length, sizeof all - length, "%s%s", i ? ", " : "", distributions[i].name);
    }
    return yaml_fail_at(&p->source, node->line, node->column, err,
                        "%s: '%.80s' is no distribution of %s", node->key, name, all);
}

/* The distribution's keys are all there, and no others. */
static bool check_keys(const struct sweep_parser *p, const struct yaml_tree *node,
                       const struct distribution *distribution, struct error *err)
{
    for (size_t i = 0; i < COUNT_OF(distribution->needs) && distribution->needs[i]; i++)
        if (!yaml_tree_find(node, distribution->needs[i]))
            return yaml_fail_at(&p->source, node->line, node->column, err, "%s: %s needs `%s`",
                                node->key, distribution->name, distribution->needs[i]);
    for (const struct yaml_tree *key = node->first; key; key = key->next) {
        bool known = strcmp(key->key, "distribution") == 0;
        for (size_t i = 0; i < COUNT_OF(distribution->needs) && distribution->needs[i]; i++)
            known = known || strcmp(key->key, distribution->needs[i]) == 0;
        if (!known)
            return yaml_fail_at(&p->source, key->key_line, key->key_column, err,
                                "%s: %s has no `%.80s`", node->key, distribution->name, key->key);
    }
    return true;
}

static bool read_range(const struct sweep_parser *p, struct sweep_column *column,
                       const struct yaml_tree *node, struct error *err)
{
    const struct yaml_tree *ends[] = { yaml_tree_find(node, "min"), yaml_tree_find(node, "max") };
    double *const fields[] = { &column->min, &column->max };
    for (int i = 0; i < 2; i++) {
        int64_t whole;
        if (!parse_number(p, ends[i], node->key, fields[i], err) ||
            (column->draw == SWEEP_INT_UNIFORM &&
             !parse_integer(p, ends[i], node->key, -(1LL << 53), 1LL << 53, &whole, err)) ||
            !parse_value(p, column, ends[i], err)) /* the schema allows both ends */
            return false;
    }
    if (column->draw == SWEEP_LOG_UNIFORM && column->min <= 0)
        return yaml_fail_at(&p->source, ends[0]->line, ends[0]->column, err,
                            "%s: the logarithm needs a min above 0", node->key);
    return column->min <= column->max || yaml_fail_at(&p->source, ends[1]->line, ends[1]->column,
                                                      err, "%s: max is below min", node->key);
}

static bool read_key(const struct sweep_parser *p, const struct yaml_tree *node, uint32_t stream,
                     int axis, struct error *err)
{
    const struct distribution *distribution;
    if (!parse_kind(p, node, YAML_SECTION, node->key, err))
        return error_append(err, " such as {values: [1, 2]} or {min: 1, max: 2}");
    if (!find_distribution(p, node, &distribution, err) || !check_keys(p, node, distribution, err))
        return false;
    struct sweep_column *column = parse_column(p, node, axis, err);
    if (!column) return false;
    column->draw = distribution->draw;
    column->stream = stream;
    if (distribution->draw != SWEEP_CHOICE) return read_range(p, column, node, err);
    const struct yaml_tree *one = yaml_tree_find(node, "value");
    return one ? parse_value(p, column, one, err)
               : parse_values(p, column, yaml_tree_find(node, "values"), err);
}

bool parse_random(const struct sweep_parser *p, const struct yaml_tree *section, struct error *err)
{
    struct sweep *sweep = p->sweep;
    const struct yaml_tree *runs = yaml_tree_find(section, "runs");
    const int axis = sweep->axis_count++;
    int64_t count = 0, seed = 1;
    uint32_t stream = 0;
    if (!runs)
        return yaml_fail_at(&p->source, section->line, section->column, err,
                            "random: `runs`, their number, is missing");
    if (!parse_integer(p, runs, "random.runs", 1, SWEEP_RUNS_MAX, &count, err)) return false;
    for (const struct yaml_tree *node = section->first; node; node = node->next) {
        if (node == runs) continue;
        const bool is_seed = strcmp(node->key, "seed") == 0 && node->kind == YAML_SCALAR;
        if (is_seed ? !parse_integer(p, node, "random.seed", 0, INT64_MAX, &seed, err)
                    : !read_key(p, node, stream++, axis, err))
            return false;
    }
    sweep->seed = (uint64_t)seed;
    sweep->axes[axis] = (int)count;
    return stream > 0 || yaml_fail_at(&p->source, section->line, section->column, err,
                                      "random: names no key to draw");
}
