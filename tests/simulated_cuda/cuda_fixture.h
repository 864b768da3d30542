/* Fixture of the CUDA backend's core tests: a backend on the simulated device, and copies passed on
 * between its queues. */
#ifndef MICROMET_TESTS_CUDA_FIXTURE_H
#define MICROMET_TESTS_CUDA_FIXTURE_H

#include <criterion/criterion.h>

#include "micromet/nn/backend.h"
#include "simulated_control.h"

#define OK(call) cr_assert((call), "%s", err.message)

static const struct config_compute compute = { .backend = BACKEND_CUDA,
                                               .threads = 1,
                                               .workspace = 64 };

static inline struct backend *open_backend(int queues)
{
    struct backend *backend;
    struct error err = { 0 };
    char why_not[256];
    OK(backend_open(&compute, queues, NULL, &backend, why_not, &err));
    return backend;
}

static inline void expect_no_leaks(void)
{
    char report[2000];
    cr_expect_eq(simulated_leaks(report, sizeof report), 0, "%s", report);
}

/* Copies host -> a on queue 0, a -> b on queue 1, b -> host on queue 0. */
struct relay {
    struct backend *backend;
    unsigned char *in, *out; /* pinned */
    unsigned char *a, *b;
    double when_s[3];
};

enum { BYTES = 4096 };

static inline void expect_bytes(const unsigned char *bytes, int value)
{
    for (int i = 0; i < BYTES; i++) cr_assert_eq(bytes[i], value, "byte %d is %d", i, bytes[i]);
}

/* Call relay_release() even if this fails. */
static inline bool relay_init(struct relay *r, struct backend *backend, struct error *err)
{
    const struct backend_ops *ops = backend->ops;
    *r = (struct relay) { .backend = backend };
    return ops->alloc_host(backend, BYTES, (void **)&r->in, err) &&
           ops->alloc_host(backend, BYTES, (void **)&r->out, err) &&
           ops->alloc(backend, BYTES, (void **)&r->a, err) &&
           ops->alloc(backend, BYTES, (void **)&r->b, err);
}

static inline void relay_release(struct relay *r)
{
    const struct backend_ops *ops = r->backend->ops;
    ops->free_host(r->backend, r->in);
    ops->free_host(r->backend, r->out);
    ops->free(r->backend, r->a);
    ops->free(r->backend, r->b);
}

static inline bool hand_over(struct backend *backend, int from, int to, struct error *err)
{
    uint64_t ticket;
    return backend->ops->fence(backend, from, &ticket, err) &&
           backend->ops->wait(backend, to, from, ticket, err);
}

static inline bool relay_run(struct relay *r, struct error *err)
{
    const struct backend_ops *ops = r->backend->ops;
    struct backend *b = r->backend;
    return ops->mark(b, 0, &r->when_s[0], err) && ops->copy(b, 0, r->a, r->in, BYTES, err) &&
           hand_over(b, 0, 1, err) && ops->copy(b, 1, r->b, r->a, BYTES, err) &&
           ops->mark(b, 1, &r->when_s[1], err) && hand_over(b, 1, 0, err) &&
           ops->copy(b, 0, r->out, r->b, BYTES, err) && ops->mark(b, 0, &r->when_s[2], err);
}

#endif
