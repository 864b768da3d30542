/* Which windows a run is trained and validated on, as text that travels in its checkpoints: a
 * resumed run draws windows by their number, so other slides or windows under the same numbers
 * would be another run. */
#ifndef MICROMET_RUN_DATASET_FINGERPRINT_H
#define MICROMET_RUN_DATASET_FINGERPRINT_H

#include "micromet/data/dataset.h"

/* One line a slide, "<split> <XXH3-64 of its identity and windows> <file name>", in the order of
 * the datasets; the same from packs and from slides. malloc'ed; NULL without memory. */
char *dataset_fingerprint(const struct dataset *train, const struct dataset *validation);

enum { FINGERPRINT_DIFFERENCE_BYTES = 700 };
/* Do two records say the same? If not, `difference` tells the first that is not so. */
bool dataset_fingerprint_equal(const char *had, const char *has,
                               char difference[FINGERPRINT_DIFFERENCE_BYTES]);

#endif
