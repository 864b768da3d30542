/* The processes that train one model together, a rank each: who they are, messages between them,
 * and the end of all of them when one fails.
 *
 * Who they are comes from the launcher: srun, mpirun or torchrun (src/world/launch.c). Rank 0 is
 * the hub of a star of TCP connections, over which small messages go, signs of life, and the reason
 * when a rank fails. Gradients go through MPI where it is there, else through TCP connections of
 * each rank with each.
 *
 * A rank that dies, or shows no sign of life for MICROMET_WORLD_SILENCE_S seconds (20), ends all
 * others, whatever they are waiting for. Work that takes long does not: a thread of its own speaks
 * for each process.
 *
 * Calls that say "all ranks" must be made by all of them in the same order. They wait for the
 * slowest rank as long as it lives. */
#ifndef MICROMET_WORLD_WORLD_H
#define MICROMET_WORLD_WORLD_H

#include <stddef.h>

#include "micromet/base/error.h"

enum { WORLD_RANKS_MAX = 1024 };

struct world;

/* Join the world that the launcher's environment describes: all ranks, before other threads are
 * started. A process that no launcher started is a world of one rank, which opens no connection
 * and loads no library. */
bool world_open(struct world **world, struct error *err);
/* May be NULL. All ranks, after success or an error that all of them have; a rank that alone has
 * failed calls world_fail(). */
void world_close(struct world *world);

/* NULL stands for a world of one rank. */
int world_rank(const struct world *world);
int world_size(const struct world *world);
/* Position among the ranks of this host, which chooses the GPU. */
int world_local_rank(const struct world *world);
int world_local_size(const struct world *world);
/* Such as "4 ranks on 2 hosts, started by srun, exchange by MPI (Open MPI 4.1.4)". */
const char *world_description(const struct world *world);

/* All ranks. `all` receives the `bytes` bytes of each rank, in the order of the ranks. */
bool world_gather(struct world *world, const void *mine, size_t bytes, void *all,
                  struct error *err);
/* All ranks: what rank 0 has. */
bool world_broadcast(struct world *world, void *memory, size_t bytes, struct error *err);
/* All ranks. Whether `text` is the same everywhere; the error, the same on all ranks, names the
 * first rank that differs from rank 0, its host, `what`, and both texts where they differ:
 * "rank 2 on node7 has another configuration: ...". */
bool world_agree(struct world *world, const char *what, const char *text, struct error *err);
/* All ranks: success everywhere, or the first failing rank's error everywhere, with rank and host
 * before it ("rank 2 on node7: "). `ok` and *err are this rank's. */
bool world_all_ok(struct world *world, bool ok, struct error *err);

/* Memory of `count` floats that goes to, or comes from, another rank. */
struct world_part {
    int rank;
    float *memory;
    size_t count;
};
/* All ranks. Send and receive at once, and wait for all of it; between two ranks parts arrive in
 * the order in which they were sent, and their counts must fit each other. Only one thread at a
 * time may exchange; another may gather meanwhile. */
bool world_exchange(struct world *world, const struct world_part *sends, int send_count,
                    const struct world_part *receives, int receive_count, struct error *err);

/* This rank has failed for good. One process of the world, the lowest rank that lives, prints "rank
 * 2 on node7: REASON", or the message of world_all_ok() or world_agree() as it is; then every
 * process ends by itself within seconds with the exit code of `reason`. This one too: the call
 * comes back in a world of one rank only, whose caller reports the error itself. Any number of
 * ranks may call it; the first counts. */
void world_fail(struct world *world, const struct error *reason);
/* From now on a request to stop (base/stop.h) that one rank gets ends all of them, wherever they
 * wait, as world_fail() does, within a second or so. In a world of one nothing happens: who works
 * asks stop_check(). */
void world_end_on_stop(struct world *world);
/* What is to be done before this process is ended because a rank has failed, in a thread of its own
 * and for some seconds at most: other threads go on meanwhile, and may hold any lock for ever. */
void world_on_failure(struct world *world, void (*callback)(void *context), void *context);

#endif
