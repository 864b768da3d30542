/* The weights that a run begins with: what follows from them for its configuration, and what is
 * said of them. */
#ifndef MICROMET_RUN_INITIAL_WEIGHTS_H
#define MICROMET_RUN_INITIAL_WEIGHTS_H

#include "micromet/nn/pretrained.h"

/* Open model.weights, which are not random; model.pool_padding=auto becomes the rule of their
 * writer. Warns where the configuration departs from what the weights were trained with. */
bool initial_weights_open(struct pretrained *pretrained, struct config *config, struct error *err);
/* One line, or with `verbose` the whole report. */
void initial_weights_log(const struct pretrained *pretrained, int towers, bool head_taken,
                         bool verbose);

#endif
