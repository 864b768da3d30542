/* File locks by flock(). Unlike fcntl() locks they belong to the open file description, so a
 * library that opens and closes the same file does not drop them. On Linux they also work between
 * hosts on a network file system. */
#include "micromet/base/lock.h"

#include <errno.h>
#include <sys/file.h>

static enum lock_state take(int descriptor, int operation)
{
    if (flock(descriptor, operation | LOCK_NB) == 0) return LOCK_TAKEN;
    return errno == EWOULDBLOCK ? LOCK_OF_OTHERS : LOCK_UNKNOWN;
}

enum lock_state lock_try(int descriptor)
{
    return take(descriptor, LOCK_EX);
}

enum lock_state lock_try_shared(int descriptor)
{
    return take(descriptor, LOCK_SH);
}
