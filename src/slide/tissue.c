/* A pixel is tissue if it is dark enough: one integer comparison per pixel, with the paper's fixed
 * threshold or one found by Otsu's method.
 *
 * Grey values in units of 1/2,550,000 fall into 256 bins of exactly 10,000, so both thresholds are
 * on the same scale. */
#include "micromet/slide/tissue.h"

#include <math.h>
#include <stdlib.h>

enum { BIN_WIDTH = 10000, OTSU_SIDE_MAX = 1024 };

/* Otsu's method cuts any histogram in two, that of empty glass as well. One class is taken for two
 * - if the halves are closer than 1/32 of the brighter grey: steps of a JPEG's quantisation;
 * - or within 1/8, which is all of a shading by a quarter, and hold at most 3/4 of the variance
 *   between them, as even grey values do; a single peak holds less (normal noise 2/pi). */
static const double contrast_of_steps = 1.0 / 32, contrast_of_shading = 1.0 / 8;
static const double separation_of_one = 0.75;
/* With so little contrast, one class is noise. The halves of normal noise are 1.6 deviations apart:
 * four such gaps below the brighter mean, 5.6 deviations below the middle, there is none. */
static const double contrast_of_noise = 1.0 / 16, noise_gaps = 4;

/* The histogram cut behind bin `threshold`: means of both classes, and the share of the variance
 * that lies between them. A bin's pixels are taken as even within it (a variance of 1/12). */
struct split {
    int threshold;
    double darker, brighter;
    double separation;
};

/* Otsu's method: the bin that maximises the between-class variance w0*w1*(m0 - m1)^2; the first
 * if several do. */
static struct split otsu_split(const int64_t histogram[256])
{
    struct split best = { 0 };
    double total = 0, total_sum = 0, squares = 0, below = 0, below_sum = 0, between = 0;
    for (int i = 0; i < 256; i++) {
        total += (double)histogram[i];
        total_sum += (double)i * (double)histogram[i];
        squares += (double)i * i * (double)histogram[i];
    }
    for (int i = 0; i < 256; i++) {
        below += (double)histogram[i];
        below_sum += (double)i * (double)histogram[i];
        const double above = total - below;
        if (below <= 0 || above <= 0) continue;
        const double darker = below_sum / below, brighter = (total_sum - below_sum) / above;
        const double variance = below * above * (darker - brighter) * (darker - brighter);
        if (variance <= between) continue;
        between = variance;
        best = (struct split) { .threshold = i, .darker = darker, .brighter = brighter };
    }
    const double mean = total_sum / total;
    best.separation = between / total / total / (squares / total - mean * mean + 1.0 / 12);
    return best;
}

int otsu_threshold(const int64_t histogram[256])
{
    return otsu_split(histogram).threshold;
}

int tissue_otsu(const int64_t histogram[256], int glass)
{
    const struct split split = otsu_split(histogram);
    const double gap = split.brighter - split.darker, contrast = gap / (split.brighter + 1e-9);
    const bool one = contrast <= contrast_of_steps ||
                     (contrast <= contrast_of_shading && split.separation <= separation_of_one);
    int threshold = split.threshold;
    if (!one) return threshold;
    if (threshold > glass) threshold = glass;
    const int noise_end = (int)(split.brighter - noise_gaps * gap);
    return contrast <= contrast_of_noise && threshold > noise_end ? noise_end : threshold;
}

static int32_t gray_limit(double threshold)
{
    /* 0.8 is not a binary fraction: the small term keeps grey values equal to the threshold. */
    return (int32_t)floor(threshold * GRAY_MAX + 1e-6);
}

static bool otsu_rule(struct tissue_rule *rule, const struct slide *slide, double fixed,
                      struct error *err)
{
    int64_t histogram[256] = { 0 };
    uint8_t *rgb;
    int width, height;
    if (!slide_thumbnail(slide, OTSU_SIDE_MAX, &rgb, &width, &height, err)) return false;
    for (size_t i = 0; i < (size_t)width * (size_t)height; i++)
        histogram[tissue_gray(rgb + 3 * i) / BIN_WIDTH]++;
    free(rgb);
    rule->gray_max = tissue_otsu(histogram, gray_limit(fixed) / BIN_WIDTH) * BIN_WIDTH + BIN_WIDTH -
                     1;
    return true;
}

bool tissue_rule_init(struct tissue_rule *rule, const struct config_data *data,
                      const struct slide *slide, struct error *err)
{
    if (data->tissue.method == TISSUE_OTSU)
        return otsu_rule(rule, slide, data->tissue.threshold, err);
    rule->gray_max = gray_limit(data->tissue.threshold);
    return true;
}

float tissue_share(const struct tissue_rule *rule, const uint8_t *rgb, int width, int height,
                   size_t row_stride)
{
    int64_t tissue = 0;
    for (int y = 0; y < height; y++) {
        const uint8_t *line = rgb + (size_t)y * row_stride;
        int count = 0;
        for (int x = 0; x < width; x++)
            count += tissue_gray(line + 3 * (size_t)x) <= rule->gray_max;
        tissue += count;
    }
    return (float)((double)tissue / ((double)width * height));
}
