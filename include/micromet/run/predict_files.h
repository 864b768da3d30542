/* Probabilities of windows that lie in files: packs, and PNG pictures of single windows. */
#ifndef MICROMET_RUN_PREDICT_FILES_H
#define MICROMET_RUN_PREDICT_FILES_H

#include <stdio.h>

#include "micromet/run/checkpoint.h"

struct predict_files_options {
    int orientations; /* 1, 4 or 8 */
    int threads;      /* readers of packs */
};

/* One line a window, in the order of the files: file,window,x_level0,y_level0,probability. Pictures
 * are of `window` px, one a tower one after another, or one larger of single_window_of()'s side,
 * which is shrunk to 8-bit windows as a slide's pyramid would hold them; they have no coordinates.
 * Refuses packs of other towers, windows or scales. */
bool predict_files(const struct checkpoint *checkpoint, struct model *model, char *const *paths,
                   int count, const struct predict_files_options *options, FILE *csv,
                   struct error *err);

#endif
