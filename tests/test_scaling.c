/* Predictions for several GPUs, against figures worked out by hand. */
#include <criterion/criterion.h>

#include "micromet/run/scaling.h"

/* 144 MiB of gradients make nine buckets of 16 MiB, and the head's: ten. A step of 100 ms, of which
 * the backward pass is 60. */
static const struct gpu_plan plan = { .batch = 32,
                                      .gradient_bytes = 144 << 20,
                                      .step = { .all_s = 0.1, .backward_s = 0.06 } };

static struct scaling_links links(double inside, double between)
{
    return (struct scaling_links) { .inside_bytes_per_s = inside,
                                    .between_bytes_per_s = between,
                                    .share = 0.5,
                                    .message_s = 1e-4 };
}

Test(scaling, one_gpu_exchanges_nothing)
{
    const struct scaling_links slow = links(1, 1);
    const struct scaling s = scaling_of(&plan, 1, 1, &slow);
    cr_expect_eq(s.exchange_s, 0);
    cr_expect_float_eq(s.efficiency, 1, 1e-12);
}

/* Within a node, 2 * 144 MiB * 3/4 at half of 72 MiB/s take 6 s, and ten buckets of two messages
 * 2 ms. All but 60 ms is waited for. */
Test(scaling, what_the_backward_pass_is_too_short_for_is_waited_for)
{
    const struct scaling_links slow = links(72 << 20, 1);
    const struct scaling s = scaling_of(&plan, 4, 1, &slow);
    cr_expect_float_eq(s.bytes, 216 << 20, 1);
    cr_expect_float_eq(s.between_s, 0, 0);
    cr_expect_float_eq(s.exchange_s, 6.002, 1e-9);
    cr_expect_float_eq(s.exposed_s, 5.942, 1e-9);
    cr_expect_float_eq(s.step_s, 6.042, 1e-9);
    cr_expect_float_eq(s.examples_per_s, 128 / 6.042, 1e-6);
    cr_expect_float_eq(s.efficiency, 0.1 / 6.042, 1e-9);
}

/* Two nodes of two: to one GPU inside, 2 * 144 MiB / 4, to two outside twice that, both at once. Of
 * what hides, the last bucket is waited for all the same. */
Test(scaling, both_links_work_at_once_and_the_last_bucket_is_waited_for)
{
    const struct scaling_links fast = links(14400.0 * (1 << 20), 7200.0 * (1 << 20));
    const struct scaling s = scaling_of(&plan, 4, 2, &fast);
    cr_expect_float_eq(s.inside_s, 0.01, 1e-12);
    cr_expect_float_eq(s.between_s, 0.04, 1e-12);
    cr_expect_float_eq(s.exchange_s, 0.042, 1e-12);
    cr_expect_float_eq(s.exposed_s, 0.0042, 1e-12);
    cr_expect_float_eq(s.efficiency, 0.1 / 0.1042, 1e-9);
}

/* 90 exchanges of two messages each, whatever is hidden. */
Test(scaling, shared_batch_statistics_hold_up_each_norm)
{
    const struct scaling_links fast = links(14400.0 * (1 << 20), 7200.0 * (1 << 20));
    struct gpu_plan shared = plan;
    shared.shared_norms = 90;
    cr_expect_float_eq(scaling_of(&shared, 4, 2, &fast).step_s, 0.1042 + 0.018, 1e-12);
    cr_expect_float_eq(scaling_of(&shared, 1, 1, &fast).step_s, 0.1, 1e-12);
}
