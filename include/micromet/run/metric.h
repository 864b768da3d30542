/* The figure by which trainings are compared: of a run's validations, the best one's. */
#ifndef MICROMET_RUN_METRIC_H
#define MICROMET_RUN_METRIC_H

#include <stddef.h>
#include <stdint.h>

#include "micromet/base/error.h"

/* A validation as metrics.jsonl has it; NaN for a figure that it lacks. */
struct validation {
    int64_t epoch, step; /* epochs and steps that were done before it */
    double train_loss, loss, auc;
};

struct metric {
    const char *name; /* "validation.auc" */
    size_t offset;    /* of the double in struct validation */
    bool maximize;    /* larger is better */
};

/* NULL if there is none of this name; then the error lists all. */
const struct metric *metric_find(const char *name, struct error *err);
double metric_of(const struct metric *metric, const struct validation *validation);

/* The run's validations in their order, malloc'ed; none if there is no metrics.jsonl. */
bool validations_read(const char *run_folder, struct validation **validations, int *count,
                      struct error *err);

/* The best value, by `maximize`, of the run's first `epochs` validations; NaN if there is none. */
bool metric_read(const struct metric *metric, bool maximize, const char *run_folder, int epochs,
                 double *value, struct error *err);

#endif
