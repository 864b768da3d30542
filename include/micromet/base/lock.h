/* File locks that end with the process holding them: the kernel releases them however it ends,
 * SIGKILL included. */
#ifndef MICROMET_BASE_LOCK_H
#define MICROMET_BASE_LOCK_H

#include <stdio.h>

#include "micromet/base/error.h"

enum lock_state {
    LOCK_TAKEN,
    LOCK_OF_OTHERS, /* held by another process, or by this one through another descriptor */
    LOCK_UNKNOWN,   /* the file system does not support locks */
};
/* Try to lock a file that is open for writing, until its descriptor is closed. Never waits. */
enum lock_state lock_try(int descriptor);

enum { LOCK_HOLDER_BYTES = 160 };

/* A lock file, whose content names the holder of the lock. It stays when the lock is released: if
 * processes could remove and recreate it, two of them might hold a lock on different files. */
struct lock_file {
    FILE *stream; /* NULL = not held */
};
/* Try to take the lock; *state gives the outcome. If someone else holds it, `holder` names them:
 * "process 4711 on node7, since 2025-01-31 23:59". */
bool lock_file_take(struct lock_file *lock, const char *path, enum lock_state *state,
                    char holder[LOCK_HOLDER_BYTES], struct error *err);
/* Safe on a zeroed struct. */
void lock_file_release(struct lock_file *lock);

#endif
