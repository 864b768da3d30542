/* Queues of the CUDA backend as streams, their tickets, time marks and recordings. The functions
 * are those of backend_ops. */
#ifndef MICROMET_CUDA_QUEUES_H
#define MICROMET_CUDA_QUEUES_H

#include "cuda_backend.h"

/* Create a stream for each queue of the facts. */
bool queues_init(struct cuda_backend *backend, struct error *err);
/* Waits for the device. Marks that were not yet resolved stay unwritten. */
void queues_release(struct cuda_backend *backend);
bool queues_have_recordings(const struct cuda_backend *backend);

bool queue_copy(struct backend *base, int queue, void *to, const void *from, size_t bytes,
                struct error *err);
bool queue_zero(struct backend *base, int queue, void *to, size_t bytes, struct error *err);
bool queue_fence(struct backend *base, int queue, uint64_t *ticket, struct error *err);
bool queue_wait(struct backend *base, int queue, int other, uint64_t ticket, struct error *err);
bool queue_await(struct backend *base, int queue, uint64_t ticket, struct error *err);
bool queue_mark(struct backend *base, int queue, double *when_s, struct error *err);
bool queues_synchronize(struct backend *base, struct error *err);
bool queues_record_begin(struct backend *base, struct error *err);
bool queues_record_end(struct backend *base, struct recording **recording, struct error *err);
bool queues_replay(struct backend *base, struct recording *recording, struct error *err);
void queues_recording_release(struct backend *base, struct recording *recording);

#endif
