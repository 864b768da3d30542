/* micromet sweep: many trainings of one configuration. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "micromet/base/log.h"
#include "micromet/base/size.h"
#include "micromet/base/slurm.h"
#include "micromet/base/text.h"
#include "micromet/sweep/jobs.h"
#include "micromet/sweep/report.h"
#include "sweep_print.h"

struct arguments {
    struct slurm_request request;
    const char *out;
    int jobs, index, rung;
    double windows_per_s;
    bool watch, requeue, retry, submit;
};

static const struct option option_rows[] = {
    { .name = "out",
      .kind = OPTION_FOLDER,
      FIELD(out),
      .value = "FOLDER",
      .absent = "the sweep's name, in train.run",
      .help = "folder of the sweep" },
    { .name = "jobs",
      .kind = OPTION_INT,
      FIELD(jobs),
      .min = 1,
      .max = 1024,
      .value = "N",
      .absent = "1; slurm: as many as Slurm lets",
      .help = "run, retry: trainings at once; processors and GPUs are shared out. slurm: tasks of "
              "an array at once" },
    { .name = "index",
      .kind = OPTION_INT,
      FIELD(index),
      .min = 0,
      .max = SWEEP_RUNS_MAX - 1,
      .value = "I",
      .absent = "all; or as SLURM_ARRAY_TASK_ID or JOB_COMPLETION_INDEX says",
      .help = "run, retry: this run alone" },
    { .name = "rung",
      .kind = OPTION_INT,
      FIELD(rung),
      .min = 0,
      .max = 64,
      .value = "R",
      .absent = "all",
      .help = "run: up to this rung of halving; --index is then a place among its runs" },
    { .name = "requeue",
      .kind = OPTION_FLAG,
      FIELD(requeue),
      .help = "run, retry, prepare: on SIGUSR1 have Slurm start this job again" },
    { .name = "watch",
      .kind = OPTION_FLAG,
      FIELD(watch),
      .help = "status: again every two seconds, until nothing is left to be done" },
    { .name = "windows-per-s",
      .kind = OPTION_DOUBLE,
      FIELD(windows_per_s),
      .min = 1e-3,
      .max = 1e9,
      .value = "N",
      .absent = "as a run of the sweep, or of its base, had it",
      .help = "plan: speed of one training" },
    { .name = "submit", .kind = OPTION_FLAG, FIELD(submit), .help = "slurm: give it to sbatch" },
    { .name = "retry",
      .kind = OPTION_FLAG,
      FIELD(retry),
      .help = "slurm: runs that have failed, too" },
    { OPTION_SLURM_TIME,
      .help = "slurm: of one run, as sbatch takes it: 90 (minutes), 4:00:00 or 1-12 (days-hours)",
      .group = "slurm" },
    { OPTION_SLURM_CPUS },
    { OPTION_SLURM_GPUS, .max = 1, .help = "of a training" },
    { OPTION_SLURM_MEM },
    { OPTION_SLURM_PARTITION },
    { OPTION_SLURM_ACCOUNT },
    { 0 },
};

static bool print_plan(struct sweep_folder *folder, struct arguments *a, enum exit_code *code,
                       struct error *err)
{
    (void)code;
    return sweep_print_plan(folder, a->windows_per_s, err);
}

static bool check_made(const struct sweep_folder *folder, struct error *err)
{
    return sweep_folder_is_made(folder) ||
           error_set(err, EXIT_CODE_FAILED, "%s: nothing was run yet", folder->path);
}

static bool print_status(struct sweep_folder *folder, struct arguments *a, enum exit_code *code,
                         struct error *err)
{
    (void)code;
    return check_made(folder, err) && sweep_print_status(folder, a->watch, err);
}

/* --- report ------------------------------------------------------------------------------------*/

static bool write_report(struct sweep_folder *folder, struct arguments *a, enum exit_code *code,
                         struct error *err)
{
    char page[PATH_MAX_BYTES];
    (void)a;
    (void)code;
    if (!check_made(folder, err) || !sweep_report(folder, page, err)) return false;
    printf("%s\n", SHOWN(page));
    return true;
}

/* --- run, retry --------------------------------------------------------------------------------*/

/* The run that is asked for by --index or by a job of an array; -1 = all. */
static bool find_index(const struct arguments *a, int runs, int *index, struct error *err)
{
    static const char *const variables[] = { "SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX" };
    const char *from = "--index";
    *index = a->index;
    for (size_t i = 0; *index < 0 && i < COUNT_OF(variables); i++) {
        const char *text = getenv(variables[i]);
        if (!text) continue;
        from = variables[i];
        if (!*text || strlen(text) > 6 || text[strspn(text, "0123456789")])
            return error_set(err, EXIT_CODE_USAGE, "%s: '%.80s' is no number of a run", from, text);
        *index = atoi(text);
    }
    return *index < runs ||
           error_set(err, EXIT_CODE_USAGE, "%s: there is no run %d, the last is %d", from, *index,
                     runs - 1);
}

