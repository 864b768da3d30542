/* Internal interface of the simulated device, shared by its parts (runtime, cuDNN, cuBLASLt). Tests
 * use simulated_control.h.
 *
 * Work queued on streams runs only when something waits for it, in one of the orders that events
 * and streams allow, chosen by a seeded scheduler. Only queued work can access device memory. */
#ifndef MICROMET_TESTS_SIMULATED_H
#define MICROMET_TESTS_SIMULATED_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Every entry point calls this first, with its own name: counts the call and returns whether it is
 * the one that must fail. */
bool sim_fails(const char *name);

/* Queue `work(argument)` on a stream (NULL = the legacy default stream), or record it if the stream
 * is being captured. `argument` must be malloc'ed; it is freed when neither the stream nor a graph
 * needs it any more. */
void sim_enqueue(cudaStream_t stream, const char *name, void (*work)(void *argument),
                 void *argument);

/* To be called from work: [p, p + bytes) must lie in one live device allocation, otherwise the test
 * ends with a report that names `what`. Call it before threads started by the work
 * touch the memory. */
void sim_expect_device(const void *p, size_t bytes, const char *what);
/* End the test with a message: a programming error that hardware might not reveal. */
void sim_defect(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Track handles (of cuDNN and cuBLASLt, descriptors), which must be destroyed before the process
 * ends. Destroying one twice, or one that was never created, is a sim_defect. */
void sim_handle_created(const void *handle, const char *kind);
void sim_handle_destroyed(const void *handle, const char *kind);
bool sim_handle_alive(const void *handle, const char *kind);

#ifdef __cplusplus
}
#endif

#endif
