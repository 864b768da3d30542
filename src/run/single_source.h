/* A dataset's windows as a model with a single input gets them: every tower's window is cut out of
 * one square of the slide's finest level and shrunk (single_window.h), instead of being read from
 * the tower's own level. */
#ifndef MICROMET_RUN_SINGLE_SOURCE_H
#define MICROMET_RUN_SINGLE_SOURCE_H

#include "micromet/data/loader.h"
#include "micromet/run/single_window.h"

struct single_source {
    const struct dataset *dataset;
    struct single_window window;
    struct slide *slides; /* (dataset->slide_count), opened */
};

/* Open the slides, which must be those that the dataset's packs were made from. Both arguments must
 * outlive the source. */
bool single_source_init(struct single_source *source, const struct checkpoint *checkpoint,
                        const struct dataset *dataset, struct error *err);
void single_source_release(struct single_source *source);
struct loader_source loader_source_single(const struct single_source *source);

#endif
