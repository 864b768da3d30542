/* Metrics of predictions. Samples are sorted once by falling probability, then walked in groups of
 * equal probability with integer counts: ties are handled exactly, and the order of the input
 * does not matter. */
#include "micromet/report/metrics.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "micromet/base/error.h"

struct scored {
    float probability;
    bool tumor;
};

/* Counts of tumour and normal samples with probability >= threshold. */
struct tally {
    float threshold;
    int64_t tumor, normal;
};

struct ranking {
    struct scored *items; /* (count), falling probability */
    int64_t count, tumor, normal;
};

static int by_falling_probability(const void *left, const void *right)
{
    float a = ((const struct scored *)left)->probability;
    float b = ((const struct scored *)right)->probability;
    return (a < b) - (a > b);
}

static void ranking_release(struct ranking *ranking)
{
    free(ranking->items);
    *ranking = (struct ranking) { 0 };
}

static bool ranking_init(struct ranking *ranking, const float *probabilities, const uint8_t *labels,
                         int64_t count, struct error *err)
{
    CHECK(count >= 0);
    *ranking = (struct ranking) { .count = count };
    if (count == 0) return true;
    ranking->items = malloc((size_t)count * sizeof *ranking->items);
    if (!ranking->items)
        return error_set(err, EXIT_CODE_FAILED, "metrics: no memory for %lld predictions",
                         (long long)count);
    for (int64_t i = 0; i < count; i++) {
        if (isnan(probabilities[i])) {
            ranking_release(ranking);
            return error_set(err, EXIT_CODE_FAILED,
                             "metrics: prediction %lld of %lld is not a number; the model has "
                             "diverged or its input is damaged",
                             (long long)i + 1, (long long)count);
        }
        ranking->items[i] = (struct scored) { probabilities[i], labels[i] != 0 };
        ranking->tumor += labels[i] != 0;
    }
    ranking->normal = count - ranking->tumor;
    qsort(ranking->items, (size_t)count, sizeof *ranking->items, by_falling_probability);
    return true;
}

/* Add the group of equal probability that starts at item `at`; returns the start of
 * the next group. */
static int64_t ranking_next(const struct ranking *ranking, int64_t at, struct tally *tally)
{
    tally->threshold = ranking->items[at].probability;
    for (; at < ranking->count && ranking->items[at].probability == tally->threshold; at++) {
        tally->tumor += ranking->items[at].tumor;
        tally->normal += !ranking->items[at].tumor;
    }
    return at;
}

/* NaN for 0/0: a ratio over an absent class is undefined. */
static double ratio(int64_t part, int64_t whole)
{
    return whole ? (double)part / (double)whole : (double)NAN;
}

bool metrics_auc(const float *probabilities, const uint8_t *labels, int64_t count, double *auc,
                 struct error *err)
{
    struct ranking ranking;
    if (!ranking_init(&ranking, probabilities, labels, count, err)) return false;
    /* Per pair: 2 if the tumour sample ranks higher, 1 for a tie. */
    int64_t points = 0;
    struct tally above = { 0 };
    for (int64_t at = 0; at < count;) {
        struct tally through = above;
        at = ranking_next(&ranking, at, &through);
        int64_t below = ranking.normal - through.normal;
        points += (through.tumor - above.tumor) * (2 * below + through.normal - above.normal);
        above = through;
    }
    *auc = ratio(points, 2 * ranking.tumor * ranking.normal);
    ranking_release(&ranking);
    return true;
}

bool metrics_choose_threshold(const float *probabilities, const uint8_t *labels, int64_t count,
                              double *threshold, struct error *err)
{
    struct ranking ranking;
    if (!ranking_init(&ranking, probabilities, labels, count, err)) return false;
    if (!ranking.tumor || !ranking.normal) {
        const char *absent = ranking.tumor ? "normal" : "tumour";
        ranking_release(&ranking);
        return error_set(
            err, EXIT_CODE_FAILED,
            "metrics: no threshold can be chosen without a %s window; give one by hand", absent);
    }
    int64_t best = INT64_MIN;
    double chosen = INFINITY;
    struct tally tally = { 0 };
    for (int64_t at = 0; at < count;) {
        at = ranking_next(&ranking, at, &tally);
        /* Youden's index times both class sizes, an integer, so ties are exact. */
        int64_t index = tally.tumor * ranking.normal - tally.normal * ranking.tumor;
        bool nearer = fabs(tally.threshold - 0.5) < fabs(chosen - 0.5);
        if (index < best || (index == best && !nearer)) continue;
        best = index;
        chosen = tally.threshold;
    }
    *threshold = chosen;
    ranking_release(&ranking);
    return true;
}

struct operating_point metrics_at(const float *probabilities, const uint8_t *labels, int64_t count,
                                  double threshold)
{
    struct confusion c = { 0 };
    for (int64_t i = 0; i < count; i++) {
        bool called = (double)probabilities[i] >= threshold, tumor = labels[i] != 0;
        c.true_positive += called && tumor;
        c.false_positive += called && !tumor;
        c.false_negative += !called && tumor;
        c.true_negative += !called && !tumor;
    }
    double sensitivity = ratio(c.true_positive, c.true_positive + c.false_negative);
    return (struct operating_point) {
        .threshold = threshold,
        .confusion = c,
        .sensitivity = sensitivity,
        .specificity = ratio(c.true_negative, c.true_negative + c.false_positive),
        .precision = ratio(c.true_positive, c.true_positive + c.false_positive),
        .recall = sensitivity,
        .f1 = ratio(2 * c.true_positive, 2 * c.true_positive + c.false_positive + c.false_negative),
        .accuracy = ratio(c.true_positive + c.true_negative, count),
    };
}

bool metrics_curve(const float *probabilities, const uint8_t *labels, int64_t count,
                   struct curve_point **points, int64_t *point_count, struct error *err)
{
    *points = NULL;
    *point_count = 0;
    struct ranking ranking;
    if (!ranking_init(&ranking, probabilities, labels, count, err)) return false;
    int64_t distinct = 0;
    struct tally tally = { 0 };
    for (int64_t at = 0; at < count; distinct++) at = ranking_next(&ranking, at, &tally);
    struct curve_point *curve = malloc((size_t)(distinct ? distinct : 1) * sizeof *curve);
    if (!curve) {
        ranking_release(&ranking);
        return error_set(err, EXIT_CODE_FAILED, "metrics: no memory for a curve of %lld points",
                         (long long)distinct);
    }
    tally = (struct tally) { 0 };
    int64_t at = 0;
    for (int64_t i = 0; i < distinct; i++) {
        at = ranking_next(&ranking, at, &tally);
        curve[i] = (struct curve_point) {
            .threshold = tally.threshold,
            .false_positive_rate = ratio(tally.normal, ranking.normal),
            .true_positive_rate = ratio(tally.tumor, ranking.tumor),
            .precision = ratio(tally.tumor, tally.tumor + tally.normal),
        };
    }
    ranking_release(&ranking);
    *points = curve;
    *point_count = distinct;
    return true;
}

double metrics_average_precision(const struct curve_point *points, int64_t point_count)
{
    double sum = 0, recall = 0;
    for (int64_t i = 0; i < point_count; i++) {
        sum += (points[i].true_positive_rate - recall) * points[i].precision;
        recall = points[i].true_positive_rate;
    }
    return point_count ? sum : (double)NAN;
}
