/* Inference over datasets and batches; see the header. */
#include "micromet/run/predict.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/log.h"
#include "micromet/data/augment.h"
#include "micromet/data/loader.h"

bool predictor_init(struct predictor *predictor, struct model *model, int orientations,
                    struct error *err)
{
    CHECK(orientations == 1 || orientations == 4 || orientations == 8);
    const size_t n = (size_t)model_spec(model)->batch;
    *predictor = (struct predictor) { .model = model, .orientations = orientations };
    predictor->draws = calloc(n, sizeof *predictor->draws);
    predictor->probabilities = calloc(n, sizeof *predictor->probabilities);
    predictor->sums = calloc(n, sizeof *predictor->sums);
    if (predictor->draws && predictor->probabilities && predictor->sums) return true;
    predictor_release(predictor);
    return error_set(err, EXIT_CODE_FAILED, "no memory for a predictor");
}

void predictor_release(struct predictor *predictor)
{
    predictor_abandon(predictor);
    free(predictor->draws);
    free(predictor->probabilities);
    free(predictor->sums);
    *predictor = (struct predictor) { 0 };
}

/* Passes go batch after batch, the orientations of one behind each other: as many as the model
 * takes. */
static bool submit_passes(struct predictor *p, struct error *err)
{
    const int64_t end = p->batches * p->orientations;
    for (; p->submitted < end && p->submitted - p->collected < PASSES_MAX; p->submitted++) {
        const struct loader_batch *slot = p->slots[p->submitted / p->orientations % PASSES_MAX];
        const int orientation = (int)(p->submitted % p->orientations);
        struct model_batch batch = { .count = slot->count };
        for (int i = 0; i < slot->count; i++) p->draws[i] = augment_orientation(orientation);
        for (int t = 0; t < model_spec(p->model)->towers; t++) {
            batch.pixels[t] = slot->pixels[t];
            batch.draws[t] = p->draws;
        }
        if (!model_predict_submit(p->model, &batch, err)) return false;
    }
    return true;
}

int predictor_under_way(const struct predictor *p)
{
    return (int)(p->batches - p->collected / p->orientations);
}

bool predictor_submit(struct predictor *p, struct loader_batch *slot, struct error *err)
{
    CHECK(predictor_under_way(p) < PASSES_MAX);
    p->slots[p->batches++ % PASSES_MAX] = slot;
    return submit_passes(p, err);
}

bool predictor_collect(struct predictor *p, struct loader_batch **slot, const float **probabilities,
                       struct error *err)
{
    CHECK(predictor_under_way(p) > 0);
    *slot = p->slots[p->collected / p->orientations % PASSES_MAX];
    *probabilities = p->probabilities;
    const int count = (*slot)->count;
    memset(p->sums, 0, (size_t)count * sizeof *p->sums);
    for (int o = 0; o < p->orientations; o++) {
        if (!model_predict_collect(p->model, p->probabilities, err)) return false;
        p->collected++;
        if (!submit_passes(p, err)) return false;
        for (int i = 0; i < count; i++) p->sums[i] += p->probabilities[i];
    }
    for (int i = 0; i < count; i++) p->probabilities[i] = (float)(p->sums[i] / p->orientations);
    return true;
}

void predictor_abandon(struct predictor *p)
{
    struct error ignored = { 0 };
    if (!p->batches) return;
    while (model_in_flight(p->model) > 0)
        model_predict_collect(p->model, p->probabilities, &ignored);
    /* A pass that failed halfway is not in flight, but its copies may be. */
    struct backend *backend = model_backend(p->model);
    backend->ops->synchronize(backend, &ignored);
    p->batches = p->submitted = p->collected = 0;
}

void batch_slots_release(struct backend *backend, struct loader_batch *slots, int count, int towers)
{
    if (!slots) return;
    for (int s = 0; s < count; s++) {
        for (int t = 0; t < towers; t++) backend->ops->free_host(backend, slots[s].pixels[t]);
        backend->ops->free_host(backend, slots[s].labels);
        free(slots[s].samples);
    }
    free(slots);
}

