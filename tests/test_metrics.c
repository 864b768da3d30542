/* Metrics against values computed by hand, and against a simple comparison of all pairs. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/report/metrics.h"

/* scikit-learn's own example: AUC 0.75, average precision 0.8333. */
static const float example[] = { 0.1f, 0.4f, 0.35f, 0.8f };
static const uint8_t example_labels[] = { 0, 0, 1, 1 };

static double auc_of(const float *probabilities, const uint8_t *labels, int64_t count)
{
    struct error err = { 0 };
    double auc = -1;
    cr_assert(metrics_auc(probabilities, labels, count, &auc, &err), "%s", err.message);
    return auc;
}

Test(metrics, auc_of_the_textbook_example_is_three_of_four_pairs)
{
    cr_assert_eq(auc_of(example, example_labels, 4), 0.75);
}

Test(metrics, auc_counts_ties_half)
{
    const float equal[] = { 0.5f, 0.5f, 0.5f, 0.5f, 0.5f };
    const uint8_t labels[] = { 1, 0, 0, 1, 0 };
    cr_assert_eq(auc_of(equal, labels, 5), 0.5);
    /* tumour 0.9 0.5; normal 0.5 0.1: wins 2 + (½ + 1) of 4 */
    const float some[] = { 0.5f, 0.9f, 0.1f, 0.5f };
    const uint8_t some_labels[] = { 0, 1, 0, 1 };
    cr_assert_eq(auc_of(some, some_labels, 4), 3.5 / 4);
}

Test(metrics, auc_is_one_or_zero_when_classes_are_apart)
{
    const float p[] = { 0.9f, 0.2f, 0.8f, 0.1f };
    cr_assert_eq(auc_of(p, (const uint8_t[]) { 1, 0, 255, 0 }, 4), 1);
    cr_assert_eq(auc_of(p, (const uint8_t[]) { 0, 1, 0, 1 }, 4), 0);
}

Test(metrics, auc_of_one_class_or_nothing_is_nan)
{
    cr_assert(isnan(auc_of(example, (const uint8_t[]) { 1, 1, 1, 1 }, 4)));
    cr_assert(isnan(auc_of(example, (const uint8_t[]) { 0, 0, 0, 0 }, 4)));
    cr_assert(isnan(auc_of(NULL, NULL, 0)));
}

Test(metrics, auc_equals_the_count_over_all_pairs)
{
    enum { COUNT = 700 };
    float p[COUNT];
    uint8_t labels[COUNT];
    uint64_t state = 1;
    double wins = 0, pairs = 0;
    for (int i = 0; i < COUNT; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        p[i] = (float)(state >> 58) / 64; /* 64 values, so ties abound */
        labels[i] = (state >> 40 & 63) < (state >> 58);
    }
    for (int i = 0; i < COUNT; i++)
        for (int j = 0; j < COUNT; j++)
            if (labels[i] && !labels[j]) {
                pairs++;
                wins += p[i] > p[j] ? 1 : p[i] == p[j] ? 0.5 : 0;
            }
    cr_assert_gt(pairs, 1000);
    cr_assert_eq(auc_of(p, labels, COUNT), wins / pairs);
}

Test(metrics, nan_is_refused_by_number)
{
    const float p[] = { 0.1f, NAN, 0.3f };
    const uint8_t labels[] = { 0, 1, 1 };
    struct error err = { 0 };
    double value = 0;
    struct curve_point *points;
    int64_t count;
    cr_assert(!metrics_auc(p, labels, 3, &value, &err));
    cr_assert(strstr(err.message, "prediction 2 of 3"), "%s", err.message);
    err = (struct error) { 0 };
    cr_assert(!metrics_choose_threshold(p, labels, 3, &value, &err));
    cr_assert(!metrics_curve(p, labels, 3, &points, &count, &err));
    cr_assert_null(points);
}

static double threshold_of(const float *probabilities, const uint8_t *labels, int64_t count)
{
    struct error err = { 0 };
    double threshold = -1;
    cr_assert(metrics_choose_threshold(probabilities, labels, count, &threshold, &err), "%s",
              err.message);
    return threshold;
}

Test(metrics, threshold_has_the_largest_youden_index)
{
    const float p[] = { 0.05f, 0.2f, 0.3f, 0.6f, 0.7f, 0.95f };
    const uint8_t labels[] = { 0, 0, 0, 1, 0, 1 };
    /* J: 0.95 → ½, 0.7 → ½ - ¼, 0.6 → 1 - ¼, 0.3 → 1 - ½ */
    cr_assert_eq(threshold_of(p, labels, 6), 0.6f);
}

Test(metrics, threshold_ties_take_the_one_nearest_a_half)
{
    const uint8_t labels[] = { 0, 1, 0, 1 };
    cr_assert_eq(threshold_of((const float[]) { 0.1f, 0.625f, 0.75f, 0.875f }, labels, 4), 0.625);
    cr_assert_eq(threshold_of((const float[]) { 0.1f, 0.25f, 0.3f, 0.5625f }, labels, 4), 0.5625);
    cr_assert_eq(threshold_of((const float[]) { 0.1f, 0.25f, 0.3f, 0.75f }, labels, 4), 0.75);
}

