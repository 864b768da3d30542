/* How many µm a pixel has: what slides say of it, what they are told, and what is made of it.
 *
 * For the slide of a manifest, the first of these holds that is there: the manifest's column `mpp`,
 * data.mpp_override, what the slide itself says, data.mpp.
 *
 * Where data.um_per_px says what towers see, a tower reads, of each slide, the coarsest level
 * without holes that is no coarser than that, give or take 1 %. If the level has that scale to 1 %,
 * it is read as it is; else a level is made of it, shrunk by area (shrink.h) by
 *
 *     um_per_px / (µm of the slide's level-0 px across * the level's downsample)
 *
 * in both directions, since pixels are square to 3 %. Nothing is enlarged: where even level 0 is
 * coarser, by up to 10 %, it is read as it is, with a warning, and beyond that the slide is
 * refused. With data.shrink_from: finest, only the finest tower's level is found so; those of the
 * others are made of it, shrunk by the ratio of both towers' um_per_px. */
#ifndef MICROMET_SLIDE_SCALE_H
#define MICROMET_SLIDE_SCALE_H

#include "micromet/base/config.h"
#include "micromet/slide/manifest.h"
#include "micromet/slide/slide.h"

/* What holds if the slide itself says `own` (x, y; 0 = it does not say). */
void scale_of_row(double mpp[2], const struct manifest_row *row, const struct config_data *data,
                  const double own[2]);
/* Find or make the level that each tower reads, if data->um_per_px says what towers see. Call it
 * once, when the slide's µm/px are known. Refuses slides of unknown µm/px, and coarser ones. */
bool scale_settle(struct slide *slide, const struct config_data *data, struct error *err);
/* The slide's level that a tower reads. */
int tower_level(const struct slide *slide, const struct config_data *data, int tower);
/* What a tower sees, for messages: "level 2", or "tower 0 (0.5 µm/px)". */
enum { TOWER_TEXT_BYTES = 48 };
const char *tower_text(const struct config_data *data, int tower, char text[TOWER_TEXT_BYTES]);

/* slide_open() of a row's slide, with the µm/px that hold for it, settled. */
bool slide_open_row(struct slide *slide, const struct manifest_row *row,
                    const struct config_data *data, struct error *err);

/* Whether x and y agree to 3 %. */
bool scale_is_square(double mpp_x, double mpp_y);
/* Log what a user should know of an open slide's µm/px: that what it says is implausible, or
 * that it was told otherwise. */
void scale_log(const struct slide *slide);

#endif
