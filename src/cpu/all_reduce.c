/* Sums over ranks. Each rank owns a part of the floats: it receives the others' terms for it, adds
 * up all in the order of nn/shard_tree.h, and sends the result to everyone. So a rank sends and
 * receives about twice what is added up, whatever the number of ranks, and all have the same
 * bits. */
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"
#include "plan.h"

enum { BLOCK = 4096 }; /* floats that stay in the first cache while all terms are added */

struct all_reduce {
    int rank, ranks, term_count, foreign; /* terms of all ranks, and those of other ranks */
    struct rank_terms *of;                /* (ranks) */
    struct world_part *sends, *receives;
    float **terms; /* (term_count) where they lie, for this rank's part */
};

static void release(void *detail)
{
    struct all_reduce *a = detail;
    if (!a) return;
    free(a->of);
    free(a->sends);
    free(a->receives);
    free(a->terms);
    free(a);
}

/* Part `part` of this rank's term `i`. */
static float *own_term(const struct plan *plan, const struct op_buffers *b, int i, int part)
{
    const struct all_reduce *a = plan->detail;
    const bool last = i == a->of[a->rank].terms.count - 1;
    float *term = last ? (float *)b->out
                       : (float *)(uintptr_t)b->x + i * plan->op.all_reduce.term_stride;
    return term + a->of[part].first;
}

/* Every rank's terms of this part come here; this rank's of the other parts go to their owners. */
static bool collect_terms(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    const struct all_reduce *a = plan->detail;
    const int own = a->of[a->rank].terms.count;
    const int64_t count = a->of[a->rank].count;
    float *scratch = queue_scratch(plan);
    int sends = 0, receives = 0, term = 0;
    for (int r = 0; r < a->ranks; r++) {
        const struct rank_terms *other = &a->of[r];
        for (int i = 0; i < own && r != a->rank; i++)
            a->sends[sends++] = (struct world_part) { r, own_term(plan, b, i, r),
                                                      (size_t)other->count };
        for (int i = 0; i < other->terms.count; i++, term++) {
            a->terms[term] = r == a->rank ? own_term(plan, b, i, r) : scratch + receives * count;
            if (r != a->rank)
                a->receives[receives++] = (struct world_part) { r, a->terms[term], (size_t)count };
        }
    }
    return world_exchange(plan->world, a->sends, sends, a->receives, receives, err);
}

static void add(float *to, const float *from, int64_t count)
{
    for (int64_t i = 0; i < count; i++) to[i] += from[i];
}

/* Add up [first, first + count) of this rank's part. */
static void add_terms(const struct plan *plan, float *out, int64_t first, int64_t count)
{
    const struct all_reduce *a = plan->detail;
    struct shard_stack stack = { .shards = plan->op.all_reduce.shards };
    float *sums[SHARD_TERMS_MAX];
    int term = 0;
    for (int r = 0; r < a->ranks; r++)
        for (int i = 0; i < a->of[r].terms.count; i++, term++) {
            const int before = stack.count;
            const int merges = shard_push(&stack, a->of[r].terms.spans[i]);
            float *sum = a->terms[term] + first;
            for (int m = 1; m <= merges; m++) {
                add(sums[before - m], sum, count);
                sum = sums[before - m];
            }
            sums[before - merges] = sum;
        }
    for (int64_t i = 0; i < count; i++) out[first + i] = plan->op.all_reduce.scale * sums[0][i];
}

static bool spread(struct plan *plan, float *out, struct error *err)
{
    const struct all_reduce *a = plan->detail;
    int count = 0;
    for (int r = 0; r < a->ranks; r++) {
        const struct rank_terms *own = &a->of[a->rank], *other = &a->of[r];
        if (r == a->rank) continue;
        a->sends[count] = (struct world_part) { r, out + own->first, (size_t)own->count };
        a->receives[count] = (struct world_part) { r, out + other->first, (size_t)other->count };
        count++;
    }
    return world_exchange(plan->world, a->sends, count, a->receives, count, err);
}

static bool execute(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    const struct all_reduce *a = plan->detail;
    const struct rank_terms *own = &a->of[a->rank];
    float *out = b->out;
    if (!collect_terms(plan, b, err)) return false;
    for (int64_t first = 0; first < own->count; first += BLOCK) {
        const int64_t left = own->count - first;
        add_terms(plan, out + own->first, first, left < BLOCK ? left : BLOCK);
    }
    return spread(plan, out, err);
}

bool plan_all_reduce(struct plan *plan, struct error *err)
{
    const struct world *world = plan->world;
    const struct op_all_reduce *op = &plan->op.all_reduce;
    const int ranks = world_size(world);
    if (op->shards % ranks != 0)
        return op_refuse(&plan->op, err, "%d ranks cannot share %d shards", ranks, op->shards);
    struct all_reduce *a = calloc(1, sizeof *a);
    if (!a) return error_set(err, EXIT_CODE_FAILED, "out of memory for a sum over ranks");
    *a = (struct all_reduce) { .rank = world_rank(world), .ranks = ranks };
    plan->detail = a;
    plan->release = release;
    plan->execute = execute;
    a->of = calloc((size_t)ranks, sizeof *a->of);
    for (int r = 0; r < ranks && a->of; r++) {
        a->of[r] = shard_rank_terms(op->count, op->shards, r, ranks);
        a->term_count += a->of[r].terms.count;
    }
    const int own = a->of ? a->of[a->rank].terms.count : 0;
    a->foreign = a->term_count - own;
    a->sends = calloc((size_t)(ranks * (own > 1 ? own : 1)), sizeof *a->sends);
    a->receives = calloc((size_t)(a->term_count + ranks), sizeof *a->receives);
    a->terms = calloc((size_t)a->term_count + 1, sizeof *a->terms);
    if (!a->of || !a->sends || !a->receives || !a->terms) {
        release(a);
        return error_set(err, EXIT_CODE_FAILED, "out of memory for a sum over ranks");
    }
    return queue_scratch_reserve(plan, (size_t)(a->foreign * a->of[a->rank].count) * sizeof(float),
                                 err);
}
