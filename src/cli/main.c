/* The program: finds the subcommand in a const table, runs it, and prints its error. The only place
 * that exits. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "micromet/base/text.h"

static const struct subcommand *const commands[] = {
    &command_synth,   &command_inspect,  &command_import,  &command_prepare,
    &command_train,   &command_evaluate, &command_heatmap, &command_export,
    &command_predict, &command_bench,    &command_plan,    &command_config,
};

enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static const struct subcommand *find_command(const char *name)
{
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

static void print_help(FILE *stream)
{
    fputs("usage: micromet COMMAND [ARGUMENTS]\n"
          "\n"
          "Fine-tunes a multi-tower InceptionV3 on gigapixel pathology slides, evaluates it and "
          "draws\n"
          "heat maps of tumour.\n"
          "\n",
          stream);
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(stream, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fputs(
        "\n"
        "  micromet COMMAND --help   how to use a command\n"
        "  micromet --version        version of the program\n"
        "\n"
        "Exit status: 0 done, 1 failed, 2 wrong command line or configuration, 3 done but for bad\n"
        "slides that were reported, 75 interrupted with a checkpoint written.\n",
        stream);
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
    for (int i = 0; i < COMMAND_COUNT; i++) text_nearest_offer(&nearest, commands[i]->name);
    if (nearest.best[0])
        error_set(err, EXIT_CODE_USAGE, "unknown command '%.80s'; did you mean %s?", name,
                  nearest.best);
    else
        error_set(err, EXIT_CODE_USAGE, "unknown command '%.80s'; `micromet --help` lists them",
                  name);
    return err->code;
}

static enum exit_code run_command(int argc, char **argv, struct error *err)
{
    const struct subcommand *command = find_command(argv[0]);
    if (!command) return fail_unknown(argv[0], err);
    if (!wants_help(argc, argv)) return command->run(argc, argv, err);

    fputs(command->help, stdout);
    if (command == &command_config) {
        putchar('\n');
        config_print_help(stdout);
    }
    return EXIT_CODE_OK;
}

static enum exit_code run(int argc, char **argv, struct error *err)
{
    if (argc < 2) {
        print_help(stderr);
        error_set(err, EXIT_CODE_USAGE, "no command was given");
        return err->code;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return EXIT_CODE_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("micromet %s (%s)\n", MICROMET_VERSION, MICROMET_GIT);
        return EXIT_CODE_OK;
    }
    return run_command(argc - 1, argv + 1, err);
}

/* One heap for all threads: a heap a thread keeps what its thread has freed from the others, and the
 * readers free and take much. They spend their time decoding, not waiting for a heap. */
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
    if (err.message[0]) fprintf(stderr, "micromet: %s\n", err.message);
    return code;
}
