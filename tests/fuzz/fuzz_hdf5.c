/* Keras' HDF5 files. The reader runs in a child process, which is replaced when it dies. libhdf5
 * may crash on forged files; that is no finding, since the program runs it in a child as well
 * (src/format/sandbox.h). A crash in our own code is a finding: libhdf5 is then not on the stack
 * (except for the few lines of ours that libhdf5 calls back, which the ordinary tests cover). */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <hdf5.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "format/keras_hdf5.h"
#include "format/sandbox.h"
#include "fuzz.h"
#include "micromet/base/size.h"

enum { MICROSECONDS_MAX = 500000, INPUTS_PER_CHILD = 200, INPUT_BYTES_MAX = 1 << 20 };

/* In memory that both processes see. */
struct exchange {
    bool of_library; /* the child ended in libhdf5, or in something that it called */
    uint8_t counters[FUZZ_COUNTERS_MAX];
    size_t size;
    uint8_t input[INPUT_BYTES_MAX];
};
static struct exchange *exchange;

static struct {
    pid_t process;       /* 0 = none */
    int orders, answers; /* pipes; a byte on them says that there is an input, or that it is done */
    int inputs;
} child;

/* libFuzzer looks at the counters of its own process: the child's are handed over, also
 * when it dies. */
static void hand_over(void)
{
    fuzz_counters_copy(exchange->counters, true);
}

static void take_over(void)
{
    fuzz_counters_copy(exchange->counters, false);
}

/* libhdf5 allocates whatever size a forged file names; here, as in the program's child process, it
 * is refused. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1:max_allocation_size_mb=1024";
}

/* AddressSanitizer calls this before it reports. */
void __asan_on_error(void);
void __asan_on_error(void)
{
    void *frames[128];
    const int count = backtrace(frames, 128);
    for (int i = 0; i < count; i++) {
        Dl_info facts;
        if (dladdr(frames[i], &facts) && facts.dli_fname && strstr(facts.dli_fname, "/libhdf5"))
            exchange->of_library = true;
    }
    hand_over();
    if (exchange->of_library) _exit(1); /* without a report, which takes long */
}

static void read_here(const uint8_t *bytes, size_t size)
{
    const struct hdf5_image image = { "input", bytes, size };
    const size_t value_bytes = (size_t)survey_values_max(&image) * sizeof(float) + 1;
    struct survey *survey = sandbox_share(sizeof *survey);
    float *values = sandbox_share(value_bytes);
    struct weights weights = { 0 };
    struct error err = { 0 };
    if (!survey || !values) abort();
    hdf5_survey(&image, survey, values);
    const bool done = !survey->err.message[0] &&
                      keras_name_arrays(&weights, &image, survey, values, NULL, &err);
    if (done)
        fuzz_use(&weights);
    else
        weights_release(&weights);
    munmap(survey, sizeof *survey);
    munmap(values, value_bytes);
    if (H5Fget_obj_count(H5F_OBJ_ALL, H5F_OBJ_ALL) > 0) abort(); /* something was left open */
}

/* libFuzzer's own callback would report each death of a child as a finding. */
extern void __asan_init(void) __attribute__((weak));
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void die_quietly(void)
{
}

/* For timeouts (libhdf5 can loop for ever) and signals that no sanitizer handles. */
static void end_here(int number)
{
    (void)number;
    __asan_on_error();
    _exit(1);
}

static void serve(int orders, int answers)
{
    static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE, SIGABRT };
    char byte;
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(die_quietly);
    signal(SIGVTALRM, end_here);
    signal(SIGABRT, SIG_DFL);
    for (size_t i = 0; i < COUNT_OF(crashes) && !__asan_init; i++) signal(crashes[i], end_here);
    while (TEMP_FAILURE_RETRY(read(orders, &byte, 1)) == 1) {
        const size_t size = exchange->size;
        uint8_t *exact = malloc(size + !size); /* so that a read beyond the end is detected */
        if (!exact) abort();
        memcpy(exact, exchange->input, size);
        take_over();
        setitimer(ITIMER_VIRTUAL, &(struct itimerval) { .it_value.tv_usec = MICROSECONDS_MAX },
                  NULL);
        read_here(exact, size);
        hand_over();
        free(exact);
        if (TEMP_FAILURE_RETRY(write(answers, &byte, 1)) != 1) break;
    }
    _exit(0);
}

static void start_child(void)
{
    int orders[2], answers[2];
    if (pipe(orders) != 0 || pipe(answers) != 0 || (child.process = fork()) < 0) abort();
    if (child.process == 0) {
        close(orders[1]);
        close(answers[0]);
        serve(orders[0], answers[1]);
    }
    close(orders[0]);
    close(answers[1]);
    child.orders = orders[1];
    child.answers = answers[0];
    child.inputs = 0;
}

/* What waitpid() says of it. */
static int end_child(void)
{
    int status;
    close(child.orders);
    close(child.answers);
    if (TEMP_FAILURE_RETRY(waitpid(child.process, &status, 0)) != child.process) abort();
    child.process = 0;
    return status;
}

/* Did the child come through, or die in the library? */
static bool child_reads(const uint8_t *bytes, size_t size)
{
    char byte = 0;
    if (!child.process) start_child();
    exchange->of_library = false;
    exchange->size = size;
    memcpy(exchange->input, bytes, size);
    hand_over();
    const bool done = TEMP_FAILURE_RETRY(write(child.orders, &byte, 1)) == 1 &&
                      TEMP_FAILURE_RETRY(read(child.answers, &byte, 1)) == 1;
    take_over();
    if (done && ++child.inputs < INPUTS_PER_CHILD) return true;
    const int status = end_child();
    if (!done) fprintf(stderr, "%s: %d\n", exchange->of_library ? "libhdf5" : "readers", status);
    return done || exchange->of_library;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size > INPUT_BYTES_MAX) return 0;
    if (!exchange) {
        exchange = sandbox_share(sizeof *exchange);
        void *warm[1];
        if (!exchange || backtrace(warm, 1) < 0) abort(); /* loads what it needs before any crash */
        signal(SIGPIPE, SIG_IGN);
        hdf5_prepare();
    }
    /* A child may have been hurt by an earlier input: only what a new one dies of as well
     * is a finding. */
    if (!child_reads(bytes, size) && !child_reads(bytes, size)) abort();
    return 0;
}
