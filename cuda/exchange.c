/* Sums over ranks by NCCL, as src/cpu/all_reduce.c makes them: each rank owns a part of the floats,
 * receives the others' terms for it, adds up all in the order of nn/shard_tree.h by a kernel of our
 * own, and sends the result to everyone.
 *
 * NCCL only carries the floats, and so the bits do not depend on how it does that (NCCL_ALGO,
 * NCCL_PROTO, the switches' own sums of NVLS, which differ from call to call). With
 * compute.exchange: fast it adds them up as it likes. */
#include <stdlib.h>

#include "communicator.h"
#include "micromet/base/size.h"

struct exchange_plan {
    int rank, ranks, term_count; /* terms of all ranks */
    struct rank_terms *of;       /* (ranks) */
    float **terms;               /* (term_count) where they lie, for this rank's part */
};

static void release(void *detail)
{
    struct exchange_plan *e = detail;
    if (!e) return;
    free(e->of);
    free(e->terms);
    free(e);
}

/* Terms begin where parts may, for wide accesses. */
static size_t term_stride(const struct exchange_plan *e)
{
    return round_up((size_t)e->of[e->rank].count, PART_LINE);
}

/* --- what goes where -------------------------------------------------------------------------- */

/* This rank's term `i`, from its first float on. */
static float *own_term(const struct plan *plan, const struct op_buffers *b, int i)
{
    const struct exchange_plan *e = plan->detail;
    const bool last = i == e->of[e->rank].terms.count - 1;
    return last ? (float *)b->out : (float *)(uintptr_t)b->x + i * plan->op.all_reduce.term_stride;
}

static void place_terms(const struct plan *plan, const struct op_buffers *b)
{
    const struct exchange_plan *e = plan->detail;
    float *scratch = plan_workspace(plan);
    int term = 0;
    for (int r = 0; r < e->ranks; r++)
        for (int i = 0; i < e->of[r].terms.count; i++, term++) {
            if (r == e->rank) {
                e->terms[term] = own_term(plan, b, i) + e->of[r].first;
            } else {
                e->terms[term] = scratch;
                scratch += term_stride(e);
            }
        }
}

static const struct communicator *communicator_of(const struct plan *plan)
{
    return plan->backend->communicator;
}

static bool send(const struct plan *plan, const float *from, int64_t count, int rank,
                 struct error *err)
{
    const struct communicator *c = communicator_of(plan);
    const cudaStream_t stream = plan_stream(plan);
    return count == 0 ||
           NCCL_OK(&c->nccl, ncclSend(from, (size_t)count, ncclFloat, rank, c->comm, stream), err);
}

static bool receive(const struct plan *plan, float *to, int64_t count, int rank, struct error *err)
{
    const struct communicator *c = communicator_of(plan);
    const cudaStream_t stream = plan_stream(plan);
    return count == 0 ||
           NCCL_OK(&c->nccl, ncclRecv(to, (size_t)count, ncclFloat, rank, c->comm, stream), err);
}

/* Rank r's terms of this rank's part come here, this rank's of rank r's part go there. */
static bool swap_terms(const struct plan *plan, const struct op_buffers *b, int r, int term,
                       struct error *err)
{
    const struct exchange_plan *e = plan->detail;
    const struct rank_terms *own = &e->of[e->rank], *other = &e->of[r];
    for (int i = 0; i < own->terms.count; i++)
        if (!send(plan, own_term(plan, b, i) + other->first, other->count, r, err)) return false;
    for (int i = 0; i < other->terms.count; i++)
        if (!receive(plan, e->terms[term + i], own->count, r, err)) return false;
    return true;
}

static bool collect_terms(const struct plan *plan, const struct op_buffers *b, struct error *err)
{
    const struct exchange_plan *e = plan->detail;
    bool ok = true;
    for (int r = 0, term = 0; r < e->ranks && ok; term += e->of[r++].terms.count)
        ok = r == e->rank || swap_terms(plan, b, r, term, err);
    return ok;
}

/* Parts differ in size, so that this is no ncclAllGather. */
static bool spread_sums(const struct plan *plan, const struct op_buffers *b, struct error *err)
{
    const struct exchange_plan *e = plan->detail;
    const struct rank_terms *own = &e->of[e->rank];
    float *out = b->out;
    bool ok = true;
    for (int r = 0; r < e->ranks && ok; r++)
        ok = r == e->rank || (send(plan, out + own->first, own->count, r, err) &&
                              receive(plan, out + e->of[r].first, e->of[r].count, r, err));
    return ok;
}

/* Sends and receives of a group are under way at once. */
static bool in_group(const struct plan *plan, const struct op_buffers *b,
                     bool (*enqueue)(const struct plan *, const struct op_buffers *,
                                     struct error *),
                     struct error *err)
{
    const struct nccl_api *nccl = &communicator_of(plan)->nccl;
    if (!NCCL_OK(nccl, ncclGroupStart(), err)) return false;
    const bool ok = enqueue(plan, b, err);
    return NCCL_OK(nccl, ncclGroupEnd(), err) && ok;
}

/* --- sums ------------------------------------------------------------------------------------- */

/* The steps of a sum, which are launched whenever they are many. */
struct sum {
    const struct plan *plan;
    struct term_steps steps;
    float scale;
    int64_t count;
    cudaError_t status;
};

