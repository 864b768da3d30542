/* How fast several GPUs would train together, from the plan of one.
 *
 * Each of R GPUs owns 1/R of the gradients: it receives the others' terms, and sends them the sum.
 * So each sends 2*(R-1)/R of the gradients' bytes, and receives as many: those for the g-1 others
 * of its node over the links between GPUs, the rest over its share of the network, both at once.
 * Buckets leave as soon as they are complete, so all but the last one hides behind the backward
 * pass, if that takes long enough:
 *
 *     step = step of one GPU + max(exchange - backward pass, exchange of the last bucket)
 *
 * Ranks that share their batch statistics exchange them at each batch norm and its gradient; what
 * follows waits for two messages one after the other, which the step takes longer.
 *
 * The step of one GPU is a lower bound (run/gpu_plan.h), at which the exchange weighs most; links
 * are taken at `links.share` of their peak. */
#ifndef MICROMET_RUN_SCALING_H
#define MICROMET_RUN_SCALING_H

#include "micromet/run/gpu_plan.h"

/* Bytes a second in each direction, of each GPU; seconds until a message arrives. */
struct scaling_links {
    double inside_bytes_per_s, between_bytes_per_s, share, message_s;
};

struct scaling {
    int gpus, nodes;
    double bytes;                 /* that each GPU sends in a step */
    double inside_s, between_s;   /* they take, within a node and between nodes */
    double messages_s;            /* until they arrive, all buckets */
    double exchange_s, exposed_s; /* all of it; what the update waits for */
    double norms_s;               /* what shared batch statistics are waited for */
    double step_s, examples_per_s;
    double efficiency; /* of the examples a second that as many GPUs alone would train */
};

/* Without what is inside a node: InfiniBand NDR, 400 Gbit/s for each GPU; four fifths of what links
 * promise, as NCCL's tests show for large messages; and 20 us a message. */
extern const struct scaling_links scaling_links_usual;

/* plan: of one GPU, with its part of the batch. */
struct scaling scaling_of(const struct gpu_plan *plan, int gpus, int nodes,
                          const struct scaling_links *links);

#endif
