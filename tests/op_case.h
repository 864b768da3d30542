/* Runs one op with random data on a backend, and compares it with the reference.
 *
 * Every array is allocated between guards, and channels outside a view's slice are gaps. Before the
 * op, guards and gaps hold NaN, as do all outputs that the op does not add to, so reading any of
 * them shows in the result. Afterwards, every byte that is not an output must be unchanged. For
 * tolerances see tolerance.h. */
#ifndef MICROMET_TESTS_OP_CASE_H
#define MICROMET_TESTS_OP_CASE_H

#include "reference.h"

struct op_array {
    struct tensor tensor; /* (1,1,1,C) for a vector of C */
    bool reads, writes;
    size_t bytes, first;           /* of the memory with guards; offset of the first element */
    unsigned char *before, *after; /* host copies */
    unsigned char *again;          /* result of another order */
    unsigned char *device;
};

struct op_case {
    const struct op *op;
    struct op_array arrays[ROLE_COUNT]; /* bytes = 0: unused by the op */
    struct op_buffers before;           /* points into the host copies */
    struct step_values values;          /* may be set before a run */
    void *device_values;
    bool loads; /* weights are given to plan_load() instead of run() */
};

/* The backend under test: the CPU, or CUDA with MICROMET_TEST_BACKEND=cuda in the environment.
 * Aborts the test if it cannot be opened. */
struct backend *op_case_backend(int queues);
/* That of a rank. */
struct backend *op_case_backend_in(int queues, struct world *world);
/* Number of queues for concurrent ops: 2, but 1 on the CPU, where one op shall use all threads. */
int op_case_queues(void);

/* On the simulated device, every run is repeated in the orders that its scheduler derives from the
 * seeds 1, 2, ...: MICROMET_TEST_ORDERS of them, 1 by default and on real devices. */
int op_case_orders(void);
/* Set the order of the simulated device; no effect on real ones. */
void op_case_order(int order);

/* Fill the arrays of the op with random data. */
void op_case_init(struct op_case *test, const struct op *op, uint64_t seed);
void op_case_release(struct op_case *test);
/* First element in `before`, which the test may set, and in `after`, the backend's result. */
void *op_case_before(struct op_case *test, enum role role);
void *op_case_after(struct op_case *test, enum role role);

/* Copy to the backend, plan, run and copy back. All orders must give the same bits, including
 * guards, gaps and inputs; `after` is the result of the first. */
bool op_case_run(struct op_case *test, struct backend *backend, struct error *err);
/* Several concurrently, each on its op's queue. */
bool op_cases_run(struct op_case *tests, int count, struct backend *backend, struct error *err);
/* op_case_run() with the caller's plan. */
bool op_case_run_plan(struct op_case *test, struct backend *backend, struct plan *plan,
                      struct error *err);
/* Make `after` the next `before`, as in successive steps of an optimizer. */
void op_case_advance(struct op_case *test);
/* Compare with the reference. False with a message if a byte was changed that should not be, or a
 * value is wrong. *worst is raised to the largest error as a fraction of its tolerance. */
bool op_case_check(const struct op_case *test, double *worst, struct error *err);

/* init, run, check, release. */
bool op_case_holds(const struct op *op, struct backend *backend, uint64_t seed, double *worst,
                   struct error *err);

#endif
