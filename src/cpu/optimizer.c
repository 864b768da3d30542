/* Parameter updates over one contiguous buffer (optimizer.inc), in blocks spread over the queue's
 * threads. */
#include "isa.h"
#include "micromet/base/size.h"
#include "plan.h"

enum { BLOCK = 1 << 16 }; /* parameters a thread takes at once */

static bool execute(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    (void)err;
    const struct op_optimizer *o = &plan->op.optimizer;
    optimizer_rule *const rule = plan->isa->optimizer[o->rule.name];
    const int64_t blocks = CEIL_DIV(o->count, BLOCK);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < blocks; i++) {
        const int64_t last = (i + 1) * BLOCK < o->count ? (i + 1) * BLOCK : o->count;
        rule(&o->rule, b, i * BLOCK, last);
    }
    return true;
}

bool plan_optimizer(struct plan *plan, struct error *err)
{
    (void)err;
    plan->execute = execute;
    return true;
}
