/* Learning rate schedules: the rate as a function of examples seen and validation results. The
 * state is plain data and stored in checkpoints. */
#ifndef MICROMET_NN_SCHEDULE_H
#define MICROMET_NN_SCHEDULE_H

#include "micromet/base/config.h"

struct schedule_state {
    double plateau_rate; /* current rate of the plateau rule */
    /* plateau: best (lowest) validation loss so far */
    double best;
    int32_t bad_epochs;
    int32_t reserved;
};

void schedule_init(struct schedule_state *state, const struct config *config);
/* Learning rate of a step that begins after `examples` examples; total_examples: of the whole run.
 * constant; exponential: rate * factor^floor(examples/decay_examples); plateau; cosine: linear
 * warm-up, then half a cosine down to `min`. */
double schedule_rate(const struct schedule_state *state, const struct config *config,
                     int64_t examples, int64_t total_examples);
/* Plateau: after `patience` epochs without a lower validation loss, multiply the rate by `factor`,
 * but not below `min`. */
void schedule_epoch_end(struct schedule_state *state, const struct config *config,
                        double validation_loss);

#endif
