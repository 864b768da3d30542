/* The tumour probability of every tissue window of a slide. */
#ifndef MICROMET_RUN_HEATMAP_H
#define MICROMET_RUN_HEATMAP_H

#include "micromet/run/checkpoint.h"
#include "micromet/run/predict.h"
#include "micromet/slide/grid.h"
#include "micromet/slide/identity.h"
#include "micromet/world/world.h"

/* Batches of windows in memory: one is filled while the others are in flight. */
enum { HEATMAP_BATCHES = PASSES_MAX + 1 };

struct heatmap_options {
    int stride;        /* px of the finest tower's level; 0 = as trained */
    double min_tissue; /* share of tissue pixels that a window needs; negative = as trained */
    int threads;       /* reader threads */
    /* File of finished strips, for continuing later; NULL = none. Each rank has its own. */
    const char *partial;
    /* The ranks that share the strips; all of them call this, and get the whole map. NULL = only
     * this process. */
    struct world *world;
};

struct heatmap {
    struct grid grid;
    float *probabilities; /* (grid.rows, grid.columns); NaN = not tissue */
    int64_t windows;      /* that have a probability */
    double score;         /* of the slide: the largest; NaN if there is none */
};

/* Refuses a slide whose levels do not match those of training (downsample by more than 1 %,
 * µm/px by more than 10 % where both are known). Processes the slide in strips, so memory does
 * not grow with its size; with `partial`, an interrupted heat map continues after its last
 * finished strip. */
bool heatmap_compute(struct heatmap *heatmap, const struct checkpoint *checkpoint,
                     struct predictor *predictor, const struct slide *slide,
                     const struct heatmap_options *options, struct error *err);
void heatmap_release(struct heatmap *heatmap);
/* Count the windows and find the score from the probabilities. */
void heatmap_summarise(struct heatmap *heatmap);

/* The files of a slide's map: <folder>/<stem>.heatmap.tif and so on. */
struct heatmap_files {
    char tiff[PATH_MAX_BYTES], picture[PATH_MAX_BYTES], json[PATH_MAX_BYTES];
    char partial[PATH_MAX_BYTES];      /* strips finished so far */
    char content[IDENTITY_TEXT_BYTES]; /* of the slide; set by heatmap_files_check_earlier() */
};
bool heatmap_files_init(struct heatmap_files *files, const char *folder, const char *slide,
                        struct error *err);
/* Whether they can be written, without writing over one of the inputs. */
bool heatmap_files_check(const struct heatmap_files *files, char *const *inputs, int count,
                         struct error *err);
/* Refuse to write over the map of another slide, which has the same name, or by another model.
 * After checkpoint_model(). */
bool heatmap_files_check_earlier(struct heatmap_files *files, const struct checkpoint *checkpoint,
                                 const struct slide *slide, struct error *err);

/* Write the TIFF (float, one pixel per window), the picture (overlay; `annotation` may be NULL) and
 * the JSON (score, geometry). */
bool heatmap_write(const struct heatmap *heatmap, const struct checkpoint *checkpoint,
                   const struct slide *slide, struct annotation *annotation,
                   const struct heatmap_files *files, struct error *err);

#endif
