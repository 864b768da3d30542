/* Tissue detection: a pixel is tissue if it is dark enough. Grey is scikit-image's rgb2gray, 0.2125
 * R + 0.7154 G + 0.0721 B, computed in integers (2125 R + 7154 G + 721 B, at most 2,550,000) so
 * that the rule is exact. */
#ifndef MICROMET_SLIDE_TISSUE_H
#define MICROMET_SLIDE_TISSUE_H

#include "micromet/base/config.h"
#include "micromet/slide/slide.h"

enum { GRAY_MAX = 2550000 };

struct tissue_rule {
    int32_t gray_max; /* largest grey that is tissue, 0..GRAY_MAX */
};

/* gray: threshold * GRAY_MAX (the paper's 0.8). otsu: tissue_otsu() of the 256-bin grey histogram
 * of a thumbnail of at most 1024 px, with the fixed threshold for the glass. */
bool tissue_rule_init(struct tissue_rule *rule, const struct config_data *data,
                      const struct slide *slide, struct error *err);

static inline int32_t tissue_gray(const uint8_t rgb[3])
{
    return 2125 * rgb[0] + 7154 * rgb[1] + 721 * rgb[2];
}

/* Fraction of tissue pixels, 0..1, among width×height RGB pixels; row_stride in bytes. */
float tissue_share(const struct tissue_rule *rule, const uint8_t *rgb, int width, int height,
                   size_t row_stride);

/* Otsu's threshold (IEEE SMC 9:62, 1979) of a 256-bin histogram: the last bin of the darker
 * class. */
int otsu_threshold(const int64_t histogram[256]);
/* The same where the histogram has two classes. Where it has one, that is glass, or tissue all
 * over: what is brighter than bin `glass`, or part of mere noise, is no tissue then. */
int tissue_otsu(const int64_t histogram[256], int glass);

#endif
