/* Programs of Slurm are started directly, never through a shell, so that no name needs quoting. */
#include "micromet/base/slurm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A number of at most ten digits from the environment, else NULL. */
static const char *number_of(const char *name)
{
    const char *text = getenv(name);
    const size_t digits = text ? strspn(text, "0123456789") : 0;
    return digits > 0 && digits <= 10 && !text[digits] ? text : NULL;
}

bool slurm_job(char job[SLURM_JOB_BYTES])
{
    const char *id = number_of("SLURM_JOB_ID"), *array = number_of("SLURM_ARRAY_JOB_ID"),
               *task = number_of("SLURM_ARRAY_TASK_ID");
    if (array && task)
        snprintf(job, SLURM_JOB_BYTES, "%s_%s", array, task);
    else
        snprintf(job, SLURM_JOB_BYTES, "%s", id ? id : "");
    return id != NULL;
}

int slurm_restarts(void)
{
    const char *count = number_of("SLURM_RESTART_COUNT");
    return count ? atoi(count) : 0;
}

static bool on_path(const char *program)
{
    const char *folders = getenv("PATH");
    for (const char *at = folders ? folders : ""; *at;) {
        char path[4096];
        const size_t length = strcspn(at, ":");
        const int size = snprintf(path, sizeof path, "%.*s/%s", (int)length, at, program);
        if (size < (int)sizeof path && access(path, X_OK) == 0) return true;
        at += length + (at[length] == ':');
    }
    return false;
}

bool slurm_requeue_check(struct error *err)
{
    char job[SLURM_JOB_BYTES];
    return !slurm_job(job) || on_path("scontrol") ||
           error_set(err, EXIT_CODE_USAGE,
                     "train.requeue: no scontrol on PATH, so this job cannot requeue itself; add "
                     "Slurm's programs to PATH, or choose train.requeue=false");
}

static int spawn(pid_t *process, char *const *arguments, int input)
{
    posix_spawn_file_actions_t actions;
    int failure = posix_spawn_file_actions_init(&actions);
    if (failure) return failure;
    failure = input >= 0 ? posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
                         : posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null",
                                                            O_RDONLY, 0);
    if (!failure) failure = posix_spawnp(process, arguments[0], &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    return failure;
}

bool slurm_run(char *const *arguments, int input, struct error *err)
{
    pid_t process;
    int status;
    const int failure = spawn(&process, arguments, input);
    if (failure)
        return error_set(err, EXIT_CODE_FAILED, "%s: cannot be run: %s", arguments[0],
                         strerror(failure));
    while (waitpid(process, &status, 0) < 0)
        if (errno != EINTR)
            return error_set(err, EXIT_CODE_FAILED, "%s: lost: %s", arguments[0], strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    if (WIFSIGNALED(status))
        return error_set(err, EXIT_CODE_FAILED, "%s: was ended by %s", arguments[0],
                         strsignal(WTERMSIG(status)));
    return error_set(err, EXIT_CODE_FAILED, "%s: failed with exit status %d", arguments[0],
                     WEXITSTATUS(status));
}

bool slurm_requeue(const char *job, struct error *err)
{
    char name[SLURM_JOB_BYTES];
    char *arguments[] = { "scontrol", "requeue", name, NULL };
    snprintf(name, sizeof name, "%s", job);
    /* As soon as it takes effect, Slurm sends SIGTERM to the job, scontrol included. */
    signal(SIGTERM, SIG_IGN);
    return slurm_run(arguments, -1, err);
}
