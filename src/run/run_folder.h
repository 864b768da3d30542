/* The folder of a run: its lock, its log files and its checkpoints. */
#ifndef MICROMET_RUN_FOLDER_H
#define MICROMET_RUN_FOLDER_H

#include <jansson.h>

#include "micromet/base/config.h"
#include "micromet/base/lock_file.h"
#include "micromet/format/tensorboard.h"
#include "micromet/run/checkpoint.h"

struct run_folder {
    char path[PATH_MAX_BYTES], checkpoints[PATH_MAX_BYTES];
    struct lock_file lock; /* one training per folder */
    FILE *metrics;
    struct tensorboard *board;
};

/* Determine the run's folder, and no more. */
bool run_folder_name(struct run_folder *folder, const struct config *config, struct error *err);
/* Determine the run's folder without creating it. An existing one is locked until
 * run_folder_release(), and incomplete files of a killed run are removed from it; if another
 * training is using it, that is an error. */
bool run_folder_init(struct run_folder *folder, const struct config *config, struct error *err);
void run_folder_release(struct run_folder *folder);
/* Whether the run's files can be written, without writing them. */
bool run_folder_check(const struct run_folder *folder, struct error *err);
/* Create and lock the folder, write config.yaml, open metrics.jsonl and the event file.
 * Lines logged after `state`, which the run will write again, are dropped. */
bool run_folder_start(struct run_folder *folder, const struct config *config,
                      const struct training_state *state, struct error *err);
/* Append one object to metrics.jsonl and its numbers to TensorBoard, with tags "<group>/<key>".
 * Takes ownership of `object`. */
bool run_folder_log(struct run_folder *folder, const char *group, int64_t step, json_t *object,
                    struct error *err);

/* Path of the checkpoint with the highest step; "" if there is none. */
bool run_folder_latest(const struct run_folder *folder, char path[PATH_MAX_BYTES],
                       struct error *err);
void run_folder_checkpoint_path(const struct run_folder *folder, int64_t step,
                                char path[PATH_MAX_BYTES]);
/* Make best.safetensors a hard link to `path`, or a copy where there are no links. */
bool run_folder_mark_best(const struct run_folder *folder, const char *path, struct error *err);
/* Remove all but the newest `keep` step checkpoints. */
bool run_folder_prune(const struct run_folder *folder, int keep, struct error *err);

#endif