bool batch_slots_init(struct backend *backend, int towers, int window, int batch, int slots,
                      struct loader_batch **out, struct error *err)
{
    const size_t n = (size_t)batch, bytes = n * (size_t)window * (size_t)window * 3;
    *out = calloc((size_t)slots, sizeof **out);
    bool ok = *out != NULL || error_set(err, EXIT_CODE_FAILED, "no memory for batches");
    for (int s = 0; s < slots && ok; s++) {
        struct loader_batch *slot = &(*out)[s];
        slot->samples = calloc(n, sizeof *slot->samples);
        ok = slot->samples || error_set(err, EXIT_CODE_FAILED, "no memory for batches");
        for (int t = 0; t < towers && ok; t++)
            ok = backend->ops->alloc_host(backend, bytes, (void **)&slot->pixels[t], err);
        ok = ok &&
             backend->ops->alloc_host(backend, n * sizeof(float), (void **)&slot->labels, err);
    }
    if (ok) return true;
    batch_slots_release(backend, *out, slots, towers);
    *out = NULL;
    return error_prefix(err, "ring of host batches");
}

void predictions_release(struct predictions *predictions)
{
    free(predictions->probabilities);
    free(predictions->labels);
    *predictions = (struct predictions) { 0 };
}

static struct sample *every_window(const struct dataset *dataset)
{
    struct sample *order = malloc((size_t)dataset->count * sizeof *order);
    int64_t k = 0;
    for (int s = 0; order && s < dataset->slide_count; s++)
        for (int64_t w = 0; w < dataset->slides[s].count; w++)
            order[k++] = (struct sample) { s, (int32_t)w };
    return order;
}

/* -log of the probability given to the truth, kept finite. */
static double cross_entropy(float probability, bool tumor)
{
    const double p = tumor ? probability : 1 - (double)probability;
    return -log(p > 1e-12 ? p : 1e-12);
}

static bool collect_batch(struct loader *loader, struct predictor *predictor,
                          struct progress *progress, struct predictions *out, struct error *err)
{
    struct loader_batch *slot;
    const float *probabilities;
    if (!predictor_collect(predictor, &slot, &probabilities, err)) return false;
    for (int i = 0; i < slot->count; i++) {
        const bool tumor = slot->labels[i] > 0.5f;
        out->probabilities[slot->first + i] = probabilities[i];
        out->labels[slot->first + i] = tumor;
        out->loss += cross_entropy(probabilities[i], tumor);
    }
    if (progress) progress_add(progress, slot->count);
    loader_recycle(loader, slot);
    return true;
}

static bool consume(struct loader *loader, struct predictor *predictor, struct progress *progress,
                    struct predictions *out, struct error *err)
{
    struct loader_batch *slot;
    do {
        if (!loader_next(loader, &slot, err)) return false;
        if (slot && !predictor_submit(predictor, slot, err)) return false;
        while (predictor_under_way(predictor) > (slot ? PASSES_MAX - 1 : 0))
            if (!collect_batch(loader, predictor, progress, out, err)) return false;
    } while (slot);
    return true;
}

bool predict_dataset(struct model *model, const struct dataset *dataset, int orientations,
                     int threads, int ring, const char *title, struct predictions *out,
                     struct error *err)
{
    const struct model_spec *spec = model_spec(model);
    struct predictor predictor = { 0 };
    struct loader *loader = NULL;
    struct loader_batch *slots = NULL;
    struct progress progress = { 0 };
    const struct loader_source source = loader_source_dataset(dataset);
    struct sample *order = every_window(dataset);
    const size_t n = (size_t)dataset->count;
    *out = (struct predictions) { .probabilities = malloc(n * sizeof(float)),
                                  .labels = malloc(n),
                                  .count = dataset->count };
    bool ok = (order && out->probabilities && out->labels) ||
              error_set(err, EXIT_CODE_FAILED, "no memory for %lld predictions",
                        (long long)dataset->count);
    ok = ok && predictor_init(&predictor, model, orientations, err) &&
         batch_slots_init(model_backend(model), spec->towers, spec->window, spec->batch, ring,
                          &slots, err) &&
         loader_init(&loader, &source, order, dataset->count, 0, spec->batch, slots, ring, threads,
                     (size_t)64 << 20, err);
    if (title) progress_begin(&progress, title, "windows", dataset->count);
    ok = ok && consume(loader, &predictor, title ? &progress : NULL, out, err);
    if (title) progress_end(&progress);
    loader_release(loader);
    predictor_release(&predictor); /* before the memory that it may still be reading */
    batch_slots_release(model_backend(model), slots, ring, spec->towers);
    free(order);
    out->loss /= dataset->count > 0 ? (double)dataset->count : 1;
    if (!ok) predictions_release(out);
    return ok;
}
