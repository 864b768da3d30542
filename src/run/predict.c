/* Inference on datasets and batches, averaged over orientations, with passes
 * in flight; see the header. */
#include "micromet/run/predict.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/log.h"
#include "micromet/base/stop.h"
#include "micromet/data/augment.h"
#include "micromet/data/loader.h"
#include "micromet/world/world.h"

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

void predictor_begin(struct predictor *p, predictor_sink sink, void *context)
{
    CHECK(p->under_way == 0);
    p->sink = sink;
    p->context = context;
}

/* Wait for the oldest pass in flight. After the last pass of a batch, its
 * probabilities are complete. */
static bool collect_pass(struct predictor *p, struct error *err)
{
    struct model_result pass;
    if (!model_predict_collect(p->model, &pass, p->probabilities, err)) return false;
    if (p->summed == 0) memset(p->sums, 0, (size_t)pass.count * sizeof *p->sums);
    for (int i = 0; i < pass.count; i++) p->sums[i] += p->probabilities[i];
    if (++p->summed < p->orientations) return true;
    for (int i = 0; i < pass.count; i++)
        p->probabilities[i] = (float)(p->sums[i] / p->orientations);
    p->summed = 0;
    p->under_way--;
    p->sink(p->context, pass.tag, p->probabilities);
    return true;
}

/* Collect until at most `left` batches are in flight. */
static bool collect_batches(struct predictor *p, int left, struct error *err)
{
    while (p->under_way > left)
        if (!collect_pass(p, err)) return false;
    return true;
}

bool predictor_submit(struct predictor *p, struct loader_batch *batch, struct error *err)
{
    struct model_batch pass = { .count = batch->count, .tag = batch };
    for (int t = 0; t < model_spec(p->model)->towers; t++) {
        pass.pixels[t] = batch->pixels[t];
        pass.draws[t] = p->draws;
    }
    p->under_way++;
    for (int o = 0; o < p->orientations; o++) {
        if (model_in_flight(p->model) == PASSES_MAX && !collect_pass(p, err)) return false;
        for (int i = 0; i < batch->count; i++) p->draws[i] = augment_orientation(o);
        if (!model_predict_submit(p->model, &pass, err)) return false;
    }
    return collect_batches(p, PASSES_MAX - 1, err);
}

bool predictor_finish(struct predictor *p, struct error *err)
{
    return collect_batches(p, 0, err);
}

