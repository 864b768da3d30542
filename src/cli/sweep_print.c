/* The plan of a sweep and its state, for people. */
#include "sweep_print.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "micromet/base/size.h"
#include "micromet/base/text.h"
#include "micromet/sweep/estimate.h"

/* Of a run, or, without the repeated keys, of its configuration. */
static void print_values(const struct sweep *sweep, int run, bool repeated)
{
    for (int i = 0; i < sweep->column_count; i++)
        if (repeated || !sweep->columns[i].repeated)
            printf("  %s=%s", sweep->columns[i].key, SHOWN(sweep->runs[run].values[i].value));
}

/* --- plan --------------------------------------------------------------------------------------*/

static void print_rungs(const struct sweep *sweep)
{
    const int rungs = sweep_rung_count(sweep);
    int64_t epochs = 0, whole = 0;
    if (rungs == 1) return;
    for (int rung = 0; rung < rungs; rung++) {
        const int until = sweep_rung_epochs(sweep, rung), runs = sweep_rung_runs(sweep, rung);
        const int from = rung ? sweep_rung_epochs(sweep, rung - 1) : 0;
        printf("rung %d: %s%d runs to epoch %d\n", rung,
               rung && sweep->halving.asynchronous ? "about " : "", runs, until);
        epochs += (int64_t)runs * (until - from);
        whole += rung ? 0 : (int64_t)runs * sweep_rung_epochs(sweep, rungs - 1);
    }
    printf("halving: %" PRId64 " of %" PRId64 " epochs (%.0f %%)\n", epochs, whole,
           100.0 * (double)epochs / (double)whole);
}

static void print_time(const struct sweep_estimate *e)
{
    if (e->steps == 0) {
        printf("steps are known where train.examples_per_epoch is given\n");
        return;
    }
    if (e->windows_per_s == 0) {
        printf("hours: give --windows-per-s, of one training, as `micromet bench` measures it\n");
        return;
    }
    printf("%.3g hours, one training after the other, at %.3g windows/s (%s%s), validations "
           "apart\n",
           e->windows / e->windows_per_s / 3600, e->windows_per_s,
           *e->measured_in ? "as in " : "as given", SHOWN(e->measured_in));
}

static void print_disk(const struct sweep_estimate *e)
{
    printf("disk: at most %.1f MiB of checkpoints", mib((size_t)e->checkpoint_bytes));
    if (e->pack_bytes > 0)
        printf("; packs that are there take %.1f MiB", mib((size_t)e->pack_bytes));
    else if (e->pack_folders > 0)
        printf("; packs are not made yet: %" PRId64 " bytes a window in %d folders",
               e->window_bytes, e->pack_folders);
    printf("\n");
}

bool sweep_print_plan(const struct sweep_folder *folder, double windows_per_s, struct error *err)
{
    const struct sweep *sweep = &folder->sweep;
    struct sweep_estimate estimate;
    if (!sweep_estimate(folder, windows_per_s, &estimate, err)) return false;
    for (int run = 0; run < sweep->run_count; run++) {
        struct config config;
        if (!sweep_folder_config(folder, run, &config, err)) return false;
        const int64_t steps = sweep_steps(&config);
        printf("%04d", run);
        print_values(sweep, run, true);
        printf("  %d epochs", config.train.epochs);
        if (steps) printf(", %" PRId64 " steps", steps);
        printf("\n");
    }
    printf("%d runs in %s", sweep->run_count, SHOWN(folder->path));
    if (folder->made_runs > 0 && folder->made_runs < sweep->run_count)
        printf(", %d of them new", sweep->run_count - folder->made_runs);
    if (estimate.steps > 0) printf(", %.0f steps", estimate.steps);
    printf("\n");
    print_rungs(sweep);
    print_time(&estimate);
    print_disk(&estimate);
    return true;
}

/* --- status ------------------------------------------------------------------------------------*/

static void print_mean(const struct sweep_folder *folder, const struct sweep_mean *mean)
{
    printf("%s %.6g", folder->sweep.metric->name, mean->mean);
    if (!isnan(mean->deviation)) printf(" ± %.2g", mean->deviation);
    if (mean->runs > 1) printf(" (%d of %d runs)", mean->done, mean->runs);
    if (mean->epochs) printf(" at epoch %d", mean->epochs);
}

/* A run, and behind the last of a configuration their mean. */
static void print_line(void *context, const struct sweep_folder *folder,
                       const struct sweep_line *line)
{
    const struct sweep *sweep = &folder->sweep;
    const int next = line->run + 1;
    (void)context;
    printf("%04d  %-7s", line->run, line->state);
    if (line->outcome.state == SWEEP_DONE) printf("  %.6g", line->outcome.score);
    if (line->outcome.state == SWEEP_DONE && line->outcome.epochs)
        printf(" (rung %d, epoch %d)", line->rung, line->outcome.epochs);
    print_values(sweep, line->run, true);
    if (line->outcome.state == SWEEP_FAILED) printf("  %s", SHOWN(line->outcome.reason));
    printf("\n");
    const bool last = next == sweep->run_count ||
                      sweep->runs[next].configuration != line->mean.configuration;
    if (line->mean.runs == 1 || line->mean.done == 0 || !last) return;
    printf("      mean   ");
    print_mean(folder, &line->mean);
    printf("\n");
}

void sweep_print_summary(const struct sweep_folder *folder, const struct sweep_summary *summary)
{
    const struct {
        const char *what;
        int count;
    } others[] = { { "running", summary->running },
                   { "pending", summary->pending },
                   { "waiting for their rung's decision", summary->waiting } };
    printf("%d of %d runs done", summary->done, summary->runs);
    if (summary->halted) printf(" (%d halted)", summary->halted);
    printf(", %d failed", summary->failed);
    for (size_t i = 0; i < COUNT_OF(others); i++)
        if (others[i].count) printf(", %d %s", others[i].count, others[i].what);
    printf("\n");
    if (summary->best < 0) return;
    const bool repeated = summary->best_mean.runs > 1;
    printf("best: %s %04d, ", repeated ? "configuration" : "run",
           repeated ? summary->best_mean.configuration : summary->best);
    print_mean(folder, &summary->best_mean);
    printf(":");
    print_values(&folder->sweep, summary->best, false);
    printf("\n");
}

static void print_progress(const struct sweep_progress *progress)
{
    printf("steps: %" PRId64, progress->taken);
    if (progress->expected)
        printf(" of %" PRId64 " (%.0f %%)", progress->expected,
               100.0 * (double)progress->taken / (double)progress->expected);
    if (!isnan(progress->seconds_left))
        printf(", %.3g hours left at this pace, validations apart", progress->seconds_left / 3600);
    printf("\n");
}

bool sweep_print_status(const struct sweep_folder *folder, bool watch, struct error *err)
{
    for (;;) {
        struct sweep_summary summary;
        struct sweep_progress progress;
        if (watch && isatty(STDOUT_FILENO)) printf("\033[H\033[2J");
        if (!sweep_survey(folder, print_line, NULL, &summary, err)) return false;
        sweep_print_summary(folder, &summary);
        if (!sweep_measure(folder, &progress, err)) return false;
        print_progress(&progress);
        fflush(stdout);
        if (!watch || summary.done + summary.failed == summary.runs) return true;
        nanosleep(&(struct timespec) { .tv_sec = 2 }, NULL);
    }
}
