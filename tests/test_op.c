/* Validity of ops: each rule of op_check() violated by itself; and the functions that count. */
#include <criterion/criterion.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>

#include "micromet/base/size.h"
#include "micromet/nn/gpu_plan.h"
#include "shapes.h"

static struct tensor tensor(enum dtype dtype, int n, int size, int c)
{
    return (
        struct tensor) { .dtype = dtype, .n = n, .h = size, .w = size, .c = c, .pixel_stride = c };
}

/* A valid op of the kind. */
static struct op valid(enum op_kind kind)
{
    const struct op_window window = { 3, 3, .stride = 2, .pad_h = 1, .pad_w = 1 };
    struct op op = { .kind = kind,
                     .name = "this one",
                     .x = tensor(DTYPE_F32, 2, 9, 8),
                     .y = tensor(DTYPE_F32, 2, 5, 8) };
    switch (kind) {
    case OP_CONVOLUTION:
    case OP_CONVOLUTION_BACKWARD_DATA:
    case OP_CONVOLUTION_BACKWARD_FILTER:
        op.convolution.window = window;
        break;
    case OP_POOL:
    case OP_POOL_BACKWARD:
        op.pool.window = window;
        break;
    case OP_BATCH_NORM:
    case OP_BATCH_NORM_BACKWARD:
        op.x = op.y;
        op.batch_norm = (struct op_batch_norm) { .epsilon = 1e-3f, .momentum = 0.9f };
        break;
    case OP_RELU_BACKWARD:
    case OP_DROPOUT:
        op.x = op.y;
        break;
    case OP_LOSS:
        op.x = op.y = tensor(DTYPE_F32, 2, 1, 1);
        break;
    case OP_AUGMENT:
        op.x = tensor(DTYPE_U8, 2, 9, 3);
        op.y = tensor(DTYPE_F32, 2, 9, 4);
        break;
    case OP_OPTIMIZER:
        op.x = op.y = (struct tensor) { 0 };
        op.optimizer.count = 1;
        break;
    case OP_SUM:
        op.x = op.y = (struct tensor) { 0 };
        op.sum = (struct op_sum) { .count = 1, .scale = 1 };
        break;
    case OP_ALL_REDUCE:
        op.x = op.y = (struct tensor) { 0 };
        op.all_reduce = (struct op_all_reduce) { .count = 5, .term_stride = 8, .shards = 4 };
        break;
    case OP_KIND_COUNT:
        break;
    }
    return op;
}

/* A member of struct op, and its new value. */
struct change {
    enum op_kind kind;
    enum { INT, INT64, BOOL, FLOAT, DOUBLE } type;
    size_t offset;
    double value;
    const char *reason; /* part of the message; NULL: the op is still valid */
};

#define AT(member) offsetof(struct op, member)

