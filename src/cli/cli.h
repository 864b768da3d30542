/* Subcommands: one file each, listed in main.c.
 *
 * A subcommand is a table that describes its options and operands. It is used to parse the command
 * line (options.c), to print --help (help.c), and to generate manual pages (manual.c) and shell
 * completion (completion.c). */
#ifndef MICROMET_CLI_H
#define MICROMET_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "micromet/base/config.h"
#include "micromet/base/error.h"

enum option_kind {
    OPTION_FLAG,   /* bool; takes no value */
    OPTION_INT,    /* int, int64_t or uint64_t */
    OPTION_DOUBLE, /* double */
    OPTION_TEXT,   /* const char *, as are the next two, which shells complete */
    OPTION_FILE,
    OPTION_FOLDER,
    OPTION_CHOICE, /* int or an enum: which of the words in `choices` */
};

/* "--name VALUE", "--name=VALUE", "-x VALUE", or "--name" for a flag. The value is stored in a
 * field of the subcommand's own `struct arguments`. */
struct option {
    const char *name; /* without dashes */
    char letter;      /* of "-x VALUE", or 0 */
    enum option_kind kind;
    size_t offset, bytes; /* of the field: FIELD() */
    double min, max;      /* numbers: inclusive range; both 0 = unbounded */
    /* All words, or numbers, that it accepts, and what each means; both end with NULL. */
    const char *const *choices, *const *choice_help;
    const char *value;  /* placeholder in the help, such as "PX"; NULL = the choices */
    const char *absent; /* the default in words, if the value in `defaults` is special */
    const char *help;   /* one sentence; NULL if choice_help is enough */
    const char *group;  /* heading before this option */
};
#define FIELD(member)                                                                              \
    .offset = offsetof(struct arguments, member), .bytes = sizeof(((struct arguments *)0)->member)
/* Initial values of the subcommand's arguments: ARGUMENTS(.batch = 32). */
#define ARGUMENTS(...)                                                                             \
    .defaults = &(const struct arguments) { __VA_ARGS__ },                                         \
    .arguments_bytes = sizeof(struct arguments)

/* Options of several subcommands. */
extern const char *const orientation_counts[];
#define OPTION_ORIENTATIONS                                                                        \
    .name = "orientations", .kind = OPTION_INT, FIELD(orientations),                               \
    .choices = orientation_counts, .help = "average over rotations and mirrors"
#define OPTION_STRIDE                                                                              \
    .name = "stride", .kind = OPTION_INT, FIELD(stride), .min = 1, .max = 100000, .value = "PX",   \
    .absent = "as trained"
#define OPTION_BATCH                                                                               \
    .name = "batch", .kind = OPTION_INT, FIELD(batch), .min = 1, .max = 4096, .value = "N",        \
    .help = "windows computed at once"
#define OPTION_THREADS                                                                             \
    .name = "threads", .kind = OPTION_INT, FIELD(threads), .min = 1, .max = 1024, .value = "N",    \
    .help = "processors to use"
#define OPTION_MPP                                                                                 \
    .name = "mpp", .kind = OPTION_DOUBLE, FIELD(mpp), .min = 0.01, .max = 100, .value = "UM"
#define OPTION_MASK_VALUES                                                                         \
    .name = "mask-values", .kind = OPTION_TEXT, FIELD(mask_values), .value = "VALUES"
#define OPTION_LABELS                                                                              \
    .name = "labels", .kind = OPTION_TEXT, FIELD(labels), .value = "NAME:WORD,...",                \
    .help = "what the annotation's names, or values, mean, such as \"Tumor: tumor, Fold: ignore\""
#define OPTION_MASK_DOWNSAMPLE                                                                     \
    .name = "mask-downsample", .kind = OPTION_DOUBLE, FIELD(mask_downsample),                      \
    .min = MASK_DOWNSAMPLE_MIN, .max = MASK_DOWNSAMPLE_MAX, .value = "TIMES",                      \
    .absent = "what explains its size",                                                            \
    .help = "by how much the annotation's mask is smaller than the slide"
/* Store the options' values, such as "1,2" as data.mask_values or "1: tumor" as data.labels; ""
 * changes nothing. */
