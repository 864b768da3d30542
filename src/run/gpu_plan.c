/* Planning a training for a GPU; see the header. */
#include "micromet/run/gpu_plan.h"

#include <limits.h>
#include <stdlib.h>

#include "micromet/nn/optimizer.h"
#include "micromet/run/checkpoint.h"

/* Between the starts of two kernels that wait for each other, in a replayed graph: an assumption,
 * not a measurement. */
static const double kernel_start_s = 2e-6;
/* The CUDA context, cuDNN's and our kernels, as they are resident before anything is allocated: an
 * assumption as well. */
static const size_t libraries_bytes = (size_t)700 << 20;

static bool model_open(struct model **model, const struct config *config, int batch,
                       struct dry_backend *backend, struct error *err)
{
    struct config sized = *config;
    sized.train.batch = batch;
    const enum precision precision = config->compute.precision;
    const bool bf16 = precision == PRECISION_AUTO || precision == PRECISION_BF16;
    const struct model_spec spec = model_spec_from_config(&sized, bf16 ? DTYPE_BF16 : DTYPE_F32,
                                                          false, true);
    return model_init(model, &backend->base, &spec, err);
}

/* --- what an operation costs ------------------------------------------------------------------ */

static double view_bytes(const struct tensor *t)
{
    return (double)tensor_pixels(t) * t->c * (double)dtype_bytes(t->dtype);
}

/* The fewest bytes that go to and from memory. */
static double op_bytes(const struct op *op)
{
    const double x = view_bytes(&op->x), y = view_bytes(&op->y), again = op->accumulate ? x : 0;
    const double weights = (double)op->y.c * op->kernel_h * op->kernel_w * op->x.c *
                           (double)dtype_bytes(op->x.dtype);
    switch (op->kind) {
    case OP_CONVOLUTION:
    case OP_CONVOLUTION_BACKWARD_DATA:
    case OP_CONVOLUTION_BACKWARD_FILTER:
        return x + y + weights + again;
    case OP_BATCH_NORM: /* statistics, then the values */
        return 2 * x + y;
    case OP_BATCH_NORM_BACKWARD: /* x, y and dy for the sums, and again for dx */
        return 2 * (x + 2 * y) + x;
    case OP_POOL_BACKWARD:
        return (op->average ? x : 2 * x) + y + again;
    case OP_RELU_BACKWARD:
        return 2 * y + x;
    case OP_OPTIMIZER: /* parameter and state are read and written, the gradient is read */
        return (3 + 2 * optimizer_state_count(op->optimizer.name)) * 4.0 * (double)op->count;
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

static int op_kernels(const struct op *op, const struct gpu_convolution *convolution)
{
    const bool norm = op->kind == OP_BATCH_NORM || op->kind == OP_BATCH_NORM_BACKWARD;
    if (!convolution) return norm ? 2 : 1;
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

/* --- the rows and the step ---------------------------------------------------------------------
 */

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
    const bool epilogue = op->kind == OP_CONVOLUTION && (op->bias || op->relu);
    plan->epilogues += epilogue;
    plan->fused += epilogue && convolution->fused;
    plan->around += !convolution->fused;
    plan->reused += convolution->reused;
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
                kernels += op_kernels(op, convolution);
            }
            plan->step.kernels += kernels;
            if (kernels * kernel_start_s > plan->step.launch_s)
                plan->step.launch_s = kernels * kernel_start_s;
        }
    return true;
}

/* The head and the update, which come between and behind the towers' passes. */
static void add_rest(struct gpu_plan *plan, const struct model *model,
                     const struct gpu_planner *planner)
{
    const int64_t trained = model_trainable_values(model);
    const struct op update = { .kind = OP_OPTIMIZER,
                               .optimizer = model_spec(model)->optimizer,
                               .count = trained };
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
}

/* --- memory --------------------------------------------------------------------------------------
 */