static const struct change changes[] = {
    /* tensors */
    { OP_CONVOLUTION, INT, AT(x.n), 0, "x is empty: 0×9×9×8" },
    { OP_RELU_BACKWARD, INT, AT(x.h), 0, "x is empty: 2×0×5×8" },
    { OP_POOL, INT, AT(y.w), -1, "y is empty: 2×5×-1×8" },
    { OP_DROPOUT, INT, AT(y.c), 0, "y is empty: 2×5×5×0" },
    { OP_LOSS, INT, AT(x.pixel_stride), 0, "pixels of x overlap: 1 channels, pixel stride 0" },
    { OP_BATCH_NORM, INT, AT(y.pixel_stride), 7, "pixels of y overlap" },
    { OP_BATCH_NORM, INT, AT(y.pixel_stride), 9, NULL },
    /* windows, of convolutions and pools */
    { OP_CONVOLUTION, INT, AT(convolution.window.kernel_h), 0, "no window of 0×3" },
    { OP_POOL, INT, AT(pool.window.kernel_w), 0, "no window of 3×0" },
    { OP_CONVOLUTION_BACKWARD_DATA, INT, AT(convolution.window.stride), 0, "no stride of 0" },
    { OP_CONVOLUTION, INT, AT(convolution.window.pad_h), -1, "no padding of -1, 1" },
    { OP_POOL_BACKWARD, INT, AT(pool.window.pad_w), -1, "no padding of 1, -1" },
    { OP_CONVOLUTION, INT, AT(x.h), 8, "stride 2 and padding 1, 1 does not take maps of 8×9" },
    { OP_CONVOLUTION, INT, AT(x.h), 10, NULL }, /* a row is left over */
    { OP_CONVOLUTION_BACKWARD_FILTER, INT, AT(y.w), 6, "does not take maps of 9×9 to 5×6" },
    { OP_POOL, INT, AT(y.h), 4, "does not take maps of 9×9 to 4×5" },
    /* convolutions */
    { OP_CONVOLUTION, INT, AT(x.dtype), DTYPE_U8, "must be float32 or bfloat16" },
    { OP_CONVOLUTION, INT, AT(y.dtype), DTYPE_U8, "must be float32 or bfloat16" },
    { OP_CONVOLUTION_BACKWARD_DATA, INT, AT(y.dtype), DTYPE_BF16, "must have one type" },
    { OP_CONVOLUTION, INT, AT(y.n), 3, "2 images do not become 3" },
    { OP_CONVOLUTION, INT, AT(convolution.weights_c), -1, "weights of -1 channels for 8" },
    { OP_CONVOLUTION_BACKWARD_FILTER, INT, AT(convolution.weights_c), 9, "weights of 9 channels" },
    { OP_CONVOLUTION, INT, AT(convolution.weights_c), 3, NULL },
    { OP_CONVOLUTION_BACKWARD_DATA, BOOL, AT(convolution.bias), true, "has no bias" },
    { OP_CONVOLUTION_BACKWARD_FILTER, BOOL, AT(convolution.bias), true, NULL },
    { OP_CONVOLUTION_BACKWARD_FILTER, BOOL, AT(convolution.relu), true, "ReLU's gradient" },
    { OP_CONVOLUTION, BOOL, AT(convolution.relu), true, NULL },
    { OP_CONVOLUTION, BOOL, AT(convolution.accumulate), true, "only data gradients are added" },
    { OP_CONVOLUTION_BACKWARD_DATA, BOOL, AT(convolution.accumulate), true, NULL },
    /* pools */
    { OP_POOL, INT, AT(x.dtype), DTYPE_U8, "must be float32 or bfloat16" },
    { OP_POOL, INT, AT(x.dtype), DTYPE_BF16, NULL },
    { OP_POOL_BACKWARD, INT, AT(y.dtype), DTYPE_BF16, "y must have x's type, or be float32" },
    { OP_POOL, INT, AT(x.n), 3, "3 images do not become 2" },
    { OP_POOL, INT, AT(y.c), 7, "8 channels do not become 7" },
    { OP_POOL, BOOL, AT(pool.accumulate), true, "only gradients are added" },
    { OP_POOL_BACKWARD, BOOL, AT(pool.accumulate), true, NULL },
    /* element-wise */
    { OP_RELU_BACKWARD, INT, AT(x.dtype), DTYPE_U8, "must be float32 or bfloat16" },
    { OP_DROPOUT, INT, AT(x.dtype), DTYPE_BF16, "must have one type" },
    { OP_BATCH_NORM_BACKWARD, INT, AT(x.n), 1, "1 images do not become 2" },
    { OP_BATCH_NORM, INT, AT(y.c), 7, "8 channels do not become 7" },
    { OP_RELU_BACKWARD, INT, AT(x.h), 4, "maps of 4×5 do not become 5×5" },
    { OP_DROPOUT, INT, AT(y.w), 6, "maps of 5×5 do not become 5×6" },
    /* batch norm and dropout */
    { OP_BATCH_NORM, FLOAT, AT(batch_norm.epsilon), -1e-3, "an epsilon is at least 0" },
    { OP_BATCH_NORM, INT, AT(batch_norm.part), NORM_SUMS, NULL },
    { OP_BATCH_NORM, INT, AT(batch_norm.part), NORM_REST, "sums over 0 pixels leave out" },
    { OP_BATCH_NORM, FLOAT, AT(batch_norm.epsilon), NAN, "an epsilon is at least 0" },
    { OP_BATCH_NORM, FLOAT, AT(batch_norm.epsilon), 0, NULL },
    { OP_BATCH_NORM, FLOAT, AT(batch_norm.momentum), -0.1, "a momentum lies in [0, 1]" },
    { OP_BATCH_NORM_BACKWARD, FLOAT, AT(batch_norm.momentum), 1.1, "a momentum lies in [0, 1]" },
    { OP_BATCH_NORM, FLOAT, AT(batch_norm.momentum), 1, NULL },
    { OP_DROPOUT, FLOAT, AT(dropout.rate), -0.1, "a rate lies in [0, 1)" },
    { OP_DROPOUT, FLOAT, AT(dropout.rate), 1, "a rate lies in [0, 1), and not at 1" },
    { OP_DROPOUT, FLOAT, AT(dropout.rate), NAN, "a rate lies in [0, 1)" },
    /* the loss */
    { OP_LOSS, INT, AT(x.dtype), DTYPE_U8, "must be float32 or bfloat16" },
    { OP_LOSS, INT, AT(x.dtype), DTYPE_BF16, NULL },
    { OP_LOSS, INT, AT(y.dtype), DTYPE_BF16, "gradients of logits are float32" },
    { OP_LOSS, INT, AT(y.n), 3, "2 images do not become 3" },
    { OP_LOSS, INT, AT(x.h), 2, "one logit a sample" },
    { OP_LOSS, INT, AT(x.w), 2, "one logit a sample" },
    { OP_LOSS, INT, AT(y.h), 2, "one logit a sample, and one gradient" },
    { OP_LOSS, INT, AT(y.w), 2, "one logit a sample, and one gradient" },
    /* augmentation */
    { OP_AUGMENT, INT, AT(x.n), 3, "3 images do not become 2" },
    { OP_AUGMENT, INT, AT(x.dtype), DTYPE_F32, "windows must be square, of three uint8" },
    { OP_AUGMENT, INT, AT(x.w), 8, "windows must be square, of three uint8" },
    { OP_AUGMENT, INT, AT(y.dtype), DTYPE_U8, "y must be as large as the windows" },
    { OP_AUGMENT, INT, AT(y.dtype), DTYPE_BF16, NULL },
    { OP_AUGMENT, INT, AT(y.h), 8, "y must be as large as the windows" },
    { OP_AUGMENT, INT, AT(y.w), 8, "y must be as large as the windows" },
    { OP_AUGMENT, INT, AT(y.c), 2, "three float channels or more" },
    { OP_AUGMENT, INT, AT(x.pixel_stride), 4, "pixels must lie side by side" },
    { OP_AUGMENT, INT, AT(y.pixel_stride), 8, "pixels must lie side by side" },
    /* optimizers */
    { OP_LOSS, DOUBLE, AT(loss.smoothing), 1, "a smoothing lies in [0, 1), and not at 1" },
    { OP_LOSS, DOUBLE, AT(loss.smoothing), -0.1, "and not at -0.1" },
    { OP_LOSS, DOUBLE, AT(loss.weights[1]), -2, "weights of 0 and -2: none is below 0" },
    { OP_OPTIMIZER, INT64, AT(optimizer.count), 0, "there are no parameters" },
    /* sums */
    { OP_SUM, INT64, AT(sum.count), 0, "there is nothing to add" },
    { OP_ALL_REDUCE, INT64, AT(all_reduce.count), 0, "there is nothing to add" },
    { OP_ALL_REDUCE, INT64, AT(all_reduce.term_stride), 4, "its terms overlap" },
    { OP_ALL_REDUCE, INT, AT(all_reduce.shards), 0, "there are no shards" },
};

