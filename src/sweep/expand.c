/* From the columns of a sweep to its runs. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/log.h"
#include "micromet/base/random.h"
#include "micromet/run/preflight.h"
#include "parse.h"

/* The key's value in random run `draw`, as text. Six digits are more than a sweep needs, and the
 * same with every C library's logarithm. */
static void draw_value(const struct sweep *sweep, const struct sweep_column *column, int draw,
                       char text[64])
{
    struct random random = random_init(sweep->seed, column->stream, (uint64_t)draw, RANDOM_SWEEP);
    const double min = column->min, max = column->max;
    if (column->draw == SWEEP_INT_UNIFORM) {
        const uint64_t steps = random_below(&random, (uint64_t)(max - min) + 1);
        snprintf(text, 64, "%" PRId64, (int64_t)min + (int64_t)steps);
        return;
    }
    const double unit = random_unit(&random);
    const double value = column->draw == SWEEP_LOG_UNIFORM
                             ? exp(log(min) + (log(max) - log(min)) * unit)
                             : min + (max - min) * unit;
    snprintf(text, 64, "%.6g", value);
    const double rounded = strtod(text, NULL);
    if (rounded < min) snprintf(text, 64, "%.17g", min);
    if (rounded > max) snprintf(text, 64, "%.17g", max);
}

static bool copy_value(struct sweep_value *to, const struct sweep_value *from, struct error *err)
{
    to->override = strdup(from->override);
    to->value = strdup(from->value);
    return (to->override && to->value) ||
           error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
}

/* The value of a column at this place of its axis. */
static bool value_at(const struct sweep *sweep, const struct sweep_column *column, int place,
                     struct sweep_value *value, struct error *err)
{
    char text[64], override[256], normal[CONFIG_VALUE_MAX];
    const struct sweep_value *listed = column->values;
    if (column->draw == SWEEP_LISTED) return copy_value(value, &listed[place], err);
    if (column->draw == SWEEP_CHOICE) {
        struct random random = random_init(sweep->seed, column->stream, (uint64_t)place,
                                           RANDOM_SWEEP);
        return copy_value(value, &listed[random_below(&random, (uint64_t)column->count)], err);
    }
    draw_value(sweep, column, place, text);
    snprintf(override, sizeof override, "%s=%s", column->key, text);
    return config_read_value(override, sweep->folder, column->place, normal, err) &&
           copy_value(value, &(struct sweep_value) { override, normal }, err);
}

static void release_run(const struct sweep *sweep, struct sweep_run *run)
{
    for (int i = 0; i < sweep->column_count; i++) {
        free(run->values[i].override);
        free(run->values[i].value);
    }
    *run = (struct sweep_run) { 0 };
}

static bool is_excluded(struct sweep *sweep, const struct sweep_run *run)
{
    for (int i = 0; i < sweep->exclude_count; i++) {
        struct sweep_exclude *exclude = &sweep->excludes[i];
        int met = 0;
        for (int k = 0; k < exclude->count; k++) {
            const struct sweep_condition *condition = &exclude->conditions[k];
            met += strcmp(run->values[condition->column].value, condition->value) == 0;
        }
        if (met < exclude->count) continue;
        exclude->met = true;
        return true;
    }
    return false;
}

/* Combination `number` of all places of all axes, the last axis varying first. */
static bool combine(const struct sweep *sweep, int64_t number, struct sweep_run *run,
                    struct error *err)
{
    int places[SWEEP_COLUMNS_MAX + 1];
    for (int axis = sweep->axis_count - 1; axis >= 0; axis--) {
        places[axis] = (int)(number % sweep->axes[axis]);
        number /= sweep->axes[axis];
    }
    for (int i = 0; i < sweep->column_count; i++) {
        const struct sweep_column *column = &sweep->columns[i];
        const int place = places[column->axis];
        if (column->draw != SWEEP_LISTED) run->draw = place;
        if (!value_at(sweep, column, place, &run->values[i], err)) return false;
    }
    return true;
}

