/* The order of windows in an epoch. Windows are indexed by (slide, class) once; drawing a sample
 * then takes three random numbers. */
#include "micromet/data/sampler.h"

#include <stdlib.h>

#include "micromet/base/random.h"
#include "micromet/data/dataset.h"

static int label_of(const struct dataset_slide *slide, int64_t window)
{
    return slide->windows[window].label != 0;
}

/* Fill in by_class, class_start and class_slides. */
static void list_windows(struct sampler *s)
{
    int64_t at = 0;

    for (int i = 0; i < s->dataset->slide_count; i++) {
        const struct dataset_slide *slide = &s->dataset->slides[i];
        for (int label = 0; label < 2; label++) {
            s->class_start[2 * i + label] = at;
            for (int64_t w = 0; w < slide->count; w++)
                if (label_of(slide, w) == label) s->by_class[at++] = (int32_t)w;
            if (at > s->class_start[2 * i + label])
                s->class_slides[label][s->class_slide_count[label]++] = i;
        }
    }
    s->class_start[2 * s->dataset->slide_count] = at;
}

static bool check(const struct dataset *dataset, int64_t examples_per_epoch, struct error *err)
{
    if (dataset->count <= 0)
        return error_set(
            err, EXIT_CODE_FAILED,
            "there is no window to sample; check the manifest's split and the tissue rule");
    for (int i = 0; i < dataset->slide_count; i++)
        if (dataset->slides[i].count > INT32_MAX)
            return error_set(err, EXIT_CODE_FAILED,
                             "%s: has more than %d windows; set data.max_normal and data.max_tumor",
                             dataset->slides[i].row.slide, INT32_MAX);
    if (examples_per_epoch < 0 || examples_per_epoch > INT64_MAX / 16)
        return error_set(err, EXIT_CODE_FAILED, "%lld examples an epoch are too many or too few",
                         (long long)examples_per_epoch);
    return true;
}

bool sampler_init(struct sampler *s, const struct dataset *dataset, enum sampling method,
                  uint64_t seed, int64_t examples_per_epoch, struct error *err)
{
    *s = (struct sampler) { .dataset = dataset, .method = method, .seed = seed };
    if (!check(dataset, examples_per_epoch, err)) return false;
    s->examples_per_epoch = examples_per_epoch > 0 ? examples_per_epoch : dataset->count;

    const size_t slides = (size_t)dataset->slide_count, count = (size_t)dataset->count;
    const size_t examples = (size_t)s->examples_per_epoch;
    s->order = malloc((examples > count ? examples : count) * sizeof *s->order);
    s->by_class = malloc(count * sizeof *s->by_class);
    s->class_start = malloc((2 * slides + 1) * sizeof *s->class_start);
    for (int label = 0; label < 2; label++)
        s->class_slides[label] = malloc(slides * sizeof *s->class_slides[label]);
    if (!s->order || !s->by_class || !s->class_start || !s->class_slides[0] ||
        !s->class_slides[1]) {
        sampler_release(s);
        return error_set(err, EXIT_CODE_FAILED,
                         "no memory for the order of %zu windows and %zu examples", count,
                         examples);
    }
    list_windows(s);
    sampler_start_epoch(s, 0);
    return true;
}

void sampler_release(struct sampler *s)
{
    free(s->order);
    free(s->by_class);
    free(s->class_start);
    for (int label = 0; label < 2; label++) free(s->class_slides[label]);
    *s = (struct sampler) { 0 };
}

static struct sample draw_sample(const struct sampler *s, int64_t k)
{
    struct random random = random_init(s->seed, s->epoch, (uint64_t)k, RANDOM_SAMPLER);
    int label = (int)random_below(&random, 2);
    if (s->class_slide_count[label] == 0) label = !label;

    const uint64_t which = random_below(&random, (uint64_t)s->class_slide_count[label]);
    const int32_t slide = s->class_slides[label][which];
    const int64_t *start = &s->class_start[2 * slide + label];
    const uint64_t window = random_below(&random, (uint64_t)(start[1] - start[0]));
    return (struct sample) { slide, s->by_class[start[0] + (int64_t)window] };
}

static void shuffle(struct sampler *s)
{
    struct random random = random_init(s->seed, s->epoch, 0, RANDOM_SAMPLER);
    const int64_t count = s->dataset->count;
    const int64_t wanted = s->examples_per_epoch < count ? s->examples_per_epoch : count;
    int64_t at = 0;

    for (int32_t i = 0; i < s->dataset->slide_count; i++)
        for (int64_t w = 0; w < s->dataset->slides[i].count; w++)
            s->order[at++] = (struct sample) { i, (int32_t)w };
    for (int64_t k = 0; k < wanted; k++) {
        const int64_t other = k + (int64_t)random_below(&random, (uint64_t)(count - k));
        const struct sample sample = s->order[k];
        s->order[k] = s->order[other];
        s->order[other] = sample;
    }
    for (int64_t k = count; k < s->examples_per_epoch; k++) s->order[k] = s->order[k - count];
}

void sampler_start_epoch(struct sampler *s, uint32_t epoch)
{
    s->epoch = epoch;
    if (s->method == SAMPLING_SHUFFLE) {
        shuffle(s);
        return;
    }
    for (int64_t k = 0; k < s->examples_per_epoch; k++) s->order[k] = draw_sample(s, k);
}
