/* The state of a training run, shared by the files that open it (train_open.c), resume it from a
 * checkpoint (train_resume.c) and run it (train.c). */
#ifndef MICROMET_RUN_TRAIN_PARTS_H
#define MICROMET_RUN_TRAIN_PARTS_H

#include "micromet/data/sampler.h"
#include "micromet/run/checkpoint.h"
#include "micromet/run/memory_plan.h"
#include "micromet/run/session.h"
#include "micromet/run/train.h"
#include "ranks.h"
#include "run_folder.h"

/* Limit of the caches of slides of all readers of training windows. Packs are not cached. */
enum { READER_CACHE_BYTES = 128 << 20 };

struct trainer {
    const struct config *config;
    struct config resolved; /* what `config` points to, with "auto" resolved */
    struct world *world;    /* of this process and others like it, or of itself alone */
    struct session session;
    struct manifest manifest;
    struct dataset train, validation;
    struct sampler sampler;
    struct model *model;
    struct run_folder folder;
    struct training_state state;
    struct checkpoint_input input;
    char *slides;            /* owner of input.slides */
    struct checkpoint start; /* the checkpoint to resume from, if `resumed` */
    bool resumed, finished;  /* finished: there is nothing left to train */
    int last_epoch;          /* train.epochs, or before it --until-epoch */
    json_t *changes;         /* what a resumed run changes: {key: [before, now]} */
    struct loader_batch *slots;
    struct augment_draw *draws[TOWERS_MAX]; /* (rows) */
    int rows;                               /* of a shard, the loader's batch */
    /* What this rank reads in an epoch, shard by shard, if that is not all of sampler.order. */
    struct sample *own_order;
    int64_t steps_per_epoch;
    int64_t first_step; /* where this process began */
    int64_t saved_step; /* of the newest checkpoint */
    struct memory_plan memory;
    int bad_slides;
    /* since the last log line */
    struct model_timing timing;
    double wait_s, started_s;
    int64_t logged_step;
    bool stop_agreed; /* some rank was asked to stop, and all know */
};

void trainer_init(struct trainer *trainer, const struct config *config, struct world *world,
                  const struct train_options *options);
/* Do everything up to the first step, or in a dry run up to the memory plan: all ranks, which then
 * have opened the same, or all fail with one error. Whether this succeeds or not, call
 * trainer_release(). */
bool trainer_open(struct trainer *trainer, const struct train_options *options, struct error *err);
void trainer_release(struct trainer *trainer);
/* If device memory has run out despite the plan, append the largest batch
 * that would fit to the error. */
void trainer_advise_batch(const struct trainer *trainer, struct error *err);

/* Resuming from a checkpoint, in the order of the calls. */

/* All ranks: open the run's folder and its newest checkpoint (`start`) if the run is to be resumed.
 * Without one it starts anew, unless --resume was given. Refuses a configuration that would make it
 * another run. Of a finished run, nothing more is opened. */
bool trainer_find_start(struct trainer *trainer, const struct train_options *options,
                        struct error *err);
/* Record what the run is trained on; when resuming, refuse anything else than before. */
bool trainer_check_data(struct trainer *trainer, struct error *err);
/* Restore the state and the model's arrays from `start`, and close it. */
bool trainer_resume(struct trainer *trainer, struct error *err);
/* Write config.yaml and begin or continue the logs: from here on, the run is trained. */
bool trainer_begin(struct trainer *trainer, struct error *err);

#endif
