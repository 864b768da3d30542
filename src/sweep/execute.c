/* Does the runs of one rung after the other, several at once. */
#include "micromet/sweep/execute.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "micromet/base/log.h"
#include "micromet/base/stop.h"
#include "micromet/base/thread.h"
#include "training.h"

/* A run of the rung, as this process sees it. */
enum view { TO_BEGIN, BEGUN, ELSEWHERE, FINAL };

struct rung {
    const struct sweep_folder *folder;
    const struct sweep_options *options;
    int epochs;
    int *members; /* (count) runs */
    enum view *views;
    int count;
    struct training *trainings; /* (options->jobs) */
    bool waiting;               /* it was said that others are waited for */
    bool forwarded;             /* the signal, to the trainings */
};

static int count_views(const struct rung *rung, enum view view)
{
    int count = 0;
    for (int i = 0; i < rung->count; i++) count += rung->views[i] == view;
    return count;
}

/* Threads of a training that leaves them to us: its share of the processors. */
static bool share_threads(const struct rung *rung, int run, int *threads, struct error *err)
{
    struct config config;
    if (!sweep_folder_config(rung->folder, run, &config, err)) return false;
    const int share = thread_count_default() / rung->options->jobs;
    *threads = config.compute.threads > 0 ? 0 : share > 0 ? share : 1;
    return true;
}

static bool begin_next(struct rung *rung, struct training *training, bool *begun, struct error *err)
{
    *begun = false;
    for (int i = 0; i < rung->count && !*begun; i++) {
        bool final;
        int threads;
        if (rung->views[i] != TO_BEGIN) continue;
        if (!share_threads(rung, rung->members[i], &threads, err) ||
            !training_begin(training, rung->folder, rung->members[i], rung->epochs, threads, begun,
                            &final, err))
            return false;
        rung->views[i] = *begun ? BEGUN : final ? FINAL : ELSEWHERE;
        if (*begun) log_info("run %04d begins", rung->members[i]);
    }
    return true;
}

static bool fill(struct rung *rung, struct error *err)
{
    for (int slot = 0; slot < rung->options->jobs; slot++) {
        bool begun = true;
        if (rung->trainings[slot].pid) continue;
        if (!begin_next(rung, &rung->trainings[slot], &begun, err)) return false;
        if (!begun) return true;
    }
    return true;
}

/* Collect the trainings that have ended. */
static bool reap(struct rung *rung, struct error *err)
{
    for (int slot = 0; slot < rung->options->jobs; slot++) {
        struct training *training = &rung->trainings[slot];
        const int run = training->run;
        int status;
        bool ended;
        if (!training->pid || waitpid(training->pid, &status, WNOHANG) != training->pid) continue;
        if (!training_end(training, rung->folder, status, &ended, err)) return false;
        for (int i = 0; i < rung->count; i++)
            if (rung->members[i] == run) rung->views[i] = ended ? FINAL : TO_BEGIN;
    }
    return true;
}

static void forward(struct rung *rung)
{
    if (rung->forwarded) return;
    log_info("%s: the trainings write their checkpoints", strsignal(stop_signal()));
    for (int slot = 0; slot < rung->options->jobs; slot++)
        if (rung->trainings[slot].pid) kill(rung->trainings[slot].pid, stop_signal());
    rung->forwarded = true;
}

/* Look again, now and then, at what others had begun. */
static void look_again(struct rung *rung, int looks)
{
    const int others = count_views(rung, ELSEWHERE);
    if (others == 0 || looks % 25 != 0) return;
    if (!rung->waiting && count_views(rung, BEGUN) == 0) {
        log_info("waiting for %d runs that other processes have begun", others);
        rung->waiting = true;
    }
    for (int i = 0; i < rung->count; i++)
        if (rung->views[i] == ELSEWHERE) rung->views[i] = TO_BEGIN;
}

/* Wait for the trainings under way, after an error too: nobody else would. */
static void abandon(struct rung *rung)
{
    for (int slot = 0; slot < rung->options->jobs; slot++)
        if (rung->trainings[slot].pid) kill(rung->trainings[slot].pid, SIGTERM);
    for (int slot = 0; slot < rung->options->jobs; slot++) {
        if (rung->trainings[slot].pid) waitpid(rung->trainings[slot].pid, NULL, 0);
        lock_file_release(&rung->trainings[slot].lock);
    }
}

/* Until all runs of the rung are final, or a signal has come. */
static bool work(struct rung *rung, struct error *err)
{
    static const struct timespec pause = { .tv_nsec = 20 * 1000 * 1000 };
    for (int looks = 1;; looks++) {
        if (!reap(rung, err)) return false;
        if (stop_signal()) {
            forward(rung);
            if (count_views(rung, BEGUN) == 0) return true;
        } else if (!fill(rung, err)) {
            return false;
        }
        if (count_views(rung, FINAL) == rung->count) return true;
        nanosleep(&pause, NULL);
        look_again(rung, looks);
    }
}

