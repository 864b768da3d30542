/* Writes the scripts of a sweep's jobs. */
#include "micromet/sweep/jobs.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ladder.h"

static const char remedy[] = "give the sweep another --out";

struct writer {
    const struct sweep_folder *folder;
    char slurm[PATH_MAX_BYTES], program[PATH_MAX_BYTES]; /* folder of the scripts; micromet */
    const struct slurm_request *request;
    int at_once;
    FILE *submit;
};

/* --- scripts ---------------------------------------------------------------------------------- */

static bool write_script(const struct writer *w, const char *stem, const struct slurm_script *given,
                         struct error *err)
{
    char path[PATH_MAX_BYTES], output[PATH_MAX_BYTES], name[PATH_MAX_BYTES], file_name[64];
    struct slurm_script script = *given;
    struct atomic_file file = { 0 };
    snprintf(file_name, sizeof file_name, "%s.sh", stem);
    snprintf(name, sizeof name, "%.900s-%s", path_name(w->folder->path), stem);
    script.program = w->program;
    script.folder = w->folder->path;
    script.name = name;
    script.output = output;
    if (!path_join(output, w->slurm, stem, err) || !path_join(path, w->slurm, file_name, err) ||
        !slurm_script_check(&script, remedy, err) || !atomic_file_open(&file, path, err))
        return false;
    slurm_script_write(&script, file.stream);
    const bool ok = atomic_file_commit(&file, err);
    atomic_file_release(&file);
    fprintf(w->submit, "submit %s\n", file_name);
    return ok;
}

static bool write_prepare(const struct writer *w, struct error *err)
{
    char path[PATH_MAX_BYTES];
    char *words[] = { "sweep", "prepare", path, "--requeue" };
    snprintf(path, sizeof path, "%s", w->folder->path);
    struct slurm_script script = { .words = words, .word_count = 4, .request = *w->request };
    script.request.gpus = 0;
    return write_script(w, "prepare", &script, err);
}

/* Ascending numbers as "0-3,7", each less `base`; malloc'ed. */
static bool format_numbers(const int *numbers, int count, int base, int at_once, char **text,
                           struct error *err)
{
    size_t size;
    FILE *stream = open_memstream(text, &size);
    if (!stream) return error_set(err, EXIT_CODE_FAILED, "out of memory for a script");
    for (int i = 0; i < count;) {
        int last = i;
        while (last + 1 < count && numbers[last + 1] == numbers[last] + 1) last++;
        fprintf(stream, "%s%d", i ? "," : "", numbers[i] - base);
        if (last > i) fprintf(stream, "-%d", numbers[last] - base);
        i = last + 1;
    }
    if (at_once > 0) fprintf(stream, "%%%d", at_once);
    return fclose(stream) == 0 || error_set(err, EXIT_CODE_FAILED, "out of memory for a script");
}

/* An array of at most SWEEP_ARRAY_MAX tasks for places from `base` on. */
static bool write_array(const struct writer *w, int rung, const int *places, int count, int base,
                        struct error *err)
{
    char path[PATH_MAX_BYTES], number[16], stem[48], tail[64];
    char *words[] = { "sweep", "run", path, "--requeue", "--rung", number };
    const bool asynchronous = w->folder->sweep.halving.asynchronous;
    char *array;
    snprintf(path, sizeof path, "%s", w->folder->path);
    snprintf(number, sizeof number, "%d", rung);
    snprintf(stem, sizeof stem, "rung-%d", rung);
    snprintf(tail, sizeof tail, "--index \"$SLURM_ARRAY_TASK_ID\"");
    if (base > 0) {
        snprintf(stem, sizeof stem, "rung-%d-%d", rung, base);
        snprintf(tail, sizeof tail, "--index \"$((SLURM_ARRAY_TASK_ID + %d))\"", base);
    }
    if (!format_numbers(places, count, base, w->at_once, &array, err)) return false;
    const struct slurm_script script = {
        .array = array,
        .words = words,
        .word_count = asynchronous ? 4 : 6,
        .tail = tail,
        .request = *w->request,
    };
    const bool ok = write_script(w, stem, &script, err);
    free(array);
    return ok;
}

/* Arrays for the places, and what makes the next rung's wait for them. */
static bool write_rung(const struct writer *w, int rung, const int *places, int count,
                       struct error *err)
{
    for (int i = 0; i < count;) {
        const int base = places[i] / SWEEP_ARRAY_MAX * SWEEP_ARRAY_MAX;
        int end = i;
        while (end < count && places[end] < base + SWEEP_ARRAY_MAX) end++;
        if (!write_array(w, rung, places + i, end - i, base, err)) return false;
        i = end;
    }
    if (count > 0) fputs("behind=\"--dependency=afterany$jobs\"; jobs=\n", w->submit);
    return true;
}

/* --- what is left ----------------------------------------------------------------------------- */

