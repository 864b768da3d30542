/* Trains what is left, several runs at once, and decides who goes on. */
#include "micromet/sweep/execute.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ladder.h"
#include "micromet/base/log.h"
#include "micromet/base/stop.h"
#include "training.h"

/* A run on the rung where it stands, as this process sees it. */
enum view { TO_BEGIN, BEGUN, ELSEWHERE, FINAL };

struct crew {
    const struct sweep_folder *folder;
    const struct sweep_options *options;
    struct ladder ladder;
    enum view *views;           /* (runs) */
    int *viewed;                /* (runs) the rung that the view is of */
    struct training *trainings; /* (options->jobs) */
    bool requeue;               /* as the options or a configuration say */
    bool waiting;               /* it was said that others are waited for */
    bool forwarded;             /* the signal, to the trainings */
};

/* --- whose runs they are ---------------------------------------------------------------------- */

/* Whether this process may begin the run. A task of a rung does with the others what is left of the
 * rungs before. A task of asynchronous halving goes on with runs that its results let go on. */
static bool is_ours(const struct crew *crew, int run)
{
    const struct sweep_options *o = crew->options;
    const int rung = crew->ladder.rung_of[run];
    if (o->index < 0 && o->rung < 0) return true;
    if (o->rung < 0)
        return run == o->index || (crew->folder->sweep.halving.asynchronous && rung > 0);
    if (rung != o->rung || o->index < 0) return rung <= o->rung;
    const struct rung *r = &crew->ladder.rungs[rung];
    return o->index < r->count && r->members[o->index] == run;
}

/* Whether this process stays until the run has ended, also in another process's hands. */
static bool is_awaited(const struct crew *crew, int run)
{
    const bool others_will = crew->folder->sweep.halving.asynchronous &&
                             crew->options->index >= 0 && run != crew->options->index;
    return crew->views[run] != FINAL && is_ours(crew, run) &&
           (crew->views[run] != ELSEWHERE || !others_will);
}

static int count_begun(const struct crew *crew)
{
    int count = 0;
    for (int slot = 0; slot < crew->options->jobs; slot++) count += crew->trainings[slot].pid != 0;
    return count;
}

static int count_awaited(const struct crew *crew)
{
    int count = 0;
    for (int run = 0; run < crew->folder->sweep.run_count; run++) count += is_awaited(crew, run);
    return count;
}

/* --- beginning and ending --------------------------------------------------------------------- */

static bool try_begin(struct crew *crew, int run, int slot, bool *begun, struct error *err)
{
    struct training *training = &crew->trainings[slot];
    struct config config;
    bool final;
    if (!sweep_folder_config(crew->folder, run, &config, err)) return false;
    const struct share share = share_of(&config, slot, crew->options->jobs);
    if (!training_begin(training, crew->folder, run, ladder_epochs(&crew->ladder, run), &share,
                        begun, &final, err))
        return false;
    crew->views[run] = *begun ? BEGUN : final ? FINAL : ELSEWHERE;
    if (*begun && share.gpu[0])
        log_info("run %04d begins on GPU %s%s", run, share.gpu,
                 crew->options->jobs > share_gpu_count() ? ", which several share" : "");
    else if (*begun)
        log_info("run %04d begins", run);
    crew->requeue = crew->requeue || (*begun && config.train.requeue);
    return true;
}

/* Those on higher rungs first. */
static bool begin_next(struct crew *crew, int slot, bool *begun, struct error *err)
{
    *begun = false;
    for (int r = crew->ladder.rung_count - 1; r >= 0; r--) {
        const struct rung *rung = &crew->ladder.rungs[r];
        for (int i = 0; i < rung->count && !*begun; i++) {
            const int run = rung->members[i];
            if (crew->ladder.rung_of[run] == r && crew->views[run] == TO_BEGIN &&
                is_ours(crew, run) && !try_begin(crew, run, slot, begun, err))
                return false;
        }
    }
    return true;
}

static bool fill(struct crew *crew, struct error *err)
{
    for (int slot = 0; slot < crew->options->jobs; slot++) {
        bool begun = true;
        if (crew->trainings[slot].pid) continue;
        if (!begin_next(crew, slot, &begun, err)) return false;
        if (!begun) return true;
    }
    return true;
}

/* Collect the trainings that have ended. */
static bool reap(struct crew *crew, bool *any, struct error *err)
{
    *any = false;
    for (int slot = 0; slot < crew->options->jobs; slot++) {
        struct training *training = &crew->trainings[slot];
        int status;
        bool ended;
        if (!training->pid || waitpid(training->pid, &status, WNOHANG) != training->pid) continue;
        if (!training_end(training, crew->folder, status, &ended, err)) return false;
        crew->views[training->run] = ended ? FINAL : TO_BEGIN;
        *any = true;
    }
    return true;
}

static void forward(struct crew *crew)
{
    if (crew->forwarded) return;
    log_info("%s: the trainings write their checkpoints", strsignal(stop_signal()));
    for (int slot = 0; slot < crew->options->jobs; slot++)
        if (crew->trainings[slot].pid) kill(crew->trainings[slot].pid, stop_signal());
    crew->forwarded = true;
}

