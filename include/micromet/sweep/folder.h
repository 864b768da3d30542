/* The folder of a sweep. What is to be run is frozen in it when it is made; what has become of the
 * runs is told by files that appear whole, so that any number of processes on any number of
 * machines may work on it, and none has to be told of another.
 *
 *     sweep.yaml         the sweep as it was when the folder was made
 *     plan.csv           the runs: number, values, epochs, steps
 *     configs/0007.yaml  the whole configuration of a run
 *     runs/0007/         its run folder
 *     state/0007.json    what became of it, once it is done or has failed
 *          /0007.lock    held by whoever runs it
 *          /0007.log     what its trainings said
 *     rungs/0.json       which runs go on behind rung 0; then 0.1.json, 0.2.json, ...: each
 *                        decision is written once, by link
 *     slurm/             batch scripts, and what their jobs said
 *
 * A sweep that grows gets its later texts as sweep.1.yaml, sweep.2.yaml, ...; runs keep their
 * numbers, and the new ones come behind them. */
#ifndef MICROMET_SWEEP_FOLDER_H
#define MICROMET_SWEEP_FOLDER_H

#include "micromet/sweep/sweep.h"

struct sweep_folder {
    char path[PATH_MAX_BYTES];
    struct sweep sweep;
    char *text; /* of the sweep */
    size_t text_size;
    int made_runs;        /* runs that are frozen; 0 = the folder is not made */
    int made_generations; /* of them */
};

/* What the command line names: the folder of a sweep, a sweep's file, or a configuration with
 * Hydra's overrides. A folder that is not there yet is named by `out`, or NULL for
 * <train.run>/<name>, and not made. Checks the configurations of all runs of a file. A folder that
 * is there must be of the same sweep, or of one that the file has more runs than. */
bool sweep_folder_find(struct sweep_folder *folder, const char *what, int override_count,
                       char *const *overrides, const char *out, struct error *err);
/* Make the folder and what is frozen in it, or the part of it that is not there. */
bool sweep_folder_make(struct sweep_folder *folder, struct error *err);
void sweep_folder_release(struct sweep_folder *folder);
bool sweep_folder_is_made(const struct sweep_folder *folder);

/* folder/part/0007suffix */
bool sweep_folder_path(const struct sweep_folder *folder, const char *part, int run,
                       const char *suffix, char path[PATH_MAX_BYTES], struct error *err);
/* A run's configuration, as it is or will be frozen. */
bool sweep_folder_config(const struct sweep_folder *folder, int run, struct config *config,
                         struct error *err);
/* Optimizer's steps of a whole run; 0 = not known before its windows are counted. */
int64_t sweep_steps(const struct config *config);

/* --- what became of a run ----------------------------------------------------------------------*/

enum sweep_state { SWEEP_PENDING, SWEEP_DONE, SWEEP_FAILED };

struct sweep_outcome {
    enum sweep_state state;
    int epochs;   /* of which it was to be trained; 0 = train.epochs */
    double score; /* the metric, best of these epochs; NaN if it has failed */
    bool partial; /* slides were left out */
    char reason[512];
};
bool sweep_outcome_read(const struct sweep_folder *folder, int run, struct sweep_outcome *outcome,
                        struct error *err);
bool sweep_outcome_write(const struct sweep_folder *folder, int run,
                         const struct sweep_outcome *outcome, struct error *err);
/* Whether nothing is left to be done for a rung that trains so many epochs. */
bool sweep_outcome_is_final(const struct sweep_outcome *outcome, int epochs);

#endif
