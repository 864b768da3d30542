/* How good a trained model is on one split of the manifest, for each slide and overall.
 *
 * `struct evaluation` is arithmetic alone: predictions go in slide by slide, rows of figures come
 * out. evaluate_run() is who makes the predictions: on the windows of packs or of the dataset, or
 * on every tissue window of whole slides. The threshold is the checkpoint's, chosen on validation,
 * never on what is evaluated. */
#ifndef MICROMET_RUN_EVALUATE_H
#define MICROMET_RUN_EVALUATE_H

#include <stdio.h>

#include "micromet/report/metrics.h"
#include "micromet/run/checkpoint.h"
#include "micromet/slide/grid.h"
#include "micromet/slide/manifest.h"

/* Figures of one set of windows; NaN where undefined. */
struct evaluation_row {
    int64_t count, tumor_count;
    double auc, average_precision;
    struct operating_point at;
};

struct evaluation_slide {
    char path[PATH_MAX_BYTES];
    int label;             /* in the manifest */
    int64_t first, count;  /* its windows in the arrays of the evaluation */
    int64_t background[2]; /* windows that the model was not shown, by label */
    double score;          /* the largest probability; 0 without windows */
    struct evaluation_row windows;
    struct evaluation_row with_background; /* background counts as probability 0 */
};

struct evaluation {
    double threshold;
    bool threshold_stored; /* else 0.5, because the checkpoint holds none */
    struct evaluation_slide *slides;
    int slide_count;
    int bad_slides; /* reported and left out */
    struct window *windows;
    float *probabilities;
    uint8_t *labels;
    int64_t count; /* windows of all slides */
    struct evaluation_row overall, overall_with_background;
    double slide_auc; /* of the scores; NaN unless there are slides of both kinds */
};

/* threshold: the checkpoint's; NaN = it has none. */
void evaluation_init(struct evaluation *evaluation, double threshold);
void evaluation_release(struct evaluation *evaluation);
/* Copies `count` windows and their probabilities. background: windows that were not shown to the
 * model, by label. */
bool evaluation_add(struct evaluation *evaluation, const char *path, int label,
                    const struct window *windows, const float *probabilities, int64_t count,
                    const int64_t background[2], struct error *err);
/* Fill the rows, once all slides are in. */
bool evaluation_finish(struct evaluation *evaluation, struct error *err);

struct evaluate_options {
    enum split split;
    bool whole_slides;
    int orientations; /* 1, 4 or 8 */
    int batch;
    int stride;         /* whole slides: px of the finest tower's level; 0 = as trained */
    const char *folder; /* whole slides: finished ones are kept in it for a later try, until
                         * evaluation_write(); NULL = are not */
};

/* Apply overrides to a checkpoint's configuration. Refuses those that would change what the model
 * is or sees, and those that an evaluation does not use. */
bool evaluation_configure(struct config *config, int count, char *const *overrides,
                          struct error *err);

/* Predict the whole split and fill *evaluation. Fails when no slide could be evaluated, and on a
 * split whose slides do not match what the model was trained on. */
bool evaluate_run(struct evaluation *evaluation, struct checkpoint *checkpoint,
                  const struct evaluate_options *options, struct error *err);

/* A table for people. */
void evaluation_print(const struct evaluation *evaluation, const struct checkpoint *checkpoint,
                      const struct evaluate_options *options, FILE *stream);
/* Everything as JSON, malloc'ed; NaN is null. NULL without memory. */
char *evaluation_json(const struct evaluation *evaluation, const struct checkpoint *checkpoint,
                      const struct evaluate_options *options);
/* <folder>/evaluation.json, predictions.csv (slide,x_level0,y_level0,label,probability: the windows
 * that the model was shown), roc.png and precision_recall.png. What evaluate_run() kept goes. */
bool evaluation_write(const struct evaluation *evaluation, const struct checkpoint *checkpoint,
                      const struct evaluate_options *options, const char *folder,
                      struct error *err);

#endif
