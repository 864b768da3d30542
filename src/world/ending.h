/* The end of a process whose other threads may be blocked for ever, holding any lock. */
#ifndef MICROMET_WORLD_ENDING_H
#define MICROMET_WORLD_ENDING_H

#include "star.h"

/* A line on stderr, unless that takes no more text. */
void ending_print(const char *text);
/* Call it from a thread of its own, and wait a few seconds for it at most. */
void ending_call(void (*callback)(void *context), void *context);
/* Whether one of the ranks from 1 to this one's predecessor lives, when rank 0 does not. */
bool ending_is_left_to_others(const struct star *star);

#endif
