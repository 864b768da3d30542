/* Resuming from a checkpoint, and checking what may have changed since it was written. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dataset_fingerprint.h"
#include "micromet/base/log.h"
#include "micromet/base/size.h"
#include "micromet/slide/scale.h"
#include "train_parts.h"

/* Keys, or prefixes of keys, that may change when a run is resumed; any
 * other makes it another run. */
static const char *const changeable[] = {
    "name",
    "data.manifest",
    "data.pack",
    "data.source",
    "data.reader_threads",
    "data.ring",
    "model.weights",
    "optimizer.learning_rate",
    "schedule.",
    "train.epochs",
    "train.early_stop.",
    "train.resume",
    "train.requeue",
    "train.keep",
    "train.checkpoint_steps",
    "train.run",
    "compute.",
};

/* Of these, the keys that checkpoints do not hold. */
static const char *const not_held[] = { "train.run", "train.resume", "train.requeue" };

static bool begins_with_one_of(const char *key, const char *const *beginnings, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strncmp(key, beginnings[i], strlen(beginnings[i])) == 0) return true;
    return false;
}

static bool check_same_run(const struct checkpoint *checkpoint, const struct config *config,
                           struct error *err)
{
    char had[CONFIG_VALUE_MAX], has[CONFIG_VALUE_MAX];
    const char *key;
    for (int at = 0; (key = config_difference(&checkpoint->config, config, &at)) != NULL;) {
        if (begins_with_one_of(key, changeable, COUNT_OF(changeable))) continue;
        config_value(&checkpoint->config, key, had);
        config_value(config, key, has);
        return error_set(err, EXIT_CODE_USAGE,
                         "%s: was trained with another %s (%.100s; now %.100s); set it back to "
                         "resume, or give another name=... to train anew",
                         checkpoint->path, key, had, has);
    }
    return true;
}

/* Say which keys a resumed run changes, and keep it for the run's log. */
static void tell_changes(struct trainer *t)
{
    char had[CONFIG_VALUE_MAX], has[CONFIG_VALUE_MAX];
    const char *key;
    t->changes = json_object();
    for (int at = 0; (key = config_difference(&t->start.config, t->config, &at)) != NULL;) {
        if (begins_with_one_of(key, not_held, COUNT_OF(not_held))) continue;
        config_value(&t->start.config, key, had);
        config_value(t->config, key, has);
        log_info("changed: %s: %s -> %s", key, had, has);
        json_object_set_new(t->changes, key, json_pack("[s, s]", had, has));
    }
}

/* Whether `start` is the end of the run. Nothing of a finished run is written again. */
static bool is_finished(const struct trainer *t)
{
    const struct config_train *train = &t->config->train;
    const int patience = train->early_stop.patience;
    if (t->state.epoch >= t->last_epoch && t->last_epoch < train->epochs)
        log_info("nothing to train: %lld epochs are done, of --until-epoch %d",
                 (long long)t->state.epoch, t->last_epoch);
    else if (t->state.epoch >= train->epochs)
        log_info("nothing to train: %lld epochs are done; train.epochs=%lld would go on",
                 (long long)t->state.epoch, (long long)t->state.epoch + 1);
    else if (patience > 0 && t->state.stale_epochs >= patience)
        log_info("nothing to train: the last %lld epochs brought no gain, and "
                 "train.early_stop.patience is %d",
                 (long long)t->state.stale_epochs, patience);
    else
        return false;
    return true;
}

/* The run may have been killed after writing its best checkpoint, but before marking it. */
static bool mark_best(const struct trainer *t, struct error *err)
{
    const bool best = t->state.examples == 0 && t->state.epoch > 0 &&
                      t->state.best_epoch == t->state.epoch;
    return !best || run_folder_mark_best(&t->folder, t->start.path, err);
}

/* Lock the run's folder and find its newest checkpoint, "" = none, if that is allowed. */
static bool find_checkpoint(struct trainer *t, const struct train_options *options,
                            char path[PATH_MAX_BYTES], struct error *err)
{
    const bool go_on = options->resume || t->config->train.resume == RESUME_AUTO;
    if (!run_folder_init(&t->folder, t->config, err) || !run_folder_check(&t->folder, err) ||
        !run_folder_latest(&t->folder, path, err))
        return false;
    if (options->resume && !path[0])
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: holds no checkpoint to resume from; leave out --resume to start anew",
                         t->folder.checkpoints);
    if (!go_on && path[0])
        return error_set(err, EXIT_CODE_USAGE,
                         "%s: holds checkpoints of an earlier run; add --resume to go on, give "
                         "another name=... to keep it, or remove the folder",
                         t->folder.path);
    return true;
}

