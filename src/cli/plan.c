/* micromet plan: estimates training on a GPU that need not be present. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "micromet/base/size.h"
#include "micromet/base/text.h"
#include "micromet/run/gpu_plan.h"
#include "micromet/run/preflight.h"
#include "micromet/run/scaling.h"

struct arguments {
    const char *gpu;
    int batch; /* 0 = train.batch */
    int gpus, nodes;
    double link, network; /* GB/s; 0 = as usual */
    bool json;
};

static const struct option option_rows[] = {
    { .name = "gpu",
      .kind = OPTION_TEXT,
      FIELD(gpu),
      .value = "NAME",
      .help = "a100, l40s, h100, b200 or rtx5090" },
    { .name = "batch",
      .kind = OPTION_INT,
      FIELD(batch),
      .min = 1,
      .max = 65536,
      .value = "N",
      .help = "instead of train.batch; of all GPUs together" },
    { .name = "gpus",
      .kind = OPTION_INT,
      FIELD(gpus),
      .min = 1,
      .max = 4096,
      .value = "N",
      .help = "that train together, and share the batch" },
    { .name = "nodes",
      .kind = OPTION_INT,
      FIELD(nodes),
      .min = 1,
      .max = 4096,
      .value = "N",
      .help = "that the GPUs are in, as many in each" },
    { .name = "link",
      .kind = OPTION_DOUBLE,
      FIELD(link),
      .min = 0.1,
      .max = 10000,
      .value = "GB/s",
      .absent = "NVLink's or PCIe's",
      .help = "of a GPU to others of its node, in each direction" },
    { .name = "network",
      .kind = OPTION_DOUBLE,
      FIELD(network),
      .min = 0.1,
      .max = 10000,
      .value = "GB/s",
      .help = "of a GPU to other nodes, in each direction" },
    { .name = "json", .kind = OPTION_FLAG, FIELD(json), .help = "one JSON object a line" },
    { 0 },
};

/* --- for people ------------------------------------------------------------------------------- */

static const char *short_kind(enum op_kind kind)
{
    return kind == OP_CONVOLUTION                 ? "forward"
           : kind == OP_CONVOLUTION_BACKWARD_DATA ? "data gradient"
                                                  : "filter gradient";
}

/* All towers have the same program: print one. */
static void print_program(const struct gpu_plan *plan, bool training)
{
    printf("\n%s, one of %d towers, batch %d, %d px\n", training ? "training" : "inference",
           plan->towers, plan->batch, plan->window);
    printf("%-31s %-15s %-29s %-6s %6s %9s %9s %8s %8s  %-8s %s\n", "layer", "operation",
           "in > out", "kernel", "engine", "work KiB", "GFLOP", "MB", "us", "bound", "form");
    for (int i = 0; i < plan->count; i++) {
        const struct gpu_plan_row *r = &plan->rows[i];
        const struct op *op = &r->op;
        const struct op_window *w = &op->convolution.window;
        if (r->training != training || r->tower != 0) continue;
        printf("%-31s %-15s %3dx%-3d %4d > %3dx%-3d %4d   %dx%d/%d  %6lld %9.1f %9.3f %8.2f %8.1f"
               "  %-8s %s%s\n",
               op->name, short_kind(op->kind), op->x.h, op->x.w, op->x.c, op->y.h, op->y.w, op->y.c,
               w->kernel_h, w->kernel_w, w->stride, (long long)r->convolution.engine,
               (double)r->convolution.workspace_bytes / 1024, 1e-9 * r->flops, 1e-6 * r->bytes,
               1e6 * r->seconds, r->compute_bound ? "compute" : "memory", r->convolution.form,
               op->convolution.accumulate ? ", added" : "");
    }
}

static void print_memory(const struct gpu_plan *plan)
{
    struct memory_row rows[MEMORY_ROWS];
    memory_rows(&plan->memory.use, rows);
    printf("\nmemory of the GPU\n");
    for (int i = 0; i < MEMORY_ROWS; i++)
        if (!rows[i].host) printf("  %-36s %10.1f MiB\n", rows[i].what, mib(rows[i].bytes));
    printf("  %-36s %10.1f MiB of %.1f\n", "all", mib(plan->memory.all),
           mib(plan->gpu.memory_bytes));
    printf("  largest batch that fits: %d\n", plan->memory.batch_max);
}

static const char *bound(const struct gpu_plan *plan)
{
    if (plan->step.all_s <= plan->step.launch_s) return "kernel starts";
    return plan->step.compute_s > plan->step.memory_s ? "arithmetic" : "memory bandwidth";
}

