/* Convolutions through our own kernels. Weights are packed when their version changes; each thread
 * of the queue computes one part. */
#include <omp.h>
#include <stdlib.h>

#include "convolution.h"
#include "kernels.h"
#include "micromet/base/size.h"

struct kernel_convolution {
    struct kernel_plan *plan;
    float *packed;
    uint64_t weights_version;
    size_t scratch_bytes; /* of one part */
    int parts;
};

static void release(void *detail)
{
    struct kernel_convolution *k = detail;
    free(k->plan);
    free(k->packed);
    free(k);
}

static bool load(struct plan *plan, const float *weights, struct error *err)
{
    (void)err;
    const struct kernel_convolution *k = plan->detail;
    k->plan->kernel->pack(k->plan, weights, k->packed);
    return true;
}

static bool execute(struct plan *plan, const struct op_buffers *b, struct error *err)
{
    const struct op *op = &plan->op;
    struct kernel_convolution *k = plan->detail;
    const bool forward = op->kind == OP_CONVOLUTION;
    const bool filter = op->kind == OP_CONVOLUTION_BACKWARD_FILTER;
    if (!filter && b->weights && b->weights_version != k->weights_version) {
        load(plan, b->weights, err);
        k->weights_version = b->weights_version;
    }
    char *scratch = queue_scratch(plan);
    const float *x = forward || filter ? b->x : b->dy;
    const float *second = filter ? b->dy : k->packed;
#pragma omp parallel num_threads(k->parts)
    {
        const int part = omp_get_thread_num();
        k->plan->kernel->run(k->plan, x, second, forward && op->convolution.bias ? b->bias : NULL,
                             b->out, scratch + (size_t)part * k->scratch_bytes, part, k->parts);
        if (filter && op->convolution.bias) kernel_dbias(op, b->dy, b->dbias, part, k->parts);
    }
    return true;
}

bool kernel_convolution_plan(struct plan *plan, bool *found, struct error *err)
{
    struct kernel_convolution *k = calloc(1, sizeof *k);
    *found = false;
    if (!k) return error_set(err, EXIT_CODE_FAILED, "out of memory for a plan");
    if (!kernel_plan(&plan->op, plan->isa, &k->plan, err)) goto fail;
    *found = k->plan != NULL;
    if (!*found) {
        release(k);
        return true;
    }
    k->parts = omp_get_max_threads();
    k->scratch_bytes = round_up(k->plan->scratch_bytes, 64);
    plan->bytes = k->plan->packed_bytes;
    if (!cpu_alloc(plan->bytes, (void **)&k->packed, err)) goto fail;
    if (!queue_scratch_reserve(plan, k->scratch_bytes * (size_t)k->parts, err)) goto fail;
    plan->detail = k;
    plan->release = release;
    plan->load = load;
    plan->execute = execute;
    return true;
fail:
    release(k);
    return false;
}
