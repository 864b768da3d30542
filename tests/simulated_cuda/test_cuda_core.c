/* The core of the CUDA backend on the simulated device: tickets, time marks and recordings,
 * whatever order the device chooses; and error messages when the device is
 * missing, full or lost. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_fixture.h"
#include "micromet/base/thread.h"
#include "op_case.h"

enum { SEEDS = 20 };

/* An op that runs as one kernel. */
static const struct op relu_backward = { .kind = OP_RELU_BACKWARD,
                                         .x = { DTYPE_F32, 2, 1, 1, 8, 8, NULL },
                                         .y = { DTYPE_F32, 2, 1, 1, 8, 8, NULL } };

/* A relay on a device that runs its work in the seed's order. */
struct scene {
    struct backend *backend;
    const struct backend_ops *ops;
    int copier; /* the queue for copies */
    struct relay relay;
};

static void scene_open(struct scene *s, int seed, int queues)
{
    struct error err = { 0 };
    simulated_seed((uint64_t)seed);
    s->backend = open_backend(queues);
    s->ops = s->backend->ops;
    s->copier = s->backend->facts.copy_queue;
    OK(relay_init(&s->relay, s->backend, &err));
}

static void scene_close(struct scene *s)
{
    relay_release(&s->relay);
    backend_close(s->backend);
    expect_no_leaks();
}

static void relay_expect(struct relay *r, int value, double since_s)
{
    const double late_s = 0.25; /* how late a busy machine may have taken the anchor's time */
    expect_bytes(r->out, value);
    cr_assert(since_s - late_s <= r->when_s[0] && r->when_s[0] < r->when_s[1] &&
                  r->when_s[1] < r->when_s[2] && r->when_s[2] <= clock_seconds() + late_s,
              "%f: %f %f %f: %f", since_s, r->when_s[0], r->when_s[1], r->when_s[2],
              clock_seconds());
}

Test(cuda_core, queues_keep_their_order_and_tell_the_time)
{
    for (int seed = 0; seed < SEEDS; seed++) {
        struct scene s;
        struct error err = { 0 };
        scene_open(&s, seed, 2);
        for (int round = 1; round <= 200; round++) { /* more tickets than there are events */
            const double start_s = clock_seconds();
            uint64_t ticket;
            memset(s.relay.in, round, BYTES);
            OK(relay_run(&s.relay, &err));
            OK(s.ops->fence(s.backend, 0, &ticket, &err));
            OK(s.ops->await(s.backend, 0, ticket, &err));
            relay_expect(&s.relay, round & 255, start_s);
        }
        scene_close(&s);
    }
}

Test(cuda_core, a_pinned_slot_is_free_once_its_copy_is_awaited)
{
    for (int seed = 0; seed < SEEDS; seed++) {
        struct scene s;
        struct error err = { 0 };
        uint64_t ticket;
        scene_open(&s, seed, 1);
        memset(s.relay.in, 1, BYTES);
        OK(s.ops->copy(s.backend, s.copier, s.relay.a, s.relay.in, BYTES, &err));
        OK(s.ops->fence(s.backend, s.copier, &ticket, &err));
        OK(s.ops->await(s.backend, s.copier, ticket, &err));
        memset(s.relay.in, 2, BYTES);
        OK(s.ops->copy(s.backend, s.copier, s.relay.out, s.relay.a, BYTES, &err));
        OK(s.ops->synchronize(s.backend, &err));
        expect_bytes(s.relay.out, 1);
        scene_close(&s);
    }
}

