/* Inside the simulated device: what its parts (runtime, cuDNN, cuBLASLt) share.
 * Tests use simulated_control.h.
 *
 * Streams are queues of work that runs only when something waits for it, in an order that a
 * seeded scheduler picks among what events and streams allow. Device memory can be touched only
 * inside of work. */
#ifndef MICROMET_TESTS_SIMULATED_H
#define MICROMET_TESTS_SIMULATED_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Every entry point calls this first: counts the call and says whether it is the one that must fail
 * now. `name` is the entry point's. */
bool sim_fails(const char *name);

/* Queue `work(argument)` on a stream (NULL = the legacy default stream), or record it if the stream
 * is being captured. `argument` must be malloc'ed; it is freed when neither the stream nor a graph
 * needs it any more. */
void sim_enqueue(cudaStream_t stream, const char *name, void (*work)(void *argument),
                 void *argument);

/* Inside of work: [p, p + bytes) must lie in one live device allocation, else the test ends with a
 * report that names `what`. Needed before threads of their own touch it. */
void sim_expect_device(const void *p, size_t bytes, const char *what);
/* A programmer's mistake that hardware might not show: the test ends with the message. */
void sim_defect(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Handles (cuDNN's, cuBLASLt's, descriptors) that must be destroyed before the end: created
 * and destroyed here. */
void sim_handle_created(const void *handle, const char *kind);
void sim_handle_destroyed(const void *handle,
                          const char *kind); /* twice, or never created: sim_defect */
bool sim_handle_alive(const void *handle, const char *kind);

#ifdef __cplusplus
}
#endif

#endif
