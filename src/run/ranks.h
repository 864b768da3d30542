/* What the ranks that train one model must have in common. All ranks call each of these, in the
 * same order; in a world of one they do nothing. */
#ifndef MICROMET_RUN_RANKS_H
#define MICROMET_RUN_RANKS_H

#include "micromet/base/config.h"
#include "micromet/nn/model.h"
#include "micromet/run/checkpoint.h"
#include "micromet/world/world.h"

/* Whether all are the same program, with the same configuration but for what only concerns the
 * host. The error names a rank that differs, the key and both values. */
bool ranks_agree_on_config(struct world *world, const struct config *config, struct error *err);
/* Whether all hold the same weights and the same state of the optimizer. */
bool ranks_agree_on_model(struct world *world, struct model *model, struct error *err);
/* Whether all have opened the same model: after checkpoint_model(). */
bool ranks_agree_on_checkpoint(struct world *world, const struct checkpoint *checkpoint,
                               struct error *err);
/* Warn if ranks compute with other processors or libraries, which give other last bits.
 * description: backend_facts.description. */
bool ranks_compare_processors(struct world *world, const char *description, struct error *err);
/* Whether it is so on every rank. */
bool ranks_all(struct world *world, bool so, bool *all, struct error *err);
/* Have every rank know of a signal that one of them got. */
bool ranks_agree_on_stop(struct world *world, struct error *err);

#endif
