/* The tumour probability of every tissue window of a slide. */
#ifndef MICROMET_RUN_HEATMAP_H
#define MICROMET_RUN_HEATMAP_H

#include "micromet/run/checkpoint.h"
#include "micromet/run/predict.h"
#include "micromet/slide/grid.h"

/* Batches of windows kept in memory: one takes windows while the others are under way. */
enum { HEATMAP_BATCHES = PASSES_MAX + 1 };

struct heatmap_options {
    int stride;          /* px of the finest tower's level; 0 = as trained */
    double min_tissue;   /* share of tissue px that a window needs; negative = as trained */
    int threads;         /* readers */
    const char *partial; /* file that keeps finished strips for a later try; NULL = none */
};

struct heatmap {
    struct grid grid;
    float *probabilities; /* (grid.rows, grid.columns); NaN = not tissue */
    int64_t windows;      /* that have a probability */
    double score;         /* the largest; 0 if there is none */
};

/* Refuses a slide whose levels do not match what the model was trained on (downsample by more
 * than 1 %, µm/px by more than 10 % where both are known). Goes through the slide in strips,
 * so memory does not grow with it; with `partial`, an interrupted heat map goes on behind its
 * last finished strip. */
bool heatmap_compute(struct heatmap *heatmap, const struct checkpoint *checkpoint,
                     struct predictor *predictor, const struct slide *slide,
                     const struct heatmap_options *options, struct error *err);
void heatmap_release(struct heatmap *heatmap);
/* Count the windows and find the score, once the probabilities are known. */
void heatmap_summarise(struct heatmap *heatmap);

/* <folder>/<stem>.heatmap.tif (float, one pixel a window), .heatmap.png (overlay; `annotation` may
 * be NULL) and .heatmap.json (score, geometry). */
bool heatmap_write(const struct heatmap *heatmap, const struct checkpoint *checkpoint,
                   const struct slide *slide, struct annotation *annotation, const char *folder,
                   struct error *err);

#endif
