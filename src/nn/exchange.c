/* Buckets, partial sums and their order; see the header. */
#include "exchange.h"

#include <stdlib.h>

static const int64_t bucket_bytes = (int64_t)16 << 20;
/* The first one leaves early: it tells of the ranks that stop. */
static const int64_t first_bucket_bytes = (int64_t)1 << 20;

static struct region *region_of(const struct exchange *exchange, int queue)
{
    return &exchange->parameters->regions[queue];
}

/* --- partial sums --- */

/* The most partial sums that are kept at a time, besides the current shard's. */
static int depth_of(int shards, int first, int count)
{
    struct shard_stack stack = { .shards = shards };
    int depth = 0;
    for (int s = first; s < first + count; s++) {
        depth = stack.count > depth ? stack.count : depth;
        shard_push(&stack, (struct shard_span) { s, s + 1 });
    }
    return depth;
}

static size_t partial_bytes(const struct exchange *exchange, int queue)
{
    return (size_t)exchange->depth * (size_t)exchange->length[queue] * sizeof(float);
}

static size_t statistics_bytes(const struct exchange *exchange, int queue)
{
    const bool kept = exchange->averages && exchange->local > 1;
    return kept ? (size_t)region_of(exchange, queue)->statistics * sizeof(float) : 0;
}

bool exchange_init(struct exchange *exchange, struct parameters *parameters,
                   const struct model_spec *spec, struct error *err)
{
    struct backend *backend = parameters->backend;
    const int ranks = backend->facts.ranks > 0 ? backend->facts.ranks : 1;
    const int shards = spec->training && spec->shards > 0 ? spec->shards : 1;
    CHECK(!spec->training || shards % ranks == 0);
    *exchange = (struct exchange) { .backend = backend,
                                    .parameters = parameters,
                                    .shards = shards,
                                    .local = spec->training ? shards / ranks : 1,
                                    .queue = backend->facts.exchange_queue,
                                    .averages = spec->model.batch_norm != BATCH_NORM_FROZEN &&
                                                !(model_syncs(&spec->model) && ranks > 1) };
    exchange->first = backend->facts.rank * exchange->local;
    if (!spec->training || shards == 1) return true;
    exchange->depth = depth_of(shards, exchange->first, exchange->local);
    for (int q = 0; q < backend->facts.queues; q++) {
        const struct region *region = region_of(exchange, q);
        exchange->length[q] = region->trained + (q == 0 ? TAIL : 0) +
                              (exchange->averages ? region->statistics : 0);
        if (partial_bytes(exchange, q) > 0 &&
            !backend->ops->alloc(backend, partial_bytes(exchange, q),
                                 (void **)&exchange->partials[q], err))
            return error_prefix(err, "sums of gradients");
        if (statistics_bytes(exchange, q) > 0 &&
            !backend->ops->alloc(backend, statistics_bytes(exchange, q),
                                 (void **)&exchange->statistics[q], err))
            return error_prefix(err, "moving statistics");
    }
    return true;
}

/* Where other ranks' terms of a bucket arrive. */
static size_t arrival_bytes(const struct exchange *exchange)
{
    const int ranks = exchange->shards / exchange->local;
    int64_t largest = 0;
    int terms = 0;
    for (int b = 0; b < exchange->bucket_count; b++)
        if (exchange->buckets[b].count > largest) largest = exchange->buckets[b].count;
    for (int r = 0; r < ranks; r++)
        terms += r * exchange->local == exchange->first
                     ? 0
                     : shard_terms(exchange->shards, r * exchange->local, (r + 1) * exchange->local)
                           .count;
    return (size_t)(terms * (largest / ranks)) * sizeof(float);
}

size_t exchange_bytes(const struct exchange *exchange)
{
    size_t bytes = arrival_bytes(exchange);
    for (int q = 0; q < TOWERS_MAX; q++)
        if (exchange->length[q] > 0)
            bytes += partial_bytes(exchange, q) + statistics_bytes(exchange, q);
    for (int b = 0; b < exchange->bucket_count; b++)
        if (exchange->buckets[b].reduce)
            bytes += exchange->backend->ops->plan_bytes(exchange->buckets[b].reduce);
    return bytes;
}

void exchange_release(struct exchange *exchange)
{
    if (!exchange->backend) return;
    const struct backend_ops *ops = exchange->backend->ops;
    for (int b = 0; b < exchange->bucket_count; b++) {
        ops->plan_release(exchange->buckets[b].add);
        ops->plan_release(exchange->buckets[b].add_last);
        ops->plan_release(exchange->buckets[b].reduce);
    }
    for (int q = 0; q < TOWERS_MAX; q++) {
        ops->free(exchange->backend, exchange->partials[q]);
        ops->free(exchange->backend, exchange->statistics[q]);
    }
    *exchange = (struct exchange) { 0 };
}

/* --- buckets --- */

