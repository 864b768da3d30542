/* A look inside a model: one array by its name, one tensor of a tower. */
#ifndef MICROMET_TESTS_MODEL_INSPECT_H
#define MICROMET_TESTS_MODEL_INSPECT_H

#include "micromet/nn/model.h"

/* NULL if the model has no array of this name. *index, if asked for, is the array's. */
const struct parameter *model_find(const struct model *model, const char *name, int *index);

/* Run one tower's inference program on prepared input, (batch, window, window, 3) float in [-1,1],
 * and copy the named tensor ("Mixed_5d", "Conv2d_1a_3x3", "features") as dense float32 to *values,
 * malloc'ed, n*h*w*c. Runs with every tensor kept. */
bool model_activation(struct model *model, int tower, const float *input, const char *name,
                      float **values, int shape[4], struct error *err);

#endif
