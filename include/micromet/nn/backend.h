/* The one door between the network and whoever computes it: plan once, run many times.
 *
 * plan() turns an op (nn/op.h) into something that can run, or says why it cannot; run() queues it
 * with the buffers of the moment. What is put on one queue runs in order; queues run beside each
 * other: one CUDA stream each, or one group of CPU threads each. */
#ifndef MICROMET_NN_BACKEND_H
#define MICROMET_NN_BACKEND_H

#include "micromet/base/config.h"
#include "micromet/base/error.h"
#include "micromet/data/augment_draw.h"
#include "micromet/nn/op.h"
#include "micromet/nn/tensor.h"

/* What changes from step to step. It lies in device memory, so that a recorded step can run again
 * with other values. */
struct step_values {
    uint64_t seed;
    /* Counts from 1: Adam's correction of its first steps goes by it, and dropout draws anew for
     * each. */
    int64_t step;
    float learning_rate;
};

/* What an op reads and writes when it runs, all of it device memory; what its kind and options do
 * not use may be NULL. C is the number of channels. */
struct op_buffers {
    /* Tensors, shaped as the op says. */
    const void *x, *y, *dy;
    /* What the op computes: y, dx, or dw (K,R,S,C). */
    void *out;

    /* Convolutions: weights (K,R,S,C), or NULL for those that plan_load() gave. */
    const float *weights;
    /* Changes whenever the weights do, because plans keep packed copies of them. */
    uint64_t weights_version;
    /* (K) */
    const float *bias;
    /* Filter gradients: (K). Gradients of batch norms: dbeta (C). */
    float *dbias;

    /* Batch norms: (C) each. */
    const float *gamma, *beta;
    float *dgamma;
    float *moving_mean, *moving_variance, *saved_mean, *saved_inverse_std;

    /* The loss: labels and probabilities (N), loss (1). */
    const float *labels;
    float *loss, *probabilities;

    /* Augmentation: (N). */
    const struct augment_draw *draws;

    /* Optimizers: (count) each. */
    float *parameters, *state1, *state2;
    const float *gradients;

    /* Dropout and optimizers. */
    const struct step_values *values;
};

struct backend;
struct plan;
struct recording;
struct gpu_planner; /* nn/gpu_plan.h */

struct backend_facts {
    /* "cpu" or "cuda". */
    char name[16];
    /* Such as "oneDNN 2.6.3, AVX2". */
    char description[256];
    /* The processor computes with bfloat16 itself; else the backend emulates it in float32. */
    bool native_bf16;
    /* It can multiply F32 tensors in TF32. */
    bool tf32;
    /* Queues for ops, numbered from 0. */
    int queues;
    /* The queue for copies from the host. It runs beside the others if it is not one of them. */
    int copy_queue;
    /* Host threads of all queues together. */
    int threads;
    /* Channels that windows are padded to, so that the first convolution is fast: 3 or more. */
    int input_channels;
    /* Memory available to the process at open, of the device or of the machine. */
    size_t memory_bytes;
    /* Bytes of activations that fit in cache, the size of a chunk of images; 0: whole batches. */
    int64_t chunk_bytes;
};

/* Functions that return bool give false with a message. A member that may be NULL says so. */
struct backend_ops {
    /* --- memory --- */

    /* Device memory, aligned to 64 bytes or more. */
    bool (*alloc)(struct backend *, size_t bytes, void **memory, struct error *);
    void (*free)(struct backend *, void *memory);
    /* Host memory that the device copies from and to while both go on. */
    bool (*alloc_host)(struct backend *, size_t bytes, void **memory, struct error *);
    void (*free_host)(struct backend *, void *memory);
    /* If device memory ran out: all that the process could have had, bytes; else 0. NULL where the
     * device's memory is the host's. */
    size_t (*exhausted_memory_bytes)(const struct backend *);

    /* --- queues --- */