bool sweep_expand(struct sweep *sweep, struct error *err)
{
    int64_t all = 1;
    for (int axis = 0; axis < sweep->axis_count && all <= SWEEP_RUNS_MAX; axis++)
        all *= sweep->axes[axis];
    if (all > SWEEP_RUNS_MAX)
        return error_set(err, EXIT_CODE_USAGE, "the sweep has more than %d runs", SWEEP_RUNS_MAX);
    sweep->runs = calloc((size_t)all, sizeof *sweep->runs);
    if (!sweep->runs) return error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
    for (int64_t number = 0; number < all; number++) {
        struct sweep_run *run = &sweep->runs[sweep->run_count];
        const bool ok = combine(sweep, number, run, err);
        if (ok && !is_excluded(sweep, run))
            sweep->run_count++;
        else
            release_run(sweep, run);
        if (!ok) return false;
    }
    for (int i = 0; i < sweep->exclude_count; i++)
        if (!sweep->excludes[i].met)
            log_warning("the sweep's exclude number %d leaves out no run", i + 1);
    sweep->ends[0] = sweep->run_count;
    sweep->generation_count = 1;
    if (sweep->run_count == 0)
        return error_set(err, EXIT_CODE_USAGE, "the sweep excludes all of its runs");
    return sweep_group(sweep, err);
}

void sweep_release(struct sweep *sweep)
{
    for (int i = 0; i < sweep->run_count; i++) release_run(sweep, &sweep->runs[i]);
    free(sweep->runs);
    for (int i = 0; i < sweep->column_count; i++) {
        struct sweep_column *column = &sweep->columns[i];
        for (int k = 0; k < column->count; k++) {
            free(column->values[k].override);
            free(column->values[k].value);
        }
        free(column->values);
        free(column->key);
        free(column->place);
    }
    for (int i = 0; i < sweep->exclude_count; i++)
        for (int k = 0; k < sweep->excludes[i].count; k++)
            free(sweep->excludes[i].conditions[k].value);
    free(sweep->excludes);
    *sweep = (struct sweep) { 0 };
}

bool sweep_configure(const struct sweep *sweep, int run, struct config *config, struct error *err)
{
    char *overrides[SWEEP_COLUMNS_MAX + 1], epochs[64];
    int count = 0;
    for (int i = 0; i < sweep->column_count; i++)
        overrides[count++] = sweep->runs[run].values[i].override;
    snprintf(epochs, sizeof epochs, "train.epochs=%d", sweep->halving.max_epochs);
    if (sweep->halving.max_epochs) overrides[count++] = epochs;
    if (config_load_from(config, sweep->base, sweep->folder, count, overrides, preflight_all, err))
        return true;
    return error_prefix(err, "run %04d", run);
}

int sweep_rung_count(const struct sweep *sweep)
{
    int count = 1;
    if (sweep->halving.max_epochs)
        while (sweep_rung_epochs(sweep, count - 1) < sweep->halving.max_epochs) count++;
    return count;
}

int sweep_rung_epochs(const struct sweep *sweep, int rung)
{
    int64_t epochs = sweep->halving.min_epochs;
    while (rung-- > 0 && epochs < sweep->halving.max_epochs) epochs *= sweep->halving.factor;
    return (int)(epochs < sweep->halving.max_epochs ? epochs : sweep->halving.max_epochs);
}

int sweep_rung_quota(const struct sweep *sweep, int rung, int configurations)
{
    while (rung-- > 0) configurations /= sweep->halving.factor;
    return configurations > 0 ? configurations : 1;
}

int sweep_rung_runs(const struct sweep *sweep, int rung)
{
    const int last = sweep->generation_count - 1;
    if (rung == 0) return sweep->run_count;
    return sweep_rung_quota(sweep, rung, sweep_configurations(sweep, last)) *
           sweep_repetitions(sweep);
}
