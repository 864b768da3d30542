/* Adding up what the shards of a step leave: gradients, loss and moving statistics.
 *
 * It is done in buckets, slices of a region that are complete at some point of the backward pass,
 * so that the exchange with other ranks runs beside the rest of it. Gradients lie in a region in
 * the order of the layers, and are complete from its end on. All ranks exchange the same buckets in
 * the same order. */
#ifndef MICROMET_NN_EXCHANGE_H
#define MICROMET_NN_EXCHANGE_H

#include "micromet/nn/shard_tree.h"
#include "parameters.h"
#include "program.h"

enum { BUCKETS_MAX = 256 };

struct bucket {
    int branch;      /* of which program's backward pass; see exchange_add() */
    int end;         /* complete behind this many of the program's instructions */
    int queue;       /* of the region */
    float *memory;   /* device (count) */
    int64_t partial; /* its offset in the region's partial sums */
    int64_t count;
    bool mean; /* the mean over all shards, else their sum */
    /* Adding a partial sum; adding the last one; adding up the ranks. */
    struct plan *add, *add_last, *reduce;
};

/* Branches that are no towers. */
enum { BRANCH_STATISTICS = -2, BRANCH_HEAD = -1 };

struct exchange {
    struct backend *backend;
    struct parameters *parameters;
    int shards, first, local;           /* of the step; this rank's first, and how many it has */
    int queue;                          /* where sums are made */
    struct bucket buckets[BUCKETS_MAX]; /* in the order of exchange */
    int bucket_count;
    /* Sums of earlier shards of the step, (depth, length) for each region. */
    float *partials[TOWERS_MAX];
    int64_t length[TOWERS_MAX];
    int depth;
    /* The moving statistics at the start of the step, from which every shard goes on. */
    float *statistics[TOWERS_MAX];
    bool averages;            /* statistics, over shards; not where ranks share them anyway */
    struct shard_stack stack; /* of the step under way */
    int begun;                /* shards of the step under way, of this rank */
    int kept, merges; /* partial sums so far; of them, those to add to the current shard's */
};

/* After the parameters' allocation. */
bool exchange_init(struct exchange *exchange, struct parameters *parameters,
                   const struct model_spec *spec, struct error *err);
/* Cut the gradients that the program's backward pass writes into buckets of the branch, a tower's
 * number or one of the above; BRANCH_STATISTICS has no program. */
bool exchange_add(struct exchange *exchange, int branch, const struct program *program,
                  struct error *err);
/* Interleave the towers' buckets, and plan all of them. */
bool exchange_finish(struct exchange *exchange, struct error *err);
void exchange_release(struct exchange *exchange);
size_t exchange_bytes(const struct exchange *exchange);

/* Before a pass: have the shard start from the step's statistics. */
bool exchange_begin(struct exchange *exchange, int shard, struct error *err);
/* Take back the shards of a step that will not be completed. With no pass in flight. */
bool exchange_rewind(struct exchange *exchange, struct error *err);
/* After the pass of a shard that is not the step's last on this rank, which queue 0 has joined:
 * keep its sums. All queues wait for that. */
bool exchange_keep(struct exchange *exchange, struct error *err);
/* In the pass of the last one: once the region's queue gets here, add up the bucket over shards and
 * ranks, on exchange->queue. when_s: its start and end. */
bool exchange_run(struct exchange *exchange, const struct bucket *bucket, double when_s[2],
                  struct error *err);
/* Have all queues wait for the sums. */
bool exchange_end(struct exchange *exchange, struct error *err);

#endif