Test(metrics, threshold_of_equal_probabilities_is_that_probability)
{
    const float p[] = { 0.25f, 0.25f };
    cr_assert_eq(threshold_of(p, (const uint8_t[]) { 0, 1 }, 2), 0.25);
}

Test(metrics, threshold_needs_both_classes)
{
    struct error err = { 0 };
    double threshold;
    cr_assert(
        !metrics_choose_threshold(example, (const uint8_t[]) { 0, 0, 0, 0 }, 4, &threshold, &err));
    cr_assert(strstr(err.message, "tumour"), "%s", err.message);
    err = (struct error) { 0 };
    cr_assert(
        !metrics_choose_threshold(example, (const uint8_t[]) { 1, 1, 1, 1 }, 4, &threshold, &err));
    cr_assert(strstr(err.message, "normal"), "%s", err.message);
}

Test(metrics, operating_point_counts_the_threshold_itself_as_tumour)
{
    const float p[] = { 0.75f, 0.5f, 0.5f, 0.25f, 0.125f, 0.5f, 0.0f };
    const uint8_t labels[] = { 1, 1, 0, 1, 0, 0, 0 };
    struct operating_point at = metrics_at(p, labels, 7, 0.5);
    cr_assert_eq(at.threshold, 0.5);
    cr_assert_eq(at.confusion.true_positive, 2);
    cr_assert_eq(at.confusion.false_positive, 2);
    cr_assert_eq(at.confusion.false_negative, 1);
    cr_assert_eq(at.confusion.true_negative, 2);
    cr_assert_eq(at.sensitivity, 2.0 / 3);
    cr_assert_eq(at.recall, 2.0 / 3);
    cr_assert_eq(at.specificity, 0.5);
    cr_assert_eq(at.precision, 0.5);
    cr_assert_eq(at.f1, 4.0 / 7);
    cr_assert_eq(at.accuracy, 4.0 / 7);
}

Test(metrics, operating_point_is_nan_where_nothing_can_be_said)
{
    struct operating_point at = metrics_at(example, (const uint8_t[]) { 0, 0, 0, 0 }, 4, 2);
    cr_assert(isnan(at.sensitivity) && isnan(at.recall) && isnan(at.precision) && isnan(at.f1));
    cr_assert_eq(at.specificity, 1);
    cr_assert_eq(at.accuracy, 1);
    cr_assert(isnan(metrics_at(NULL, NULL, 0, 0.5).accuracy));
}

Test(metrics, curve_has_one_point_for_each_distinct_probability)
{
    const float p[] = { 0.5f, 0.75f, 0.25f, 0.5f, 0.25f };
    const uint8_t labels[] = { 0, 1, 0, 1, 0 };
    const struct curve_point expected[] = { { 0.75, 0, 0.5, 1 },
                                            { 0.5, 1.0 / 3, 1, 2.0 / 3 },
                                            { 0.25, 1, 1, 0.4 } };
    struct error err = { 0 };
    struct curve_point *points;
    int64_t count;
    cr_assert(metrics_curve(p, labels, 5, &points, &count, &err));
    cr_assert_eq(count, 3);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(points[i].threshold, expected[i].threshold);
        cr_assert_eq(points[i].false_positive_rate, expected[i].false_positive_rate);
        cr_assert_eq(points[i].true_positive_rate, expected[i].true_positive_rate);
        cr_assert_eq(points[i].precision, expected[i].precision);
    }
    /* ½ · 1 + ½ · ⅔ */
    cr_assert_float_eq(metrics_average_precision(points, count), 5.0 / 6, 1e-15);
    free(points);
}

Test(metrics, average_precision_of_the_textbook_example)
{
    struct error err = { 0 };
    struct curve_point *points;
    int64_t count;
    cr_assert(metrics_curve(example, example_labels, 4, &points, &count, &err));
    cr_assert_float_eq(metrics_average_precision(points, count), 0.5 + 0.5 * 2 / 3, 1e-15);
    free(points);
}

Test(metrics, curve_without_a_class_has_no_rates_for_it)
{
    struct error err = { 0 };
    struct curve_point *points;
    int64_t count;
    cr_assert(metrics_curve(example, (const uint8_t[]) { 0, 0, 0, 0 }, 4, &points, &count, &err));
    cr_assert_eq(count, 4);
    cr_assert(isnan(points[0].true_positive_rate));
    cr_assert_eq(points[3].false_positive_rate, 1);
    cr_assert(isnan(metrics_average_precision(points, count)));
    free(points);
    cr_assert(metrics_curve(NULL, NULL, 0, &points, &count, &err));
    cr_assert_eq(count, 0);
    cr_assert(isnan(metrics_average_precision(points, count)));
    free(points);
}
