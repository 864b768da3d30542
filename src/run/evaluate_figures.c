/* Computes metrics from predictions. The windows of all slides are stored in contiguous arrays, so
 * that a slide is a range and "overall" is the whole. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/run/evaluate.h"

static const double threshold_without_choice = 0.5;

void evaluation_init(struct evaluation *evaluation, double threshold)
{
    const bool stored = !isnan(threshold);
    *evaluation = (struct evaluation) {
        .threshold = stored ? threshold : threshold_without_choice,
        .threshold_stored = stored,
        .slide_auc = NAN,
        .slide_threshold = NAN,
    };
}

void evaluation_release(struct evaluation *evaluation)
{
    free(evaluation->slides);
    free(evaluation->windows);
    free(evaluation->probabilities);
    free(evaluation->labels);
    *evaluation = (struct evaluation) { 0 };
}

/* Resize the array to at least `count` items. If out of memory, returns the old
 * one and sets *ok to false. */
static void *resized(void *array, int64_t count, size_t item_bytes, bool *ok)
{
    void *grown = realloc(array, ((size_t)count + 1) * item_bytes);
    if (!grown) *ok = false;
    return grown ? grown : array;
}

bool evaluation_add(struct evaluation *evaluation, const char *path, int label,
                    const struct window *windows, const float *probabilities, int64_t count,
                    const int64_t background[2], struct error *err)
{
    struct evaluation *e = evaluation;
    const int64_t total = e->count + count;
    bool ok = true;
    e->slides = resized(e->slides, e->slide_count + 1, sizeof *e->slides, &ok);
    e->windows = resized(e->windows, total, sizeof *e->windows, &ok);
    e->probabilities = resized(e->probabilities, total, sizeof *e->probabilities, &ok);
    e->labels = resized(e->labels, total, sizeof *e->labels, &ok);
    if (!ok)
        return error_set(err, EXIT_CODE_FAILED, "no memory for %lld predictions", (long long)total);
    struct evaluation_slide *slide = &e->slides[e->slide_count++];
    *slide = (struct evaluation_slide) {
        .label = label,
        .first = e->count,
        .count = count,
        .background = { background[0], background[1] },
        .score = NAN,
    };
    snprintf(slide->path, sizeof slide->path, "%s", path);
    for (int64_t i = 0; i < count; i++) {
        e->windows[e->count + i] = windows[i];
        e->probabilities[e->count + i] = probabilities[i];
        e->labels[e->count + i] = windows[i].label;
        slide->score = fmax(slide->score, probabilities[i]); /* the number, if the other is NaN */
    }
    e->count = total;
    return true;
}

static bool measure(const float *probabilities, const uint8_t *labels, int64_t count,
                    double threshold, struct evaluation_row *row, struct error *err)
{
    struct curve_point *points = NULL;
    int64_t point_count = 0;
    *row = (struct evaluation_row) { .count = count };
    for (int64_t i = 0; i < count; i++) row->tumor_count += labels[i] != 0;
    if (!metrics_auc(probabilities, labels, count, &row->auc, err) ||
        !metrics_curve(probabilities, labels, count, &points, &point_count, err))
        return false;
    row->average_precision = metrics_average_precision(points, point_count);
    row->at = metrics_at(probabilities, labels, count, threshold);
    free(points);
    return true;
}

/* The same, with background windows appended. */
static bool measure_all(const float *probabilities, const uint8_t *labels, int64_t count,
                        const int64_t background[2], double threshold, struct evaluation_row *row,
                        struct error *err)
{
    const int64_t total = count + background[0] + background[1];
    float *every_probability = calloc((size_t)total + 1, sizeof *every_probability);
    uint8_t *every_label = calloc((size_t)total + 1, 1);
    bool ok = (every_probability && every_label) ||
              error_set(err, EXIT_CODE_FAILED, "no memory for %lld windows", (long long)total);
    if (ok && count > 0) {
        memcpy(every_probability, probabilities, (size_t)count * sizeof *probabilities);
        memcpy(every_label, labels, (size_t)count);
    }
    if (ok) memset(every_label + count, 1, (size_t)background[1]);
    ok = ok && measure(every_probability, every_label, total, threshold, row, err);
    free(every_probability);
    free(every_label);
    return ok;
}