static void apply(struct op *op, const struct change *change)
{
    void *at = (char *)op + change->offset;
    switch (change->type) {
    case INT:
        *(int *)at = (int)change->value;
        break;
    case INT64:
        *(int64_t *)at = (int64_t)change->value;
        break;
    case BOOL:
        *(bool *)at = change->value != 0;
        break;
    case FLOAT:
        *(float *)at = (float)change->value;
        break;
    case DOUBLE:
        *(double *)at = change->value;
        break;
    }
}

static void expect_refused(const struct op *op, const char *reason)
{
    struct error err = { 0 };
    char start[64];
    snprintf(start, sizeof start, "%s this one: ", op_kind_name(op->kind));
    cr_expect_not(op_check(op, &err), "%s, %s: not refused", op_kind_name(op->kind), reason);
    cr_expect(strncmp(err.message, start, strlen(start)) == 0 && strstr(err.message, reason),
              "'%s' should be '%s…%s…'", err.message, start, reason);
}

Test(op, every_kind_has_ops_that_make_sense)
{
    for (int kind = 0; kind < OP_KIND_COUNT; kind++) {
        const struct op op = valid((enum op_kind)kind);
        struct error err = { 0 };
        cr_expect(op_check(&op, &err), "%s", err.message);
    }
}

Test(op, one_broken_rule_is_enough)
{
    for (size_t i = 0; i < COUNT_OF(changes); i++) {
        const struct change *change = &changes[i];
        struct op op = valid(change->kind);
        struct error err = { 0 };
        apply(&op, change);
        if (change->reason)
            expect_refused(&op, change->reason);
        else
            cr_expect(op_check(&op, &err), "%s", err.message);
    }
}

