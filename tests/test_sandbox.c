/* The child process that examines HDF5 files: it can do nothing but compute, and
 * whatever ends it is an error. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "format/sandbox.h"

extern void __asan_init(void) __attribute__((weak)); /* then the child is not confined */

struct result {
    bool prepared;
    int sum, open_error, write_error, socket_error, fork_error, signal_error, descriptor_error;
    bool large, small;
};

static struct result *result;
static bool is_prepared;

static void prepare(void)
{
    is_prepared = true;
}

static void begin(void)
{
    result = sandbox_share(sizeof *result);
    cr_assert(result);
}

static void expect_end(void (*work)(void *context), const char *reason)
{
    struct error err = { 0 };
    cr_assert(!sandbox_run("f.h5", 1000, prepare, work, result, &err));
    cr_expect(strstr(err.message, "f.h5: is damaged or forged"), "%s", err.message);
    cr_expect(strstr(err.message, reason), "expected '%s' in: %s", reason, err.message);
}

TestSuite(sandbox, .init = begin);

static void add(void *context)
{
    struct result *out = context;
    out->prepared = is_prepared;
    for (int i = 1; i <= 10; i++) out->sum += i;
}

Test(sandbox, results_come_back_through_shared_memory)
{
    struct error err = { 0 };
    cr_assert(sandbox_run("f.h5", 1000, prepare, add, result, &err), "%s", err.message);
    cr_assert_eq(result->sum, 55);
    cr_assert(result->prepared);
    cr_assert(!is_prepared, "only in the child");
}

static void crash(void *context)
{
    volatile int *volatile nowhere = NULL;
    ((struct result *)context)->sum = *nowhere;
}

static void give_up(void *context)
{
    (void)context;
    exit(EXIT_FAILURE);
}

Test(sandbox, crash_is_an_error)
{
    expect_end(crash, __asan_init ? "it gave up" : "Segmentation fault");
    expect_end(give_up, "it gave up");
}

static void reach_out(void *context)
{
    struct result *out = context;
    out->open_error = open("/etc/passwd", O_RDONLY) < 0 ? errno : 0;
    out->write_error = write(STDERR_FILENO, "", 0) < 0 ? errno : 0;
    out->socket_error = socket(AF_INET, SOCK_STREAM, 0) < 0 ? errno : 0;
    out->fork_error = fork() < 0 ? errno : 0;
    out->signal_error = kill(getppid(), 0) < 0 ? errno : 0;
}

Test(sandbox, nothing_but_computing_is_allowed)
{
    struct error err = { 0 };
    if (__asan_init) cr_skip_test("the child is not confined under AddressSanitizer");
    cr_assert(sandbox_run("f.h5", 1000, prepare, reach_out, result, &err), "%s", err.message);
    cr_expect_eq(result->open_error, EPERM);
    cr_expect_eq(result->write_error, EPERM);
    cr_expect_eq(result->socket_error, EPERM);
    cr_expect_eq(result->fork_error, EPERM);
    cr_expect_eq(result->signal_error, EPERM);
}

static void take_memory(void *context)
{
    struct result *out = context;
    out->small = malloc(64 << 20) != NULL;
    out->large = malloc((size_t)1 << 30) != NULL;
}

Test(sandbox, memory_is_bounded)
{
    struct error err = { 0 };
    if (__asan_init) cr_skip_test("the child is not confined under AddressSanitizer");
    cr_assert(sandbox_run("f.h5", 1000, prepare, take_memory, result, &err), "%s", err.message);
    cr_expect(result->small);
    cr_expect(!result->large);
}

static void run_in_circles(void *context)
{
    for (;;) ((volatile struct result *)context)->sum++;
}

Test(sandbox, endless_work_is_ended)
{
    setrlimit(RLIMIT_CPU, &(struct rlimit) { 1, 1 });
    expect_end(run_in_circles, "Killed");
}
