/* The learning rate as a function of examples seen and validation results. Plain data, stored in
 * checkpoints. */
#ifndef MICROMET_NN_SCHEDULE_H
#define MICROMET_NN_SCHEDULE_H

#include "micromet/base/config.h"

struct schedule_state {
    double plateau_rate; /* current rate of the plateau rule */
    /* best validation loss so far (plateau watches the loss, lower is better) */
    double best;
    int32_t bad_epochs;
    int32_t reserved;
};

void schedule_init(struct schedule_state *state, const struct config *config);
/* Rate for a step that starts after `examples` examples; total_examples = the whole run's.
 * constant; exponential: rate * factor^floor(examples/decay_examples); plateau; cosine: linear
 * warm-up, then half a cosine to `min`. */
double schedule_rate(const struct schedule_state *state, const struct config *config,
                     int64_t examples, int64_t total_examples);
/* Plateau: after `patience` epochs without a fall of the validation loss, multiply by factor, not
 * below min. */
void schedule_epoch_end(struct schedule_state *state, const struct config *config,
                        double validation_loss);

#endif
