/* The interface between the network and what computes it: plan once, run many times.
 *
 * plan() turns an op (nn/op.h) into something that can run, or gives the reason why it cannot;
 * run() enqueues it with the buffers to use this time. Work on one queue runs in order, queues run
 * concurrently: each is a CUDA stream or a group of CPU threads. */
#ifndef MICROMET_NN_BACKEND_H
#define MICROMET_NN_BACKEND_H

#include "micromet/base/config.h"
#include "micromet/base/error.h"
#include "micromet/data/augment_draw.h"
#include "micromet/nn/op.h"
#include "micromet/nn/shard_tree.h"
#include "micromet/nn/tensor.h"

/* Values that change from step to step. They are in device memory, so that a recorded step can be
 * replayed with other values. */
struct step_values {
    uint64_t seed;
    /* Counts from 1. Adam's bias correction depends on it, and dropout draws anew in each step. */
    int64_t step;
    /* Of the batch's rows, that of this pass's first: 0 unless the batch is cut into shards. */
    int64_t first_row;
    float learning_rate;
    /* 1 to ask all ranks to stop behind this step, else 0. */
    float stop;
};

/* The device memory that an op reads and writes when it runs; members that its kind and options do
 * not use may be NULL. C is the number of channels. */
struct op_buffers {
    /* Tensors, with the shapes of the op. */
    const void *x, *y, *dy;
    /* The output: y, dx, or dw (K,R,S,C). */
    void *out;

    /* Convolutions: weights (K,R,S,C), or NULL if they were given to plan_load(). */
    const float *weights;
    /* Must change whenever the weights do, because plans keep packed copies of them. */
    uint64_t weights_version;
    /* (K) */
    const float *bias;
    /* Filter gradients: (K). Gradients of batch norms: dbeta (C). */
    float *dbias;

    /* Batch norms: (C) each. */
    const float *gamma, *beta;
    float *dgamma;
    float *moving_mean, *moving_variance, *saved_mean, *saved_inverse_std;
    /* Those in two parts: (2, C). */
    float *sums;

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

struct world; /* world/world.h */
struct backend;
struct plan;
struct recording;
struct gpu_planner; /* nn/gpu_plan.h */

struct backend_facts {
    /* "cpu" or "cuda". */
    char name[16];
    /* Such as "oneDNN 2.6.3, AVX2". */
    char description[256];
    /* The hardware computes with bf16; else the backend emulates it in fp32. */
    bool native_bf16;
    /* It can multiply F32 tensors in TF32. */
    bool tf32;
    /* Queues for ops, numbered from 0. */
    int queues;
    /* The queue for copies from the host. It runs beside the others if it is not one of them. */
    int copy_queue;
    /* The queue for sums over shards and ranks: 0, or one beside the others if there are ranks. */
    int exchange_queue;
    /* This process and how many train together; 0 of 1, or of 0. */
    int rank, ranks;
    /* Host threads, shared by all queues. */
    int threads;
    /* Channels that windows are padded to, at least 3, to make the first convolution fast. */
    int input_channels;
    /* Memory available to the process at open, of the device or of the machine. */
    size_t memory_bytes;
    /* Bytes of activations that fit in cache, which limit the images
     * computed at a time; 0: no limit. */
    int64_t chunk_bytes;
};

/* Functions that return bool return false with an error. Members that may be NULL say so. */
struct backend_ops {
    /* --- memory --- */

    /* Device memory, aligned to 64 bytes or more. */
    bool (*alloc)(struct backend *, size_t bytes, void **memory, struct error *);
    void (*free)(struct backend *, void *memory);
    /* Host memory for asynchronous copies from and to the device (pinned memory for CUDA). */
    bool (*alloc_host)(struct backend *, size_t bytes, void **memory, struct error *);
    void (*free_host)(struct backend *, void *memory);
    /* Once device memory has run out, the bytes that this process could have used in all; else 0.
     * NULL if the device uses host memory. */
    size_t (*exhausted_memory_bytes)(const struct backend *);

    /* --- queues --- */

