/* How many µm a pixel has: what slides say of it, and what they are told.
 *
 * For the slide of a manifest, the first of these holds that is there: the manifest's column `mpp`,
 * data.mpp_override, what the slide itself says, data.mpp. */
#ifndef MICROMET_SLIDE_SCALE_H
#define MICROMET_SLIDE_SCALE_H

#include "micromet/base/config.h"
#include "micromet/slide/manifest.h"
#include "micromet/slide/slide.h"

/* What holds if the slide itself says `own` (x, y; 0 = it does not say). */
void scale_of_row(double mpp[2], const struct manifest_row *row, const struct config_data *data,
                  const double own[2]);
/* slide_open() of a row's slide, with the µm/px that hold for it. */
bool slide_open_row(struct slide *slide, const struct manifest_row *row,
                    const struct config_data *data, struct error *err);

/* Whether x and y agree to 3 %. */
bool scale_is_square(double mpp_x, double mpp_y);
/* Log what a user should know of an open slide's µm/px: that what it says is implausible, or
 * that it was told otherwise. */
void scale_log(const struct slide *slide);

#endif
