/* What the page of a report shows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"
#include "micromet/format/json.h"
#include "report_parts.h"

/* The page holds at most so many validations of a run, and about so many in all. */
enum { RUN_POINTS_MAX = 1000, POINTS_MAX = 200000, CONFIG_BYTES_MAX = 1 << 20 };

static json_t *key_objects(const struct sweep *sweep)
{
    json_t *keys = json_array();
    for (int i = 0; i < sweep->column_count; i++) {
        const struct sweep_column *column = &sweep->columns[i];
        const bool uniform = column->draw == SWEEP_UNIFORM || column->draw == SWEEP_INT_UNIFORM;
        json_array_append_new(keys, json_pack("{s:s, s:b, s:b}", "name", column->key, "uniform",
                                              uniform, "repeated", column->repeated));
    }
    return keys;
}

/* Epochs of each rung; none without halving. */
static json_t *rung_numbers(const struct sweep *sweep)
{
    json_t *rungs = json_array();
    for (int rung = 0; sweep->halving.max_epochs && rung < sweep_rung_count(sweep); rung++)
        json_array_append_new(rungs, json_integer(sweep_rung_epochs(sweep, rung)));
    return rungs;
}

/* Each `every`th validation, and the last. */
static json_t *curves_object(const struct report *report, const struct report_run *run)
{
    const int runs = report->folder->sweep.run_count, count = run->validation_count;
    const int share = POINTS_MAX / runs < RUN_POINTS_MAX ? POINTS_MAX / runs : RUN_POINTS_MAX;
    const int every = count ? CEIL_DIV(count, share) : 1;
    json_t *epoch = json_array(), *auc = json_array(), *loss = json_array(),
           *train_loss = json_array();
    for (int i = 0; i < count; i++) {
        const struct validation *validation = &run->validations[i];
        if (i % every != 0 && i != count - 1) continue;
        json_array_append_new(epoch, json_integer(validation->epoch));
        json_array_append_new(auc, json_number(validation->auc));
        json_array_append_new(loss, json_number(validation->loss));
        json_array_append_new(train_loss, json_number(validation->train_loss));
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "epoch", epoch, "validation.auc", auc,
                     "validation.loss", loss, "train.loss", train_loss);
}

static json_t *run_object(const struct report *report, int run)
{
    const struct sweep *sweep = &report->folder->sweep;
    const struct report_run *r = &report->runs[run];
    const struct sweep_outcome *outcome = &r->line.outcome;
    const struct validation *best = report_best_validation(report, r);
    const struct validation *last = r->validation_count ? &r->validations[r->validation_count - 1]
                                                        : NULL;
    json_t *values = json_array();
    for (int i = 0; i < sweep->column_count; i++)
        json_array_append_new(values, json_name(sweep->runs[run].values[i].value));
    json_t *object = json_pack("{s:i, s:i, s:o, s:s, s:b}", "run", run, "configuration",
                               r->line.mean.configuration, "values", values, "state", r->line.state,
                               "slides_left_out", outcome->partial);
    json_object_set_new(object, "rung", json_integer(r->line.rung));
    json_object_set_new(object, "score", json_number(outcome->score));
    json_object_set_new(object, "best_epoch", best ? json_integer(best->epoch) : json_null());
    json_object_set_new(object, "epochs", last ? json_integer(last->epoch) : json_null());
    json_object_set_new(object, "steps", last ? json_integer(last->step) : json_null());
    json_object_set_new(object, "reason", json_name(outcome->reason));
    json_object_set_new(object, "curves", curves_object(report, r));
    return object;
}

static json_t *run_objects(const struct report *report)
{
    json_t *runs = json_array();
    for (int run = 0; run < report->folder->sweep.run_count; run++)
        json_array_append_new(runs, run_object(report, run));
    return runs;
}

/* Each is named by its first run. */
static json_t *configuration_objects(const struct report *report)
{
    json_t *configurations = json_array();
    for (int run = 0; run < report->folder->sweep.run_count; run++) {
        const struct sweep_mean *mean = &report->runs[run].line.mean;
        if (mean->configuration != run) continue;
        json_array_append_new(configurations,
                              json_pack("{s:i, s:i, s:i, s:i, s:o, s:o}", "first", run, "runs",
                                        mean->runs, "done", mean->done, "epochs", mean->epochs,
                                        "mean", json_number(mean->mean), "deviation",
                                        json_number(mean->deviation)));
    }
    return configurations;
}

/* The best run of the best configuration: its whole configuration, and its pictures. */
static json_t *best_object(const struct report *report, struct error *err)
{
    const int best = report->summary.best;
    char path[PATH_MAX_BYTES], run_folder[PATH_MAX_BYTES], *text;
    size_t size;
    if (best < 0) return json_null();
    if (!sweep_folder_path(report->folder, "configs", best, ".yaml", path, err) ||
        !sweep_folder_path(report->folder, "runs", best, "", run_folder, err) ||
        !file_read(path, CONFIG_BYTES_MAX, &text, &size, err))
        return NULL;
    json_t *config = json_stringn(text, size);
    json_t *object = json_pack("{s:i, s:o, s:o}", "run", best, "config",
                               config ? config : json_name(text), "pictures",
                               report_pictures(run_folder));
    free(text);
    return object;
}

json_t *report_json(const struct report *report, struct error *err)
{
    const struct sweep *sweep = &report->folder->sweep;
    json_t *best = best_object(report, err);
    if (!best) {
        error_set(err, EXIT_CODE_FAILED, "out of memory for the report of a sweep");
        return NULL;
    }
    json_t *object = json_pack(
        "{s:s, s:o, s:o, s:{s:s, s:b}, s:o}", "program", "micromet " MICROMET_VERSION, "name",
        json_name(path_name(report->folder->path)), "folder", json_name(report->folder->path),
        "metric", "name", sweep->metric->name, "maximize", sweep->maximize, "best", best);
    json_object_set_new(object, "keys", key_objects(sweep));
    json_object_set_new(object, "rungs", rung_numbers(sweep));
    json_object_set_new(object, "runs", run_objects(report));
    json_object_set_new(object, "configurations", configuration_objects(report));
    if (!object) error_set(err, EXIT_CODE_FAILED, "out of memory for the report of a sweep");
    return object;
}
