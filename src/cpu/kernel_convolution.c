/* Convolutions through our own kernels: weights packed when their version changes, the queue's
 * threads take the parts. */
#include <omp.h>
#include <stdlib.h>

#include "convolution.h"
#include "kernels.h"

struct kernel_convolution {
    const struct kernel *kernel;
    float *packed;
    uint64_t weights_version;
    size_t scratch_bytes; /* of one part */
    int parts;
};

static void release(void *detail)
{
    struct kernel_convolution *k = detail;
    free(k->packed);
    free(k);
}

static bool load(struct plan *plan, const float *weights, struct error *err)
{
    (void)err;
    const struct kernel_convolution *k = plan->detail;
    k->kernel->pack(&plan->op, weights, k->packed);
    return true;
}

static bool execute(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    (void)err;
    const struct op *op = &plan->op;
    struct kernel_convolution *k = plan->detail;
    const bool forward = op->kind == OP_CONVOLUTION;
    const bool filter = op->kind == OP_CONVOLUTION_BACKWARD_FILTER;
    if (!filter && b->weights && b->weights_version != k->weights_version) {
        k->kernel->pack(op, b->weights, k->packed);
        k->weights_version = b->weights_version;
    }
    char *scratch = queue_scratch(plan);
    const float *x = forward || filter ? b->x : b->dy;
    const float *second = filter ? b->dy : k->packed;
#pragma omp parallel num_threads(k->parts)
    {
        const int part = omp_get_thread_num();
        k->kernel->run(op, x, second, forward && op->convolution.bias ? b->bias : NULL, b->out,
                       scratch + (size_t)part * k->scratch_bytes, part, k->parts);
        if (filter && op->convolution.bias) kernel_dbias(op, b->dy, b->dbias, part, k->parts);
    }
    return true;
}

bool kernel_convolution_plan(struct plan *plan, bool *found, struct error *err)
{
    const struct kernel *kernel = kernel_find(&plan->op);
    *found = kernel != NULL;
    if (!kernel) return true;
    struct kernel_convolution *k = calloc(1, sizeof *k);
    if (!k) return error_set(err, EXIT_CODE_FAILED, "out of memory for a plan");
    k->kernel = kernel;
    k->parts = omp_get_max_threads();
    k->scratch_bytes = (kernel->scratch_bytes(&plan->op) + 63) / 64 * 64;
    plan->bytes = kernel->packed_bytes(&plan->op);
    if (!cpu_alloc(plan->bytes, (void **)&k->packed, err) ||
        !queue_scratch_reserve(plan, k->scratch_bytes * (size_t)k->parts, err)) {
        release(k);
        return false;
    }
    plan->detail = k;
    plan->release = release;
    plan->load = load;
    plan->execute = execute;
    return true;
}
