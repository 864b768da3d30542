/* micromet sweep: many trainings of one configuration. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "micromet/base/log.h"
#include "micromet/base/size.h"
#include "micromet/base/text.h"
#include "micromet/sweep/execute.h"
#include "micromet/sweep/report.h"

struct arguments {
    const char *out;
    int jobs, index;
    bool watch;
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
      .help = "run, retry: trainings at once; the processors are shared out" },
    { .name = "index",
      .kind = OPTION_INT,
      FIELD(index),
      .min = 0,
      .max = SWEEP_RUNS_MAX - 1,
      .value = "I",
      .absent = "all; or as SLURM_ARRAY_TASK_ID or JOB_COMPLETION_INDEX says",
      .help = "run, retry: this run alone" },
    { .name = "watch",
      .kind = OPTION_FLAG,
      FIELD(watch),
      .help = "status: again every two seconds, until nothing is left to be done" },
    { 0 },
};

static void print_values(const struct sweep *sweep, int run)
{
    for (int i = 0; i < sweep->column_count; i++)
        printf("  %s=%s", sweep->columns[i].key, SHOWN(sweep->runs[run].values[i].value));
}

/* --- plan --------------------------------------------------------------------------------------*/

static void print_rungs(const struct sweep *sweep)
{
    const int rungs = sweep_rung_count(sweep);
    int64_t epochs = 0, whole = 0;
    if (rungs == 1) return;
    for (int rung = 0; rung < rungs; rung++) {
        const int until = sweep_rung_epochs(sweep, rung), runs = sweep_rung_runs(sweep, rung);
        const int from = rung ? sweep_rung_epochs(sweep, rung - 1) : 0;
        printf("rung %d: %d runs to epoch %d\n", rung, runs, until);
        epochs += (int64_t)runs * (until - from);
        whole += rung ? 0 : (int64_t)runs * sweep_rung_epochs(sweep, rungs - 1);
    }
    printf("halving: %" PRId64 " of %" PRId64 " epochs (%.0f %%)\n", epochs, whole,
           100.0 * (double)epochs / (double)whole);
}

static bool print_plan(const struct sweep_folder *folder, const struct arguments *a,
                       enum exit_code *code, struct error *err)
{
    const struct sweep *sweep = &folder->sweep;
    int64_t all = 0;
    bool known = true;
    (void)a;
    (void)code;
    for (int run = 0; run < sweep->run_count; run++) {
        struct config config;
        if (!sweep_folder_config(folder, run, &config, err)) return false;
        const int64_t steps = sweep_steps(&config);
        printf("%04d", run);
        print_values(sweep, run);
        printf("  %d epochs", config.train.epochs);
        if (steps) printf(", %" PRId64 " steps", steps);
        printf("\n");
        known = known && steps;
        all += steps;
    }
    printf("%d runs in %s", sweep->run_count, SHOWN(folder->path));
    if (known) printf(", %" PRId64 " steps", all);
    printf("\n");
    if (!known) printf("steps are known where train.examples_per_epoch is given\n");
    print_rungs(sweep);
    return true;
}

/* --- status ------------------------------------------------------------------------------------*/

static void print_line(void *context, const struct sweep_folder *folder,
                       const struct sweep_line *line)
{
    (void)context;
    printf("%04d  %-7s", line->run, line->state);
    if (line->outcome.state == SWEEP_DONE) printf("  %.6g", line->outcome.score);
    if (line->outcome.state == SWEEP_DONE && line->outcome.epochs)
        printf(" (epoch %d)", line->outcome.epochs);
    print_values(&folder->sweep, line->run);
    if (line->outcome.state == SWEEP_FAILED) printf("  %s", SHOWN(line->outcome.reason));
    printf("\n");
}

static void print_summary(const struct sweep_folder *folder, const struct sweep_summary *summary)
{
    printf("%d of %d runs done", summary->done, summary->runs);
    if (summary->halted) printf(" (%d halted)", summary->halted);
    printf(", %d failed\n", summary->failed);
    if (summary->best < 0) return;
    printf("best: run %04d, %s %.6g:", summary->best, folder->sweep.metric->name,
           summary->best_outcome.score);
    print_values(&folder->sweep, summary->best);
    printf("\n");
}

static bool print_status(const struct sweep_folder *folder, const struct arguments *a,
                         enum exit_code *code, struct error *err)
{
    struct sweep_summary summary;
    (void)code;
    if (!sweep_folder_is_made(folder))
        return error_set(err, EXIT_CODE_FAILED, "%s: nothing was run yet", folder->path);
    for (;;) {
        if (a->watch && isatty(STDOUT_FILENO)) printf("\033[H\033[2J");
        if (!sweep_survey(folder, print_line, NULL, &summary, err)) return false;
        print_summary(folder, &summary);
        fflush(stdout);
        if (!a->watch || summary.done + summary.failed == summary.runs) return true;
        nanosleep(&(struct timespec) { .tv_sec = 2 }, NULL);
    }
}

/* --- report ------------------------------------------------------------------------------------*/

