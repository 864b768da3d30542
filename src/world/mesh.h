/* The exchange by TCP: a connection of each rank with each. */
#ifndef MICROMET_WORLD_MESH_H
#define MICROMET_WORLD_MESH_H

#include "micromet/world/world.h"
#include "star.h"

struct mesh;

/* All ranks. */
bool mesh_open(struct mesh **mesh, const struct star *star, const char *job, double patience_s,
               struct error *err);
void mesh_close(struct mesh *mesh); /* may be NULL */
/* See world_exchange(). */
bool mesh_exchange(struct mesh *mesh, const struct world_part *sends, int send_count,
                   const struct world_part *receives, int receive_count, struct error *err);

#endif
