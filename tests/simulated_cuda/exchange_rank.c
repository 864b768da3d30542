/* A rank that adds up over ranks on the simulated device, for test_cuda_ranks.c:
 * exchange_rank ordered|fast [plain|late|killed]. Its place comes from the variables of torchrun.
 * Exit code 0 if all sums are those that the tree of the shards defines (fast: nearly), plainly run
 * and replayed. Rank 1 records nothing (plain) or, when others are in the exchange, stays away or
 * is killed. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "micromet/base/log.h"
#include "micromet/base/size.h"
#include "micromet/nn/backend.h"
#include "micromet/world/world.h"

enum { BUCKETS = 2, FLOATS_MAX = 30011, TERMS_MAX = 4, ROUNDS = 5, QUEUES = 2 };

/* Of the first bucket. */
static const int64_t counts[] = { 1, 15, 64, 1000, FLOATS_MAX };
static const int shards_of_ranks[] = { [1] = 3, [2] = 6, [3] = 9, [4] = 12 };
static const float scales[] = { 1, 0.3f };

struct bucket {
    float *terms;  /* device (TERMS_MAX, FLOATS_MAX); the last of them is summed in place */
    float *filled; /* pinned, likewise */
    float *summed; /* pinned (FLOATS_MAX) */
    struct plan *plan;
};

struct scene {
    struct backend *backend;
    int rank, ranks, shards, terms;
    int64_t count;
    float scale;
    bool fast;
    const char *odd; /* what this rank does unlike the others; "" = nothing */
    struct bucket buckets[BUCKETS];
};

static struct world *world;

static void must(bool ok, const struct error *err)
{
    if (ok) return;
    world_fail(world, err);
    log_error(err->message);
    exit(err->code);
}

/* What a shard has; another in each round. */
static float value_of(int shard, int bucket, int round, int64_t i)
{
    const uint64_t key = ((uint64_t)(shard * BUCKETS + bucket) * ROUNDS + (uint64_t)round) *
                             FLOATS_MAX +
                         (uint64_t)i;
    return (float)(key * 0x9e3779b97f4a7c15 >> 40) / (1 << 23) - 1;
}

/* The sum of [first, last) as the tree's definition has it. */
static float tree_sum(int first, int last, int bucket, int round, int64_t i)
{
    int half = 1;
    if (last - first == 1) return value_of(first, bucket, round, i);
    while (2 * half < last - first) half *= 2;
    return tree_sum(first, first + half, bucket, round, i) +
           tree_sum(first + half, last, bucket, round, i);
}

/* The second bucket is the smaller one, if not both have one float. */
static int64_t count_of(const struct scene *s, int bucket)
{
    return s->count - bucket * (s->count / 3);
}

static void fill(const struct scene *s, int round)
{
    const int each = s->shards / s->ranks;
    const struct shard_stack own = shard_terms(s->shards, s->rank * each, (s->rank + 1) * each);
    for (int b = 0; b < BUCKETS; b++)
        for (int t = 0; t < s->terms; t++)
            for (int64_t i = 0; i < s->count; i++)
                s->buckets[b].filled[t * FLOATS_MAX + i] = tree_sum(own.spans[t].first,
                                                                    own.spans[t].last, b, round, i);
}

static bool follow(struct backend *backend, int queue, int awaited, struct error *err)
{
    uint64_t ticket;
    return backend->ops->fence(backend, awaited, &ticket, err) &&
           backend->ops->wait(backend, queue, awaited, ticket, err);
}

/* Each bucket is filled on a queue of its own, summed on the exchange's, and read on its own. */
static bool run(const struct scene *s, struct error *err)
{
    struct backend *backend = s->backend;
    const struct backend_ops *ops = backend->ops;
    const int exchange = backend->facts.exchange_queue;
    for (int b = 0; b < BUCKETS; b++) {
        const struct bucket *bucket = &s->buckets[b];
        float *last = bucket->terms + (s->terms - 1) * FLOATS_MAX;
        const struct op_buffers buffers = { .x = bucket->terms, .out = last };
        if (!ops->copy(backend, b, bucket->terms, bucket->filled,
                       (size_t)s->terms * FLOATS_MAX * sizeof(float), err) ||
            !follow(backend, exchange, b, err) || !ops->run(bucket->plan, &buffers, err) ||
            !follow(backend, b, exchange, err) ||
            !ops->copy(backend, b, bucket->summed, last, (size_t)count_of(s, b) * sizeof(float),
                       err))
            return false;
    }
    return follow(backend, 0, 1, err);
}

