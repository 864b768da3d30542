/* The GPUs of all ranks as one NCCL communicator, and the watch over it. */
#ifndef MICROMET_CUDA_COMMUNICATOR_H
#define MICROMET_CUDA_COMMUNICATOR_H

#include "cuda_backend.h"
#include "nccl_api.h"

struct communicator {
    struct nccl_api nccl;
    ncclComm_t comm; /* NULL before all have come, and behind a failure */
    bool failed;
    bool fast;         /* compute.exchange */
    double patience_s; /* how long the host waits for the device in all */
};

/* This rank's part: loads NCCL. Nothing to do for a rank that is alone. */
bool communicator_init(struct cuda_backend *backend, const struct config_compute *compute,
                       struct error *err);
/* All work is done, or was given up. */
void communicator_release(struct cuda_backend *backend);

/* Whether all is well while the host waits for the device, which it has done since `since_s`. If
 * not, what is under way is given up, so that nothing waits for it any more. */
bool communicator_watch(struct cuda_backend *backend, double since_s, struct error *err);

#endif
