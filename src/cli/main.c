/* The program: finds the subcommand in a table, parses its arguments, runs it and prints its error.
 * Its return value is the exit code. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "micromet/base/log.h"
#include "micromet/base/text.h"

const struct subcommand *const subcommands[] = {
    &command_synth,      &command_inspect,  &command_annotate,
    &command_import,     &command_prepare,  &command_train,
    &command_sweep,      &command_evaluate, &command_heatmap,
    &command_export,     &command_predict,  &command_bench,
    &command_plan,       &command_slurm,    &command_config,
    &command_completion, &command_manual,   NULL,
};

static const struct subcommand *find_command(const char *name)
{
    for (int i = 0; subcommands[i]; i++)
        if (strcmp(subcommands[i]->name, name) == 0) return subcommands[i];
    return NULL;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
    return false;
}

static enum exit_code fail_unknown(const char *name, struct error *err)
{
    struct text_nearest nearest = text_nearest_init(name);
    for (int i = 0; subcommands[i]; i++) text_nearest_offer(&nearest, subcommands[i]->name);
    if (nearest.best[0])
        error_set(err, EXIT_CODE_USAGE, "unknown command '%.80s'; did you mean %s?", name,
                  nearest.best);
    else
        error_set(err, EXIT_CODE_USAGE, "unknown command '%.80s'; `micromet --help` lists them",
                  name);
    return err->code;
}

static enum exit_code run_parsed(const struct subcommand *command, void *arguments, int argc,
                                 char **argv, struct error *err)
{
    int count;
    if (command->defaults) memcpy(arguments, command->defaults, command->arguments_bytes);
    if (!options_parse(command, arguments, argc, argv, &count, err)) return err->code;
    return command->run(arguments, count, argv + 1, err);
}

static enum exit_code run_command(int argc, char **argv, struct error *err)
{
    const struct subcommand *command = find_command(argv[0]);
    if (!command) return fail_unknown(argv[0], err);
    if (wants_help(argc, argv)) {
        help_print(command, stdout);
        return EXIT_CODE_OK;
    }
    void *arguments = calloc(1, command->arguments_bytes + 1);
    if (!arguments) {
        error_set(err, EXIT_CODE_FAILED, "out of memory");
        return err->code;
    }
    const enum exit_code code = run_parsed(command, arguments, argc, argv, err);
    free(arguments);
    return code;
}

static enum exit_code run(int argc, char **argv, struct error *err)
{
    if (argc < 2) {
        help_print_program(stderr);
        error_set(err, EXIT_CODE_USAGE, "no command was given");
        return err->code;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        help_print_program(stdout);
        return EXIT_CODE_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("micromet %s (%s)\n", MICROMET_VERSION, MICROMET_GIT);
        return EXIT_CODE_OK;
    }
    return run_command(argc - 1, argv + 1, err);
}

/* One malloc arena for all threads: reader threads allocate and free much, and
 * per-thread arenas cannot reuse what other threads freed. They spend their time on
 * decoding, not waiting for a lock. */
static void share_heap(void)
{
#ifdef M_ARENA_MAX
    mallopt(M_ARENA_MAX, 1);
#endif
}

int main(int argc, char **argv)
{
    share_heap();
    struct error err = { 0 };
    enum exit_code code = run(argc, argv, &err);
    if (fflush(stdout) != 0 && code == EXIT_CODE_OK) {
        error_set(&err, EXIT_CODE_FAILED, "cannot write to standard output");
        code = EXIT_CODE_FAILED;
    }
    if (err.message[0]) log_error(err.message);
    return code;
}
