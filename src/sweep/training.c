/* Starts `micromet train` and records how it ended. The run's lock is inherited by the process, so
 * that it stays locked if the one that started it is killed; and then the training is told to
 * stop. */
#include "training.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "micromet/base/log.h"
#include "micromet/base/size.h"

enum { TAIL_BYTES = 8192 };

/* In the new process; nothing here allocates. */
__attribute__((noreturn)) static void become(char *const *arguments, char *const *environment,
                                             int log, int lock, pid_t parent)
{
    fcntl(lock, F_SETFD, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() == parent && dup2(log, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0)
        execve("/proc/self/exe", arguments, environment);
    _exit(EXIT_CODE_FAILED);
}

static bool has_name(const char *variable, const char *name)
{
    const size_t length = strlen(name);
    return strncmp(variable, name, length) == 0 && variable[length] == '=';
}

/* This process's environment, malloc'ed. A training is a rank of no world that this process may
 * have been started in; and `visible`, "CUDA_VISIBLE_DEVICES=...", is in place of what there is,
 * unless it is NULL. */
static char **environment_of(char *visible)
{
    static const char *const left_out[] = { "RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK",
                                            "SLURM_STEP_ID", "CUDA_VISIBLE_DEVICES" };
    const size_t left_count = COUNT_OF(left_out) - (visible == NULL);
    size_t count = 0, kept = 0;
    while (environ[count]) count++;
    char **environment = calloc(count + 2, sizeof *environment);
    for (size_t i = 0; environment && i < count; i++) {
        bool stays = true;
        for (size_t k = 0; k < left_count; k++) stays = stays && !has_name(environ[i], left_out[k]);
        if (stays) environment[kept++] = environ[i];
    }
    if (environment) environment[kept] = visible;
    return environment;
}

static bool fork_training(struct training *training, char *const *arguments,
                          char *const *environment, const char *log_path, struct error *err)
{
    const int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (log < 0)
        return error_set(err, EXIT_CODE_FAILED, "%s: cannot be written: %s", log_path,
                         strerror(errno));
    const pid_t parent = getpid();
    fflush(NULL);
    training->pid = fork();
    if (training->pid == 0)
        become(arguments, environment, log, fileno(training->lock.stream), parent);
    close(log);
    if (training->pid > 0) return true;
    training->pid = 0;
    return error_set(err, EXIT_CODE_FAILED, "no process for a training: %s", strerror(errno));
}

static bool start(struct training *training, const struct sweep_folder *folder, char *config_path,
                  const char *log_path, const struct share *share, struct error *err)
{
    char threads[48], epochs[48], visible[SHARE_GPU_BYTES + 32], runs[PATH_MAX_BYTES + 32];
    char *arguments[9] = { "micromet", "train", config_path, "train.requeue=false", runs };
    int count = 5;
    snprintf(runs, sizeof runs, "train.run=%s/runs", folder->path);
    snprintf(threads, sizeof threads, "compute.threads=%d", share->threads);
    snprintf(epochs, sizeof epochs, "--until-epoch=%d", training->epochs);
    snprintf(visible, sizeof visible, "CUDA_VISIBLE_DEVICES=%s", share->gpu);
    if (share->threads > 0) arguments[count++] = threads;
    if (share->gpu[0]) arguments[count++] = "compute.device=0";
    if (training->epochs > 0) arguments[count] = epochs;
    char **environment = environment_of(share->gpu[0] ? visible : NULL);
    if (!environment) return error_set(err, EXIT_CODE_FAILED, "out of memory for a training");
    const bool ok = fork_training(training, arguments, environment, log_path, err);
    free(environment);
    return ok;
}

bool training_begin(struct training *training, const struct sweep_folder *folder, int run,
                    int epochs, const struct share *share, bool *begun, bool *final,
                    struct error *err)
{
    char path[PATH_MAX_BYTES], log[PATH_MAX_BYTES];
    struct lock_holder holder;
    struct sweep_outcome outcome;
    enum lock_state state;
    static const struct timespec look = { .tv_nsec = 20000000 };
    *training = (struct training) { .run = run, .epochs = epochs };
    *begun = *final = false;
    if (!sweep_folder_path(folder, "state", run, ".lock", path, err) ||
        !lock_file_take(&training->lock, path, &state, &holder, err))
        return false;
    if (state == LOCK_OF_OTHERS) { /* or of one who looks at the sweep, for a moment */
        nanosleep(&look, NULL);
        if (!lock_file_take(&training->lock, path, &state, &holder, err)) return false;
    }
    if (state == LOCK_OF_OTHERS) return true;
    bool ok = sweep_outcome_read(folder, run, &outcome, err);
    *final = ok && sweep_outcome_is_final(&outcome, epochs);
    if (ok && !*final) {
        ok = sweep_folder_path(folder, "configs", run, ".yaml", path, err) &&
             sweep_folder_path(folder, "state", run, ".log", log, err) &&
             start(training, folder, path, log, share, err);
        *begun = ok;
    }
    if (!*begun) lock_file_release(&training->lock);
    return ok;
}

/* The last complaint in the log. */
static void find_reason(const char *path, char *reason, size_t size)
{
    static const char prefix[] = "micromet: ";
    char tail[TAIL_BYTES + 1];
    FILE *stream = fopen(path, "rbe");
    *reason = '\0';
    if (!stream) return;
    if (fseek(stream, -TAIL_BYTES, SEEK_END) != 0) rewind(stream);
    tail[fread(tail, 1, TAIL_BYTES, stream)] = '\0';
    fclose(stream);
    for (char *line = tail, *end; *line; line = end) {
        end = line + strcspn(line, "\n");
        if (strncmp(line, prefix, strlen(prefix)) == 0)
            snprintf(reason, size, "%.*s", (int)(end - line - (long)strlen(prefix)),
                     line + strlen(prefix));
        end += *end == '\n';
    }
}

/* A training that ended well has a metric. */
static bool read_score(const struct sweep_folder *folder, const struct training *training,
                       struct sweep_outcome *outcome, struct error *err)
{
    const struct sweep *sweep = &folder->sweep;
    char path[PATH_MAX_BYTES];
    const int epochs = training->epochs ? training->epochs : 1000000;
    if (!sweep_folder_path(folder, "runs", training->run, "", path, err) ||
        !metric_read(sweep->metric, sweep->maximize, path, epochs, &outcome->score, err))
        return false;
    if (!isnan(outcome->score)) return true;
    outcome->state = SWEEP_FAILED;
    snprintf(outcome->reason, sizeof outcome->reason, "it has no %s", sweep->metric->name);
    return true;
}

static bool record(const struct sweep_folder *folder, const struct training *training, int status,
                   struct error *err)
{
    struct sweep_outcome outcome = { .state = SWEEP_DONE,
                                     .epochs = training->epochs,
                                     .score = NAN };
    char path[PATH_MAX_BYTES];
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    outcome.partial = code == EXIT_CODE_PARTIAL;
    if (code == EXIT_CODE_OK || code == EXIT_CODE_PARTIAL) {
        if (!read_score(folder, training, &outcome, err)) return false;
    } else {
        outcome.state = SWEEP_FAILED;
        if (!sweep_folder_path(folder, "state", training->run, ".log", path, err)) return false;
        if (code < 0)
            snprintf(outcome.reason, sizeof outcome.reason, "ended by a signal: %s",
                     strsignal(WTERMSIG(status)));
        else
            find_reason(path, outcome.reason, sizeof outcome.reason);
    }
    if (outcome.state == SWEEP_FAILED)
        log_warning("run %04d failed: %s", training->run, outcome.reason);
    else
        log_info("run %04d done%s: %s %.6g", training->run,
                 outcome.partial ? " (without some slides)" : "", folder->sweep.metric->name,
                 outcome.score);
    return sweep_outcome_write(folder, training->run, &outcome, err);
}

bool training_end(struct training *training, const struct sweep_folder *folder, int status,
                  bool *ended, struct error *err)
{
    /* Whoever kills a whole job kills this process, too, in a moment: the run has not failed. */
    static const struct timespec moment = { .tv_sec = 1 };
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) nanosleep(&moment, NULL);
    *ended = !WIFEXITED(status) || WEXITSTATUS(status) != EXIT_CODE_INTERRUPTED;
    const bool ok = !*ended || record(folder, training, status, err);
    lock_file_release(&training->lock);
    training->pid = 0;
    return ok;
}