Test(cuda_core, a_recording_is_done_when_it_is_replayed)
{
    for (int seed = 0; seed < SEEDS; seed++) {
        simulated_seed((uint64_t)seed);
        struct backend *backend = open_backend(2);
        const struct backend_ops *ops = backend->ops;
        struct relay relays[2];
        struct recording *recordings[2];
        struct error err = { 0 };
        for (int k = 0; k < 2; k++) {
            OK(relay_init(&relays[k], backend, &err));
            memset(relays[k].in, 255, BYTES);
            memset(relays[k].out, 0, BYTES);
            OK(ops->record_begin(backend, &err));
            OK(relay_run(&relays[k], &err));
            OK(ops->record_end(backend, &recordings[k], &err));
            OK(ops->synchronize(backend, &err));
            cr_expect_eq(relays[k].out[0], 0);
        }
        uint64_t tickets[2] = { 0 };
        double start_s[2] = { 0 };
        for (int round = 1; round <= 40; round++) { /* two in flight at a time */
            const int k = round % 2;
            if (tickets[k]) {
                OK(ops->await(backend, 0, tickets[k], &err));
                relay_expect(&relays[k], round - 2, start_s[k]);
            }
            memset(relays[k].in, round, BYTES);
            start_s[k] = clock_seconds();
            OK(ops->replay(backend, recordings[k], &err));
            OK(ops->fence(backend, 0, &tickets[k], &err));
        }
        OK(ops->synchronize(backend, &err));
        relay_expect(&relays[0], 40, start_s[0]);
        for (int k = 0; k < 2; k++) {
            ops->recording_release(backend, recordings[k]);
            relay_release(&relays[k]);
        }
        backend_close(backend);
        expect_no_leaks();
    }
}

Test(cuda_core, a_replay_waits_for_what_its_recording_waited_for)
{
    struct scene s;
    struct recording *recording;
    struct error err = { 0 };
    uint64_t staged;
    scene_open(&s, 0, 1);
    cr_assert_neq(s.copier, 0);
    memset(s.relay.in, 7, BYTES);
    OK(s.ops->copy(s.backend, s.copier, s.relay.a, s.relay.in, BYTES, &err));
    OK(s.ops->fence(s.backend, s.copier, &staged, &err));
    OK(s.ops->record_begin(s.backend, &err));
    OK(s.ops->wait(s.backend, 0, s.copier, staged, &err));
    OK(s.ops->copy(s.backend, 0, s.relay.out, s.relay.a, BYTES, &err));
    OK(s.ops->record_end(s.backend, &recording, &err));
    OK(s.ops->replay(s.backend, recording, &err));
    OK(s.ops->synchronize(s.backend, &err));
    expect_bytes(s.relay.out, 7);
    s.ops->recording_release(s.backend, recording);
    scene_close(&s);
}

/* Only queue 1 is recorded: the replay runs after the work queued on it earlier and before the work
 * queued later. */
Test(cuda_core, a_replay_keeps_the_order_of_every_queue)
{
    for (int seed = 0; seed < SEEDS; seed++) {
        struct scene s;
        struct recording *recording;
        struct error err = { 0 };
        uint64_t ticket;
        scene_open(&s, seed, 2);
        OK(s.ops->record_begin(s.backend, &err));
        OK(s.ops->copy(s.backend, 1, s.relay.b, s.relay.a, BYTES, &err));
        OK(s.ops->record_end(s.backend, &recording, &err));
        for (int round = 1; round <= 20; round++) {
            memset(s.relay.in, round, BYTES);
            OK(s.ops->copy(s.backend, 1, s.relay.a, s.relay.in, BYTES, &err));
            OK(s.ops->replay(s.backend, recording, &err));
            OK(s.ops->copy(s.backend, 1, s.relay.out, s.relay.b, BYTES, &err));
            OK(s.ops->fence(s.backend, 1, &ticket, &err));
            OK(s.ops->await(s.backend, 1, ticket, &err));
            expect_bytes(s.relay.out, round);
        }
        s.ops->recording_release(s.backend, recording);
        scene_close(&s);
    }
}

/* Queue enough work for other queues to overtake. */
static void dawdle(struct relay *r, int queue)
{
    struct error err = { 0 };
    for (int i = 0; i < 64; i++) OK(r->backend->ops->zero(r->backend, queue, r->b, BYTES, &err));
}

