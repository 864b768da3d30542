/* Batch norm with ReLU, forward and backward (batch_norm.inc). Each block of channels is computed
 * by one thread, so every sum is taken in the same order whatever the number of threads. */
#include "isa.h"
#include "micromet/base/size.h"
#include "plan.h"

static bool execute(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    (void)err;
    const struct op *op = &plan->op;
    const int blocks = CEIL_DIV(op->x.c, NORM_CHANNELS);
    void (*const run)(const struct op *, const struct op_buffers *, int, int) =
        op->kind == OP_BATCH_NORM ? plan->isa->batch_norm : plan->isa->batch_norm_backward;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < blocks; i++) {
        const int first = i * NORM_CHANNELS, rest = op->x.c - first;
        run(op, b, first, rest < NORM_CHANNELS ? rest : NORM_CHANNELS);
    }
    return true;
}

bool plan_batch_norm(struct plan *plan, struct error *err)
{
    (void)err;
    plan->execute = execute;
    return true;
}