static bool open_start(struct trainer *t, const char *path, struct error *err)
{
    if (!checkpoint_open(&t->start, path, err))
        return error_prefix(err, "cannot resume (without this file from the one before it)");
    if (t->resolved.model.pool_padding == POOL_PADDING_AUTO)
        t->resolved.model.pool_padding = t->start.config.model.pool_padding;
    /* Earlier programs did not cut batches. */
    if (t->start.config.train.shards == 0) t->start.config.train.shards = 1;
    if (t->resolved.train.shards == 0) t->resolved.train.shards = t->start.config.train.shards;
    t->state = t->start.state;
    t->saved_step = t->state.step;
    if (!check_same_run(&t->start, t->config, err)) return false;
    return world_rank(t->world) > 0 || mark_best(t, err);
}

bool trainer_find_start(struct trainer *t, const struct train_options *options, struct error *err)
{
    char path[PATH_MAX_BYTES] = "";
    const bool found = world_rank(t->world) == 0 ? find_checkpoint(t, options, path, err)
                                                 : run_folder_name(&t->folder, t->config, err);
    if (!world_all_ok(t->world, found, err) || !world_broadcast(t->world, path, sizeof path, err))
        return false;
    t->resumed = path[0] != '\0';
    if (!t->resumed) return true;
    const bool opened = open_start(t, path, err);
    if (!world_all_ok(t->world, opened, err)) return false;
    t->finished = is_finished(t);
    return true;
}

/* The same windows at another scale, by data.mpp_override or the manifest, are other data. */
static bool check_scale(const struct trainer *t, struct error *err)
{
    char text[TOWER_TEXT_BYTES];
    for (int i = 0; i < t->config->data.level_count; i++) {
        const double had = t->start.input.um_per_px[i], has = t->input.um_per_px[i];
        if (fabs(has - had) <= 1e-3 * had) continue;
        return error_set(err, EXIT_CODE_USAGE,
                         "%s: was trained on %.4g µm/px at %s, the slides of %s now have %.4g; set "
                         "it back to resume, or give another name=... to train anew",
                         t->start.path, had, tower_text(&t->config->data, i, text),
                         t->config->data.manifest, has);
    }
    return true;
}

bool trainer_check_data(struct trainer *t, struct error *err)
{
    char difference[FINGERPRINT_DIFFERENCE_BYTES];
    const struct checkpoint *start = &t->start;
    t->input.slides = t->slides = dataset_fingerprint(&t->train, &t->validation);
    if (!t->slides) return error_set(err, EXIT_CODE_FAILED, "no memory for a list of slides");
    if (t->resumed && !start->input.slides)
        log_warning("%s: does not say which slides it was trained on (an earlier program wrote "
                    "it): whether they are the same is not checked",
                    start->path);
    if (t->resumed && !check_scale(t, err)) return false;
    if (!t->resumed || !start->input.slides ||
        dataset_fingerprint_equal(start->input.slides, t->slides, difference))
        return true;
    return error_set(err, EXIT_CODE_USAGE,
                     "%s: was trained on other data: %s; set %s and the packs back to resume, or "
                     "give another name=... to train anew",
                     start->path, difference, t->config->data.manifest);
}

bool trainer_resume(struct trainer *t, struct error *err)
{
    const double rate = t->config->optimizer.learning_rate;
    if (t->start.config.optimizer.learning_rate != rate) t->state.schedule.plateau_rate = rate;
    const bool applied = checkpoint_apply(&t->start, t->model, true, err);
    checkpoint_release(&t->start); /* so that its file can be deleted */
    if (!applied) return false;
    log_info("resuming from %s", t->start.path);
    tell_changes(t);
    return true;
}

bool trainer_begin(struct trainer *t, struct error *err)
{
    if (!run_folder_start(&t->folder, t->config, &t->state, err)) return false;
    if (json_object_size(t->changes) == 0) return true;
    json_t *line = json_pack("{s:I, s:O}", "epoch", (json_int_t)t->state.epoch, "changed",
                             t->changes);
    return run_folder_log(&t->folder, "resume", t->state.step, line, err);
}
