/* Inference over datasets and batches; see the header. */
#include "micromet/run/predict.h"

#include <math.h>
#include <stdlib.h>

#include "micromet/base/log.h"
#include "micromet/data/augment.h"
#include "micromet/data/loader.h"

bool predictor_init(struct predictor *predictor, struct model *model, int orientations,
                    struct error *err)
{
    CHECK(orientations == 1 || orientations == 4 || orientations == 8);
    *predictor = (struct predictor){ .model = model, .orientations = orientations };
    predictor->draws = calloc((size_t)model_spec(model)->batch, sizeof *predictor->draws);
    return predictor->draws || error_set(err, EXIT_CODE_FAILED, "no memory for a predictor");
}

void predictor_release(struct predictor *predictor)
{
    free(predictor->draws);
    *predictor = (struct predictor){ 0 };
}

bool predictor_run(struct predictor *predictor, const uint8_t *const pixels[TOWERS_MAX], int count,
                   float *probabilities, struct error *err)
{
    struct model_batch batch = { .count = count };
    double *sums = calloc((size_t)count, sizeof *sums);
    if (!sums) return error_set(err, EXIT_CODE_FAILED, "no memory for predictions");
    for (int t = 0; t < model_spec(predictor->model)->towers; t++) {
        batch.pixels[t] = pixels[t];
        batch.draws[t] = predictor->draws;
    }
    bool ok = true;
    for (int o = 0, collected = 0; collected < predictor->orientations && ok;) {
        if (o < predictor->orientations && o - collected < 2) {
            for (int i = 0; i < count; i++) predictor->draws[i] = augment_orientation(o);
            ok = model_predict_submit(predictor->model, &batch, err);
            o++;
        } else {
            ok = model_predict_collect(predictor->model, probabilities, err);
            for (int i = 0; i < count; i++) sums[i] += probabilities[i];
            collected++;
        }
    }
    for (int i = 0; i < count; i++)
        probabilities[i] = (float)(sums[i] / predictor->orientations);
    free(sums);
    return ok;
}

void batch_slots_release(struct backend *backend, struct loader_batch *slots, int count, int towers)
{
    if (!slots) return;
    for (int s = 0; s < count; s++) {
        for (int t = 0; t < towers; t++)
            backend->ops->free_host(backend, slots[s].pixels[t]);
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
        ok = ok && backend->ops->alloc_host(backend, n * sizeof(float), (void **)&slot->labels, err);
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
    *predictions = (struct predictions){ 0 };
}

static struct sample *every_window(const struct dataset *dataset)
{
    struct sample *order = malloc((size_t)dataset->count * sizeof *order);
    int64_t k = 0;
    for (int s = 0; order && s < dataset->slide_count; s++)
        for (int64_t w = 0; w < dataset->slides[s].count; w++)
            order[k++] = (struct sample){ s, (int32_t)w };
    return order;
}

/* -log of the probability given to the truth, kept finite. */
static double cross_entropy(float probability, bool tumor)
{
    const double p = tumor ? probability : 1 - (double)probability;
    return -log(p > 1e-12 ? p : 1e-12);
}

static bool consume(struct loader *loader, struct predictor *predictor, struct progress *progress,
                    struct predictions *out, struct error *err)
{
    for (;;) {
        struct loader_batch *slot;
        if (!loader_next(loader, &slot, err)) return false;
        if (!slot) return true;
        const uint8_t *pixels[TOWERS_MAX];
        for (int t = 0; t < TOWERS_MAX; t++) pixels[t] = slot->pixels[t];
        float *probabilities = out->probabilities + slot->first;
        if (!predictor_run(predictor, pixels, slot->count, probabilities, err)) return false;
        for (int i = 0; i < slot->count; i++) {
            out->labels[slot->first + i] = slot->labels[i] > 0.5f;
            out->loss += cross_entropy(probabilities[i], slot->labels[i] > 0.5f);
        }
        if (progress) progress_add(progress, slot->count);
        loader_recycle(loader, slot);
    }
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
    *out = (struct predictions){ .probabilities = malloc(n * sizeof(float)), .labels = malloc(n),
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
    batch_slots_release(model_backend(model), slots, ring, spec->towers);
    predictor_release(&predictor);
    free(order);
    out->loss /= dataset->count > 0 ? (double)dataset->count : 1;
    if (!ok) predictions_release(out);
    return ok;
}