/* The scores of the slides that have one, (*count). The caller frees both arrays, on failure
 * too. */
static bool list_scores(const struct evaluation *e, float **scores, uint8_t **labels,
                        int64_t *count, struct error *err)
{
    *scores = calloc((size_t)e->slide_count + 1, sizeof **scores);
    *labels = calloc((size_t)e->slide_count + 1, 1);
    *count = 0;
    if (!*scores || !*labels) return error_set(err, EXIT_CODE_FAILED, "no memory for slide scores");
    for (int i = 0; i < e->slide_count; i++) {
        if (isnan(e->slides[i].score)) continue;
        (*scores)[*count] = (float)e->slides[i].score;
        (*labels)[(*count)++] = e->slides[i].label != 0;
    }
    return true;
}

static bool measure_scores(struct evaluation *e, struct error *err)
{
    float *scores;
    uint8_t *labels;
    int64_t count;
    const bool ok = list_scores(e, &scores, &labels, &count, err) &&
                    metrics_auc(scores, labels, count, &e->slide_auc, err);
    e->unscored_slides = e->slide_count - (int)count;
    free(scores);
    free(labels);
    return ok;
}

bool evaluation_choose_slide_threshold(struct evaluation *e, struct error *err)
{
    float *scores;
    uint8_t *labels;
    int64_t count;
    if (isnan(e->slide_auc)) return true; /* scores of one class */
    const bool ok = list_scores(e, &scores, &labels, &count, err) &&
                    metrics_choose_threshold(scores, labels, count, &e->slide_threshold, err);
    free(scores);
    free(labels);
    return ok;
}

bool evaluation_finish(struct evaluation *evaluation, struct error *err)
{
    struct evaluation *e = evaluation;
    int64_t background[2] = { 0, 0 };
    for (int i = 0; i < e->slide_count; i++) {
        struct evaluation_slide *s = &e->slides[i];
        const float *probabilities = e->probabilities + s->first;
        const uint8_t *labels = e->labels + s->first;
        if (!measure(probabilities, labels, s->count, e->threshold, &s->windows, err) ||
            !measure_all(probabilities, labels, s->count, s->background, e->threshold,
                         &s->with_background, err))
            return error_prefix(err, "%s", s->path);
        if (s->count == 0) continue; /* nothing of this slide was shown to the model */
        for (int label = 0; label <= 1; label++) background[label] += s->background[label];
    }
    return measure(e->probabilities, e->labels, e->count, e->threshold, &e->overall, err) &&
           measure_all(e->probabilities, e->labels, e->count, background, e->threshold,
                       &e->overall_with_background, err) &&
           measure_scores(e, err);
}

bool evaluation_compare_single(struct evaluation *e, const float *probabilities, int side,
                               bool choose, struct error *err)
{
    struct single_comparison *single = &e->single;
    double threshold = NAN, sum = 0;
    *single = (struct single_comparison) { .measured = true, .side = side };
    for (int64_t i = 0; i < e->count; i++) {
        const double difference = fabs((double)probabilities[i] - (double)e->probabilities[i]);
        sum += difference;
        if (difference > single->max_difference) single->max_difference = difference;
        single->flipped += (probabilities[i] >= e->threshold) !=
                           (e->probabilities[i] >= e->threshold);
    }
    single->mean_difference = e->count ? sum / (double)e->count : NAN;
    return measure(probabilities, e->labels, e->count, e->threshold, &single->row, err) &&
           (!choose ||
            metrics_choose_threshold(probabilities, e->labels, e->count, &threshold, err)) &&
           measure(probabilities, e->labels, e->count, threshold, &single->own, err);
}
