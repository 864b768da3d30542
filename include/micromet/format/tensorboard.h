/* TensorBoard event files: scalar summaries (TFRecord framing, masked CRC-32C, Event protobuf). */
#ifndef MICROMET_FORMAT_TENSORBOARD_H
#define MICROMET_FORMAT_TENSORBOARD_H

#include <stdint.h>

#include "micromet/base/error.h"

struct tensorboard;
/* Create a new events.out.tfevents.* file in `folder`. */
bool tensorboard_init(struct tensorboard **board, const char *folder, struct error *err);
bool tensorboard_scalar(struct tensorboard *board, const char *tag, int64_t step, double value,
                        struct error *err);
bool tensorboard_flush(struct tensorboard *board, struct error *err);
void tensorboard_release(struct tensorboard *board);

uint32_t crc32c(const void *bytes, uint64_t size); /* CRC-32C (Castagnoli); public for tests */

#endif
