/* Parallel loops, and what the process knows of its machine: clock, processors, memory. */
#ifndef MICROMET_BASE_THREAD_H
#define MICROMET_BASE_THREAD_H

#include <stdint.h>

#include "micromet/base/error.h"

/* Call work(context, item, worker, err) for every item in [0, items) from at most `threads`
 * threads, in ascending order of items. No new items are started after an error; the error returned
 * is that of the smallest item that failed. `worker` in [0, threads) identifies the thread, so that
 * the caller can keep scratch memory for each. */
bool parallel_for(int threads, int64_t items, void *context,
                  bool (*work)(void *context, int64_t item, int worker, struct error *err),
                  struct error *err);

int thread_count_default(void);      /* processors this process may run on */
double clock_seconds(void);          /* monotonic */
int64_t memory_peak_bytes(void);     /* peak resident size of this process (VmHWM) */
int64_t memory_resident_bytes(void); /* resident size of this process now (VmRSS) */
int64_t memory_limit_bytes(void);    /* cgroup limit, or physical memory */

#endif
