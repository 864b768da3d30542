/* micromet config: prints the configuration that a training with the same arguments would use. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "micromet/run/preflight.h"

static enum exit_code run(void *arguments, int count, char **operands, struct error *err)
{
    const bool file = count > 0 && !strchr(operands[0], '=');
    struct config config;
    (void)arguments;
    const config_checker check = file ? preflight_all : preflight_training;
    if (!config_load_checked(&config, file ? operands[0] : NULL, count - file, operands + file,
                             check, err))
        return err->code;
    return config_write(&config, stdout, err) ? EXIT_CODE_OK : err->code;
}

const struct subcommand command_config = {
    .name = "config",
    .summary = "check a configuration and print it with all defaults",
    .operands = "[FILE.yaml] [key=value ...]",
    .operand_kind = OPTION_FILE,
    .overrides = true,
    .description =
        "Reads the YAML file (or the defaults alone), applies the overrides, checks everything and "
        "prints the resolved configuration as YAML. Exit status 2 if something is wrong. The files "
        "that a YAML file names are looked at, too: the manifest is read, model.weights must be a "
        "file of weights. Slides are not needed.\n\n"
        "Relative paths start at the folder of the YAML file, those that it gives and defaults "
        "alike; paths on the command line start at the current folder. In paths, ~/ is the home "
        "folder, and $NAME or ${NAME} the environment's variable ($$ is a dollar sign).",
    .examples = "micromet config configs/seed.yaml\n"
                "micromet config configs/seed.yaml optimizer.learning_rate=1e-4 data.levels=[3,4]\n"
                "micromet config 'augment={rotate: false, hue: 0}'\n",
    .run = run,
};
