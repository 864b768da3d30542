/* How fast the parts of the program are on this machine, each beside its ceiling.
 *
 * Ceilings are measured too: the processor's peak of multiply-adds, and the memory's bandwidth. */
#ifndef MICROMET_BENCH_BENCH_H
#define MICROMET_BENCH_BENCH_H

#include "micromet/nn/model.h"

struct bench_options {
    const char *slide, *pack; /* NULL = not measured */
    bool augment, network, layers;
    int px, batch;
    int threads;    /* 0 = all processors */
    double seconds; /* of each measurement */
};

enum { BENCH_FIGURES_MAX = 2 };

struct bench_figure {
    const char *name; /* "pairs_per_s", "gflops": what the value counts */
    const char *unit; /* for people */
    double value;
    double ceiling; /* in the same unit; 0 = none known */
};

struct bench_result {
    const char *what;       /* "peak", "triad", "decode", "pack", "augment", "infer", "train" */
    int px, batch, threads; /* 0 = does not apply */
    struct bench_figure figures[BENCH_FIGURES_MAX];
    int figure_count;
};

/* Told of each result as soon as it is there. */
struct bench_listener {
    void (*result)(void *context, const struct bench_result *result);
    /* One tower's program, slowest operation first. threads: of its queue;
     * peak_gflops: of these. */
    void (*layers)(void *context, const char *program, const struct model_op_time *times, int count,
                   int threads, double peak_gflops);
    void *context;
};

bool bench_run(const struct bench_options *options, const struct bench_listener *listener,
               struct error *err);

#endif
