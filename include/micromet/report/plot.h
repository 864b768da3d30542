/* Pictures, drawn with cairo: ROC and precision-recall curves, heat-map overlays,
 * slide overviews. */
#ifndef MICROMET_REPORT_PLOT_H
#define MICROMET_REPORT_PLOT_H

#include "micromet/report/metrics.h"

/* PNG, 1200×900: title, axes with ticks, one curve, the operating point marked, AUC or
 * AP in the legend. */
bool plot_roc(const char *path, const char *title, const struct curve_point *points, int64_t count,
              double auc, const struct operating_point *at, struct error *err);
bool plot_precision_recall(const char *path, const char *title, const struct curve_point *points,
                           int64_t count, double average_precision, double prevalence,
                           const struct operating_point *at, struct error *err);

/* Heat map over the slide's thumbnail, which is drawn in grey. Probabilities are translucent
 * colours (blue → yellow → red, perceptually ordered); NaN (not tissue) stays clear. With the
 * annotation's outline if there is one, a colour legend 0..1, a scale bar in mm if µm/px is known,
 * the slide's name and its score. */
struct plot_heatmap {
    const char *title;
    const uint8_t *thumbnail; /* (height, width, 3) */
    int width, height;
    double thumbnail_downsample; /* level-0 px per thumbnail px */
    const float *probabilities;  /* (rows, columns), NaN = none */
    int64_t columns, rows;
    double origin_x_level0, origin_y_level0; /* centre of cell (0,0) */
    double step_level0;                      /* between cells */
    const uint8_t *tumor_share; /* (height, width) 0..255 as annotation_draw(), or NULL */
    double mpp;                 /* µm per level-0 px, 0 = unknown */
    double score;               /* of the slide; NaN = it has none */
    double threshold;           /* of a window, marked at the colours; NaN = leave out */
};
bool plot_heatmap(const char *path, const struct plot_heatmap *heatmap, struct error *err);

/* Thumbnail with outlines of tissue (blue) and annotation (red). tissue: (height, width), 0 or 1,
 * may be NULL; tumor_share: as above. */
bool plot_slide(const char *path, const char *title, const uint8_t *thumbnail, int width,
                int height, const uint8_t *tissue, const uint8_t *tumor_share,
                double thumbnail_downsample, double mpp, struct error *err);

#endif
