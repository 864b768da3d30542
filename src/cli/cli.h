/* Subcommands: one file each, gathered in the const table of main.c. */
#ifndef MICROMET_CLI_H
#define MICROMET_CLI_H

#include <stdbool.h>

#include "micromet/base/config.h"
#include "micromet/base/error.h"

/* argv[0] is the subcommand's name. Returns an exit code; on failure *err says why (main prints
 * it). */
typedef enum exit_code (*subcommand_run)(int argc, char **argv, struct error *err);

struct subcommand {
    const char *name;
    const char *summary;
    const char *help; /* usage, options, examples; printed for --help */
    subcommand_run run;
};

extern const struct subcommand command_synth, command_inspect, command_prepare, command_train,
    command_evaluate, command_heatmap, command_import, command_export, command_predict,
    command_bench, command_plan, command_config;

/* Options as a table: "--name VALUE" or "--flag". Everything else is positional (key=value
 * overrides too). */
enum option_kind { OPTION_FLAG, OPTION_INT, OPTION_DOUBLE, OPTION_STRING };
struct option_spec {
    const char *name; /* without dashes */
    char letter;      /* of "-x VALUE", if it has one */
    enum option_kind kind;
    void *value;         /* bool*, int64_t*, double*, const char** */
    double min, max;     /* numbers: inclusive range; both 0 = unbounded */
    const char *choices; /* integers: those that are allowed, as a message says it ("1, 4 or 8") */
};
/* Of the rows that several subcommands have. */
#define OPTION_ORIENTATIONS(storage)                                                               \
    {                                                                                              \
        .name = "orientations", .kind = OPTION_INT, .value = (storage), .choices = "1, 4 or 8"     \
    }

/* Fills the values; moves positionals to the front of argv+1 and returns their number in
 * *positional_count. Unknown options name the nearest one. */
bool options_parse(int argc, char **argv, const struct option_spec *specs, int spec_count,
                   int *positional_count, struct error *err);

#endif
