/* A lock file: one process at a time may use what it stands for, and it says which. */
#ifndef MICROMET_BASE_LOCK_FILE_H
#define MICROMET_BASE_LOCK_FILE_H

#include <stdint.h>
#include <stdio.h>

#include "micromet/base/error.h"
#include "micromet/base/lock.h"
#include "micromet/base/slurm.h"

enum { LOCK_HOLDER_BYTES = 224 };

/* Who holds a lock, as the lock file says. */
struct lock_holder {
    char text
        [LOCK_HOLDER_BYTES]; /* "process 4711 on node7, Slurm job 12_3, since 2025-01-31 23:59" */
    long process;            /* 0 = not known */
    char host[65], job[SLURM_JOB_BYTES];
    int64_t beat; /* a counter that the holder raises while it lives; -1 = not known */
};

/* A lock file, whose content names the holder of the lock. It stays when the lock is released: if
 * processes could remove and recreate it, two of them might hold a lock on different files.
 *
 * A thread raises the counter in it every LOCK_BEAT_S seconds. On a network file system the lock of
 * a host that went down may stay; who compares the counter, not times, needs no common clock. */
enum { LOCK_BEAT_S = 4 };
struct lock_file {
    FILE *stream; /* NULL = not held */
    struct lock_pulse *pulse;
};
/* Try to take the lock; *state gives the outcome. If someone else holds it, *holder names them. */
bool lock_file_take(struct lock_file *lock, const char *path, enum lock_state *state,
                    struct lock_holder *holder, struct error *err);
/* Safe on a zeroed struct. */
void lock_file_release(struct lock_file *lock);

enum lock_life {
    LOCK_ALIVE,  /* the holder is there, or nothing tells that it is not */
    LOCK_ENDED,  /* no such process on this host, and no sign of life */
    LOCK_SILENT, /* on another host, without a sign of life */
};
/* Whether a process holds it. Only reads, so that whoever may look at the file may ask; a process
 * that takes the lock at the same moment may find it taken. */
bool lock_file_is_held(const char *path);
/* How the holder is. Waits for a change of its counter, for at most `patience_s`, unless its
 * process is seen on this host. */
enum lock_life lock_file_watch(const char *path, const struct lock_holder *holder,
                               double patience_s);

#endif
