/* micromet config: print the configuration that a training with the same arguments would use. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

static enum exit_code run(int argc, char **argv, struct error *err)
{
    int count = 0;
    if (!options_parse(argc, argv, NULL, 0, &count, err)) return err->code;

    const bool file = count > 0 && !strchr(argv[1], '=');
    struct config config;
    if (!config_load(&config, file ? argv[1] : NULL, count - file, argv + 1 + file, err))
        return err->code;
    return config_write(&config, stdout, err) ? EXIT_CODE_OK : err->code;
}

const struct subcommand command_config = {
    .name = "config",
    .summary = "check a configuration and print it with all defaults",
    .help = "usage: micromet config [FILE.yaml] [section.key=value ...]\n"
            "\n"
            "Reads the YAML file (or the defaults alone), applies the overrides, checks everything "
            "and\n"
            "prints the resolved configuration as YAML. Exit status 2 if something is wrong.\n"
            "\n"
            "Relative paths start at the folder of the YAML file, those that it gives and defaults "
            "alike;\n"
            "paths on the command line start at the current folder.\n"
            "\n"
            "  micromet config configs/seed.yaml\n"
            "  micromet config configs/seed.yaml optimizer.learning_rate=1e-4 data.levels=[3,4]\n"
            "  micromet config 'augment={rotate: false, hue: 0}'\n",
    .run = run,
};
