/* Runs the measurements one after another, the upper bounds first. */
#include "micromet/bench/bench.h"

#include <time.h>

#include "bench_parts.h"
#include "micromet/base/log.h"
#include "micromet/base/size.h"
#include "micromet/base/thread.h"

enum { TOWERS = 2 };
static const double ceiling_seconds = 0.6; /* per upper bound */
static const double share_undisturbed = 0.9;

static double processor_seconds(void)
{
    struct timespec spent;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return (double)spent.tv_sec + (double)spent.tv_nsec * 1e-9;
}

/* Threads that never wait get all the time of their processors, unless other programs
 * compete: then warn. */
static bool measure_peak(struct bench *bench, struct error *err)
{
    const int threads = bench->options->threads, processors = thread_count_default();
    const double busy = threads < processors ? threads : processors;
    const double started_s = clock_seconds(), used_s = processor_seconds();
    if (!bench_peak(threads, ceiling_seconds, &bench->peak_gflops, err)) return false;
    const double share = (processor_seconds() - used_s) / ((clock_seconds() - started_s) * busy);
    if (share < share_undisturbed)
        log_warning("other programs are running: this one got %.0f %% of its processors, so that "
                    "all figures are too low",
                    100 * share);
    return true;
}

static bool measure_ceilings(struct bench *bench, struct error *err)
{
    const int threads = bench->options->threads;
    if (!measure_peak(bench, err) ||
        !bench_triad(threads, ceiling_seconds, &bench->triad_gb_per_s, err))
        return false;
    const struct bench_result results[] = {
        { .what = "peak",
          .threads = threads,
          .figures = { { "gflops", "GFLOP/s", bench->peak_gflops, 0 } },
          .figure_count = 1 },
        { .what = "triad",
          .threads = threads,
          .figures = { { "gb_per_s", "GB/s", bench->triad_gb_per_s, 0 } },
          .figure_count = 1 },
    };
    for (size_t i = 0; i < COUNT_OF(results); i++) bench_tell(bench, &results[i]);
    return true;
}

bool bench_run(const struct bench_options *options, const struct bench_listener *listener,
               struct error *err)
{
    struct bench_options resolved = *options;
    struct bench bench = { .options = &resolved, .listener = listener };
    struct config config;
    config_defaults(&config);
    config.compute.threads = options->threads;
    if (resolved.threads == 0) resolved.threads = thread_count_default();
    const bool ok = session_init(&bench.session, &config.compute, TOWERS, 0, NULL, err) &&
                    measure_ceilings(&bench, err) &&
                    (!options->slide || bench_decode(&bench, err)) &&
                    (!options->pack || bench_pack(&bench, err)) &&
                    (!options->augment || bench_augment(&bench, err)) &&
                    (!(options->network || options->layers) || bench_network(&bench, err));
    session_release(&bench.session);
    return ok;
}
