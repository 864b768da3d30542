/* A single larger window from which the windows of all towers can be cut. */
#ifndef MICROMET_RUN_SINGLE_WINDOW_H
#define MICROMET_RUN_SINGLE_WINDOW_H

#include "micromet/run/checkpoint.h"

/* A square of `side` px at the finest tower's level. Tower t sees a square of
 * window·ratios[t] px, starting at corners[t] in x and y, downsampled by ratios[t]. Centres
 * follow slide.h's convention. */
struct single_window {
    int side, ratios[TOWERS_MAX], corners[TOWERS_MAX];
};
/* Fails where the ratio of two downsamples differs from an integer by more than 1 %. */
bool single_window_of(const struct checkpoint *checkpoint, struct single_window *single,
                      struct error *err);

/* The window×window px of a tower, cut out of the square `rgb`, (side, side, 3): the mean of each
 * ratio×ratio pixels, as the exported graph takes it, but rounded to a whole value. */
void single_window_cut(const struct single_window *single, int window, int tower,
                       const uint8_t *rgb, uint8_t *out);

#endif
