/* Lock files: who holds them, and whether the holder lives. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "micromet/base/file.h"
#include "micromet/base/lock_file.h"
#include "micromet/base/thread.h"
#include "support.h"

static char folder[PATH_MAX_BYTES], path[PATH_MAX_BYTES];

static void begin(void)
{
    test_folder_make(folder);
    test_path(path, folder, "lock");
    unsetenv("SLURM_JOB_ID");
    unsetenv("SLURM_ARRAY_JOB_ID");
    unsetenv("SLURM_ARRAY_TASK_ID");
}

static void end(void)
{
    test_folder_remove(folder);
}

TestSuite(lock, .init = begin, .fini = end);

static enum lock_state take(struct lock_file *lock, struct lock_holder *holder)
{
    struct error err = { 0 };
    enum lock_state state;
    cr_assert(lock_file_take(lock, path, &state, holder, &err), "%s", err.message);
    return state;
}

Test(lock, its_holder_is_named)
{
    struct lock_file first, second;
    struct lock_holder holder;
    char host[65] = "", expected[LOCK_HOLDER_BYTES];
    cr_assert_eq(gethostname(host, 64), 0);
    setenv("SLURM_JOB_ID", "12", 1);
    setenv("SLURM_ARRAY_JOB_ID", "10", 1);
    setenv("SLURM_ARRAY_TASK_ID", "3", 1);
    cr_assert_eq(take(&first, &holder), LOCK_TAKEN);
    cr_assert_eq(take(&second, &holder), LOCK_OF_OTHERS);
    snprintf(expected, sizeof expected, "process %ld on %s, Slurm job 10_3, since 20",
             (long)getpid(), host);
    cr_expect_eq(strncmp(holder.text, expected, strlen(expected)), 0, "%s", holder.text);
    cr_expect_eq(holder.process, getpid());
    cr_expect_str_eq(holder.host, host);
    cr_expect_str_eq(holder.job, "10_3");
    cr_expect_eq(lock_file_watch(path, &holder, 60), LOCK_ALIVE); /* at once */
    lock_file_release(&first);
    lock_file_release(&first);

    unsetenv("SLURM_JOB_ID");
    cr_assert_eq(take(&first, &holder), LOCK_TAKEN);
    cr_assert_eq(take(&second, &holder), LOCK_OF_OTHERS);
    cr_expect_str_eq(holder.job, "");
    cr_expect_null(strstr(holder.text, "Slurm"));
    lock_file_release(&first);
}

Test(lock, its_counter_is_raised)
{
    struct lock_file first, second;
    struct lock_holder holder = { 0 };
    const double end_s = clock_seconds() + 60;
    cr_assert_eq(take(&first, &holder), LOCK_TAKEN);
    while (holder.beat < 2 && clock_seconds() < end_s) {
        usleep(10000);
        cr_assert_eq(take(&second, &holder), LOCK_OF_OTHERS);
    }
    cr_expect_geq(holder.beat, 2);
    lock_file_release(&first);
}

/* A file that another process on `host` holds. */
static int hold(long process, const char *host, const char *beat, struct lock_holder *holder)
{
    struct lock_file lock;
    char text[512];
    snprintf(text, sizeof text, "process %ld on %s, since 2025-01-31 23:59\n%s", process, host,
             beat);
    test_write(path, folder, "lock", text);
    const int descriptor = open(path, O_RDWR | O_CLOEXEC);
    cr_assert_eq(lock_try(descriptor), LOCK_TAKEN);
    cr_assert_eq(take(&lock, holder), LOCK_OF_OTHERS);
    return descriptor;
}

static const char beat_of_7[] = "beat 00000000000000000007\n";

Test(lock, a_holder_that_gives_no_sign_of_life_is_silent)
{
    struct lock_holder holder;
    close(hold(1, "another-host", beat_of_7, &holder));
    cr_expect_eq(holder.beat, 7);
    cr_expect_eq(lock_file_watch(path, &holder, 0.3), LOCK_SILENT);
}

Test(lock, a_process_that_is_not_here_has_ended)
{
    struct lock_holder holder;
    char host[65] = "";
    const pid_t child = fork();
    if (child == 0) _exit(0);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    cr_assert_eq(gethostname(host, 64), 0);
    close(hold(child, host, beat_of_7, &holder));
    cr_expect_eq(lock_file_watch(path, &holder, 0.3), LOCK_ENDED);
    close(hold(getppid(), host, beat_of_7, &holder));
    cr_expect_eq(lock_file_watch(path, &holder, 60), LOCK_ALIVE);
}

Test(lock, of_holders_without_a_counter_nothing_is_known)
{
    struct lock_holder holder;
    close(hold(1, "another-host", "", &holder)); /* as earlier programs write it */
    cr_expect_eq(lock_file_watch(path, &holder, 60), LOCK_ALIVE);
    test_write(path, folder, "lock", "");
    cr_expect_eq(lock_file_watch(path, &(struct lock_holder) { .beat = -1 }, 60), LOCK_ALIVE);
}

/* The clocks of hosts differ, and are moved. */
Test(lock, no_time_in_or_of_the_file_matters)
{
    static const struct {
        const char *text;
        time_t seconds;
    } times[] = { { "1970-01-01 00:00", 0 }, { "2999-12-31 23:59", 32503679940 } };
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        const struct timespec stamps[2] = { { times[i].seconds, 0 }, { times[i].seconds, 0 } };
        char text[256];
        struct lock_file lock;
        struct lock_holder holder;
        snprintf(text, sizeof text, "process 1 on another-host, since %s\n%s", times[i].text,
                 beat_of_7);
        test_write(path, folder, "lock", text);
        const int descriptor = open(path, O_RDWR | O_CLOEXEC);
        cr_assert_eq(futimens(descriptor, stamps), 0);
        cr_assert_eq(lock_try(descriptor), LOCK_TAKEN);
        cr_expect_eq(take(&lock, &holder), LOCK_OF_OTHERS, "a lock that is held");
        cr_expect_eq(lock_file_watch(path, &holder, 0.3), LOCK_SILENT);
        close(descriptor);
        cr_expect_eq(take(&lock, &holder), LOCK_TAKEN, "one that nobody holds");
        lock_file_release(&lock);
    }
}

static void *raise_counter(void *context)
{
    const int descriptor = *(const int *)context;
    const char last = '8';
    usleep(50000);
    struct stat status;
    fstat(descriptor, &status);
    pwrite(descriptor, &last, 1, status.st_size - 2);
    return NULL;
}

Test(lock, a_holder_on_another_host_lives_while_its_counter_moves)
{
    struct lock_holder holder;
    pthread_t thread;
    int descriptor = hold(1, "another-host", beat_of_7, &holder);
    cr_assert_eq(pthread_create(&thread, NULL, raise_counter, &descriptor), 0);
    cr_expect_eq(lock_file_watch(path, &holder, 60), LOCK_ALIVE);
    pthread_join(thread, NULL);
    close(descriptor);
}
