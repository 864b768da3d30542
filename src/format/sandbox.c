/* See sandbox.h. The idea: give up everything step by step in the child, and tell the parent by the
 * exit status alone that the work came to its end. */
#include "sandbox.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    DONE = 42,
    MEMORY_BYTES = 256 << 20, /* beside what this process has, and: */
    MEMORY_PER_BYTE = 16,
    CPU_SECONDS = 10, /* and: */
    BYTES_PER_CPU_SECOND = 4 << 20,
};

void *sandbox_share(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* What malloc() and the end of a process need. */
static const int allowed_calls[] = {
    SYS_brk,     SYS_mmap,         SYS_munmap, SYS_mremap, SYS_mprotect,
    SYS_madvise, SYS_rt_sigreturn, SYS_futex,  SYS_exit,   SYS_exit_group,
};
enum { ALLOWED_CALLS = sizeof allowed_calls / sizeof *allowed_calls };

#if defined(__x86_64__)
#define NATIVE_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define NATIVE_ARCHITECTURE 0 /* no filter: the child is a child nonetheless */
#endif

static struct sock_filter load(size_t offset)
{
    return (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset);
}

static struct sock_filter unless_equal_skip(uint32_t value, uint8_t skipped)
{
    return (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skipped);
}

static struct sock_filter answer(uint32_t action)
{
    return (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
}

/* Kernels without filters refuse; then the child runs without one. */
static void filter_system_calls(void)
{
    struct sock_filter program[2 * ALLOWED_CALLS + 5];
    unsigned short length = 0;
    program[length++] = load(offsetof(struct seccomp_data, arch));
    program[length++] = unless_equal_skip(NATIVE_ARCHITECTURE, 2 * ALLOWED_CALLS + 1);
    program[length++] = load(offsetof(struct seccomp_data, nr));
    for (int i = 0; i < ALLOWED_CALLS; i++) {
        program[length++] = unless_equal_skip((uint32_t)allowed_calls[i], 1);
        program[length++] = answer(SECCOMP_RET_ALLOW);
    }
    program[length++] = answer(SECCOMP_RET_ERRNO | EPERM);
    const struct sock_fprog filter = { .len = length, .filter = program };
    if (NATIVE_ARCHITECTURE && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

/* Bytes of writable memory that this process has. */
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
    if (limit.rlim_max > value) limit.rlim_max = value + 1; /* SIGXCPU comes before SIGKILL */
    limit.rlim_cur = limit.rlim_max < value ? limit.rlim_max : value;
    setrlimit(resource, &limit);
}

/* AddressSanitizer's own work would be taken for the file's: there the child is only a child. */
extern void __asan_init(void) __attribute__((weak));

static void confine(size_t file_bytes)
{
    lower_limit(RLIMIT_CORE, 0);
    lower_limit(RLIMIT_CPU, CPU_SECONDS + file_bytes / BYTES_PER_CPU_SECOND);
    if (__asan_init) return;
    const size_t now = data_bytes();
    if (now) lower_limit(RLIMIT_DATA, now + MEMORY_BYTES + MEMORY_PER_BYTE * file_bytes);
    close_range(STDERR_FILENO + 1, ~0u, 0); /* the locks on files stay with the parent */
    filter_system_calls();
}

static void become_child(pid_t parent, size_t file_bytes, void (*prepare)(void))
{
    static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGXCPU };
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(EXIT_FAILURE);
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes && !__asan_init; i++)
        signal(crashes[i], SIG_DFL);
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
