/* A sweep as jobs of Slurm. In the sweep's folder:
 *
 *     slurm/prepare.sh      makes the packs, if that is left to be done
 *          /rung-0.sh       an array, a task for each run of the rung that is left to be done;
 *          /rung-0-1000.sh  its runs from place 1000 on
 *          /rung-1.sh ...
 *          /submit.sh       gives them to sbatch, each rung behind all tasks of the one before
 *
 * Which runs are on a later rung is not known yet: its tasks name places on it, as many as there
 * can be, and find their runs when they begin. */
#ifndef MICROMET_SWEEP_JOBS_H
#define MICROMET_SWEEP_JOBS_H

#include "micromet/run/slurm_script.h"
#include "micromet/sweep/folder.h"

/* Of an array: Slurm's MaxArraySize is 1001 unless a cluster has another one. */
enum { SWEEP_ARRAY_MAX = 1000 };

struct sweep_jobs {
    char submit[PATH_MAX_BYTES]; /* path of submit.sh */
    int tasks;                   /* of all arrays; 0 = nothing is left to be done, or written */
};

/* Write the scripts of all that is left to be done. at_once: tasks of an array at the same time;
 * 0 = as many as Slurm lets. Settles the request's GPUs. */
bool sweep_jobs_write(const struct sweep_folder *folder, struct slurm_request *request, int at_once,
                      struct sweep_jobs *jobs, struct error *err);

#endif
