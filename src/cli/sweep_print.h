/* What `micromet sweep` prints of a sweep. */
#ifndef MICROMET_CLI_SWEEP_PRINT_H
#define MICROMET_CLI_SWEEP_PRINT_H

#include "micromet/sweep/execute.h"

/* The runs, and what they will take; windows_per_s: 0 = as measured. */
bool sweep_print_plan(const struct sweep_folder *folder, double windows_per_s, struct error *err);
/* The runs as they are; again and again until none is left if `watch` is set. */
bool sweep_print_status(const struct sweep_folder *folder, bool watch, struct error *err);
void sweep_print_summary(const struct sweep_folder *folder, const struct sweep_summary *summary);

#endif
