/* Which runs are the same run, or repetitions of one configuration. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "parse.h"

/* Random runs are told by their number: two that drew the same choice are two. */
uint64_t sweep_run_identity(const struct sweep *sweep, int run, bool repetitions)
{
    const struct sweep_run *r = &sweep->runs[run];
    uint64_t hash = XXH3_64bits(&r->draw, sizeof r->draw);
    for (int i = 0; i < sweep->column_count; i++)
        if (repetitions || !sweep->columns[i].repeated)
            hash = XXH3_64bits_withSeed(r->values[i].value, strlen(r->values[i].value) + 1, hash);
    return hash;
}

static int by_identity(const void *a, const void *b)
{
    const struct sweep_identity *x = a, *y = b;
    if (x->identity != y->identity) return x->identity < y->identity ? -1 : 1;
    return (x->run > y->run) - (x->run < y->run);
}

bool sweep_identities(const struct sweep *sweep, bool repetitions, struct sweep_identity **sorted,
                      struct error *err)
{
    *sorted = calloc((size_t)sweep->run_count, sizeof **sorted);
    if (!*sorted) return error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
    for (int run = 0; run < sweep->run_count; run++)
        (*sorted)[run] = (struct sweep_identity) {
            sweep_run_identity(sweep, run, repetitions),
            run,
        };
    qsort(*sorted, (size_t)sweep->run_count, sizeof **sorted, by_identity);
    return true;
}

bool sweep_group(struct sweep *sweep, struct error *err)
{
    struct sweep_identity *sorted;
    if (!sweep_identities(sweep, false, &sorted, err)) return false;
    for (int i = 0; i < sweep->run_count; i++) {
        const bool same = i > 0 && sorted[i].identity == sorted[i - 1].identity;
        sweep->runs[sorted[i].run].configuration =
            same ? sweep->runs[sorted[i - 1].run].configuration : sorted[i].run;
    }
    free(sorted);
    return true;
}

int sweep_repetitions(const struct sweep *sweep)
{
    int repetitions = 1;
    for (int i = 0; i < sweep->column_count; i++)
        if (sweep->columns[i].repeated) repetitions *= sweep->columns[i].count;
    return repetitions;
}

int sweep_configurations(const struct sweep *sweep, int generation)
{
    int count = 0;
    for (int run = 0; run < sweep->ends[generation]; run++)
        count += sweep->runs[run].configuration == run;
    return count;
}