/* What is to be done of a rung: all its members, or the one run that was asked for if it is among
 * them. */
static bool choose_members(struct rung *rung, int number, bool *decided, struct error *err)
{
    const int index = rung->options->index;
    if (!sweep_rung_members(rung->folder, number, rung->members, &rung->count, decided, err))
        return false;
    for (int i = 0; index >= 0 && i < rung->count; i++) {
        if (rung->members[i] != index) continue;
        rung->members[0] = index;
        rung->count = 1;
        return true;
    }
    if (index >= 0) rung->count = 0;
    return true;
}

/* Whether all members of a rung are final, whoever has run them. */
static bool is_complete(struct rung *rung, int number, bool *complete, struct error *err)
{
    bool decided;
    if (!sweep_rung_members(rung->folder, number, rung->members, &rung->count, &decided, err))
        return false;
    *complete = decided;
    for (int i = 0; *complete && i < rung->count; i++) {
        struct sweep_outcome outcome;
        if (!sweep_outcome_read(rung->folder, rung->members[i], &outcome, err)) return false;
        *complete = sweep_outcome_is_final(&outcome, rung->epochs);
    }
    return true;
}

static bool do_rung(struct rung *rung, int number, bool *go_on, struct error *err)
{
    const struct sweep *sweep = &rung->folder->sweep;
    const int rungs = sweep_rung_count(sweep);
    bool decided, complete;
    *go_on = false;
    rung->epochs = sweep_rung_epochs(sweep, number);
    if (!choose_members(rung, number, &decided, err)) return false;
    if (!decided) {
        log_info("rung %d waits for other runs of the rung before it", number);
        return true;
    }
    if (rung->count == 0) {
        log_info("nothing to do in rung %d, of %d epochs", number, rung->epochs);
        return true;
    }
    if (rungs > 1) log_info("rung %d: %d runs to epoch %d", number, rung->count, rung->epochs);
    for (int i = 0; i < rung->count; i++) rung->views[i] = TO_BEGIN;
    if (!work(rung, err)) {
        abandon(rung);
        return false;
    }
    if (stop_signal() || number + 1 == rungs) return true;
    if (!is_complete(rung, number, &complete, err)) return false;
    if (complete && !sweep_rung_decide(rung->folder, number, err)) return false;
    *go_on = true;
    return true;
}

/* Failed runs become pending again, except where a decision was made without them. */
static bool forget_failures(const struct sweep_folder *folder, struct rung *rung, struct error *err)
{
    char path[PATH_MAX_BYTES];
    int last = sweep_rung_count(&folder->sweep) - 1;
    bool decided = false;
    for (; !decided; last--)
        if (!sweep_rung_members(folder, last, rung->members, &rung->count, &decided, err))
            return false;
    if (!path_join(path, folder->path, "state/prepared", err)) return false;
    unlink(path);
    int forgotten = 0;
    for (int i = 0; i < rung->count; i++) {
        struct sweep_outcome outcome;
        if (!sweep_outcome_read(folder, rung->members[i], &outcome, err) ||
            !sweep_folder_path(folder, "state", rung->members[i], ".json", path, err))
            return false;
        if (outcome.state != SWEEP_FAILED) continue;
        unlink(path);
        forgotten++;
    }
    log_info("%d failed runs are to be run again", forgotten);
    return true;
}

static bool execute(struct rung *rung, struct error *err)
{
    const struct sweep_folder *folder = rung->folder;
    bool go_on = true;
    if (rung->options->retry && !forget_failures(folder, rung, err)) return false;
    if (!packs_prepare(folder, err)) return false;
    stop_catch();
    for (int number = 0; go_on && number < sweep_rung_count(&folder->sweep); number++)
        if (!do_rung(rung, number, &go_on, err)) return false;
    return true;
}

bool sweep_execute(const struct sweep_folder *folder, const struct sweep_options *options,
                   enum exit_code *code, struct error *err)
{
    const size_t runs = (size_t)folder->sweep.run_count;
    struct rung rung = {
        .folder = folder,
        .options = options,
        .members = calloc(runs, sizeof *rung.members),
        .views = calloc(runs, sizeof *rung.views),
        .trainings = calloc((size_t)options->jobs, sizeof *rung.trainings),
    };
    bool ok = (rung.members && rung.views && rung.trainings) ||
              error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
    ok = ok && execute(&rung, err);
    free(rung.members);
    free(rung.views);
    free(rung.trainings);
    *code = stop_signal() ? EXIT_CODE_INTERRUPTED : EXIT_CODE_OK;
    return ok;
}
