/* Plans for the ops that kernels of this folder compute: a table lookup. */
#include "cuda_backend.h"

static const struct cuda_kernel *const kernels[OP_KIND_COUNT] = {
    [OP_BATCH_NORM] = &cuda_kernel_batch_norm,
    [OP_BATCH_NORM_BACKWARD] = &cuda_kernel_batch_norm_backward,
    [OP_POOL] = &cuda_kernel_pool,
    [OP_POOL_BACKWARD] = &cuda_kernel_pool_backward,
    [OP_RELU_BACKWARD] = &cuda_kernel_relu_backward,
    [OP_DROPOUT] = &cuda_kernel_dropout,
    [OP_LOSS] = &cuda_kernel_loss,
    [OP_AUGMENT] = &cuda_kernel_augment,
    [OP_OPTIMIZER] = &cuda_kernel_optimizer,
    [OP_SUM] = &cuda_kernel_sum,
    [OP_AVERAGE] = &cuda_kernel_average,
};

static bool run(struct plan *plan, const struct op_buffers *buffers, struct error *err)
{
    const cudaError_t status = kernels[plan->op.kind]->launch(
        &plan->op, buffers, plan_workspace(plan), plan_stream(plan));
    return cuda_check(status, op_kind_name(plan->op.kind), __FILE__, __LINE__, err);
}

bool cuda_plan_kernel(struct plan *plan, struct error *err)
{
    const struct cuda_kernel *kernel = kernels[plan->op.kind];
    if (kernel->check && !kernel->check(&plan->op, err)) return false;
    const size_t bytes = kernel->workspace_bytes ? kernel->workspace_bytes(&plan->op) : 0;
    plan->run = run;
    return workspace_reserve(plan->backend, plan->op.queue, bytes, err);
}
