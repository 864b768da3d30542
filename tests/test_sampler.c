/* The order of an epoch: recorded, balanced, complete, and a pure function of seed and epoch. */
#include "micromet/data/sampler.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/data/dataset.h"

enum { SLIDES_MAX = 8 };

/* A dataset with labels only. labels: one string of 0 and 1 per slide. */
struct labels {
    struct dataset dataset;
    struct window *windows[SLIDES_MAX];
};

static void labels_init(struct labels *labels, int slides, const char *const text[])
{
    memset(labels, 0, sizeof *labels);
    labels->dataset.slides = calloc((size_t)slides + 1, sizeof *labels->dataset.slides);
    labels->dataset.slide_count = slides;
    for (int i = 0; i < slides; i++) {
        struct dataset_slide *slide = &labels->dataset.slides[i];
        slide->count = (int64_t)strlen(text[i]);
        labels->windows[i] = calloc(strlen(text[i]) + 1, sizeof(struct window));
        for (int64_t w = 0; w < slide->count; w++) {
            labels->windows[i][w].label = text[i][w] == '1';
            slide->tumor_count += text[i][w] == '1';
        }
        slide->windows = labels->windows[i];
        labels->dataset.count += slide->count;
        labels->dataset.tumor_count += slide->tumor_count;
    }
}

static void labels_release(struct labels *labels)
{
    for (int i = 0; i < SLIDES_MAX; i++) free(labels->windows[i]);
    free(labels->dataset.slides);
}

static const char *const four[] = { "0010100", "0000", "10110", "1" }; /* 17 windows, 6 tumour */

static bool is_tumor(const struct labels *labels, struct sample sample)
{
    return labels->dataset.slides[sample.slide].windows[sample.window].label;
}

static void start(struct sampler *sampler, const struct labels *labels, enum sampling method,
                  uint64_t seed, int64_t examples, uint32_t epoch)
{
    struct error err = { 0 };
    cr_assert(sampler_init(sampler, &labels->dataset, method, seed, examples, &err), "%s",
              err.message);
    sampler_start_epoch(sampler, epoch);
}

static void check_order(enum sampling method, const struct sample *want, int count)
{
    struct labels labels;
    struct sampler sampler;
    labels_init(&labels, 4, four);
    start(&sampler, &labels, method, 42, count, 3);
    for (int k = 0; k < count; k++) {
        cr_assert_eq(sampler.order[k].slide, want[k].slide, "sample %d", k);
        cr_assert_eq(sampler.order[k].window, want[k].window, "sample %d", k);
    }
    sampler_release(&sampler);
    labels_release(&labels);
}

/* Recorded from a Python program with its own Philox4x32-10 (checked with
 * Random123's known answers): seed 42, epoch 3, the four slides above. If the order
 * changes, no run can be resumed. */
Test(sampler, class_then_slide_gives_the_recorded_order)
{
    static const struct sample want[] = { { 1, 3 }, { 0, 2 }, { 0, 4 }, { 2, 1 },
                                          { 1, 0 }, { 2, 3 }, { 0, 0 }, { 1, 2 },
                                          { 0, 4 }, { 2, 3 }, { 2, 4 }, { 0, 5 } };
    check_order(SAMPLING_CLASS_THEN_SLIDE, want, 12);
}

Test(sampler, shuffle_gives_the_recorded_order)
{
    static const struct sample want[] = { { 0, 4 }, { 2, 1 }, { 1, 1 }, { 3, 0 }, { 2, 0 },
                                          { 0, 3 }, { 0, 0 }, { 0, 5 }, { 0, 1 }, { 1, 3 },
                                          { 1, 2 }, { 2, 4 }, { 0, 6 }, { 1, 0 }, { 0, 2 },
                                          { 2, 2 }, { 2, 3 } };
    check_order(SAMPLING_SHUFFLE, want, 17);
}

Test(sampler, order_is_a_pure_function_of_seed_and_epoch)
{
    enum { N = 500 };
    static const enum sampling methods[] = { SAMPLING_CLASS_THEN_SLIDE, SAMPLING_SHUFFLE };
    struct labels labels;
    labels_init(&labels, 4, four);
    for (int m = 0; m < 2; m++) {
        struct sampler a, b, other_seed;
        start(&a, &labels, methods[m], 1, N, 5);
        start(&b, &labels, methods[m], 1, N, 9);
        start(&other_seed, &labels, methods[m], 2, N, 5);
        cr_assert_arr_neq(a.order, b.order, N * sizeof *a.order);
        cr_assert_arr_neq(a.order, other_seed.order, N * sizeof *a.order);
        sampler_start_epoch(&b, 0);
        sampler_start_epoch(&b, 5);
        cr_assert_arr_eq(a.order, b.order, N * sizeof *a.order);
        sampler_release(&a);
        sampler_release(&b);
        sampler_release(&other_seed);
    }
    labels_release(&labels);
}

Test(sampler, a_longer_epoch_starts_like_a_shorter_one)
{
    static const enum sampling methods[] = { SAMPLING_CLASS_THEN_SLIDE, SAMPLING_SHUFFLE };
    struct labels labels;
    labels_init(&labels, 4, four);
    for (int m = 0; m < 2; m++) {
        struct sampler shorter, longer;
        start(&shorter, &labels, methods[m], 1, 11, 2);
        start(&longer, &labels, methods[m], 1, 40, 2);
        cr_assert_arr_eq(shorter.order, longer.order, 11 * sizeof *shorter.order);
        sampler_release(&shorter);
        sampler_release(&longer);
    }
    labels_release(&labels);
}

/* |observed - n*p| within five standard deviations. */
static void check_share(int observed, int n, double p, const char *what)
{
    cr_assert_leq(fabs(observed - n * p), 5 * sqrt(n * p * (1 - p)), "%s: %d of %d, expected %g",
                  what, observed, n, n * p);
}

