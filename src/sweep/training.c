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
#include <unistd.h>

#include "micromet/base/log.h"

enum { TAIL_BYTES = 8192 };

/* In the new process; nothing here allocates. */
__attribute__((noreturn)) static void become(char *const *arguments, int log, int lock,
                                             pid_t parent)
{
    fcntl(lock, F_SETFD, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() == parent && dup2(log, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0)
        execv("/proc/self/exe", arguments);
    _exit(EXIT_CODE_FAILED);
}

static bool start(struct training *training, const char *config_path, const char *log_path,
                  int threads, struct error *err)
{
    char threads_text[48], epochs_text[48], path[PATH_MAX_BYTES];
    char *arguments[8] = { "micromet", "train", path };
    int count = 3;
    snprintf(path, sizeof path, "%s", config_path);
    snprintf(threads_text, sizeof threads_text, "compute.threads=%d", threads);
    snprintf(epochs_text, sizeof epochs_text, "--until-epoch=%d", training->epochs);
    if (threads > 0) arguments[count++] = threads_text;
    if (training->epochs > 0) arguments[count++] = epochs_text;
    const int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (log < 0)
        return error_set(err, EXIT_CODE_FAILED, "%s: cannot be written: %s", log_path,
                         strerror(errno));
    const pid_t parent = getpid();
    fflush(NULL);
    training->pid = fork();
    if (training->pid == 0) become(arguments, log, fileno(training->lock.stream), parent);
    close(log);
    if (training->pid > 0) return true;
    training->pid = 0;
    return error_set(err, EXIT_CODE_FAILED, "no process for a training: %s", strerror(errno));
}

bool training_begin(struct training *training, const struct sweep_folder *folder, int run,
                    int epochs, int threads, bool *begun, bool *final, struct error *err)
{
    char path[PATH_MAX_BYTES], log[PATH_MAX_BYTES];
    struct lock_holder holder;
    struct sweep_outcome outcome;
    enum lock_state state;
    *training = (struct training) { .run = run, .epochs = epochs };
    *begun = *final = false;
    if (!sweep_folder_path(folder, "state", run, ".lock", path, err) ||
        !lock_file_take(&training->lock, path, &state, &holder, err))
        return false;
    if (state == LOCK_OF_OTHERS) return true;
    bool ok = sweep_outcome_read(folder, run, &outcome, err);
    *final = ok && sweep_outcome_is_final(&outcome, epochs);
    if (ok && !*final) {
        ok = sweep_folder_path(folder, "configs", run, ".yaml", path, err) &&
             sweep_folder_path(folder, "state", run, ".log", log, err) &&
             start(training, path, log, threads, err);
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
    *ended = !WIFEXITED(status) || WEXITSTATUS(status) != EXIT_CODE_INTERRUPTED;
    const bool ok = !*ended || record(folder, training, status, err);
    lock_file_release(&training->lock);
    training->pid = 0;
    return ok;
}
