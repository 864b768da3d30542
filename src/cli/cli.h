/* Subcommands: one file each, gathered in the const table of main.c.
 *
 * A subcommand is a table that says what it takes. From its rows the command line is read
 * (options.c), --help is printed (help.c), and manual pages (manual.c) and completion for shells
 * (completion.c) are made. */
#ifndef MICROMET_CLI_H
#define MICROMET_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "micromet/base/error.h"

enum option_kind {
    OPTION_FLAG,   /* bool; takes no value */
    OPTION_INT,    /* int, int64_t or uint64_t */
    OPTION_DOUBLE, /* double */
    OPTION_TEXT,   /* const char *, as are the next two, which a shell completes */
    OPTION_FILE,
    OPTION_FOLDER,
    OPTION_CHOICE, /* int or an enum: which of the words in `choices` */
};

/* "--name VALUE", "--name=VALUE", "-x VALUE", or "--name" for a flag. The value is stored in a
 * field of the subcommand's own `struct arguments`. */
struct option {
    const char *name; /* without dashes */
    char letter;      /* of "-x VALUE", if it has one */
    enum option_kind kind;
    size_t offset, bytes; /* of the field: FIELD() */
    double min, max;      /* numbers: inclusive range; both 0 = unbounded */
    /* All words, or numbers, that it takes, and what each means; NULL behind the last. */
    const char *const *choices, *const *choice_help;
    const char *value;  /* what the help calls its value: "PX"; NULL = the choices */
    const char *absent; /* the default in words, where the value in `defaults` stands for more */
    const char *help;   /* one sentence; NULL where choice_help says it all */
    const char *group;  /* a heading before this row */
};
#define FIELD(member)                                                                              \
    .offset = offsetof(struct arguments, member), .bytes = sizeof(((struct arguments *)0)->member)
/* The subcommand's arguments as they are before any option: ARGUMENTS(.batch = 32). */
#define ARGUMENTS(...)                                                                             \
    .defaults = &(const struct arguments) { __VA_ARGS__ },                                         \
    .arguments_bytes = sizeof(struct arguments)

/* Rows that several subcommands have. */
extern const char *const orientation_counts[];
#define OPTION_ORIENTATIONS                                                                        \
    .name = "orientations", .kind = OPTION_INT, FIELD(orientations),                               \
    .choices = orientation_counts, .help = "average over rotations and mirrors"
#define OPTION_BATCH                                                                               \
    .name = "batch", .kind = OPTION_INT, FIELD(batch), .min = 1, .max = 4096, .value = "N",        \
    .help = "windows computed at once"
#define OPTION_THREADS                                                                             \
    .name = "threads", .kind = OPTION_INT, FIELD(threads), .min = 1, .max = 1024, .value = "N",    \
    .help = "processors to use"
#define OPTION_MPP                                                                                 \
    .name = "mpp", .kind = OPTION_DOUBLE, FIELD(mpp), .min = 0.01, .max = 100, .value = "UM"

/* arguments: a copy of the subcommand's `defaults` with what the command line says; the subcommand
 * may write into it. operands: what is no option, key=value overrides among it. Returns an exit
 * code; on failure *err says why, and main prints it. */
typedef enum exit_code (*subcommand_run)(void *arguments, int count, char **operands,
                                         struct error *err);

struct subcommand {
    const char *name;
    const char *summary;
    const char *operands;               /* of the usage line, with the options that must be given */
    enum option_kind operand_kind;      /* what a shell completes; OPTION_FLAG = nothing */
    const char *const *operand_choices; /* OPTION_CHOICE */
    bool overrides;                     /* takes key=value of the configuration */
    /* Paragraphs, with an empty line between. "WORD<tab>text" is what a word means. */
    const char *description, *notes;
    const char *examples;         /* one a line */
    const struct option *options; /* up to a row without a name; NULL = none */
    const void *defaults;         /* its struct arguments: ARGUMENTS(); NULL = none */
    size_t arguments_bytes;
    subcommand_run run;
};

/* All of them, in the order of their use; NULL behind the last (main.c). */
extern const struct subcommand *const subcommands[];

extern const struct subcommand command_synth, command_inspect, command_import, command_prepare,
    command_train, command_evaluate, command_heatmap, command_export, command_predict,
    command_bench, command_plan, command_config, command_completion, command_manual;

/* Fills `arguments` from argv behind argv[0], the subcommand's name; moves operands to the front of
 * argv + 1 and returns their number in *operand_count. Unknown options name the nearest one. */
bool options_parse(const struct subcommand *command, void *arguments, int argc, char **argv,
                   int *operand_count, struct error *err);

/* "--out FOLDER", "-o, --out FILE"; choice >= 0: "--format onnx" for that one of its choices. */
enum { OPTION_HEAD_MAX = 80 };
void option_head(const struct option *option, int choice, char head[OPTION_HEAD_MAX]);
/* What an option does with its default: "windows computed at once (default: 32)". */
enum { OPTION_HELP_MAX = 512 };
void option_help(const struct subcommand *command, const struct option *option,
                 char help[OPTION_HELP_MAX]);

void help_print_program(FILE *stream);
void help_print(const struct subcommand *command, FILE *stream);

/* One sentence on the program, and on each exit status; code < 0 ends the rows. */
extern const char program_summary[];
struct exit_status {
    int code;
    const char *meaning;
};
extern const struct exit_status exit_statuses[];

#endif
