/* Controls of the simulated device for tests. */
#ifndef MICROMET_TESTS_SIMULATED_CONTROL_H
#define MICROMET_TESTS_SIMULATED_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Choose among the allowed orders of work from now on. Environment: MICROMET_SIMULATED_SEED. Work
 * is delayed until something waits for it; with every fourth seed (3, 7, ...) some of it also runs
 * as soon as it is queued. */
void simulated_seed(uint64_t seed);
/* Inject a failure into the nth call from now on (1 = the next, 0 = none) of the entry points whose
 * name followed by "(" begins with `prefix` ("" = any). The error is typical of the call: out of
 * memory, launch failure (sticky), not supported, ... Sticky errors of earlier failures are
 * cleared, as in a new process.
 *
 * Environment: MICROMET_SIMULATED_FAIL=name:n does this for the nth call of the entry
 * point of exactly that name. MICROMET_SIMULATED_REPORT=FILE writes all calls and leaks
 * to FILE (runtime_report.cpp). */
void simulated_fail(const char *prefix, int64_t nth);
int64_t simulated_calls(const char *prefix); /* since the last simulated_fail() or the start */
/* Total and allocated device memory. Environment: MICROMET_SIMULATED_MEMORY in MiB; "800:500"
 * reports 800 when first queried and then has only 500, as if another process had
 * taken the rest. */
void simulated_memory_limit(size_t bytes);
size_t simulated_memory_taken(void);
/* Number of allocations, streams, events, graphs and handles never released; `report`
 * receives a list. */
int simulated_leaks(char *report, size_t bytes);
/* Choose the device that cudaGetDeviceProperties reports; default: an H100. */
void simulated_compute_capability(int major, int minor);
/* Remove the device: cudaGetDeviceCount returns cudaErrorNoDevice. Environment:
 * MICROMET_SIMULATED_NO_DEVICE=1. */
void simulated_no_device(bool none);

#ifdef __cplusplus
}
#endif

#endif
