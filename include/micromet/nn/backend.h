/* The one door between the network and whoever computes it: plan once, run many.
 *
 * An `op` names a computation by kind, shapes and options; plan() turns it into something that can
 * run, or says why it cannot; run() queues it with the buffers of the moment. Work on one queue
 * runs in order; queues run beside each other (one CUDA stream each, or one group of CPU threads
 * each). Every pointer in op_buffers is device memory unless marked host. Formulas stand at each
 * kind; tests/reference.c computes them in double precision with plain loops. */
#ifndef MICROMET_NN_BACKEND_H
#define MICROMET_NN_BACKEND_H

#include "micromet/base/config.h"
#include "micromet/base/error.h"
#include "micromet/data/augment_draw.h"
#include "micromet/nn/tensor.h"

enum op_kind {
    /* y[n,oy,ox,k] = act(bias[k] + sum_{r,s,c} x[n, oy*stride+r-pad_h, ox*stride+s-pad_w, c] *
     * w[k,r,s,c]), zeros outside. act is ReLU if `relu`. A dense layer is the 1×1 convolution of a
     * 1×1 map. */
    OP_CONVOLUTION,
    /* x is dx: dx = transpose of the convolution applied to dy, added to what dx holds if
       `accumulate`. */
    OP_CONVOLUTION_BACKWARD_DATA,
    /* dw[k,r,s,c] = sum_{n,oy,ox} dy[n,oy,ox,k] * x[...]; dbias[k] = sum dy if `bias`. Gradients
       are F32. */
    OP_CONVOLUTION_BACKWARD_FILTER,
    /* y = relu?(gamma*(x - mean)*inverse_std + beta) over (n,h,w) for each channel; gamma NULL = 1.
     * Batch statistics: saved_mean and saved_inverse_std = 1/sqrt(biased variance + epsilon) are
     * written, and the moving statistics become momentum*old + (1-momentum)*new, with Bessel's
     * correction m/(m-1) of the variance if `unbiased_moving`. `frozen`: the moving statistics are
     * used, and copied to saved_*, and not changed. */
    OP_BATCH_NORM,
    /* g = dy * (y > 0) if relu; dbeta = sum g; dgamma = sum g*xhat (if gamma); with m = n*h*w and
     * g' = g*gamma: dx = inverse_std*(g' - mean(g') - xhat*mean(g'*xhat)), or inverse_std*g' if
     * frozen. */
    OP_BATCH_NORM_BACKWARD,
    /* max: over the window, -inf outside. average: sum / (kernel area), or / (pixels inside) if
       exclude_padding. */
    OP_POOL,
    /* dx (overwritten, or added to if `accumulate`). max: the whole dy goes to the first maximum in
       row order. */
    OP_POOL_BACKWARD,
    OP_RELU_BACKWARD, /* dx = dy * (y > 0) */
    /* y = x * keep / (1 - rate); pixel p draws its channels from the Philox stream (seed, step, p,
     * dropout), so the same op serves backward. */
    OP_DROPOUT,
    /* logits (N,1,1,1), labels (N): probabilities = sigmoid(z); loss = mean of max(z,0) - z*t +
     * log(1+exp(-|z|)); dx = (sigmoid(z) - t)/N, F32. */
    OP_LOSS,
    /* U8 (N,W,W,3) -> activations (N,W,W,c >= 3), extra channels zero; see data/augment.h and
       nn/augment_pixel.h. */
    OP_AUGMENT,
    /* One update of `count` parameters in one contiguous buffer; see nn/optimizer.h for the
       formulas. */
    OP_OPTIMIZER,
    OP_KIND_COUNT
};

/* Which pixels of the input an output pixel (oy, ox) takes: kernel_h × kernel_w of them, from row
 * oy*stride - pad_h and column ox*stride - pad_w on. */
struct op_window {
    int kernel_h, kernel_w, stride, pad_h, pad_w;
};

struct op_convolution {
    struct op_window window;
    /* Channels of the weights, where x is padded with zero channels behind them; 0: as many as x
     * has. */
    int weights_c;
    bool bias, relu, accumulate;
};

struct op_pool {
    struct op_window window;
    /* The average over the window, not its maximum. */
    bool average;
    bool exclude_padding, accumulate;
};

struct op_batch_norm {
    /* The channels have scales. */
    bool gamma;
    bool relu, frozen, unbiased_moving;
    float epsilon, momentum;
};

struct op_dropout {
    /* The share of values that become zero, in [0, 1). */
    float rate;
};

struct op_optimizer {
    struct config_optimizer rule;
    int64_t count;
};

struct op {
    enum op_kind kind;
    /* For messages and profiles: "tower0.Mixed_6c.branch1x1"; NULL or kept by the caller. */
    const char *name;
    int queue;
    /* Shapes, strides and types of input and output, without data. dx has x's, dy has y's. An
     * optimizer has neither. */
    struct tensor x, y;
    /* What else the kind has; kinds that are not named here have nothing else. */
    union {
        struct op_convolution convolution; /* and both of its gradients */
        struct op_pool pool;               /* and its gradient */
        struct op_batch_norm batch_norm;   /* and its gradient */
        struct op_dropout dropout;
        struct op_optimizer optimizer;
    };
};

/* What changes from step to step. It lies in device memory, so that a recorded step can run again
 * with other values. */
struct step_values {
    uint64_t seed;
    int64_t step; /* optimizer: 1-based; dropout: Philox epoch */
    float learning_rate;
};

