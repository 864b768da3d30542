/* The configuration: exact messages of every kind of error, paths, overrides, round trip. */
#include <criterion/criterion.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "micromet/base/config.h"
#include "micromet/base/size.h"
#include "support.h"

static void expect_error(const char *yaml, const char *message)
{
    struct config config;
    struct error err = { 0 };
    cr_expect_not(config_parse(&config, yaml, strlen(yaml), "x.yaml", &err), "accepted: %s", yaml);
    cr_expect_str_eq(err.message, message, "\nfrom:     %s\ngot:      %s\nexpected: %s", yaml,
                     err.message, message);
    cr_expect_eq(err.code, EXIT_CODE_USAGE);
}

static struct config parse(const char *yaml)
{
    struct config config;
    struct error err = { 0 };
    cr_assert(config_parse(&config, yaml, strlen(yaml), "x.yaml", &err), "%s", err.message);
    return config;
}

Test(config, values_of_a_wrong_type_are_named_with_place)
{
    expect_error("data:\n  window: abc\n",
                 "x.yaml:2:11: data.window: expected an integer, got 'abc'");
    expect_error("data: {window: 80.5}",
                 "x.yaml:1:16: data.window: expected an integer, got '80.5'");
    expect_error("data: {window: \"\"}", "x.yaml:1:16: data.window: expected an integer, got ''");
    expect_error("data: {window: [80]}",
                 "x.yaml:1:16: data.window: expected an integer, got a list");
    expect_error("data: {window: {a: 1}}",
                 "x.yaml:1:16: data.window: expected an integer, got a section of keys");
    expect_error("data: {mpp: .nan}", "x.yaml:1:13: data.mpp: expected a number, got '.nan'");
    expect_error("data: {mpp: nan}", "x.yaml:1:13: data.mpp: expected a number, got 'nan'");
    expect_error("data: {mpp: 0x10}", "x.yaml:1:13: data.mpp: expected a number, got '0x10'");
    expect_error("augment: {flip: y}",
                 "x.yaml:1:17: augment.flip: expected true or false, got 'y'");
    expect_error("seed: 1.5", "x.yaml:1:7: seed: expected an integer, got '1.5'");
    expect_error("data: 5", "x.yaml:1:7: data: expected a section of keys, got '5'");
    expect_error("optimizer: adam", "x.yaml:1:12: optimizer: expected a section of keys such as "
                                    "{name: adam}, got 'adam'");
    expect_error("data: [5]", "x.yaml:1:7: data: expected a section of keys, got a list");
    expect_error("[1, 2]", "x.yaml:1:1: the file: expected a section of keys, got a list");
    expect_error("name: [a]", "x.yaml:1:7: name: expected a text, got a list");
}

Test(config, lists_are_checked_item_by_item)
{
    expect_error("data:\n  levels: 3\n",
                 "x.yaml:2:11: data.levels: expected a list of integers such as [2, 3], got '3'");
    expect_error("data:\n  levels:\n  - 2\n  - x\n",
                 "x.yaml:4:5: data.levels: expected an integer, got 'x'");
    expect_error("data: {levels: [1, [2]]}",
                 "x.yaml:1:20: data.levels: expected an integer, got a list");
    expect_error("data: {levels: []}",
                 "x.yaml:1:16: data.levels: [] is empty: a model has at least one tower");
    expect_error("data: {levels: [1, 2, 3, 4, 5]}",
                 "x.yaml:1:29: data.levels: holds more than 4 values");
    expect_error("data: {levels: [1, 31]}", "x.yaml:1:20: data.levels: 31 is above 30");
    expect_error("data: {origin: [1]}", "x.yaml:1:16: data.origin: expected two integers, got 1");
    expect_error("data: {origin: [1, 2, 3]}", "x.yaml:1:23: data.origin: holds more than 2 values");
}

Test(config, values_out_of_range_say_which_end)
{
    expect_error("optimizer:\n  name: sgd\n  learning_rate: -1\n",
                 "x.yaml:3:18: optimizer.learning_rate: -1 is below 0");
    expect_error("data: {window: 74}", "x.yaml:1:16: data.window: 74 is below 75");
    expect_error("model: {dropout: 1.5}", "x.yaml:1:18: model.dropout: 1.5 is above 0.99");
    expect_error("optimizer: {learning_rate: 1e999}",
                 "x.yaml:1:28: optimizer.learning_rate: 1e999 is above 100");
    expect_error("train: {batch: 99999999999999999999}",
                 "x.yaml:1:16: train.batch: 99999999999999999999 is above 65536");
    expect_error("train: {batch: -99999999999999999999}",
                 "x.yaml:1:16: train.batch: -99999999999999999999 is below 1");
    expect_error("seed: -1", "x.yaml:1:7: seed: -1 is below 0");
    expect_error("seed: 18446744073709551616",
                 "x.yaml:1:7: seed: 18446744073709551616 is above 18446744073709551615");
}

