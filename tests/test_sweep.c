/* Sweeps: the runs of a text, against expansions that are written out or drawn by other code, and
 * the messages of every kind of error. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/philox.h"
#include "micromet/base/random.h"
#include "micromet/base/size.h"
#include "micromet/sweep/sweep.h"
#include "support.h"

static struct sweep parse(const char *yaml)
{
    struct sweep sweep;
    struct error err = { 0 };
    cr_assert(sweep_parse(&sweep, yaml, strlen(yaml), "s.yaml", "/sweeps", &err), "%s",
              err.message);
    return sweep;
}

static void expect_error(const char *yaml, const char *message)
{
    struct sweep sweep;
    struct error err = { 0 };
    cr_expect_not(sweep_parse(&sweep, yaml, strlen(yaml), "s.yaml", "/sweeps", &err),
                  "accepted: %s", yaml);
    cr_expect_str_eq(err.message, message, "\nfrom:     %s\ngot:      %s\nexpected: %s", yaml,
                     err.message, message);
    cr_expect_eq(err.code, EXIT_CODE_USAGE);
    sweep_release(&sweep);
}

/* All runs, each as "value value", in one text. */
static void expect_runs(const char *yaml, const char *expected)
{
    struct sweep sweep = parse(yaml);
    char all[4096] = "";
    for (int i = 0; i < sweep.run_count; i++)
        for (int k = 0; k < sweep.column_count; k++)
            snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s",
                     sweep.runs[i].values[k].value, k + 1 < sweep.column_count ? " " : "\n");
    cr_expect_str_eq(all, expected, "\nfrom:\n%s\ngot:\n%s\nexpected:\n%s", yaml, all, expected);
    sweep_release(&sweep);
}

Test(sweep, a_grid_is_all_combinations_the_last_key_varying_first)
{
    expect_runs("base: b.yaml\n"
                "grid: {data.levels: [[2,3], [3, 4]], train.batch: [16, 32]}\n",
                "[2, 3] 16\n[2, 3] 32\n[3, 4] 16\n[3, 4] 32\n");
}

Test(sweep, pairs_go_together_and_repetitions_come_last)
{
    expect_runs("base: b.yaml\n"
                "repeat: {seed: [7, 8]}\n"
                "paired: {train.batch: [16, 32], optimizer.momentum: [0.9, 0.95]}\n"
                "grid: {optimizer.name: [sgd, rmsprop]}\n",
                "sgd 16 0.9 7\nsgd 16 0.9 8\nsgd 32 0.95 7\nsgd 32 0.95 8\n"
                "rmsprop 16 0.9 7\nrmsprop 16 0.9 8\nrmsprop 32 0.95 7\nrmsprop 32 0.95 8\n");
}

Test(sweep, what_is_excluded_is_compared_by_value)
{
    expect_runs("base: b.yaml\n"
                "grid: {data.levels: [[2,3],[3,4]], optimizer.learning_rate: [1e-4, 0.001]}\n"
                "exclude: [{data.levels: [ 3,  4 ], optimizer.learning_rate: 1e-3}]\n",
                "[2, 3] 0.0001\n[2, 3] 0.001\n[3, 4] 0.0001\n");
    expect_runs("base: b.yaml\ngrid: {train.batch: [1, 2, 3, 4]}\n"
                "exclude: [{train.batch: 2}, {train.batch: 4}]\n",
                "1\n3\n");
}

/* The unit number in [0, 1) of 53 bits that key `stream` has in `run`, straight from Philox. */
static double unit_of(uint64_t seed, uint32_t stream, uint32_t run)
{
    const uint32_t counter[4] = { 0, stream << 4 | RANDOM_SWEEP, run, 0 };
    const uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    uint32_t words[4];
    philox4x32_10(counter, key, words);
    return (double)(((uint64_t)words[0] << 32 | words[1]) >> 11) / 9007199254740992.0;
}

