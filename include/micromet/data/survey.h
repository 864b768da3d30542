/* What the slides of a manifest must have in common, and what they must not: found out before
 * any work from the headers of packs and slides, over all splits.
 *
 *   - No two slides have the same content, whatever they are called, nor the same picture at the
 *     same scale, be it saved anew with loss, with other levels, in another format or cut (see
 *     slide/look.h); the same picture at another scale is warned of.
 *   - For each tower, all slides have the same µm/px, to 10 %. Where no slide says any, they
 *     have the same downsample, to 1 %. Where some say it and others do not, none can be
 *     compared: refused. (With data.um_per_px, a slide has the scale, or cannot be opened.)
 *   - Pixels are square, to 3 %.
 *   - Packs are of the slides and annotations that are there now. */
#ifndef MICROMET_DATA_SURVEY_H
#define MICROMET_DATA_SURVEY_H

#include "micromet/base/config.h"
#include "micromet/slide/pack.h"

/* Compare the slides of a manifest. facts: (manifest->count) headers of packs, that are there or
 * will be made; known: whether there is one. Errors name both slides. */
bool survey_compare(const struct manifest *manifest, const struct config *config,
                    const struct pack_header *facts, const bool *known, struct error *err);

/* Before a training: compare all slides of the manifest, as far as they or their packs are
 * there, and check the packs of its training and validation slides. Says once how many slides
 * were not there to check their packs. */
bool survey_training(const struct manifest *manifest, const struct config *config,
                     struct error *err);
/* Before an evaluation of packs: check those of the split. */
bool survey_packs(const struct manifest *manifest, const struct config *config, enum split split,
                  struct error *err);

#endif