/* host -> a and, delayed, a -> b, each followed by a ticket. */
static void copy_twice(struct relay *r, int queue, uint64_t tickets[2])
{
    const struct backend_ops *ops = r->backend->ops;
    struct error err = { 0 };
    OK(ops->copy(r->backend, queue, r->a, r->in, BYTES, &err));
    OK(ops->fence(r->backend, queue, &tickets[0], &err));
    dawdle(r, queue);
    OK(ops->copy(r->backend, queue, r->b, r->a, BYTES, &err));
    OK(ops->fence(r->backend, queue, &tickets[1], &err));
}

Test(cuda_core, a_replay_waits_for_the_newest_of_what_its_recording_waited_for)
{
    for (int i = 0; i < 2 * SEEDS; i++) {
        struct scene s;
        const int first = i % 2;
        struct recording *recording;
        struct error err = { 0 };
        uint64_t tickets[2];
        scene_open(&s, i / 2, 1);
        memset(s.relay.in, 7, BYTES);
        copy_twice(&s.relay, s.copier, tickets);
        OK(s.ops->record_begin(s.backend, &err));
        OK(s.ops->wait(s.backend, 0, s.copier, tickets[first], &err));
        OK(s.ops->wait(s.backend, 0, s.copier, tickets[!first], &err));
        OK(s.ops->copy(s.backend, 0, s.relay.out, s.relay.b, BYTES, &err));
        OK(s.ops->record_end(s.backend, &recording, &err));
        OK(s.ops->replay(s.backend, recording, &err));
        uint64_t done;
        OK(s.ops->fence(s.backend, 0, &done, &err));
        OK(s.ops->await(s.backend, 0, done, &err));
        expect_bytes(s.relay.out, 7);
        s.ops->recording_release(s.backend, recording);
        scene_close(&s);
    }
}

Test(cuda_core, an_old_ticket_says_nothing_of_newer_ones)
{
    for (int seed = 0; seed < SEEDS; seed++) {
        struct scene s;
        struct error err = { 0 };
        uint64_t tickets[2], done;
        scene_open(&s, seed, 2);
        memset(s.relay.in, 9, BYTES);
        copy_twice(&s.relay, 0, tickets);
        OK(s.ops->await(s.backend, 0, tickets[0], &err));
        OK(s.ops->wait(s.backend, 1, 0, tickets[1], &err));
        OK(s.ops->copy(s.backend, 1, s.relay.out, s.relay.b, BYTES, &err));
        OK(s.ops->fence(s.backend, 1, &done, &err));
        OK(s.ops->await(s.backend, 1, done, &err));
        expect_bytes(s.relay.out, 9);
        scene_close(&s);
    }
}

Test(cuda_core, to_synchronize_is_to_wait_for_the_copy_queue_too)
{
    for (int seed = 0; seed < SEEDS; seed++) {
        struct scene s;
        struct error err = { 0 };
        scene_open(&s, seed, 1);
        memset(s.relay.in, 5, BYTES);
        OK(s.ops->copy(s.backend, s.copier, s.relay.a, s.relay.in, BYTES, &err));
        OK(s.ops->copy(s.backend, s.copier, s.relay.out, s.relay.a, BYTES, &err));
        OK(s.ops->synchronize(s.backend, &err));
        expect_bytes(s.relay.out, 5);
        scene_close(&s);
    }
}

/* A mark is polled before its queue has reached it. That is no error, and must not show up in the
 * next kernel's error check. */
Test(cuda_core, a_mark_that_is_not_reached_disturbs_nobody)
{
    for (int seed = 0; seed < SEEDS; seed++) {
        struct scene s;
        struct error err = { 0 };
        uint64_t ticket;
        double worst = 0;
        scene_open(&s, seed, 2);
        dawdle(&s.relay, 1);
        OK(s.ops->mark(s.backend, 1, &s.relay.when_s[0], &err));
        OK(s.ops->zero(s.backend, 0, s.relay.a, BYTES, &err));
        OK(s.ops->fence(s.backend, 0, &ticket, &err));
        OK(s.ops->await(s.backend, 0, ticket, &err));
        OK(op_case_holds(&relu_backward, s.backend, (uint64_t)seed, &worst, &err));
        OK(s.ops->synchronize(s.backend, &err));
        cr_expect_gt(s.relay.when_s[0], 0);
        scene_close(&s);
    }
}

