/* How a sweep stands, from its files alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/sweep/execute.h"
#include "parts.h"

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

/* The highest rung that each run has reached; *last is the highest of all. */
static bool find_rungs(const struct sweep_folder *folder, int *rungs, int *last, struct error *err)
{
    int *members = calloc((size_t)folder->sweep.run_count, sizeof *members), count;
    bool ok = members || error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
    *last = 0;
    for (int rung = 0; ok && rung < sweep_rung_count(&folder->sweep); rung++) {
        bool decided;
        ok = sweep_rung_members(folder, rung, members, &count, &decided, err);
        if (!ok || !decided) break;
        *last = rung;
        for (int i = 0; i < count; i++) rungs[members[i]] = rung;
    }
    free(members);
    return ok;
}

static const char *state_of(const struct sweep_folder *folder, int run, int rung, int last,
                            const struct sweep_outcome *outcome)
{
    if (outcome->state == SWEEP_FAILED) return "failed";
    if (is_running(folder, run)) return "running";
    if (!sweep_outcome_is_final(outcome, sweep_rung_epochs(&folder->sweep, rung))) return "pending";
    return rung < last ? "halted" : "done";
}

/* Of later rungs first, then by the metric; the first of equal ones. */
static bool is_better(const struct sweep *sweep, const struct sweep_outcome *a,
                      const struct sweep_outcome *b)
{
    if (a->epochs != b->epochs) return a->epochs > b->epochs;
    return sweep->maximize ? a->score > b->score : a->score < b->score;
}

static void count_line(const struct sweep *sweep, const struct sweep_line *line,
                       struct sweep_summary *summary)
{
    const struct sweep_outcome *outcome = &line->outcome;
    summary->failed += outcome->state == SWEEP_FAILED;
    summary->partial += outcome->partial;
    summary->done += strcmp(line->state, "done") == 0 || strcmp(line->state, "halted") == 0;
    summary->halted += strcmp(line->state, "halted") == 0;
    if (outcome->state != SWEEP_DONE ||
        (summary->best >= 0 && !is_better(sweep, outcome, &summary->best_outcome)))
        return;
    summary->best = line->run;
    summary->best_outcome = *outcome;
}

bool sweep_survey(const struct sweep_folder *folder, sweep_line_sink sink, void *context,
                  struct sweep_summary *summary, struct error *err)
{
    const int runs = folder->sweep.run_count;
    int *rungs = calloc((size_t)runs, sizeof *rungs), last;
    *summary = (struct sweep_summary) { .runs = runs, .best = -1 };
    bool ok = rungs || error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
    ok = ok && find_rungs(folder, rungs, &last, err);
    for (int run = 0; ok && run < runs; run++) {
        struct sweep_line line = { .run = run };
        ok = sweep_outcome_read(folder, run, &line.outcome, err);
        if (!ok) break;
        line.state = state_of(folder, run, rungs[run], last, &line.outcome);
        count_line(&folder->sweep, &line, summary);
        if (sink) sink(context, folder, &line);
    }
    free(rungs);
    return ok;
}
