/* One InceptionV3 tower: its parameters, and its parts of the training and inference programs. */
#ifndef MICROMET_NN_TOWER_H
#define MICROMET_NN_TOWER_H

#include "micromet/nn/inception_v3.h"
#include "parameters.h"
#include "program.h"

/* A convolution with its batch norm and ReLU. */
struct unit {
    const struct inception_layer *layer;
    int in_channels;
    bool weights_train, norm_trains;
    int weight, gamma, beta, mean, variance; /* parameter indices; gamma: -1 if there is none */
    float *folded_bias;                    /* on the device; the folded weights are in the plans */
    float *saved_mean, *saved_inverse_std; /* on the device: of the last training forward pass */
    float *sums; /* on the device, (2, channels): batch norm's over all ranks, while one computes */
};

struct tower {
    int index, queue;
    struct unit units[INCEPTION_CONVOLUTIONS];
    struct parameters *parameters;
    void *folded; /* device memory of all folded biases */
    void *saved;  /* device memory of all saved batch statistics */
    size_t folded_bytes, saved_bytes;
    /* Ranks that share their batch statistics: how many, and the queue on which they add them up;
     * else 0. */
    int ranks, exchange_queue;
};

/* Determine which layers are trained, and register the parameters. A bad `freeze` is an error. */
bool tower_register(struct tower *tower, int index, int queue, const struct model_spec *spec,
                    struct parameters *parameters, struct error *err);
bool tower_allocate(struct tower *tower, const struct model_spec *spec, struct error *err);
void tower_release(struct tower *tower);
bool tower_trains(const struct tower *tower);

/* Fold batch norm into the biases, and load the folded weights into the plans of the given
 * programs. With `discard`, each unit's parameters are freed once folded. */
bool tower_fold(struct tower *tower, struct program *const *programs, int count, bool discard,
                struct error *err);

/* Append the forward pass from `input`, (n, window, window, 3), to the pooled features, written to
 * `features` (a view of 2048 channels). In training, trained batch norms are not folded. *tape, for
 * the backward pass, is released with tape_release(). */
struct tape;
bool tower_forward(struct tower *tower, const struct model_spec *spec, bool training,
                   struct program *program, struct view input, struct view features,
                   struct tape **tape, struct error *err);
/* Append the backward pass, from the gradient of the features. */
bool tower_backward(struct tower *tower, const struct model_spec *spec, struct program *program,
                    struct tape *tape, struct view feature_gradient, struct error *err);
/* The view of a named tensor of the forward pass; buffer -1 if there is none. */
struct view tape_view(const struct tape *tape, const char *name);
void tape_release(struct tape *tape);

#endif