Test(config, choices_are_listed_and_the_nearest_suggested)
{
    expect_error("optimizer: {name: adma}", "x.yaml:1:19: optimizer.name: 'adma' is none of adam, "
                                            "rmsprop, sgd, adamw; did you mean adam?");
    expect_error("compute: {backend: tpuv5}",
                 "x.yaml:1:20: compute.backend: 'tpuv5' is none of auto, cpu, cuda");
}

Test(config, unknown_keys_suggest_the_nearest)
{
    expect_error("optimizer: {learning_rat: 1}",
                 "x.yaml:1:13: optimizer.learning_rat: unknown key; did you mean "
                 "optimizer.learning_rate?");
    expect_error("optimiser:\n  name: sgd\n",
                 "x.yaml:1:1: optimiser: unknown key; did you mean optimizer?");
    expect_error("window: 80", "x.yaml:1:1: window: unknown key; did you mean data.window?");
    expect_error("data: {tisue: {method: otsu}}",
                 "x.yaml:1:8: data.tisue: unknown key; did you mean data.tissue?");
    expect_error("data: {quux: 1}",
                 "x.yaml:1:8: data.quux: unknown key; `micromet config --help` lists all keys");
    expect_error("\"\": 1", "x.yaml:1:1: : unknown key; `micromet config --help` lists all keys");
}

Test(config, unknown_keys_of_other_programs_suggest_ours)
{
    static const char *const pairs[][2] = {
        { "optimizer: {lr: 1}", "did you mean optimizer.learning_rate?" },
        { "train: {batch_size: 1}", "did you mean train.batch?" },
        { "train: {batchSize: 1}", "did you mean train.batch?" },
        { "max_epochs: 1", "did you mean train.epochs?" },
        { "num_workers: 1", "did you mean data.reader_threads?" },
        { "model: {pretrained: true}", "did you mean model.weights?" },
        { "train: {auto_requeue: true}", "did you mean train.requeue?" },
        { "data: {csv: a}", "did you mean data.manifest?" },
        { "data: {patch-size: 1}", "did you mean data.window?" },
        { "model: {name: a}", "the network is always InceptionV3; see the section model" },
        { "trainer: {max_epochs: 1}", "did you mean train?" },
        /* the right name in the wrong section, of keys and of sections */
        { "optimizer: {epochs: 1}", "did you mean train.epochs?" },
        { "batch: 1", "did you mean train.batch?" },
        { "tissue: {method: otsu}", "did you mean data.tissue?" },
        { "train: {patience: 1}", "did you mean train.early_stop.patience?" },
        { "patience: 1", "did you mean schedule.patience or train.early_stop.patience?" },
        { "<<: {seed: 1}", "merge keys are not supported; write the values out" },
    };
    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        struct config config;
        struct error err = { 0 };
        cr_expect_not(config_parse(&config, pairs[i][0], strlen(pairs[i][0]), "x.yaml", &err));
        cr_expect(strstr(err.message, ": unknown key; ") && strstr(err.message, pairs[i][1]),
                  "%s: %s", pairs[i][0], err.message);
    }
}

