/* Parameter updates over one contiguous buffer; formulas in nn/optimizer.h. Bound by memory: each
 * value is read and written once. */
#include <math.h>

#include "micromet/nn/optimizer.h"
#include "plan.h"

enum { BLOCK = 1 << 16 }; /* parameters a thread takes at once */

CPU_CLONES static void adam(const struct config_optimizer *o, const struct op_buffers *b,
                            int64_t first, int64_t last)
{
    const float b1 = (float)o->beta1, b2 = (float)o->beta2, decay = (float)o->weight_decay;
    const float new1 = (float)(1 - o->beta1), new2 = (float)(1 - o->beta2);
    const double t = (double)b->values->step;
    const float step = (float)(b->values->learning_rate / (1 - pow(o->beta1, t)));
    const float root = (float)(1 / sqrt(1 - pow(o->beta2, t)));
    const float epsilon = (float)o->epsilon;
    for (int64_t i = first; i < last; i++) {
        const float g = b->gradients[i] + decay * b->parameters[i];
        const float m = b1 * b->state1[i] + new1 * g;
        const float v = b2 * b->state2[i] + new2 * g * g;
        b->state1[i] = m;
        b->state2[i] = v;
        b->parameters[i] -= step * m / (sqrtf(v) * root + epsilon);
    }
}

CPU_CLONES static void rmsprop(const struct config_optimizer *o, const struct op_buffers *b,
                               int64_t first, int64_t last)
{
    const float rho = (float)o->decay, fresh = (float)(1 - o->decay), momentum = (float)o->momentum,
                lr = b->values->learning_rate;
    const float epsilon = (float)o->epsilon, decay = (float)o->weight_decay;
    for (int64_t i = first; i < last; i++) {
        const float g = b->gradients[i] + decay * b->parameters[i];
        const float ms = rho * b->state1[i] + fresh * g * g;
        const float mom = momentum * b->state2[i] + lr * g / sqrtf(ms + epsilon);
        b->state1[i] = ms;
        b->state2[i] = mom;
        b->parameters[i] -= mom;
    }
}

CPU_CLONES static void sgd(const struct config_optimizer *o, const struct op_buffers *b,
                           int64_t first, int64_t last)
{
    const float momentum = (float)o->momentum, lr = b->values->learning_rate,
                decay = (float)o->weight_decay;
    for (int64_t i = first; i < last; i++) {
        const float g = b->gradients[i] + decay * b->parameters[i];
        const float mom = momentum * b->state1[i] + g;
        b->state1[i] = mom;
        b->parameters[i] -= lr * mom;
    }
}

static bool execute(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    (void)err;
    static void (*const rules[])(const struct config_optimizer *, const struct op_buffers *,
                                 int64_t, int64_t) = {
        [OPTIMIZER_ADAM] = adam, [OPTIMIZER_RMSPROP] = rmsprop, [OPTIMIZER_SGD] = sgd
    };
    const struct op_optimizer *o = &plan->op.optimizer;
    const int64_t blocks = (o->count + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < blocks; i++) {
        const int64_t last = (i + 1) * BLOCK < o->count ? (i + 1) * BLOCK : o->count;
        rules[o->rule.name](&o->rule, b, i * BLOCK, last);
    }
    return true;
}

bool plan_optimizer(struct plan *plan, struct error *err)
{
    (void)err;
    plan->execute = execute;
    return true;
}
