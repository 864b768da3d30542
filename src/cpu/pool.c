/* Maximum and average pools, forward and backward: rows of output pixels, or images, spread over
 * the queue's threads. */
#include <omp.h>
#include <stdlib.h>

#include "isa.h"
#include "plan.h"

struct pool_plan {
    struct pool pool;
    size_t scratch_bytes; /* of one thread */
    char *scratch;
    struct pool_range ranges[]; /* of the rows, then of the columns */
};

static void release(void *detail)
{
    struct pool_plan *p = detail;
    free(p->scratch);
    free(p);
}

static void *scratch(const struct pool_plan *p)
{
    return p->scratch + (size_t)omp_get_thread_num() * p->scratch_bytes;
}

static bool forward(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    (void)err;
    const struct pool_plan *p = plan->detail;
#pragma omp parallel for schedule(static) collapse(2)
    for (int n = 0; n < plan->op.y.n; n++)
        for (int oy = 0; oy < plan->op.y.h; oy++) plan->isa->pool(&p->pool, b, n, oy, scratch(p));
    return true;
}

static bool backward(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    (void)err;
    const struct pool_plan *p = plan->detail;
#pragma omp parallel for schedule(static)
    for (int n = 0; n < plan->op.x.n; n++) plan->isa->pool_backward(&p->pool, b, n, scratch(p));
    return true;
}

static void ranges_init(struct pool_range *ranges, int count, int kernel, int stride, int pad,
                        int in)
{
    for (int i = 0; i < count; i++) {
        const int first = i * stride - pad, last = first + kernel;
        ranges[i] = (struct pool_range) { first < 0 ? 0 : first, last > in ? in : last };
    }
}

bool plan_pool(struct plan *plan, struct error *err)
{
    const struct op *op = &plan->op;
    const struct op_window *w = &op->pool.window;
    const bool is_backward = op->kind == OP_POOL_BACKWARD;
    const size_t ranges = (size_t)op->y.h + (size_t)op->y.w;
    struct pool_plan *p = calloc(1, sizeof *p + ranges * sizeof *p->ranges);
    if (!p) return error_set(err, EXIT_CODE_FAILED, "out of memory for a plan");
    ranges_init(p->ranges, op->y.h, w->kernel_h, w->stride, w->pad_h, op->x.h);
    ranges_init(p->ranges + op->y.h, op->y.w, w->kernel_w, w->stride, w->pad_w, op->x.w);
    p->pool = (struct pool) { op, p->ranges, p->ranges + op->y.h };
    p->scratch_bytes = is_backward ? (size_t)op->x.h * op->x.w * op->x.c * sizeof(float)
                                   : (size_t)w->kernel_h * w->kernel_w * sizeof(void *);
    plan->bytes = (size_t)omp_get_max_threads() * p->scratch_bytes;
    if (!cpu_alloc(plan->bytes, (void **)&p->scratch, err)) {
        free(p);
        return false;
    }
    plan->detail = p;
    plan->release = release;
    plan->execute = is_backward ? backward : forward;
    return true;
}