static bool add_bucket(struct exchange *exchange, struct bucket bucket, struct error *err)
{
    if (exchange->bucket_count == BUCKETS_MAX)
        return error_set(err, EXIT_CODE_FAILED, "the gradients take more than %d buckets",
                         BUCKETS_MAX);
    exchange->buckets[exchange->bucket_count++] = bucket;
    return true;
}

/* Behind which instruction an array of gradients is complete; 0 if the program never writes it. */
static int complete_behind(const struct program *program, const float *gradient)
{
    for (int n = program->count - 1; n >= 0; n--) {
        const struct op_buffers *b = &program->instructions[n].buffers;
        if (b->out == gradient || b->dbias == gradient || b->dgamma == gradient) return n + 1;
    }
    return 0;
}

static bool add_statistics(struct exchange *exchange, struct error *err)
{
    for (int q = 0; q < exchange->backend->facts.queues; q++) {
        const struct region *region = region_of(exchange, q);
        if (!exchange->averages || region->statistics == 0) continue;
        const struct bucket bucket = { .branch = BRANCH_STATISTICS,
                                       .queue = q,
                                       .memory = region->values + region->trained,
                                       .partial = exchange->length[q] - region->statistics,
                                       .count = region->statistics,
                                       .mean = true };
        if (!add_bucket(exchange, bucket, err)) return false;
    }
    return true;
}

/* Close the bucket that is being filled. */
static bool close_bucket(struct exchange *exchange, struct bucket *open, struct error *err)
{
    const struct bucket full = *open;
    open->count = 0;
    return full.count == 0 || add_bucket(exchange, full, err);
}

bool exchange_add(struct exchange *exchange, int branch, const struct program *program,
                  struct error *err)
{
    if (exchange->shards == 1) return true;
    if (branch == BRANCH_STATISTICS) return add_statistics(exchange, err);
    const int64_t limit = (branch == BRANCH_HEAD ? first_bucket_bytes : bucket_bytes) /
                          (int64_t)sizeof(float);
    struct bucket open = { .branch = branch };
    for (int i = exchange->parameters->count - 1; i >= 0; i--) {
        const struct parameter *p = &exchange->parameters->items[i];
        const int behind = p->trains ? complete_behind(program, p->gradient) : 0;
        if (behind == 0) continue;
        const struct region *region = region_of(exchange, p->queue);
        const int64_t at = p->gradient - region->gradients, floats = parameter_padded(p->count);
        const bool last = p->queue == 0 && at + floats == region->trained;
        CHECK(open.count == 0 || open.memory == p->gradient + floats);
        open.queue = p->queue;
        open.memory = p->gradient;
        open.partial = at;
        open.count += floats + (last ? TAIL : 0);
        open.end = behind > open.end ? behind : open.end;
        if (open.count >= limit && !close_bucket(exchange, &open, err)) return false;
    }
    return close_bucket(exchange, &open, err);
}

/* --- plans --- */

/* The place of a bucket in the order of exchange: the towers take turns. */
static int turn_of(const struct exchange *exchange, int index)
{
    const struct bucket *bucket = &exchange->buckets[index];
    int earlier = 0;
    for (int b = 0; b < index; b++) earlier += exchange->buckets[b].branch == bucket->branch;
    return bucket->branch < 0 ? bucket->branch * BUCKETS_MAX + earlier
                              : earlier * TOWERS_MAX + bucket->branch;
}

struct turn {
    int turn;
    struct bucket bucket;
};

static int compare_turns(const void *a, const void *b)
{
    return ((const struct turn *)a)->turn - ((const struct turn *)b)->turn;
}

static bool order_buckets(struct exchange *exchange, struct error *err)
{
    struct turn *turns = malloc(BUCKETS_MAX * sizeof *turns);
    if (!turns) return error_set(err, EXIT_CODE_FAILED, "out of memory for buckets of gradients");
    for (int b = 0; b < exchange->bucket_count; b++)
        turns[b] = (struct turn) { turn_of(exchange, b), exchange->buckets[b] };
    qsort(turns, (size_t)exchange->bucket_count, sizeof *turns, compare_turns);
    for (int b = 0; b < exchange->bucket_count; b++) exchange->buckets[b] = turns[b].bucket;
    free(turns);
    return true;
}

static bool plan_add(const struct exchange *exchange, const struct bucket *bucket, float scale,
                     struct plan **plan, struct error *err)
{
    const struct op op = { .kind = OP_SUM,
                           .name = "shards",
                           .queue = exchange->queue,
                           .sum = { .count = bucket->count, .scale = scale } };
    return exchange->backend->ops->plan(exchange->backend, &op, plan, err);
}

static bool plan_reduce(const struct exchange *exchange, struct bucket *bucket, float scale,
                        struct error *err)
{
    const struct op op = { .kind = OP_ALL_REDUCE,
                           .name = "ranks",
                           .queue = exchange->queue,
                           .all_reduce = { .count = bucket->count,
                                           .term_stride = exchange->length[bucket->queue],
                                           .shards = exchange->shards,
                                           .scale = scale } };
    return exchange->backend->ops->plan(exchange->backend, &op, &bucket->reduce, err);
}