bool mask_values_set(struct config *config, const char *values, const char *labels,
                     struct error *err);

/* What a Slurm job gets; in `struct slurm_request request`. */
#define OPTION_SLURM_TIME .name = "time", .kind = OPTION_TEXT, FIELD(request.time), .value = "T"
#define OPTION_SLURM_CPUS                                                                          \
    .name = "cpus", .kind = OPTION_INT, FIELD(request.cpus), .min = 1, .max = 4096, .value = "N",  \
    .help = "processors"
#define OPTION_SLURM_GPUS                                                                          \
    .name = "gpus", .kind = OPTION_INT, FIELD(request.gpus), .min = 0, .value = "N",               \
    .absent = "1; 0 if compute.backend is cpu, or CUDA is not built in"
#define OPTION_SLURM_MEM                                                                           \
    .name = "mem", .kind = OPTION_TEXT, FIELD(request.memory), .value = "M",                       \
    .help = "memory of the node, such as 16G"
#define OPTION_SLURM_PARTITION                                                                     \
    .name = "partition", .kind = OPTION_TEXT, FIELD(request.partition), .value = "P",              \
    .help = "Slurm's"
#define OPTION_SLURM_ACCOUNT                                                                       \
    .name = "account", .kind = OPTION_TEXT, FIELD(request.account), .value = "A", .help = "Slurm's"

/* arguments: a copy of the subcommand's `defaults` with the options of the command line; the
 * subcommand may change it. operands: all arguments that are not options, including key=value
 * overrides. Returns an exit code; on failure, main prints *err. */
typedef enum exit_code (*subcommand_run)(void *arguments, int count, char **operands,
                                         struct error *err);

struct subcommand {
    const char *name;
    const char *summary;
    const char *operands;               /* for the usage line, with the required options */
    enum option_kind operand_kind;      /* what shells complete; OPTION_FLAG = nothing */
    const char *const *operand_choices; /* OPTION_CHOICE */
    bool overrides;                     /* accepts key=value for the configuration */
    /* Paragraphs, separated by empty lines. "WORD<tab>text" explains a word. */
    const char *description, *notes;
    const char *examples;         /* one per line */
    const struct option *options; /* ends with a row without a name; NULL = none */
    const void *defaults;         /* its struct arguments, by ARGUMENTS(); NULL = none */
    size_t arguments_bytes;
    subcommand_run run;
};

/* All subcommands, in the order of their use in a project; ends with NULL (main.c). */
extern const struct subcommand *const subcommands[];

extern const struct subcommand command_synth, command_inspect, command_annotate, command_import,
    command_prepare, command_train, command_sweep, command_evaluate, command_heatmap,
    command_export, command_predict, command_bench, command_plan, command_slurm, command_config,
    command_completion, command_manual;

/* Fill `arguments` from the options in argv after argv[0], the subcommand's name. Moves the
 * operands to the front of argv + 1 and stores their number in *operand_count. The error for an
 * unknown option suggests the nearest one. */
bool options_parse(const struct subcommand *command, void *arguments, int argc, char **argv,
                   int *operand_count, struct error *err);

struct config;
/* Apply operands of the form "compute.KEY=value" to a checkpoint's configuration, and move the
 * other operands to the front; *operand_count becomes their number. Those of other keys are errors.
 */
bool operands_configure(struct config *config, int *operand_count, char **operands,
                        struct error *err);

/* The option as the help shows it: "--out FOLDER", "-o, --out FILE". With choice >= 0, for that one
 * of its choices: "--format onnx". */
enum { OPTION_HEAD_MAX = 80 };
void option_head(const struct option *option, int choice, char head[OPTION_HEAD_MAX]);
/* The option's help with its default: "windows computed at once (default: 32)". */
enum { OPTION_HELP_MAX = 512 };
void option_help(const struct subcommand *command, const struct option *option,
                 char help[OPTION_HELP_MAX]);

void help_print_program(FILE *stream);
void help_print(const struct subcommand *command, FILE *stream);

/* One sentence on the program, and one on each exit status; code < 0 ends the table. */
extern const char program_summary[];
struct exit_status {
    int code;
    const char *meaning;
};
extern const struct exit_status exit_statuses[];

#endif
