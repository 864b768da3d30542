/* What the files of this room know of a world. */
#ifndef MICROMET_WORLD_STATE_H
#define MICROMET_WORLD_STATE_H

#include <stdatomic.h>

#include "launch.h"
#include "mesh.h"
#include "micromet/world/world.h"
#include "mpi_library.h"
#include "star.h"
#include "watch.h"

struct world {
    struct launch launch;
    struct star star; /* zeroed in a world of one */
    struct watch *watch;
    const struct mpi_ops *mpi; /* NULL = not used */
    struct mesh *mesh;         /* of the exchange by TCP */
    uint32_t sequence;         /* of the messages */
    int local_rank, local_size;
    struct error agreed; /* the last error that all ranks have been told */
    atomic_bool failed;  /* a call has, on this rank */
    char description[256];
};

static inline bool is_alone(const struct world *world)
{
    return !world || world->launch.size == 1;
}

/* All ranks: that all of them are done, rather than one that leaves the others waiting. */
bool messages_close(struct world *world, struct error *err);

#endif
