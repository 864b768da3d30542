/* A pixel is tissue if it is dark enough: one integer comparison per pixel, with the paper's fixed
 * threshold or one found by Otsu's method.
 *
 * Grey values in units of 1/2,550,000 fall into 256 bins of exactly 10,000, so both thresholds are
 * on the same scale. */
#include "micromet/slide/tissue.h"

#include <math.h>
#include <stdlib.h>

enum { BIN_WIDTH = 10000, OTSU_SIDE_MAX = 1024 };

/* Otsu's method: the bin that maximises the between-class variance w0*w1*(m0 - m1)^2; the first
 * if several do. */
int otsu_threshold(const int64_t histogram[256])
{
    double total = 0, total_sum = 0, below = 0, below_sum = 0, best = 0;
    int threshold = 0;
    for (int i = 0; i < 256; i++) {
        total += (double)histogram[i];
        total_sum += (double)i * (double)histogram[i];
    }
    for (int i = 0; i < 256; i++) {
        below += (double)histogram[i];
        below_sum += (double)i * (double)histogram[i];
        const double above = total - below;
        if (below <= 0 || above <= 0) continue;
        const double gap = below_sum / below - (total_sum - below_sum) / above;
        const double variance = below * above * gap * gap;
        if (variance > best) {
            best = variance;
            threshold = i;
        }
    }
    return threshold;
}

static bool otsu_rule(struct tissue_rule *rule, const struct slide *slide, struct error *err)
{
    int64_t histogram[256] = { 0 };
    uint8_t *rgb;
    int width, height;
    if (!slide_thumbnail(slide, OTSU_SIDE_MAX, &rgb, &width, &height, err)) return false;
    for (size_t i = 0; i < (size_t)width * (size_t)height; i++)
        histogram[tissue_gray(rgb + 3 * i) / BIN_WIDTH]++;
    free(rgb);
    rule->gray_max = otsu_threshold(histogram) * BIN_WIDTH + BIN_WIDTH - 1;
    return true;
}

bool tissue_rule_init(struct tissue_rule *rule, const struct config_data *data,
                      const struct slide *slide, struct error *err)
{
    if (data->tissue.method == TISSUE_OTSU) return otsu_rule(rule, slide, err);
    /* 0.8 is not a binary fraction: the small term keeps grey values equal to the threshold. */
    rule->gray_max = (int32_t)floor(data->tissue.threshold * GRAY_MAX + 1e-6);
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
