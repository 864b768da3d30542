/* Augmentation (augment.inc): the images of a batch, spread over the queue's threads. */
#include "isa.h"
#include "plan.h"

static bool execute(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    (void)err;
    const struct tensor *x = &plan->op.x, *y = &plan->op.y;
    const size_t in_bytes = (size_t)x->h * (size_t)x->w * 3;
    const size_t out_bytes = (size_t)y->h * (size_t)y->w * (size_t)y->c * dtype_bytes(y->dtype);
#pragma omp parallel for schedule(static)
    for (int n = 0; n < x->n; n++)
        plan->isa->augment((const uint8_t *)b->x + (size_t)n * in_bytes, b->draws + n, x->h,
                           y->dtype, y->c, (char *)b->out + (size_t)n * out_bytes);
    return true;
}

bool plan_augment(struct plan *plan, struct error *err)
{
    (void)err;
    plan->execute = execute;
    return true;
}
