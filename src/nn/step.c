/* Runs passes over a model's programs. Submitting and collecting are separate, so that the next
 * batch is copied and enqueued while one computes. If the backend can record, a pass is enqueued
 * once and then replayed. */
#include <math.h>
#include <stdlib.h>

#include "micromet/base/size.h"
#include "micromet/data/augment.h"
#include "model_parts.h"

/* --- Slots ------------------------------------------------------------------------------------ */

enum { ALIGNMENT = 64 };

/* Lay the arrays out in `memory`; returns the number of bytes they take. */
static size_t meta_layout(const struct model *model, char *memory, struct batch_meta *meta)
{
    const size_t n = (size_t)model->spec.batch;
    size_t at = round_up(sizeof *meta->values, ALIGNMENT);
    meta->values = (struct step_values *)memory;
    meta->labels = (float *)(memory + at);
    at += round_up(n * sizeof *meta->labels, ALIGNMENT);
    for (int t = 0; t < model->spec.towers; t++) {
        meta->draws[t] = (struct augment_draw *)(memory + at);
        at += round_up(n * sizeof *meta->draws[t], ALIGNMENT);
    }
    return at;
}

static size_t meta_bytes(const struct model *model)
{
    static char nowhere[1];
    struct batch_meta meta;
    return meta_layout(model, nowhere, &meta);
}

static size_t window_bytes(const struct model *model)
{
    return (size_t)model->spec.window * (size_t)model->spec.window * 3;
}

size_t slots_bytes(const struct model *model)
{
    const size_t pixels = (size_t)model->spec.batch * window_bytes(model);
    return PASSES_MAX * (pixels * (size_t)model->spec.towers + 2 * meta_bytes(model));
}

static bool slot_init(struct model *model, struct slot *slot, struct error *err)
{
    struct backend *backend = model->backend;
    const struct backend_ops *ops = backend->ops;
    const size_t n = (size_t)model->spec.batch, bytes = meta_bytes(model);
    for (int t = 0; t < model->spec.towers; t++)
        if (!ops->alloc(backend, n * window_bytes(model), &slot->pixels[t], err)) return false;
    if (!ops->alloc(backend, bytes, &slot->meta_memory_device, err) ||
        !ops->alloc_host(backend, bytes, &slot->meta_memory_host, err) ||
        !ops->alloc_host(backend, (n + 2) * sizeof(float), (void **)&slot->results, err))
        return false;
    meta_layout(model, slot->meta_memory_device, &slot->meta_device);
    meta_layout(model, slot->meta_memory_host, &slot->meta_host);
    memset(slot->meta_memory_host, 0, bytes);
    return true;
}

bool slots_init(struct model *model, struct error *err)
{
    for (int s = 0; s < PASSES_MAX; s++)
        if (!slot_init(model, &model->slots[s], err)) return false;
    return true;
}

void slots_release(struct model *model)
{
    struct backend *backend = model->backend;
    for (int s = 0; s < PASSES_MAX; s++) {
        struct slot *slot = &model->slots[s];
        for (int kind = 0; kind < PASS_KINDS; kind++)
            if (slot->recordings[kind])
                backend->ops->recording_release(backend, slot->recordings[kind]);
        for (int t = 0; t < model->spec.towers; t++) backend->ops->free(backend, slot->pixels[t]);
        backend->ops->free(backend, slot->meta_memory_device);
        backend->ops->free_host(backend, slot->meta_memory_host);
        backend->ops->free_host(backend, slot->results);
        *slot = (struct slot) { 0 };
    }
}

static struct program_values values_of(const struct model *model, const struct slot *slot,
                                       int tower)
{
    return (struct program_values) { .step = slot->meta_device.values,
                                     .pixels = slot->pixels[tower],
                                     .draws = slot->meta_device.draws[tower],
                                     .labels = slot->meta_device.labels,
                                     .trained_version = model->trained_version };
}

struct program_values model_program_values(const struct model *model, int tower)
{
    return values_of(model, &model->slots[0], tower);
}

/* --- Copying a batch to the device ------------------------------------------------------------ */

