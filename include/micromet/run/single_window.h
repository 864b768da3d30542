/* One larger window from which the windows of all towers can be cut. */
#ifndef MICROMET_RUN_SINGLE_WINDOW_H
#define MICROMET_RUN_SINGLE_WINDOW_H

#include "micromet/run/checkpoint.h"

/* `side` px of the finest tower's level; tower t sees the ratios[t] times shrunk `window`·ratios[t]
 * px from corners[t] on. Centres are those of slide.h. */
struct single_window {
    int side, ratios[TOWERS_MAX], corners[TOWERS_MAX];
};
/* Refused where the ratio of two downsamples is off an integer by more than 1 %. */
bool single_window_of(const struct checkpoint *checkpoint, struct single_window *single,
                      struct error *err);

#endif
