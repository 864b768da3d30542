/* The core of the CUDA backend on the simulated device: tickets, marks and recordings in whatever
 * order the device picks, and what is said when the device is missing, full or lost. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/thread.h"
#include "micromet/nn/backend.h"
#include "op_case.h"
#include "shapes.h"
#include "simulated_control.h"
#include "simulated_dnn_control.h"

enum { SEEDS = 20 };

static const struct config_compute compute = { .backend = BACKEND_CUDA,
                                               .threads = 1,
                                               .workspace = 64 };

static struct backend *open_backend(int queues)
{
    struct backend *backend;
    struct error err = { 0 };
    char why_not[256];
    cr_assert(backend_open(&compute, queues, &backend, why_not, &err), "%s", err.message);
    return backend;
}

static void expect_no_leaks(void)
{
    char report[2000];
    cr_expect_eq(simulated_leaks(report, sizeof report), 0, "%s", report);
}

#define OK(call) cr_assert((call), "%s", err.message)

/* Host -> a on the first queue, a -> b on the second, b -> host on the first. */
struct relay {
    struct backend *backend;
    unsigned char *in, *out; /* pinned */
    unsigned char *a, *b;
    double when_s[3];
};

enum { BYTES = 4096 };

static bool relay_init(struct relay *relay, struct backend *backend, struct error *err)
{
    const struct backend_ops *ops = backend->ops;
    *relay = (struct relay) { .backend = backend };
    return ops->alloc_host(backend, BYTES, (void **)&relay->in, err) &&
           ops->alloc_host(backend, BYTES, (void **)&relay->out, err) &&
           ops->alloc(backend, BYTES, (void **)&relay->a, err) &&
           ops->alloc(backend, BYTES, (void **)&relay->b, err);
}

static void relay_release(struct relay *relay)
{
    const struct backend_ops *ops = relay->backend->ops;
    ops->free_host(relay->backend, relay->in);
    ops->free_host(relay->backend, relay->out);
    ops->free(relay->backend, relay->a);
    ops->free(relay->backend, relay->b);
}

static bool hand_over(struct backend *backend, int from, int to, struct error *err)
{
    uint64_t ticket;
    return backend->ops->fence(backend, from, &ticket, err) &&
           backend->ops->wait(backend, to, from, ticket, err);
}

static bool relay_run(struct relay *r, struct error *err)
{
    const struct backend_ops *ops = r->backend->ops;
    struct backend *b = r->backend;
    return ops->mark(b, 0, &r->when_s[0], err) && ops->copy(b, 0, r->a, r->in, BYTES, err) &&
           hand_over(b, 0, 1, err) && ops->copy(b, 1, r->b, r->a, BYTES, err) &&
           ops->mark(b, 1, &r->when_s[1], err) && hand_over(b, 1, 0, err) &&
           ops->copy(b, 0, r->out, r->b, BYTES, err) && ops->mark(b, 0, &r->when_s[2], err);
}

static void relay_expect(struct relay *r, int value, double since_s)
{
    for (int i = 0; i < BYTES; i++) cr_assert_eq(r->out[i], value, "byte %d is %d", i, r->out[i]);
    cr_assert(since_s - 1e-3 <= r->when_s[0] && r->when_s[0] <= r->when_s[1] &&
                  r->when_s[1] <= r->when_s[2] && r->when_s[2] <= clock_seconds() + 1e-3,
              "%f: %f %f %f: %f", since_s, r->when_s[0], r->when_s[1], r->when_s[2],
              clock_seconds());
}

