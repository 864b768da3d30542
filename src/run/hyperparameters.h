/* The configuration of a run as TensorBoard's HParams page compares it with other runs'. */
#ifndef MICROMET_RUN_HYPERPARAMETERS_H
#define MICROMET_RUN_HYPERPARAMETERS_H

#include "micromet/base/config.h"
#include "micromet/format/tensorboard.h"

/* Begin the run in its event file, with all keys of which the model may depend. */
bool hyperparameters_write(struct tensorboard *board, const struct config *config,
                           struct error *err);

#endif