static void fill_meta(const struct model *model, struct slot *slot, const struct model_batch *batch,
                      const struct step_values *values)
{
    const struct augment_draw identity = augment_identity();
    struct batch_meta *meta = &slot->meta_host;
    *meta->values = *values;
    if (batch->labels) memcpy(meta->labels, batch->labels, (size_t)batch->count * sizeof(float));
    for (int t = 0; t < model->spec.towers; t++)
        for (int n = 0; n < model->spec.batch; n++)
            meta->draws[t][n] = n < batch->count ? batch->draws[t][n] : identity;
}

/* Copy a batch into a slot, which must be free: its last pass has been collected. */
static bool stage(struct model *model, struct slot *slot, const struct model_batch *batch,
                  const struct step_values *values, struct error *err)
{
    struct backend *backend = model->backend;
    const struct backend_ops *ops = backend->ops;
    const int copier = backend->facts.copy_queue;
    fill_meta(model, slot, batch, values);
    for (int t = 0; t < model->spec.towers; t++)
        if (!ops->copy(backend, copier, slot->pixels[t], batch->pixels[t],
                       (size_t)batch->count * window_bytes(model), err))
            return false;
    uint64_t staged;
    if (!ops->copy(backend, copier, slot->meta_memory_device, slot->meta_memory_host,
                   meta_bytes(model), err) ||
        !ops->fence(backend, copier, &staged, err))
        return false;
    for (int q = 0; q < backend->facts.queues; q++)
        if (!ops->wait(backend, q, copier, staged, err)) return false;
    return true;
}

/* --- Passes ----------------------------------------------------------------------------------- */

/* Where the towers' programs stand, and how far they may run: indices of instructions. */
struct advance {
    int at[TOWERS_MAX], end[TOWERS_MAX];
};

/* Run one tower to its end. Each time that it exchanges batch statistics with other ranks, the
 * other towers run to their next exchange too: exchanges have one order, and no tower should wait
 * until another has done with all of its own. */
static bool run_tower(struct model *model, struct slot *slot, int mode, struct advance *a,
                      int tower, struct error *err)
{
    while (a->at[tower] < a->end[tower])
        for (int t = 0; t < model->spec.towers; t++) {
            struct program *program = &model->tower_branches[mode][t].program;
            const struct program_values values = values_of(model, slot, t);
            const int exchange = program_exchange(program, a->at[t], a->end[t]);
            const int to = exchange || t != tower ? exchange : a->end[t];
            if (to == 0) continue;
            if (!program_run(program, a->at[t], to, &values, err)) return false;
            a->at[t] = to;
        }
    return true;
}

/* Run the stages `first` to `last` of each tower. */
static bool run_towers(struct model *model, struct slot *slot, int mode, enum tower_stage first,
                       enum tower_stage last, struct error *err)
{
    struct advance a;
    for (int t = 0; t < model->spec.towers; t++) {
        const struct branch *b = &model->tower_branches[mode][t];
        a.at[t] = first > 0 ? b->stage_end[first - 1] : 0;
        a.end[t] = b->stage_end[last];
    }
    for (int t = 0; t < model->spec.towers; t++)
        if (!run_tower(model, slot, mode, &a, t, err)) return false;
    return true;
}

/* Queue 0 waits for the other queues, or (others_wait) they for queue 0. */
static bool join(struct model *model, bool others_wait, struct error *err)
{
    const struct backend_ops *ops = model->backend->ops;
    for (int q = 1; q < model->backend->facts.queues; q++) {
        const int waiting = others_wait ? q : 0, awaited = others_wait ? 0 : q;
        uint64_t ticket;
        if (!ops->fence(model->backend, awaited, &ticket, err) ||
            !ops->wait(model->backend, waiting, awaited, ticket, err))
            return false;
    }
    return true;
}

static bool mark(struct model *model, struct slot *slot, int which, struct error *err)
{
    for (int q = 0; q < model->backend->facts.queues; q++)
        if (!model->backend->ops->mark(model->backend, q, &slot->when_s[which][q], err))
            return false;
    return true;
}

static bool run_updates(struct model *model, struct slot *slot, struct error *err)
{
    for (int q = 0; q < model->backend->facts.queues; q++) {
        const struct region *region = &model->parameters.regions[q];
        if (!model->update_plans[q]) continue;
        const struct op_buffers buffers = { .parameters = region->values,
                                            .gradients = region->gradients,
                                            .state1 = region->state1,
                                            .state2 = region->state2,
                                            .values = slot->meta_device.values };
        if (!model->backend->ops->run(model->update_plans[q], &buffers, err)) return false;
    }
    return true;
}

