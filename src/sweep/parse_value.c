/* Values of a sweep's text, and the columns that they form. Each value is checked by the schema
 * where it stands. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"
#include "parse.h"

bool parse_kind(const struct sweep_parser *p, const struct yaml_tree *node, enum yaml_kind kind,
                const char *what, struct error *err)
{
    static const char *const wants[] = {
        [YAML_SCALAR] = "one value",
        [YAML_LIST] = "a list with something in it",
        [YAML_SECTION] = "a section of keys",
    };
    if (node->kind == kind && (kind == YAML_SCALAR || node->first)) return true;
    return yaml_fail_at(&p->source, node->line, node->column, err, "%s: expected %s", what,
                        wants[kind]);
}

bool parse_integer(const struct sweep_parser *p, const struct yaml_tree *node, const char *what,
                   int64_t min, int64_t max, int64_t *value, struct error *err)
{
    if (!parse_kind(p, node, YAML_SCALAR, what, err)) return false;
    const char *digits = node->text + (node->text[0] == '-');
    const bool whole = *digits && strlen(digits) < 18 &&
                       digits[strspn(digits, "0123456789")] == '\0';
    if (whole) *value = strtoll(node->text, NULL, 10);
    return (whole && *value >= min && *value <= max) ||
           yaml_fail_at(&p->source, node->line, node->column, err,
                        "%s: expected an integer from %" PRId64 " to %" PRId64 ", got '%.80s'",
                        what, min, max, node->text);
}

bool parse_number(const struct sweep_parser *p, const struct yaml_tree *node, const char *what,
                  double *value, struct error *err)
{
    char *end;
    if (!parse_kind(p, node, YAML_SCALAR, what, err)) return false;
    *value = strtod(node->text, &end);
    return (end != node->text && !*end && !node->text[strspn(node->text, "+-.0123456789eE")]) ||
           yaml_fail_at(&p->source, node->line, node->column, err,
                        "%s: expected a number, got '%.80s'", what, node->text);
}

bool parse_bool(const struct sweep_parser *p, const struct yaml_tree *node, const char *what,
                bool *value, struct error *err)
{
    if (!parse_kind(p, node, YAML_SCALAR, what, err)) return false;
    *value = strcmp(node->text, "true") == 0;
    return *value || strcmp(node->text, "false") == 0 ||
           yaml_fail_at(&p->source, node->line, node->column, err,
                        "%s: expected true or false, got '%.80s'", what, node->text);
}

static bool out_of_memory(struct error *err)
{
    return error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
}

/* "sweep.yaml:5:3", malloc'ed; NULL on the command line. */
static bool place_of(const struct sweep_parser *p, int line, int column, char **place,
                     struct error *err)
{
    *place = NULL;
    if (!p->source.name) return true;
    return asprintf(place, "%s:%d:%d", p->source.name, line, column) >= 0 || out_of_memory(err);
}

static bool is_key(const char *name)
{
    struct config_key_facts key;
    for (int i = 0; config_key_describe(i, &key); i++)
        if (strcmp(key.name, name) == 0) return true;
    return false;
}

struct sweep_column *parse_column(const struct sweep_parser *p, const struct yaml_tree *node,
                                  int axis, struct error *err)
{
    static const char *const own[] = { "name", "train.run", "train.resume" };
    struct sweep *sweep = p->sweep;
    const char *complaint = NULL;
    char suggested[CONFIG_VALUE_MAX], given[160], *place = NULL;
    for (size_t i = 0; i < COUNT_OF(own); i++)
        if (strcmp(node->key, own[i]) == 0) complaint = "is set by the sweep for each run";
    for (int i = 0; i < sweep->column_count; i++)
        if (strcmp(node->key, sweep->columns[i].key) == 0) complaint = "is given twice";
    if (sweep->column_count == SWEEP_COLUMNS_MAX) complaint = "is one key too many";
    if (complaint) {
        yaml_fail_at(&p->source, node->key_line, node->key_column, err, "%.100s: %s", node->key,
                     complaint);
        return NULL;
    }
    if (!place_of(p, node->key_line, node->key_column, &place, err)) return NULL;
    if (!is_key(node->key)) { /* the schema says so, with a suggestion */
        snprintf(given, sizeof given, "%.127s=", node->key);
        if (config_read_value(given, sweep->folder, place, suggested, err)) /* cut short, a key */
            yaml_fail_at(&p->source, node->key_line, node->key_column, err, "%.100s: unknown key",
                         node->key);
        free(place);
        return NULL;
    }
    struct sweep_column *column = &sweep->columns[sweep->column_count];
    *column = (struct sweep_column) { .key = strdup(node->key), .place = place, .axis = axis };
    sweep->column_count++;
    if (!column->key) out_of_memory(err);
    return column->key ? column : NULL;
}

/* "key=value" as on the command line, malloc'ed: a list is "key=[2, 3]". */
static char *override_of(const char *key, const struct yaml_tree *node)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    if (!stream) return NULL;
    fprintf(stream, "%s=", key);
    if (node->kind == YAML_SCALAR) fputs(node->text, stream);
    if (node->kind == YAML_LIST) {
        fputc('[', stream);
        for (const struct yaml_tree *item = node->first; item; item = item->next)
            fprintf(stream, "%s%s", item->kind == YAML_SCALAR ? item->text : "[]",
                    item->next ? ", " : "");
        fputc(']', stream);
    }
    return fclose(stream) == 0 ? text : NULL;
}

bool parse_one(const struct sweep_parser *p, const char *key, const struct yaml_tree *node,
               struct sweep_value *value, struct error *err)
{
    char *place, text[CONFIG_VALUE_MAX];
    *value = (struct sweep_value) { 0 };
    if (node->kind == YAML_SECTION)
        return yaml_fail_at(&p->source, node->line, node->column, err,
                            "%s: expected a value, got a section of keys", key);
    if (!place_of(p, node->line, node->column, &place, err)) return false;
    value->override = override_of(key, node);
    bool ok = value->override != NULL || out_of_memory(err);
    ok = ok && config_read_value(value->override, p->sweep->folder, place, text, err);
    ok = ok && ((value->value = strdup(text)) != NULL || out_of_memory(err));
    free(place);
    return ok;
}

bool parse_value(const struct sweep_parser *p, struct sweep_column *column,
                 const struct yaml_tree *node, struct error *err)
{
    struct sweep_value *grown = realloc(column->values,
                                        ((size_t)column->count + 1) * sizeof *grown);
    if (!grown) return out_of_memory(err);
    column->values = grown;
    return parse_one(p, column->key, node, &grown[column->count++], err);
}

bool parse_values(const struct sweep_parser *p, struct sweep_column *column,
                  const struct yaml_tree *list, struct error *err)
{
    if (!parse_kind(p, list, YAML_LIST, column->key, err)) return false;
    for (const struct yaml_tree *item = list->first; item; item = item->next) {
        if (column->count == SWEEP_RUNS_MAX)
            return yaml_fail_at(&p->source, item->line, item->column, err,
                                "%s: more than %d values", column->key, SWEEP_RUNS_MAX);
        if (!parse_value(p, column, item, err)) return false;
    }
    return true;
}
