/* micromet train */
#include <stdio.h>

#include "cli.h"
#include "micromet/run/train.h"

static const char help[] =
    "usage: micromet train CONFIG [key=value ...] [--resume] [--dry-run] [--verbose]\n"
    "\n"
    "Trains the model that CONFIG describes on the packs that `micromet prepare` made (or straight "
    "from the\n"
    "slides with data.source=slides). Everything of the run lies in <train.run>/<name>.\n"
    "\n"
    "  --resume    go on from the newest checkpoint of the run, bit for bit\n"
    "  --dry-run   plan the memory, print the plan and the largest batch that fits, and stop\n"
    "  --verbose   tell what was taken from model.weights, and what not\n"
    "\n"
    "A batch that does not fit into the memory of the GPU or the machine is refused before any "
    "work.\n"
    "SIGINT, SIGTERM and SIGUSR1 finish the step, write a checkpoint and exit with code 75.\n"
    "\n"
    "examples:\n"
    "  micromet train configs/seed.yaml\n"
    "  micromet train configs/seed.yaml optimizer.learning_rate=1e-4 data.levels=[3,4] "
    "name=levels-3-4\n"
    "  micromet train configs/seed.yaml --resume\n"
    "  micromet train configs/seed.yaml name=more "
    "model.weights=runs/seed/checkpoints/best.safetensors\n"
    "  tensorboard --logdir runs\n";

static enum exit_code run(int argc, char **argv, struct error *err)
{
    struct train_options options = { 0 };
    const struct option_spec specs[] = {
        { .name = "resume", .kind = OPTION_FLAG, .value = &options.resume },
        { .name = "dry-run", .kind = OPTION_FLAG, .value = &options.dry_run },
        { .name = "verbose", .kind = OPTION_FLAG, .value = &options.verbose },
    };
    struct config config;
    struct train_result result;
    int count;
    if (!options_parse(argc, argv, specs, sizeof specs / sizeof specs[0], &count, err))
        return err->code;
    if (count < 1) {
        error_set(err, EXIT_CODE_USAGE, "train: which configuration? See `micromet train --help`");
        return err->code;
    }
    if (!config_load(&config, argv[1], count - 1, argv + 2, err)) return err->code;
    if (!train_run(&config, &options, &result, err)) return err->code;
    if (!options.dry_run)
        printf("%s: best validation AUC %.4f, %s\n", config.name, result.best_auc,
               result.best_path);
    return result.code;
}

const struct subcommand command_train = {
    .name = "train",
    .summary = "fine-tune a model on prepared windows",
    .help = help,
    .run = run,
};