/* The request to stop goes where the loss goes. */
static bool place_stop(struct model *model, struct slot *slot, struct error *err)
{
    return model->backend->ops->copy(model->backend, 0, model->loss + TAIL_STOP - TAIL_LOSS,
                                     &slot->meta_device.values->stop, sizeof(float), err);
}

static bool run_head(struct model *model, struct slot *slot, int mode, struct error *err)
{
    struct branch *head = &model->head_branches[mode];
    const struct program_values values = values_of(model, slot, 0);
    return join(model, false, err) && mark(model, slot, MARK_FORWARD, err) &&
           program_run(&head->program, 0, head->program.count, &values, err) &&
           (mode == INFER || place_stop(model, slot, err)) && join(model, true, err);
}

/* Add up the buckets of one of the branches that are no towers. */
static bool exchange_branch(struct model *model, struct slot *slot, int branch, struct error *err)
{
    struct exchange *exchange = &model->exchange;
    for (int b = 0; b < exchange->bucket_count; b++)
        if (exchange->buckets[b].branch == branch &&
            !exchange_run(exchange, &exchange->buckets[b], &slot->exchanged_s[2 * b], err))
            return false;
    return true;
}

/* The end of the tower's first bucket of gradients from bucket `b` on, or else of its program. */
static int bucket_end(const struct model *model, int tower, int b)
{
    const struct exchange *exchange = &model->exchange;
    for (; b < exchange->bucket_count; b++)
        if (exchange->buckets[b].branch == tower) return exchange->buckets[b].end;
    return model->tower_branches[TRAIN][tower].stage_end[STAGE_BACKWARD];
}

/* The towers' backward passes, each bucket of gradients being added up once it is complete. */
static bool run_backward(struct model *model, struct slot *slot, enum pass pass, struct error *err)
{
    struct exchange *exchange = &model->exchange;
    struct advance a;
    const int first = pass == PASS_STEP ? 0 : exchange->bucket_count;
    for (int t = 0; t < model->spec.towers; t++) {
        a.at[t] = model->tower_branches[TRAIN][t].stage_end[STAGE_FORWARD];
        a.end[t] = bucket_end(model, t, first);
    }
    for (int b = first; b < exchange->bucket_count; b++) {
        const struct bucket *bucket = &exchange->buckets[b];
        if (bucket->branch < 0) continue;
        if (!run_tower(model, slot, TRAIN, &a, bucket->branch, err) ||
            !exchange_run(exchange, bucket, &slot->exchanged_s[2 * b], err))
            return false;
        a.end[bucket->branch] = bucket_end(model, bucket->branch, b + 1);
    }
    for (int t = 0; t < model->spec.towers; t++)
        if (!run_tower(model, slot, TRAIN, &a, t, err)) return false;
    return true;
}

static bool copy_results(struct model *model, struct slot *slot, struct error *err)
{
    const size_t n = (size_t)model->spec.batch;
    const struct backend_ops *ops = model->backend->ops;
    return ops->copy(model->backend, 0, slot->results, model->probabilities, n * sizeof(float),
                     err) &&
           ops->copy(model->backend, 0, slot->results + n, model->loss, 2 * sizeof(float), err) &&
           join(model, false, err);
}

static bool training_pass(struct model *model, struct slot *slot, enum pass pass, struct error *err)
{
    const bool last = pass == PASS_STEP;
    if (!mark(model, slot, MARK_START, err) ||
        !run_towers(model, slot, TRAIN, STAGE_AUGMENT, STAGE_AUGMENT, err) ||
        !mark(model, slot, MARK_AUGMENTED, err) ||
        !run_towers(model, slot, TRAIN, STAGE_FORWARD, STAGE_FORWARD, err) ||
        (last && !exchange_branch(model, slot, BRANCH_STATISTICS, err)) ||
        !run_head(model, slot, TRAIN, err) ||
        (last && !exchange_branch(model, slot, BRANCH_HEAD, err)) ||
        !run_backward(model, slot, pass, err) || !mark(model, slot, MARK_BACKWARD, err))
        return false;
    if (last && model->exchange.bucket_count > 0 && !exchange_end(&model->exchange, err))
        return false;
    return mark(model, slot, MARK_EXCHANGED, err) && (!last || run_updates(model, slot, err)) &&
           mark(model, slot, MARK_UPDATED, err) && copy_results(model, slot, err);
}

