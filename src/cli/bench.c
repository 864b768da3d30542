/* micromet bench: measures the speed of this machine. */
#include <stdio.h>

#include "cli.h"
#include "micromet/bench/bench.h"

struct arguments {
    struct bench_options bench;
    bool json;
};

static const struct option option_rows[] = {
    { .name = "slide",
      .kind = OPTION_FILE,
      FIELD(bench.slide),
      .value = "FILE",
      .help = "decode FILE's level 0 on one and on all threads" },
    { .name = "pack",
      .kind = OPTION_FILE,
      FIELD(bench.pack),
      .value = "FILE",
      .help = "read windows through the loader" },
    { .name = "augment",
      .kind = OPTION_FLAG,
      FIELD(bench.augment),
      .help = "augment two towers' windows" },
    { .name = "network",
      .kind = OPTION_FLAG,
      FIELD(bench.network),
      .help = "a pass of inference and a step of training: two towers, head 256, 128, 1, frozen to "
              "keras:150, Adam, random weights" },
    { .name = "layers",
      .kind = OPTION_FLAG,
      FIELD(bench.layers),
      .help = "each operation of one tower by itself, slowest first" },
    { .name = "px",
      .kind = OPTION_INT,
      FIELD(bench.px),
      .min = 75,
      .max = 4096,
      .value = "N",
      .help = "side of a window" },
    { .name = "batch",
      .kind = OPTION_INT,
      FIELD(bench.batch),
      .min = 1,
      .max = 4096,
      .value = "N",
      .absent = "32, above 160 px 8",
      .help = "windows computed at once" },
    { .name = "threads",
      .kind = OPTION_INT,
      FIELD(bench.threads),
      .min = 1,
      .max = 1024,
      .value = "N",
      .absent = "all",
      .help = "processors to use" },
    { .name = "seconds",
      .kind = OPTION_DOUBLE,
      FIELD(bench.seconds),
      .min = 0.01,
      .max = 3600,
      .value = "S",
      .help = "for each measurement" },
    { .name = "json", .kind = OPTION_FLAG, FIELD(json), .help = "one JSON object a line" },
    { 0 },
};

/* --- for people ------------------------------------------------------------------------------- */

static void print_count(int count)
{
    if (count)
        printf(" %7d", count);
    else
        printf(" %7s", "");
}

static void print_result(void *context, const struct bench_result *result)
{
    (void)context;
    for (int i = 0; i < result->figure_count; i++) {
        const struct bench_figure *figure = &result->figures[i];
        printf("%-8s", i ? "" : result->what);
        print_count(i ? 0 : result->px);
        print_count(i ? 0 : result->batch);
        print_count(i ? 0 : result->threads);
        printf(" %12.1f %-9s", figure->value, figure->unit);
        if (figure->ceiling > 0)
            printf(" %12.1f %6.1f %%", figure->ceiling, 100 * figure->value / figure->ceiling);
        printf("\n");
    }
    fflush(stdout);
}

static void print_shape(const struct op *op)
{
    char kernel[32] = "";
    const struct op_window *w = op_window(op);
    if (w) snprintf(kernel, sizeof kernel, "%dx%d/%d", w->kernel_h, w->kernel_w, w->stride);
    printf("  %3dx%-3d %4d > %3dx%-3d %4d  %-6s", op->x.h, op->x.w, op->x.c, op->y.h, op->y.w,
           op->y.c, kernel);
}

static void print_layers(void *context, const char *program, const struct model_op_time *times,
                         int count, int threads, double peak_gflops)
{
    double total_s = 0, sum_s = 0;
    (void)context;
    for (int i = 0; i < count; i++) total_s += times[i].seconds;
    printf("\n%s: one tower on %d thread%s, %d operations, %.3f ms; peak %.1f GFLOP/s\n", program,
           threads, threads > 1 ? "s" : "", count, 1e3 * total_s, peak_gflops);
    printf("%8s %6s %6s %8s %6s  %-27s %-26s  %s\n", "ms", "%", "sum %", "GFLOP/s", "peak",
           "operation", "in > out", "layer");
    for (int i = 0; i < count; i++) {
        const struct model_op_time *t = &times[i];
        const double gflops = 2e-9 * t->macs / t->seconds;
        sum_s += t->seconds;
        printf("%8.3f %6.2f %6.2f", 1e3 * t->seconds, 100 * t->seconds / total_s,
               100 * sum_s / total_s);
        if (t->macs > 0)
            printf(" %8.1f %4.0f %%", gflops, 100 * gflops / peak_gflops);
        else
            printf(" %8s %6s", "", "");
        printf("  %-27s", op_kind_name(t->op.kind));
        print_shape(&t->op);
        printf("  %s\n", t->op.name ? t->op.name : "");
    }
    fflush(stdout);
}