static void print_plan(const struct gpu_plan *plan)
{
    printf("%s (sm_%d), %s, %s\n", plan->gpu.device_name, plan->gpu.capability, plan->library,
           plan->memory.activations == DTYPE_BF16 ? "bf16" : "fp32 tensors");
    print_program(plan, true);
    print_program(plan, false);
    print_memory(plan);
    printf("\nconvolutions of all towers: %d, all planned; %d of %d with bias and ReLU in one "
           "kernel; %d need\nsomething around cuDNN's; %d plans were in %s\n",
           plan->count, plan->memory.fusion.fused, plan->memory.fusion.epilogues,
           plan->memory.fusion.unfused, plan->reused, SHOWN(plan->cache_path));
    printf(
        "\na step takes at least %.3f ms, %.0f examples/s, bound by %s:\n"
        "  %.3f ms of operations bound by arithmetic, %.3f ms by memory; %d kernels, whose starts "
        "alone take %.3f ms\n",
        1e3 * plan->step.all_s, plan->batch / plan->step.all_s, bound(plan),
        1e3 * plan->step.compute_s, 1e3 * plan->step.memory_s, plan->step.kernels,
        1e3 * plan->step.launch_s);
}

static void print_scaling(const struct gpu_plan *plan, const struct scaling *s,
                          const struct scaling_links *links)
{
    printf("\n%d GPUs in %d node%s, a batch of %d on each: a step takes at least %.3f ms, %.0f "
           "examples/s, %.1f %% of %d\ntimes one GPU alone\n",
           s->gpus, s->nodes, s->nodes > 1 ? "s" : "", plan->batch, 1e3 * s->step_s,
           s->examples_per_s, 100 * s->efficiency, s->gpus);
    printf("  each sends %.1f MB of gradients: %.3f ms, of which %.3f ms are not hidden behind the "
           "backward pass (%.3f ms)\n",
           1e-6 * s->bytes, 1e3 * s->exchange_s, 1e3 * s->exposed_s, 1e3 * plan->step.backward_s);
    if (s->norms_s > 0)
        printf("  shared batch statistics: %d exchanges, %.3f ms\n", plan->shared_norms,
               1e3 * s->norms_s);
    printf("  assumed: %.0f GB/s within a node, %.0f between nodes, of which %.0f %% are reached; "
           "%.0f us a message\n",
           1e-9 * links->inside_bytes_per_s, 1e-9 * links->between_bytes_per_s, 100 * links->share,
           1e6 * links->message_s);
}

/* --- for programs ----------------------------------------------------------------------------- */

static void json_row(const struct gpu_plan_row *r)
{
    const struct op *op = &r->op;
    const struct op_window *w = &op->convolution.window;
    printf(
        "{\"what\":\"convolution\",\"program\":\"%s\",\"tower\":%d,\"layer\":\"%s\",\"operation\":"
        "\"%s\",\"in\":[%d,%d,%d,%d],\"out\":[%d,%d,%d,%d],\"kernel\":[%d,%d],\"stride\":%d,"
        "\"form\":\"%s\",\"fused\":%s,\"engine\":%lld,\"workspace\":%zu,\"scratch\":%zu,"
        "\"reused\":%s,\"flops\":%.6g,\"bytes\":%.6g,\"seconds\":%.6g,\"bound\":\"%s\"}\n",
        r->training ? "training" : "inference", r->tower, op->name, short_kind(op->kind), op->x.n,
        op->x.h, op->x.w, op->x.c, op->y.n, op->y.h, op->y.w, op->y.c, w->kernel_h, w->kernel_w,
        w->stride, r->convolution.form, r->convolution.fused ? "true" : "false",
        (long long)r->convolution.engine, r->convolution.workspace_bytes,
        r->convolution.scratch_bytes, r->convolution.reused ? "true" : "false", r->flops, r->bytes,
        r->seconds, r->compute_bound ? "compute" : "memory");
}

