/* The arrays of a model. They are registered while the model is built, then laid out by
 * queue: values, gradients and each optimizer state are one contiguous region per queue,
 * which one op updates. */
#ifndef MICROMET_NN_PARAMETERS_H
#define MICROMET_NN_PARAMETERS_H

#include "micromet/nn/model.h"

struct region {
    int64_t count; /* floats; trained arrays come first, then statistics, each padded to 16 */
    int64_t trained, statistics;
    float *values, *gradients, *state1, *state2;
    float *average; /* of trained arrays and statistics, or NULL */
};

/* Floats behind the gradients of region 0 that are added up over shards and ranks as gradients
 * are. */
enum { TAIL_LOSS, TAIL_STOP, TAIL = 16 };

struct parameters {
    struct backend *backend;
    struct parameter *items;
    int count, capacity;
    struct region regions[TOWERS_MAX]; /* one per queue */
};

void parameters_init(struct parameters *parameters, struct backend *backend);
void parameters_release(struct parameters *parameters);

enum parameter_place {
    PLACE_HOST,    /* folded into another array: not needed on the device */
    PLACE_DEVICE,  /* no gradient: moving statistics, weights that are not trained */
    PLACE_TRAINED, /* has a gradient and optimizer state */
};

/* Returns the index, or -1 with *err set. torch_shape has `dims` entries. */
int parameters_add(struct parameters *parameters, const char *name, int dims,
                   const int64_t *torch_shape, bool statistic, enum parameter_place place,
                   int queue, struct error *err);

/* Allocate all registered arrays; their device addresses are valid from then on. */
bool parameters_allocate(struct parameters *parameters, int state_count, bool averages,
                         struct error *err);

/* Floats that an array of so many takes in its region. */
int64_t parameter_padded(int64_t count);

/* Copy values from or to the model, in the model's layout (K,R,S,C). */
bool parameters_load(struct parameters *parameters, int index, enum parameter_part part,
                     float *values, struct error *err);
bool parameters_store(struct parameters *parameters, int index, enum parameter_part part,
                      const float *values, struct error *err);

/* Free an array of PLACE_HOST; it can no longer be loaded or stored. */
void parameters_discard(struct parameters *parameters, int index);

/* (K,C,R,S) <-> (K,R,S,C); other shapes are copied. */
void order_from_torch(const struct parameter *parameter, const float *torch, float *ours);
void order_to_torch(const struct parameter *parameter, const float *ours, float *torch);

#endif