Test(config, every_spelling_of_a_boolean_is_one)
{
    static const char *const words[2][10] = {
        { "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "'false'" },
        { "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "\"True\"" },
    };
    for (int truth = 0; truth < 2; truth++)
        for (size_t i = 0; i < COUNT_OF(words[truth]); i++) {
            char yaml[64];
            snprintf(yaml, sizeof yaml, "augment: {flip: %s, per_tower: %s}", words[truth][i],
                     words[truth][i]);
            const struct config config = parse(yaml);
            cr_expect_eq(config.augment.flip, truth, "%s", yaml);
            cr_expect_eq(config.augment.per_tower, truth, "%s", yaml);
        }
}

Test(config, nothing_stands_for_no_value)
{
    static const char *const nothings[] = { "", "~", "null", "Null", "NULL", "None" };
    for (size_t i = 0; i < COUNT_OF(nothings); i++) {
        char yaml[64], message[256];
        snprintf(yaml, sizeof yaml, "data:\n  pack: %s\n", nothings[i]);
        snprintf(message, sizeof message,
                 "x.yaml:2:%d: data.pack: expected a path, got nothing; leave it out for the "
                 "default, packs",
                 *nothings[i] ? 9 : 8);
        expect_error(yaml, message);
        snprintf(yaml, sizeof yaml, "name: %s\ncompute: {plan_cache: %s}\ndata: %s\n", nothings[i],
                 nothings[i], nothings[i]);
        cr_expect_str_eq(parse(yaml).name, "x", "%s", yaml); /* as their default is empty, too */
    }
    expect_error("data: {window: }", "x.yaml:1:16: data.window: expected an integer, got nothing; "
                                     "leave it out for the default, 80");
    expect_error("data: {levels: ~}",
                 "x.yaml:1:16: data.levels: expected a list of integers such as [2, 3], got "
                 "nothing; leave it out for the default, [2, 3]");
    cr_expect_str_eq(parse("name: 'null'").name, "null");
}

Test(config, numbers_are_decimal)
{
    cr_expect_eq(parse("optimizer: {learning_rate: 1e-4}").optimizer.learning_rate, 1e-4);
    cr_expect_eq(parse("optimizer: {learning_rate: .5}").optimizer.learning_rate, 0.5);
    cr_expect_eq(parse("optimizer: {learning_rate: 1.}").optimizer.learning_rate, 1);
    cr_expect_eq(parse("train: {batch: +8}").train.batch, 8);
    expect_error("train: {batch: 1_000}",
                 "x.yaml:1:16: train.batch: expected an integer, got '1_000'");
    expect_error("train: {batch: 0x10}",
                 "x.yaml:1:16: train.batch: expected an integer, got '0x10'");
    expect_error("train: {batch: 010}", "x.yaml:1:16: train.batch: 010 begins with 0, which some "
                                        "read as octal; leave the 0 out");
    expect_error("optimizer: {learning_rate: '0,1'}",
                 "x.yaml:1:28: optimizer.learning_rate: expected a number, got '0,1'");
}

Test(config, nothing_is_given_twice)
{
    expect_error("seed: 1\nseed: 1\n", "x.yaml:2:1: seed: is given twice");
    expect_error("data: {window: 80}\ndata: {center: 50}\n", "x.yaml:2:1: data: is given twice");
    expect_error("data:\n  tissue: {}\n  window: 80\n  tissue: {}\n",
                 "x.yaml:4:3: data.tissue: is given twice");
}

Test(config, yaml_that_has_no_place_here_is_refused)
{
    expect_error("data: &d {window: 80}",
                 "x.yaml:1:7: YAML anchors (&name) are not supported; write the value out");
    expect_error("data: *d",
                 "x.yaml:1:7: YAML aliases (*name) are not supported; write the value out");
    expect_error("seed: !!int 1",
                 "x.yaml:1:7: YAML tags (!name) are not supported; write the value out");
    expect_error("? [a]\n: 1\n", "x.yaml:1:3: a key must be one word, not a list or a section");
    expect_error("seed: 1\n---\nseed: 2\n",
                 "x.yaml:2:1: a second document begins here; one is enough");
    expect_error("name: \"a\\0b\"", "x.yaml:1:7: a value with a NUL byte");
}

Test(config, broken_yaml_is_named_with_place)
{
    struct config config;
    static const char *const broken[] = {
        "data: {window: 80\n", "data: {levels: [1, 2\n", "name: b: c\n",
        "\tseed: 1\n",         "name: 'abc\n",           "name: a\n  x: 2\n",
        "name: \"\\q\"\n",     "\xff\xfe\xff",           "name: \x01\n",
    };
    for (size_t i = 0; i < COUNT_OF(broken); i++) {
        struct error err = { 0 };
        cr_expect_not(config_parse(&config, broken[i], strlen(broken[i]), "x.yaml", &err));
        cr_expect(strncmp(err.message, "x.yaml:", 7) == 0, "%s", err.message);
        cr_expect(strstr(err.message, ": not valid YAML: "), "%s", err.message);
        cr_expect_eq(err.code, EXIT_CODE_USAGE);
    }
}

Test(config, deep_and_long_yaml_is_refused_without_harm)
{
    enum { DEPTH = 20000 };
    static char yaml[2 * DEPTH] = "name: ";
    memset(yaml + 6, '[', DEPTH);
    yaml[6 + DEPTH] = '\0';
    expect_error(yaml, "x.yaml:1:7: name: expected a text, got a list");
    memset(yaml + 6, 'x', DEPTH);
    expect_error(yaml, "x.yaml:1:7: a value of 20000 bytes; the longest that is read has 1023");
    yaml[6 + 200] = '\0';
    expect_error(yaml, "x.yaml:1:7: name: is longer than 127 bytes");
    memset(yaml, 'k', DEPTH);
    strcpy(yaml + 900, ": 1");
    struct config config;
    struct error err = { 0 };
    cr_assert_not(config_parse(&config, yaml, strlen(yaml), "x.yaml", &err));
    cr_assert(strstr(err.message, "kkk: unknown key"), "%s", err.message);
}

Test(config, rules_between_keys_blame_the_key_that_was_given)
{
    expect_error(
        "data: {levels: [3, 2]}",
        "x.yaml:1:16: data.levels: [3, 2] is not ascending; list distinct levels, finest first");
    expect_error(
        "data: {levels: [3, 3]}",
        "x.yaml:1:16: data.levels: [3, 3] is not ascending; list distinct levels, finest first");
    expect_error("data:\n  window: 80\n  center: 81\n",
                 "x.yaml:3:11: data.center: 81 is above data.window");
    expect_error("schedule: {min: 0.1}",
                 "x.yaml:1:17: schedule.min: 0.1 is above optimizer.learning_rate");
    expect_error("optimizer: {learning_rate: 1e-6}",
                 "x.yaml: schedule.min: 1e-05 is above optimizer.learning_rate");
    expect_error(
        "name: a/b",
        "x.yaml:1:7: name: a/b is not a plain folder name: it holds '/' or begins with '.'");
    expect_error("train: {batch: 8, examples_per_epoch: 7}",
                 "x.yaml:1:16: train.batch: 8 is more than train.examples_per_epoch, the windows "
                 "of an epoch; lower it, or raise that");
    expect_error("schedule: {name: cosine, warmup_examples: 200}\ntrain: {epochs: 2, "
                 "examples_per_epoch: 100}",
                 "x.yaml:1:43: schedule.warmup_examples: 200 is not below train.epochs * "
                 "train.examples_per_epoch: the run would end in the warm-up");
    parse("schedule: {name: cosine, warmup_examples: 199}\ntrain: {epochs: 2, examples_per_epoch: "
          "100}");
    parse("data: {center: 80}");
}

Test(config, defaults_are_those_of_the_article)
{
    struct config config;
    config_defaults(&config);
    cr_assert_eq(config.seed, 1);
    cr_assert_eq(config.data.level_count, 2);
    cr_assert_eq(config.data.levels[0], 2);
    cr_assert_eq(config.data.levels[1], 3);
    cr_assert_eq(config.data.window, 80);
    cr_assert_eq(config.data.center, 50);
    cr_assert_eq(config.data.origin[0], -1);
    cr_assert_eq(config.data.tissue.threshold, 0.8);
    cr_assert_eq(config.data.max_normal, 5000);
    cr_assert(config.augment.rotate && config.augment.flip && !config.augment.per_tower);
    cr_assert_eq(config.augment.brightness, 0.25098);
    cr_assert_str_eq(config.model.freeze, "keras:150");
    cr_assert_eq(config.model.head_count, 2);
    cr_assert_eq(config.model.head[0], 256);
    cr_assert_eq(config.optimizer.learning_rate, 2e-4);
    cr_assert_eq(config.optimizer.beta2, 0.999);
    cr_assert_eq(config.schedule.name, SCHEDULE_PLATEAU);
    cr_assert_eq(config.train.early_stop.patience, 3);
    cr_assert_eq(config.train.batch, 16);
    cr_assert_str_eq(config.train.run, "runs");
}

Test(config, towers_have_levels_or_scales)
{
    struct config config = parse("data: {um_per_px: [0.5, 1e0, 8]}");
    cr_assert_eq(config.data.level_count, 3);
    cr_assert_eq(config.data.um_per_px_count, 3);
    for (int i = 0; i < 3; i++) cr_assert_lt(config.data.levels[i], 0);
    cr_assert_eq(config.data.um_per_px[1], 1);
    config = parse("data: {levels: [], um_per_px: [0.5]}");
    cr_assert_eq(config.data.level_count, 1);
    config = parse("data: {levels: [1, 4, 5], um_per_px: []}");
    cr_assert_eq(config.data.level_count, 3);

    struct error err = { 0 };
    char *scales[] = { "data.um_per_px=[0.5, 2]" }, *levels[] = { "data.levels=[1]" };
    char *back[] = { "data.levels=[1]", "data.um_per_px=[]" }, *none[] = { "data.um_per_px=[]" };
    cr_assert(config_override(&config, 1, scales, &err), "%s", err.message);
    cr_assert_eq(config.data.level_count, 2);
    cr_assert_lt(config.data.levels[0], 0);
    cr_assert_not(config_override(&config, 1, levels, &err));
    cr_assert(strstr(err.message, "both say what towers see"), "%s", err.message);
    err = (struct error) { 0 };
    cr_assert(config_override(&config, 2, back, &err), "%s", err.message);
    cr_assert_eq(config.data.level_count, 1);
    cr_assert(config_override(&config, 1, scales, &err));
    cr_assert_not(config_override(&config, 1, none, &err));
    cr_assert(strstr(err.message, "data.levels: [] is empty"), "%s", err.message);

    expect_error("data: {um_per_px: [2, 0.5]}",
                 "x.yaml:1:19: data.um_per_px: [2, 0.5] is not ascending; list distinct scales, "
                 "finest first");
    expect_error("data: {um_per_px: [0.01]}", "x.yaml:1:20: data.um_per_px: 0.01 is below 0.02");
    expect_error("data: {um_per_px: [x]}",
                 "x.yaml:1:20: data.um_per_px: expected a number, got 'x'");
    expect_error("data: {um_per_px: 2}", "x.yaml:1:19: data.um_per_px: expected a list of numbers "
                                         "such as [0.5, 2], got '2'");
    expect_error("data: {shrink_from: finest}",
                 "x.yaml:1:21: data.shrink_from: finest needs data.um_per_px: levels are read as "
                 "they are");
}

Test(config, empty_files_and_sections_mean_the_defaults)
{
    struct config config, defaults;
    config_defaults(&defaults);
    static const char *const empty[] = { "", "# nothing\n", "---\n", "data:\naugment: {}\n" };
    for (size_t i = 0; i < COUNT_OF(empty); i++) {
        config = parse(empty[i]);
        strcpy(config.name, defaults.name); /* "x", after x.yaml */
        cr_expect_eq(memcmp(&config, &defaults, sizeof(config)), 0, "%s", empty[i]);
    }
}

Test(config, epsilon_follows_the_optimizer_unless_given)
{
    cr_assert_eq(parse("optimizer: {name: adam}").optimizer.epsilon, 1e-7);
    cr_assert_eq(parse("optimizer: {name: adamw}").optimizer.epsilon, 1e-8);
    cr_assert_eq(parse("optimizer: {name: rmsprop}").optimizer.epsilon, 1.0);
    cr_assert_eq(parse("optimizer: {name: rmsprop, epsilon: 0.1}").optimizer.epsilon, 0.1);
    cr_assert_eq(parse("optimizer: {name: sgd}").optimizer.epsilon, 0.0);
}

Test(config, ring_of_earlier_programs_is_held_as_the_least)
{
    cr_assert_eq(parse("data: {ring: 1}").data.ring, 2);
    cr_assert_eq(parse("data: {ring: 2}").data.ring, 2);
}

/* Every key with a value other than its default, in block style and with unusual strings. */
static const char everything[] =
    "name: \"a b: #c \\\"\\\\ \\t\"\n"
    "seed: 18446744073709551615\n"
    "data:\n"
    "  manifest: \"/m\\xFCller/\\u2028\\u00e4/x y.csv\"\n"
    "  levels: []\n  um_per_px:\n  - 0.25\n  - 0.3333333333333333\n  - 8\n  shrink_from: finest\n"
    "  window: 299\n  center: 128\n  stride: 7\n  origin: [0, 1000000000]\n  mpp: 0.2431\n"
    "  mpp_override: 0.5\n"
    "  tissue: {method: otsu, threshold: 0.1, min_normal: 0.3333333333333333}\n"
    "  labels: {\"\": tumor, a.b: skip, 255: normal, \"None\": ignore, \"\\u00e4: '\\\"\": "
    "ignore}\n"
    "  pack: ''\n  source: slides\n  sampling: shuffle\n  "
    "normals_per_tumor: 2.5\n"
    "  max_tumor: 1000000000000\n  max_normal: 0\n  reader_threads: 3\n  ring: 9\n"
    "augment: {rotate: false, flip: false, brightness: 0.1, saturation: 0.2, hue: 0.3,\n"
    "          contrast: 0.4, hed: 0.05, per_tower: true}\n"
    "model: {weights: random, pool_padding: include, freeze: mixed_6d, head: [1, 2, 3, 4],\n"
    "        dropout: 0.7, batch_norm: frozen, batch_norm_momentum: 0.9,\n"
    "        batch_norm_sync: true}\n"
    "optimizer: {name: rmsprop, learning_rate: 0.1234567890123456789, momentum: 0.1, beta1: 0.2,\n"
    "            beta2: 0.3, decay: 0.4, epsilon: 4.9e-324, weight_decay: 1e-22}\n"
    "schedule: {name: exponential, factor: 0.94, patience: 2, min: 0, decay_examples: 12345,\n"
    "           warmup_examples: 3}\n"
    "train: {batch: 256, shards: 4, epochs: 3, examples_per_epoch: 999, label_smoothing: 0.1,\n"
    "        class_weights: {normal: 0.5, tumor: 2}, ema: 0.99,\n"
    "        early_stop: {patience: 0, min_delta: 0.5},\n"
    "        resume: auto, requeue: true, keep: 5, checkpoint_steps: 10, run: /r}\n"
    "compute: {backend: cpu, precision: bf16, threads: 7, device: 1, autotune: true, workspace: "
    "64,\n"
    "          plan_cache: /c, exchange: fast}\n";

static char *write_out(const struct config *config)
{
    struct error err = { 0 };
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    cr_assert(config_write(config, stream, &err), "%s", err.message);
    fclose(stream);
    return text;
}

Test(config, written_configuration_reads_back_to_an_equal_struct)
{
    struct config defaults;
    config_defaults(&defaults);
    const struct config configs[] = { defaults, parse(everything) };
    for (int i = 0; i < 2; i++) {
        char *text = write_out(&configs[i]);
        const struct config again = parse(text);
        cr_assert_eq(memcmp(&again, &configs[i], sizeof(again)), 0, "%s", text);
        char *text_again = write_out(&again);
        cr_assert_str_eq(text_again, text);
        free(text);
        free(text_again);
    }
}

Test(config, everything_differs_from_the_defaults)
{
    struct config defaults;
    config_defaults(&defaults);
    const struct config other = parse(everything);
    char *a = write_out(&defaults), *b = write_out(&other);
    char *rest_a, *rest_b, *line_a = strtok_r(a, "\n", &rest_a),
                           *line_b = strtok_r(b, "\n", &rest_b);
    for (; line_a && line_b;
         line_a = strtok_r(NULL, "\n", &rest_a), line_b = strtok_r(NULL, "\n", &rest_b)) {
        const bool section = line_a[strlen(line_a) - 1] == ':';
        if (strstr(line_a, "mask_values")) continue; /* not together with labels */
        cr_expect(section == (strcmp(line_a, line_b) == 0), "%s | %s", line_a, line_b);
    }
    cr_assert(!line_a && !line_b);
    cr_assert_str_eq(other.name, "a b: #c \"\\ \t");
    cr_assert_str_eq(other.data.manifest, "/m\xc3\xbcller/\xe2\x80\xa8\xc3\xa4/x y.csv");
    free(a);
    free(b);
}

/* ---- files and overrides ---- */

static char folder[PATH_MAX_BYTES], path[PATH_MAX_BYTES], current[PATH_MAX_BYTES];

static void begin(void)
{
    struct error err = { 0 };
    char made[PATH_MAX_BYTES];
    test_folder_make(made);
    cr_assert(realpath(made, folder));
    test_path(path, folder, "configs");
    cr_assert(folder_create(path, &err));
    cr_assert_eq(chdir(folder), 0);
    cr_assert(getcwd(current, sizeof(current)));
}

static void end(void)
{
    cr_assert_eq(chdir("/"), 0);
    test_folder_remove(folder);
}

TestSuite(config_file, .init = begin, .fini = end);

static struct config load(const char *yaml, int count, char **overrides)
{
    struct config config;
    struct error err = { 0 };
    char file[PATH_MAX_BYTES];
    test_write(file, "configs", "try.yaml", yaml);
    cr_assert(config_load(&config, file, count, overrides, &err), "%s", err.message);
    return config;
}

static void expect_path(const char *got, const char *below)
{
    char expected[PATH_MAX_BYTES];
    test_path(expected, folder, below);
    cr_expect_str_eq(got, expected, "%s instead of %s", got, expected);
}

Test(config_file, relative_paths_start_where_they_were_written)
{
    char *overrides[] = { "data.pack=here/packs" };
    const struct config config = load("data: {manifest: ../slides.csv}\nmodel: {weights: ./w.h5}\n",
                                      1, overrides);
    expect_path(config.data.manifest, "configs/../slides.csv");
    expect_path(config.model.weights, "configs/w.h5");
    expect_path(config.data.pack, "here/packs");
    expect_path(config.train.run, "configs/runs"); /* a default */
    expect_path(config.folder, "configs");
    cr_assert_str_eq(config.name, "try");
    cr_assert_str_eq(load("model: {weights: random}", 0, NULL).model.weights, "random");
    cr_assert_str_eq(load("data: {manifest: /a/b}", 0, NULL).data.manifest, "/a/b");
}

static void expect_refused(char *override, const char *message)
{
    struct config config;
    struct error err = { 0 };
    cr_expect_not(config_load(&config, NULL, 1, &override, &err), "%s", override);
    cr_expect_str_eq(err.message, message, "got: %s", err.message);
    cr_expect_eq(err.code, EXIT_CODE_USAGE);
}

Test(config_file, home_and_variables_in_paths_are_expanded)
{
    setenv("HOME", "/home/of", 1);
    setenv("SCRATCH", "/scratch/x", 1);
    unsetenv("UNSET");
    char *overrides[] = { "data.pack=$SCRATCH/packs", "train.run=a/${SCRATCH}b" };
    const struct config config = load(
        "data: {manifest: ~/slides.csv}\nmodel: {weights: \"./~/w$$1.h5\"}\n", 2, overrides);
    cr_expect_str_eq(config.data.manifest, "/home/of/slides.csv");
    cr_expect_str_eq(config.data.pack, "/scratch/x/packs");
    expect_path(config.train.run, "a//scratch/xb");
    expect_path(config.model.weights, "configs/~/w$1.h5");
    cr_expect_str_eq(load("data: {pack: '~'}", 0, NULL).data.pack, "/home/of");

    char *text = write_out(&config); /* a dollar sign is written so that it is read back */
    cr_expect_str_eq(load(text, 0, NULL).model.weights, config.model.weights);
    cr_expect_str_eq(parse(text).model.weights, config.model.weights);
    free(text);

    expect_refused("data.pack=~other/x",
                   "command line: data.pack: '~other/x': only ~/ is expanded, to $HOME; write the "
                   "folder out, or ./~other/x for a file of that name");
    expect_refused("data.pack=$UNSET/x",
                   "command line: data.pack: '$UNSET/x': UNSET is not set in the environment; set "
                   "it or write the path out ($$ is a dollar sign)");
    expect_refused("data.pack=${UNSET:-a}/x",
                   "command line: data.pack: '${UNSET:-a}/x': ${...} holds no plain name of a "
                   "variable; write $$ for a dollar sign");
    unsetenv("HOME");
    expect_refused("data.pack=~/x", "command line: data.pack: '~/x': HOME is not set in the "
                                    "environment; write the folder out");
}

Test(config_file, what_is_no_path_is_refused)
{
    expect_refused("data.pack=", "command line: data.pack: expected a path, got nothing; leave it "
                                 "out for the default, packs");
    expect_refused("data.pack=null", "command line: data.pack: expected a path, got nothing; leave "
                                     "it out for the default, packs");
    expect_refused("data={pack: 'null'}", "command line: data.pack: 'null' is no path; for a file "
                                          "or folder of that name write ./null");
    expect_refused("data={pack: ''}", "command line: data.pack: '' is no path");
    expect_refused("train.run=s3://bucket/runs",
                   "command line: train.run: 's3://bucket/runs' is no path of this machine");
    expect_refused("train.run=C:\\runs",
                   "command line: train.run: 'C:\\runs' is no path of this machine");
    expect_path(load("data: {pack: ./null}", 0, NULL).data.pack, "configs/null");
}

Test(config_file, relative_paths_start_here_without_a_file)
{
    char *overrides[] = { "data.manifest=b.csv" };
    struct config config;
    struct error err = { 0 };
    cr_assert(config_load(&config, NULL, 1, overrides, &err), "%s", err.message);
    expect_path(config.data.manifest, "b.csv");
    expect_path(config.data.pack, "packs");
    cr_expect_str_eq(config.folder, folder);
}

Test(config_file, resolved_configuration_can_be_read_from_another_folder)
{
    const struct config config = load("data: {manifest: slides.csv}", 0, NULL);
    char *text = write_out(&config), file[PATH_MAX_BYTES];
    test_write(file, folder, "resolved.yaml", text);
    free(text);
    cr_assert_eq(chdir("/"), 0);
    struct config again;
    struct error err = { 0 };
    cr_assert(config_load(&again, file, 0, NULL, &err), "%s", err.message);
    strcpy(again.folder, config.folder);
    memset(again.folder + strlen(config.folder), 0, sizeof(again.folder) - strlen(config.folder));
    cr_assert_eq(memcmp(&again, &config, sizeof(config)), 0);
}

Test(config_file, overrides_reach_values_lists_and_sections)
{
    char *overrides[] = {
        "optimizer.learning_rate=1e-4",
        "data.levels=[3,4,5]",
        "augment={rotate: false, hue: 0.1}",
        "data={tissue: {method: otsu}}",
        "name=a: #b",
        "train.batch=8",
        "train.batch=9",
        "data.origin=[ 5, 6 ]",
    };
    const struct config config = load("augment: {hue: 0.2, contrast: 0.2}\ndata: {levels: [1]}\n",
                                      COUNT_OF(overrides), overrides);
    cr_assert_eq(config.optimizer.learning_rate, 1e-4);
    cr_assert_eq(config.data.level_count, 3);
    cr_assert_eq(config.data.levels[2], 5);
    cr_assert(!config.augment.rotate);
    cr_assert_eq(config.augment.hue, 0.1);
    cr_assert_eq(config.augment.contrast, 0.2);
    cr_assert_eq(config.data.tissue.method, TISSUE_OTSU);
    cr_assert_str_eq(config.name, "a: #b");
    cr_assert_eq(config.train.batch, 9);
    cr_assert_eq(config.data.origin[1], 6);
}

Test(config_file, wrong_overrides_are_named)
{
    static const struct {
        char *override;
        const char *message;
    } wrong[] = {
        { "seed", "command line: expected key=value, got 'seed'" },
        { "data.windw=80", "command line: data.windw: unknown key; did you mean data.window?" },
        { "data.window=74", "command line: data.window: 74 is below 75" },
        { "data.levels=3",
          "command line: data.levels: expected a list of integers such as [2, 3], got '3'" },
        { "augment=3", "command line: augment: expected a section of keys, got '3'" },
        { "augment={rotat: true}",
          "command line: augment.rotat: unknown key; did you mean augment.rotate?" },
        { "data.center=100", "configuration: data.center: 100 is above data.window" },
        { "name=\xff", "command line: name: is not valid UTF-8" },
        { "name=\xed\xa0\x80", "command line: name: is not valid UTF-8" },
        { "=3", "command line: : unknown key; `micromet config --help` lists all keys" },
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct config config;
        struct error err = { 0 };
        char *overrides[] = { wrong[i].override };
        cr_expect_not(config_load(&config, NULL, 1, overrides, &err), "%s", wrong[i].override);
        cr_expect_str_eq(err.message, wrong[i].message, "got: %s", err.message);
        cr_expect_eq(err.code, EXIT_CODE_USAGE);
    }
}

Test(config_file, unreadable_files_are_usage_errors)
{
    struct config config;
    struct error err = { 0 };
    cr_assert_not(config_load(&config, "no.yaml", 0, NULL, &err));
    cr_assert_str_eq(err.message, "no.yaml: cannot open: No such file or directory");
    cr_assert_eq(err.code, EXIT_CODE_USAGE);

    error_clear(&err);
    cr_assert_not(config_load(&config, "configs", 0, NULL, &err));
    cr_assert_str_eq(err.message, "configs: is a folder, not a file");

    error_clear(&err);
    cr_assert_not(config_load(&config, "/dev/zero", 0, NULL, &err));
    cr_assert_str_eq(err.message, "/dev/zero: is larger than the limit of 1048576 bytes");
}

Test(config, help_has_one_line_for_every_key)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    config_print_help(stream);
    fclose(stream);
    struct config defaults;
    config_defaults(&defaults);
    cr_assert(strstr(text, "data.window                 integer    75 .. 4096 "));
    cr_assert(strstr(text, "optimizer.name              choice     adam rmsprop sgd adamw "));
    cr_assert(strstr(text, " keras:150 "));
    cr_assert(strstr(text, "train.early_stop.min_delta  number     0 .. 1 "));
    free(text);
}
