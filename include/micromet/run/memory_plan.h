/* How much memory a training takes, and the largest batch that fits.
 *
 * The model is built on a backend that neither computes nor allocates but reports the properties of
 * the real one. Everything is thus known before anything is allocated, for this machine as for a
 * GPU that is not present. */
#ifndef MICROMET_RUN_MEMORY_PLAN_H
#define MICROMET_RUN_MEMORY_PLAN_H

#include "micromet/nn/gpu_plan.h"
#include "micromet/nn/model.h"

/* Bytes. If the device has memory of its own, host memory is not part of the sum. */
struct memory_use {
    size_t parameters, gradients, optimizer, folded, plans, activations, inference_activations,
        batches, scratch, /* of the queues, shared by their plans */
        libraries;        /* program, libraries, kernels */
    size_t ring, cached;  /* on the host: batches being read; slides cached by the readers */
};

enum { MEMORY_ROWS = 12 };
struct memory_row {
    const char *what;
    size_t bytes;
    bool host;
};
/* The same as a table; host rows come last. */
void memory_rows(const struct memory_use *use, struct memory_row rows[MEMORY_ROWS]);

/* How the backend computes the convolutions of a dry model. */
struct fusion {
    int convolutions, epilogues; /* all; those followed by bias or ReLU */
    int fused;                   /* epilogues computed in the convolution's kernel */
    int unfused;                 /* convolutions that need extra kernels around the engine */
    int widened;                 /* convolutions computed in fp32 though their tensors are bf16 */
};

struct memory_plan {
    struct backend_facts facts;
    enum dtype activations;
    bool own_memory; /* the device has its own memory, else it shares the host's */
    int batch;
    struct memory_use use;
    size_t all;    /* on the device, for `batch` */
    int batch_max; /* the largest that fits; 0 = none */
    struct fusion fusion;
};

/* Build the configured model for `batch` on a dry backend. */
bool dry_model_open(struct model **model, const struct config *config, int batch,
                    enum dtype activations, struct dry_backend *dry, struct error *err);
void fusion_count(const struct model *dry_model, struct fusion *fusion);
/* Warn, with the remedy, if cuDNN could not compile its fused kernels. */
void fusion_warn(const struct fusion *fusion);

/* Plan from a model on a dry backend, whose facts.memory_bytes is the memory available; `libraries`
 * bytes of it are taken by program, libraries and kernels. */
bool memory_plan_init(struct memory_plan *plan, const struct config *config,
                      const struct model *model, const struct dry_backend *dry, bool own_memory,
                      size_t libraries, struct error *err);
/* Plan a training on the backend before anything is allocated there. The memory of the backend's
 * own plans is included if the backend has a planner. */
bool memory_plan_make(struct memory_plan *plan, const struct config *config,
                      struct backend *backend, enum dtype activations, struct error *err);
/* Update the plan with what is known once the model exists and the slides are open. */
bool memory_plan_complete(struct memory_plan *plan, const struct config *config,
                          const struct model *model, size_t cached_bytes, struct error *err);
/* Whether the batch fits; otherwise a usage error names one that does. */
bool memory_plan_check(const struct memory_plan *plan, struct error *err);
/* Find the largest batch for `room` bytes, all of them for the model: libraries are not counted. */
bool memory_plan_fit(struct memory_plan *plan, const struct config *config, size_t room,
                     struct error *err);
/* Print to stderr. */
void memory_plan_print(const struct memory_plan *plan);

#endif
