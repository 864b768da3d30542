/* TensorBoard event files: scalar summaries and hyperparameters (TFRecord framing, masked CRC-32C,
 * Event protobuf). */
#ifndef MICROMET_FORMAT_TENSORBOARD_H
#define MICROMET_FORMAT_TENSORBOARD_H

#include <stdint.h>

#include "micromet/base/error.h"

struct tensorboard;
/* Create a new events.out.tfevents.* file in `folder`. */
bool tensorboard_init(struct tensorboard **board, const char *folder, struct error *err);
bool tensorboard_scalar(struct tensorboard *board, const char *tag, int64_t step, double value,
                        struct error *err);

/* What TensorBoard's HParams page compares runs by. */
struct hyperparameter {
    const char *name;
    enum { HYPERPARAMETER_TEXT, HYPERPARAMETER_NUMBER, HYPERPARAMETER_BOOL } kind;
    double number;    /* HYPERPARAMETER_NUMBER; 0 and 1 of _BOOL */
    const char *text; /* HYPERPARAMETER_TEXT; UTF-8 */
};
/* The run of this file has begun, with these. */
bool tensorboard_begin(struct tensorboard *board, const struct hyperparameter *hyperparameters,
                       int count, struct error *err);
/* It has come to its end. TensorBoard believes the first word on this in a run's files, so that
 * nothing is to be said of a run that may go on. */
bool tensorboard_end(struct tensorboard *board, struct error *err);

bool tensorboard_flush(struct tensorboard *board, struct error *err);
void tensorboard_release(struct tensorboard *board);

uint32_t crc32c(const void *bytes, uint64_t size); /* CRC-32C (Castagnoli); public for tests */

#endif
