/* What a training run is made of; shared by the files that open it (train_open.c), let it go on
 * from a checkpoint (train_resume.c) and run it (train.c). */
#ifndef MICROMET_RUN_TRAIN_PARTS_H
#define MICROMET_RUN_TRAIN_PARTS_H

#include "micromet/data/sampler.h"
#include "micromet/run/checkpoint.h"
#include "micromet/run/memory_plan.h"
#include "micromet/run/session.h"
#include "micromet/run/train.h"
#include "run_folder.h"

/* What the readers of training windows may keep of packs or slides. */
enum { READER_CACHE_BYTES = 128 << 20 };

struct trainer {
    const struct config *config;
    struct config resolved; /* what `config` points to: "auto" has become what it is */
    struct session session;
    struct manifest manifest;
    struct dataset train, validation;
    struct sampler sampler;
    struct model *model;
    struct run_folder folder;
    struct training_state state;
    struct checkpoint_input input;
    char *slides;            /* the input's */
    struct checkpoint start; /* where the run goes on, if `resumed` */
    bool resumed;
    struct loader_batch *slots;
    struct augment_draw *draws[TOWERS_MAX]; /* (batch) */
    int64_t steps_per_epoch;
    int64_t saved_step; /* of the newest checkpoint */
    struct memory_plan memory;
    int bad_slides;
    /* since the last log line */
    struct model_timing timing;
    double wait_s, started_s;
    int64_t logged_step;
};

/* Everything up to the first step; of a dry run, up to the memory plan. Whether it succeeds or not,
 * trainer_release() frees what there is. */
bool trainer_open(struct trainer *trainer, const struct train_options *options, struct error *err);
void trainer_release(struct trainer *trainer);
/* Where the device's memory ran out all the same, add the batch that it would do for
 * to the error. */
void trainer_advise_batch(const struct trainer *trainer, struct error *err);

/* Going on from a checkpoint, in the order of opening. */

/* Open the run's folder and its newest checkpoint (`start`), if the run goes on; without one it
 * starts anew. Refuses a configuration that makes it another run. required: there must be one. */
bool trainer_find_start(struct trainer *trainer, bool required, struct error *err);
/* Say what the run is trained on, and refuse to go on with anything else. */
bool trainer_check_data(struct trainer *trainer, struct error *err);
/* Take the state and the model's arrays from `start`, and close it. */
bool trainer_resume(struct trainer *trainer, struct error *err);

#endif