void predictor_abandon(struct predictor *p)
{
    struct model_result result;
    struct error ignored = { 0 };
    if (p->under_way == 0) return;
    while (model_in_flight(p->model) > 0)
        model_predict_collect(p->model, &result, p->probabilities, &ignored);
    /* A pass that failed while being submitted is not in flight, but its copies may be. */
    struct backend *backend = model_backend(p->model);
    backend->ops->synchronize(backend, &ignored);
    p->under_way = p->summed = 0;
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

/* -log of the probability of the true class, kept finite. */
static double cross_entropy(float probability, bool tumor)
{
    const double p = tumor ? probability : 1 - (double)probability;
    return -log(p > 1e-12 ? p : 1e-12);
}

/* Receives the probabilities of a dataset. */
struct collector {
    struct loader *loader;
    struct progress *progress; /* NULL = not shown */
    struct predictions *predictions;
};

static void collect(void *context, struct loader_batch *batch, const float *probabilities)
{
    const struct collector *c = context;
    for (int i = 0; i < batch->count; i++) {
        const bool tumor = batch->labels[i] > 0.5f;
        c->predictions->probabilities[batch->first + i] = probabilities[i];
        c->predictions->labels[batch->first + i] = tumor;
    }
    if (c->progress) progress_add(c->progress, batch->count);
    loader_recycle(c->loader, batch);
}

static bool predict_all(struct predictor *predictor, struct collector *collector, struct error *err)
{
    struct loader_batch *batch;
    predictor_begin(predictor, collect, collector);
    do {
        if (!stop_check(err)) return false;
        if (!loader_next(collector->loader, &batch, err)) return false;
        if (batch && !predictor_submit(predictor, batch, err)) return false;
    } while (batch);
    return predictor_finish(predictor, err);
}

/* The windows [first, last) are rank's. */
struct share {
    int64_t first, last;
};

static struct share share_of(int64_t count, int rank, int ranks)
{
    return (struct share) { count * rank / ranks, count * (rank + 1) / ranks };
}

/* Every rank gets the predictions of all. */
static bool gather(struct world *world, struct predictions *p, struct error *err)
{
    struct entry {
        float probability;
        uint8_t label;
    } * mine, *all;
    const int ranks = world_size(world);
    const struct share own = share_of(p->count, world_rank(world), ranks);
    const size_t most = (size_t)(p->count / ranks + 1);
    if (ranks == 1) return true;
    mine = calloc(most, sizeof *mine);
    all = calloc(most * (size_t)ranks, sizeof *all);
    bool ok = (mine && all) || error_set(err, EXIT_CODE_FAILED, "no memory for %lld predictions",
                                         (long long)p->count);
    for (int64_t i = own.first; i < own.last && ok; i++)
        mine[i - own.first] = (struct entry) { p->probabilities[i], p->labels[i] };
    ok = world_all_ok(world, ok, err) && world_gather(world, mine, most * sizeof *mine, all, err);
    for (int r = 0; r < ranks && ok; r++) {
        const struct share share = share_of(p->count, r, ranks);
        for (int64_t i = share.first; i < share.last; i++) {
            const struct entry *entry = &all[(size_t)r * most + (size_t)(i - share.first)];
            p->probabilities[i] = entry->probability;
            p->labels[i] = entry->label;
        }
    }
    free(mine);
    free(all);
    return ok;
}

static double mean_cross_entropy(const struct predictions *p)
{
    double sum = 0;
    for (int64_t i = 0; i < p->count; i++) sum += cross_entropy(p->probabilities[i], p->labels[i]);
    return p->count > 0 ? sum / (double)p->count : 0;
}

bool predict_dataset(struct model *model, const struct dataset *dataset,
                     const struct predict_options *options, struct predictions *out,
                     struct error *err)
{
    const struct loader_source source = loader_source_dataset(dataset);
    return predict_source(model, dataset, &source, options, out, err);
}

bool predict_source(struct model *model, const struct dataset *dataset,
                    const struct loader_source *source, const struct predict_options *options,
                    struct predictions *out, struct error *err)
{
    const struct model_spec *spec = model_spec(model);
    const char *title = options->title;
    const int ring = options->ring;
    const struct share own = share_of(dataset->count, world_rank(options->world),
                                      world_size(options->world));
    struct predictor predictor = { 0 };
    struct loader_batch *slots = NULL;
    struct progress progress = { 0 };
    struct collector collector = { .progress = title ? &progress : NULL, .predictions = out };
    struct sample *order = every_window(dataset);
    const size_t n = (size_t)dataset->count;
    *out = (struct predictions) { .probabilities = malloc(n * sizeof(float)),
                                  .labels = malloc(n),
                                  .count = dataset->count };
    bool ok = (order && out->probabilities && out->labels) ||
              error_set(err, EXIT_CODE_FAILED, "no memory for %lld predictions",
                        (long long)dataset->count);
    ok = ok && predictor_init(&predictor, model, options->orientations, err) &&
         batch_slots_init(model_backend(model), spec->towers, spec->window, spec->batch, ring,
                          &slots, err);
    const struct loader_options loading = { .order = order,
                                            .order_count = own.last,
                                            .first_sample = own.first,
                                            .batch = spec->batch,
                                            .slots = slots,
                                            .slot_count = ring,
                                            .threads = options->threads,
                                            .cache_bytes = (size_t)64 << 20 };
    ok = ok && loader_init(&collector.loader, source, &loading, err);
    if (title) progress_begin(&progress, title, "windows", own.last - own.first);
    ok = ok && predict_all(&predictor, &collector, err);
    if (title) progress_end(&progress);
    loader_release(collector.loader);
    predictor_release(&predictor); /* it may still be reading the slots */
    batch_slots_release(model_backend(model), slots, ring, spec->towers);
    free(order);
    ok = world_all_ok(options->world, ok, err) && gather(options->world, out, err);
    if (ok) out->loss = mean_cross_entropy(out);
    if (!ok) predictions_release(out);
    return ok;
}
