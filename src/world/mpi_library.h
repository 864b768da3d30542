/* The library libmicromet_mpi.so (mpi.c), which is built where Open MPI is, and loaded where a
 * launcher speaks with it: the program runs without any MPI. */
#ifndef MICROMET_WORLD_MPI_LIBRARY_H
#define MICROMET_WORLD_MPI_LIBRARY_H

#include "micromet/world/world.h"

/* Calls come from one thread at a time. */
struct mpi_ops {
    const char *micromet_version; /* program and library are built from the same sources */
    bool (*init)(int *rank, int *size, struct error *err);
    const char *(*version)(void); /* "Open MPI 4.1.4" */
    /* All ranks: what rank 0 has. Few bytes. */
    bool (*broadcast)(void *memory, size_t bytes, struct error *err);
    /* See world_exchange(). */
    bool (*exchange)(const struct world_part *sends, int send_count,
                     const struct world_part *receives, int receive_count, struct error *err);
    void (*finalize)(void); /* all ranks */
};

/* NULL if the library cannot be used. */
const struct mpi_ops *mpi_load(struct error *err);

#endif
