/* The arithmetic of the header. */
#include "micromet/run/scaling.h"

#include <math.h>

#include "micromet/base/size.h"

static const double bucket_bytes = 16 << 20; /* as in nn/exchange.c */

const struct scaling_links scaling_links_usual = { .between_bytes_per_s = 50e9,
                                                   .share = 0.8,
                                                   .message_s = 20e-6 };

struct scaling scaling_of(const struct gpu_plan *plan, int gpus, int nodes,
                          const struct scaling_links *links)
{
    const double ranks = gpus, node = (double)gpus / nodes;
    const double buckets = ceil(plan->gradient_bytes / bucket_bytes) + 1; /* the head has its own */
    struct scaling s = { .gpus = gpus, .nodes = nodes };
    s.bytes = 2 * plan->gradient_bytes * (ranks - 1) / ranks;
    s.inside_s = 2 * plan->gradient_bytes * (node - 1) / ranks /
                 (links->inside_bytes_per_s * links->share);
    s.between_s = 2 * plan->gradient_bytes * (ranks - node) / ranks /
                  (links->between_bytes_per_s * links->share);
    s.messages_s = gpus > 1 ? 2 * buckets * links->message_s : 0;
    s.exchange_s = fmax(s.inside_s, s.between_s) + s.messages_s;
    s.exposed_s = fmax(s.exchange_s - plan->step.backward_s, s.exchange_s / buckets);
    s.norms_s = gpus > 1 ? 2 * plan->shared_norms * links->message_s : 0;
    s.step_s = plan->step.all_s + s.exposed_s + s.norms_s;
    s.examples_per_s = plan->batch * ranks / s.step_s;
    s.efficiency = plan->step.all_s / s.step_s;
    return s;
}