    /* Copy, when the queue gets there. Either side may be memory from alloc_host(), or any host
     * memory that stays until synchronize(). */
    bool (*copy)(struct backend *, int queue, void *to, const void *from, size_t bytes,
                 struct error *);
    /* Zero device memory, when the queue gets there. */
    bool (*zero)(struct backend *, int queue, void *to, size_t bytes, struct error *);
    /* A ticket for everything put on `queue` so far; the tickets of a queue grow. */
    bool (*fence)(struct backend *, int queue, uint64_t *ticket, struct error *);
    /* `queue` goes on only after `other` has passed the ticket. */
    bool (*wait)(struct backend *, int queue, int other, uint64_t ticket, struct error *);
    /* The host goes on only after `queue` has passed the ticket. False if anything failed on the
     * device so far. */
    bool (*await)(struct backend *, int queue, uint64_t ticket, struct error *);
    /* Write clock_seconds() to *when_s, when the queue gets there. */
    bool (*mark)(struct backend *, int queue, double *when_s, struct error *);
    /* The host goes on only after all queues are empty. False if anything failed on the device so
     * far, with the message of the first failure. */
    bool (*synchronize)(struct backend *, struct error *);

    /* --- plans --- */

    /* Decide how to compute the op; false if op_check() or this backend refuses it. */
    bool (*plan)(struct backend *, const struct op *, struct plan **, struct error *);
    /* Put it on its op's queue. */
    bool (*run)(struct plan *, const struct op_buffers *, struct error *);
    /* Give a convolution weights (K,R,S,C) that stay, in place of op_buffers.weights. They may lie
     * in any host memory, and nobody need keep them: the plan has its own copy, in the form that it
     * computes with, at the same place when it is given others. Waits for the plan's queue; not
     * between record_begin() and record_end(). */
    bool (*plan_load)(struct plan *, const float *weights, struct error *);
    /* Packed weights and scratch that this plan keeps. */
    size_t (*plan_bytes)(const struct plan *);
    /* NULL is no plan. */
    void (*plan_release)(struct plan *);
    /* What plans convolutions as plan() does, but takes no memory for them; closed before the
     * backend. NULL where the device's memory is the host's. */
    bool (*planner)(struct backend *, struct gpu_planner **, struct error *);

    /* --- recordings; all four NULL where the backend has nothing to gain from them --- */

    /* From here to record_end(), what is put on the queues [0, queues) is not done but recorded,
     * with all its waits. */
    bool (*record_begin)(struct backend *, struct error *);
    bool (*record_end)(struct backend *, struct recording **, struct error *);
    /* Put the whole recording on the queues at once. Buffers, and what run() looked at on the host,
     * are as they were. Recordings are replayed one after the other. */
    bool (*replay)(struct backend *, struct recording *, struct error *);
    void (*recording_release)(struct backend *, struct recording *);

    /* --- a profiler's time line; both NULL where there is none --- */

    /* Name what the calling thread does until the pop. */
    void (*range_push)(const char *name);
    void (*range_pop)(void);

    /* Wait for all work, and release everything. */
    void (*close)(struct backend *);
};

struct backend {
    const struct backend_ops *ops;
    struct backend_facts facts;
};

/* Open the backend that the configuration asks for with up to `queues` queues (one a tower;
 * facts.queues says how many there are). auto takes CUDA where it works, else the CPU; `why_not`
 * says why CUDA is not used. compute.backend: cuda without a usable GPU is an error. */
bool backend_open(const struct config_compute *compute, int queues, struct backend **backend,
                  char why_not[256], struct error *err);
void backend_close(struct backend *backend);

void backend_range_push(struct backend *backend, const char *name);
void backend_range_pop(struct backend *backend);

/* The CPU backend itself (src/cpu/backend.c). The processors are shared out among its queues. */
bool cpu_backend_open(const struct config_compute *compute, int queues, struct backend **backend,
                      struct error *err);

#endif
