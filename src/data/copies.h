/* Slides that are copies of one another though their files and levels differ. */
#ifndef DATA_COPIES_H
#define DATA_COPIES_H

#include "micromet/base/config.h"
#include "micromet/slide/pack.h"

/* Refuse two slides of a manifest that show the same picture; see look.h. Warns where that is
 * likely, or where both say another size of it. Slides that look alike are opened to compare their
 * pixels; of those that are not there, nothing is said. facts, known: (manifest->count). */
bool copies_check(const struct manifest *manifest, const struct config *config,
                  const struct pack_header *facts, const bool *known, struct error *err);

#endif
