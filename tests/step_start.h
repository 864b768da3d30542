/* How a training step that is compared with another program's or backend's begins: formulas that
 * tools/parity/train_step.py has too, and says the reasons for. */
#ifndef MICROMET_TESTS_STEP_START_H
#define MICROMET_TESTS_STEP_START_H

#include "micromet/nn/model.h"

/* One array, malloc'ed. Ends the test where it cannot be read. */
float *step_read(struct model *model, int index, enum parameter_part part);
void step_write(struct model *model, int index, enum parameter_part part, const float *values);

/* An array of one dimension: statistics, scales and shifts about where trained ones are. */
void step_draw_vector(const struct parameter *parameter, uint64_t seed, int index, float *values);
/* Take its mean from every filter: batch norm then rounds little. */
void step_center_filters(const struct parameter *parameter, float *values);
/* Adam's state as one earlier step left it, whose gradients had about the root
 * mean square `scale`. */
void step_start_adam(struct model *model, int index, uint64_t seed, float scale);
/* Window `row` of a tower's batch, (window, window, 3): a gradient under noise. */
void step_draw_window(const struct model_spec *spec, uint64_t seed, int tower, int row,
                      uint8_t *pixels);

#endif
