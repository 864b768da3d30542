/* File locks by flock(). Unlike fcntl() locks they belong to the open file description, so a
 * library that opens and closes the same file does not drop them. On Linux they also work between
 * hosts on a network file system. */
#include "micromet/base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum lock_state lock_try(int descriptor)
{
    if (flock(descriptor, LOCK_EX | LOCK_NB) == 0) return LOCK_TAKEN;
    return errno == EWOULDBLOCK ? LOCK_OF_OTHERS : LOCK_UNKNOWN;
}

static void read_holder(FILE *stream, char holder[LOCK_HOLDER_BYTES])
{
    if (!fgets(holder, LOCK_HOLDER_BYTES, stream)) holder[0] = '\0';
    holder[strcspn(holder, "\n")] = '\0';
    if (!holder[0]) snprintf(holder, LOCK_HOLDER_BYTES, "another process");
}

static bool write_holder(FILE *stream)
{
    char host[65] = "", since[32] = "";
    const time_t now = time(NULL);
    struct tm local;
    if (gethostname(host, sizeof host - 1) != 0) strcpy(host, "this host");
    if (localtime_r(&now, &local)) strftime(since, sizeof since, "%Y-%m-%d %H:%M", &local);
    return ftruncate(fileno(stream), 0) == 0 &&
           fprintf(stream, "process %ld on %s, since %s\n", (long)getpid(), host, since) > 0 &&
           fflush(stream) == 0;
}

bool lock_file_take(struct lock_file *lock, const char *path, enum lock_state *state,
                    char holder[LOCK_HOLDER_BYTES], struct error *err)
{
    *lock = (struct lock_file) { 0 };
    const int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    FILE *stream = descriptor < 0 ? NULL : fdopen(descriptor, "r+");
    if (!stream) {
        error_set(err, EXIT_CODE_FAILED, "%s: cannot be opened: %s", path, strerror(errno));
        if (descriptor >= 0) close(descriptor);
        return false;
    }
    *state = lock_try(descriptor);
    if (*state == LOCK_OF_OTHERS) {
        read_holder(stream, holder);
        fclose(stream);
        return true;
    }
    if (!write_holder(stream)) {
        error_set(err, EXIT_CODE_FAILED, "%s: cannot be written: %s", path, strerror(errno));
        fclose(stream);
        return false;
    }
    lock->stream = stream;
    return true;
}

void lock_file_release(struct lock_file *lock)
{
    if (lock->stream) fclose(lock->stream);
    lock->stream = NULL;
}
