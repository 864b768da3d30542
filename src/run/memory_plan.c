/* Estimates the memory that a training needs; see the header. */
#include "micromet/run/memory_plan.h"

#include <string.h>

#include "micromet/base/log.h"
#include "micromet/base/size.h"
#include "micromet/base/thread.h"
#include "micromet/run/checkpoint.h"
#include "micromet/run/session.h"

/* Kernels of cuDNN, cuBLAS and ours, which CUDA loads lazily: an assumption, not a measurement. */
static const size_t kernels_bytes = (size_t)256 << 20;

void memory_rows(const struct memory_use *use, struct memory_row rows[MEMORY_ROWS])
{
    const struct memory_row table[MEMORY_ROWS] = {
        { "parameters", use->parameters, false },
        { "gradients", use->gradients, false },
        { "optimizer state", use->optimizer, false },
        { "folded biases, batch statistics", use->folded, false },
        { "packed weights and kernel scratch", use->plans, false },
        { "activations, training", use->activations, false },
        { "activations, inference", use->inference_activations, false },
        { "batches on the device", use->batches, false },
        { "workspaces", use->scratch, false },
        { "program, libraries and kernels", use->libraries, false },
        { "ring of host batches", use->ring, true },
        { "slides, cached by readers", use->cached, true },
    };
    memcpy(rows, table, sizeof table);
}

static size_t sum_of(const struct memory_plan *plan)
{
    struct memory_row rows[MEMORY_ROWS];
    size_t sum = 0;
    memory_rows(&plan->use, rows);
    for (int i = 0; i < MEMORY_ROWS; i++)
        if (!rows[i].host || !plan->own_memory) sum += rows[i].bytes;
    return sum;
}

/* --- models without memory --- */

bool dry_model_open(struct model **model, const struct config *config, int batch,
                    enum dtype activations, struct dry_backend *dry, struct error *err)
{
    struct config sized = *config;
    sized.train.batch = batch;
    const struct model_spec spec = model_spec_from_config(&sized, activations, false, true);
    return model_init(model, &dry->base, &spec, err);
}

void fusion_count(const struct model *model, struct fusion *fusion)
{
    const int towers = model_spec(model)->towers;
    *fusion = (struct fusion) { 0 };
    for (int t = 0; t < 2 * towers; t++) { /* training, then inference */
        const struct op *op;
        const struct plan *plan;
        for (int i = 0; (op = model_op(model, t % towers, t < towers, i, &plan)); i++) {
            const struct gpu_convolution *convolution = dry_plan_convolution(plan);
            if (!convolution) continue;
            const bool epilogue = op->kind == OP_CONVOLUTION &&
                                  (op->convolution.bias || op->convolution.relu);
            fusion->convolutions++;
            fusion->epilogues += epilogue;
            fusion->fused += epilogue && convolution->fused;
            fusion->unfused += !convolution->fused;
            fusion->widened += convolution->widened;
        }
    }
}

/* cuDNN refuses fused kernels if it cannot compile them; plans made
 * elsewhere include them compiled. */
void fusion_warn(const struct fusion *f)
{
    if (f->fused == f->epilogues && f->widened == 0) return;
    log_warning("%d of %d convolutions with bias and ReLU take several kernels, and %d of %d "
                "compute in fp32 instead of bf16, which "
                "is slower: cuDNN could not compile the fused ones. Install NVRTC (libnvrtc) of "
                "this CUDA's version, or make the "
                "plans where it is installed, with `micromet plan CONFIG --gpu NAME`, and name "
                "their folder as "
                "compute.plan_cache",
                f->epilogues - f->fused, f->epilogues, f->widened, f->convolutions);
}

static size_t host_bytes(const struct model *model)
{
    size_t bytes = 0;
    for (int i = 0; i < model_parameter_count(model); i++) {
        const struct parameter *p = model_parameter(model, i);
        if (p->host) bytes += (size_t)p->count * sizeof(float);
    }
    return bytes;
}

/* Fill in what the model determines and grows with the batch; the rest of `use` is unchanged. */
static void use_model(struct memory_plan *plan, const struct config *config,
                      const struct model *model)
{
    const struct model_memory m = model_memory(model);
    struct memory_use *use = &plan->use;
    use->parameters = m.parameters - (plan->own_memory ? host_bytes(model) : 0);
    use->gradients = m.gradients;
    use->optimizer = m.optimizer;
    use->folded = m.folded;
    use->activations = m.activations;
    use->inference_activations = m.inference_activations;
    use->batches = m.batches;
    use->ring = host_ring_bytes(model, config->data.ring);
}

/* --- the largest batch --- */

/* Packed weights do not grow with the batch, and scratch at most in proportion. */
static bool fits(const struct memory_plan *plan, const struct config *config, int batch, bool *fit,
                 struct error *err)
{
    struct memory_plan other = *plan;
    struct dry_backend dry;
    struct model *model;
    dry_backend_init(&dry, &plan->facts, NULL);
    if (!dry_model_open(&model, config, batch, plan->activations, &dry, err)) return false;
    use_model(&other, config, model);
    model_release(model);
    if (batch > plan->batch)
        other.use.scratch = (size_t)((double)plan->use.scratch * (double)batch /
                                     (double)plan->batch);
    *fit = sum_of(&other) <= plan->facts.memory_bytes;
    return true;
}

