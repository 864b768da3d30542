/* How a sweep stands, from its files alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ladder.h"
#include "micromet/sweep/execute.h"

/* Whether somebody holds the run's lock. */
static bool is_running(const struct sweep_folder *folder, int run)
{
    char path[PATH_MAX_BYTES];
    struct error ignored = { 0 };
    return sweep_folder_path(folder, "state", run, ".lock", path, &ignored) &&
           lock_file_is_held(path);
}

/* The state of a run; NULL if it has ended on its rung. */
static const char *state_of(const struct ladder *ladder, int run,
                            const struct sweep_outcome *outcome)
{
    if (outcome->state == SWEEP_FAILED) return "failed";
    if (sweep_outcome_is_final(outcome, ladder_epochs(ladder, run))) return NULL;
    return is_running(ladder->folder, run) ? "running" : "pending";
}

/* All lines; *quiet says whether nothing is left to be done on any rung. */
static bool read_lines(const struct ladder *ladder, struct sweep_line *lines, bool *quiet,
                       struct error *err)
{
    *quiet = true;
    for (int run = 0; run < ladder->folder->sweep.run_count; run++) {
        struct sweep_line *line = &lines[run];
        *line = (struct sweep_line) { .run = run, .rung = ladder->rung_of[run] };
        if (!sweep_outcome_read(ladder->folder, run, &line->outcome, err)) return false;
        line->state = state_of(ladder, run, &line->outcome);
        *quiet = *quiet && (!line->state || line->outcome.state == SWEEP_FAILED);
    }
    return true;
}

static void name_ended(const struct ladder *ladder, struct sweep_line *line, bool quiet)
{
    if (line->state) return;
    if (line->rung + 1 == ladder->rung_count)
        line->state = "done";
    else
        line->state = ladder_is_closed(ladder, line->rung, quiet) ? "halted" : "waiting";
}

static void count_line(const struct sweep_line *line, struct sweep_summary *summary)
{
    const bool halted = strcmp(line->state, "halted") == 0;
    summary->running += strcmp(line->state, "running") == 0;
    summary->pending += strcmp(line->state, "pending") == 0;
    summary->waiting += strcmp(line->state, "waiting") == 0;
    summary->failed += strcmp(line->state, "failed") == 0;
    summary->done += halted || strcmp(line->state, "done") == 0;
    summary->halted += halted;
    summary->partial += line->outcome.partial;
}

/* --- means of configurations ------------------------------------------------------------------ */

/* Welford's mean and sum of squares, which `deviation` holds until the end. */
static void add_outcome(struct sweep_mean *mean, const struct sweep_outcome *outcome)
{
    mean->runs++;
    mean->failed += outcome->state == SWEEP_FAILED;
    if (outcome->state != SWEEP_DONE || (mean->done && outcome->epochs < mean->epochs)) return;
    if (mean->done == 0 || outcome->epochs > mean->epochs) {
        mean->done = 0;
        mean->mean = mean->deviation = 0;
        mean->epochs = outcome->epochs;
    }
    mean->done++;
    const double before = outcome->score - mean->mean;
    mean->mean += before / mean->done;
    mean->deviation += before * (outcome->score - mean->mean);
}

/* Give each line the mean of its configuration, whose first run's line collects it. */
static void find_means(const struct sweep *sweep, struct sweep_line *lines)
{
    for (int run = 0; run < sweep->run_count; run++) {
        const int configuration = sweep->runs[run].configuration;
        struct sweep_mean *mean = &lines[configuration].mean;
        if (configuration == run) *mean = (struct sweep_mean) { .configuration = run, .mean = NAN };
        add_outcome(mean, &lines[run].outcome);
    }
    for (int run = 0; run < sweep->run_count; run++) {
        const int configuration = sweep->runs[run].configuration;
        struct sweep_mean *mean = &lines[run].mean;
        if (configuration == run)
            mean->deviation = mean->done > 1 ? sqrt(mean->deviation / (mean->done - 1)) : NAN;
        else
            *mean = lines[configuration].mean;
    }
}

static bool is_higher(const struct sweep *sweep, double a, double b)
{
    return sweep->maximize ? a > b : a < b;
}

/* Of later rungs first, then of complete configurations, then by the metric; the first of equal
 * ones. */
static bool is_better(const struct sweep *sweep, const struct sweep_mean *a,
                      const struct sweep_mean *b)
{
    if (a->epochs != b->epochs) return a->epochs > b->epochs;
    if ((a->done == a->runs) != (b->done == b->runs)) return a->done == a->runs;
    return is_higher(sweep, a->mean, b->mean);
}

static void find_best(const struct sweep *sweep, const struct sweep_line *lines,
                      struct sweep_summary *summary)
{
    const struct sweep_line *best = NULL;
    for (int run = 0; run < sweep->run_count; run++) {
        const struct sweep_line *line = &lines[run];
        if (line->outcome.state != SWEEP_DONE || line->outcome.epochs < line->mean.epochs) continue;
        const bool same = best && line->mean.configuration == best->mean.configuration;
        if (!best || (same ? is_higher(sweep, line->outcome.score, best->outcome.score)
                           : is_better(sweep, &line->mean, &best->mean)))
            best = line;
    }
    summary->best = best ? best->run : -1;
    if (best) summary->best_mean = best->mean;
}

bool sweep_survey(const struct sweep_folder *folder, sweep_line_sink sink, void *context,
                  struct sweep_summary *summary, struct error *err)
{
    const int runs = folder->sweep.run_count;
    struct ladder ladder = { 0 };
    struct sweep_line *lines = calloc((size_t)runs, sizeof *lines);
    bool quiet = false;
    *summary = (struct sweep_summary) { .runs = runs, .best = -1 };
    bool ok = lines || error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
    ok = ok && ladder_init(&ladder, folder, err) && ladder_read(&ladder, err) &&
         read_lines(&ladder, lines, &quiet, err);
    if (ok) find_means(&folder->sweep, lines);
    if (ok) find_best(&folder->sweep, lines, summary);
    for (int run = 0; ok && run < runs; run++) {
        name_ended(&ladder, &lines[run], quiet);
        count_line(&lines[run], summary);
        if (sink) sink(context, folder, &lines[run]);
    }
    ladder_release(&ladder);
    free(lines);
    return ok;
}
