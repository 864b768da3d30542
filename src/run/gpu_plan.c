/* Estimates the time and memory of training on a GPU by a roofline model; see the header. */
#include "micromet/run/gpu_plan.h"

#include <math.h>
#include <stdlib.h>

#include "micromet/base/thread.h"
#include "micromet/nn/optimizer.h"

/* Minimum time between the starts of two dependent kernels in a replayed graph: an
 * assumption, not a measurement. */
static const double kernel_start_s = 2e-6;
/* Device memory of the CUDA context and all kernels before anything is
 * allocated: an assumption, too. */
static const size_t libraries_bytes = (size_t)700 << 20;

static struct backend_facts gpu_facts(const struct gpu *gpu, int queues)
{
    return (struct backend_facts) { .name = "cuda",
                                    .native_bf16 = true,
                                    .tf32 = true,
                                    .queues = queues,
                                    .copy_queue = queues,
                                    .threads = thread_count_default(),
                                    .input_channels = 4,
                                    .memory_bytes = gpu->memory_bytes };
}

/* --- what an operation costs ------------------------------------------------------------------ */

static double view_bytes(const struct tensor *t)
{
    return (double)tensor_pixels(t) * t->c * (double)dtype_bytes(t->dtype);
}

/* Of packed weights, padded like the input. */
static double weight_bytes(const struct op *op)
{
    return (double)op_weight_rows(op) * op->x.c * (double)dtype_bytes(op->x.dtype);
}

/* The least memory traffic of an op, bytes. */
static double op_bytes(const struct op *op)
{
    const double x = view_bytes(&op->x), y = view_bytes(&op->y);
    switch (op->kind) {
    case OP_CONVOLUTION:
    case OP_CONVOLUTION_BACKWARD_DATA:
    case OP_CONVOLUTION_BACKWARD_FILTER:
        return x + y + weight_bytes(op) + (op->convolution.accumulate ? x : 0);
    case OP_BATCH_NORM: /* x for the statistics, and again for y */
        return 2 * x + y;
    case OP_BATCH_NORM_BACKWARD: /* x, y and dy for the sums, and again for dx */
        return 2 * (x + 2 * y) + x;
    case OP_POOL_BACKWARD:
        return (op->pool.average ? x : 2 * x) + y + (op->pool.accumulate ? x : 0);
    case OP_RELU_BACKWARD:
        return 2 * y + x;
    case OP_OPTIMIZER: /* reads the gradient, reads and writes parameters and state */
        return (3 + 2 * optimizer_state_count(op->optimizer.rule.name)) * 4.0 *
               (double)op->optimizer.count;
    case OP_SUM:
        return 3 * 4.0 * (double)op->sum.count;
    default:
        return x + y;
    }
}

static double op_peak(const struct op *op, const struct gpu_planner *planner)
{
    const struct gpu *gpu = planner->gpu;
    if (op->x.dtype == DTYPE_BF16) return gpu->bf16_flops;
    return planner->tensor_cores ? gpu->tf32_flops : gpu->fp32_flops;
}

static bool is_norm(const struct op *op)
{
    return op->kind == OP_BATCH_NORM || op->kind == OP_BATCH_NORM_BACKWARD;
}

static int op_kernels(const struct op *op, const struct gpu_convolution *convolution)
{
    if (!convolution) return is_norm(op) ? 2 : 1;
    return 1 + !convolution->fused + (convolution->kept_bytes > 0) +
           (op->kind == OP_CONVOLUTION_BACKWARD_FILTER);
}

struct cost {
    double flops, bytes, compute_s, memory_s;
};

static struct cost op_cost(const struct op *op, const struct gpu_planner *planner)
{
    struct cost cost = { .flops = 2 * op_macs(op), .bytes = op_bytes(op) };
    cost.compute_s = cost.flops / op_peak(op, planner);
    cost.memory_s = cost.bytes / planner->gpu->memory_bytes_per_s;
    return cost;
}

/* --- the rows and the step -------------------------------------------------------------------- */

static void add_row(struct gpu_plan *plan, const struct op *op, int tower, bool training,
                    const struct gpu_convolution *convolution, const struct cost *cost)
{
    struct gpu_plan_row *row = &plan->rows[plan->count++];
    *row = (struct gpu_plan_row) { .op = *op,
                                   .tower = tower,
                                   .training = training,
                                   .convolution = *convolution,
                                   .flops = cost->flops,
                                   .bytes = cost->bytes,
                                   .compute_bound = cost->compute_s > cost->memory_s };
    row->seconds = row->compute_bound ? cost->compute_s : cost->memory_s;
    if (row->seconds < kernel_start_s) row->seconds = kernel_start_s;
    plan->reused += convolution->reused;
}

