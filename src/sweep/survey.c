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
    struct lock_holder holder;
    struct lock_file lock;
    enum lock_state state;
    struct error ignored = { 0 };
    if (!sweep_folder_path(folder, "state", run, ".lock", path, &ignored) || !file_exists(path) ||
        !lock_file_take(&lock, path, &state, &holder, &ignored))
        return false;
    lock_file_release(&lock);
    return state == LOCK_OF_OTHERS;
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

/* Of later rungs first, then of complete configurations, then by the metric; the first of equal
 * ones. */
static bool is_better(const struct sweep *sweep, const struct sweep_mean *a,
                      const struct sweep_mean *b)
{
    if (a->epochs != b->epochs) return a->epochs > b->epochs;
    if ((a->done == a->runs) != (b->done == b->runs)) return a->done == a->runs;
    return sweep->maximize ? a->mean > b->mean : a->mean < b->mean;
}

static bool find_means(const struct sweep *sweep, const struct sweep_line *lines,
                       struct sweep_summary *summary, struct error *err)
{
    int *places = calloc((size_t)sweep->run_count, sizeof *places);
    summary->means = calloc((size_t)sweep->run_count, sizeof *summary->means);
    if (!places || !summary->means) {
        free(places);
        return error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
    }
    for (int run = 0; run < sweep->run_count; run++) {
        const int configuration = sweep->runs[run].configuration;
        if (configuration == run) {
            places[run] = summary->mean_count++;
            summary->means[places[run]] = (struct sweep_mean) { .configuration = run, .mean = NAN };
        }
        add_outcome(&summary->means[places[configuration]], &lines[run].outcome);
    }
    free(places);
    for (int i = 0; i < summary->mean_count; i++) {
        struct sweep_mean *mean = &summary->means[i];
        mean->deviation = mean->done > 1 ? sqrt(mean->deviation / (mean->done - 1)) : NAN;
        if (mean->done > 0 &&
            (summary->best < 0 || is_better(sweep, mean, &summary->means[summary->best])))
            summary->best = i;
    }
    return true;
}

void sweep_summary_release(struct sweep_summary *summary)
{
    free(summary->means);
    *summary = (struct sweep_summary) { 0 };
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
         read_lines(&ladder, lines, &quiet, err) && find_means(&folder->sweep, lines, summary, err);
    for (int run = 0; ok && run < runs; run++) {
        name_ended(&ladder, &lines[run], quiet);
        count_line(&lines[run], summary);
        if (sink) sink(context, folder, &lines[run]);
    }
    if (!ok) sweep_summary_release(summary);
    ladder_release(&ladder);
    free(lines);
    return ok;
}
