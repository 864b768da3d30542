/* Heat maps that an evaluation of whole slides has finished. They are kept in <folder>/finished/
 * until the results are written, so that an interrupted evaluation need not compute them again. */
#ifndef MICROMET_RUN_FINISHED_MAPS_H
#define MICROMET_RUN_FINISHED_MAPS_H

#include "micromet/run/heatmap.h"
#include "micromet/slide/identity.h"

struct finished_map {
    char folder[PATH_MAX_BYTES], path[PATH_MAX_BYTES];
    char identity[512]; /* everything that the probabilities depend on */
};

/* identity: of the slide. */
bool finished_map_init(struct finished_map *kept, const char *folder,
                       const struct checkpoint *checkpoint, const struct slide *slide,
                       const struct file_identity *identity, const struct grid *grid,
                       int orientations, struct error *err);
/* False, with nothing to release, if there is no map with this identity. */
bool finished_map_load(const struct finished_map *kept, const struct grid *grid,
                       struct heatmap *heatmap);
bool finished_map_save(const struct finished_map *kept, const struct heatmap *heatmap,
                       struct error *err);
/* Remove all maps of `folder`. */
void finished_maps_remove(const char *folder);

#endif
