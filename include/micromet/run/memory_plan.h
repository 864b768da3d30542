/* What a training takes of memory, and the largest batch that there is room for.
 *
 * The model is built, at whatever size of batch, on a backend that computes and allocates nothing
 * but has the facts of the one that will compute: all is known before anything is allocated, of a
 * GPU that is not here as of this machine. */
#ifndef MICROMET_RUN_MEMORY_PLAN_H
#define MICROMET_RUN_MEMORY_PLAN_H

#include "micromet/nn/gpu_plan.h"
#include "micromet/nn/model.h"

/* In bytes. Where the device has memory of its own, what lies on the host is not part
 * of the sum. */
struct memory_use {
    size_t parameters, gradients, optimizer, folded, plans, activations, inference_activations,
        batches, scratch, /* of queues, shared by their plans */
        libraries;        /* program, libraries, kernels */
    size_t ring, cached;  /* on the host: batches being read, slides that readers keep */
};

enum { MEMORY_ROWS = 12 };
struct memory_row {
    const char *what;
    size_t bytes;
    bool host;
};
/* The same as a table; rows of the host come last. */
void memory_rows(const struct memory_use *use, struct memory_row rows[MEMORY_ROWS]);

/* Who computes the convolutions of a dry model. */
struct fusion {
    int convolutions, epilogues; /* all; with bias or ReLU behind */
    int fused;                   /* of the epilogues, those computed in one kernel */
    int unfused;                 /* of all, those that need something around the engine */
    int widened; /* of all, those computed in F32 though their tensors are bfloat16 */
};

struct memory_plan {
    struct backend_facts facts;
    enum dtype activations;
    bool own_memory; /* the device has its own, else it is the host's */
    int batch;
    struct memory_use use;
    size_t all;    /* of the device, for the batch */
    int batch_max; /* the largest that fits; 0: none */
    struct fusion fusion;
};

/* The model for `batch` on a dry backend. */
bool dry_model_open(struct model **model, const struct config *config, int batch,
                    enum dtype activations, struct dry_backend *dry, struct error *err);
void fusion_count(const struct model *dry_model, struct fusion *fusion);
/* A warning with the remedy, if cuDNN could not compile what it should have. */
void fusion_warn(const struct fusion *fusion);

/* From a model on a dry backend, whose facts.memory_bytes is the room; `libraries` bytes of it are
 * for those. */
bool memory_plan_init(struct memory_plan *plan, const struct config *config,
                      const struct model *model, const struct dry_backend *dry, bool own_memory,
                      size_t libraries, struct error *err);
/* Of a training on the backend, before anything is allocated on it. What its plans take is known
 * where it has a planner. */
bool memory_plan_make(struct memory_plan *plan, const struct config *config,
                      struct backend *backend, enum dtype activations, struct error *err);
/* With what is known once the model is there and the slides are open. */
bool memory_plan_complete(struct memory_plan *plan, const struct config *config,
                          const struct model *model, size_t cached_bytes, struct error *err);
/* Whether the batch fits; an error of usage names one that does. */
bool memory_plan_check(const struct memory_plan *plan, struct error *err);
/* The largest batch for `room` bytes in which libraries have no part: all that the
 * process could have. */
bool memory_plan_fit(struct memory_plan *plan, const struct config *config, size_t room,
                     struct error *err);
/* To stderr. */
void memory_plan_print(const struct memory_plan *plan);

#endif
