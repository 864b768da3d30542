/* The figure by which trainings are compared: of a run's validations, the best one's. */
#ifndef MICROMET_RUN_METRIC_H
#define MICROMET_RUN_METRIC_H

#include "micromet/base/error.h"

struct metric {
    const char *name; /* "validation.auc" */
    const char *key;  /* in the validation lines of metrics.jsonl */
    bool maximize;    /* larger is better */
};

/* NULL if there is none of this name; then the error lists all. */
const struct metric *metric_find(const char *name, struct error *err);

/* The best value, by `maximize`, of the run's first `epochs` validations; NaN if there is none. */
bool metric_read(const struct metric *metric, bool maximize, const char *run_folder, int epochs,
                 double *value, struct error *err);

#endif
