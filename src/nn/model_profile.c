/* Measures the time of each operation of a tower. Passes of all towers run at once, as in real
 * use, with a time stamp after each operation, so that caches, memory and processors are under
 * realistic load. */
#include <stdlib.h>

#include "micromet/base/thread.h"
#include "micromet/nn/model.h"
#include "program.h"

/* Trained weights get a new version in each pass, as in training: the time includes
 * packing them. */
static bool pass(struct model *model, bool training, uint64_t *version, double *const *when_s,
                 struct error *err)
{
    struct backend *backend = model_backend(model);
    ++*version;
    for (int t = 0; t < model_spec(model)->towers; t++) {
        struct program_values values = model_program_values(model, t);
        values.trained_version = *version;
        if (!program_run_marked(model_program(model, t, training), &values, when_s[t], err))
            return false;
    }
    return backend->ops->synchronize(backend, err);
}

static bool measure(struct model *model, int tower, bool training, double seconds,
                    double *const *when_s, struct model_op_time *times, struct error *err)
{
    enum { PASSES_MIN = 3 };
    const struct program *program = model_program(model, tower, training);
    uint64_t version = UINT64_MAX / 2;
    double *sums = calloc((size_t)program->count + 1, sizeof *sums);
    bool ok = sums && pass(model, training, &version, when_s, err);
    if (!sums) error_set(err, EXIT_CODE_FAILED, "no memory for a profile");
    const double started_s = clock_seconds();
    int passes = 0;
    while (ok && (passes < PASSES_MIN || clock_seconds() - started_s < seconds)) {
        ok = pass(model, training, &version, when_s, err);
        if (ok) program_add_times(program, when_s[tower], sums);
        passes++;
    }
    for (int i = 0; ok && i < program->count; i++)
        times[i] = (struct model_op_time) { .op = program->instructions[i].op,
                                            .macs = program_op_macs(program, i),
                                            .seconds = sums[i] / passes };
    free(sums);
    return ok;
}

static int slowest_first(const void *a, const void *b)
{
    const struct model_op_time *x = a, *y = b;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

bool model_profile(struct model *model, int tower, bool training, double seconds,
                   struct model_op_time **times, int *count, struct error *err)
{
    const struct program *program = model_program(model, tower, training);
    double *when_s[TOWERS_MAX] = { NULL };
    *count = program->count;
    *times = calloc((size_t)program->count + 1, sizeof **times);
    bool ok = *times != NULL;
    for (int t = 0; t < model_spec(model)->towers; t++) {
        const int runs = program_runs(model_program(model, t, training));
        when_s[t] = calloc((size_t)runs + 1, sizeof **when_s);
        ok = ok && when_s[t];
    }
    if (!ok) error_set(err, EXIT_CODE_FAILED, "no memory for a profile");
    ok = ok && measure(model, tower, training, seconds, when_s, *times, err);
    for (int t = 0; t < TOWERS_MAX; t++) free(when_s[t]);
    if (ok) {
        qsort(*times, (size_t)*count, sizeof **times, slowest_first);
        return true;
    }
    free(*times);
    *times = NULL;
    return false;
}
