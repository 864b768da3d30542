/* Collects what the files of a sweep tell of its runs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report_parts.h"

static void keep_line(void *context, const struct sweep_folder *folder,
                      const struct sweep_line *line)
{
    const struct report *report = context;
    (void)folder;
    report->runs[line->run].line = *line;
}

static int rung_of(const struct sweep *sweep, const struct sweep_outcome *outcome)
{
    int rung = -1;
    if (outcome->state != SWEEP_DONE) return rung;
    while (rung + 1 < sweep_rung_count(sweep) &&
           sweep_rung_epochs(sweep, rung + 1) <= outcome->epochs)
        rung++;
    return rung;
}

static bool is_repetition(const struct sweep *sweep, int a, int b)
{
    for (int i = 0; i < sweep->column_count; i++)
        if (!sweep->columns[i].repeated &&
            strcmp(sweep->runs[a].values[i].value, sweep->runs[b].values[i].value) != 0)
            return false;
    return true;
}

/* The newest configurations first, as repetitions mostly follow each other. */
static int find_configuration(struct report *report, int run)
{
    int found = report->configuration_count - 1;
    while (found >= 0 &&
           !is_repetition(&report->folder->sweep, report->configurations[found].first, run))
        found--;
    if (found >= 0) return found;
    report->configurations[report->configuration_count] =
        (struct report_configuration) { .first = run };
    return report->configuration_count++;
}

/* Mean and sample deviation of each configuration's scores. */
static void measure_configurations(struct report *report)
{
    const int runs = report->folder->sweep.run_count;
    for (int run = 0; run < runs; run++) {
        struct report_run *r = &report->runs[run];
        r->configuration = find_configuration(report, run);
        struct report_configuration *c = &report->configurations[r->configuration];
        c->runs++;
        if (r->line.outcome.state != SWEEP_DONE) continue;
        c->mean += r->line.outcome.score;
        c->done++;
    }
    for (int i = 0; i < report->configuration_count; i++)
        report->configurations[i].mean /= report->configurations[i].done; /* 0/0 = NaN */
    for (int run = 0; run < runs; run++) {
        const struct report_run *r = &report->runs[run];
        struct report_configuration *c = &report->configurations[r->configuration];
        const double off = r->line.outcome.score - c->mean;
        if (r->line.outcome.state == SWEEP_DONE) c->deviation += off * off;
    }
    for (int i = 0; i < report->configuration_count; i++) {
        struct report_configuration *c = &report->configurations[i];
        c->deviation = c->done > 1 ? sqrt(c->deviation / (c->done - 1)) : NAN;
    }
}

bool report_collect(struct report *report, struct error *err)
{
    const struct sweep *sweep = &report->folder->sweep;
    report->runs = calloc((size_t)sweep->run_count, sizeof *report->runs);
    report->configurations = calloc((size_t)sweep->run_count, sizeof *report->configurations);
    if (!report->runs || !report->configurations)
        return error_set(err, EXIT_CODE_FAILED, "out of memory for the report of a sweep");
    if (!sweep_survey(report->folder, keep_line, report, &report->summary, err)) return false;
    for (int run = 0; run < sweep->run_count; run++) {
        struct report_run *r = &report->runs[run];
        char path[PATH_MAX_BYTES];
        r->rung = rung_of(sweep, &r->line.outcome);
        if (!sweep_folder_path(report->folder, "runs", run, "", path, err) ||
            !validations_read(path, &r->validations, &r->validation_count, err))
            return false;
    }
    measure_configurations(report);
    return true;
}

void report_release(struct report *report)
{
    for (int run = 0; report->runs && run < report->folder->sweep.run_count; run++)
        free(report->runs[run].validations);
    free(report->runs);
    free(report->configurations);
}

const struct validation *report_best_validation(const struct report *report,
                                                const struct report_run *run)
{
    const struct sweep *sweep = &report->folder->sweep;
    const struct validation *best = NULL;
    double most = NAN;
    for (int i = 0; i < run->validation_count; i++) {
        const double value = metric_of(sweep->metric, &run->validations[i]);
        if (isnan(value) || (best && !(sweep->maximize ? value > most : value < most))) continue;
        best = &run->validations[i];
        most = value;
    }
    return best;
}