Test(sweep, drawn_values_are_those_of_philox)
{
    struct sweep sweep = parse(
        "base: b.yaml\n"
        "random:\n"
        "  runs: 50\n"
        "  seed: 5\n"
        "  optimizer.learning_rate: {distribution: log_uniform_values, min: 1e-5, max: 1e-3}\n"
        "  model.dropout: {distribution: uniform, min: 0.1, max: 0.5}\n");
    cr_assert_eq(sweep.run_count, 50);
    for (int run = 0; run < 50; run++) {
        const double rate = 1e-5 * pow(100, unit_of(5, 0, (uint32_t)run));
        const double dropout = 0.1 + 0.4 * unit_of(5, 1, (uint32_t)run);
        cr_expect_float_eq(atof(sweep.runs[run].values[0].value), rate, 1e-5 * rate);
        cr_expect_float_eq(atof(sweep.runs[run].values[1].value), dropout, 1e-5 * dropout);
    }
    sweep_release(&sweep);
}

Test(sweep, whole_numbers_and_choices_are_drawn_from_all_and_only_those)
{
    struct sweep sweep = parse("base: b.yaml\n"
                               "random: {runs: 400, train.batch: {min: 3, max: 5},\n"
                               "  optimizer.name: {values: [sgd, adam]}, seed: {value: 9}}\n");
    int batches[6] = { 0 }, sgd = 0;
    for (int run = 0; run < sweep.run_count; run++) {
        const int batch = atoi(sweep.runs[run].values[0].value);
        cr_assert(batch >= 3 && batch <= 5);
        batches[batch]++;
        sgd += strcmp(sweep.runs[run].values[1].value, "sgd") == 0;
        cr_expect_str_eq(sweep.runs[run].values[2].value, "9");
    }
    for (int batch = 3; batch <= 5; batch++) cr_expect(batches[batch] > 90); /* of 133: 4.6 σ */
    cr_expect(sgd > 150 && sgd < 250);                                       /* of 200: 5 σ */
    sweep_release(&sweep);
}

Test(sweep, more_random_runs_keep_the_first_ones)
{
    const char *text = "base: b.yaml\n"
                       "random: {runs: %d, optimizer.learning_rate: {min: 1e-4, max: 1e-3}}\n"
                       "grid: {train.batch: [8, 16]}\nrepeat: {seed: [1, 2]}\n";
    char few[512], many[512];
    snprintf(few, sizeof few, text, 3);
    snprintf(many, sizeof many, text, 5);
    struct sweep a = parse(few), b = parse(many);
    cr_assert_eq(a.run_count, 12);
    cr_assert_eq(b.run_count, 20);
    for (int i = 0; i < a.run_count; i++)
        for (int k = 0; k < a.column_count; k++)
            cr_expect_str_eq(a.runs[i].values[k].value, b.runs[i].values[k].value);
    cr_expect_str_neq(b.runs[0].values[0].value, b.runs[4].values[0].value);
    sweep_release(&a);
    sweep_release(&b);
}

/* All runs of a sweep that has grown, and where its generations end. */
static void expect_growth(const char *before, const char *after, const char *expected)
{
    struct sweep sweep = parse(before);
    struct error err = { 0 };
    char all[1024] = "";
    cr_assert(sweep_extend(&sweep, before, strlen(before), after, strlen(after), "s.yaml",
                           "/sweeps", &err),
              "%s", err.message);
    for (int i = 0, generation = 0; i < sweep.run_count; i++) {
        if (i == sweep.ends[generation]) {
            snprintf(all + strlen(all), sizeof all - strlen(all), "| ");
            generation++;
        }
        for (int k = 0; k < sweep.column_count; k++)
            snprintf(all + strlen(all), sizeof all - strlen(all), "%s ",
                     sweep.runs[i].values[k].value);
    }
    cr_expect_str_eq(all, expected, "\nfrom:\n%s\ngot:\n%s\nexpected:\n%s", after, all, expected);
    sweep_release(&sweep);
}