static bool check(const struct scene *s, int round, struct error *err)
{
    for (int b = 0; b < BUCKETS; b++)
        for (int64_t i = 0; i < count_of(s, b); i++) {
            const float want = s->scale * tree_sum(0, s->shards, b, round, i),
                        has = s->buckets[b].summed[i];
            if (s->fast ? fabsf(has - want) < 1e-5f : has == want) continue;
            return error_set(err, EXIT_CODE_FAILED,
                             "%lld floats, bucket %d, round %d: float %lld is %.9g, not %.9g",
                             (long long)s->count, b, round, (long long)i, (double)has,
                             (double)want);
        }
    return true;
}

/* The first round is run plainly, the others replay a recording. */
static bool go_round(const struct scene *s, int round, struct recording **recording,
                     struct error *err)
{
    struct backend *backend = s->backend;
    const struct backend_ops *ops = backend->ops;
    uint64_t ticket;
    const bool plain = round == 0 || strcmp(s->odd, "plain") == 0, last = round == ROUNDS - 1;
    fill(s, round);
    if (last && strcmp(s->odd, "late") == 0) pause();
    if (last && strcmp(s->odd, "killed") == 0) raise(SIGKILL);
    if (plain && !run(s, err)) return false;
    if (round == 1 && !plain) {
        const bool begun = ops->record_begin(backend, err), recorded = begun && run(s, err);
        if (!begun || !ops->record_end(backend, recording, err) || !recorded) return false;
    }
    return (plain || ops->replay(backend, *recording, err)) &&
           ops->fence(backend, 0, &ticket, err) && ops->await(backend, 0, ticket, err) &&
           check(s, round, err);
}

static bool open_buckets(struct scene *s, struct error *err)
{
    struct backend *backend = s->backend;
    const struct backend_ops *ops = backend->ops;
    const size_t bytes = FLOATS_MAX * sizeof(float);
    for (int b = 0; b < BUCKETS; b++) {
        struct bucket *bucket = &s->buckets[b];
        const struct op op = { .kind = OP_ALL_REDUCE,
                               .queue = backend->facts.exchange_queue,
                               .all_reduce = { .count = count_of(s, b),
                                               .term_stride = FLOATS_MAX,
                                               .shards = s->shards,
                                               .scale = s->scale } };
        if (!ops->plan(backend, &op, &bucket->plan, err) ||
            !ops->alloc(backend, TERMS_MAX * bytes, (void **)&bucket->terms, err) ||
            !ops->alloc_host(backend, TERMS_MAX * bytes, (void **)&bucket->filled, err) ||
            !ops->alloc_host(backend, bytes, (void **)&bucket->summed, err))
            return false;
        memset(bucket->filled, 0, TERMS_MAX * bytes);
    }
    return true;
}

static void release(struct scene *s, struct recording *recording)
{
    struct backend *backend = s->backend;
    if (recording) backend->ops->recording_release(backend, recording);
    for (int b = 0; b < BUCKETS; b++) {
        backend->ops->plan_release(s->buckets[b].plan);
        backend->ops->free(backend, s->buckets[b].terms);
        backend->ops->free_host(backend, s->buckets[b].filled);
        backend->ops->free_host(backend, s->buckets[b].summed);
    }
}

static bool add_up(struct scene s, struct error *err)
{
    const int each = s.shards / s.ranks;
    struct recording *recording = NULL;
    s.terms = shard_terms(s.shards, s.rank * each, (s.rank + 1) * each).count;
    CHECK(s.terms <= TERMS_MAX);
    bool ok = open_buckets(&s, err);
    for (int round = 0; round < ROUNDS && ok; round++) ok = go_round(&s, round, &recording, err);
    if (ok) release(&s, recording);
    return ok;
}

int main(int argc, char **argv)
{
    struct error err = { 0 };
    struct scene s = { .fast = argc > 1 && strcmp(argv[1], "fast") == 0 };
    const struct config_compute compute = { .backend = BACKEND_CUDA,
                                            .threads = 1,
                                            .workspace = 64,
                                            .exchange = s.fast ? EXCHANGE_FAST : EXCHANGE_ORDERED };
    char why_not[256];
    if (!world_open(&world, &err)) {
        log_error(err.message);
        return err.code;
    }
    s.rank = world_rank(world);
    s.ranks = world_size(world);
    s.odd = s.rank == 1 && argc > 2 ? argv[2] : "";
    must(backend_open(&compute, QUEUES, world, &s.backend, why_not, &err), &err);
    for (size_t i = 0; i < COUNT_OF(counts); i++)
        for (size_t k = 0; k < COUNT_OF(scales); k++) {
            s.count = counts[i];
            s.scale = scales[k];
            s.shards = shards_of_ranks[s.ranks];
            must(add_up(s, &err), &err);
        }
    if (s.rank == 0) printf("%s\n", s.backend->facts.description);
    backend_close(s.backend);
    world_close(world);
    return 0;
}