bool exchange_finish(struct exchange *exchange, struct error *err)
{
    if (!order_buckets(exchange, err)) return false;
    const bool alone = exchange->local == exchange->shards;
    for (int b = 0; b < exchange->bucket_count; b++) {
        struct bucket *bucket = &exchange->buckets[b];
        const float scale = bucket->mean ? 1 / (float)exchange->shards : 1;
        if (exchange->local > 1 &&
            (!plan_add(exchange, bucket, 1, &bucket->add, err) ||
             !plan_add(exchange, bucket, alone ? scale : 1, &bucket->add_last, err)))
            return false;
        if (!alone && !plan_reduce(exchange, bucket, scale, err)) return false;
    }
    return true;
}

/* --- a step --- */

/* `queue` waits for all that is on `awaited` so far. */
static bool follow(const struct exchange *exchange, int queue, int awaited, struct error *err)
{
    const struct backend_ops *ops = exchange->backend->ops;
    uint64_t ticket;
    return ops->fence(exchange->backend, awaited, &ticket, err) &&
           ops->wait(exchange->backend, queue, awaited, ticket, err);
}

/* Keep the moving statistics as those of the step's start, or go back to them. */
static bool copy_statistics(const struct exchange *exchange, bool keep, struct error *err)
{
    for (int q = 0; q < exchange->backend->facts.queues; q++) {
        const struct region *region = region_of(exchange, q);
        float *moving = region->values + region->trained, *start = exchange->statistics[q];
        if (!start) continue;
        if (!exchange->backend->ops->copy(exchange->backend, q, keep ? start : moving,
                                          keep ? moving : start, statistics_bytes(exchange, q),
                                          err))
            return false;
    }
    return true;
}

bool exchange_begin(struct exchange *exchange, int shard, struct error *err)
{
    const int s = exchange->first + shard;
    if (shard == 0) exchange->stack = (struct shard_stack) { .shards = exchange->shards };
    exchange->kept = exchange->stack.count;
    exchange->merges = shard_push(&exchange->stack, (struct shard_span) { s, s + 1 });
    exchange->begun = shard + 1;
    return copy_statistics(exchange, shard == 0, err);
}

bool exchange_rewind(struct exchange *exchange, struct error *err)
{
    if (exchange->begun == 0 || exchange->begun == exchange->local) return true;
    exchange->begun = 0;
    return copy_statistics(exchange, false, err) &&
           exchange->backend->ops->synchronize(exchange->backend, err);
}

static float *partial_of(const struct exchange *exchange, const struct bucket *bucket, int level)
{
    return exchange->partials[bucket->queue] + level * exchange->length[bucket->queue] +
           bucket->partial;
}

/* Add the partial sums that the tree adds to this shard's. */
static bool merge(const struct exchange *exchange, const struct bucket *bucket, bool last,
                  struct error *err)
{
    for (int m = 1; m <= exchange->merges; m++) {
        struct plan *plan = last && m == exchange->merges ? bucket->add_last : bucket->add;
        const struct op_buffers buffers = { .x = partial_of(exchange, bucket, exchange->kept - m),
                                            .out = bucket->memory };
        if (!exchange->backend->ops->run(plan, &buffers, err)) return false;
    }
    return true;
}

bool exchange_keep(struct exchange *exchange, struct error *err)
{
    struct backend *backend = exchange->backend;
    if (!follow(exchange, exchange->queue, 0, err)) return false;
    for (int b = 0; b < exchange->bucket_count; b++) {
        const struct bucket *bucket = &exchange->buckets[b];
        float *to = partial_of(exchange, bucket, exchange->kept - exchange->merges);
        if (!merge(exchange, bucket, false, err) ||
            !backend->ops->copy(backend, exchange->queue, to, bucket->memory,
                                (size_t)bucket->count * sizeof(float), err))
            return false;
    }
    return exchange_end(exchange, err);
}

/* Add up the ranks' terms; of this one, the earlier ones are partial sums. */
static bool reduce(const struct exchange *exchange, const struct bucket *bucket, struct error *err)
{
    if (!bucket->reduce) return true;
    const bool several = exchange->stack.count > 1;
    const struct op_buffers buffers = { .x = several ? partial_of(exchange, bucket, 0) : NULL,
                                        .out = bucket->memory };
    return exchange->backend->ops->run(bucket->reduce, &buffers, err);
}

bool exchange_run(struct exchange *exchange, const struct bucket *bucket, double when_s[2],
                  struct error *err)
{
    struct backend *backend = exchange->backend;
    return follow(exchange, exchange->queue, bucket->queue, err) &&
           backend->ops->mark(backend, exchange->queue, &when_s[0], err) &&
           merge(exchange, bucket, true, err) && reduce(exchange, bucket, err) &&
           backend->ops->mark(backend, exchange->queue, &when_s[1], err);
}

bool exchange_end(struct exchange *exchange, struct error *err)
{
    for (int q = 0; q < exchange->backend->facts.queues; q++)
        if (!follow(exchange, q, exchange->queue, err)) return false;
    return true;
}