static bool inference_pass(struct model *model, struct slot *slot, struct error *err)
{
    const size_t n = (size_t)model->spec.batch;
    return run_towers(model, slot, INFER, STAGE_AUGMENT, STAGE_FORWARD, err) &&
           run_head(model, slot, INFER, err) &&
           model->backend->ops->copy(model->backend, 0, slot->results, model->logits,
                                     n * sizeof(float), err) &&
           join(model, false, err);
}

static bool run_plainly(struct model *model, struct slot *slot, enum pass pass, struct error *err)
{
    return pass == PASS_INFERENCE ? inference_pass(model, slot, err)
                                  : training_pass(model, slot, pass, err);
}

/* A recording is valid until this changes. A training pass packs the trained weights every time,
 * recorded or not. An inference pass packs the head's weights only when they have changed; a
 * recording would repeat that every time, so an unrecorded pass comes first. */
static uint64_t pass_version(const struct model *model, enum pass pass)
{
    return pass == PASS_INFERENCE ? model->trained_version : 1;
}

static bool record(struct model *model, struct slot *slot, enum pass pass, struct error *err)
{
    struct backend *backend = model->backend;
    if (slot->recordings[pass]) backend->ops->recording_release(backend, slot->recordings[pass]);
    slot->recordings[pass] = NULL;
    if (!backend->ops->record_begin(backend, err)) return false;
    const bool recorded = run_plainly(model, slot, pass, err);
    slot->recorded_version[pass] = pass_version(model, pass);
    return backend->ops->record_end(backend, &slot->recordings[pass], err) && recorded;
}

static bool run_pass(struct model *model, struct slot *slot, enum pass pass, struct error *err)
{
    struct backend *backend = model->backend;
    const uint64_t version = pass_version(model, pass);
    if (!backend->ops->replay || model->eager_version[pass] != version) {
        model->eager_version[pass] = version;
        return run_plainly(model, slot, pass, err);
    }
    const bool valid = slot->recordings[pass] && slot->recorded_version[pass] == version;
    return (valid || record(model, slot, pass, err)) &&
           backend->ops->replay(backend, slot->recordings[pass], err);
}

static enum pass pass_of(const struct model *model, int mode, const struct model_batch *batch)
{
    if (mode == INFER) return PASS_INFERENCE;
    return batch->shard + 1 < model->exchange.local ? PASS_SHARD : PASS_STEP;
}

static bool submit(struct model *model, int mode, const struct model_batch *batch,
                   double learning_rate, int64_t step, uint64_t seed, struct error *err)
{
    const int64_t shard = model->exchange.first + batch->shard;
    const struct step_values values = { .seed = seed,
                                        .step = step,
                                        .first_row = shard * model->spec.batch,
                                        .learning_rate = (float)learning_rate,
                                        .stop = batch->stop };
    const enum pass pass = pass_of(model, mode, batch);
    CHECK(model->submitted[mode] - model->collected[mode] < PASSES_MAX);
    /* training and inference passes must not overlap */
    CHECK(model->submitted[!mode] == model->collected[!mode]);
    struct slot *slot = &model->slots[model->submitted[mode] % PASSES_MAX];
    if (!stage(model, slot, batch, &values, err) ||
        (mode == TRAIN && !exchange_begin(&model->exchange, batch->shard, err)) ||
        !run_pass(model, slot, pass, err) ||
        (pass == PASS_SHARD && !exchange_keep(&model->exchange, err)) ||
        !model->backend->ops->fence(model->backend, 0, &slot->done, err))
        return false;
    slot->result = (struct model_result) { .tag = batch->tag,
                                           .count = batch->count,
                                           .step_done = pass == PASS_STEP,
                                           .learning_rate = learning_rate };
    if (mode == TRAIN) model->trained_version++;
    model->submitted[mode]++;
    return true;
}

