/* One op with random data on a backend, held against the reference.
 *
 * Every array lies between guards, channels outside a view's slice are gaps. Guards and gaps hold
 * NaN before the op, and so does every output that the op does not add to: what is read from there
 * shows in the result. Afterwards every byte that is not an output must be what it was.
 * How far values may be off: tolerance.h. */
#ifndef MICROMET_TESTS_OP_CASE_H
#define MICROMET_TESTS_OP_CASE_H

#include "reference.h"

struct op_array {
    struct tensor tensor; /* (1,1,1,C) for a vector of C */
    bool reads, writes;
    size_t bytes, first;           /* of the whole memory with guards; of the first element in it */
    unsigned char *before, *after; /* host copies */
    unsigned char *again;          /* what another order left */
    unsigned char *device;
};

struct op_case {
    const struct op *op;
    struct op_array arrays[ROLE_COUNT]; /* bytes = 0: not used by the op */
    struct op_buffers before;           /* pointing into the host copies */
    struct step_values values;          /* may be changed before a run */
    void *device_values;
    bool loads; /* the weights go to the plan before the run, which gets none */
};

/* The backend under test: the CPU's, or CUDA's with MICROMET_TEST_BACKEND=cuda in the environment.
 * Ends the test where it cannot be opened. */
struct backend *op_case_backend(int queues);
/* Queues for ops that may run beside each other: 2, but 1 on the CPU, whose threads one
 * op shall share. */
int op_case_queues(void);

/* On the simulated device every run is repeated in the orders that the seeds 1, 2, ... of its
 * scheduler give, MICROMET_TEST_ORDERS of them (1 if that is not set, and on real devices). */
int op_case_orders(void);
/* From now on the device goes by this order; real ones have no choice. */
void op_case_order(int order);

/* Random data for the op. */
void op_case_init(struct op_case *test, const struct op *op, uint64_t seed);
void op_case_release(struct op_case *test);
/* First element in `before` (what the test may set) and `after` (what the backend left). */
void *op_case_before(struct op_case *test, enum role role);
void *op_case_after(struct op_case *test, enum role role);

/* Copy to the backend, plan, run, copy back. All orders must leave the same bits, in guards, gaps
 * and inputs too; `after` is what the first one left. */
bool op_case_run(struct op_case *test, struct backend *backend, struct error *err);
/* Several at once, each on its op's queue. */
bool op_cases_run(struct op_case *tests, int count, struct backend *backend, struct error *err);
/* The same with the caller's plan. */
bool op_case_run_plan(struct op_case *test, struct backend *backend, struct plan *plan,
                      struct error *err);
/* Take `after` as the next `before`, as a step of an optimizer does. */
void op_case_advance(struct op_case *test);
/* Compare. False with a message if a byte was touched that should not be, or a value is off. *worst
 * is raised to the largest error as a share of its tolerance. */
bool op_case_check(const struct op_case *test, double *worst, struct error *err);

/* init, run, check, release. */
bool op_case_holds(const struct op *op, struct backend *backend, uint64_t seed, double *worst,
                   struct error *err);

#endif
