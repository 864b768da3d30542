/* Update rules over many steps: the backend's float32 against the formulas of nn/optimizer.h in
 * double, and first steps computed by hand. */
#include <criterion/criterion.h>
#include <math.h>

#include "micromet/base/size.h"
#include "micromet/nn/optimizer.h"
#include "op_case.h"

enum { COUNT = 1003, STEPS = 25 };

static const struct config_optimizer rules[] = {
    { .name = OPTIMIZER_ADAM, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-7 },
    { .name = OPTIMIZER_ADAM, .beta1 = 0.8, .beta2 = 0.99, .epsilon = 1e-3, .weight_decay = 0.01 },
    { .name = OPTIMIZER_RMSPROP, .decay = 0.9, .momentum = 0.9, .epsilon = 1.0 },
    { .name = OPTIMIZER_RMSPROP, .decay = 0.99, .epsilon = 1e-3, .weight_decay = 0.1 },
    { .name = OPTIMIZER_SGD, .momentum = 0.9 },
    { .name = OPTIMIZER_SGD, .weight_decay = 0.1 },
    { .name = OPTIMIZER_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0.5 },
};
enum { RULES = COUNT_OF(rules) };

struct particle {
    double p, s1, s2;
};

static void adam(struct particle *q, const struct config_optimizer *o, double g, double lr, int t)
{
    q->s1 = o->beta1 * q->s1 + (1 - o->beta1) * g;
    q->s2 = o->beta2 * q->s2 + (1 - o->beta2) * g * g;
    const double m = q->s1 / (1 - pow(o->beta1, t)), v = q->s2 / (1 - pow(o->beta2, t));
    q->p -= lr * m / (sqrt(v) + o->epsilon);
}

/* torch.optim.AdamW */
static void adamw(struct particle *q, const struct config_optimizer *o, double g, double lr, int t)
{
    q->p *= 1 - lr * o->weight_decay;
    adam(q, o, g, lr, t);
}

static void rmsprop(struct particle *q, const struct config_optimizer *o, double g, double lr,
                    int t)
{
    (void)t;
    q->s1 = o->decay * q->s1 + (1 - o->decay) * g * g;
    q->s2 = o->momentum * q->s2 + lr * g / sqrt(q->s1 + o->epsilon);
    q->p -= q->s2;
}

static void sgd(struct particle *q, const struct config_optimizer *o, double g, double lr, int t)
{
    (void)t;
    q->s1 = o->momentum * q->s1 + g;
    q->p -= lr * q->s1;
}

static void step_in_double(struct particle *q, const struct config_optimizer *o, double gradient,
                           double lr, int t)
{
    static void (*const kinds[])(struct particle *, const struct config_optimizer *, double, double,
                                 int) = { [OPTIMIZER_ADAM] = adam,
                                          [OPTIMIZER_RMSPROP] = rmsprop,
                                          [OPTIMIZER_SGD] = sgd,
                                          [OPTIMIZER_ADAMW] = adamw };
    const double decay = o->name == OPTIMIZER_ADAMW ? 0 : o->weight_decay;
    kinds[o->name](q, o, gradient + decay * q->p, lr, t);
}

/* Gradients from 1e-6 to 1, of both signs, and exact zeros. */
static float gradient_of(int i, int t)
{
    if (i % 17 == 0) return 0;
    return (float)(sin(i * 1.7 + t * 0.9) * pow(10, -(i % 7)));
}

static float rate_of(int t)
{
    return t < 10 ? 2e-4f : 1e-2f;
}

static bool one_step(struct op_case *test, struct backend *backend, int t, struct error *err)
{
    float *gradients = op_case_before(test, ROLE_GRADIENTS);
    for (int i = 0; i < COUNT; i++) gradients[i] = gradient_of(i, t);
    test->values.learning_rate = rate_of(t);
    test->values.step = t;
    return op_case_run(test, backend, err);
}

static void start(struct op_case *test, const struct config_optimizer *o, struct particle *q)
{
    float *p = op_case_before(test, ROLE_PARAMETERS), *s1 = op_case_before(test, ROLE_STATE1);
    float *s2 = optimizer_state_count(o->name) == 2 ? op_case_before(test, ROLE_STATE2) : NULL;
    for (int i = 0; i < COUNT; i++) {
        s1[i] = optimizer_initial_state(o->name, 1);
        if (s2) s2[i] = optimizer_initial_state(o->name, 2);
        q[i] = (struct particle) { p[i], s1[i], s2 ? s2[i] : 0 };
    }
}

/* The float32 run may drift by the rounding of p in every step, or in both of AdamW's, and by a few
 * roundings of each update. */
static void check_drift(const struct config_optimizer *o, struct op_case *test,
                        const struct particle *q, const float *began, const double *travelled,
                        int t)
{
    const float *p = op_case_after(test, ROLE_PARAMETERS);
    for (int i = 0; i < COUNT; i++) {
        const int roundings = o->name == OPTIMIZER_ADAMW ? 2 * t : t;
        const double tolerance = roundings * 0x1p-24 * fabs(q[i].p) + 4e-6 * travelled[i];
        cr_assert_float_eq(p[i], q[i].p, tolerance + 1e-12,
                           "rule %d, step %d: p[%d] went from %.9g to %.9g, should be at %.9g",
                           (int)o->name, t, i, began[i], p[i], q[i].p);
    }
}

