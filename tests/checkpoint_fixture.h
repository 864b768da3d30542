/* The content of the stored checkpoints in tests/fixtures, one for each version: make_checkpoint
 * writes it, and test_checkpoint expects it. */
#ifndef MICROMET_TESTS_CHECKPOINT_FIXTURE_H
#define MICROMET_TESTS_CHECKPOINT_FIXTURE_H

#include "micromet/run/checkpoint.h"

enum { FIXTURE_BATCH = 3 };

void checkpoint_fixture_config(struct config *config);
struct training_state checkpoint_fixture_state(void);
/* Probabilities of three windows of plain colours. */
bool checkpoint_fixture_predict(struct model *model, float probabilities[FIXTURE_BATCH],
                                struct error *err);

#endif
