/* What augmentation does to one sample: parameters drawn on the host, arithmetic in
 * augment_pixel.h.
 *
 * Order: orientation (shared by the towers), then brightness, saturation, hue, contrast as
 * TensorFlow's tf.image.adjust_* define them on float RGB in [0,1], clip to [0,1], then 2x - 1. */
#ifndef MICROMET_DATA_AUGMENT_H
#define MICROMET_DATA_AUGMENT_H

#include "micromet/base/config.h"
#include "micromet/base/random.h"
#include "micromet/data/augment_draw.h"

/* draws[tower]. Pure function of (seed, epoch, sample): from the stream RANDOM_AUGMENT, one word
 * for the orientation (bits 0-1 quarter_turns, bit 2 flip_x, bit 3 flip_y), then for each tower, or
 * once if they share the colour, brightness, saturation, hue, contrast (one uniform each). Words
 * are drawn whether or not their option is on, so tower 0 gets the same draw with per_tower and
 * without. */
void augment_draw(const struct config_augment *augment, int towers, uint64_t seed, uint32_t epoch,
                  uint64_t sample, struct augment_draw draws[TOWERS_MAX]);
struct augment_draw augment_identity(void);
/* Orientation k of the eight of the square: k & 3 quarter turns, k & 4 mirrored. */
struct augment_draw augment_orientation(int k);

#endif
