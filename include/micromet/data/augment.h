/* Augmentation of one sample: parameters are drawn here, on the host; the arithmetic is in
 * augment_pixel.h.
 *
 * Order: orientation (the same for all towers), then stains, then brightness, saturation, hue and
 * contrast as TensorFlow's tf.image.adjust_* define them on float RGB in [0,1], clip to [0,1], then
 * 2x - 1. */
#ifndef MICROMET_DATA_AUGMENT_H
#define MICROMET_DATA_AUGMENT_H

#include "micromet/base/config.h"
#include "micromet/base/random.h"
#include "micromet/data/augment_draw.h"

/* Draw the parameters of each tower, draws[tower]. A pure function of (seed, epoch, sample), from
 * the stream RANDOM_AUGMENT: one word for the orientation (bits 0-1 quarter_turns, bit 2 flip_x,
 * bit 3 flip_y), then brightness, saturation, hue and contrast (one uniform each) for each tower,
 * or once if all share them. Words are drawn whether or not their option is on, and tower 0 gets
 * the same draw with per_tower and without. Stains come from RANDOM_STAIN: for each tower, or once,
 * sigma and beta of haematoxylin, then of eosin and of DAB. */
void augment_draw(const struct config_augment *augment, int towers, uint64_t seed, uint32_t epoch,
                  uint64_t sample, struct augment_draw draws[TOWERS_MAX]);
struct augment_draw augment_identity(void);
/* Orientation k of the square's eight: k & 3 quarter turns, mirrored if k & 4. */
struct augment_draw augment_orientation(int k);

#endif