/* Wait for the trainings under way, after an error too: nobody else would. */
static void abandon(struct crew *crew)
{
    for (int slot = 0; slot < crew->options->jobs; slot++)
        if (crew->trainings[slot].pid) kill(crew->trainings[slot].pid, SIGTERM);
    for (int slot = 0; slot < crew->options->jobs; slot++) {
        if (crew->trainings[slot].pid) waitpid(crew->trainings[slot].pid, NULL, 0);
        lock_file_release(&crew->trainings[slot].lock);
    }
}

/* --- the work --------------------------------------------------------------------------------- */

/* See who goes on, by decisions of others and by those that are due here. A rung's is left to the
 * tasks of the next one. */
static bool advance(struct crew *crew, struct error *err)
{
    struct ladder *ladder = &crew->ladder;
    const struct sweep *sweep = &crew->folder->sweep;
    const int limit = crew->options->rung < 0 ? ladder->rung_count : crew->options->rung;
    if (!ladder_decide(ladder, limit, err)) return false;
    for (int run = 0; run < sweep->run_count; run++) {
        if (crew->viewed[run] == ladder->rung_of[run]) continue;
        crew->viewed[run] = ladder->rung_of[run];
        crew->views[run] = TO_BEGIN;
        log_info("run %04d goes on to epoch %d", run, ladder_epochs(ladder, run));
    }
    return true;
}

/* Look again, now and then, at what others had begun. */
static void look_again(struct crew *crew)
{
    int others = 0;
    for (int run = 0; run < crew->folder->sweep.run_count; run++) {
        if (crew->views[run] != ELSEWHERE || !is_ours(crew, run)) continue;
        crew->views[run] = TO_BEGIN;
        others++;
    }
    if (others == 0 || crew->waiting || count_begun(crew) > 0) return;
    log_info("waiting for %d runs that other processes have begun", others);
    crew->waiting = true;
}

/* Whether nothing is left to do or to wait for, and no decision brings something. */
static bool is_over(struct crew *crew, bool *over, struct error *err)
{
    *over = false;
    if (count_begun(crew) > 0 || count_awaited(crew) > 0) return true;
    if (!advance(crew, err)) return false;
    *over = count_awaited(crew) == 0;
    return true;
}

/* Until all runs are final, or a signal has come. */
static bool work(struct crew *crew, struct error *err)
{
    static const struct timespec pause = { .tv_nsec = 20 * 1000 * 1000 };
    enum { PAUSES_A_LOOK = 25 };
    for (int looks = 0;; looks++) {
        bool news;
        if (!reap(crew, &news, err)) return false;
        if (stop_signal()) {
            forward(crew);
            if (count_begun(crew) == 0) return true;
        } else {
            const bool look = looks % PAUSES_A_LOOK == 0;
            if ((news || look) && !advance(crew, err)) return false;
            if (!fill(crew, err)) return false;
            bool over = false;
            if (!is_over(crew, &over, err)) return false;
            if (over) return true;
            if (look) look_again(crew);
        }
        nanosleep(&pause, NULL);
    }
}

static bool execute(struct crew *crew, struct error *err)
{
    stop_catch();
    if (crew->options->retry && !sweep_forget_failures(crew->folder, err)) return false;
    if (!ladder_read(&crew->ladder, err)) return false;
    if (!packs_prepare(crew->folder, err)) return false;
    for (int run = 0; run < crew->folder->sweep.run_count; run++)
        crew->viewed[run] = crew->ladder.rung_of[run];
    if (crew->options->prepare || work(crew, err)) return true;
    abandon(crew);
    return false;
}

/* Slurm ends this process as soon as it has the job back in its queue. */
static void requeue(const struct crew *crew)
{
    char job[SLURM_JOB_BYTES];
    struct error err = { 0 };
    if (!crew->requeue || stop_signal() != SIGUSR1 || !slurm_job(job)) return;
    log_info("requeueing Slurm job %s", job);
    if (!slurm_requeue(job, &err))
        log_warning("%s; the job is not requeued: submit it again to go on", err.message);
}

bool sweep_execute(const struct sweep_folder *folder, const struct sweep_options *options,
                   enum exit_code *code, struct error *err)
{
    const size_t runs = (size_t)folder->sweep.run_count;
    struct crew crew = {
        .folder = folder,
        .options = options,
        .views = calloc(runs, sizeof *crew.views),
        .viewed = calloc(runs, sizeof *crew.viewed),
        .trainings = calloc((size_t)options->jobs, sizeof *crew.trainings),
        .requeue = options->requeue,
    };
    bool ok = (crew.views && crew.viewed && crew.trainings) ||
              error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
    ok = ok && (!options->requeue || slurm_requeue_check(err)) &&
         ladder_init(&crew.ladder, folder, err) && execute(&crew, err);
    ladder_release(&crew.ladder);
    free(crew.views);
    free(crew.viewed);
    free(crew.trainings);
    *code = stop_signal() ? EXIT_CODE_INTERRUPTED : EXIT_CODE_OK;
    if (err->code == EXIT_CODE_INTERRUPTED) { /* while packs were made */
        log_info("%s", err->message);
        error_clear(err);
        ok = true;
    }
    if (ok) requeue(&crew);
    return ok;
}