static bool find_batch_max(struct memory_plan *plan, const struct config *config, struct error *err)
{
    enum { LIMIT = 1 << 16 };
    const int shards = config->train.shards > 0 ? config->train.shards : 1;
    int low = 0, high = 1; /* rows of a shard */
    bool fit = true;
    while (fit && high * shards < LIMIT) {
        if (!fits(plan, config, high * shards, &fit, err)) return false;
        if (fit) low = high;
        if (fit) high *= 2;
    }
    while (high - low > 1 && high - low > low / 64) {
        const int middle = low + (high - low) / 2;
        if (!fits(plan, config, middle * shards, &fit, err)) return false;
        *(fit ? &low : &high) = middle;
    }
    plan->batch_max = low * shards;
    if (plan->all <= plan->facts.memory_bytes && plan->batch > plan->batch_max)
        plan->batch_max = plan->batch;
    return true;
}

/* --- plans --- */

bool memory_plan_init(struct memory_plan *plan, const struct config *config,
                      const struct model *model, const struct dry_backend *dry, bool own_memory,
                      size_t libraries, struct error *err)
{
    *plan = (struct memory_plan) { .facts = dry->base.facts,
                                   .activations = model_spec(model)->activations,
                                   .own_memory = own_memory,
                                   .batch = config->train.batch,
                                   .use.libraries = libraries,
                                   .use.plans = model_memory(model).plans };
    if (own_memory) plan->use.plans += model_weights_to_load(model);
    for (int q = 0; q < TOWERS_MAX; q++) plan->use.scratch += dry->scratch_bytes[q];
    use_model(plan, config, model);
    fusion_count(model, &plan->fusion);
    plan->all = sum_of(plan);
    return find_batch_max(plan, config, err);
}

bool memory_plan_make(struct memory_plan *plan, const struct config *config,
                      struct backend *backend, enum dtype activations, struct error *err)
{
    const bool own_memory = backend->ops->planner != NULL;
    struct gpu_planner *planner = NULL;
    struct dry_backend dry;
    struct model *model = NULL;
    if (own_memory && !backend->ops->planner(backend, &planner, err)) return false;
    dry_backend_init(&dry, &backend->facts, planner);
    const bool ok = dry_model_open(&model, config, config->train.batch, activations, &dry, err) &&
                    memory_plan_init(plan, config, model, &dry, own_memory,
                                     own_memory ? kernels_bytes : session_program_bytes, err);
    model_release(model);
    gpu_planner_close(planner);
    return ok;
}

/* What is resident beside the model: the program with its libraries, the kernels that they compiled
 * for this processor, whose size no formula gives, and what is known of the slides. Too low where
 * the model has memory that it has not written yet. */
static size_t measured_libraries(const struct memory_plan *plan)
{
    const struct memory_use *use = &plan->use;
    const size_t resident = (size_t)memory_resident_bytes();
    const size_t model = use->parameters + use->gradients + use->optimizer + use->folded +
                         use->plans;
    return resident > model ? resident - model : 0;
}

bool memory_plan_complete(struct memory_plan *plan, const struct config *config,
                          const struct model *model, size_t cached_bytes, struct error *err)
{
    plan->use.cached = cached_bytes;
    plan->use.plans = model_memory(model).plans;
    use_model(plan, config, model);
    const size_t libraries = plan->own_memory ? 0 : measured_libraries(plan);
    if (libraries > plan->use.libraries) plan->use.libraries = libraries;
    plan->all = sum_of(plan);
    return find_batch_max(plan, config, err);
}

bool memory_plan_fit(struct memory_plan *plan, const struct config *config, size_t room,
                     struct error *err)
{
    plan->facts.memory_bytes = room;
    plan->use.libraries = 0;
    plan->all = sum_of(plan);
    return find_batch_max(plan, config, err);
}

bool memory_plan_check(const struct memory_plan *plan, struct error *err)
{
    char what_fits[64] = "not even one window fits; a smaller data.window needs less";
    if (plan->all <= plan->facts.memory_bytes) return true;
    if (plan->batch_max > 0)
        snprintf(what_fits, sizeof what_fits, "the largest batch that fits is %d", plan->batch_max);
    return error_set(err, EXIT_CODE_USAGE,
                     "train.batch: %d does not fit: it takes %.0f MiB, and %s has %.0f; %s",
                     plan->batch, mib(plan->all), plan->own_memory ? "the GPU" : "this machine",
                     mib(plan->facts.memory_bytes), what_fits);
}

static void print_rows(const struct memory_row *rows, bool host)
{
    for (int i = 0; i < MEMORY_ROWS; i++)
        if (rows[i].host == host && rows[i].bytes > 0)
            log_info("  %-36s %8.1f MiB", rows[i].what, mib(rows[i].bytes));
}

void memory_plan_print(const struct memory_plan *plan)
{
    struct memory_row rows[MEMORY_ROWS];
    memory_rows(&plan->use, rows);
    log_info("memory plan%s:", plan->own_memory ? " of the GPU" : "");
    print_rows(rows, false);
    if (!plan->own_memory) print_rows(rows, true);
    log_info("  %-36s %8.1f MiB of %.1f", "peak expected", mib(plan->all),
             mib(plan->facts.memory_bytes));
    log_info("  %-36s %8d", "largest batch that fits", plan->batch_max);
    if (!plan->own_memory) return;
    log_info("on the host, beside program and libraries:");
    print_rows(rows, true);
}