static void expect_refused(const char *part)
{
    struct backend *backend;
    struct error err = { 0 };
    char why_not[256];
    cr_expect_not(backend_open(&compute, 2, NULL, &backend, why_not, &err));
    cr_expect(strstr(err.message, part), "'%s' does not say '%s'", err.message, part);
    expect_no_leaks();
}

Test(cuda_core, an_unfit_device_is_told_of)
{
    simulated_no_device(true);
    expect_refused("no GPU");
    simulated_no_device(false);
    simulated_compute_capability(7, 5);
    expect_refused("has compute capability 7.5; 8.0 or above is needed");
}

Test(cuda_core, auto_takes_the_cpu_and_says_why)
{
    struct config_compute either = compute;
    either.backend = BACKEND_AUTO;
    struct backend *backend;
    struct error err = { 0 };
    char why_not[256];
    simulated_no_device(true);
    OK(backend_open(&either, 1, NULL, &backend, why_not, &err));
    cr_expect_str_eq(backend->facts.name, "cpu");
    cr_expect(strstr(why_not, "no GPU"), "%s", why_not);
    backend_close(backend);
}

Test(cuda_core, a_full_device_says_who_holds_it)
{
    simulated_memory_limit(64 << 20);
    struct backend *backend = open_backend(1);
    struct error err = { 0 };
    void *some, *more;
    double worst = 0;
    OK(backend->ops->alloc(backend, 40 << 20, &some, &err));
    cr_expect_not(backend->ops->alloc(backend, 50 << 20, &more, &err));
    cr_expect_null(more);
    cr_expect(strstr(err.message, "50.0 MiB asked for") &&
                  strstr(err.message, "40.0 MiB of buffers") && strstr(err.message, "train.batch"),
              "%s", err.message);
    err = (struct error) { 0 };
    OK(backend->ops->alloc(backend, 1 << 20, &more, &err));      /* the backend still works, */
    OK(op_case_holds(&relu_backward, backend, 1, &worst, &err)); /* and kernels see no error */
    backend->ops->free(backend, some);
    cr_expect_not(backend->ops->alloc(backend, 64 << 20, &some, &err));
    cr_expect(strstr(err.message, "holds 1.0 MiB of buffers"), "%s", err.message);
    backend->ops->free(backend, more);
    backend_close(backend);
    expect_no_leaks();
}

Test(cuda_core, a_lost_device_is_the_reason_of_all_later_failures)
{
    struct backend *backend = open_backend(1);
    struct error first = { 0 }, later = { 0 };
    void *memory;
    cr_assert(backend->ops->alloc(backend, 64, &memory, &first));
    simulated_fail("cudaStreamSynchronize", 1);
    cr_expect_not(backend->ops->synchronize(backend, &first));
    cr_expect(strstr(first.message, "cudaStreamSynchronize") && strstr(first.message, "queues.c:"),
              "%s", first.message);
    cr_expect_not(backend->ops->zero(backend, 0, memory, 64, &later));
    cr_expect(strstr(later.message, "earlier failure: cudaStreamSynchronize"), "%s", later.message);
    backend->ops->free(backend, memory);
    backend_close(backend);
    expect_no_leaks();
}

/* Whichever call fails, the error is reported and nothing is leaked. */
Test(cuda_core, every_call_may_fail_while_opening)
{
    simulated_fail("", 0);
    backend_close(open_backend(2));
    const int64_t calls = simulated_calls("");
    cr_assert_gt(calls, 0);
    for (int64_t nth = 1; nth <= calls; nth++) {
        struct backend *backend = NULL;
        struct error err = { 0 };
        char why_not[256];
        simulated_fail("", nth);
        const bool opened = backend_open(&compute, 2, NULL, &backend, why_not, &err);
        simulated_fail("", 0);
        cr_expect(opened || err.message[0]);
        backend_close(backend);
        expect_no_leaks();
    }
}
