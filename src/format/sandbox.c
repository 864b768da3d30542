/* See sandbox.h. The child gives up its rights step by step, and reports by its exit status alone
 * that the work was completed. */
#include "sandbox.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "micromet/base/size.h"

enum {
    DONE = 42,
    MEMORY_BYTES = 256 << 20, /* beyond what the process already has, plus: */
    MEMORY_PER_BYTE = 16,
    CPU_SECONDS = 10, /* plus: */
    BYTES_PER_CPU_SECOND = 4 << 20,
};

void *sandbox_share(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* What malloc() and process exit need; mmap2 is the mmap of 32-bit processors. */
static const int allowed_calls[] = {
    SCMP_SYS(brk),      SCMP_SYS(mmap),    SCMP_SYS(mmap2),        SCMP_SYS(munmap),
    SCMP_SYS(mremap),   SCMP_SYS(madvise), SCMP_SYS(rt_sigreturn), SCMP_SYS(futex),
    SCMP_SYS(mprotect), SCMP_SYS(exit),    SCMP_SYS(exit_group),
};

/* All other system calls, and calls from another architecture, fail with EPERM. On kernels without
 * seccomp the child runs unfiltered. */
static void filter_system_calls(void)
{
    const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!filter) return;
    bool complete = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM)) == 0;
    for (size_t i = 0; i < COUNT_OF(allowed_calls) && complete; i++)
        complete = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed_calls[i], 0) == 0;
    if (complete) seccomp_load(filter);
    seccomp_release(filter);
}

/* Bytes of writable memory that the process has (data and stack). */
static size_t data_bytes(void)
{
    unsigned long pages = 0;
    FILE *stream = fopen("/proc/self/statm", "re");
    if (!stream) return 0;
    const bool read = fscanf(stream, "%*u %*u %*u %*u %*u %lu", &pages) == 1;
    fclose(stream);
    return read ? pages * (size_t)sysconf(_SC_PAGESIZE) : 0;
}

static void lower_limit(__rlimit_resource_t resource, rlim_t value)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0) return;
    if (limit.rlim_max > value) limit.rlim_max = value + 1; /* so SIGXCPU precedes SIGKILL */
    limit.rlim_cur = limit.rlim_max < value ? limit.rlim_max : value;
    setrlimit(resource, &limit);
}

/* AddressSanitizer's own memory use and system calls would exceed the limits: skip them there. */
extern void __asan_init(void) __attribute__((weak)); /* NOLINT(bugprone-reserved-identifier) */

static void confine(size_t file_bytes)
{
    lower_limit(RLIMIT_CORE, 0);
    lower_limit(RLIMIT_CPU, CPU_SECONDS + file_bytes / BYTES_PER_CPU_SECOND);
    if (__asan_init) return;
    const size_t now = data_bytes();
    if (now) lower_limit(RLIMIT_DATA, now + MEMORY_BYTES + MEMORY_PER_BYTE * file_bytes);
    close_range(STDERR_FILENO + 1, ~0u, 0); /* file locks stay with the parent */
    filter_system_calls();
}

static void become_child(pid_t parent, size_t file_bytes, void (*prepare)(void))
{
    static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGXCPU };
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(EXIT_FAILURE);
    for (size_t i = 0; i < COUNT_OF(crashes) && !__asan_init; i++) signal(crashes[i], SIG_DFL);
    prepare();
    confine(file_bytes);
}

bool sandbox_run(const char *path, size_t file_bytes, void (*prepare)(void),
                 void (*work)(void *context), void *context, struct error *err)
{
    const pid_t parent = getpid(), child = fork();
    if (child < 0)
        return error_set(err, EXIT_CODE_FAILED, "%s: cannot start a process to read it: %s", path,
                         strerror(errno));
    if (child == 0) {
        become_child(parent, file_bytes, prepare);
        work(context);
        _exit(DONE);
    }
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return error_set(err, EXIT_CODE_FAILED, "%s: lost the process that reads it: %s", path,
                             strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == DONE) return true;
    const int reason = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return error_set(err, EXIT_CODE_FAILED,
                     "%s: is damaged or forged: the process that reads it ended early (%s); fetch "
                     "the file again",
                     path, reason ? strsignal(reason) : "it gave up");
}
