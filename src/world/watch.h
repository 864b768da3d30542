/* Watches over the ranks: each process says every second that it lives, to the hub, and the hub to
 * it. When a rank falls silent, is gone, or says that it has failed, one process prints a line, and
 * all end. */
#ifndef MICROMET_WORLD_WATCH_H
#define MICROMET_WORLD_WATCH_H

#include "star.h"

struct watch;

/* `silence_s`: the time without a sign of life after which a rank counts as lost. */
bool watch_start(struct watch **watch, const struct star *star, double silence_s,
                 struct error *err);
/* An orderly end, not to be taken for a death. May be NULL. */
void watch_stop(struct watch *watch);

/* See world_fail(). `whole`: the message needs no rank and host before it. Does not come back. */
void watch_fail(struct watch *watch, const struct error *reason, bool whole)
    __attribute__((noreturn));
/* See world_end_on_stop(). */
void watch_end_on_stop(struct watch *watch);
/* A connection with another rank has broken: wait for the watch to find out why and to end the
 * process. Comes back if it sees nothing wrong. */
void watch_judge(struct watch *watch);

void watch_on_failure(struct watch *watch, void (*callback)(void *context), void *context);

#endif