    /* Copy, when the queue gets there. Either side may be memory from alloc_host(), or any other
     * host memory that remains valid until synchronize(). */
    bool (*copy)(struct backend *, int queue, void *to, const void *from, size_t bytes,
                 struct error *);
    /* Zero device memory, when the queue gets there. */
    bool (*zero)(struct backend *, int queue, void *to, size_t bytes, struct error *);
    /* A ticket for everything enqueued on `queue` so far; the tickets of a queue increase. */
    bool (*fence)(struct backend *, int queue, uint64_t *ticket, struct error *);
    /* Make `queue` wait until `other` has passed the ticket. */
    bool (*wait)(struct backend *, int queue, int other, uint64_t ticket, struct error *);
    /* Wait on the host until `queue` has passed the ticket. False if anything has
     * failed on the device so far. */
    bool (*await)(struct backend *, int queue, uint64_t ticket, struct error *);
    /* Write clock_seconds() to *when_s, when the queue gets there. */
    bool (*mark)(struct backend *, int queue, double *when_s, struct error *);
    /* Wait on the host until all queues are empty. False if anything has failed on the device so
     * far, with the message of the first failure. */
    bool (*synchronize)(struct backend *, struct error *);

    /* --- plans --- */

    /* Decide how to compute the op; false if op_check() or this backend refuses it. */
    bool (*plan)(struct backend *, const struct op *, struct plan **, struct error *);
    /* Enqueue the plan on its op's queue. */
    bool (*run)(struct plan *, const struct op_buffers *, struct error *);
    /* Give a convolution fixed weights (K,R,S,C) in place of op_buffers.weights. They may be in any
     * host memory, and are not needed afterwards: the plan keeps its own copy in the form that it
     * computes with, at the same address if the weights are replaced. Waits for the plan's queue;
     * not allowed between record_begin() and record_end(). */
    bool (*plan_load)(struct plan *, const float *weights, struct error *);
    /* Bytes of packed weights and scratch that the plan keeps. */
    size_t (*plan_bytes)(const struct plan *);
    /* The plan may be NULL. */
    void (*plan_release)(struct plan *);
    /* A planner that plans convolutions like plan(), but allocates no memory; close it before the
     * backend. NULL if the device uses host memory. */
    bool (*planner)(struct backend *, struct gpu_planner **, struct error *);

    /* --- recordings; all four NULL if the backend would not gain from them --- */

    /* Until record_end(), work on the queues [0, queues) and on the exchange queue is not executed
     * but recorded, including all waits. All ranks replay the same recordings in the same
     * order. */
    bool (*record_begin)(struct backend *, struct error *);
    bool (*record_end)(struct backend *, struct recording **, struct error *);
    /* Enqueue the whole recording. It uses the same buffers again, and the same host values as when
     * run() was called. Recordings are replayed one after the other. */
    bool (*replay)(struct backend *, struct recording *, struct error *);
    void (*recording_release)(struct backend *, struct recording *);

    /* --- a profiler's timeline; both NULL if there is none --- */

    /* Name what the calling thread does until range_pop(). */
    void (*range_push)(const char *name);
    void (*range_pop)(void);

    /* Wait for all work, and release everything. */
    void (*close)(struct backend *);
};

struct backend {
    const struct backend_ops *ops;
    struct backend_facts facts;
};

/* A process among those that train together, for a backend in a library of its own, which does not
 * see the world. */
struct backend_rank {
    int rank, ranks;
    int local_rank, local_ranks; /* on this host */
};

/* By what the ranks of such a backend find each other. */
enum { BACKEND_ID_BYTES = 128 };

/* Open the backend that the configuration asks for, with up to `queues` queues (one per tower);
 * facts.queues is the actual number. This process is a rank of `world`, all of which call this;
 * NULL = it is alone. auto chooses CUDA if it works on all ranks, else the CPU, and `why_not` then
 * gives the reason where a GPU is there ("" elsewhere). compute.backend: cuda without a usable GPU
 * is an error. */
bool backend_open(const struct config_compute *compute, int queues, struct world *world,
                  struct backend **backend, char why_not[256], struct error *err);
void backend_close(struct backend *backend);
/* Whether there is a CUDA backend, built with the program or named in the environment; an error
 * says how to get one. Whether it works is known only once it is opened. */
bool backend_cuda_built(struct error *err);

void backend_range_push(struct backend *backend, const char *name);
void backend_range_pop(struct backend *backend);

/* Open the CPU backend (src/cpu/backend.c). The processors are divided among its queues, and among
 * the ranks of a host before that. */
bool cpu_backend_open(const struct config_compute *compute, int queues, struct world *world,
                      struct backend **backend, struct error *err);

#endif
