/* What tests of whole training steps on the simulated device share: the article's network at 80 px,
 * with dropout and augmentation, batches for it, and all arrays of a model. What fails ends the
 * test. */
#ifndef MICROMET_TESTS_STEP_MODEL_H
#define MICROMET_TESTS_STEP_MODEL_H

#include <criterion/criterion.h>

#include "micromet/data/augment.h"
#include "nn/model_parts.h"

#define OK(call) cr_assert((call), "%s", err.message)

enum { TOWERS = 2, WINDOW = 80, WINDOW_BYTES = WINDOW * WINDOW * 3, SEED = 3 };

struct model_spec step_spec(enum dtype activations, int batch);
struct backend *step_backend(enum backend_name name);

/* Pixels in the memory of whoever sets them; the rest travels at once. */
struct step_batch {
    uint8_t *pixels[TOWERS];
    struct augment_draw *draws[TOWERS];
    float *labels;
};

void step_batch_init(struct step_batch *batch, int rows);
void step_batch_release(struct step_batch *batch);
/* The same with pixels in plain memory. */
void step_whole_batch_init(struct step_batch *batch, int rows);
void step_whole_batch_release(struct step_batch *batch);
/* The batch of a step, counted from 1. */
struct model_batch step_batch_fill(struct step_batch *batch, const struct model_spec *spec,
                                   int step);

enum { PARTS = 4 }; /* enum parameter_part */

struct arrays {
    int count;
    struct parameter *parameters; /* copies: names and counts stay when the model goes */
    float **parts[PARTS];         /* by array; NULL where the model has none */
};

struct arrays arrays_read(struct model *model);
/* All but gradients. */
void arrays_write(const struct arrays *arrays, struct model *model);
void arrays_release(struct arrays *arrays);

#endif
