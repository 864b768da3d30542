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
    int line;
};

struct manifest {
    char path[PATH_MAX_BYTES];
    struct manifest_row *rows;
    int count;
};

/* Read a CSV with the header slide,annotation,label,split, columns in any order, quotes as in RFC
 * 4180. label: tumor|tumour|1 or normal|0. split: train|validation|test. Refuses unknown columns
 * and values, a slide that is listed twice or in two splits, and two slides of the same name, whose
 * packs would be the same file. Errors read `slides.csv:7: …`. */
bool manifest_load(struct manifest *manifest, const char *path, struct error *err);
void manifest_release(struct manifest *manifest);

extern const char *const split_names[]; /* by enum split; NULL behind the last */
const char *split_name(enum split split);

#endif
