/* How fast a training goes. */
#ifndef MICROMET_SWEEP_PACE_H
#define MICROMET_SWEEP_PACE_H

#include <stdint.h>

#include "micromet/base/error.h"

/* What the last lines of a run's metrics.jsonl say. */
struct pace {
    int64_t steps;        /* taken */
    int64_t epoch_steps;  /* of an epoch; 0 = not known */
    double windows_per_s; /* NaN = not known */
};

/* All zero and NaN if there is no run. */
bool pace_read(struct pace *pace, const char *run_folder, struct error *err);

#endif