static bool is_backward(const struct op *op)
{
    switch (op->kind) {
    case OP_CONVOLUTION_BACKWARD_DATA:
    case OP_CONVOLUTION_BACKWARD_FILTER:
    case OP_BATCH_NORM_BACKWARD:
    case OP_POOL_BACKWARD:
        return true;
    default:
        return false;
    }
}

static void add_to_step(struct gpu_plan *plan, const struct cost *cost)
{
    if (cost->compute_s > cost->memory_s)
        plan->step.compute_s += cost->compute_s;
    else
        plan->step.memory_s += cost->memory_s;
}

static int count_ops(const struct model *model, int tower, bool training)
{
    int count = 0;
    while (model_op(model, tower, training, count, NULL)) count++;
    return count;
}

static bool add_towers(struct gpu_plan *plan, const struct model *model,
                       const struct gpu_planner *planner, struct error *err)
{
    int all = 0;
    for (int t = 0; t < plan->towers; t++)
        all += count_ops(model, t, true) + count_ops(model, t, false);
    plan->rows = calloc((size_t)all + 1, sizeof *plan->rows);
    if (!plan->rows) return error_set(err, EXIT_CODE_FAILED, "out of memory for a plan");
    for (int training = 1; training >= 0; training--)
        for (int t = 0; t < plan->towers; t++) {
            const struct op *op;
            const struct plan *of;
            int kernels = 0;
            for (int i = 0; (op = model_op(model, t, training, i, &of)); i++) {
                const struct gpu_convolution *convolution = dry_plan_convolution(of);
                const struct cost cost = op_cost(op, planner);
                if (convolution) add_row(plan, op, t, training, convolution, &cost);
                if (!training) continue;
                add_to_step(plan, &cost);
                if (is_backward(op)) plan->step.backward_s += fmax(cost.compute_s, cost.memory_s);
                kernels += op_kernels(op, convolution);
                plan->shared_norms += is_norm(op) && model_syncs(&model_spec(model)->model);
            }
            plan->step.kernels += kernels;
            if (kernels * kernel_start_s > plan->step.launch_s)
                plan->step.launch_s = kernels * kernel_start_s;
        }
    return true;
}

/* Add the head and the update, which run between and after the towers' passes. */
static void add_rest(struct gpu_plan *plan, const struct model *model,
                     const struct gpu_planner *planner)
{
    const int64_t trained = model_trainable_values(model);
    const struct op update = { .kind = OP_OPTIMIZER,
                               .optimizer = { .rule = model_spec(model)->optimizer,
                                              .count = trained } };
    const struct op *op;
    struct cost cost = op_cost(&update, planner);
    int kernels = 1;
    add_to_step(plan, &cost);
    for (int i = 0; (op = model_op(model, plan->towers, true, i, NULL)); i++, kernels++) {
        cost = op_cost(op, planner);
        add_to_step(plan, &cost);
    }
    plan->step.kernels += kernels;
    plan->step.launch_s += kernels * kernel_start_s;
    const double roofline_s = plan->step.compute_s + plan->step.memory_s;
    plan->step.all_s = roofline_s > plan->step.launch_s ? roofline_s : plan->step.launch_s;
    plan->step.backward_s *= plan->step.all_s / roofline_s; /* kernel starts delay all alike */
    for (int i = 0; i < model_parameter_count(model); i++) {
        const struct parameter *p = model_parameter(model, i);
        if (p->trains || (p->statistic && !p->host))
            plan->gradient_bytes += (double)p->count * sizeof(float);
    }
}

bool gpu_plan_make(struct gpu_plan *plan, const struct config *config, const char *gpu,
                   struct error *err)
{
    struct gpu_planner *planner;
    struct dry_backend backend;
    struct model *model = NULL;
    *plan = (struct gpu_plan) { .towers = config->data.level_count,
                                .window = config->data.window,
                                .batch = config->train.batch };
    if (!gpu_planner_open(&config->compute, gpu, &planner, err)) return false;
    plan->gpu = *planner->gpu;
    snprintf(plan->library, sizeof plan->library, "%s", planner->library);
    snprintf(plan->cache_path, sizeof plan->cache_path, "%s", planner->cache_path);
    const enum precision precision = config->compute.precision;
    const bool bf16 = precision == PRECISION_AUTO || precision == PRECISION_BF16;
    const struct backend_facts facts = gpu_facts(&plan->gpu, plan->towers);
    dry_backend_init(&backend, &facts, planner);
    const bool ok =
        dry_model_open(&model, config, plan->batch, bf16 ? DTYPE_BF16 : DTYPE_F32, &backend, err) &&
        memory_plan_init(&plan->memory, config, model, &backend, true, libraries_bytes, err) &&
        add_towers(plan, model, planner, err);
    if (ok) add_rest(plan, model, planner);
    model_release(model);
    gpu_planner_close(planner);
    if (!ok) gpu_plan_release(plan);
    return ok;
}

void gpu_plan_release(struct gpu_plan *plan)
{
    free(plan->rows);
    plan->rows = NULL;
}