Test(sampler, classes_are_balanced_then_slides_then_windows)
{
    enum { N = 60000 };
    /* tumour: 1 window of 40 on slide 0, 3 of 4 on slide 2; normal: all three slides */
    static const char *const text[] = { "0000000000000000000000000000000000000100", "00", "1101" };
    struct labels labels;
    struct sampler sampler;
    int tumor = 0, slide_of[2][3] = { { 0 } }, windows[4] = { 0 };
    labels_init(&labels, 3, text);
    start(&sampler, &labels, SAMPLING_CLASS_THEN_SLIDE, 8, N, 1);
    for (int k = 0; k < N; k++) {
        const struct sample sample = sampler.order[k];
        const bool label = is_tumor(&labels, sample);
        tumor += label;
        slide_of[label][sample.slide]++;
        if (sample.slide == 2) windows[sample.window]++;
    }
    check_share(tumor, N, 0.5, "tumour");
    check_share(slide_of[1][0], N, 0.25, "tumour of slide 0");
    check_share(slide_of[1][2], N, 0.25, "tumour of slide 2");
    for (int i = 0; i < 3; i++) check_share(slide_of[0][i], N, 1 / 6.0, "normal of a slide");
    check_share(windows[0], N, 1 / 12.0, "tumour window 0 of slide 2");
    check_share(windows[1], N, 1 / 12.0, "tumour window 1 of slide 2");
    check_share(windows[3], N, 1 / 12.0, "tumour window 3 of slide 2");
    check_share(windows[2], N, 1 / 6.0, "the normal window of slide 2");
    sampler_release(&sampler);
    labels_release(&labels);
}

Test(sampler, takes_the_other_class_where_one_is_absent)
{
    static const char *const cases[][2] = { { "000", "0000" }, { "11", "1" } };
    for (int i = 0; i < 2; i++) {
        struct labels labels;
        struct sampler sampler;
        int seen[2] = { 0 };
        labels_init(&labels, 2, cases[i]);
        start(&sampler, &labels, SAMPLING_CLASS_THEN_SLIDE, 1, 200, 0);
        for (int k = 0; k < 200; k++) seen[sampler.order[k].slide]++;
        cr_assert(seen[0] > 60 && seen[1] > 60);
        sampler_release(&sampler);
        labels_release(&labels);
    }
}

static void count_windows(const struct sampler *sampler, int64_t from, int64_t to, int seen[4][8])
{
    memset(seen, 0, sizeof(int[4][8]));
    for (int64_t k = from; k < to; k++) {
        const struct sample sample = sampler->order[k];
        cr_assert(sample.slide >= 0 && sample.slide < 4);
        cr_assert(sample.window >= 0 &&
                  sample.window < sampler->dataset->slides[sample.slide].count);
        seen[sample.slide][sample.window]++;
    }
}

Test(sampler, shuffle_shows_every_window_once_and_repeats_or_cuts)
{
    struct labels labels;
    struct sampler sampler;
    int seen[4][8];
    labels_init(&labels, 4, four);
    start(&sampler, &labels, SAMPLING_SHUFFLE, 1, 0, 4);
    cr_assert_eq(sampler.examples_per_epoch, 17);
    count_windows(&sampler, 0, 17, seen);
    for (int i = 0; i < 4; i++)
        for (int64_t w = 0; w < labels.dataset.slides[i].count; w++) cr_assert_eq(seen[i][w], 1);
    sampler_release(&sampler);

    start(&sampler, &labels, SAMPLING_SHUFFLE, 1, 40, 4);
    cr_assert_arr_eq(sampler.order, sampler.order + 17, 17 * sizeof *sampler.order);
    cr_assert_arr_eq(sampler.order, sampler.order + 34, 6 * sizeof *sampler.order);
    sampler_release(&sampler);

    start(&sampler, &labels, SAMPLING_SHUFFLE, 1, 9, 4);
    count_windows(&sampler, 0, 9, seen);
    for (int i = 0; i < 4; i++)
        for (int w = 0; w < 8; w++) cr_assert_leq(seen[i][w], 1);
    sampler_release(&sampler);
    labels_release(&labels);
}

Test(sampler, all_permutations_are_alike)
{
    enum { EPOCHS = 6000 };
    static const char *const text[] = { "01", "0" };
    struct labels labels;
    struct sampler sampler;
    int seen[27] = { 0 };
    labels_init(&labels, 2, text);
    start(&sampler, &labels, SAMPLING_SHUFFLE, 1, 3, 0);
    for (uint32_t epoch = 0; epoch < EPOCHS; epoch++) {
        sampler_start_epoch(&sampler, epoch);
        int code = 0;
        for (int k = 0; k < 3; k++)
            code = 3 * code + 2 * sampler.order[k].slide + sampler.order[k].window;
        seen[code]++;
    }
    const int codes[6] = { 5, 7, 11, 15, 19, 21 }; /* 012 021 102 120 201 210 in base 3 */
    for (int i = 0; i < 6; i++) check_share(seen[codes[i]], EPOCHS, 1 / 6.0, "a permutation");
    sampler_release(&sampler);
    labels_release(&labels);
}

Test(sampler, refuses_a_dataset_without_windows)
{
    static const char *const text[] = { "", "" };
    struct labels labels;
    struct sampler sampler;
    struct error err = { 0 };
    labels_init(&labels, 2, text);
    cr_assert_not(sampler_init(&sampler, &labels.dataset, SAMPLING_SHUFFLE, 1, 5, &err));
    cr_assert_eq(err.code, EXIT_CODE_FAILED);
    cr_assert(strstr(err.message, "no window to sample"));
    sampler_release(&sampler);
    labels_release(&labels);
}
