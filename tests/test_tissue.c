/* Tissue rules: exact grey values, the paper's threshold met with equality, Otsu
 * against exhaustive search. */
#include "micromet/slide/tissue.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "micromet/base/random.h"
#include "micromet/base/size.h"
#include "support.h"
#include "tiny_slide.h"

Test(tissue, grey_weights_are_those_of_rgb2gray_and_add_up_to_white)
{
    cr_assert_eq(tissue_gray((const uint8_t[]) { 255, 255, 255 }), GRAY_MAX);
    cr_assert_eq(tissue_gray((const uint8_t[]) { 1, 0, 0 }), 2125);
    cr_assert_eq(tissue_gray((const uint8_t[]) { 0, 1, 0 }), 7154);
    cr_assert_eq(tissue_gray((const uint8_t[]) { 0, 0, 1 }), 721);
}

Test(tissue, a_pixel_at_the_limit_is_tissue_and_one_above_it_is_not)
{
    struct config_data data = { .tissue = { .method = TISSUE_GRAY } };
    struct tissue_rule rule;
    struct error err = { 0 };

    for (int gray = 0; gray <= 255; gray++) { /* gray/255 as a threshold: grey == limit exactly */
        data.tissue.threshold = gray / 255.0;
        cr_assert(tissue_rule_init(&rule, &data, NULL, &err));
        cr_assert_eq(rule.gray_max, gray * 10000);
    }
    data.tissue.threshold = 0.8;
    cr_assert(tissue_rule_init(&rule, &data, NULL, &err));
    cr_assert_eq(rule.gray_max, 2040000);
    cr_assert_eq(tissue_share(&rule, (const uint8_t[]) { 204, 204, 204 }, 1, 1, 3), 1);
    cr_assert_eq(tissue_share(&rule, (const uint8_t[]) { 204, 205, 204 }, 1, 1, 3), 0);
}

Test(tissue, share_counts_the_window_and_nothing_beside_it)
{
    const struct tissue_rule rule = { 2040000 };
    uint8_t rgb[3][5][3]; /* windows of 4×3 in rows of 5 px; the fifth column is dark */
    memset(rgb, 255, sizeof rgb);
    for (int y = 0; y < 3; y++) memset(rgb[y][4], 0, 3);
    memset(rgb[1][2], 10, 3);
    memset(rgb[2][0], 10, 3);
    memset(rgb[0][3], 10, 3);
    cr_assert_eq(tissue_share(&rule, &rgb[0][0][0], 4, 3, sizeof rgb[0]), 0.25f);
}

/* Within-class variance, whose minimum is Otsu's threshold, summed the slow way. */
static double within(const int64_t *histogram, int first, int end)
{
    double count = 0, sum = 0, spread = 0;
    for (int i = first; i < end; i++)
        count += (double)histogram[i], sum += (double)i * (double)histogram[i];
    for (int i = first; i < end; i++)
        spread += (double)histogram[i] * (i - sum / count) * (i - sum / count);
    return count > 0 ? spread : 0;
}

Test(tissue, otsu_minimises_the_spread_within_the_classes)
{
    struct random random = random_init(7, 0, 0, RANDOM_TEST);
    for (int round = 0; round < 50; round++) {
        int64_t histogram[256];
        double best = INFINITY;
        for (int i = 0; i < 256; i++)
            histogram[i] = random_below(&random, 3) ? (int64_t)random_below(&random, 1000) : 0;
        for (int t = 0; t < 256; t++) {
            const double spread = within(histogram, 0, t + 1) + within(histogram, t + 1, 256);
            if (spread < best) best = spread;
        }
        const int t = otsu_threshold(histogram);
        const double spread = within(histogram, 0, t + 1) + within(histogram, t + 1, 256);
        cr_assert_leq(spread, best * (1 + 1e-12));
    }
}

Test(tissue, otsu_ends_the_darker_class_at_its_last_bin)
{
    int64_t histogram[256] = { 0 };
    histogram[60] = 100;
    histogram[80] = 100;
    histogram[230] = 1000;
    cr_assert_eq(otsu_threshold(histogram), 80);
}

Test(tissue, otsu_finds_no_split_in_one_color)
{
    int64_t histogram[256] = { 0 };
    histogram[250] = 5;
    cr_assert_eq(otsu_threshold(histogram), 0);
}

static void two_tone(const void *context, int level, int x, int y, uint8_t *pixel)
{
    (void)context, (void)level, (void)y;
    memset(pixel, x < 75 ? 120 : 240, 3);
}

