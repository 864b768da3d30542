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

bool report_collect(struct report *report, struct error *err)
{
    const struct sweep *sweep = &report->folder->sweep;
    report->runs = calloc((size_t)sweep->run_count, sizeof *report->runs);
    if (!report->runs)
        return error_set(err, EXIT_CODE_FAILED, "out of memory for the report of a sweep");
    if (!sweep_survey(report->folder, keep_line, report, &report->summary, err)) return false;
    for (int run = 0; run < sweep->run_count; run++) {
        struct report_run *r = &report->runs[run];
        char path[PATH_MAX_BYTES];
        if (!sweep_folder_path(report->folder, "runs", run, "", path, err) ||
            !validations_read(path, &r->validations, &r->validation_count, err))
            return false;
    }
    return true;
}

void report_release(struct report *report)
{
    for (int run = 0; report->runs && run < report->folder->sweep.run_count; run++)
        free(report->runs[run].validations);
    free(report->runs);
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
