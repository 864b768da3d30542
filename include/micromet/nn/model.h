/* The network: one InceptionV3 tower per magnification, whose pooled features are concatenated and
 * fed to a dense head with one logit.
 *
 * The towers are distributed over the backend's queues, and the head runs on queue 0. All
 * operations are planned when the model is created: a training program (forward, backward, update)
 * if requested, and an inference program in which every batch norm is folded into its convolution.
 * The batch size is fixed; smaller batches leave rows unused.
 *
 * A step of the training may be cut into shards: passes over `batch` rows each, with batch
 * statistics of their own, whose gradients are added up in a fixed order (nn/shard_tree.h). The
 * ranks of a world take consecutive shards, as many each; the sum has the same bits however many
 * ranks there are. */
#ifndef MICROMET_NN_MODEL_H
#define MICROMET_NN_MODEL_H

#include "micromet/nn/backend.h"

/* How 8-bit pixels are transformed before the first convolution, as recorded in the
 * files written. */
#define MODEL_PREPROCESSING "rgb/255*2-1"
/* Names of the classes with probability 0 and 1, in the same files. */
#define MODEL_CLASS_NAMES "[\"normal\",\"tumor\"]"

struct model_spec {
    int towers;
    int window;             /* px, at least 75 */
    int batch;              /* rows of a pass */
    int shards;             /* passes of a step, of all ranks; 0 is 1 */
    bool training;          /* plan backward and update as well */
    bool fixed;             /* inference only: model_refresh() discards the towers' parameters */
    enum dtype activations; /* DTYPE_F32 or DTYPE_BF16; the head is always F32 */
    /* Batch norm has a trainable scale, as in torchvision's weights but not in Keras'. */
    bool gamma;
    struct config_model model;
    struct config_optimizer optimizer;
    /* Of the training's loss, not of probabilities; weights of the labels 0 and 1, 0 = 1. */
    double label_smoothing, class_weights[2];
};

/* Whether ranks share their batch statistics. They then have one shard each: a shard cannot share
 * with those that its rank computes later. */
static inline bool model_syncs(const struct config_model *model)
{
    return model->batch_norm_sync && model->batch_norm == BATCH_NORM_BATCH;
}

/* One named array. Convolution weights are stored as (K,R,S,C); torch_shape is the shape in files:
 * (K,C,R,S), (K,C) or (K). */
