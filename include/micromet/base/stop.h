/* Stopping a long command by a signal, at a place of its own choice.
 *
 * stop_catch() makes SIGINT, SIGTERM and SIGUSR1 requests. Long loops ask stop_check() between two
 * items; its error, EXIT_CODE_INTERRUPTED, then goes the way of all errors. In a command that does
 * not call stop_catch(), these signals end the process as ever, and stop_check() holds. */
#ifndef MICROMET_BASE_STOP_H
#define MICROMET_BASE_STOP_H

#include "micromet/base/error.h"

/* From now on. */
void stop_catch(void);
/* As if the signal had come to this process: another one that works with it got it. */
void stop_request(int signal);
/* The first signal that came since stop_catch(); 0 = none. */
int stop_signal(void);
/* True while none has come, else an error: "stopped by Terminated". For any thread. */
bool stop_check(struct error *err);

#endif
