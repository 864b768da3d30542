/* Access to the inside of a model: an array by name, an activation of a tower. */
#ifndef MICROMET_TESTS_MODEL_INSPECT_H
#define MICROMET_TESTS_MODEL_INSPECT_H

#include "micromet/nn/model.h"

/* NULL if the model has no array of this name. *index, unless NULL, is set to its index. */
const struct parameter *model_find(const struct model *model, const char *name, int *index);

/* Run one tower's inference program on preprocessed input, (batch, window, window, 3) float in
 * [-1,1]. Copies the named tensor ("Mixed_5d", "Conv2d_1a_3x3", "features") as dense float32,
 * n*h*w*c, to *values, malloc'ed. No tensors share memory in this program. */
bool model_activation(struct model *model, int tower, const float *input, const char *name,
                      float **values, int shape[4], struct error *err);

#endif
