/* One communicator, on one queue: two that are captured into graphs could wait for each other.
 *
 * Calls of NCCL that wait for other ranks, and kernels that do, never come back if one of them is
 * gone, and NCCL does not always say so. The world does: it ends this process whatever its threads
 * are waiting for (world/world.h). What is left to be watched here are errors that only NCCL sees,
 * and an exchange that stands still though all ranks live. */
#include "communicator.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/thread.h"

/* Longer than any rank is busy with something else, such as writing a checkpoint. */
static const double default_patience_s = 1800;
/* For what is under way to be given up, which may wait for ever itself. */
static const double abort_s = 5;

static bool read_patience(double *seconds, struct error *err)
{
    const char *text = getenv("MICROMET_EXCHANGE_S");
    char *end = NULL;
    *seconds = text ? strtod(text, &end) : default_patience_s;
    return !text || (end != text && !*end && *seconds >= 1 && *seconds <= 86400) ||
           error_set(err, EXIT_CODE_USAGE,
                     "MICROMET_EXCHANGE_S=%.40s is no number of seconds from 1 to 86400", text);
}

bool communicator_init(struct cuda_backend *backend, const struct config_compute *compute,
                       struct error *err)
{
    if (backend->base.facts.ranks < 2) return true;
    struct communicator *c = backend->communicator = calloc(1, sizeof *c);
    if (!c) return error_set(err, EXIT_CODE_FAILED, "out of memory for the exchange");
    c->fast = compute->exchange == EXCHANGE_FAST;
    return nccl_load(&c->nccl, err) && read_patience(&c->patience_s, err);
}

bool cuda_backend_id(char id[BACKEND_ID_BYTES], struct error *err)
{
    _Static_assert(sizeof(ncclUniqueId) == BACKEND_ID_BYTES, "as nn/backend.h has it");
    struct nccl_api nccl;
    ncclUniqueId unique;
    if (!nccl_load(&nccl, err) || !NCCL_OK(&nccl, ncclGetUniqueId(&unique), err)) return false;
    memcpy(id, &unique, sizeof unique);
    return true;
}

static void describe(struct backend_facts *facts, const struct communicator *c)
{
    const size_t length = strlen(facts->description);
    const int version = c->nccl.version;
    snprintf(facts->description + length, sizeof facts->description - length,
             ", %s exchange by NCCL %d.%d.%d", c->fast ? "fast" : "ordered", version / 10000,
             version % 10000 / 100, version % 100);
}

bool cuda_backend_join(struct backend *base, const char id[BACKEND_ID_BYTES], struct error *err)
{
    struct communicator *c = ((struct cuda_backend *)base)->communicator;
    const int ranks = base->facts.ranks, rank = base->facts.rank;
    ncclUniqueId unique;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 1; /* the world watches over it */
    memcpy(&unique, id, sizeof unique);
    if (!NCCL_OK(&c->nccl, ncclCommInitRankConfig(&c->comm, ranks, unique, rank, &config), err))
        return false;
    describe(&base->facts, c);
    return true;
}

/* --- giving up -------------------------------------------------------------------------------- */

/* It outlives a thread that does not come back. */
struct giving_up {
    struct nccl_api nccl;
    ncclComm_t comm;
};

static void *abort_communicator(void *context)
{
    struct giving_up *what = context;
    what->nccl.ncclCommAbort(what->comm);
    free(what);
    return NULL;
}

/* NCCL's kernels end, and the queues go on; unless that hangs as well. */
static void give_up(struct communicator *c)
{
    struct giving_up *what = malloc(sizeof *what);
    struct timespec until;
    pthread_t thread;
    c->failed = true;
    if (!what) return;
    *what = (struct giving_up) { c->nccl, c->comm };
    c->comm = NULL;
    if (pthread_create(&thread, NULL, abort_communicator, what) != 0) {
        free(what);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)abort_s;
    if (pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until) != 0) pthread_detach(thread);
}

void communicator_release(struct cuda_backend *backend)
{
    struct communicator *c = backend->communicator;
    if (!c) return;
    if (c->comm) c->nccl.ncclCommDestroy(c->comm);
    free(c);
    backend->communicator = NULL;
}

bool communicator_watch(struct cuda_backend *backend, double since_s, struct error *err)
{
    struct communicator *c = backend->communicator;
    ncclResult_t status = ncclSuccess;
    if (c->failed) return error_set(err, EXIT_CODE_FAILED, "the exchange has failed before");
    if (!c->comm) return true;
    const bool asked = NCCL_OK(&c->nccl, ncclCommGetAsyncError(c->comm, &status), err);
    if (asked && (status == ncclSuccess || status == ncclInProgress)) {
        if (clock_seconds() - since_s < c->patience_s) return true;
        error_set(err, EXIT_CODE_FAILED,
                  "the exchange between the GPUs has stood still for %.0f s, though all ranks live "
                  "(MICROMET_EXCHANGE_S sets this limit; NCCL_DEBUG=INFO tells more)",
                  c->patience_s);
    } else if (asked) {
        nccl_check(&c->nccl, status, "exchange between the GPUs", __FILE__, __LINE__, err);
    }
    give_up(c);
    return false;
}
