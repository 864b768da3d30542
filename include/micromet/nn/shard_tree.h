/* The order in which the shards of a batch are added up.
 *
 * Float addition is not associative, so the sum of the shards' gradients has the same bits whoever
 * computes it only if it is always the same tree: the shards [0, V) are the sum of [0, p) and
 * [p, V), where p is the largest power of two below V, and so on down to single shards. A rank that
 * has computed some consecutive shards adds up what the tree lets it, which leaves it with one term
 * if V is a power of two, with a few otherwise. The terms of all ranks are then added up alike. */
#ifndef MICROMET_NN_SHARD_TREE_H
#define MICROMET_NN_SHARD_TREE_H

#include <stdbool.h>
#include <stdint.h>

/* More than the terms of any consecutive shards: two for each bit of their number. */
enum { SHARD_TERMS_MAX = 64 };

/* The shards [first, last). */
struct shard_span {
    int first, last;
};

/* Spans that still have to be added up, in their order. */
struct shard_stack {
    int shards; /* V */
    int count;
    struct shard_span spans[SHARD_TERMS_MAX];
};

/* Put a span behind the others, and return how many of them are to be added to it now, one after
 * the other from the last. */
int shard_push(struct shard_stack *stack, struct shard_span span);

/* The terms that are left of [first, last), computed shard by shard. */
struct shard_stack shard_terms(int shards, int first, int last);

/* What a rank has to do with a sum over ranks: it owns a part of the floats, and has terms of its
 * own shards. */
struct rank_terms {
    int64_t first, count; /* its part */
    struct shard_stack terms;
};
enum { PART_LINE = 16 }; /* floats of a cache line, at whose multiples parts begin */
/* Of a sum of `count` floats. `ranks` divides `shards`. */
struct rank_terms shard_rank_terms(int64_t count, int shards, int rank, int ranks);

#endif
