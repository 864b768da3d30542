/* The initial state for comparing a training step with another program or backend.
 * tools/parity/train_step.py has the same formulas, and explains them. */
#ifndef MICROMET_TESTS_STEP_START_H
#define MICROMET_TESTS_STEP_START_H

#include "micromet/nn/model.h"

/* Read one array, malloc'ed. Aborts the test on failure. */
float *step_read(struct model *model, int index, enum parameter_part part);
void step_write(struct model *model, int index, enum parameter_part part, const float *values);

/* Draw a one-dimensional array: statistics, scales and shifts in the range of trained ones. */
void step_draw_vector(const struct parameter *parameter, uint64_t seed, int index, float *values);
/* Subtract the mean from every filter, which reduces rounding in batch norm. */
void step_center_filters(const struct parameter *parameter, float *values);
/* Adam's state as after one earlier step, with gradients of a root mean square of about `scale`. */
void step_start_adam(struct model *model, int index, uint64_t seed, float scale);
/* Draw window `row` of a tower's batch, (window, window, 3): a gradient with noise. */
void step_draw_window(const struct model_spec *spec, uint64_t seed, int tower, int row,
                      uint8_t *pixels);

#endif
