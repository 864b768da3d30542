/* Shared by tests of whole training steps on the simulated device: the article's network at 80 px
 * with dropout and augmentation, batches for it, and copies of all arrays of a model. Any failure
 * ends the test. */
#ifndef MICROMET_TESTS_STEP_MODEL_H
#define MICROMET_TESTS_STEP_MODEL_H

#include <criterion/criterion.h>

#include "micromet/data/augment.h"
#include "nn/model_parts.h"

#define OK(call) cr_assert((call), "%s", err.message)

enum { TOWERS = 2, WINDOW = 80, WINDOW_BYTES = WINDOW * WINDOW * 3, SEED = 3 };

struct model_spec step_spec(enum dtype activations, int batch);
struct backend *step_backend(enum backend_name name);

/* A batch. Who fills it provides the memory of the pixels; draws and labels are copied when
 * it is submitted. */
struct step_batch {
    uint8_t *pixels[TOWERS];
    struct augment_draw *draws[TOWERS];
    float *labels;
};

void step_batch_init(struct step_batch *batch, int rows);
void step_batch_release(struct step_batch *batch);
/* The same, with pixels in pageable memory of its own. */
void step_whole_batch_init(struct step_batch *batch, int rows);
void step_whole_batch_release(struct step_batch *batch);
/* Fill in the batch of a step (the first is 1). */
struct model_batch step_batch_fill(struct step_batch *batch, const struct model_spec *spec,
                                   int step);

enum { PARTS = 4 }; /* enum parameter_part */

struct arrays {
    int count;
    struct parameter *parameters; /* copies that remain valid after the model is released */
    float **parts[PARTS];         /* by array; NULL if the model has no such part */
};

struct arrays arrays_read(struct model *model);
/* Write everything except gradients. */
void arrays_write(const struct arrays *arrays, struct model *model);
void arrays_release(struct arrays *arrays);

#endif
