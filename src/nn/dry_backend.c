/* A backend that plans but computes nothing. The addresses it allocates are invented and never
 * accessed, so even the largest model takes no memory. */
#include <stdlib.h>

#include "micromet/base/size.h"
#include "micromet/nn/gpu_plan.h"

struct plan {
    struct op op;
    bool planned;
    struct gpu_convolution convolution;
};

static struct dry_backend *self(struct backend *backend)
{
    return (struct dry_backend *)backend;
}

static bool dry_alloc(struct backend *backend, size_t bytes, void **memory, struct error *err)
{
    (void)err;
    enum { ALIGNMENT = 512 };
    static const uintptr_t nowhere = (uintptr_t)1 << 40;
    *memory = (void *)(nowhere + self(backend)->bytes);
    self(backend)->bytes += round_up(bytes, ALIGNMENT);
    return true;
}

static void dry_free(struct backend *backend, void *memory)
{
    (void)backend;
    (void)memory;
}

static bool host_alloc(struct backend *backend, size_t bytes, void **memory, struct error *err)
{
    (void)backend;
    *memory = malloc(bytes + 1);
    return *memory || error_set(err, EXIT_CODE_FAILED, "out of memory for a batch");
}

static void host_free(struct backend *backend, void *memory)
{
    (void)backend;
    free(memory);
}

static bool dry_zero(struct backend *backend, int queue, void *to, size_t bytes, struct error *err)
{
    (void)backend;
    (void)queue;
    (void)to;
    (void)bytes;
    (void)err;
    return true;
}

static bool dry_synchronize(struct backend *backend, struct error *err)
{
    (void)backend;
    (void)err;
    return true;
}

static bool dry_plan(struct backend *backend, const struct op *op, struct plan **out,
                     struct error *err)
{
    struct gpu_planner *planner = self(backend)->planner;
    *out = NULL;
    if (!op_check(op, err)) return false;
    struct plan *plan = *out = calloc(1, sizeof *plan);
    if (!plan) return error_set(err, EXIT_CODE_FAILED, "out of memory for a plan");
    plan->op = *op;
    if (!planner || !op_is_convolution(op)) return true;
    if (op_is_dense(op)) {
        plan->convolution.kept_bytes = planner->ops->dense_kept_bytes(op);
        return true;
    }
    plan->planned = planner->ops->convolution(planner, op, &plan->convolution, err);
    size_t *scratch = &self(backend)->scratch_bytes[op->queue];
    if (plan->convolution.scratch_bytes > *scratch) *scratch = plan->convolution.scratch_bytes;
    if (plan->planned) return true;
    free(plan);
    *out = NULL;
    return false;
}

static size_t dry_plan_bytes(const struct plan *plan)
{
    return plan->convolution.kept_bytes;
}

static void dry_plan_release(struct plan *plan)
{
    free(plan);
}

const struct gpu_convolution *dry_plan_convolution(const struct plan *plan)
{
    return plan->planned ? &plan->convolution : NULL;
}

/* Only what building a model calls; nothing is ever run. */
static const struct backend_ops dry_ops = {
    .alloc = dry_alloc,
    .alloc_host = host_alloc,
    .free = dry_free,
    .free_host = host_free,
    .zero = dry_zero,
    .synchronize = dry_synchronize,
    .plan = dry_plan,
    .plan_bytes = dry_plan_bytes,
    .plan_release = dry_plan_release,
};

void dry_backend_init(struct dry_backend *backend, const struct backend_facts *facts,
                      struct gpu_planner *planner)
{
    *backend = (struct dry_backend) { .base = { .ops = &dry_ops, .facts = *facts },
                                      .planner = planner };
}
