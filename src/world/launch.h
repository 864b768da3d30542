/* What the launcher says in the environment of each process that it starts. */
#ifndef MICROMET_WORLD_LAUNCH_H
#define MICROMET_WORLD_LAUNCH_H

#include "micromet/base/error.h"

enum { LAUNCH_HOST_BYTES = 256, LAUNCH_JOB_BYTES = 64 };

struct launch {
    const char *launcher; /* "srun"; NULL = none, a world of one rank */
    int rank, size;
    int local_rank, local_size;      /* -1 = not said */
    char address[LAUNCH_HOST_BYTES]; /* of rank 0; "" = MPI must tell */
    int port;                        /* on which rank 0 listens; 0 = any */
    char job[LAUNCH_JOB_BYTES]; /* the same for all ranks, another for other jobs if possible */
    bool mpi;                   /* the launcher speaks with Open MPI */
};

/* A world of more than WORLD_RANKS_MAX ranks, or one that is not that of its Slurm step, is an
 * error, as are values that make no sense. */
bool launch_read(struct launch *launch, struct error *err);

/* The first of the names in a list of Slurm's, such as "rack2n[07-12,20],login1". False if there is
 * none, or it is too long. */
bool launch_first_host(const char *list, char host[LAUNCH_HOST_BYTES]);

#endif