/* --- for programs ----------------------------------------------------------------------------- */

static void json_count(const char *name, int count)
{
    if (count) printf(",\"%s\":%d", name, count);
}

static void json_result(void *context, const struct bench_result *result)
{
    (void)context;
    printf("{\"what\":\"%s\"", result->what);
    json_count("px", result->px);
    json_count("batch", result->batch);
    json_count("threads", result->threads);
    for (int i = 0; i < result->figure_count; i++) {
        const struct bench_figure *figure = &result->figures[i];
        printf(",\"%s\":%.6g", figure->name, figure->value);
        if (figure->ceiling > 0) printf(",\"%s_ceiling\":%.6g", figure->name, figure->ceiling);
    }
    printf("}\n");
    fflush(stdout);
}

static void json_layers(void *context, const char *program, const struct model_op_time *times,
                        int count, int threads, double peak_gflops)
{
    (void)context;
    (void)peak_gflops;
    for (int i = 0; i < count; i++)
        printf(
            "{\"what\":\"layer\",\"program\":\"%s\",\"threads\":%d,\"layer\":\"%s\",\"operation\":"
            "\"%s\",\"ms\":%.6g,\"gflops\":%.6g}\n",
            program, threads, times[i].op.name ? times[i].op.name : "",
            op_kind_name(times[i].op.kind), 1e3 * times[i].seconds,
            2e-9 * times[i].macs / times[i].seconds);
    fflush(stdout);
}

static enum exit_code run(void *arguments, int count, char **operands, struct error *err)
{
    static const struct bench_listener table = { .result = print_result, .layers = print_layers };
    static const struct bench_listener lines = { .result = json_result, .layers = json_layers };
    const struct arguments *a = arguments;
    struct bench_options bench = a->bench;
    if (count) {
        error_set(err, EXIT_CODE_USAGE,
                  "bench: '%.80s' is not an option; see `micromet bench --help`", operands[0]);
        return err->code;
    }
    if (!bench.slide && !bench.pack && !bench.augment && !bench.network && !bench.layers)
        bench.augment = bench.network = true;
    if (!bench.batch) bench.batch = bench.px > 160 ? 8 : 32;
    if (!a->json)
        printf("%-8s %7s %7s %7s %12s %-9s %12s %8s\n", "what", "px", "batch", "threads",
               "measured", "", "ceiling", "share");
    bench_run(&bench, a->json ? &lines : &table, err);
    return err->code;
}

const struct subcommand command_bench = {
    .name = "bench",
    .summary = "measure the speed of every part beside its ceiling",
    .operands = "",
    .description =
        "Measures how fast the parts of the program are on this machine, each beside its ceiling. "
        "Without --slide, --pack, --augment, --network and --layers: --augment --network.",
    .options = option_rows,
    ARGUMENTS(.bench = { .px = 80, .seconds = 3 }),
    .notes =
        "What the lines are:\n\n"
        "peak\tmultiply-adds in registers, two operations each: ceiling of infer and train\n\n"
        "triad\ta[i] = b[i] + 3 c[i] over arrays larger than any cache: ceiling of augment, stain "
        "(bytes "
        "in, floats out) and of pack (each byte is read and written), unless the pack fits into a "
        "cache\n\n"
        "decode\tits ceiling is the speed of one thread times the threads\n\n"
        "stain\taugment with augment.hed\n\n"
        "infer, train\ttwo operations for each multiply-add of direct convolution; taps on padding "
        "are not counted. Winograd's algorithms need fewer, so that a share can pass 100 %. A pair "
        "is one window of each tower.",
    .examples = "micromet bench\n"
                "micromet bench --slide tumor_091.tif --pack packs/tumor_091.pack\n"
                "micromet bench --network --px 299 --batch 8 --json\n"
                "micromet bench --layers --seconds 10\n",
    .run = run,
};