Test(cuda_core, queues_keep_their_order_and_tell_the_time)
{
    for (int seed = 0; seed < SEEDS; seed++) {
        simulated_seed((uint64_t)seed);
        struct backend *backend = open_backend(2);
        struct relay relay;
        struct error err = { 0 };
        OK(relay_init(&relay, backend, &err));
        for (int round = 1; round <= 200; round++) { /* more tickets than there are events */
            const double start_s = clock_seconds();
            uint64_t ticket;
            memset(relay.in, round, BYTES);
            OK(relay_run(&relay, &err));
            OK(backend->ops->fence(backend, 0, &ticket, &err));
            OK(backend->ops->await(backend, 0, ticket, &err));
            relay_expect(&relay, round & 255, start_s);
        }
        relay_release(&relay);
        backend_close(backend);
        expect_no_leaks();
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
        for (int round = 1; round <= 40; round++) { /* two under way at a time */
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
    struct backend *backend = open_backend(1);
    const struct backend_ops *ops = backend->ops;
    const int copier = backend->facts.copy_queue;
    struct relay relay;
    struct recording *recording;
    struct error err = { 0 };
    uint64_t staged;
    cr_assert_neq(copier, 0);
    OK(relay_init(&relay, backend, &err));
    memset(relay.in, 7, BYTES);
    OK(ops->copy(backend, copier, relay.a, relay.in, BYTES, &err));
    OK(ops->fence(backend, copier, &staged, &err));
    OK(ops->record_begin(backend, &err));
    OK(ops->wait(backend, 0, copier, staged, &err));
    OK(ops->copy(backend, 0, relay.out, relay.a, BYTES, &err));
    OK(ops->record_end(backend, &recording, &err));
    OK(ops->replay(backend, recording, &err));
    OK(ops->synchronize(backend, &err));
    for (int i = 0; i < BYTES; i++) cr_assert_eq(relay.out[i], 7);
    ops->recording_release(backend, recording);
    relay_release(&relay);
    backend_close(backend);
    expect_no_leaks();
}

static void expect_refused(const char *part)
{
    struct backend *backend;
    struct error err = { 0 };
    char why_not[256];
    cr_expect_not(backend_open(&compute, 2, &backend, why_not, &err));
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
    OK(backend_open(&either, 1, &backend, why_not, &err));
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
    OK(backend->ops->alloc(backend, 40 << 20, &some, &err));
    cr_expect_not(backend->ops->alloc(backend, 50 << 20, &more, &err));
    cr_expect_null(more);
    cr_expect(strstr(err.message, "50.0 MiB asked for") &&
                  strstr(err.message, "40.0 MiB of buffers") && strstr(err.message, "train.batch"),
              "%s", err.message);
    err = (struct error) { 0 };
    OK(backend->ops->alloc(backend, 1 << 20, &more, &err)); /* nothing is spoilt */
    backend->ops->free(backend, some);
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

/* --- every call may fail: the error is told and nothing is left behind --------------------------
 */

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
        const bool opened = backend_open(&compute, 2, &backend, why_not, &err);
        simulated_fail("", 0);
        cr_expect(opened || err.message[0]);
        backend_close(backend);
        expect_no_leaks();
    }
}

/* What a backend is made to do. False = failed, as the error tells. */
typedef bool work(struct backend *backend, const struct op *op, struct error *err);

/* Let the nth call of the work fail, for each n; 0 = none. */
static void each_call_fails(const struct config_compute *config, work *run, const struct op *op)
{
    int64_t calls = 1;
    for (int64_t nth = 0; nth <= calls; nth++) {
        struct backend *backend;
        struct error err = { 0 };
        char why_not[256];
        cr_assert(backend_open(config, 2, &backend, why_not, &err), "%s", err.message);
        simulated_fail("", nth);
        const bool ok = run(backend, op, &err);
        if (nth == 0) calls = simulated_calls("");
        cr_assert(ok || nth > 0, "%s", err.message);
        cr_expect(ok ? !err.message[0] : strstr(err.message, " at cuda/") != NULL,
                  "call %lld: %d, '%s'", (long long)nth, ok, err.message);
        simulated_fail("", 0);
        backend_close(backend);
        expect_no_leaks();
    }
    cr_assert_gt(calls, 20);
}

static bool record(struct relay *relay, struct recording **recording, struct error *err)
{
    struct backend *backend = relay->backend;
    *recording = NULL;
    if (!backend->ops->record_begin(backend, err)) return false;
    const bool ok = relay_run(relay, err);
    return backend->ops->record_end(backend, recording, err) && ok;
}

static bool record_and_replay(struct backend *backend, const struct op *op, struct error *err)
{
    (void)op;
    const struct backend_ops *ops = backend->ops;
    struct relay relay;
    struct recording *recording = NULL;
    bool ok = relay_init(&relay, backend, err) && record(&relay, &recording, err);
    for (int i = 0; i < 2 && ok; i++) {
        uint64_t ticket;
        ok = ops->replay(backend, recording, err) && ops->fence(backend, 0, &ticket, err) &&
             ops->await(backend, 0, ticket, err);
    }
    ok = ops->synchronize(backend, err) && ok;
    ops->recording_release(backend, recording);
    relay_release(&relay);
    return ok;
}

Test(cuda_core, every_call_may_fail_around_a_recording)
{
    each_call_fails(&compute, record_and_replay, NULL);
}

static bool plan_and_run(struct backend *backend, const struct op *op, struct error *err)
{
    struct op_case test;
    op_case_init(&test, op, 1);
    test.loads = op->kind == OP_CONVOLUTION;
    const bool ok = op_case_run(&test, backend, err);
    op_case_release(&test);
    return ok;
}

/* A convolution between slices and a dense layer with padded rows, of F32 with cuDNN's first plan
 * and of BF16 with the fastest; cuDNN refuses the convolution's best form. */
Test(cuda_core, every_call_may_fail_while_planning_and_running)
{
    static const struct shape shapes[] = {
        { "convolution", INCEPTION_CONVOLUTION, 1, 3, 3, 6, 3, 3, 5, 3, 3, 1, 1, 1, 9, 8 },
        { "dense", INCEPTION_CONVOLUTION, 2, 1, 1, 8, 1, 1, 4, 1, 1, 1, 0, 0, 12, 4 },
    };
    static const enum op_kind kinds[] = { OP_CONVOLUTION, OP_CONVOLUTION_BACKWARD_DATA,
                                          OP_CONVOLUTION_BACKWARD_FILTER, OP_BATCH_NORM };
    struct config_compute config = compute;
    simulated_dnn_refuse(SIMULATED_FORWARD_BIAS_RELU, 100);
    for (int s = 0; s < 2; s++)
        for (int k = 0; k < 4; k++)
            for (int tuned = 0; tuned < 2; tuned++) {
                struct op op = shape_op(&shapes[s], kinds[k], tuned ? DTYPE_BF16 : DTYPE_F32);
                op.bias = kinds[k] != OP_CONVOLUTION_BACKWARD_DATA;
                op.relu = kinds[k] == OP_CONVOLUTION;
                config.autotune = tuned;
                each_call_fails(&config, plan_and_run, &op);
            }
}
