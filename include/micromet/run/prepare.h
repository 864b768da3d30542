/* Preparing: one pack of windows for each slide of the manifest. */
#ifndef MICROMET_RUN_PREPARE_H
#define MICROMET_RUN_PREPARE_H

#include "micromet/base/config.h"

struct prepare_result {
    int slides;
    int built, reused, failed;      /* of these */
    int64_t windows, tumor_windows; /* in the packs that are ready */
    double pack_bytes, seconds;
};

/* Make the packs of all slides of data.manifest that are not current (force: of all), several at
 * once. Each slide is logged when it is done; one that cannot be prepared is logged with its reason
 * and counted, and stops no other. False only if none could even be tried. */
bool prepare_run(const struct config *config, bool force, struct prepare_result *result,
                 struct error *err);

#endif
