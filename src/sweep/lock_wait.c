/* Waiting for a lock. */
#include <time.h>

#include "micromet/base/log.h"
#include "parts.h"

bool lock_wait(struct lock_file *lock, const char *path, struct error *err)
{
    static const struct timespec pause = { .tv_nsec = 200 * 1000 * 1000 };
    struct lock_holder holder;
    enum lock_state state;
    for (bool told = false;; told = true) {
        if (!lock_file_take(lock, path, &state, &holder, err)) return false;
        if (state != LOCK_OF_OTHERS) return true;
        if (!told) log_info("%s: waiting for %s", path, holder.text);
        nanosleep(&pause, NULL);
    }
}
