/* What tests ask of the simulated device. */
#ifndef MICROMET_TESTS_SIMULATED_CONTROL_H
#define MICROMET_TESTS_SIMULATED_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which of the allowed orders the scheduler takes from now on. Also MICROMET_SIMULATED_SEED in the
 * environment. Work is put off until something waits for it; with every fourth seed (3, 7, ...)
 * some of it runs as soon as it is queued. */
void simulated_seed(uint64_t seed);
/* Let the nth call from now on (1 = the next) of entry points whose name, with a "(" behind it,
 * begins with `prefix` ("" = any) fail as its kind does: out of memory, launch failure (sticky),
 * not supported, ... 0 = none. MICROMET_SIMULATED_FAIL=name:n in the environment does so for the
 * nth call of the entry point with just that name; MICROMET_SIMULATED_REPORT=FILE has all calls
 * and leaks written there (runtime_report.cpp). An earlier failure that stuck is forgotten, as in
 * a new process. */
void simulated_fail(const char *prefix, int64_t nth);
int64_t simulated_calls(const char *prefix); /* since the last simulated_fail() or the start */
/* Device memory that there is, and that is taken. Also MICROMET_SIMULATED_MEMORY in the
 * environment, in MiB; "800:500" says 800 when first asked, but then there are 500: another
 * process was quicker. */
void simulated_memory_limit(size_t bytes);
size_t simulated_memory_taken(void);
/* Memory, streams, events, graphs and handles that were never given back: their number, and a
 * list in `report`. */
int simulated_leaks(char *report, size_t bytes);
/* The device that cudaGetDeviceProperties tells of; default is an H100. */
void simulated_compute_capability(int major, int minor);
/* Without a device: cudaGetDeviceCount says cudaErrorNoDevice. Also
 * MICROMET_SIMULATED_NO_DEVICE=1. */
void simulated_no_device(bool none);

#ifdef __cplusplus
}
#endif

#endif