Test(tissue, otsu_rule_separates_a_slide_of_two_tones)
{
    const struct config_data data = { .tissue = { .method = TISSUE_OTSU } };
    char folder[PATH_MAX_BYTES], path[PATH_MAX_BYTES];
    struct slide slide;
    struct tissue_rule rule;
    struct error err = { 0 };
    test_folder_make(folder);
    test_path(path, folder, "tones.tif");
    tiny_write(path, (const struct tiny_level[]) { { 300, 200 } }, 1, 3, two_tone, NULL);

    cr_assert(slide_open(&slide, path, 0, &err), "%s", err.message);
    cr_assert(tissue_rule_init(&rule, &data, &slide, &err), "%s", err.message);
    cr_assert_eq(rule.gray_max, 1209999);
    slide_release(&slide);
    test_folder_remove(folder);
}

/* --- one class is no pair of them ------------------------------------------------------------- */

enum { GLASS = 204 };

/* `count` pixels of normal noise about a grey value, rounded to bins. */
static void add_noise(int64_t histogram[256], double mean, double deviation, double count)
{
    for (int i = 0; i < 256; i++) {
        const double z = (i - mean) / deviation;
        histogram[i] += llround(count * exp(-z * z / 2) / (deviation * sqrt(2 * M_PI)));
    }
}

static void add_even(int64_t histogram[256], int first, int last, int64_t each)
{
    for (int i = first; i <= last; i++) histogram[i] += each;
}

static int64_t at_most(const int64_t histogram[256], int threshold)
{
    int64_t count = 0;
    for (int i = 0; i <= threshold; i++) count += histogram[i];
    return count;
}

Test(tissue, otsu_finds_none_in_noise_on_glass)
{
    static const double means[] = { 190, 210, 225, 240, 250 }, deviations[] = { 0.3, 1, 3, 4.5 };
    for (size_t m = 0; m < COUNT_OF(means); m++)
        for (size_t d = 0; d < COUNT_OF(deviations); d++) {
            int64_t histogram[256] = { 0 };
            add_noise(histogram, means[m], deviations[d], 1e6);
            cr_expect_leq(at_most(histogram, tissue_otsu(histogram, GLASS)), 10, "%g +- %g",
                          means[m], deviations[d]);
        }
}

Test(tissue, otsu_finds_none_in_shading_and_in_steps_of_compression)
{
    int64_t shading[256] = { 0 }, steps[256] = { 0 }, clipped[256] = { 0 };
    add_even(shading, 205, 250, 1000);
    cr_expect_eq(at_most(shading, tissue_otsu(shading, GLASS)), 0);
    steps[238] = 5000;
    steps[241] = 5000;
    cr_expect_eq(at_most(steps, tissue_otsu(steps, GLASS)), 0);
    clipped[255] = 100000;
    add_noise(clipped, 255, 3, 1e5);
    cr_expect_eq(at_most(clipped, tissue_otsu(clipped, GLASS)), 0);
}

Test(tissue, otsu_keeps_what_is_little_on_noisy_glass)
{
    int64_t histogram[256] = { 0 };
    add_noise(histogram, 240, 4, 1e6);
    histogram[150] = 500; /* so little that the glass is cut in two instead */
    cr_assert_gt(at_most(histogram, otsu_threshold(histogram)), 100000);
    cr_expect_eq(at_most(histogram, tissue_otsu(histogram, GLASS)), 500);
}

Test(tissue, otsu_keeps_two_classes_as_they_are)
{
    static const struct {
        double mean, deviation, count;
    } tissues[] = { { 130, 25, 3e5 }, { 170, 20, 5e4 }, { 215, 3, 2e5 }, { 222, 2, 1e6 } };
    for (size_t i = 0; i < COUNT_OF(tissues); i++) {
        int64_t histogram[256] = { 0 };
        add_noise(histogram, 240, 2, 1e6);
        add_noise(histogram, tissues[i].mean, tissues[i].deviation, tissues[i].count);
        cr_expect_eq(tissue_otsu(histogram, GLASS), otsu_threshold(histogram), "%g",
                     tissues[i].mean);
    }
}

Test(tissue, otsu_cuts_tissue_all_over_as_ever)
{
    int64_t histogram[256] = { 0 };
    add_noise(histogram, 140, 25, 1e6);
    cr_expect_eq(tissue_otsu(histogram, GLASS), otsu_threshold(histogram));
}
