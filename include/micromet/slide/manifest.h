/* The list of slides: a CSV with one row per slide, giving its file, annotation,
 * label and split. */
#ifndef MICROMET_SLIDE_MANIFEST_H
#define MICROMET_SLIDE_MANIFEST_H

#include "micromet/base/error.h"
#include "micromet/base/file.h"

enum split { SPLIT_TRAIN, SPLIT_VALIDATION, SPLIT_TEST, SPLIT_COUNT };

struct manifest_row {
    char slide[PATH_MAX_BYTES];      /* resolved against the manifest's folder */
    char annotation[PATH_MAX_BYTES]; /* empty = none */
    int label;                       /* 1 tumour, 0 normal */
    enum split split;
    double mpp;             /* µm per level-0 px, whatever the slide says; 0 = none given */
    double mask_downsample; /* level-0 px a side of the mask's pixels; 0 = as its size tells */
    char patient[128];      /* empty = unknown */
    int line;
};

struct manifest {
    char path[PATH_MAX_BYTES];
    struct manifest_row *rows;
    int count;
};

/* Read a CSV with the header slide,annotation,label,split and perhaps mpp, mask_downsample and
 * patient, columns in any order; how it may be written, manifest_text.h tells, and what paths mean,
 * manifest_path.h. label: tumor|tumour|1|positive or normal|0|negative. split:
 * train|validation|test, or what is short or long for them (val, training). Cells such as `nan`
 * are empty. Other columns are named in a warning and not read; but one whose name is nearly that
 * of a column above is refused, and so are unknown values, a slide that is listed twice or in two
 * splits, a patient in two splits, and two slides of the same name, whose packs would be the same
 * file. Errors read `slides.csv:7: …`. */
bool manifest_load(struct manifest *manifest, const char *path, struct error *err);
void manifest_release(struct manifest *manifest);

extern const char *const split_names[]; /* by enum split; NULL behind the last */
const char *split_name(enum split split);

#endif
