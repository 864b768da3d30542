/* What is known of the Slurm job, and requests to stop. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>

#include "micromet/base/slurm.h"
#include "micromet/base/stop.h"

static void set(const char *id, const char *array, const char *task)
{
    unsetenv("SLURM_JOB_ID");
    unsetenv("SLURM_ARRAY_JOB_ID");
    unsetenv("SLURM_ARRAY_TASK_ID");
    if (id) setenv("SLURM_JOB_ID", id, 1);
    if (array) setenv("SLURM_ARRAY_JOB_ID", array, 1);
    if (task) setenv("SLURM_ARRAY_TASK_ID", task, 1);
}

/* The last task of an array has the array's own number as SLURM_JOB_ID. */
Test(slurm, a_task_of_an_array_is_named_by_array_and_task)
{
    char job[SLURM_JOB_BYTES];
    set("10", "10", "3");
    cr_assert(slurm_job(job));
    cr_expect_str_eq(job, "10_3");
    set("4711", NULL, NULL);
    cr_assert(slurm_job(job));
    cr_expect_str_eq(job, "4711");
    set("4294967294", "4294967294", "4294967294"); /* the largest that Slurm has */
    cr_assert(slurm_job(job));
    cr_expect_str_eq(job, "4294967294_4294967294");
}

Test(slurm, what_is_no_number_is_no_job)
{
    const char *const wrong[] = { "", "-1", "1 2", "1_2", "12345678901", "0x10" };
    char job[SLURM_JOB_BYTES];
    set(NULL, NULL, NULL);
    cr_expect_not(slurm_job(job));
    cr_expect_str_eq(job, "");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        set(wrong[i], NULL, NULL);
        cr_expect_not(slurm_job(job), "'%s'", wrong[i]);
        setenv("SLURM_RESTART_COUNT", wrong[i], 1);
        cr_expect_eq(slurm_restarts(), 0, "'%s'", wrong[i]);
    }
    setenv("SLURM_RESTART_COUNT", "2", 1);
    cr_expect_eq(slurm_restarts(), 2);
}

Test(slurm, programs_are_run_without_a_shell_and_their_failure_is_told)
{
    struct error err = { 0 };
    char *fine[] = { "test", "a; exit 1", "=", "a; exit 1", NULL };
    char *failing[] = { "test", "a", "=", "b", NULL };
    char *killed[] = { "sh", "-c", "kill -TERM $$", NULL };
    char *missing[] = { "no-such-program", NULL };
    cr_expect(slurm_run(fine, -1, &err), "%s", err.message);
    cr_expect_not(slurm_run(failing, -1, &err));
    cr_expect_str_eq(err.message, "test: failed with exit status 1");
    error_clear(&err);
    cr_expect_not(slurm_run(killed, -1, &err));
    cr_expect_str_eq(err.message, "sh: was ended by Terminated");
    error_clear(&err);
    cr_expect_not(slurm_run(missing, -1, &err));
    cr_expect_str_eq(err.message, "no-such-program: cannot be run: No such file or directory");
}

Test(stop, the_first_signal_counts)
{
    struct error err = { 0 };
    stop_catch();
    cr_assert(stop_check(&err));
    raise(SIGUSR1);
    raise(SIGTERM);
    raise(SIGINT);
    cr_expect_eq(stop_signal(), SIGUSR1);
    cr_expect_not(stop_check(&err));
    cr_expect_eq(err.code, EXIT_CODE_INTERRUPTED);
    cr_expect_str_eq(err.message, "stopped by User defined signal 1");
    stop_catch(); /* again, which forgets nothing */
    cr_expect_eq(stop_signal(), SIGUSR1);
}
