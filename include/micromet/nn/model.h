/* The network: one InceptionV3 tower a magnification, their pooled features side by side, and a
 * dense head to one logit.
 *
 * Towers run on queues of their own; the head runs on queue 0. Everything is planned when the model
 * is made: a training program (forward, backward, update) if asked for, and an inference program in
 * which every batch norm is folded into its convolution. Batches have one size; smaller ones are
 * computed with idle rows. */
#ifndef MICROMET_NN_MODEL_H
#define MICROMET_NN_MODEL_H

#include "micromet/nn/backend.h"

/* What becomes of 8-bit pixels before the first convolution, as files of ours say it. */
#define MODEL_PREPROCESSING "rgb/255*2-1"
/* What the probabilities 0 and 1 mean, in the same files. */
#define MODEL_CLASS_NAMES "[\"normal\",\"tumor\"]"

struct model_spec {
    int towers;
    int window; /* px, at least 75 */
    int batch;
    bool training;          /* plan backward and update too */
    bool fixed;             /* inference only: model_refresh() discards the towers' parameters */
    enum dtype activations; /* DTYPE_F32 or DTYPE_BF16; the head is always F32 */
    bool gamma; /* batch norm has a trainable scale (torchvision's files); Keras' InceptionV3 has
                   none */
    struct config_model model;
    struct config_optimizer optimizer;
};

/* One named array. Convolutions are kept as (K,R,S,C); torch_shape is what files hold: (K,C,R,S),
 * (K,C) or (K). */
struct parameter {
    char name[96]; /* torchvision's, prefixed: "tower0.Mixed_5b.branch1x1.conv.weight",
                      "head.0.bias" */
    int dims;
    int64_t torch_shape[4];
    int64_t count;
    bool trains;
    bool statistic; /* moving mean or variance */
    float *host;    /* values of what does not change in training, else NULL */
    float *device, *gradient, *state1, *state2; /* NULL where there is none */
    int queue;
};

enum parameter_part { PART_VALUE, PART_GRADIENT, PART_STATE1, PART_STATE2 };

struct model;

bool model_init(struct model **model, struct backend *backend, const struct model_spec *spec,
                struct error *err);
void model_release(struct model *model);

const struct model_spec *model_spec(const struct model *model);
struct backend *model_backend(const struct model *model);
int model_parameter_count(const struct model *model); /* arrays */
const struct parameter *model_parameter(const struct model *model, int index);
int64_t model_values(const struct model *model);           /* floats in all arrays */
int64_t model_trainable_values(const struct model *model); /* of those, trained ones */

/* Copy one array from or to the model in torch's order. Writing values must be followed by
 * model_refresh(). Not for what a fixed model has discarded. */
bool model_read(struct model *model, int index, enum parameter_part part, float *values,
                struct error *err);
bool model_write(struct model *model, int index, enum parameter_part part, const float *values,
                 struct error *err);

/* Seeded start: He normal for convolutions, Glorot uniform for the head (Keras' defaults), zero
 * biases, and moving statistics (0, 1). Also resets the optimizer's state. */
bool model_randomize(struct model *model, uint64_t seed, struct error *err);

/* Fold the current values of every batch norm into the plans of the inference program, and of
 * training's frozen layers. */
bool model_refresh(struct model *model, struct error *err);

/* Passes of one kind that may be under way at once: while one computes, the next one's
 * batch is copied. */
enum { PASSES_MAX = 2 };

struct model_batch {
    const uint8_t *pixels[TOWERS_MAX];            /* host (count, window, window, 3) */
    const struct augment_draw *draws[TOWERS_MAX]; /* host (count) */
    const float *labels;                          /* host (count); training only */
    int count;                                    /* <= spec.batch; training: == spec.batch */
    void *tag;                                    /* the caller's, given back in the result */
};

/* Seconds of one step, of the slowest tower. */
struct model_timing {
    double augment_s, forward_s, backward_s, update_s;
};

/* The oldest pass under way, once it is collected: which one it was, and what came of it. */
struct model_result {
    void *tag; /* as submitted, like what follows */
    int count;
    double learning_rate; /* training only, like what follows */
    float loss;
    struct model_timing timing;
};

/* One step of gradient descent, submitted and collected apart: up to PASSES_MAX may be under way,
 * so that the device never waits for the host. They are collected in the order of submission. The
 * batch's pixels must stay as they are until its step is collected. step counts from 1. Between a
 * submission and its collection only steps of the same kind may be submitted. probabilities: host
 * (count), of this forward pass; may be NULL. */
bool model_train_submit(struct model *model, const struct model_batch *batch, double learning_rate,
                        int64_t step, uint64_t seed, struct error *err);
bool model_train_collect(struct model *model, struct model_result *result, float *probabilities,
                         struct error *err);
/* Passes under way. */
int model_in_flight(const struct model *model);

/* Both at once. */
bool model_train_step(struct model *model, const struct model_batch *batch, double learning_rate,
                      int64_t step, uint64_t seed, float *loss, float *probabilities,
                      struct error *err);

/* Probabilities with the inference program, likewise. Nothing may have been trained or written
 * since model_refresh(): the program would compute with folded weights of earlier values. */
bool model_predict_submit(struct model *model, const struct model_batch *batch, struct error *err);
bool model_predict_collect(struct model *model, struct model_result *result, float *probabilities,
                           struct error *err);
bool model_predict(struct model *model, const struct model_batch *batch, float *probabilities,
                   struct error *err);

/* What one operation of a tower's program takes, alone on its queue. */
struct model_op_time {
    struct op op;         /* names and shapes */
    double seconds, macs; /* of one run with a whole batch */
};
/* Time every operation of a tower's training or inference program for about `seconds` in all,
 * slowest first; *times is malloc'ed. Call it behind a step, so that there are values to compute
 * with; batch norm's moving statistics drift. */
bool model_profile(struct model *model, int tower, bool training, double seconds,
                   struct model_op_time **times, int *count, struct error *err);

/* One operation after another of a tower's program, or of the head's (tower = spec.towers); NULL
 * behind the last. *plan, if asked for, is the backend's. */
const struct op *model_op(const struct model *model, int tower, bool training, int index,
                          const struct plan **plan);

/* What the model holds, in bytes, for the memory plan. */
struct model_memory {
    size_t parameters, gradients, optimizer, folded, activations, inference_activations, plans,
        batches;
};
struct model_memory model_memory(const struct model *model);
/* What `plans` will grow by when a planned model is refreshed for the first time, on a device with
 * memory of its own; bytes. */
size_t model_weights_to_load(const struct model *model);
/* Multiply-adds of one example: forward of the inference program, and forward +
 * backward of training. */
void model_macs(const struct model *model, double *inference, double *training);

#endif
