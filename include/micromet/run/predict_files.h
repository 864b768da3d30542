/* Probabilities of windows stored in files: packs, and PNG images of single windows. */
#ifndef MICROMET_RUN_PREDICT_FILES_H
#define MICROMET_RUN_PREDICT_FILES_H

#include <stdio.h>

#include "micromet/run/checkpoint.h"

struct predict_files_options {
    int orientations; /* 1, 4 or 8 */
    int threads;      /* reader threads for packs */
};

extern const char predict_files_header[]; /* the first line */
/* One CSV line per window, in the order of the files: file,window,x_level0,y_level0,probability.
 * Images have no coordinates. They are either of `window` px, one per tower in turn, or single
 * larger ones with the side given by single_window_of(), downsampled to 8-bit windows as in a
 * slide's pyramid. Refuses packs with other towers, window sizes or scales. */
bool predict_files(const struct checkpoint *checkpoint, struct model *model, char *const *paths,
                   int count, const struct predict_files_options *options, FILE *csv,
                   struct error *err);

#endif
