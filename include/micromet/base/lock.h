/* Locks that end with their holder: the kernel gives them back however the process ends, SIGKILL
 * included. */
#ifndef MICROMET_BASE_LOCK_H
#define MICROMET_BASE_LOCK_H

#include <stdio.h>

#include "micromet/base/error.h"

enum lock_state {
    LOCK_TAKEN,
    LOCK_OF_OTHERS, /* another process has it, or this one through another descriptor */
    LOCK_UNKNOWN,   /* the file system has no locks */
};
/* Try to lock a file that is open for writing, until its descriptor is closed. Never waits. */
enum lock_state lock_try(int descriptor);

enum { LOCK_HOLDER_BYTES = 160 };

/* A file whose only content is who holds its lock. It stays when the lock is given back: a file
 * that two processes may remove and make again protects nothing. */
struct lock_file {
    FILE *stream; /* NULL = not held */
};
/* *state says how it went. `holder` says who it is otherwise: "process 4711 on node7, since
 * 2025-01-31 23:59". */
bool lock_file_take(struct lock_file *lock, const char *path, enum lock_state *state,
                    char holder[LOCK_HOLDER_BYTES], struct error *err);
/* Safe on a zeroed struct. */
void lock_file_release(struct lock_file *lock);

#endif
