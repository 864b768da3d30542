/* micromet slurm: a batch script for a training, or its submission. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "micromet/base/output.h"
#include "micromet/base/slurm.h"
#include "micromet/run/preflight.h"
#include "micromet/run/slurm_script.h"

enum { OPERANDS_MAX = 1024 };

struct arguments {
    struct slurm_request request;
    const char *out;
    bool submit;
};

static const struct option option_rows[] = {
    { OPTION_SLURM_TIME, .help = "of one run, as sbatch takes it: 90 (minutes), 4:00:00 or 1-12 "
                                 "(days-hours)" },
    { OPTION_SLURM_CPUS },
    { OPTION_SLURM_GPUS, .max = 64,
      .help = "of each node, with a process each that train together" },
    { .name = "nodes",
      .kind = OPTION_INT,
      FIELD(request.nodes),
      .min = 1,
      .max = 1024,
      .value = "N",
      .help = "whose processes train together, one a node where there is no GPU" },
    { OPTION_SLURM_MEM },
    { OPTION_SLURM_PARTITION },
    { OPTION_SLURM_ACCOUNT },
    { .name = "out",
      .letter = 'o',
      .kind = OPTION_FILE,
      FIELD(out),
      .value = "FILE",
      .help = "write the script there, not to standard output" },
    { .name = "submit", .kind = OPTION_FLAG, FIELD(submit), .help = "give it to sbatch" },
    { 0 },
};

/* Add the override unless its key is among them; returns their number. */
static int add_unless_given(char **operands, int count, char *override)
{
    const size_t length = strcspn(override, "=") + 1;
    for (int i = 2; i < count; i++)
        if (strncmp(operands[i], override, length) == 0) return count;
    operands[count] = override;
    return count + 1;
}

/* The script's text; malloc'ed. */
static bool make_text(const struct slurm_script *script, char **text, size_t *size,
                      struct error *err)
{
    FILE *stream = open_memstream(text, size);
    if (!stream) return error_set(err, EXIT_CODE_FAILED, "no memory for a script");
    slurm_script_write(script, stream);
    return fclose(stream) == 0 || error_set(err, EXIT_CODE_FAILED, "no memory for a script");
}

/* sbatch reads it from a file without a name. */
static bool submit(const struct config *config, const char *text, size_t size, struct error *err)
{
    char beside[PATH_MAX_BYTES];
    char *arguments[] = { "sbatch", NULL };
    if (!path_join(beside, config->train.run, "script", err)) return false;
    const int descriptor = scratch_file_open(beside, err);
    if (descriptor < 0) return false;
    const bool ok = (write(descriptor, text, size) == (ssize_t)size &&
                     lseek(descriptor, 0, SEEK_SET) == 0) ||
                    error_set(err, EXIT_CODE_FAILED, "%s: the script cannot be written there",
                              config->train.run);
    const bool submitted = ok && slurm_run(arguments, descriptor, err);
    close(descriptor);
    return submitted;
}

static bool deliver(const struct arguments *a, const struct slurm_script *script,
                    const struct config *config, struct error *err)
{
    char *text = NULL;
    size_t size = 0;
    bool ok = make_text(script, &text, &size, err);
    if (ok && a->out) ok = file_write_atomic(a->out, text, size, err);
    if (ok && a->submit) ok = submit(config, text, size, err);
    if (ok && !a->out && !a->submit) fwrite(text, 1, size, stdout); /* main() checks it */
    free(text);
    return ok;
}

static bool is_script(const char *path)
{
    return output_holds(path, "#!/bin/sh\n", "# Made by micromet.");
}

static bool check_out(const char *out, char *config, struct error *err)
{
    return !out || (output_check(out, "give another --out", err) &&
                    output_check_inputs(out, &config, 1, err) &&
                    output_check_own(out, is_script, "a script of `micromet slurm`", err));
}

static enum exit_code run(void *arguments, int count, char **operands, struct error *err)
{
    struct arguments *a = arguments;
    struct config config;
    char program[PATH_MAX_BYTES], folder[PATH_MAX_BYTES], output[PATH_MAX_BYTES];
    char *words[OPERANDS_MAX + 3] = { "train" };
    if (count < 1 || count > OPERANDS_MAX) {
        error_set(err, EXIT_CODE_USAGE, "slurm: which configuration? See `micromet slurm --help`");
        return err->code;
    }
    if (!slurm_program_path(program, err)) return err->code;
    if (!getcwd(folder, sizeof folder)) {
        error_set(err, EXIT_CODE_FAILED, "the current folder has no path");
        return err->code;
    }
    memcpy(words + 1, operands, (size_t)count * sizeof *words);
    count = add_unless_given(words, count + 1, "train.resume=auto");
    count = add_unless_given(words, count, "train.requeue=true");
    if (!config_load_checked(&config, words[1], count - 2, words + 2, preflight_all, err) ||
        !slurm_request_gpus(&a->request, &config, err) || !check_out(a->out, words[1], err) ||
        !slurm_request_check(&a->request, err) ||
        !path_join(output, config.train.run, config.name, err))
        return err->code;
    const struct slurm_script script = {
        .program = program,
        .folder = folder,
        .name = config.name,
        .output = output,
        .word_count = count,
        .words = words,
        .request = a->request,
    };
    if (slurm_script_check(&script, "give another train.run=FOLDER or name=...", err))
        deliver(a, &script, &config, err);
    return err->code;
}

const struct subcommand command_slurm = {
    .name = "slurm",
    .summary = "a batch script for a training on a Slurm cluster",
    .operands = "CONFIG [key=value ...]",
    .operand_kind = OPTION_FILE,
    .overrides = true,
    .description =
        "Checks the configuration as `micromet train` would, then prints a batch script for that "
        "training, or submits it. The job writes a checkpoint when its time is up (or a node "
        "fails), is requeued and goes on, until the training is finished. Its messages go to "
        "<train.run>/<name>-JOB.out.",
    .options = option_rows,
    ARGUMENTS(.request = { .cpus = 4, .gpus = SLURM_GPUS_AS_CONFIGURED, .nodes = 1 }),
    .notes =
        "Paths of the program and of the current folder are the same on the nodes. "
        "train.resume=auto and train.requeue=true are set unless they are given. Where several "
        "processes train together, each takes an equal part of train.batch.",
    .examples = "micromet slurm configs/seed.yaml --time 4:00:00 --mem 16G > seed.sh\n"
                "micromet slurm configs/seed.yaml optimizer.learning_rate=1e-4 name=lower "
                "--partition gpu --submit\n"
                "micromet slurm configs/seed.yaml train.batch=256 --nodes 2 --gpus 4 --cpus 8 "
                "--submit\n",
    .run = run,
};
