/* Running a sweep on this machine: each run is a `micromet train` of its own. */
#ifndef MICROMET_SWEEP_EXECUTE_H
#define MICROMET_SWEEP_EXECUTE_H

#include "micromet/sweep/folder.h"

struct sweep_options {
    int jobs;     /* trainings at once, among which processors and GPUs are shared out */
    int index;    /* this run alone; -1 = all. With asynchronous halving, then those that go on */
    int rung;     /* what is left of the rungs before this one, then its run in place `index`; -1 =
                   * all rungs, and `index` is the run's number */
    bool prepare; /* no run: make the packs alone */
    bool retry;   /* runs that have failed are pending again */
    bool requeue; /* have Slurm start this job again if SIGUSR1 ends it, its time being up */
};

/* Do all that is left: make the packs, train, decide the rungs. SIGINT, SIGTERM and SIGUSR1 go to
 * the trainings, which write checkpoints; then *code is EXIT_CODE_INTERRUPTED. */
bool sweep_execute(const struct sweep_folder *folder, const struct sweep_options *options,
                   enum exit_code *code, struct error *err);

/* The run that the options ask for by its index; -1 = it is not, or not yet, on its rung. */
bool sweep_find_run(const struct sweep_folder *folder, const struct sweep_options *options,
                    int *run, struct error *err);
/* Failed runs become pending again, except where all decisions were made without them. */
bool sweep_forget_failures(const struct sweep_folder *folder, struct error *err);

/* The runs of a configuration that have come farthest. */
struct sweep_mean {
    int configuration;      /* number of its first run */
    int runs, done, failed; /* all; those that the mean is of; those that have failed */
    int epochs;             /* that these were to be trained; 0 = train.epochs */
    double mean, deviation; /* of the metric; NaN of none, and of fewer than two */
};

/* Each run as it stands: called for each in turn. */
struct sweep_line {
    int run, rung;     /* the highest rung that it is on */
    const char *state; /* "pending", "running", "waiting" for the rung's decision, "done", "failed",
                        * "halted" at its rung */
    struct sweep_outcome outcome;
    struct sweep_mean mean; /* of its configuration */
};
typedef void (*sweep_line_sink)(void *context, const struct sweep_folder *folder,
                                const struct sweep_line *line);

/* How a sweep stands. */
struct sweep_summary {
    int runs, running, pending, waiting, failed, partial;
    int done;   /* which will go no further */
    int halted; /* those of them that a rung left behind */
    int best;   /* the best run of the best configuration; -1 = none yet */
    struct sweep_mean best_mean;
};

/* `sink` may be NULL. */
bool sweep_survey(const struct sweep_folder *folder, sweep_line_sink sink, void *context,
                  struct sweep_summary *summary, struct error *err);

/* The optimizer's steps of all runs. */
struct sweep_progress {
    int64_t taken;
    int64_t expected;    /* with those that are to come, at most; 0 = not known */
    double seconds_left; /* at the speed of the trainings under way; NaN = not known */
};
bool sweep_measure(const struct sweep_folder *folder, struct sweep_progress *progress,
                   struct error *err);

#endif
