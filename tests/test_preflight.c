/* What is checked of a configuration before anything is opened. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/stat.h>

#include "micromet/base/size.h"
#include "micromet/run/preflight.h"
#include "support.h"

static bool passes(const char *yaml, char message[1024])
{
    struct config config;
    struct error err = { 0 };
    const char *key;
    cr_assert(config_parse(&config, yaml, strlen(yaml), "x.yaml", &err), "%s", err.message);
    const bool ok = preflight_training(&config, &key, &err);
    snprintf(message, 1024, "%s", err.message);
    cr_expect_eq(err.code, ok ? EXIT_CODE_OK : EXIT_CODE_USAGE);
    cr_expect(ok || strncmp(message, key, strlen(key)) == 0, "%s: %s", key, message);
    return ok;
}

Test(preflight, freeze_is_a_layer_a_block_none_or_all)
{
    static const char *const good[] = { "none",     "all",      "keras:0", "keras:311",
                                        "mixed_5b", "Mixed_7c", "mixed_6d" };
    static const char *const bad[] = { "keras:312", "keras:-1", "keras:",
                                       "keras:15x", "mixed_6f", "mixed",
                                       "true",      "150",      "Conv2d_1a_3x3" };
    char yaml[128], message[1024];
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        snprintf(yaml, sizeof yaml, "model: {freeze: '%s'}", good[i]);
        cr_expect(passes(yaml, message), "%s", message);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        snprintf(yaml, sizeof yaml, "model: {freeze: '%s'}", bad[i]);
        cr_expect_not(passes(yaml, message), "%s", bad[i]);
    }
}

/* Sides of the last block's maps, by hand: 80 -> 39 37 37 18 18 16 7 7 3 1; 106 -> 52 50 50 24 24
 * 22 10 10 4 1; 107 -> 53 51 51 25 25 23 11 11 5 2. */
Test(preflight, batch_norm_needs_two_values)
{
    static const struct {
        int batch, window;
        const char *freeze, *mode;
        const char *first; /* layer with a single value; NULL = passes */
    } rows[] = {
        { 1, 80, "none", "batch", "Mixed_7a.branch3x3_2" },
        { 1, 106, "keras:150", "batch", "Mixed_7a.branch3x3_2" },
        { 1, 80, "mixed_7a", "batch", "Mixed_7b.branch1x1" },
        { 1, 80, "mixed_7b", "batch", "Mixed_7c.branch1x1" },
        { 1, 107, "none", "batch", NULL },
        { 1, 299, "none", "batch", NULL },
        { 2, 80, "none", "batch", NULL },
        { 1, 80, "mixed_7c", "batch", NULL },
        { 1, 80, "all", "batch", NULL },
        { 1, 80, "none", "frozen", NULL },
    };
    char yaml[256], message[1024];
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        snprintf(yaml, sizeof yaml,
                 "data: {window: %d}\nmodel: {freeze: '%s', batch_norm: %s}\ntrain: {batch: %d}\n",
                 rows[i].window, rows[i].freeze, rows[i].mode, rows[i].batch);
        const bool ok = passes(yaml, message);
        cr_expect_eq(ok, rows[i].first == NULL, "%s: %s", yaml, message);
        cr_expect(ok || strstr(message, rows[i].first), "%s: %s", yaml, message);
    }
}

static char folder[PATH_MAX_BYTES];

static void begin(void)
{
    test_folder_make(folder);
}

static void end(void)
{
    test_folder_remove(folder);
}

TestSuite(preflight_files, .init = begin, .fini = end);

static void expect(const char *yaml, const char *message)
{
    char file[PATH_MAX_BYTES];
    struct config config;
    struct error err = { 0 };
    test_write(file, folder, "x.yaml", yaml);
    const bool ok = config_load_checked(&config, file, 0, NULL, preflight_all, &err);
    cr_expect_eq(ok, message == NULL, "%s: %s", yaml, err.message);
    cr_expect(ok || strstr(err.message, message), "%s: %s", yaml, err.message);
    cr_expect_eq(err.code, ok ? EXIT_CODE_OK : EXIT_CODE_USAGE);
}

Test(preflight_files, files_must_be_what_they_are_taken_for_and_slides_need_not_be_there)
{
    char path[PATH_MAX_BYTES];
    test_write(path, folder, "slides.csv",
               "slide,annotation,label,split\nnot-here.tif,,normal,train\n"
               "nor-here.tif,,normal,validation\n");
    test_write(path, folder, "train.csv",
               "slide,annotation,label,split\nnot-here.tif,,normal,train\n");
    test_write(path, folder, "bad.csv", "slide,annotation,label,split\na.tif,,benign,train\n");
    test_write(path, folder, "file", "text\n");
    static const char random[] = "model: {weights: random}\n";
    char yaml[256];
    static const struct {
        const char *yaml, *message;
    } rows[] = {
        { "", NULL },
        { "data: {manifest: none.csv}", "x.yaml:2:18: data.manifest: " },
        { "data: {manifest: .}", "x.yaml:2:18: data.manifest: " },
        { "data: {manifest: bad.csv}", "bad.csv:2: label 'benign'" },
        { "data: {manifest: train.csv}", "train.csv: names no validation slide" },
        { "data: {pack: file}", "x.yaml:2:14: data.pack: " },
        { "train: {run: file}", "x.yaml:2:14: train.run: " },
        { "compute: {plan_cache: file}", "x.yaml:2:23: compute.plan_cache: " },
        { "data: {pack: later}", NULL },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        snprintf(yaml, sizeof yaml, "%s%s", random, rows[i].yaml);
        expect(yaml, rows[i].message);
    }
    expect("model: {weights: none.h5}", "x.yaml:1:18: model.weights (a file, or 'random'): ");
    expect("model: {weights: file}", "x.yaml:1:18: model.weights: ");
    expect("model: {weights: .}", "x.yaml:1:18: model.weights");
    expect("seed: 1", "x.yaml: model.weights (a file, or 'random'): "); /* the default */
}
