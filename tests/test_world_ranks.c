/* Worlds of several processes on this host, started as torchrun starts them: they work, and each
 * way in which a rank can be lost ends all of them in time, with one line, and with the right exit
 * codes. All worlds of a table run at once, as they mostly wait. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "micromet/base/thread.h"
#include "support.h"

enum { RANKS_MAX = 4 };

/* Processes, and what all of them have said. */
struct group {
    char path[PATH_MAX_BYTES];
    int size, port;
    pid_t processes[RANKS_MAX];
    int codes[RANKS_MAX]; /* exit codes; 128 + signal */
    double seconds;       /* until the last one had ended */
    double start_s;
    char *output;
};

static char folder[PATH_MAX_BYTES];

/* A port that is free now. */
static int find_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t bytes = sizeof address;
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, bytes), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &bytes), 0);
    close(listener);
    return ntohs(address.sin_port);
}

static void set_number(const char *name, int number)
{
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    setenv(name, text, 1);
}

static void group_init(struct group *group, const char *name, int size)
{
    *group = (struct group) { .size = size, .port = find_port(), .start_s = clock_seconds() };
    test_path(group->path, folder, name);
    close(creat(group->path, 0666));
}

/* "kill 2" */
static void start_rank(struct group *group, int rank, const char *work)
{
    char words[64], *rest = words;
    posix_spawn_file_actions_t actions;
    snprintf(words, sizeof words, "%s", work);
    char *arguments[] = { WORLD_RANK, strsep(&rest, " "), rest, NULL };
    set_number("RANK", rank);
    set_number("WORLD_SIZE", group->size);
    set_number("MASTER_PORT", group->port);
    setenv("MASTER_ADDR", "127.0.0.1", 1);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, group->path, O_WRONLY | O_APPEND, 0);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    cr_assert_eq(
        posix_spawn(&group->processes[rank], WORLD_RANK, &actions, NULL, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
}

static void start(struct group *group, const char *name, int size, const char *work)
{
    group_init(group, name, size);
    for (int rank = 0; rank < size; rank++) start_rank(group, rank, work);
}

static void end_rank(struct group *group, int rank)
{
    int status;
    cr_assert_eq(waitpid(group->processes[rank], &status, 0), group->processes[rank]);
    group->codes[rank] = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    group->processes[rank] = 0;
}

/* Wait for all ranks, but for one that has been stopped (-1 = none), which is then killed. */
static void finish(struct group *group, int stopped)
{
    for (int rank = 0; rank < group->size; rank++)
        if (rank != stopped && group->processes[rank]) end_rank(group, rank);
    group->seconds = clock_seconds() - group->start_s;
    if (stopped >= 0) {
        kill(group->processes[stopped], SIGKILL);
        end_rank(group, stopped);
    }
    group->output = test_read(group->path);
}

static int count_of(const char *text, const char *word)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, word)); at++) count++;
    return count;
}

static void begin(void)
{
    static const char *const others[] = { "SLURM_STEP_ID",
                                          "OMPI_COMM_WORLD_RANK",
                                          "PMI_RANK",
                                          "TORCHELASTIC_USE_AGENT_STORE",
                                          "TORCHELASTIC_RUN_ID",
                                          "TORCHELASTIC_RESTART_COUNT" };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) unsetenv(others[i]);
    test_folder_make(folder);
    setenv("MICROMET_WORLD_SILENCE_S", "3", 1);
    setenv("SLURMD_NODENAME", "node7", 1);
    setenv("OMP_NUM_THREADS", "1", 1);
}

static void end(void)
{
    test_folder_remove(folder);
}

TestSuite(world_ranks, .init = begin, .fini = end);

/* --- ranks that live -------------------------------------------------------------------------- */