struct op_buffers {
    const void *x, *y, *dy;
    void *out;            /* y or dx; F32 dw for the filter gradient */
    const float *weights; /* (K, R, S, C) F32 master weights; NULL: those that plan_load() gave */
    uint64_t weights_version; /* changes whenever *weights does: plans keep packed copies */
    const float *bias;        /* (K) */
    float *dbias;             /* (K); batch norm: dbeta */
    const float *gamma, *beta;
    float *dgamma;
    float *moving_mean, *moving_variance, *saved_mean, *saved_inverse_std; /* (C) */
    const float *labels;                                                   /* loss: (N) */
    float *loss;                                                           /* loss: (1) */
    float *probabilities;                                                  /* loss: (N) */
    const struct augment_draw *draws;                                      /* augment: (N) */
    float *parameters, *state1, *state2;                                   /* optimizer: (count) */
    const float *gradients;
    const struct step_values *values; /* dropout, optimizer */
};

struct backend;
struct plan;
struct recording;
struct gpu_planner; /* nn/gpu_plan.h */

struct backend_facts {
    char name[16];         /* "cpu", "cuda" */
    char description[256]; /* "oneDNN 2.6.3, AVX2, 2 threads" */
    bool native_bf16;
    bool tf32; /* can multiply F32 tensors in TF32 */
    int queues;
    int copy_queue; /* for copies from the host: beside the others if it is not one of [0, queues)
                     */
    int threads;
    int input_channels;  /* that windows are padded to, so that the first convolution is fast: 3 or
                            more */
    size_t memory_bytes; /* that there were for this process when it was opened: of the device, or
                            of the machine */
    int64_t chunk_bytes; /* activations that should stay in cache run through in chunks of this
                            size; 0 = whole batches */
};

struct backend_ops {
    bool (*alloc)(struct backend *, size_t bytes, void **memory,
                  struct error *); /* 64-byte aligned */
    bool (*alloc_host)(struct backend *, size_t bytes, void **memory, struct error *);
    /* If device memory ran out: all of it that the process could have, bytes; else 0. NULL where
     * memory is the host's. */
    size_t (*exhausted_memory_bytes)(const struct backend *);
    void (*free)(struct backend *, void *memory);
    void (*free_host)(struct backend *, void *memory);
    /* Asynchronous on `queue`; either side may be host memory from alloc_host, or any host memory
     * if synchronised. */
    bool (*copy)(struct backend *, int queue, void *to, const void *from, size_t bytes,
                 struct error *);
    bool (*zero)(struct backend *, int queue, void *to, size_t bytes, struct error *);
    /* A ticket for everything put on `queue` so far; tickets of a queue grow. */
    bool (*fence)(struct backend *, int queue, uint64_t *ticket, struct error *);
    /* `queue` goes on only after `other` has passed the ticket. */
    bool (*wait)(struct backend *, int queue, int other, uint64_t ticket, struct error *);
    /* The host goes on only then. False if anything failed on the device so far. */
    bool (*await)(struct backend *, int queue, uint64_t ticket, struct error *);
    /* Write clock_seconds() to *when_s once the queue gets there. */
    bool (*mark)(struct backend *, int queue, double *when_s, struct error *);
    bool (*synchronize)(struct backend *,
                        struct error *); /* all queues; first asynchronous error */
    bool (*plan)(struct backend *, const struct op *, struct plan **, struct error *);
    bool (*run)(struct plan *, const struct op_buffers *, struct error *);
    /* Give a convolution weights that stay, in place of op_buffers.weights: (K, R, S, C) in any
     * host memory. The plan keeps them in the form that it computes with, at the same place when it
     * is given others, and nobody need keep another copy. Waits for the plan's queue; not between
     * record_begin and record_end. */
    bool (*plan_load)(struct plan *, const float *weights, struct error *);
    /* Between record_begin and record_end, what is put on the queues [0, queues) is not done but
     * recorded, with all its waits; replay() then puts the whole of it on the queues at once.
     * Buffers, and what `run` looked at on the host, are as they were. Recordings are replayed one
     * after the other. NULL where the backend has nothing to gain. */
    bool (*record_begin)(struct backend *, struct error *);
    bool (*record_end)(struct backend *, struct recording **, struct error *);
    bool (*replay)(struct backend *, struct recording *, struct error *);
    void (*recording_release)(struct backend *, struct recording *);
    /* What plans convolutions as plan() does, but takes no memory for them; closed before the
     * backend. NULL where the device's memory is the host's. */
    bool (*planner)(struct backend *, struct gpu_planner **, struct error *);
    size_t (*plan_bytes)(const struct plan *); /* packed weights and scratch that this plan keeps */
    void (*plan_release)(struct plan *);
    void (*close)(struct backend *);
    /* Name what the calling thread does until the pop, for a profiler's time line. NULL where there
     * is none. */
    void (*range_push)(const char *name);
    void (*range_pop)(void);
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

const char *op_kind_name(enum op_kind kind);
/* A convolution or one of its gradients: op->convolution is what it has. */
bool op_is_convolution(const struct op *op);
/* The window of a convolution, a pool or their gradients; NULL: the kind has none. */
const struct op_window *op_window(const struct op *op);
/* A convolution's weights as a matrix: K*R*S rows of as many channels. */
int64_t op_weight_rows(const struct op *op);
int op_weight_channels(const struct op *op);
/* Multiply-adds and bytes that the op needs at least (padding taps not counted). */
double op_macs(const struct op *op);

#endif