/* The outcome of the run that was asked for. */
static bool judge_run(const struct sweep_folder *folder, const struct sweep_options *options,
                      enum exit_code *code, struct error *err)
{
    struct sweep_outcome outcome;
    int run;
    if (!sweep_find_run(folder, options, &run, err)) return false;
    if (run < 0) return true;
    if (!sweep_outcome_read(folder, run, &outcome, err)) return false;
    if (outcome.partial) *code = EXIT_CODE_PARTIAL;
    return outcome.state != SWEEP_FAILED ||
           error_set(err, EXIT_CODE_FAILED, "run %04d failed: %s", run, outcome.reason);
}

/* What became of all runs, or of the one that was asked for, decides the exit status. */
static bool judge(const struct sweep_folder *folder, const struct sweep_options *options,
                  enum exit_code *code, struct error *err)
{
    struct sweep_summary summary;
    if (!sweep_survey(folder, NULL, NULL, &summary, err)) return false;
    sweep_print_summary(folder, &summary);
    if (*code == EXIT_CODE_OK && options->index < 0 && summary.partial) *code = EXIT_CODE_PARTIAL;
    if (*code == EXIT_CODE_INTERRUPTED) return true;
    if (options->index >= 0) return judge_run(folder, options, code, err);
    return summary.failed == 0 ||
           error_set(err, summary.done ? EXIT_CODE_PARTIAL : EXIT_CODE_FAILED,
                     "%d of %d runs failed (reasons above); once the cause is mended: micromet "
                     "sweep retry %s",
                     summary.failed, summary.runs, WORD(folder->path));
}

static bool check_rung(const struct sweep *sweep, int rung, struct error *err)
{
    if (rung >= 0 && sweep->halving.asynchronous)
        return error_set(err, EXIT_CODE_USAGE,
                         "--rung: asynchronous halving has no rungs one after the other; give "
                         "--index alone");
    return rung < sweep_rung_count(sweep) ||
           error_set(err, EXIT_CODE_USAGE, "--rung: there is no rung %d, the last is %d", rung,
                     sweep_rung_count(sweep) - 1);
}

static bool work(struct sweep_folder *folder, const struct arguments *a,
                 const struct sweep_options *given, enum exit_code *code, struct error *err)
{
    struct sweep_options options = *given;
    const int runs = a->rung < 0 ? folder->sweep.run_count : SWEEP_RUNS_MAX;
    options.jobs = a->jobs > 0 ? a->jobs : 1;
    options.rung = a->rung;
    options.requeue = a->requeue;
    options.index = -1;
    return check_rung(&folder->sweep, a->rung, err) &&
           (options.prepare || find_index(a, runs, &options.index, err)) &&
           sweep_folder_make(folder, err) && sweep_execute(folder, &options, code, err) &&
           (options.prepare || judge(folder, &options, code, err));
}

static bool run_all(struct sweep_folder *folder, struct arguments *a, enum exit_code *code,
                    struct error *err)
{
    return work(folder, a, &(struct sweep_options) { 0 }, code, err);
}

static bool retry_failed(struct sweep_folder *folder, struct arguments *a, enum exit_code *code,
                         struct error *err)
{
    return check_made(folder, err) &&
           work(folder, a, &(struct sweep_options) { .retry = true }, code, err);
}

static bool prepare(struct sweep_folder *folder, struct arguments *a, enum exit_code *code,
                    struct error *err)
{
    return work(folder, a, &(struct sweep_options) { .prepare = true }, code, err);
}

/* --- slurm -------------------------------------------------------------------------------------*/

static bool write_jobs(struct sweep_folder *folder, struct arguments *a, enum exit_code *code,
                       struct error *err)
{
    struct sweep_jobs jobs;
    char *command[] = { "sh", jobs.submit, NULL };
    (void)code;
    if (!slurm_request_check(&a->request, err) || !sweep_folder_make(folder, err) ||
        (a->retry && !sweep_forget_failures(folder, err)) ||
        !sweep_jobs_write(folder, &a->request, a->jobs, &jobs, err))
        return false;
    if (jobs.tasks == 0) {
        printf("nothing is left to be done in %s\n", SHOWN(folder->path));
        return true;
    }
    if (!a->submit) {
        printf("%d tasks; to submit them: sh %s\n", jobs.tasks, WORD(jobs.submit));
        return true;
    }
    return slurm_run(command, -1, err) ||
           error_append(err, "; what is named above was submitted, %s has all", jobs.submit);
}