static bool write_report(const struct sweep_folder *folder, const struct arguments *a,
                         enum exit_code *code, struct error *err)
{
    char page[PATH_MAX_BYTES];
    (void)a;
    (void)code;
    if (!sweep_folder_is_made(folder))
        return error_set(err, EXIT_CODE_FAILED, "%s: nothing was run yet", folder->path);
    if (!sweep_report(folder, page, err)) return false;
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

/* What is said of all runs, or of the one that was asked for, decides the exit status. */
static bool judge(const struct sweep_folder *folder, int index, enum exit_code *code,
                  struct error *err)
{
    struct sweep_summary summary;
    struct sweep_outcome outcome;
    if (!sweep_survey(folder, NULL, NULL, &summary, err)) return false;
    print_summary(folder, &summary);
    if (*code != EXIT_CODE_OK) return true;
    if (index >= 0) {
        if (!sweep_outcome_read(folder, index, &outcome, err)) return false;
        if (outcome.partial) *code = EXIT_CODE_PARTIAL;
        return outcome.state != SWEEP_FAILED ||
               error_set(err, EXIT_CODE_FAILED, "run %04d failed: %s", index, outcome.reason);
    }
    if (summary.failed > 0)
        return error_set(err, summary.done ? EXIT_CODE_PARTIAL : EXIT_CODE_FAILED,
                         "%d of %d runs failed (reasons above); once the cause is mended: "
                         "micromet sweep retry %s",
                         summary.failed, summary.runs, folder->path);
    if (summary.partial) *code = EXIT_CODE_PARTIAL;
    return true;
}

static bool work(const struct sweep_folder *folder, const struct arguments *a, bool retry,
                 enum exit_code *code, struct error *err)
{
    struct sweep_options options = { .jobs = a->jobs, .retry = retry };
    if (!find_index(a, folder->sweep.run_count, &options.index, err) ||
        !sweep_folder_make(folder, err) || !sweep_execute(folder, &options, code, err))
        return false;
    return judge(folder, options.index, code, err);
}

static bool run_all(const struct sweep_folder *folder, const struct arguments *a,
                    enum exit_code *code, struct error *err)
{
    return work(folder, a, false, code, err);
}

static bool retry_failed(const struct sweep_folder *folder, const struct arguments *a,
                         enum exit_code *code, struct error *err)
{
    if (!sweep_folder_is_made(folder))
        return error_set(err, EXIT_CODE_FAILED, "%s: nothing was run yet", folder->path);
    return work(folder, a, true, code, err);
}

static const struct verb {
    const char *name;
    bool (*act)(const struct sweep_folder *folder, const struct arguments *a, enum exit_code *code,
                struct error *err);
} verbs[] = {
    { "plan", print_plan },    { "run", run_all },         { "status", print_status },
    { "retry", retry_failed }, { "report", write_report },
};

/* `sweep SWEEP` is `sweep run SWEEP`. */
static const struct verb *find_verb(const char *word, bool *given)
{
    *given = true;
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        if (strcmp(verbs[i].name, word) == 0) return &verbs[i];
    *given = false;
    return &verbs[1];
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
    const struct arguments *a = arguments;
    const bool ok = sweep_folder_find(&folder, operands[0], count - 1, operands + 1, a->out, err) &&
                    verb->act(&folder, a, &code, err);
    sweep_folder_release(&folder);
    return ok ? code : err->code;
}

const struct subcommand command_sweep = {
    .name = "sweep",
    .summary = "train many variants of a configuration, and find the best",
    .operands = "[plan|run|status|retry|report] SWEEP.yaml|FOLDER|CONFIG key=value,value ...",
    .operand_kind = OPTION_FILE,
    .overrides = true,
    .description =
        "Trains each combination of values that SWEEP.yaml describes, or that Hydra's form of "
        "overrides gives: key=1,2 or key=choice(1,2) or key=range(1,10). Every value of every run "
        "is checked before the first begins. What is to be run is then frozen in a folder, which "
        "holds the runs' own folders (runs/0007) and can be named instead of the file.\n\n"
        "plan\tlists what would be run\n\n"
        "run\tdoes all that is left to be done; also what no word stands for\n\n"
        "status\ttells which runs are done, running, failed and why, halted, pending\n\n"
        "retry\truns again what has failed\n\n"
        "report\twrites report/index.html, a page of curves, parameters and tables that needs no "
        "network, and report/results.csv\n\n"
        "The file's sections: `base` (the configuration), `metric`: {name: validation.auc or "
        "validation.loss, goal: maximize or minimize}, `grid` (all combinations), `random` (runs, "
        "seed, and keys with a distribution: uniform, int_uniform, log_uniform_values, choice, "
        "constant), `paired` (lists that go together), `exclude` (combinations that are left "
        "out), `repeat` (each run with all of these), `halving` (min_epochs, max_epochs, factor: "
        "all runs are trained for min_epochs, the best third, say, go on; train.epochs, which "
        "shapes the schedule, is max_epochs), `name`.",
    .options = option_rows,
    ARGUMENTS(.jobs = 1, .index = -1),
    .notes = "Several processes may work on one folder, on several machines: each takes runs that "
             "nobody has. Whatever ends them, `run` goes on where they were, and ends in the same "
             "bits. SIGINT, SIGTERM and SIGUSR1 make the trainings write checkpoints; the exit "
             "status is then 75. It is 3 if some runs have failed.",
    .examples = "micromet sweep configs/seed.yaml optimizer.learning_rate=1e-4,3e-4 "
                "'data.levels=[2,3],[3,4]'\n"
                "micromet sweep plan sweep.yaml\n"
                "micromet sweep run sweep.yaml --jobs 4\n"
                "micromet sweep status runs/sweep --watch\n"
                "micromet sweep retry runs/sweep\n"
                "micromet sweep report runs/sweep\n",
    .run = run,
};
