/* The dense head on the towers' features: Dense+ReLU layers, dropout after the first,
 * and one logit. */
#ifndef MICROMET_NN_HEAD_H
#define MICROMET_NN_HEAD_H

#include "parameters.h"
#include "program.h"

enum { HEAD_DENSE_MAX = HEAD_LAYERS_MAX + 1 };

struct head {
    struct parameters *parameters;
    int count; /* dense layers, including the logit's */
    int outputs[HEAD_DENSE_MAX];
    int weight[HEAD_DENSE_MAX], bias[HEAD_DENSE_MAX]; /* parameter indices */
};

bool head_register(struct head *head, const struct model_spec *spec, struct parameters *parameters,
                   struct error *err);

struct head_views {
    struct view features, feature_gradient; /* gradient: buffer -1 if no tower is trained */
    struct view logits;
    float *loss, *probabilities;
};
/* Append the head to a program; for training also dropout, loss and the backward pass. */
void head_build(const struct head *head, const struct model_spec *spec, bool training,
                struct program *program, const struct head_views *views);

#endif
