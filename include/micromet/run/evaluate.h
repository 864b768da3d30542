/* How well a trained model does on one split of the manifest, per slide and overall.
 *
 * `struct evaluation` only computes: predictions are added slide by slide, then metrics are
 * derived. evaluate_run() makes the predictions, on the windows of packs or of the dataset, or on
 * every tissue window of whole slides. The threshold is the checkpoint's, chosen on validation and
 * never on the evaluated data. */
#ifndef MICROMET_RUN_EVALUATE_H
#define MICROMET_RUN_EVALUATE_H

#include <stdio.h>

#include "micromet/report/metrics.h"
#include "micromet/run/checkpoint.h"
#include "micromet/slide/grid.h"
#include "micromet/slide/manifest.h"

/* Metrics of one set of windows; NaN where undefined. */
struct evaluation_row {
    int64_t count, tumor_count;
    double auc, average_precision;
    struct operating_point at;
};

struct evaluation_slide {
    char path[PATH_MAX_BYTES];
    int label;             /* as in the manifest */
    int64_t first, count;  /* its windows in the evaluation's arrays */
    int64_t background[2]; /* windows not shown to the model, by label */
    double score;          /* the largest probability; NaN without windows */
    struct evaluation_row windows;
    struct evaluation_row with_background; /* background windows count as probability 0 */
};

/* The same windows as a model with a single input gets them (`micromet export --single-input`, and
 * WSInfer): all towers' windows shrunk from the finest level. */
struct single_comparison {
    bool measured;
    int side;                  /* px of the square at the finest level */
    struct evaluation_row row; /* at the evaluation's threshold */
    struct evaluation_row own; /* at its own, chosen here if the split is validation, else NaN */
    double mean_difference, max_difference; /* between the probabilities */
    int64_t flipped; /* decisions that differ at the evaluation's threshold */
};

struct evaluation {
    double threshold;
    bool threshold_stored; /* else 0.5, as the checkpoint holds none */
    struct evaluation_slide *slides;
    int slide_count;
    int bad_slides; /* reported and left out */
    struct window *windows;
    float *probabilities;
    uint8_t *labels;
    int64_t count; /* windows of all slides */
    struct evaluation_row overall, overall_with_background;
    int unscored_slides; /* without a window; not part of any figure but their own */
    double slide_auc;    /* of the slides' scores; NaN unless there are slides of both labels */
    /* Best for the scores of whole slides; NaN unless chosen on validation. */
    double slide_threshold;
    struct single_comparison single;
};

/* threshold: the checkpoint's; NaN = it has none. */
void evaluation_init(struct evaluation *evaluation, double threshold);
void evaluation_release(struct evaluation *evaluation);
/* Add a slide: copies `count` windows and their probabilities. background: numbers of windows not
 * shown to the model, by label. */
bool evaluation_add(struct evaluation *evaluation, const char *path, int label,
                    const struct window *windows, const float *probabilities, int64_t count,
                    const int64_t background[2], struct error *err);
/* Compute the metrics, once all slides are added. */
bool evaluation_finish(struct evaluation *evaluation, struct error *err);
/* Choose slide_threshold, of whole slides of validation; NaN if their scores cannot tell. */
bool evaluation_choose_slide_threshold(struct evaluation *evaluation, struct error *err);
/* Compare with the probabilities of the same windows, in the same order, from a single input of
 * `side` px. choose: also choose a threshold for them, as training does on validation. */
bool evaluation_compare_single(struct evaluation *evaluation, const float *probabilities, int side,
                               bool choose, struct error *err);

struct world;

struct evaluate_options {
    enum split split;
    bool whole_slides;
    bool single_input; /* windows of the dataset: also as a model with a single input gets them */
    int orientations;  /* 1, 4 or 8 */
    int batch;
    int stride; /* whole slides: px of the finest tower's level; 0 = as trained */
    /* Whole slides: where finished slides are kept so that an interrupted evaluation can continue,
     * until evaluation_write(). NULL = they are not kept. */
    const char *folder;
    /* The ranks that share the windows: all of them evaluate, and get the same. NULL = only this
     * process. */
    struct world *world;
};

/* Apply overrides to a checkpoint's configuration. Refuses those that would change the model or its
 * input, and those that an evaluation does not use. */
bool evaluation_configure(struct config *config, int count, char *const *overrides,
                          struct error *err);

/* Predict the whole split and fill *evaluation. Fails when no slide could be evaluated, or when the
 * split's slides do not match what the model was trained on. */
bool evaluate_run(struct evaluation *evaluation, struct checkpoint *checkpoint,
                  const struct evaluate_options *options, struct error *err);

/* Whether evaluation_write() can write to the folder, without writing over the evaluation of
 * another checkpoint, manifest, split or kind of windows. */
bool evaluation_check_outputs(const struct checkpoint *checkpoint,
                              const struct evaluate_options *options, const char *folder,
                              struct error *err);

/* Print a human-readable table. */
void evaluation_print(const struct evaluation *evaluation, const struct checkpoint *checkpoint,
                      const struct evaluate_options *options, FILE *stream);
/* All results as malloc'ed JSON; NaN becomes null. NULL if out of memory. */
char *evaluation_json(const struct evaluation *evaluation, const struct checkpoint *checkpoint,
                      const struct evaluate_options *options);
/* Write evaluation.json, predictions.csv (slide,x_level0,y_level0,label,probability: the windows
 * shown to the model), roc.png and precision_recall.png to the folder. What evaluate_run() kept for
 * continuing is removed. */
bool evaluation_write(const struct evaluation *evaluation, const struct checkpoint *checkpoint,
                      const struct evaluate_options *options, const char *folder,
                      struct error *err);

#endif
