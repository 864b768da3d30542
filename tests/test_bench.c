/* The benchmark reports every requested figure, in order, and the figures are consistent. Speeds
 * are not tested: they depend on the machine. */
#include <math.h>

#include "micromet/bench/bench.h"
#include "micromet/slide/pack.h"
#include "temporary.h"
#include "tiny_slide.h"

enum { RESULTS_MAX = 16 };

struct told {
    struct bench_result results[RESULTS_MAX];
    int count;
    char programs[64];
    double macs[2]; /* of the operations reported, in the order of the programs */
    bool sorted, timed;
};

static void on_result(void *context, const struct bench_result *result)
{
    struct told *told = context;
    cr_assert_lt(told->count, RESULTS_MAX);
    told->results[told->count++] = *result;
}

static void on_layers(void *context, const char *program, const struct model_op_time *times,
                      int count, int threads, double peak_gflops)
{
    struct told *told = context;
    const int index = told->programs[0] != 0;
    cr_expect_eq(threads, 1);
    cr_expect_gt(peak_gflops, 0);
    cr_expect_geq(count, 108); /* 94 convolutions, 13 pools of the table, and the global one */
    strcat(strcat(told->programs, program), " ");
    for (int i = 0; i < count; i++) {
        told->macs[index] += times[i].macs;
        told->timed = told->timed && times[i].seconds > 0;
        told->sorted = told->sorted && (i == 0 || times[i].seconds <= times[i - 1].seconds);
    }
}

static struct told run(struct bench_options options)
{
    static struct told told;
    struct error err = { 0 };
    told = (struct told) { .sorted = true, .timed = true };
    const struct bench_listener listener = { on_result, on_layers, &told };
    options.seconds = 0.01;
    cr_assert(bench_run(&options, &listener, &err), "%s", err.message);
    for (int i = 0; i < told.count; i++)
        for (int k = 0; k < told.results[i].figure_count; k++)
            cr_expect(told.results[i].figures[k].value > 0 &&
                          isfinite(told.results[i].figures[k].value),
                      "%s: %s", told.results[i].what, told.results[i].figures[k].name);
    cr_assert_geq(told.count, 2);
    cr_expect_str_eq(told.results[0].what, "peak");
    cr_expect_str_eq(told.results[1].what, "triad");
    return told;
}

TestSuite(bench, .init = temporary_begin, .fini = temporary_end, .timeout = 600);

Test(bench, augment_and_network_come_behind_their_ceilings)
{
    const struct told told = run((struct bench_options) {
        .augment = true, .network = true, .layers = true, .px = 80, .batch = 8, .threads = 2 });
    static const char *const whats[] = { "peak", "triad", "augment", "stain", "infer", "train" };
    cr_assert_eq(told.count, 6);
    for (int i = 0; i < 6; i++) cr_expect_str_eq(told.results[i].what, whats[i]);
    const double peak = told.results[0].figures[0].value;
    double gflop_per_pair[2];
    for (int i = 0; i < 2; i++) {
        const struct bench_figure *figures = told.results[4 + i].figures;
        cr_expect_str_eq(figures[0].name, "pairs_per_s");
        cr_expect_str_eq(figures[1].name, "gflops");
        cr_expect_eq(figures[1].ceiling, peak);
        gflop_per_pair[i] = figures[1].value / figures[0].value;
        cr_expect_float_eq(figures[0].value / figures[0].ceiling,
                           figures[1].value / figures[1].ceiling, 1e-9);
    }
    /* 0.21 GMAC per tower with taps on padding, which are not counted here */
    cr_expect(gflop_per_pair[0] > 0.6 && gflop_per_pair[0] < 0.84, "%g", gflop_per_pair[0]);
    cr_expect(gflop_per_pair[1] > 1.2 * gflop_per_pair[0]);
    cr_expect_str_eq(told.programs, "infer train ");
    cr_expect(told.sorted && told.timed);
    /* both towers are alike, and the head is small */
    for (int i = 0; i < 2; i++)
        cr_expect_float_eq(4e-9 * told.macs[i] / 8 / gflop_per_pair[i], 1, 0.02);
}

Test(bench, a_slide_is_decoded_on_one_and_on_all_threads)
{
    const struct tiny_level size = { 1500, 900 };
    tiny_write(temporary_path("a.tif"), &size, 1, 3, tiny_tissue, NULL);
    const struct told told = run((struct bench_options) {
        .slide = temporary_path("a.tif"), .px = 80, .batch = 4, .threads = 2 });
    cr_assert_eq(told.count, 4);
    for (int i = 0; i < 2; i++) {
        cr_expect_str_eq(told.results[2 + i].what, "decode");
        cr_expect_eq(told.results[2 + i].threads, 1 + i);
    }
    cr_expect_eq(told.results[3].figures[0].ceiling, 2 * told.results[2].figures[0].value);
}

Test(bench, a_pack_is_read_through_the_loader)
{
    const struct tiny_level size = { 400, 300 };
    struct manifest_row row = { .line = 2 };
    struct pack_header header;
    struct config config;
    struct error err = { 0 };
    char path[PATH_MAX_BYTES];
    const struct select_options select = { .threads = 1 };
    config_defaults(&config);
    config.data.level_count = 1;
    config.data.levels[0] = 0;
    strcpy(config.data.pack, temporary_folder);
    strcpy(row.slide, temporary_path("a.tif"));
    tiny_write(row.slide, &size, 1, 3, tiny_tissue, NULL);
    cr_assert(pack_build(&row, &config, &select, &header, &err), "%s", err.message);
    cr_assert(pack_path(path, &row, &config, &err));
    const struct told told = run(
        (struct bench_options) { .pack = path, .px = 80, .batch = 3, .threads = 2 });
    cr_assert_eq(told.count, 3);
    cr_expect_str_eq(told.results[2].what, "pack");
    cr_expect_eq(told.results[2].px, 80);
    const struct bench_figure *figures = told.results[2].figures;
    cr_expect_float_eq(figures[1].value / figures[0].value, 80 * 80 * 3 * 1e-6, 1e-9);
}

Test(bench, files_that_are_not_there_are_named)
{
    struct error err = { 0 };
    struct told told = { 0 };
    const struct bench_listener listener = { on_result, on_layers, &told };
    const struct bench_options options = {
        .pack = temporary_path("gone.pack"), .px = 80, .batch = 1, .threads = 1, .seconds = 0.01
    };
    cr_assert(!bench_run(&options, &listener, &err));
    cr_expect(strstr(err.message, "gone.pack"), "%s", err.message);
}
