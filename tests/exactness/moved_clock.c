/* The clock of a machine on which it is set forth and back all the time, by a day and more: a
 * library that LD_PRELOAD puts before the system's. CLOCK_MONOTONIC stays: nobody can set it. */
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static atomic_int calls;
    const long outcome = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += (atomic_fetch_add(&calls, 1) % 3 - 1) * 100000;
    return (int)outcome;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *out = (struct timeval) { now.tv_sec, now.tv_nsec / 1000 };
    return 0;
}
