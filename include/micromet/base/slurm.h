/* The Slurm job that this process runs in, by Slurm's environment variables; requeueing it. */
#ifndef MICROMET_BASE_SLURM_H
#define MICROMET_BASE_SLURM_H

#include "micromet/base/error.h"

enum { SLURM_JOB_BYTES = 32 };

/* The job as scontrol names it: "4711", or "4711_3" for a task of an array, which is requeued alone
 * only by that name. False outside of Slurm. */
bool slurm_job(char job[SLURM_JOB_BYTES]);
/* How often Slurm has started the job again; 0 for its first start, or outside of Slurm. */
int slurm_restarts(void);

/* Whether slurm_requeue() finds its program, scontrol; always outside of Slurm. */
bool slurm_requeue_check(struct error *err);
/* Have the job wait in Slurm's queue again. Slurm then ends all of its processes, this one
 * included, so come here last. */
bool slurm_requeue(const char *job, struct error *err);

/* Run a program of Slurm's, found on PATH, without a shell, and wait for it. `input`: descriptor of
 * its standard input, or -1 = none. Its messages go where this program's go. */
bool slurm_run(char *const *arguments, int input, struct error *err);

#endif
