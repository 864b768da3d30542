/* One training as a process of its own. */
#ifndef MICROMET_SWEEP_TRAINING_H
#define MICROMET_SWEEP_TRAINING_H

#include <sys/types.h>

#include "parts.h"
#include "share.h"

struct training {
    pid_t pid; /* 0 = none */
    int run, epochs;
    struct lock_file lock; /* the run's; the process holds it, too, until its end */
};

/* Try to begin a run: *begun is false if someone else has it, or nothing is left to be done for
 * this rung; then *final says which. It never requeues a Slurm job: others may be at work in it. */
bool training_begin(struct training *training, const struct sweep_folder *folder, int run,
                    int epochs, const struct share *share, bool *begun, bool *final,
                    struct error *err);
/* Record what has become of it, from the status that waitpid() gave, and let go of the run. *ended
 * is false if it was stopped and can go on. */
bool training_end(struct training *training, const struct sweep_folder *folder, int status,
                  bool *ended, struct error *err);

#endif