/* Rules that need two changes, since one alone would violate another rule. */
Test(op, rules_that_one_change_cannot_break_alone)
{
    struct op op = valid(OP_CONVOLUTION); /* a window larger than the padded map */
    op.convolution.window.kernel_w = 12;
    op.y.w = 1;
    expect_refused(&op, "a window of 3×12 pixels");
    op = valid(OP_POOL); /* the first window is entirely padding */
    op.pool.window.pad_h = 3;
    op.y.h = 7;
    expect_refused(&op, "a window would hold no pixel");
    op = valid(OP_POOL);
    op.pool.window.pad_w = 3;
    op.y.w = 7;
    expect_refused(&op, "a window would hold no pixel");
    op = valid(OP_LOSS);
    op.x.c = op.x.pixel_stride = 2;
    expect_refused(&op, "one logit a sample");
    op = valid(OP_LOSS);
    op.y.c = op.y.pixel_stride = 2;
    expect_refused(&op, "one logit a sample, and one gradient");
    op = valid(OP_AUGMENT);
    op.x.c = op.x.pixel_stride = 4;
    expect_refused(&op, "windows must be square, of three uint8 channels");
}

Test(op, a_message_does_without_a_name)
{
    struct op op = valid(OP_OPTIMIZER);
    struct error err = { 0 };
    op.name = NULL;
    op.optimizer.count = -1;
    cr_expect_not(op_check(&op, &err));
    cr_expect_str_eq(err.message, "optimizer: there are no parameters");
}

Test(op, a_backend_that_computes_nothing_refuses_as_well)
{
    const struct backend_facts facts = { .queues = 1 };
    struct dry_backend dry;
    struct op op = valid(OP_CONVOLUTION);
    struct error err = { 0 };
    struct plan *plan;
    dry_backend_init(&dry, &facts, NULL);
    cr_assert(dry.base.ops->plan(&dry.base, &op, &plan, &err), "%s", err.message);
    dry.base.ops->plan_release(plan);
    op.y.n = 1;
    cr_expect_not(dry.base.ops->plan(&dry.base, &op, &plan, &err));
    cr_expect_null(plan);
    cr_expect_str_eq(err.message, "convolution this one: 2 images do not become 1");
}

Test(op, dense_is_an_unpadded_product_of_matrices)
{
    struct op op = { .kind = OP_CONVOLUTION_BACKWARD_FILTER,
                     .x = tensor(DTYPE_F32, 4, 1, 8),
                     .y = tensor(DTYPE_F32, 4, 1, 3),
                     .convolution.window = { 1, 1, .stride = 3 } };
    struct error err = { 0 };
    cr_expect(op_is_dense(&op));
    op.convolution.window.pad_h = op.convolution.window.pad_w = 1; /* it covers padding only */
    cr_expect(op_check(&op, &err), "%s", err.message);
    cr_expect_not(op_is_dense(&op));
    op = valid(OP_CONVOLUTION);
    cr_expect_not(op_is_dense(&op));
    op = valid(OP_POOL);
    op.x = op.y = tensor(DTYPE_F32, 4, 1, 8);
    op.pool.window = (struct op_window) { 1, 1, .stride = 1 };
    cr_expect_not(op_is_dense(&op));
}

static double macs_by_loops(const struct op *op)
{
    const struct op_window *w = &op->convolution.window;
    double macs = 0;
    for (int oy = 0; oy < op->y.h; oy++)
        for (int ox = 0; ox < op->y.w; ox++)
            for (int r = 0; r < w->kernel_h; r++)
                for (int s = 0; s < w->kernel_w; s++) {
                    const int y = oy * w->stride + r - w->pad_h;
                    const int x = ox * w->stride + s - w->pad_w;
                    if (y >= 0 && y < op->x.h && x >= 0 && x < op->x.w)
                        macs += (double)op->x.n * op->x.c * op->y.c;
                }
    return macs;
}

Test(op, multiply_adds_are_those_of_taps_inside_the_map)
{
    static struct shapes shapes;
    shapes_odd(&shapes);
    for (int i = 0; i < shapes.count; i++) {
        const bool pool = shapes.items[i].kind != INCEPTION_CONVOLUTION;
        struct op op = shape_op(&shapes.items[i], pool ? OP_POOL : OP_CONVOLUTION, DTYPE_F32);
        cr_expect_eq(op_macs(&op), pool ? 0 : macs_by_loops(&op), "%s", op.name);
        if (pool) continue;
        op.kind = OP_CONVOLUTION_BACKWARD_DATA;
        cr_expect_eq(op_macs(&op), macs_by_loops(&op), "data gradient, %s", op.name);
    }
}
