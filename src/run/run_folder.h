/* The files of one run: where they lie, and what is appended to them. */
#ifndef MICROMET_RUN_FOLDER_H
#define MICROMET_RUN_FOLDER_H

#include <jansson.h>

#include "micromet/base/config.h"
#include "micromet/base/lock.h"
#include "micromet/format/tensorboard.h"
#include "micromet/run/checkpoint.h"

struct run_folder {
    char path[PATH_MAX_BYTES], checkpoints[PATH_MAX_BYTES];
    struct lock_file lock; /* one training a folder */
    FILE *metrics;
    struct tensorboard *board;
};

/* Where the run's files lie; makes no folder. One that is there is locked until
 * run_folder_release(), or refused if another training works in it. */
bool run_folder_init(struct run_folder *folder, const struct config *config, struct error *err);
void run_folder_release(struct run_folder *folder);
/* Make and lock the folder, write config.yaml, open metrics.jsonl and the event file. Lines that a
 * run which has come to `state` will write again are dropped, and so are files that a killed run
 * left unfinished. */
bool run_folder_start(struct run_folder *folder, const struct config *config,
                      const struct training_state *state, struct error *err);
/* Append one object to metrics.jsonl and its numbers, tagged "<group>/<key>", to
 * TensorBoard. Takes `object`. */
bool run_folder_log(struct run_folder *folder, const char *group, int64_t step, json_t *object,
                    struct error *err);

/* Newest checkpoint by step; "" if there is none. */
bool run_folder_latest(const struct run_folder *folder, char path[PATH_MAX_BYTES],
                       struct error *err);
void run_folder_checkpoint_path(const struct run_folder *folder, int64_t step,
                                char path[PATH_MAX_BYTES]);
/* Make best.safetensors name the same file as `path`. */
bool run_folder_mark_best(const struct run_folder *folder, const char *path, struct error *err);
/* Remove all but the newest `keep` step checkpoints. */
bool run_folder_prune(const struct run_folder *folder, int keep, struct error *err);

#endif