static void launch_steps(struct sum *sum)
{
    if (sum->steps.count > 0 && sum->status == cudaSuccess)
        sum->status = launch_add_terms(&sum->steps, sum->scale, sum->count, plan_stream(sum->plan));
    sum->steps.count = 0;
}

static void add_step(struct sum *sum, enum term_kind kind, float *at)
{
    CHECK(sum->steps.count < TERM_STEPS_MAX);
    sum->steps.steps[sum->steps.count++] = (struct term_step) { at, kind };
}

/* Add up `count` floats of terms whose spans follow each other in the tree, and put the sum, times
 * the scale, to `out`. Partial sums replace the first of their terms. */
static void sum_terms(struct sum *sum, struct shard_stack *stack, const struct exchange_plan *e,
                      float *out)
{
    enum { STEPS_OF_TERM = SHARD_TERMS_MAX + 3 };
    float *sums[SHARD_TERMS_MAX];
    int term = 0;
    for (int r = 0; r < e->ranks; r++)
        for (int i = 0; i < e->of[r].terms.count; i++, term++) {
            const int before = stack->count;
            const int merges = shard_push(stack, e->of[r].terms.spans[i]);
            if (sum->steps.count + STEPS_OF_TERM > TERM_STEPS_MAX) launch_steps(sum);
            if (merges > 0) add_step(sum, TERM_LOAD, e->terms[term]);
            for (int m = 1; m <= merges; m++) add_step(sum, TERM_ADD, sums[before - m]);
            if (merges == 0) sums[before] = e->terms[term];
            if (merges > 0 && term + 1 < e->term_count)
                add_step(sum, TERM_KEEP, sums[before - merges]);
        }
    add_step(sum, TERM_FINISH, out);
    launch_steps(sum);
}

static bool run_ordered(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    const struct exchange_plan *e = plan->detail;
    const struct rank_terms *own = &e->of[e->rank];
    struct shard_stack stack = { .shards = plan->op.all_reduce.shards };
    struct sum sum = { .plan = plan, .scale = plan->op.all_reduce.scale, .count = own->count };
    place_terms(plan, b);
    if (!in_group(plan, b, collect_terms, err)) return false;
    if (own->count > 0) sum_terms(&sum, &stack, e, (float *)b->out + own->first);
    return cuda_check(sum.status, op_kind_name(plan->op.kind), __FILE__, __LINE__, err) &&
           in_group(plan, b, spread_sums, err);
}

/* This rank's terms are added up first. */
static bool run_fast(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    const struct exchange_plan *e = plan->detail;
    const struct op_all_reduce *op = &plan->op.all_reduce;
    const struct communicator *c = communicator_of(plan);
    const int terms = e->of[e->rank].terms.count;
    struct sum sum = { .plan = plan, .scale = op->scale, .count = op->count };
    add_step(&sum, TERM_LOAD, b->out);
    for (int i = 0; i < terms - 1; i++) add_step(&sum, TERM_ADD, own_term(plan, b, i));
    add_step(&sum, TERM_FINISH, b->out);
    if (terms > 1 || op->scale != 1) launch_steps(&sum);
    return cuda_check(sum.status, op_kind_name(plan->op.kind), __FILE__, __LINE__, err) &&
           NCCL_OK(&c->nccl,
                   ncclAllReduce(b->out, b->out, (size_t)op->count, ncclFloat, ncclSum, c->comm,
                                 plan_stream(plan)),
                   err);
}

/* --- plans ------------------------------------------------------------------------------------ */

static bool fill(struct exchange_plan *e, const struct op_all_reduce *op, struct error *err)
{
    e->of = calloc((size_t)e->ranks, sizeof *e->of);
    for (int r = 0; r < e->ranks && e->of; r++) {
        e->of[r] = shard_rank_terms(op->count, op->shards, r, e->ranks);
        e->term_count += e->of[r].terms.count;
    }
    e->terms = calloc((size_t)e->term_count + 1, sizeof(float *));
    return (e->of && e->terms) ||
           error_set(err, EXIT_CODE_FAILED, "out of memory for a sum over ranks");
}

bool cuda_plan_exchange(struct plan *plan, struct error *err)
{
    const struct op_all_reduce *op = &plan->op.all_reduce;
    const struct backend_facts *facts = &plan->backend->base.facts;
    if (!plan->backend->communicator || op->shards % facts->ranks != 0)
        return op_refuse(&plan->op, err, "%d ranks cannot share %d shards", facts->ranks,
                         op->shards);
    struct exchange_plan *e = calloc(1, sizeof *e);
    if (!e) return error_set(err, EXIT_CODE_FAILED, "out of memory for a sum over ranks");
    *e = (struct exchange_plan) { .rank = facts->rank, .ranks = facts->ranks };
    plan->detail = e;
    plan->release = release;
    plan->run = plan->backend->communicator->fast ? run_fast : run_ordered;
    size_t bytes = 0;
    bool ok = fill(e, op, err);
    if (ok && plan->run == run_ordered)
        bytes = (size_t)(e->term_count - e->of[e->rank].terms.count) * term_stride(e) *
                sizeof(float);
    ok = ok && workspace_reserve(plan->backend, plan->op.queue, bytes, err);
    if (!ok) release(e);
    return ok;
}
