/* micromet slurm: a batch script for a training, or its submission. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "micromet/base/output.h"
#include "micromet/base/slurm.h"
#include "micromet/nn/backend.h"
#include "micromet/run/preflight.h"
#include "micromet/run/slurm_script.h"

enum { GPUS_AS_CONFIGURED = -1, OPERANDS_MAX = 1024 };

struct arguments {
    const char *time, *memory, *partition, *account, *out;
    int cpus, gpus;
    bool submit;
};

static const struct option option_rows[] = {
    { .name = "time",
      .kind = OPTION_TEXT,
      FIELD(time),
      .value = "T",
      .help = "of one run, as sbatch takes it: 90 (minutes), 4:00:00 or 1-12 (days-hours)" },
    { .name = "cpus",
      .kind = OPTION_INT,
      FIELD(cpus),
      .min = 1,
      .max = 4096,
      .value = "N",
      .help = "processors" },
    { .name = "gpus",
      .kind = OPTION_INT,
      FIELD(gpus),
      .min = 0,
      .max = 1 << 20,
      .value = "N",
      .absent = "1; 0 if compute.backend is cpu, or CUDA is not built in",
      .help = "0 or 1: a training uses one GPU" },
    { .name = "mem",
      .kind = OPTION_TEXT,
      FIELD(memory),
      .value = "M",
      .help = "memory of the node, such as 16G" },
    { .name = "partition", .kind = OPTION_TEXT, FIELD(partition), .value = "P", .help = "Slurm's" },
    { .name = "account", .kind = OPTION_TEXT, FIELD(account), .value = "A", .help = "Slurm's" },
    { .name = "out",
      .letter = 'o',
      .kind = OPTION_FILE,
      FIELD(out),
      .value = "FILE",
      .help = "write the script there, not to standard output" },
    { .name = "submit", .kind = OPTION_FLAG, FIELD(submit), .help = "give it to sbatch" },
    { 0 },
};

static bool choose_gpus(int *gpus, const struct config *config, struct error *err)
{
    struct error ignored = { 0 };
    const enum backend_name backend = config->compute.backend;
    if (*gpus == GPUS_AS_CONFIGURED)
        *gpus = backend == BACKEND_CUDA ||
                (backend == BACKEND_AUTO && backend_cuda_built(&ignored));
    if (*gpus > 1)
        return error_set(err, EXIT_CODE_USAGE,
                         "--gpus %d: data-parallel training is not built yet: a training uses one "
                         "GPU; several trainings, a job each, use several",
                         *gpus);
    if (*gpus == 1 && backend == BACKEND_CPU)
        return error_set(err, EXIT_CODE_USAGE,
                         "--gpus 1: compute.backend is cpu, which uses none; give --gpus 0, or "
                         "compute.backend=cuda");
    if (*gpus == 0 && backend == BACKEND_CUDA)
        return error_set(err, EXIT_CODE_USAGE,
                         "--gpus 0: compute.backend is cuda, which needs one; give --gpus 1, or "
                         "compute.backend=cpu");
    return true;
}

/* Add the override unless its key is among them; returns their number. */
static int add_unless_given(char **operands, int count, char *override)
{
    const size_t length = strcspn(override, "=") + 1;
    for (int i = 1; i < count; i++)
        if (strncmp(operands[i], override, length) == 0) return count;
    operands[count] = override;
    return count + 1;
}

/* The script's text; malloc'ed. */
static bool make_text(const struct slurm_script *script, const struct config *config, char **text,
                      size_t *size, struct error *err)
{
    FILE *stream = open_memstream(text, size);
    if (!stream) return error_set(err, EXIT_CODE_FAILED, "no memory for a script");
    slurm_script_write(script, config, stream);
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
    bool ok = make_text(script, config, &text, &size, err);
    if (ok && a->out) ok = file_write_atomic(a->out, text, size, err);
    if (ok && a->submit) ok = submit(config, text, size, err);
    if (ok && !a->out && !a->submit) fwrite(text, 1, size, stdout); /* main() checks it */
    free(text);
    return ok;
}

static bool is_script(const char *path)
{
    return output_holds(path, "#!/bin/sh\n", "# Made by micromet slurm");
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
    char program[PATH_MAX_BYTES], folder[PATH_MAX_BYTES], *all[OPERANDS_MAX + 2];
    if (count < 1 || count > OPERANDS_MAX) {
        error_set(err, EXIT_CODE_USAGE, "slurm: which configuration? See `micromet slurm --help`");
        return err->code;
    }
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length < 0 || !getcwd(folder, sizeof folder)) {
        error_set(err, EXIT_CODE_FAILED, "the program or the current folder has no path");
        return err->code;
    }
    program[length] = '\0';
    memcpy(all, operands, (size_t)count * sizeof *all);
    count = add_unless_given(all, count, "train.resume=auto");
    count = add_unless_given(all, count, "train.requeue=true");
    if (!config_load_checked(&config, all[0], count - 1, all + 1, preflight_all, err) ||
        !choose_gpus(&a->gpus, &config, err) || !check_out(a->out, all[0], err))
        return err->code;
    const struct slurm_script script = {
        program, folder, count, all, a->cpus, a->gpus, a->time, a->memory, a->partition, a->account,
    };
    if (slurm_script_check(&script, &config, err)) deliver(a, &script, &config, err);
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
    ARGUMENTS(.cpus = 4, .gpus = GPUS_AS_CONFIGURED),
    .notes = "Paths of the program and of the current folder are the same on the nodes. "
             "train.resume=auto and train.requeue=true are set unless they are given. One training "
             "uses one GPU on one node.",
    .examples = "micromet slurm configs/seed.yaml --time 4:00:00 --mem 16G > seed.sh\n"
                "micromet slurm configs/seed.yaml optimizer.learning_rate=1e-4 name=lower "
                "--partition gpu --submit\n",
    .run = run,
};
