/* Running a sweep on this machine: each run is a `micromet train` of its own. */
#ifndef MICROMET_SWEEP_EXECUTE_H
#define MICROMET_SWEEP_EXECUTE_H

#include "micromet/sweep/folder.h"

struct sweep_options {
    int jobs;   /* trainings at once, among which the processors are shared out */
    int index;  /* this run alone; -1 = all */
    bool retry; /* runs that have failed are pending again */
};

/* How a sweep stands. */
struct sweep_summary {
    int runs, done, failed, partial; /* done: of the last rung that each has reached */
    int halted;                      /* done, of those a rung left behind */
    int best;                        /* run; -1 = none yet */
    struct sweep_outcome best_outcome;
};

/* Do all that is left: make the packs, train, decide the rungs. SIGINT, SIGTERM and SIGUSR1 go to
 * the trainings, which write checkpoints; then *code is EXIT_CODE_INTERRUPTED. */
bool sweep_execute(const struct sweep_folder *folder, const struct sweep_options *options,
                   enum exit_code *code, struct error *err);

/* Each run as it stands: called for each in turn. */
struct sweep_line {
    int run;
    const char *state; /* "pending", "running", "done", "failed", "halted" */
    struct sweep_outcome outcome;
};
typedef void (*sweep_line_sink)(void *context, const struct sweep_folder *folder,
                                const struct sweep_line *line);
/* `sink` may be NULL. */
bool sweep_survey(const struct sweep_folder *folder, sweep_line_sink sink, void *context,
                  struct sweep_summary *summary, struct error *err);

#endif
