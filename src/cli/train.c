/* micromet train: trains a model, or resumes a run. */
#include <math.h>
#include <stdio.h>

#include "cli.h"
#include "micromet/base/stop.h"
#include "micromet/base/text.h"
#include "micromet/run/metric.h"
#include "micromet/run/preflight.h"
#include "micromet/run/train.h"

struct arguments {
    bool resume, dry_run, verbose;
    int until_epoch;
    const char *print_metric;
};

static const struct option option_rows[] = {
    { .name = "resume",
      .kind = OPTION_FLAG,
      FIELD(resume),
      .help = "go on from the newest checkpoint of the run, bit for bit" },
    { .name = "dry-run",
      .kind = OPTION_FLAG,
      FIELD(dry_run),
      .help = "plan the memory, print the plan and the largest batch that fits, and stop" },
    { .name = "verbose",
      .kind = OPTION_FLAG,
      FIELD(verbose),
      .help = "tell what was taken from model.weights, and what not" },
    { .name = "until-epoch",
      .kind = OPTION_INT,
      FIELD(until_epoch),
      .min = 1,
      .max = 1000000,
      .value = "N",
      .absent = "train.epochs",
      .help = "stop behind this epoch; the schedule stays that of train.epochs, and --resume goes "
              "on" },
    { .name = "print-metric",
      .kind = OPTION_TEXT,
      FIELD(print_metric),
      .value = "NAME",
      .absent = "none",
      .help = "print nothing but the best validation.auc, or validation.loss, on stdout" },
    { 0 },
};

/* What came of it: in words, or as a number for a program that asked for it. */
static bool tell(const struct arguments *a, const struct metric *metric,
                 const struct config *config, const struct train_result *result, struct error *err)
{
    double value;
    FILE *words = metric ? stderr : stdout;
    if (isnan(result->best_auc))
        fprintf(words, "%s: stopped before the first validation\n", SHOWN(config->name));
    else
        fprintf(words, "%s: best validation AUC %.4f, %s\n", SHOWN(config->name), result->best_auc,
                SHOWN(result->best_path));
    if (!metric) return true;
    const int epochs = a->until_epoch ? a->until_epoch : config->train.epochs;
    if (!metric_read(metric, metric->maximize, result->run_folder, epochs, &value, err))
        return false;
    if (!isnan(value)) printf("%.9g\n", value);
    return true;
}

static enum exit_code run(void *arguments, int count, char **operands, struct error *err)
{
    const struct arguments *a = arguments;
    const struct train_options options = { a->resume, a->dry_run, a->verbose, a->until_epoch };
    const struct metric *metric = NULL;
    struct config config;
    struct train_result result;
    stop_catch();
    if (count < 1) {
        error_set(err, EXIT_CODE_USAGE, "train: which configuration? See `micromet train --help`");
        return err->code;
    }
    if (a->print_metric && !(metric = metric_find(a->print_metric, err))) {
        error_prefix(err, "--print-metric");
        return err->code;
    }
    if (!config_load_checked(&config, operands[0], count - 1, operands + 1, preflight_training,
                             err))
        return err->code;
    if (!train_run(&config, &options, &result, err)) return err->code;
    if (a->dry_run || result.rank > 0) return result.code;
    if (!tell(a, metric, &config, &result, err)) return err->code;
    return result.code;
}

const struct subcommand command_train = {
    .name = "train",
    .summary = "fine-tune a model on prepared windows",
    .operands = "CONFIG [key=value ...]",
    .operand_kind = OPTION_FILE,
    .overrides = true,
    .description =
        "Trains the model that CONFIG describes on the packs that `micromet prepare` made (or "
        "straight from the slides with data.source=slides). Everything of the run lies in "
        "<train.run>/<name>.",
    .options = option_rows,
    ARGUMENTS(0),
    .notes = "A batch that does not fit into the memory of the GPU or the machine is refused "
             "before any work. SIGINT, SIGTERM and SIGUSR1 finish the step, write a checkpoint "
             "and exit with status 75; a validation is repeated.",
    .examples = "micromet train configs/seed.yaml\n"
                "micromet train configs/seed.yaml optimizer.learning_rate=1e-4 data.levels=[3,4] "
                "name=levels-3-4\n"
                "micromet train configs/seed.yaml --resume\n"
                "auc=$(micromet train configs/seed.yaml --print-metric validation.auc)\n"
                "micromet train configs/seed.yaml name=more "
                "model.weights=runs/seed/checkpoints/best.safetensors\n"
                "tensorboard --logdir runs\n",
    .run = run,
};
