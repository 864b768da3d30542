/* Quality of predictions: AUC, operating points, curves. Pure arithmetic on
 * (probability, label) pairs.
 *
 * Any label but 0 is tumour. Functions that can fail refuse NaN probabilities. */
#ifndef MICROMET_REPORT_METRICS_H
#define MICROMET_REPORT_METRICS_H

#include <stdint.h>

#include "micromet/base/error.h"

struct confusion {
    int64_t true_positive, false_positive, true_negative, false_negative;
};
struct operating_point {
    double threshold; /* predicted tumour if probability >= threshold */
    struct confusion confusion;
    /* NaN where undefined (0/0) */
    double sensitivity, specificity, precision, recall, f1, accuracy;
};

/* Area under the ROC curve by the Mann-Whitney statistic with ties counted half (Hanley & McNeil
 * 1982, doi:10.1148/radiology.143.1.7063747). NaN when a class is absent. O(n log n). */
bool metrics_auc(const float *probabilities, const uint8_t *labels, int64_t count, double *auc,
                 struct error *err);

/* The threshold with the largest Youden index (sensitivity + specificity - 1); ties take the one
 * nearest 0.5, then the larger. Always one of the probabilities given. Fails when a
 * class is absent. */
bool metrics_choose_threshold(const float *probabilities, const uint8_t *labels, int64_t count,
                              double *threshold, struct error *err);
struct operating_point metrics_at(const float *probabilities, const uint8_t *labels, int64_t count,
                                  double threshold);

/* Points of the ROC and precision-recall curves, one for each distinct probability, in order of
 * falling threshold; *points is malloc'ed. The ROC curve's point (0, 0), above every threshold, is
 * left out. Rates over an absent class are NaN. */
struct curve_point {
    double threshold, false_positive_rate, true_positive_rate, precision;
};
bool metrics_curve(const float *probabilities, const uint8_t *labels, int64_t count,
                   struct curve_point **points, int64_t *point_count, struct error *err);
/* Average precision, sum of (recall step) × precision as in scikit-learn. NaN without points or
 * without tumour. */
double metrics_average_precision(const struct curve_point *points, int64_t point_count);

#endif
