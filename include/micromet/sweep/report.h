/* The report of a sweep: one page that needs no network, and its figures as CSV. */
#ifndef MICROMET_SWEEP_REPORT_H
#define MICROMET_SWEEP_REPORT_H

#include "micromet/sweep/folder.h"

/* Write FOLDER/report/index.html, whose path is returned, and FOLDER/report/results.csv, of the
 * sweep as it stands. */
bool sweep_report(const struct sweep_folder *folder, char page[PATH_MAX_BYTES], struct error *err);

#endif
