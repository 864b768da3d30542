/* A rank of a small world, for test_world_ranks.c: does what its arguments say, prints what it has
 * been told on stdout, and an error on stderr as the program does.
 *
 *   rank work | slow | agree RANK | all_ok RANK | misfit RANK | leave RANK | bench FLOATS
 *   rank kill | stop | exit | fail | abort RANK     that rank ends so, while the others wait for it
 *
 * Rank 0 touches the file $WORLD_RANK_OPEN, if there is one, once it has joined the others. */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "micromet/base/log.h"
#include "micromet/base/thread.h"
#include "micromet/world/world.h"

static struct world *world;

static void must(bool ok, const struct error *err)
{
    if (ok) return;
    struct error reason = *err;
    world_fail(world, &reason);
    log_error(reason.message);
    exit(reason.code);
}

/* A value that tells sender, receiver, part and place apart. */
static float value_of(int from, int to, int part, size_t i)
{
    return (float)((((size_t)from * 31 + (size_t)to) * 17 + (size_t)part) * 1009 % 65521 +
                   i % 4099);
}

enum { PARTS = 3 };
/* Of any size: none, some, and more than a connection holds. */
static const size_t counts[PARTS] = { 3, 0, 3000001 };

/* Each with each, in another order of ranks on each rank. */
static bool exchange_with_all(struct error *err)
{
    const int size = world_size(world), rank = world_rank(world), count = (size - 1) * PARTS;
    struct world_part *sends = calloc((size_t)count + 1, sizeof *sends),
                      *receives = calloc((size_t)count + 1, sizeof *receives);
    for (int i = 0; i < count; i++) {
        const int part = i / (size - 1), other = (rank + 1 + i % (size - 1)) % size;
        const size_t floats = counts[part] + (size_t)(part == 0 ? rank + other : 0);
        sends[i] = (struct world_part) { other, calloc(floats + 1, sizeof(float)), floats };
        receives[i] = (struct world_part) { other, calloc(floats + 1, sizeof(float)), floats };
        for (size_t k = 0; k < floats; k++) sends[i].memory[k] = value_of(rank, other, part, k);
    }
    bool ok = world_exchange(world, sends, count, receives, count, err);
    for (int i = 0; i < count; i++) {
        for (size_t k = 0; ok && k < receives[i].count; k++)
            if (receives[i].memory[k] != value_of(receives[i].rank, rank, i / (size - 1), k))
                ok = error_set(err, EXIT_CODE_FAILED, "part %d, float %zu is wrong", i, k);
        free(sends[i].memory);
        free(receives[i].memory);
    }
    free(sends);
    free(receives);
    return ok;
}

static void *exchange_beside(void *context)
{
    for (int i = 0; i < 3; i++)
        if (!exchange_with_all(context)) break;
    return NULL;
}

static bool gather(size_t bytes, struct error *err)
{
    const int size = world_size(world), rank = world_rank(world);
    unsigned char *mine = malloc(bytes), *all = malloc(bytes * (size_t)size);
    memset(mine, rank + 1, bytes);
    bool ok = world_gather(world, mine, bytes, all, err);
    for (size_t i = 0; ok && i < bytes * (size_t)size; i++)
        if (all[i] != i / bytes + 1) ok = error_set(err, EXIT_CODE_FAILED, "gathered wrongly");
    free(mine);
    free(all);
    return ok;
}

static bool broadcast(size_t bytes, struct error *err)
{
    unsigned char *memory = malloc(bytes);
    memset(memory, world_rank(world) + 7, bytes);
    bool ok = world_broadcast(world, memory, bytes, err);
    for (size_t i = 0; ok && i < bytes; i++)
        if (memory[i] != 7) ok = error_set(err, EXIT_CODE_FAILED, "broadcast wrongly");
    free(memory);
    return ok;
}

static void work(int rank)
{
    (void)rank;
    struct error err = { 0 }, beside = { 0 };
    pthread_t thread;
    pthread_create(&thread, NULL, exchange_beside, &beside);
    for (int i = 0; i < 20; i++) must(gather(1 + (size_t)i * 1000, &err), &err);
    must(gather(5000000, &err), &err);
    must(broadcast(1, &err) && broadcast(20000000, &err), &err);
    must(world_agree(world, "configuration", "train: {batch: 8}", &err), &err);
    must(world_all_ok(world, true, &err), &err);
    pthread_join(thread, NULL);
    must(beside.code == EXIT_CODE_OK, &beside);
}

/* Longer than the time without a sign of life that makes a rank dead. */
static void slow(int rank)
{
    struct error err = { 0 };
    if (world_rank(world) == rank) sleep(5);
    must(gather(10, &err), &err);
}

static void agree(int rank)
{
    char text[2000];
    struct error err = { 0 };
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    must(world_agree(world, "program version", text, &err), &err);
    if (world_rank(world) >= rank) strcpy(text + 1500, "levels: [3, 4]");
    world_agree(world, "configuration", text, &err);
    printf("%s\n", err.message);
    fflush(stdout);
    world_close(world);
    exit(err.code);
}

