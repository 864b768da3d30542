/* Preparation: one pack of windows for each slide of the manifest. */
#ifndef MICROMET_RUN_PREPARE_H
#define MICROMET_RUN_PREPARE_H

#include "micromet/base/config.h"

struct prepare_result {
    int slides;
    int built, reused, failed;      /* of the slides */
    int64_t windows, tumor_windows; /* in all packs that are ready */
    double pack_bytes, seconds;
};

/* Build the packs of all slides of data.manifest that are missing or out of date (force: all of
 * them), several in parallel. Each slide is logged when done; one that fails is logged with the
 * reason and counted, and the others continue. Returns false only if none could even be tried. */
bool prepare_run(const struct config *config, bool force, struct prepare_result *result,
                 struct error *err);

#endif
