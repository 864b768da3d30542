/* Identifies the windows that a run is trained and validated on, as text in its checkpoints. A
 * resumed run draws windows by index, so it must have the same slides with the same windows. */
#ifndef MICROMET_RUN_DATASET_FINGERPRINT_H
#define MICROMET_RUN_DATASET_FINGERPRINT_H

#include "micromet/data/dataset.h"

/* One line per slide, "<split> <XXH3-64 of OpenSlide's hash and the windows> <hash of its identity>
 * <file name>", in the order of the datasets; the same whether they are read from packs or slides.
 * malloc'ed; NULL if out of memory. */
char *dataset_fingerprint(const struct dataset *train, const struct dataset *validation);

enum { FINGERPRINT_DIFFERENCE_BYTES = 700 };
/* Whether two fingerprints are equal, as far as `had` tells: earlier programs wrote no identity. If
 * not, `difference` describes the first difference. */
bool dataset_fingerprint_equal(const char *had, const char *has,
                               char difference[FINGERPRINT_DIFFERENCE_BYTES]);

/* Whether a slide of this content is one of the split's in the fingerprint. */
bool dataset_fingerprint_holds(const char *fingerprint, enum split split,
                               const struct file_identity *identity);

#endif
