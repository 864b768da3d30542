/* Ranks that add up through NCCL on the simulated device, a process each (exchange_rank.c), in many
 * orders; and how they end when something fails. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "micromet/base/thread.h"

enum { RANKS_MAX = 4, OUTPUT_BYTES = 1 << 16 };

struct ranks {
    int count;
    const char *exchange;      /* ordered or fast */
    const char *odd;           /* what rank 1 does unlike the others; NULL = nothing */
    const char *name, *value;  /* of one more variable of the environment; NULL = none */
    char output[OUTPUT_BYTES]; /* of all of them */
    int codes[RANKS_MAX];      /* exit codes; -signal */
    double seconds;
};

static void set_number(const char *name, int number)
{
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    setenv(name, text, 1);
}

/* In the child. */
static void become_rank(const struct ranks *r, int rank, int port, int seed, int output)
{
    set_number("RANK", rank);
    set_number("LOCAL_RANK", rank);
    set_number("WORLD_SIZE", r->count);
    set_number("LOCAL_WORLD_SIZE", r->count);
    set_number("MASTER_PORT", port);
    set_number("MICROMET_SIMULATED_SEED", seed + rank);
    setenv("MASTER_ADDR", "127.0.0.1", 1);
    setenv("MICROMET_SIMULATED_NCCL_PATIENCE_S", "20", 0);
    if (r->name) setenv(r->name, r->value, 1);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execl(EXCHANGE_RANK, "exchange_rank", r->exchange, r->odd, (char *)NULL);
    _exit(127);
}

static void read_output(struct ranks *r, int from)
{
    size_t length = 0;
    ssize_t got;
    while ((got = read(from, r->output + length, sizeof r->output - 1 - length)) > 0)
        length += (size_t)got;
    r->output[length] = '\0';
    close(from);
}

static void start(struct ranks *r, int seed)
{
    const int port = 20000 + (int)((unsigned)getpid() * 7919U + (unsigned)seed * 31U) % 12000;
    pid_t children[RANKS_MAX];
    int ends[2];
    const double start_s = clock_seconds();
    cr_assert_eq(pipe(ends), 0);
    for (int rank = 0; rank < r->count; rank++) {
        children[rank] = fork();
        cr_assert_geq(children[rank], 0);
        if (children[rank] == 0) become_rank(r, rank, port, seed, ends[1]);
    }
    close(ends[1]);
    read_output(r, ends[0]);
    for (int rank = 0; rank < r->count; rank++) {
        int status;
        cr_assert_eq(waitpid(children[rank], &status, 0), children[rank]);
        r->codes[rank] = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    r->seconds = clock_seconds() - start_s;
}

static void expect_success(struct ranks *r, const char *says)
{
    for (int rank = 0; rank < r->count; rank++)
        cr_assert_eq(r->codes[rank], 0, "%d ranks, rank %d: %d\n%s", r->count, rank, r->codes[rank],
                     r->output);
    cr_assert(strstr(r->output, says), "%s", r->output);
}

/* All end in time, with one message. */
static void expect_failure(const struct ranks *r, const char *says, double seconds_max)
{
    const char *first = strstr(r->output, "micromet: ");
    for (int rank = 0; rank < r->count; rank++)
        cr_assert_neq(r->codes[rank], 0, "rank %d goes on\n%s", rank, r->output);
    cr_assert(first && strstr(first, says), "not '%s':\n%s", says, r->output);
    cr_expect(!strstr(first + 1, "micromet: "), "more than one message:\n%s", r->output);
    cr_expect_lt(r->seconds, seconds_max, "%.1f s", r->seconds);
}

Test(cuda_ranks, add_up_in_the_order_of_the_shards)
{
    for (int count = 2; count <= RANKS_MAX; count++) {
        struct ranks r = { .count = count, .exchange = "ordered" };
        start(&r, count);
        expect_success(&r, ", ordered exchange by NCCL 2.");
    }
}

Test(cuda_ranks, add_up_as_nccl_likes_if_they_are_asked_to)
{
    struct ranks r = { .count = 3, .exchange = "fast" };
    start(&r, 1);
    expect_success(&r, ", fast exchange by NCCL 2.");
}

Test(cuda_ranks, end_when_nccl_reports_an_error)
{
    struct ranks r = {
        .count = 2, .exchange = "ordered", .name = "MICROMET_SIMULATED_NCCL_ERROR", .value = "1:9"
    };
    start(&r, 2);
    expect_failure(&r, "exchange between the GPUs: remote process exited or there was a network",
                   15);
    cr_assert(strstr(r.output, "micromet: rank 1 on "), "%s", r.output);
}

/* NCCL says nothing, and does not even give up. */
Test(cuda_ranks, end_when_the_exchange_stands_still)
{
    struct ranks r = {
        .count = 2, .exchange = "ordered", .name = "MICROMET_SIMULATED_NCCL_STALL", .value = "0:9"
    };
    setenv("MICROMET_SIMULATED_NCCL_ABORT_HANGS", "1", 1);
    setenv("MICROMET_EXCHANGE_S", "2", 1);
    start(&r, 3);
    expect_failure(&r, "the exchange between the GPUs has stood still for 2 s, though all", 20);
}

Test(cuda_ranks, end_when_one_is_killed_in_the_exchange)
{
    struct ranks r = { .count = 3, .exchange = "ordered", .odd = "killed" };
    start(&r, 4);
    expect_failure(&r, "ended without a word (killed?)", 20);
    cr_assert(strstr(r.output, "micromet: rank 1 on "), "%s", r.output);
}

Test(cuda_ranks, all_say_what_one_of_them_lacks)
{
    struct ranks r = {
        .count = 2, .exchange = "ordered", .name = "MICROMET_NCCL_LIBRARY", .value = "libnone.so"
    };
    start(&r, 5);
    expect_failure(&r,
                   "several GPUs need NCCL: libnone.so: cannot open shared object file: No such "
                   "file or directory; correct or unset MICROMET_NCCL_LIBRARY",
                   15);
}

/* --- what the simulation finds --- */

Test(cuda_ranks, are_found_out_if_one_does_not_record)
{
    struct ranks r = { .count = 2, .exchange = "ordered", .odd = "plain" };
    start(&r, 6);
    expect_failure(&r, "ended without a word", 15);
    cr_assert(strstr(r.output, "NCCL: ranks do not do the same: rank "), "%s", r.output);
    cr_assert(strstr(r.output, "(captured)") && strstr(r.output, "(plain)"), "%s", r.output);
}

Test(cuda_ranks, are_found_out_if_one_stays_away)
{
    struct ranks r = { .count = 2,
                       .exchange = "ordered",
                       .odd = "late",
                       .name = "MICROMET_SIMULATED_NCCL_PATIENCE_S",
                       .value = "2" };
    start(&r, 7);
    expect_failure(&r, "ended without a word", 15);
    cr_assert(strstr(r.output, "NCCL: nothing has moved for 2 s: rank 0: group 1"), "%s", r.output);
    cr_assert(strstr(r.output, "; rank 1: group 16 (captured) of "), "%s", r.output);
}