static size_t host_bytes(const struct model *model)
{
    size_t bytes = 0;
    for (int i = 0; i < model_parameter_count(model); i++) {
        const struct parameter *p = model_parameter(model, i);
        if (p->host) bytes += (size_t)p->count * sizeof(float);
    }
    return bytes;
}

static void set_memory(struct gpu_plan *plan, const struct model *model,
                       const struct dry_backend *backend)
{
    const struct model_memory m = model_memory(model);
    plan->memory.parameters = m.parameters - host_bytes(model);
    plan->memory.gradients = m.gradients;
    plan->memory.optimizer = m.optimizer;
    plan->memory.folded = m.folded;
    plan->memory.activations = m.activations;
    plan->memory.inference_activations = m.inference_activations;
    plan->memory.batches = m.batches;
    plan->memory.packed_weights = m.plans;
    for (int q = 0; q < TOWERS_MAX; q++) plan->memory.scratch += backend->scratch_bytes[q];
    plan->memory.libraries = libraries_bytes;
    plan->memory.all = m.parameters - host_bytes(model) + m.gradients + m.optimizer + m.folded +
                       m.activations + m.inference_activations + m.batches + m.plans +
                       plan->memory.scratch + libraries_bytes;
}

/* What grows with the batch is taken from a model of that size; scratch grows at most as the batch
 * does. */
static bool fits(const struct gpu_room *room, const struct config *config, int batch, bool *fit,
                 struct error *err)
{
    struct dry_backend backend;
    struct model *model;
    dry_backend_init(&backend, config->data.level_count, NULL);
    if (!model_open(&model, config, batch, &backend, err)) return false;
    const struct model_memory m = model_memory(model);
    const double growth = batch > room->scratch_batch ? (double)batch / room->scratch_batch : 1;
    const size_t all = m.parameters - host_bytes(model) + m.gradients + m.optimizer + m.folded +
                       m.activations + m.inference_activations + m.batches + room->packed_weights +
                       (size_t)((double)room->scratch * growth) + room->libraries;
    *fit = all <= room->bytes;
    model_release(model);
    return true;
}

bool gpu_batch_max(const struct gpu_room *room, const struct config *config, int *batch,
                   struct error *err)
{
    enum { LIMIT = 1 << 16 };
    int low = 0, high = 1;
    bool fit = true;
    while (fit && high < LIMIT) {
        if (!fits(room, config, high, &fit, err)) return false;
        if (fit) low = high;
        if (fit) high *= 2;
    }
    while (high - low > 1 && high - low > low / 64) {
        const int middle = low + (high - low) / 2;
        if (!fits(room, config, middle, &fit, err)) return false;
        *(fit ? &low : &high) = middle;
    }
    *batch = low;
    return true;
}

bool gpu_room_of_device(struct gpu_room *room, size_t bytes, const struct config *config,
                        struct error *err)
{
    struct dry_backend backend;
    struct model *model;
    dry_backend_init(&backend, config->data.level_count, NULL);
    if (!model_open(&model, config, 1, &backend, err)) return false;
    *room = (struct gpu_room) {
        .bytes = bytes,
        .packed_weights = model_kept_weights(model),
        .scratch = (size_t)config->data.level_count * ((size_t)config->compute.workspace << 20),
        .scratch_batch = INT_MAX,
    };
    model_release(model);
    return true;
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
    dry_backend_init(&backend, plan->towers, planner);
    bool ok = model_open(&model, config, plan->batch, &backend, err);
    if (ok) {
        plan->activations = model_spec(model)->activations;
        set_memory(plan, model, &backend);
        ok = add_towers(plan, model, planner, err);
    }
    if (ok) add_rest(plan, model, planner);
    const struct gpu_room room = { .bytes = plan->gpu.memory_bytes,
                                   .packed_weights = plan->memory.packed_weights,
                                   .scratch = plan->memory.scratch,
                                   .scratch_batch = plan->batch,
                                   .libraries = libraries_bytes };
    ok = ok && gpu_batch_max(&room, config, &plan->batch_max, err);
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