static const struct verb {
    const char *name;
    bool (*act)(struct sweep_folder *folder, struct arguments *a, enum exit_code *code,
                struct error *err);
} verbs[] = {
    { "run", run_all }, /* also what no word stands for */
    { "plan", print_plan },     { "prepare", prepare },    { "slurm", write_jobs },
    { "status", print_status }, { "retry", retry_failed }, { "report", write_report },
};

/* `sweep SWEEP` is `sweep run SWEEP`. */
static const struct verb *find_verb(const char *word, bool *given)
{
    *given = true;
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        if (strcmp(verbs[i].name, word) == 0) return &verbs[i];
    *given = false;
    return &verbs[0];
}

static enum exit_code run(void *arguments, int count, char **operands, struct error *err)
{
    bool given = false;
    const struct verb *verb = count > 0 ? find_verb(operands[0], &given) : NULL;
    struct sweep_folder folder;
    enum exit_code code = EXIT_CODE_OK;
    if (!verb || count < 1 + given) {
        error_set(err, EXIT_CODE_USAGE, "sweep: which sweep? See `micromet sweep --help`");
        return err->code;
    }
    operands += given;
    count -= given;
    struct arguments *a = arguments;
    const bool ok = sweep_folder_find(&folder, operands[0], count - 1, operands + 1, a->out, err) &&
                    verb->act(&folder, a, &code, err);
    sweep_folder_release(&folder);
    return ok ? code : err->code;
}

const struct subcommand command_sweep = {
    .name = "sweep",
    .summary = "train many variants of a configuration, and find the best",
    .operands = "[plan|run|prepare|slurm|status|retry|report] SWEEP.yaml|FOLDER|CONFIG "
                "key=value,value ...",
    .operand_kind = OPTION_FILE,
    .overrides = true,
    .description =
        "Trains each combination of values that SWEEP.yaml describes, or that Hydra's form of "
        "overrides gives: key=1,2 or key=choice(1,2) or key=range(1,10). Every value of every run "
        "is checked before the first begins. What is to be run is then frozen in a folder, which "
        "holds the runs' own folders (runs/0007) and can be named instead of the file.\n\n"
        "plan\tlists what would be run\n\n"
        "run\tdoes all that is left to be done; also what no word stands for\n\n"
        "prepare\tmakes the packs of all runs, which run does, too\n\n"
        "slurm\twrites batch scripts of what is left to be done: for each rung an array of a task "
        "for each run, behind the one before\n\n"
        "status\ttells which runs are done, running, failed and why, halted, pending, and the "
        "steps "
        "taken\n\n"
        "retry\truns again what has failed\n\n"
        "report\twrites report/index.html, a page of curves, parameters and tables that needs no "
        "network, and report/results.csv\n\n"
        "The file's sections: `base` (the configuration), `metric`: {name: validation.auc or "
        "validation.loss, goal: maximize or minimize}, `grid` (all combinations), `random` (runs, "
        "seed, and keys with a distribution: uniform, int_uniform, log_uniform_values, choice, "
        "constant), `paired` (lists that go together), `exclude` (combinations that are left "
        "out), `repeat` (each run with all of these; configurations are compared by the mean), "
        "`halving` (min_epochs, max_epochs, factor: all runs are trained for min_epochs, the best "
        "third, say, go on; train.epochs, which shapes the schedule, is max_epochs; with "
        "asynchronous: true a run goes on as soon as it is among the best third of those that have "
        "come as far, so that none waits, and the result depends on who came first), `name`.",
    .options = option_rows,
    ARGUMENTS(.index = -1, .rung = -1,
              .request = { .cpus = 4, .gpus = SLURM_GPUS_AS_CONFIGURED, .nodes = 1 }),
    .notes = "Several processes may work on one folder, on several machines: each takes runs that "
             "nobody has. Whatever ends them, `run` goes on where they were, and ends in the same "
             "bits. SIGINT, SIGTERM and SIGUSR1 make the trainings write checkpoints; the exit "
             "status is then 75. It is 3 if some runs have failed. To a sweep that has begun, even "
             "to one that is done, the file may add random.runs or values of the grid: the new "
             "runs come behind the others, none of which is run again.",
    .examples = "micromet sweep configs/seed.yaml optimizer.learning_rate=1e-4,3e-4 "
                "'data.levels=[2,3],[3,4]'\n"
                "micromet sweep plan sweep.yaml\n"
                "micromet sweep run sweep.yaml --jobs 4\n"
                "micromet sweep slurm sweep.yaml --time 4:00:00 --mem 16G --submit\n"
                "micromet sweep status runs/sweep --watch\n"
                "micromet sweep retry runs/sweep\n"
                "micromet sweep report runs/sweep\n",
    .run = run,
};