struct parameter {
    /* torchvision's name with a prefix: "tower0.Mixed_5b.branch1x1.conv.weight", "head.0.bias". */
    char name[96];
    int dims;
    int64_t torch_shape[4];
    int64_t count;
    bool trains;
    bool statistic; /* moving mean or variance */
    float *host;    /* values that the device does not need (folded), else NULL */
    float *device, *gradient, *state1, *state2; /* NULL if absent */
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
int64_t model_trainable_values(const struct model *model); /* those of the trained arrays */

/* Copy one array from or to the model, in PyTorch's layout. After writing values, call
 * model_refresh(). Arrays that a fixed model has discarded cannot be copied. */
bool model_read(struct model *model, int index, enum parameter_part part, float *values,
                struct error *err);
bool model_write(struct model *model, int index, enum parameter_part part, const float *values,
                 struct error *err);

/* Seeded initialisation: He normal for convolutions, Glorot uniform for the head (as in
 * Keras), zero biases, and moving statistics of mean 0 and variance 1. Also resets the
 * optimizer's state. */
bool model_randomize(struct model *model, uint64_t seed, struct error *err);

/* Fold the current values of every batch norm into the inference program, and into the frozen
 * layers of the training program. */
bool model_refresh(struct model *model, struct error *err);

/* Passes of one kind that may be in flight at once: the next batch is copied while one computes. */
enum { PASSES_MAX = 2 };

/* Passes of a step that this rank makes, and the first of the shards that they are. */
int model_local_shards(const struct model *model);
int model_first_shard(const struct model *model);

struct model_batch {
    const uint8_t *pixels[TOWERS_MAX];            /* host (count, window, window, 3) */
    const struct augment_draw *draws[TOWERS_MAX]; /* host (count) */
    const float *labels;                          /* host (count); training only */
    int count;                                    /* <= spec.batch; training: == spec.batch */
    int shard; /* training: which of this rank's, from 0 on; a step is all of them in order */
    bool stop; /* training: ask all ranks to stop behind this step */
    void *tag; /* the caller's, returned in the result */
};

/* Seconds of one step by stage; a stage ends when the slowest queue has finished it. */
struct model_timing {
    double augment_s, forward_s, backward_s, update_s;
    /* Adding up shards and ranks: what of it the update had to wait for, and all of it. */
    double exchange_wait_s, exchange_s;
};

/* The result of the oldest pass in flight. */
struct model_result {
    void *tag; /* as submitted, as is count */
    int count;
    double learning_rate; /* training only, as are the following */
    bool step_done;       /* this was the step's last shard */
    float loss;           /* of the step's whole batch, once it is done */
    bool stop;            /* some rank asked for it; the same on all ranks */
    struct model_timing timing;
};

/* One pass of a step of gradient descent, in two calls: up to PASSES_MAX passes may be submitted
 * before the first is collected, so that the device never waits for the host. Passes are collected
 * in the order of submission, and the batch's pixels must not change until then. While any are in
 * flight, only passes of the same kind may be submitted. The pass of a step's last shard updates
 * the weights. step counts from 1. probabilities: host (count), of this pass; may be NULL. */
bool model_train_submit(struct model *model, const struct model_batch *batch, double learning_rate,
                        int64_t step, uint64_t seed, struct error *err);
bool model_train_collect(struct model *model, struct model_result *result, float *probabilities,
                         struct error *err);
/* Take back the shards of a step that will not be completed, so that the model's arrays are those
 * after the last one that was. With none in flight. */
bool model_train_rewind(struct model *model, struct error *err);
/* Passes in flight. */
int model_in_flight(const struct model *model);

/* Submit and collect a pass. */
bool model_train_step(struct model *model, const struct model_batch *batch, double learning_rate,
                      int64_t step, uint64_t seed, float *loss, float *probabilities,
                      struct error *err);

/* Probabilities by the inference program, in the same two calls. If values were trained or written,
 * call model_refresh() first: the folded weights would be out of date. */
bool model_predict_submit(struct model *model, const struct model_batch *batch, struct error *err);
bool model_predict_collect(struct model *model, struct model_result *result, float *probabilities,
                           struct error *err);
bool model_predict(struct model *model, const struct model_batch *batch, float *probabilities,
                   struct error *err);

/* The time that one operation of a tower's program takes on its queue. */
struct model_op_time {
    struct op op;         /* names and shapes */
    double seconds, macs; /* of one run with a full batch */
};
/* Time every operation of a tower's training or inference program, for about `seconds` in all. The
 * result is sorted slowest first; *times is malloc'ed. Call it after a step, so that the buffers
 * hold realistic values. The moving statistics of batch norm change. */
bool model_profile(struct model *model, int tower, bool training, double seconds,
                   struct model_op_time **times, int *count, struct error *err);

/* Iterate over the operations of a tower's program, or of the head's (tower = spec.towers); NULL
 * past the last. *plan, if wanted, is the backend's plan of the operation. */
const struct op *model_op(const struct model *model, int tower, bool training, int index,
                          const struct plan **plan);

/* Bytes that the model occupies, for the memory plan. */
struct model_memory {
    size_t parameters, gradients, optimizer, folded, activations, inference_activations, plans,
        batches;
};
struct model_memory model_memory(const struct model *model);
/* Bytes by which `plans` will grow at a planned model's first refresh, on a device with
 * memory of its own. */
size_t model_weights_to_load(const struct model *model);
/* Multiply-adds per example: of the inference program, and of a training step's forward and
 * backward passes. */
void model_macs(const struct model *model, double *inference, double *training);

#endif