/* Places on a rung whose runs are left to be done, then those of runs that may come. */
static bool find_places(struct ladder *ladder, int rung, int *places, int *count, struct error *err)
{
    const struct rung *r = &ladder->rungs[rung];
    const int runs = ladder->folder->sweep.run_count, to_come = ladder_to_come(ladder, rung);
    *count = 0;
    for (int place = 0; place < r->count; place++) {
        struct rung_result result;
        if (!ladder_result(ladder, rung, r->members[place], &result, err)) return false;
        if (!result.final) places[(*count)++] = place;
    }
    for (int i = 0; i < to_come && r->count + i < runs; i++) places[(*count)++] = r->count + i;
    return true;
}

/* With asynchronous halving a task begins with one run of rung 0, and goes on with any run of later
 * rungs that is left. Where only such ones are left, tasks of runs that have ended do them. */
static bool find_starts(struct ladder *ladder, int *places, int *count, struct error *err)
{
    int others = 0;
    if (!find_places(ladder, 0, places, count, err)) return false;
    for (int run = 0; run < ladder->folder->sweep.run_count; run++) {
        struct rung_result result;
        const int rung = ladder->rung_of[run];
        if (rung == 0) continue;
        if (!ladder_result(ladder, rung, run, &result, err)) return false;
        others += !result.final;
    }
    if (*count > 0) return true;
    while (*count < others) places[*count] = *count, ++*count;
    return true;
}

static bool write_rungs(const struct writer *w, struct ladder *ladder, int *places, int *tasks,
                        struct error *err)
{
    const bool asynchronous = w->folder->sweep.halving.asynchronous;
    for (int rung = 0; rung < (asynchronous ? 1 : ladder->rung_count); rung++) {
        int count;
        if (asynchronous ? !find_starts(ladder, places, &count, err)
                         : !find_places(ladder, rung, places, &count, err))
            return false;
        if (!write_rung(w, rung, places, count, err)) return false;
        *tasks += count;
    }
    return true;
}

/* --- all together ----------------------------------------------------------------------------- */

static const char submit_head[] =
    "#!/bin/sh\n"
    "# Made by micromet. Gives the jobs to sbatch, each behind the ones that it waits for.\n"
    "set -eu\n"
    "cd -- \"$(dirname -- \"$0\")\"\n"
    "behind= jobs=\n"
    "submit() {\n"
    "    job=$(sbatch --parsable $behind \"$1\")\n"
    "    job=${job%%;*}\n"
    "    jobs=$jobs:$job\n"
    "    echo \"$1: job $job\"\n"
    "}\n";

/* Scripts of an earlier call. */
static bool remove_scripts(const char *folder, struct error *err)
{
    DIR *listing = opendir(folder);
    if (!listing)
        return error_set(err, EXIT_CODE_FAILED, "%s: cannot be read: %s", folder, strerror(errno));
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot && strcmp(dot, ".sh") == 0) unlinkat(dirfd(listing), entry->d_name, 0);
    }
    closedir(listing);
    return true;
}

static bool write_all(struct writer *w, struct ladder *ladder, int *tasks, struct error *err)
{
    int *places = calloc((size_t)w->folder->sweep.run_count, sizeof *places);
    bool ok = places || error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
    fputs(submit_head, w->submit);
    if (ok && !packs_are_prepared(w->folder)) {
        ok = write_prepare(w, err);
        fputs("behind=\"--dependency=afterok$jobs --kill-on-invalid-dep=yes\"; jobs=\n", w->submit);
    }
    *tasks = 0;
    ok = ok && write_rungs(w, ladder, places, tasks, err);
    free(places);
    return ok;
}

/* Every run can do with the same request. */
static bool settle_gpus(const struct sweep_folder *folder, struct slurm_request *request,
                        struct error *err)
{
    for (int run = 0; run < folder->sweep.run_count; run++) {
        struct config config;
        if (!sweep_folder_config(folder, run, &config, err)) return false;
        if (!slurm_request_gpus(request, &config, err)) return error_prefix(err, "run %04d", run);
    }
    return true;
}

bool sweep_jobs_write(const struct sweep_folder *folder, struct slurm_request *request, int at_once,
                      struct sweep_jobs *jobs, struct error *err)
{
    struct writer w = { .folder = folder, .request = request, .at_once = at_once };
    struct atomic_file submit = { 0 };
    struct ladder ladder = { 0 };
    *jobs = (struct sweep_jobs) { 0 };
    bool ok = slurm_request_check(request, err) && settle_gpus(folder, request, err) &&
              slurm_program_path(w.program, err) &&
              path_join(w.slurm, folder->path, "slurm", err) && folder_create(w.slurm, err) &&
              remove_scripts(w.slurm, err) && path_join(jobs->submit, w.slurm, "submit.sh", err) &&
              ladder_init(&ladder, folder, err) &&
              ladder_decide(&ladder, folder->sweep.halving.asynchronous ? ladder.rung_count : 0,
                            err) &&
              atomic_file_open(&submit, jobs->submit, err);
    w.submit = submit.stream;
    ok = ok && write_all(&w, &ladder, &jobs->tasks, err);
    if (ok && jobs->tasks > 0) ok = atomic_file_commit(&submit, err);
    if (ok && jobs->tasks == 0) ok = remove_scripts(w.slurm, err);
    atomic_file_release(&submit);
    ladder_release(&ladder);
    return ok;
}
