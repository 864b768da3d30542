/* Two kinds of quoting: the shell's for the command, and Slurm's own for the #SBATCH lines, which
 * no shell reads. Within Slurm's double quotes a backslash stands before a quote or a backslash
 * (tried with Slurm 22.05). In the output's path % begins a pattern, and a backslash, however
 * quoted, ends the use of patterns. */
#include "micromet/run/slurm_script.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "micromet/base/file.h"
#include "micromet/base/output.h"
#include "micromet/base/size.h"
#include "micromet/base/text.h"
#include "micromet/nn/backend.h"

static const char letters_and_digits[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/* --- checks ----------------------------------------------------------------------------------- */

static bool has_control_character(const char *text)
{
    for (; *text; text++)
        if (iscntrl((unsigned char)*text)) return true;
    return false;
}

/* "90", "90:00", "1:30:00", "2-12", "2-12:00" or "2-12:00:00". */
enum { MINUTES_MIN = 3 };

static bool is_time(const char *text)
{
    const char *const forms[] = { "#", "#:#", "#:#:#", "#-#", "#-#:#", "#-#:#:#" };
    char form[16] = "";
    size_t length = 0;
    while (*text && length + 1 < sizeof form) {
        const size_t digits = strspn(text, "0123456789");
        form[length++] = digits > 0 ? '#' : *text;
        text += digits > 0 ? digits : 1;
    }
    form[length] = '\0';
    for (size_t i = 0; !*text && i < COUNT_OF(forms); i++)
        if (strcmp(form, forms[i]) == 0) return true;
    return false;
}

/* Minutes of a time of Slurm's. */
static double minutes_of(const char *text)
{
    const char *const dash = strchr(text, '-'), *clock = dash ? dash + 1 : text;
    double parts[3] = { 0 };
    int count = 0;
    for (const char *at = clock; at && count < 3; count++) {
        parts[count] = strtod(at, NULL);
        at = strchr(at, ':');
        at = at ? at + 1 : NULL;
    }
    const double days = dash ? strtod(text, NULL) : 0;
    if (dash || count == 3) return (days * 24 + parts[0]) * 60 + parts[1] + parts[2] / 60;
    return parts[0] + parts[1] / 60;
}

static bool is_memory(const char *text)
{
    const size_t digits = strspn(text, "0123456789");
    return digits > 0 && (!text[digits] || (strchr("KMGT", text[digits]) && !text[digits + 1]));
}

/* Of partitions, or an account. */
static bool is_name(const char *text)
{
    if (!*text || !strchr(letters_and_digits, *text)) return false;
    while (*text && (strchr(letters_and_digits, *text) || strchr("_.,@+-", *text))) text++;
    return !*text;
}

bool slurm_request_check(const struct slurm_request *request, struct error *err)
{
    const struct {
        const char *option, *value, *form;
        bool (*is_right)(const char *text);
    } values[] = {
        { "--time", request->time, "90 (minutes), 1:30:00 or 2-12:00:00 (days)", is_time },
        { "--mem", request->memory, "16G or 16000M", is_memory },
        { "--partition", request->partition, "gpu", is_name },
        { "--account", request->account, "pathology", is_name },
    };
    for (size_t i = 0; i < COUNT_OF(values); i++)
        if (values[i].value && !values[i].is_right(values[i].value))
            return error_set(err, EXIT_CODE_USAGE, "%s: expected the like of %s, got '%.100s'",
                             values[i].option, values[i].form, values[i].value);
    if (request->time && minutes_of(request->time) < MINUTES_MIN)
        return error_set(err, EXIT_CODE_USAGE,
                         "--time %.100s: a job is told to stop 90 s before its end, and would be "
                         "requeued before it has done anything; give it %d minutes at least",
                         request->time, MINUTES_MIN);
    return true;
}

static int ranks_per_node(const struct slurm_request *request)
{
    return request->gpus > 1 ? request->gpus : 1;
}

int slurm_request_ranks(const struct slurm_request *request)
{
    return request->nodes * ranks_per_node(request);
}

static bool check_ranks(int ranks, const struct config_train *train, struct error *err)
{
    if (train->shards > 0 && train->shards % ranks != 0)
        return error_set(err, EXIT_CODE_USAGE,
                         "--gpus, --nodes: %d processes cannot share the %d shards of train.shards "
                         "equally; ask for a number that divides them",
                         ranks, train->shards);
    return train->batch % ranks == 0 ||
           error_set(err, EXIT_CODE_USAGE,
                     "--gpus, --nodes: %d processes cannot share a train.batch of %d equally",
                     ranks, train->batch);
}

bool slurm_request_gpus(struct slurm_request *request, const struct config *config,
                        struct error *err)
{
    struct error ignored = { 0 };
    const enum backend_name backend = config->compute.backend;
    if (request->gpus == SLURM_GPUS_AS_CONFIGURED)
        request->gpus = backend == BACKEND_CUDA ||
                        (backend == BACKEND_AUTO && backend_cuda_built(&ignored));
    if (request->gpus > 0 && backend == BACKEND_CPU)
        return error_set(err, EXIT_CODE_USAGE,
                         "--gpus %d: compute.backend is cpu, which uses none; give --gpus 0, or "
                         "compute.backend=cuda",
                         request->gpus);
    if (request->gpus == 0 && backend == BACKEND_CUDA)
        return error_set(err, EXIT_CODE_USAGE,
                         "--gpus 0: compute.backend is cuda, which needs one; give --gpus 1, or "
                         "compute.backend=cpu");
    return check_ranks(slurm_request_ranks(request), &config->train, err);
}

bool slurm_program_path(char path[PATH_MAX_BYTES], struct error *err)
{
    const ssize_t length = readlink("/proc/self/exe", path, PATH_MAX_BYTES - 1);
    if (length < 0) return error_set(err, EXIT_CODE_FAILED, "the program has no path");
    path[length] = '\0';
    return true;
}

bool slurm_script_check(const struct slurm_script *script, const char *remedy, struct error *err)
{
    char folder[PATH_MAX_BYTES], output[PATH_MAX_BYTES];
    if (strchr(script->output, '\\') || has_control_character(script->output))
        return error_set(err, EXIT_CODE_USAGE,
                         "%s: Slurm writes no output to a path with a backslash or a line end; %s",
                         script->output, remedy);
    if (has_control_character(script->folder))
        return error_set(err, EXIT_CODE_USAGE,
                         "%s: Slurm starts no job in a folder with a line end in its name",
                         script->folder);
    path_folder(folder, script->output);
    return folder_create(folder, err) && path_join(output, folder, "slurm.out", err) &&
           output_check(output, remedy, err);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void write_for_slurm(FILE *stream, const char *text, bool is_pattern)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') fputc('\\', stream);
        if (*text == '%' && is_pattern) fputc('%', stream);
        fputc(*text, stream);
    }
}