Test(optimizer, many_steps_follow_the_formulas)
{
    struct backend *backend = op_case_backend(1);
    for (int k = 0; k < RULES; k++) {
        const struct config_optimizer *o = &rules[k];
        const struct op op = { .kind = OP_OPTIMIZER, .optimizer = { *o, COUNT } };
        static struct particle q[COUNT];
        static float began[COUNT];
        static double travelled[COUNT];
        struct op_case test;
        struct error err = { 0 };
        double worst = 0;
        op_case_init(&test, &op, 1);
        start(&test, o, q);
        for (int i = 0; i < COUNT; i++) {
            began[i] = (float)q[i].p;
            travelled[i] = 0;
        }
        for (int t = 1; t <= STEPS; t++) {
            cr_assert(one_step(&test, backend, t, &err), "%s", err.message);
            cr_assert(op_case_check(&test, &worst, &err), "rule %d, step %d: %s", k, t,
                      err.message);
            for (int i = 0; i < COUNT; i++) {
                const double before = q[i].p;
                step_in_double(&q[i], o, gradient_of(i, t), rate_of(t), t);
                travelled[i] += fabs(q[i].p - before);
            }
            check_drift(o, &test, q, began, travelled, t);
            op_case_advance(&test);
        }
        op_case_release(&test);
    }
    backend_close(backend);
}

/* More than a GPU updates in one pass of its grid. */
Test(optimizer, millions_of_parameters_follow_the_formula)
{
    struct backend *backend = op_case_backend(1);
    const struct op op = { .kind = OP_OPTIMIZER, .optimizer = { rules[4], 2500003 } };
    struct error err = { 0 };
    double worst = 0;
    cr_expect(op_case_holds(&op, backend, 1, &worst, &err), "%s", err.message);
    backend_close(backend);
}

/* One parameter at 1, one gradient, one step. */
static float first_step(const struct config_optimizer *o, float gradient, float lr)
{
    struct backend *backend = op_case_backend(1);
    const struct op op = { .kind = OP_OPTIMIZER, .optimizer = { *o, 1 } };
    struct op_case test;
    struct error err = { 0 };
    op_case_init(&test, &op, 1);
    *(float *)op_case_before(&test, ROLE_PARAMETERS) = 1;
    *(float *)op_case_before(&test, ROLE_GRADIENTS) = gradient;
    *(float *)op_case_before(&test, ROLE_STATE1) = optimizer_initial_state(o->name, 1);
    if (optimizer_state_count(o->name) == 2)
        *(float *)op_case_before(&test, ROLE_STATE2) = optimizer_initial_state(o->name, 2);
    test.values.learning_rate = lr;
    test.values.step = 1;
    cr_assert(op_case_run(&test, backend, &err), "%s", err.message);
    const float p = *(float *)op_case_after(&test, ROLE_PARAMETERS);
    op_case_release(&test);
    backend_close(backend);
    return p;
}

Test(optimizer, the_first_step_of_adam_is_the_learning_rate)
{
    const struct config_optimizer *o = &rules[0];
    cr_expect_float_eq(first_step(o, 5, 0.25f), 0.75, 1e-6);
    cr_expect_float_eq(first_step(o, -1e-3f, 0.25f), 1.25, 3e-5); /* epsilon is 1e-4 of |g| */
    cr_expect_eq(first_step(o, 0, 0.25f), 1);
}

/* As torch.optim.AdamW([p], lr=0.1, weight_decay=0.5): 1 - 0.05, less the rate where there is a
 * gradient. */
Test(optimizer, the_first_step_of_adamw_takes_the_decay_off_the_weight)
{
    cr_expect_float_eq(first_step(&rules[6], 2, 0.1f), 0.85, 1e-6);
    cr_expect_float_eq(first_step(&rules[6], 0, 0.1f), 0.95, 1e-6);
}

Test(optimizer, the_first_step_of_rmsprop_starts_from_a_mean_square_of_one)
{
    /* ms = 0.9 + 0.1 * 4 = 1.3; epsilon 1: 1 - 0.1 * 2 / sqrt(2.3) */
    cr_expect_float_eq(first_step(&rules[2], 2, 0.1f), 0.8681239, 1e-6);
}

Test(optimizer, the_first_step_of_sgd_is_the_gradient)
{
    cr_expect_float_eq(first_step(&rules[4], 2, 0.125f), 0.75, 1e-7);
    cr_expect_float_eq(first_step(&rules[5], 2, 0.5f), -0.05, 1e-7); /* 1 - 0.5 * (2 + 0.1 * 1) */
}

Test(optimizer, rules_say_how_much_state_they_keep)
{
    cr_expect_eq(optimizer_state_count(OPTIMIZER_ADAM), 2);
    cr_expect_eq(optimizer_state_count(OPTIMIZER_RMSPROP), 2);
    cr_expect_eq(optimizer_state_count(OPTIMIZER_SGD), 1);
    cr_expect_eq(optimizer_state_count(OPTIMIZER_ADAMW), 2);
    cr_expect_eq(optimizer_initial_state(OPTIMIZER_RMSPROP, 1), 1);
    cr_expect_eq(optimizer_initial_state(OPTIMIZER_RMSPROP, 2), 0);
    cr_expect_eq(optimizer_initial_state(OPTIMIZER_ADAM, 1), 0);
    cr_expect_eq(optimizer_initial_state(OPTIMIZER_ADAM, 2), 0);
    cr_expect_eq(optimizer_initial_state(OPTIMIZER_SGD, 1), 0);
}
