/* Speed of the program's parts on this machine, each compared with its upper bound. The bounds are
 * measured too: peak multiply-add rate of the processor, and memory bandwidth. */
#ifndef MICROMET_BENCH_BENCH_H
#define MICROMET_BENCH_BENCH_H

#include "micromet/nn/model.h"

struct bench_options {
    const char *slide, *pack; /* NULL = not measured */
    bool augment, network, layers;
    int px, batch;
    int threads;    /* 0 = all processors */
    double seconds; /* per measurement */
};

enum { BENCH_FIGURES_MAX = 2 };

struct bench_figure {
    const char *name; /* what is counted: "pairs_per_s", "gflops" */
    const char *unit; /* as printed */
    double value;
    double ceiling; /* in the same unit; 0 = unknown */
};

struct bench_result {
    const char *what; /* "peak", "triad", "decode", "pack", "augment", "stain", "infer", "train" */
    int px, batch, threads; /* 0 = not applicable */
    struct bench_figure figures[BENCH_FIGURES_MAX];
    int figure_count;
};

/* Callbacks that receive each result as soon as it is measured. */
struct bench_listener {
    void (*result)(void *context, const struct bench_result *result);
    /* The operations of one tower's program, slowest first. threads: of its queue;
     * peak_gflops: of them. */
    void (*layers)(void *context, const char *program, const struct model_op_time *times, int count,
                   int threads, double peak_gflops);
    void *context;
};

bool bench_run(const struct bench_options *options, const struct bench_listener *listener,
               struct error *err);

#endif
