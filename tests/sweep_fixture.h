/* The folder of a sweep of 200 runs with halving, as it is once all are done: results that follow a
 * formula, failures, and texts that try to break out of whatever they are written into. */
#ifndef MICROMET_TESTS_SWEEP_FIXTURE_H
#define MICROMET_TESTS_SWEEP_FIXTURE_H

#include "micromet/sweep/folder.h"

enum { SWEEP_FIXTURE_RUNS = 200 };
/* Ends a <script>, begins another, and holds what no text of JSON, HTML or UTF-8 may hold. */
extern const char sweep_fixture_reason[];

/* Write all that a sweep leaves in `path`, which is made, and open it. Aborts on failure. */
void sweep_fixture_make(struct sweep_folder *folder, const char *path);
bool sweep_fixture_fails(int run);
/* Validation AUC of a run behind an epoch. */
double sweep_fixture_auc(const struct sweep *sweep, int run, int epoch);

#endif
