/* micromet inspect: one function for each kind of file. Each prints its report on stdout and may
 * write pictures into out_folder. */
#ifndef MICROMET_CLI_INSPECT_H
#define MICROMET_CLI_INSPECT_H

#include <stdbool.h>

#include "micromet/base/config.h"
#include "micromet/base/error.h"

/* inspect_slide.c. annotation: path, or "" for none; mask_downsample: as annotation_open() takes
 * it; data: says which of a mask's values are tumour, NULL: all but 0; mpp: µm per level-0 px, 0 =
 * the slide's own. */
bool inspect_slide(const char *path, const char *annotation, double mask_downsample,
                   const struct config_data *data, double mpp, const char *out_folder,
                   struct error *err);
/* inspect_pack.c */
bool inspect_pack(const char *path, const char *out_folder, struct error *err);
/* inspect_checkpoint.c: a checkpoint, or weights that a training could start from. */
bool inspect_weights(const char *path, struct error *err);

#endif