static void all_ok(int rank)
{
    struct error err = { 0 }, none = { 0 };
    must(world_all_ok(world, true, &err), &err);
    if (world_rank(world) >= rank)
        error_set(&err, EXIT_CODE_PARTIAL, "slide %d is bad", world_rank(world));
    world_all_ok(world, world_rank(world) < rank, &err);
    printf("%s\n", err.message);
    fflush(stdout);
    must(world_all_ok(world, true, &none), &none); /* all have said so */
    world_fail(world, &err);
    log_error(err.message);
    exit(err.code);
}

/* That rank sends one float less than others expect. */
static void misfit(int rank)
{
    struct error err = { 0 };
    float memory[16] = { 0 };
    const struct world_part to = { (rank + 1) % world_size(world), memory, 15 },
                            from = { rank, memory, 16 };
    if (world_rank(world) == rank) must(world_exchange(world, &to, 1, NULL, 0, &err), &err);
    if (world_rank(world) == to.rank) must(world_exchange(world, NULL, 0, &from, 1, &err), &err);
    must(gather(10, &err), &err);
}

static void leave(int rank)
{
    struct error err = { 0 };
    if (world_rank(world) != rank) must(gather(10, &err), &err);
}

static void *wait_in_exchange(void *context)
{
    struct error err = { 0 };
    float memory[16];
    const struct world_part part = { *(int *)context, memory, 16 };
    must(world_exchange(world, NULL, 0, &part, 1, &err), &err);
    return NULL;
}

static void farewell(void *context)
{
    (void)context;
    printf("farewell\n");
    fflush(stdout);
}

/* All others wait for this rank. */
static void end_while_others_wait(const char *how, int rank)
{
    struct error err = { 0 };
    pthread_t thread;
    must(world_all_ok(world, true, &err), &err);
    world_on_failure(world, farewell, NULL);
    if (world_rank(world) != rank) {
        pthread_create(&thread, NULL, wait_in_exchange, &rank);
        must(gather(10, &err), &err);
    }
    usleep(200000); /* they are waiting */
    if (strcmp(how, "kill") == 0) raise(SIGKILL);
    if (strcmp(how, "stop") == 0) raise(SIGSTOP);
    if (strcmp(how, "exit") == 0) _exit(0);
    if (strcmp(how, "abort") == 0) abort();
    error_set(&err, EXIT_CODE_PARTIAL, "the disk is full");
    world_fail(world, &err);
    exit(99);
}

static void bench(int floats)
{
    const int size = world_size(world), rank = world_rank(world);
    const size_t count = (size_t)floats / (size_t)size;
    float *gradients = calloc(count * (size_t)size, sizeof(float)),
          *others = calloc(count * (size_t)size, sizeof(float));
    struct world_part *sends = calloc((size_t)size, sizeof *sends),
                      *receives = calloc((size_t)size, sizeof *receives);
    struct error err = { 0 };
    double best_s = INFINITY;
    for (int round = 0; round < 6; round++) {
        must(world_all_ok(world, true, &err), &err);
        const double start_s = clock_seconds();
        for (int back = 0; back < 2; back++) {
            int parts = 0;
            for (int other = 0; other < size; other++) {
                if (other == rank) continue;
                float *theirs = gradients + (size_t)other * count,
                      *own = gradients + (size_t)rank * count;
                sends[parts] = (struct world_part) { other, back ? own : theirs, count };
                receives[parts++] = (struct world_part) {
                    other, back ? theirs : others + (size_t)other * count, count
                };
            }
            must(world_exchange(world, sends, parts, receives, parts, &err), &err);
            for (int other = 0; !back && other < size; other++)
                for (size_t i = 0; other != rank && i < count; i++)
                    gradients[(size_t)rank * count + i] += others[(size_t)other * count + i];
        }
        const double seconds = clock_seconds() - start_s;
        if (seconds < best_s) best_s = seconds;
    }
    if (rank == 0)
        printf("%zu floats, %s: %.0f ms\n", count * (size_t)size, world_description(world),
               best_s * 1000);
    free(gradients);
    free(others);
    free(sends);
    free(receives);
}

static const struct {
    const char *name;
    void (*run)(int rank);
} works[] = {
    { "work", work },   { "slow", slow },   { "agree", agree },   { "all_ok", all_ok },
    { "leave", leave }, { "bench", bench }, { "misfit", misfit },
};

int main(int argc, char **argv)
{
    struct error err = { 0 };
    const char *what = argc > 1 ? argv[1] : "work";
    const int number = argc > 2 ? atoi(argv[2]) : 0;
    signal(SIGTERM, SIG_IGN); /* mpirun sends it when a rank has ended; training takes note of it */
    if (!world_open(&world, &err)) {
        log_error(err.message);
        return err.code;
    }
    const char *open = getenv("WORLD_RANK_OPEN");
    FILE *opened = open && world_rank(world) == 0 ? fopen(open, "w") : NULL;
    if (opened) fclose(opened);
    bool known = false;
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        if (strcmp(works[i].name, what) == 0) {
            works[i].run(number);
            known = true;
        }
    if (!known) end_while_others_wait(what, number);
    if (world_rank(world) == 0 && strcmp(what, "work") == 0)
        printf("%s\n", world_description(world));
    world_close(world);
    return 0;
}