static void json_plan(const struct gpu_plan *plan)
{
    for (int i = 0; i < plan->count; i++) json_row(&plan->rows[i]);
    printf("{\"what\":\"plan\",\"gpu\":\"%s\",\"device\":\"%s\",\"library\":\"%s\",\"window\":%d,"
           "\"batch\":%d,\"convolutions\":%d,\"epilogues\":%d,\"fused\":%d,\"around\":%d,"
           "\"reused\":%d,\"memory\":%zu,\"memory_there\":%zu,\"batch_max\":%d,\"step_s\":%.6g,"
           "\"compute_s\":%.6g,\"memory_s\":%.6g,\"launch_s\":%.6g,\"bound\":\"%s\"}\n",
           plan->gpu.name, plan->gpu.device_name, plan->library, plan->window, plan->batch,
           plan->count, plan->memory.fusion.epilogues, plan->memory.fusion.fused,
           plan->memory.fusion.unfused, plan->reused, plan->memory.all, plan->gpu.memory_bytes,
           plan->memory.batch_max, plan->step.all_s, plan->step.compute_s, plan->step.memory_s,
           plan->step.launch_s, bound(plan));
}

static void json_scaling(const struct scaling *s)
{
    printf("{\"what\":\"scaling\",\"gpus\":%d,\"nodes\":%d,\"bytes\":%.6g,\"exchange_s\":%.6g,"
           "\"exposed_s\":%.6g,\"norms_s\":%.6g,\"step_s\":%.6g,\"examples_per_s\":%.6g,"
           "\"efficiency\":%.6g}\n",
           s->gpus, s->nodes, s->bytes, s->exchange_s, s->exposed_s, s->norms_s, s->step_s,
           s->examples_per_s, s->efficiency);
}

static void tell_scaling(const struct gpu_plan *plan, const struct arguments *a)
{
    struct scaling_links links = scaling_links_usual;
    links.inside_bytes_per_s = a->link > 0 ? 1e9 * a->link : plan->gpu.link_bytes_per_s;
    if (a->network > 0) links.between_bytes_per_s = 1e9 * a->network;
    const struct scaling scaling = scaling_of(plan, a->gpus, a->nodes, &links);
    if (a->json)
        json_scaling(&scaling);
    else
        print_scaling(plan, &scaling, &links);
}

/* Each GPU has a part of the batch. */
static bool share_batch(struct config *config, const struct arguments *a, struct error *err)
{
    if (a->batch) config->train.batch = a->batch;
    if (a->gpus % a->nodes != 0)
        return error_set(err, EXIT_CODE_USAGE,
                         "--nodes: %d GPUs are not as many in each of %d nodes", a->gpus, a->nodes);
    if (config->train.batch % a->gpus != 0)
        return error_set(err, EXIT_CODE_USAGE,
                         "--gpus: %d GPUs cannot share a batch of %d equally; see --batch", a->gpus,
                         config->train.batch);
    config->train.batch /= a->gpus;
    config->train.shards = 1;
    return true;
}

static enum exit_code run(void *arguments, int count, char **operands, struct error *err)
{
    const struct arguments *a = arguments;
    struct config config;
    struct gpu_plan plan;
    if (count < 1 || !a->gpu) {
        error_set(err, EXIT_CODE_USAGE, "plan: %s; see `micromet plan --help`",
                  a->gpu ? "which configuration" : "--gpu says for which GPU");
        return err->code;
    }
    if (!config_load_checked(&config, operands[0], count - 1, operands + 1, preflight_model, err))
        return err->code;
    if (!share_batch(&config, a, err) || !gpu_plan_make(&plan, &config, a->gpu, err))
        return err->code;
    if (a->json)
        json_plan(&plan);
    else
        print_plan(&plan);
    if (a->gpus > 1) tell_scaling(&plan, a);
    gpu_plan_release(&plan);
    return EXIT_CODE_OK;
}

const struct subcommand command_plan = {
    .name = "plan",
    .summary = "plan a training for a GPU that need not be here",
    .operands = "CONFIG [key=value ...] --gpu NAME",
    .operand_kind = OPTION_FILE,
    .overrides = true,
    .description =
        "Plans a training for a GPU that need not be here: the engine and the workspace that cuDNN "
        "takes for each convolution, the memory, the largest batch that fits, and what a step "
        "takes at least. The plans are kept, and a training on such a GPU starts with them.",
    .options = option_rows,
    ARGUMENTS(.gpus = 1, .nodes = 1),
    .notes = "us and GFLOP are of one run with a whole batch: arithmetic at the GPU's peak or "
             "bytes at its bandwidth, whichever takes longer. The first plan compiles kernels, a "
             "second or so each; later ones find them in compute.plan_cache.",
    .examples = "micromet plan configs/seed.yaml --gpu h100\n"
                "micromet plan configs/seed.yaml --gpu l40s --batch 256 compute.precision=tf32\n"
                "micromet plan configs/seed.yaml --gpu h100 --gpus 16 --nodes 2 --batch 1024\n",
    .run = run,
};