/* Wait for the oldest pass in flight. */
static bool collect(struct model *model, int mode, struct slot **slot, struct error *err)
{
    CHECK(model->collected[mode] < model->submitted[mode]);
    *slot = &model->slots[model->collected[mode]++ % PASSES_MAX];
    return model->backend->ops->await(model->backend, 0, (*slot)->done, err);
}

int model_in_flight(const struct model *model)
{
    return (int)(model->submitted[TRAIN] - model->collected[TRAIN] + model->submitted[INFER] -
                 model->collected[INFER]);
}

bool model_train_submit(struct model *model, const struct model_batch *batch, double learning_rate,
                        int64_t step, uint64_t seed, struct error *err)
{
    CHECK(model->spec.training && batch->count == model->spec.batch);
    CHECK(batch->shard >= 0 && batch->shard < model->exchange.local);
    return submit(model, TRAIN, batch, learning_rate, step, seed, err);
}

bool model_train_rewind(struct model *model, struct error *err)
{
    CHECK(model_in_flight(model) == 0);
    return exchange_rewind(&model->exchange, err);
}

static struct model_timing timing_of(const struct model *model, const struct slot *slot)
{
    double spent_s[MARKS] = { 0 };
    for (int m = 1; m < MARKS; m++) {
        double start = 0, end = 0;
        for (int q = 0; q < model->backend->facts.queues; q++) {
            start = slot->when_s[m - 1][q] > start ? slot->when_s[m - 1][q] : start;
            end = slot->when_s[m][q] > end ? slot->when_s[m][q] : end;
        }
        spent_s[m] = end - start;
    }
    double exchanged_s = 0;
    for (int b = 0; b < model->exchange.bucket_count && slot->result.step_done; b++)
        exchanged_s += slot->exchanged_s[2 * b + 1] - slot->exchanged_s[2 * b];
    return (struct model_timing) { .augment_s = spent_s[MARK_AUGMENTED],
                                   .forward_s = spent_s[MARK_FORWARD],
                                   .backward_s = spent_s[MARK_BACKWARD],
                                   .update_s = spent_s[MARK_UPDATED],
                                   .exchange_wait_s = spent_s[MARK_EXCHANGED],
                                   .exchange_s = exchanged_s };
}

bool model_train_collect(struct model *model, struct model_result *result, float *probabilities,
                         struct error *err)
{
    struct slot *slot;
    const size_t n = (size_t)model->spec.batch;
    if (!collect(model, TRAIN, &slot, err)) return false;
    *result = slot->result;
    result->loss = slot->results[n + TAIL_LOSS];
    result->stop = slot->results[n + TAIL_STOP] > 0;
    result->timing = timing_of(model, slot);
    if (probabilities) memcpy(probabilities, slot->results, n * sizeof(float));
    return true;
}

bool model_train_step(struct model *model, const struct model_batch *batch, double learning_rate,
                      int64_t step, uint64_t seed, float *loss, float *probabilities,
                      struct error *err)
{
    struct model_result result;
    CHECK(model_in_flight(model) == 0);
    if (!model_train_submit(model, batch, learning_rate, step, seed, err) ||
        !model_train_collect(model, &result, probabilities, err))
        return false;
    *loss = result.loss;
    return true;
}

bool model_predict_submit(struct model *model, const struct model_batch *batch, struct error *err)
{
    CHECK(batch->count >= 1 && batch->count <= model->spec.batch);
    CHECK(model->folded_version == model->trained_version); /* model_refresh() was called since */
    return submit(model, INFER, batch, 0, 0, 0, err);
}

bool model_predict_collect(struct model *model, struct model_result *result, float *probabilities,
                           struct error *err)
{
    struct slot *slot;
    if (!collect(model, INFER, &slot, err)) return false;
    *result = slot->result;
    for (int i = 0; i < result->count; i++)
        probabilities[i] = (float)(1 / (1 + exp(-(double)slot->results[i])));
    return true;
}

bool model_predict(struct model *model, const struct model_batch *batch, float *probabilities,
                   struct error *err)
{
    struct model_result result;
    CHECK(model_in_flight(model) == 0);
    return model_predict_submit(model, batch, err) &&
           model_predict_collect(model, &result, probabilities, err);
}