static void write_directive(FILE *stream, const char *option, const char *value)
{
    if (!value) return;
    fprintf(stream, "#SBATCH --%s=\"", option);
    write_for_slurm(stream, value, false);
    fputs("\"\n", stream);
}

/* %j is the job's number; %A and %a are those of an array and its task. */
static void write_output(FILE *stream, const struct slurm_script *script)
{
    fputs("#SBATCH --output=\"", stream);
    write_for_slurm(stream, script->output, true);
    fputs(script->array ? "-%A_%a.out\"\n" : "-%j.out\"\n", stream);
}

/* The step gets the signal, the batch script does not: so the program is a step. And a step does
 * not take the number of processors from its job. */
static void write_command(FILE *stream, const struct slurm_script *script)
{
    fprintf(stream, "exec srun --cpus-per-task=%d ", script->request.cpus);
    if (slurm_request_ranks(&script->request) > 1) fputs("--kill-on-bad-exit=1 ", stream);
    if (script->request.gpus > 1) fputs("--gpu-bind=none ", stream); /* they reach each other */
    text_print_word(stream, script->program);
    for (int i = 0; i < script->word_count; i++) {
        fputc(' ', stream);
        text_print_word(stream, script->words[i]);
    }
    if (script->tail) fprintf(stream, " %s", script->tail);
    fputc('\n', stream);
}

void slurm_script_write(const struct slurm_script *script, FILE *stream)
{
    const struct slurm_request *request = &script->request;
    fputs(
        "#!/bin/sh\n"
        "# Made by micromet. 90 s before its time is up the program gets SIGUSR1, and writes what "
        "is to be\n"
        "# kept. With train.requeue and train.resume: auto the job is then requeued, and goes on "
        "from there.\n",
        stream);
    write_directive(stream, "job-name", script->name);
    write_directive(stream, "chdir", script->folder);
    write_output(stream, script);
    if (script->array) fprintf(stream, "#SBATCH --array=%s\n", script->array);
    fputs("#SBATCH --open-mode=append\n"
          "#SBATCH --requeue\n"
          "#SBATCH --signal=USR1@90\n",
          stream);
    fprintf(stream, "#SBATCH --nodes=%d\n#SBATCH --ntasks-per-node=%d\n", request->nodes,
            ranks_per_node(request));
    fprintf(stream, "#SBATCH --cpus-per-task=%d\n", request->cpus);
    if (request->gpus > 0) fprintf(stream, "#SBATCH --gres=gpu:%d\n", request->gpus);
    write_directive(stream, "mem", request->memory);
    write_directive(stream, "time", request->time);
    write_directive(stream, "partition", request->partition);
    write_directive(stream, "account", request->account);
    write_command(stream, script);
}
