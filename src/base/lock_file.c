/* Lock files. A network file system keeps the lock of a host that went down until its server
 * notices, so a thread of the holder's shows that it lives. */
#include "micromet/base/lock_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "micromet/base/thread.h"

/* --- the file: a line on the holder, and one with its counter --------------------------------- */

static const char beat_format[] = "beat %020" PRId64 "\n";

static void read_holder(FILE *stream, struct lock_holder *holder)
{
    char line[64];
    *holder = (struct lock_holder) { .beat = -1 };
    if (!fgets(holder->text, sizeof holder->text, stream)) holder->text[0] = '\0';
    holder->text[strcspn(holder->text, "\n")] = '\0';
    if (fgets(line, sizeof line, stream)) sscanf(line, "beat %" SCNd64, &holder->beat);
    if (sscanf(holder->text, "process %ld on %64[^,], Slurm job %31[0-9_]", &holder->process,
               holder->host, holder->job) < 2)
        holder->process = 0;
    if (!holder->text[0]) snprintf(holder->text, sizeof holder->text, "another process");
}

static void name_host(char host[65])
{
    memset(host, 0, 65);
    if (gethostname(host, 64) != 0) snprintf(host, 65, "this host");
}

static bool write_holder(FILE *stream)
{
    char host[65], since[32] = "", job[SLURM_JOB_BYTES];
    const time_t now = time(NULL);
    struct tm local;
    const bool in_job = slurm_job(job);
    name_host(host);
    if (localtime_r(&now, &local)) strftime(since, sizeof since, "%Y-%m-%d %H:%M", &local);
    return ftruncate(fileno(stream), 0) == 0 &&
           fprintf(stream, "process %ld on %s%s%s, since %s\n", (long)getpid(), host,
                   in_job ? ", Slurm job " : "", job, since) > 0 &&
           fflush(stream) == 0;
}

/* --- the counter ------------------------------------------------------------------------------ */

struct lock_pulse {
    int descriptor;
    off_t offset; /* of the counter's line */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t ending;
    bool ends;
};

/* What cannot be written now may be written next time; the lock is held anyway. */
static void write_beat(const struct lock_pulse *pulse, int64_t beat)
{
    char line[64];
    const int length = snprintf(line, sizeof line, beat_format, beat);
    if (pwrite(pulse->descriptor, line, (size_t)length, pulse->offset) == length)
        fdatasync(pulse->descriptor);
}

static void *run_pulse(void *context)
{
    struct lock_pulse *pulse = context;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    pthread_mutex_lock(&pulse->mutex);
    for (int64_t beat = 1; !pulse->ends; beat++) {
        pthread_mutex_unlock(&pulse->mutex);
        write_beat(pulse, beat);
        pthread_mutex_lock(&pulse->mutex);
        until.tv_sec += LOCK_BEAT_S;
        while (!pulse->ends &&
               pthread_cond_timedwait(&pulse->ending, &pulse->mutex, &until) != ETIMEDOUT) {
        }
    }
    pthread_mutex_unlock(&pulse->mutex);
    return NULL;
}

/* Signals are for the other threads. */
static bool start_thread(struct lock_pulse *pulse)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool started = pthread_create(&pulse->thread, NULL, run_pulse, pulse) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static struct lock_pulse *pulse_start(FILE *stream)
{
    struct lock_pulse *pulse = calloc(1, sizeof *pulse);
    pthread_condattr_t monotonic;
    if (!pulse) return NULL;
    pulse->descriptor = fileno(stream);
    pulse->offset = ftello(stream);
    pthread_mutex_init(&pulse->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&pulse->ending, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (start_thread(pulse)) return pulse;
    pthread_cond_destroy(&pulse->ending);
    pthread_mutex_destroy(&pulse->mutex);
    free(pulse);
    return NULL;
}

static void pulse_stop(struct lock_pulse *pulse)
{
    if (!pulse) return;
    pthread_mutex_lock(&pulse->mutex);
    pulse->ends = true;
    pthread_cond_signal(&pulse->ending);
    pthread_mutex_unlock(&pulse->mutex);
    pthread_join(pulse->thread, NULL);
    pthread_cond_destroy(&pulse->ending);
    pthread_mutex_destroy(&pulse->mutex);
    free(pulse);
}

/* Whether the counter moves within `patience_s`. The file is opened anew each time, which makes a
 * network file system ask its server. */
static bool is_beating(const char *path, int64_t before, double patience_s)
{
    const double end_s = clock_seconds() + patience_s;
    while (clock_seconds() < end_s) {
        struct lock_holder now;
        FILE *stream = fopen(path, "re");
        if (!stream) return true; /* nothing is known */
        read_holder(stream, &now);
        fclose(stream);
        if (now.beat != before) return true;
        usleep(100000);
    }
    return false;
}

/* --- locks ------------------------------------------------------------------------------------ */

bool lock_file_take(struct lock_file *lock, const char *path, enum lock_state *state,
                    struct lock_holder *holder, struct error *err)
{
    *lock = (struct lock_file) { 0 };
    const int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    FILE *stream = descriptor < 0 ? NULL : fdopen(descriptor, "r+");
    if (!stream) {
        error_set(err, EXIT_CODE_FAILED, "%s: cannot be opened: %s", path, strerror(errno));
        if (descriptor >= 0) close(descriptor);
        return false;
    }
    *state = lock_try(descriptor);
    if (*state == LOCK_OF_OTHERS) {
        read_holder(stream, holder);
        fclose(stream);
        return true;
    }
    if (!write_holder(stream)) {
        error_set(err, EXIT_CODE_FAILED, "%s: cannot be written: %s", path, strerror(errno));
        fclose(stream);
        return false;
    }
    lock->stream = stream;
    lock->pulse = pulse_start(stream);
    return true;
}

bool lock_file_is_held(const char *path)
{
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return false;
    const bool held = lock_try_shared(descriptor) == LOCK_OF_OTHERS;
    close(descriptor);
    return held;
}

void lock_file_release(struct lock_file *lock)
{
    pulse_stop(lock->pulse);
    if (lock->stream) fclose(lock->stream);
    *lock = (struct lock_file) { 0 };
}

enum lock_life lock_file_watch(const char *path, const struct lock_holder *holder,
                               double patience_s)
{
    char host[65];
    name_host(host);
    const bool here = strcmp(host, holder->host) == 0;
    if (holder->process <= 0 || holder->beat < 0) return LOCK_ALIVE;
    if (here && (kill((pid_t)holder->process, 0) == 0 || errno == EPERM)) return LOCK_ALIVE;
    /* Containers of one host may share its name and number their processes anew. */
    if (is_beating(path, holder->beat, patience_s)) return LOCK_ALIVE;
    return here ? LOCK_ENDED : LOCK_SILENT;
}