Test(sweep, added_runs_come_behind_the_others)
{
    expect_growth("base: b.yaml\ngrid: {train.batch: [16, 32], data.window: [80]}\n",
                  "base: b.yaml\ngrid: {train.batch: [8, 16, 32], data.window: [80, 90]}\n",
                  "16 80 32 80 | 8 80 8 90 16 90 32 90 ");
    expect_growth("base: b.yaml\nexclude: [{train.batch: 8, seed: 1}]\n"
                  "random: {runs: 1, train.batch: {values: [8]}}\ngrid: {seed: [1, 2]}\n",
                  "base: b.yaml # a comment\nexclude: [{train.batch: 8, seed: 1}]\n"
                  "random: {runs: 2, train.batch: {values: [8]}}\ngrid: {seed: [3, 2, 1]}\n",
                  "8 2 | 8 3 8 3 8 2 "); /* equal draws are two runs */
    expect_growth("base: b.yaml\ngrid: {seed: [1, 2]}\n", "base: b.yaml\ngrid: {seed: [2, 1]}\n",
                  "1 2 ");
}

Test(sweep, what_else_has_changed_is_refused)
{
    static const char before[] = "base: b.yaml\n"
                                 "random: {runs: 3, seed: 1, model.dropout: {min: 0.1, max: 0.5}}\n"
                                 "grid: {train.batch: [16, 32]}\n"
                                 "repeat: {seed: [1, 2]}\n"
                                 "halving: {max_epochs: 9}\n";
    static const struct {
        const char *was, *is, *key;
    } rows[] = {
        { "b.yaml", "c.yaml", "1:7: base" },
        { "runs: 3", "runs: 2", "2:16: runs" },
        { "seed: 1", "seed: 2", "2:25: seed" },
        { "max: 0.5", "max: 0.6", "2:43: model.dropout" },
        { "[16, 32]", "[16, 64]", "3:21: train.batch" },
        { "[16, 32]}", "[16, 32], data.window: [80]}", "3:44: data.window" },
        { "[1, 2]", "[1, 2, 3]", "4:9: repeat" },
        { "max_epochs: 9", "max_epochs: 8", "5:10: halving" },
        { "halving: {max_epochs: 9}\n", "", "1:1: halving" },
        { "halving", "name: x\nhalving", "5:7: name" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct sweep sweep = parse(before);
        struct error err = { 0 };
        char after[512], message[512];
        const char *at = strstr(before, rows[i].was);
        snprintf(after, sizeof after, "%.*s%s%s", (int)(at - before), before, rows[i].is,
                 at + strlen(rows[i].was));
        snprintf(message, sizeof message, "s.yaml:%s: is not as it was", rows[i].key);
        cr_expect_not(sweep_extend(&sweep, before, strlen(before), after, strlen(after), "s.yaml",
                                   "/sweeps", &err));
        cr_expect_eq(strncmp(err.message, message, strlen(message)), 0, "got '%s', expected '%s'",
                     err.message, message);
        cr_expect_eq(sweep.run_count, 12);
        sweep_release(&sweep);
    }
}

Test(sweep, repetitions_are_of_one_configuration)
{
    struct sweep sweep = parse("base: b.yaml\ngrid: {train.batch: [1, 2, 3]}\n"
                               "repeat: {seed: [7, 8]}\nexclude: [{train.batch: 2, seed: 7}]\n");
    const int configurations[] = { 0, 0, 2, 3, 3 };
    cr_assert_eq(sweep.run_count, 5);
    for (int run = 0; run < 5; run++)
        cr_expect_eq(sweep.runs[run].configuration, configurations[run]);
    cr_expect_eq(sweep_configurations(&sweep, 0), 3);
    cr_expect_eq(sweep_repetitions(&sweep), 2);
    sweep_release(&sweep);
}

Test(sweep, rungs_of_halving)
{
    struct sweep sweep = parse("base: b.yaml\n"
                               "random: {runs: 27, model.dropout: {min: 0.0, max: 0.5}}\n"
                               "halving: {min_epochs: 1, max_epochs: 9, factor: 3}\n");
    cr_assert_eq(sweep_rung_count(&sweep), 3);
    const int epochs[] = { 1, 3, 9 }, runs[] = { 27, 9, 3 };
    for (int rung = 0; rung < 3; rung++) {
        cr_expect_eq(sweep_rung_epochs(&sweep, rung), epochs[rung]);
        cr_expect_eq(sweep_rung_runs(&sweep, rung), runs[rung]);
    }
    sweep_release(&sweep);

    sweep = parse("base: b.yaml\ngrid: {seed: [1, 2, 3]}\n"
                  "halving: {min_epochs: 2, max_epochs: 10, factor: 4}\n");
    cr_assert_eq(sweep_rung_count(&sweep), 3);
    cr_expect_eq(sweep_rung_epochs(&sweep, 1), 8);
    cr_expect_eq(sweep_rung_epochs(&sweep, 2), 10);
    cr_expect_eq(sweep_rung_runs(&sweep, 1), 1);
    sweep_release(&sweep);

    sweep = parse("base: b.yaml\ngrid: {seed: [1, 2, 3]}\n");
    cr_expect_eq(sweep_rung_count(&sweep), 1);
    cr_expect_eq(sweep_rung_epochs(&sweep, 0), 0);
    cr_expect_eq(sweep_rung_runs(&sweep, 0), 3);
    sweep_release(&sweep);
}

Test(sweep, hydras_line_is_a_grid)
{
    static char *const overrides[] = { "optimizer.learning_rate=1e-4,3e-4",
                                       "data.levels=[2,3],[3,4]", "train.batch=range(1,7,3)",
                                       "optimizer.name=choice(sgd, adam)", "train.run=a \"b\"" };
    char *yaml;
    struct error err = { 0 };
    cr_assert(sweep_text_of_line(&yaml, "configs/b.yaml", 5, overrides, &err), "%s", err.message);
    cr_expect_str_eq(yaml,
                     "base: \"configs/b.yaml\"\ngrid:\n"
                     "  \"optimizer.learning_rate\": [\"1e-4\", \"3e-4\"]\n"
                     "  \"data.levels\": [[2,3], [3,4]]\n"
                     "  \"train.batch\": [1, 4]\n"
                     "  \"optimizer.name\": [\"sgd\", \"adam\"]\n"
                     "  \"train.run\": [\"a \\\"b\\\"\"]\n",
                     "%s", yaml);
    cr_expect(sweep_is_sweep(yaml, strlen(yaml)));
    cr_expect_not(sweep_is_sweep("seed: 1\n", 8));
    free(yaml);

    static char *const bad[] = { "train.batch=range(1.5)" };
    cr_expect_not(sweep_text_of_line(&yaml, "b.yaml", 1, bad, &err));
    cr_expect_str_eq(err.message,
                     "command line: train.batch=range(1.5): expected whole numbers such as "
                     "range(1, 10), which is 1 to 9, or range(0, 10, 2)",
                     "%s", err.message);
}

Test(sweep, errors_name_their_place)
{
    static const struct {
        const char *yaml, *message;
    } rows[] = {
        { "base: b.yaml\ngrid:\n  optimizer.learning_rate: [1e-4, -1]\n",
          "s.yaml:3:35: optimizer.learning_rate: -1 is below 0" },
        { "base: b.yaml\ngrid: {train.bath: [1]}\n",
          "s.yaml:2:8: train.bath: unknown key; did you mean train.batch?" },
        { "base: b.yaml\ngrid: {train.batch: 1}\n",
          "s.yaml:2:21: train.batch: expected a list with something in it" },
        { "base: b.yaml\ngrid: {train.batch: [1, 1]}\n",
          "s.yaml:2:25: train.batch: 1 stands in the list twice" },
        { "base: b.yaml\ngrid: {seed: [1]}\nrepeat: {seed: [2]}\n",
          "s.yaml:3:10: seed: is given twice" },
        { "base: b.yaml\ngrid: {name: [a, b]}\n",
          "s.yaml:2:8: name: is set by the sweep for each run" },
        { "base: b.yaml\npaired: {seed: [1, 2], train.batch: [1]}\n",
          "s.yaml:2:37: train.batch: 1 values, but the keys that it is paired with have 2" },
        { "base: b.yaml\nrandom: {runs: 2, seed: {distribution: normal, mu: 1}}\n",
          "s.yaml:2:25: seed: 'normal' is no distribution of constant, choice, categorical, "
          "values, "
          "uniform, int_uniform, log_uniform_values" },
        { "base: b.yaml\nrandom: {runs: 2, train.batch: {distribution: uniform, min: 1}}\n",
          "s.yaml:2:32: train.batch: uniform needs `max`" },
        { "base: b.yaml\nrandom: {runs: 2, train.batch: {distribution: uniform, min: 1, max: 9}}\n",
          "s.yaml:2:19: train.batch: expected an integer, got '8.53423'" },
        { "base: b.yaml\nrandom: {runs: 2, model.dropout: {min: 0.5, max: 1.5}}\n",
          "s.yaml:2:50: model.dropout: 1.5 is above 0.99" },
        { "base: b.yaml\nrandom: {seed: 1}\n",
          "s.yaml:2:9: random: `runs`, their number, is missing" },
        { "base: b.yaml\ngrid: {seed: [1, 2]}\nexclude: [{train.batch: 1}]\n",
          "s.yaml:3:12: exclude: train.batch is no key that this sweep varies" },
        { "base: b.yaml\nmetric: {name: validation.f1}\ngrid: {seed: [1]}\n",
          "s.yaml:2:16: metric.name: 'validation.f1' is no metric; there are validation.auc and "
          "validation.loss" },
        { "base: b.yaml\nmetric: {goal: most}\ngrid: {seed: [1]}\n",
          "s.yaml:2:16: metric.goal: 'most' is neither minimize nor maximize" },
        { "base: b.yaml\ngrid: {seed: [1]}\nhalving: {min_epochs: 3, max_epochs: 2}\n",
          "s.yaml:3:10: halving: max_epochs is below min_epochs" },
        { "base: b.yaml\ngrid: {train.epochs: [1]}\nhalving: {max_epochs: 2}\n",
          "s.yaml:3:10: halving: max_epochs is train.epochs of every run; leave train.epochs out "
          "of "
          "the other sections" },
        { "base: b.yaml\ngrid: {seed: [1]}\nhalving: {max_epochs: 2, asynchronous: 1}\n",
          "s.yaml:3:40: asynchronous: expected true or false, got '1'" },
        { "grid: {seed: [1]}\n", "s.yaml:1:1: no sweep: `base`, the configuration of all runs, is "
                                 "missing; to vary the keys of "
                                 "a configuration, write key=value,value behind it" },
        { "base: b.yaml\n", "s.yaml:1:1: no key varies: give it a grid, random, paired or repeat" },
        { "base: b.yaml\nparameters: {seed: 1}\n",
          "s.yaml:2:1: parameters: a sweep has no such section; values to combine go into `grid`, "
          "distributions into `random`" },
        { "base: b.yaml\ngird: {seed: [1]}\n",
          "s.yaml:2:1: gird: a sweep has no such section; did you mean grid?" },
        { "base: b.yaml\ngrid: {seed: &x [1]}\n",
          "s.yaml:2:14: YAML anchors (&name) are not supported; write the value out" },
        { "base: b.yaml\nbase: b.yaml\n", "s.yaml:2:1: base: is given twice" },
        { "base: [", "s.yaml:2:1: not valid YAML: did not find expected node content while parsing "
                     "a flow node" },
        { "base: b.yaml\ngrid: {seed: [1, 2]}\nexclude: [{seed: 1}, {seed: 2}]\n",
          "the sweep excludes all of its runs" },
        { "base: b.yaml\nrandom: {runs: 10000, model.dropout: {min: 0.0, max: 0.5}}\n"
          "grid: {seed: [1, 2]}\n",
          "the sweep has more than 10000 runs" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) expect_error(rows[i].yaml, rows[i].message);
}
