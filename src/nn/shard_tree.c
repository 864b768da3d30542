/* Walks down the tree of shards; see the header. */
#include "micromet/nn/shard_tree.h"

#include "micromet/base/error.h"

/* Where the tree parts a span of at least two shards. */
static int middle_of(struct shard_span span)
{
    int half = 1;
    while (2 * half < span.last - span.first) half *= 2;
    return span.first + half;
}

/* Whether the tree has a node that is the sum of these two. */
static bool are_siblings(int shards, struct shard_span left, struct shard_span right)
{
    struct shard_span node = { 0, shards };
    while (node.last - node.first > 1) {
        const int middle = middle_of(node);
        if (node.first == left.first && node.last == right.last)
            return middle == left.last && middle == right.first;
        if (right.last <= middle)
            node.last = middle;
        else
            node.first = middle;
    }
    return false;
}

int shard_push(struct shard_stack *stack, struct shard_span span)
{
    int added = 0;
    while (stack->count > 0 && are_siblings(stack->shards, stack->spans[stack->count - 1], span)) {
        span.first = stack->spans[--stack->count].first;
        added++;
    }
    CHECK(stack->count < SHARD_TERMS_MAX);
    stack->spans[stack->count++] = span;
    return added;
}

struct shard_stack shard_terms(int shards, int first, int last)
{
    struct shard_stack stack = { .shards = shards };
    for (int s = first; s < last; s++) shard_push(&stack, (struct shard_span) { s, s + 1 });
    return stack;
}

static int64_t part_start(int64_t count, int rank, int ranks)
{
    return rank == ranks ? count : count * rank / ranks / PART_LINE * PART_LINE;
}

struct rank_terms shard_rank_terms(int64_t count, int shards, int rank, int ranks)
{
    const int each = shards / ranks;
    const int64_t first = part_start(count, rank, ranks);
    CHECK(shards % ranks == 0);
    return (struct rank_terms) { first, part_start(count, rank + 1, ranks) - first,
                                 shard_terms(shards, rank * each, (rank + 1) * each) };
}
