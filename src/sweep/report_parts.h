/* What the page and the CSV of a report are made of. */
#ifndef MICROMET_SWEEP_REPORT_PARTS_H
#define MICROMET_SWEEP_REPORT_PARTS_H

#include <jansson.h>

#include "micromet/sweep/execute.h"

struct report_run {
    struct sweep_line line;
    struct validation *validations; /* (validation_count) */
    int validation_count;
};

struct report {
    const struct sweep_folder *folder;
    struct sweep_summary summary;
    struct report_run *runs; /* (sweep.run_count) */
};

/* Fill in all but the folder; release it whether that succeeds or not. */
bool report_collect(struct report *report, struct error *err);
void report_release(struct report *report);

/* The validation that gave the run its score; NULL if there is none. */
const struct validation *report_best_validation(const struct report *report,
                                                const struct report_run *run);

/* All that the page shows, as JSON; NULL with an error. */
json_t *report_json(const struct report *report, struct error *err);
/* The pictures in a run's folder and in its evaluations: [{"name", "data" (a data URI)}]. */
json_t *report_pictures(const char *run_folder);

#endif
