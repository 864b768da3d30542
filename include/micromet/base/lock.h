/* File locks that end with the process holding them: the kernel releases them however it ends,
 * SIGKILL included. */
#ifndef MICROMET_BASE_LOCK_H
#define MICROMET_BASE_LOCK_H

enum lock_state {
    LOCK_TAKEN,
    LOCK_OF_OTHERS, /* held by another process, or by this one through another descriptor */
    LOCK_UNKNOWN,   /* the file system does not support locks */
};
/* Try to lock a file that is open for writing, until its descriptor is closed. Never waits. */
enum lock_state lock_try(int descriptor);
/* The same with a file that need only be open for reading: LOCK_OF_OTHERS if another has locked it
 * by lock_try(). */
enum lock_state lock_try_shared(int descriptor);

#endif
