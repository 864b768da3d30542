/* Runs Criterion's tests under qemu's emulation of a process, where Criterion itself cannot,
 * because it traces the process that it starts for each test. Here a test runs in a forked child.
 *
 * A program linked with this file uses it in place of Criterion's own functions. The only option of
 * its command line is --filter PATTERN, which matches suite/test. */
#include <criterion/criterion.h>
#include <criterion/event.h>
#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PASSED, FAILED, SKIPPED };

/* The sections in which the test macros list tests and suites. */
extern struct criterion_test *const __start_cr_tst[] __attribute__((weak));
extern struct criterion_test *const __stop_cr_tst[] __attribute__((weak));
extern struct criterion_suite *const __start_cr_sts[] __attribute__((weak));
extern struct criterion_suite *const __stop_cr_sts[] __attribute__((weak));

/* State of the child. */
static const struct criterion_test *test;
static int status;
static jmp_buf test_end;

static const struct criterion_test_extra_data *suite_data(void)
{
    for (struct criterion_suite *const *s = __start_cr_sts; s < __stop_cr_sts; s++)
        if (*s && strcmp((*s)->name, test->category) == 0) return (*s)->data;
    return NULL;
}

void criterion_internal_test_setup(void)
{
    const struct criterion_test_extra_data *suite = suite_data();
    if (suite && suite->init) suite->init();
    if (test->data->init) test->data->init();
}

void criterion_internal_test_main(void (*run)(void))
{
    if (setjmp(test_end) == 0) run();
}

void criterion_internal_test_teardown(void)
{
    const struct criterion_test_extra_data *suite = suite_data();
    if (test->data->fini) test->data->fini();
    if (suite && suite->fini) suite->fini();
}

void criterion_send_assert(struct criterion_assert_stats *stats)
{
    if (stats->passed) return;
    printf("%s:%u: %s\n", stats->file, stats->line, stats->message);
    status = FAILED;
}

void criterion_continue_test(void)
{
}

void criterion_abort_test(void)
{
    longjmp(test_end, 1);
}

void criterion_skip_test(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    status = SKIPPED;
    longjmp(test_end, 1);
}

static int run(const struct criterion_test *next)
{
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        test = next;
        test->test();
        fflush(stdout);
        _exit(status);
    }
    int ended = 0;
    if (child < 0 || waitpid(child, &ended, 0) != child) return FAILED;
    if (WIFEXITED(ended)) return WEXITSTATUS(ended);
    printf("ended by signal %d\n", WTERMSIG(ended));
    return FAILED;
}

int __attribute__((weak)) main(int argc, char **argv)
{
    const char *pattern = "*";
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--filter") == 0) pattern = argv[i + 1];
    static const char *const words[] = { "passed", "failed", "skipped" };
    int counts[3] = { 0 };
    for (struct criterion_test *const *t = __start_cr_tst; t < __stop_cr_tst; t++) {
        char name[256];
        if (!*t) continue;
        snprintf(name, sizeof name, "%s/%s", (*t)->category, (*t)->name);
        if (fnmatch(pattern, name, FNM_EXTMATCH) != 0) continue;
        const int result = run(*t);
        printf("%s: %s\n", name, words[result <= SKIPPED ? result : FAILED]);
        counts[result <= SKIPPED ? result : FAILED]++;
    }
    printf("%d passed, %d failed, %d skipped\n", counts[PASSED], counts[FAILED], counts[SKIPPED]);
    return counts[FAILED] > 0;
}
