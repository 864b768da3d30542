/* The parts of bench; each reports its results to the listener. Private to bench*.c. */
#ifndef MICROMET_BENCH_BENCH_PARTS_H
#define MICROMET_BENCH_BENCH_PARTS_H

#include "micromet/bench/bench.h"
#include "micromet/run/session.h"

struct bench {
    const struct bench_options *options; /* threads resolved */
    const struct bench_listener *listener;
    struct session session;
    double peak_gflops, triad_gb_per_s; /* with all threads */
};

/* bench_measure.c */
/* Call work() repeatedly for about `seconds`, after one call that is not counted. */
bool bench_repeat(double seconds, bool (*work)(void *context, struct error *err), void *context,
                  double *calls_per_s, struct error *err);
void bench_tell(const struct bench *bench, const struct bench_result *result);

/* bench_machine.c */
bool bench_peak(int threads, double seconds, double *gflops, struct error *err);
bool bench_triad(int threads, double seconds, double *gb_per_s, struct error *err);
/* bench_data.c */
bool bench_decode(const struct bench *bench, struct error *err);
bool bench_pack(const struct bench *bench, struct error *err);
/* bench_network.c */
bool bench_augment(const struct bench *bench, struct error *err);
bool bench_network(const struct bench *bench, struct error *err); /* also --layers */

#endif