Test(world_ranks, gather_broadcast_and_exchange)
{
    static const char *const said[] = {
        [1] = "1 rank on 1 host, started by torchrun\n",
        [2] = "2 ranks on 1 host, started by torchrun, exchange by TCP\n",
        [4] = "4 ranks on 1 host, started by torchrun, exchange by TCP\n",
    };
    struct group groups[RANKS_MAX + 1];
    for (int size = 1; size <= RANKS_MAX; size *= 2) start(&groups[size], said[size], size, "work");
    for (int size = 1; size <= RANKS_MAX; size *= 2) {
        finish(&groups[size], -1);
        cr_expect_str_eq(groups[size].output, said[size]);
        for (int rank = 0; rank < size; rank++) cr_expect_eq(groups[size].codes[rank], 0);
        free(groups[size].output);
    }
}

/* What all ranks say of the one that differs. */
Test(world_ranks, differences_and_errors_are_the_same_on_all)
{
    static const char xs[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"; /* 40 */
    char line[1200];
    struct group agree, all_ok;
    start(&agree, "agree", 4, "agree 2");
    start(&all_ok, "all_ok", 4, "all_ok 1");
    finish(&agree, -1);
    finish(&all_ok, -1);
    snprintf(line, sizeof line,
             "rank 2 on node7 has another configuration: ...%slevels: [3, 4]; rank 0 on node7: "
             "...%s",
             xs, xs);
    cr_expect_eq(count_of(agree.output, line), 4, "%s", agree.output);
    cr_expect_eq(count_of(agree.output, "program version"), 0);
    cr_expect_eq(count_of(all_ok.output, "rank 1 on node7: slide 1 is bad\n"), 5);
    cr_expect_eq(count_of(all_ok.output, "micromet: rank 1 on node7: slide 1 is bad\n"), 1);
    for (int rank = 0; rank < 4; rank++) {
        cr_expect_eq(agree.codes[rank], 2);
        cr_expect_eq(all_ok.codes[rank], 3);
    }
    free(agree.output);
    free(all_ok.output);
}

/* --- ranks that are lost ---------------------------------------------------------------------- */

static const char killed[] = "ended without a word (killed?)",
                  stalled[] = "not heard of for 3 s: stalled, or its host is gone";

static const struct {
    const char *work;
    int victim, victims_code, code;
    const char *reason; /* behind "rank <victim> on node7: "; NULL = no line at all */
    double seconds_max; /* with 15 for a machine that is busy */
} losses[] = {
    { "kill 2", 2, 128 + SIGKILL, 1, killed, 15 },
    { "kill 0", 0, 128 + SIGKILL, 1, killed, 15 + 4 },
    { "exit 3", 3, 0, 1, killed, 15 },
    { "abort 1", 1, 128 + SIGABRT, 1, killed, 15 },
    { "stop 1", 1, 128 + SIGKILL, 1, stalled, 15 + 3 },
    { "stop 0", 0, 128 + SIGKILL, 1, stalled, 15 + 7 },
    { "fail 2", 2, 3, 3, "the disk is full", 15 },
    { "fail 0", 0, 3, 3, "the disk is full", 15 },
    { "slow 1", 1, 0, 0, NULL, 15 + 5 },
    { "slow 0", 0, 0, 0, NULL, 15 + 5 },
};

Test(world_ranks, one_that_is_lost_ends_all_with_one_line)
{
    enum { COUNT = sizeof losses / sizeof *losses, SIZE = 4 };
    struct group groups[COUNT];
    char line[200];
    for (int i = 0; i < COUNT; i++) start(&groups[i], losses[i].work, SIZE, losses[i].work);
    for (int i = 0; i < COUNT; i++) {
        const int victim = losses[i].victim;
        finish(&groups[i], losses[i].reason == stalled ? victim : -1);
        snprintf(line, sizeof line, "micromet: rank %d on node7: %s\n", victim, losses[i].reason);
        cr_expect_eq(count_of(groups[i].output, "micromet"), losses[i].reason != NULL, "%s: %s",
                     losses[i].work, groups[i].output);
        cr_expect(!losses[i].reason || strstr(groups[i].output, line), "%s: %s", losses[i].work,
                  groups[i].output);
        cr_expect_leq(groups[i].seconds, losses[i].seconds_max, "%s: %f s", losses[i].work,
                      groups[i].seconds);
        for (int rank = 0; rank < SIZE; rank++)
            cr_expect_eq(groups[i].codes[rank],
                         rank == victim ? losses[i].victims_code : losses[i].code,
                         "%s: rank %d: %d", losses[i].work, rank, groups[i].codes[rank]);
        free(groups[i].output);
    }
}

static void signal_all(const struct group *group, int number)
{
    for (int rank = 0; rank < group->size; rank++) kill(group->processes[rank], number);
}

/* As by ^Z and fg, or `scontrol suspend`, for longer than a rank may be silent. */
Test(world_ranks, a_job_that_is_stopped_goes_on)
{
    struct group group;
    start(&group, "group", 3, "slow 1");
    usleep(1000000);
    signal_all(&group, SIGSTOP);
    usleep(5000000);
    signal_all(&group, SIGCONT);
    finish(&group, -1);
    cr_expect_str_eq(group.output, "");
    for (int rank = 0; rank < 3; rank++) cr_expect_eq(group.codes[rank], 0);
    free(group.output);
}

/* The others have told why they ended. */
Test(world_ranks, a_hub_that_goes_on_when_all_have_ended_is_quiet)
{
    struct group group;
    start(&group, "group", 3, "stop 0");
    end_rank(&group, 1);
    end_rank(&group, 2);
    kill(group.processes[0], SIGCONT);
    finish(&group, -1);
    cr_expect_eq(count_of(group.output, "micromet"), 1, "%s", group.output);
    for (int rank = 0; rank < 3; rank++) cr_expect_eq(group.codes[rank], 1);
    free(group.output);
}

/* All but the lost one do what they have been asked to do at the end. */
Test(world_ranks, each_that_is_ended_may_say_farewell)
{
    struct group killed_one, failed_one;
    start(&killed_one, "killed", 3, "kill 1");
    start(&failed_one, "failed", 3, "fail 1");
    finish(&killed_one, -1);
    finish(&failed_one, -1);
    cr_expect_eq(count_of(killed_one.output, "farewell\n"), 2, "%s", killed_one.output);
    cr_expect_eq(count_of(failed_one.output, "farewell\n"), 3, "%s", failed_one.output);
    free(killed_one.output);
    free(failed_one.output);
}

Test(world_ranks, one_that_exchanges_something_else_is_found_out)
{
    struct group group;
    start(&group, "misfit", 3, "misfit 1");
    finish(&group, -1);
    cr_expect_str_eq(group.output, "micromet: rank 2 on node7: exchange with rank 1: it exchanges "
                                   "something else\n");
    for (int rank = 0; rank < 3; rank++) cr_expect_eq(group.codes[rank], 1);
    free(group.output);
}

Test(world_ranks, one_that_leaves_alone_is_found_out)
{
    struct group group;
    start(&group, "leave", 3, "leave 1");
    finish(&group, -1);
    cr_expect_str_eq(group.output,
                     "micromet: rank 0 on node7: the ranks do not do the same: rank 1 on node7 is "
                     "at world_close (message 3, 1 bytes), rank 0 at world_gather (message 3, 10 "
                     "bytes)\n");
    for (int rank = 0; rank < 3; rank++) cr_expect_eq(group.codes[rank], 1);
    free(group.output);
}

/* --- ranks that do not come, and strangers that do -------------------------------------------- */

Test(world_ranks, one_that_does_not_come_is_named_once)
{
    struct group without_one, without_hub;
    char line[200];
    setenv("MICROMET_WORLD_JOIN_S", "2", 1);
    group_init(&without_one, "without 1", 3);
    start_rank(&without_one, 0, "work");
    start_rank(&without_one, 2, "work");
    group_init(&without_hub, "without 0", 2);
    start_rank(&without_hub, 1, "work");
    finish(&without_one, -1);
    finish(&without_hub, -1);
    cr_expect_str_eq(without_one.output, "micromet: rank 1 of 3 did not come within 2 s\n");
    cr_expect_eq(without_one.codes[0], 1);
    cr_expect_eq(without_one.codes[2], 1);
    snprintf(line, sizeof line,
             "micromet: rank 1 cannot join rank 0 at 127.0.0.1, port %d: Connection refused "
             "(MASTER_ADDR and MASTER_PORT say where else it is)\n",
             without_hub.port);
    cr_expect_str_eq(without_hub.output, line);
    cr_expect_eq(without_hub.codes[1], 1);
    free(without_one.output);
    free(without_hub.output);
}

/* A connection with this port of this host, as soon as somebody listens there. */
static int connect_to(int port)
{
    const struct sockaddr_in address = { .sin_family = AF_INET,
                                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                         .sin_port = htons((uint16_t)port) };
    const int connection = socket(AF_INET, SOCK_STREAM, 0);
    while (connect(connection, (const struct sockaddr *)&address, sizeof address) != 0)
        usleep(10000);
    return connection;
}

Test(world_ranks, strangers_do_no_harm)
{
    struct group group, other_job, other_size;
    int strangers[300]; /* more than are let in at once */
    group_init(&group, "group", 2);
    start_rank(&group, 0, "work");
    for (int i = 0; i < 300; i++) {
        strangers[i] = connect_to(group.port);
        const char *said = i % 3 == 0 ? "GET / HTTP/1.1\r\nHost: node7\r\n\r\n"
                                      : (const char *)test_random_block();
        /* Nothing, half a hello, or more than one. */
        if (i % 4)
            send(strangers[i], said, i % 3 == 0 ? strlen(said) : (size_t)i * 3, MSG_NOSIGNAL);
    }
    setenv("TORCHELASTIC_RUN_ID", "other", 1);
    group_init(&other_job, "job", 2);
    other_job.port = group.port;
    start_rank(&other_job, 1, "work");
    unsetenv("TORCHELASTIC_RUN_ID");
    group_init(&other_size, "size", 3);
    other_size.port = group.port;
    start_rank(&other_size, 2, "work");
    finish(&other_job, -1);
    finish(&other_size, -1);
    start_rank(&group, 1, "work");
    finish(&group, -1);
    cr_expect_str_eq(group.output, "2 ranks on 1 host, started by torchrun, exchange by TCP\n");
    cr_expect_eq(group.codes[0] | group.codes[1], 0);
    cr_expect(strstr(other_job.output,
                     "it belongs to another job (torchrun; this one is torchrun other)\n"),
              "%s", other_job.output);
    cr_expect(strstr(other_size.output, "its world has 2 ranks, this one's has 3"), "%s",
              other_size.output);
    cr_expect_eq(other_job.codes[1], 1);
    cr_expect_eq(other_size.codes[2], 1);
    for (int i = 0; i < 300; i++) close(strangers[i]);
    free(group.output);
    free(other_job.output);
    free(other_size.output);
}

/* Two jobs of the same name with one port: the second hub cannot have it. */
Test(world_ranks, a_port_that_is_taken_is_named)
{
    struct group group;
    char line[100];
    group_init(&group, "taken", 2);
    const int other = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 address = { .sin6_family = AF_INET6,
                                    .sin6_port = htons((uint16_t)group.port) };
    cr_assert_eq(bind(other, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(other, 1), 0);
    start_rank(&group, 0, "work");
    finish(&group, -1);
    snprintf(line, sizeof line, "micromet: cannot listen on port %d: Address already in use\n",
             group.port);
    cr_expect_str_eq(group.output, line);
    close(other);
    free(group.output);
}
