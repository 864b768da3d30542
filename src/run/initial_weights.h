/* The initial weights of a run: opening them, what they imply for its
 * configuration, and logging. */
#ifndef MICROMET_RUN_INITIAL_WEIGHTS_H
#define MICROMET_RUN_INITIAL_WEIGHTS_H

#include "micromet/nn/pretrained.h"

/* Open the file of model.weights, which must not be "random". model.pool_padding=auto
 * becomes the padding that the weights were trained with. Warns if the configuration differs
 * from that of the weights. */
bool initial_weights_open(struct pretrained *pretrained, struct config *config, struct error *err);
/* Log one line, or the whole report if `verbose`. */
void initial_weights_log(const struct pretrained *pretrained, int towers, bool head_taken,
                         bool verbose);

#endif
