/* The training loop. The idea: `struct training_state` is all that a step depends on beside the
 * arrays of the model, so stopping anywhere between two steps and going on from a checkpoint gives
 * the same bits. */
#include "micromet/run/train.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "dataset_fingerprint.h"
#include "initial_weights.h"
#include "micromet/base/log.h"
#include "micromet/base/thread.h"
#include "micromet/data/augment.h"
#include "micromet/data/loader.h"
#include "micromet/report/metrics.h"
#include "micromet/run/memory_plan.h"
#include "micromet/run/predict.h"
#include "micromet/run/session.h"
#include "run_folder.h"

enum { LOG_STEPS = 10 };
static const size_t reader_cache_bytes = (size_t)128 << 20;

static volatile sig_atomic_t stop_signal; /* set by the handler, read between steps */

static void on_signal(int number)
{
    stop_signal = number;
}

static void catch_signals(void)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGUSR1 };
    const struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    stop_signal = 0;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(signals[i], &action, NULL);
}

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
    struct loader_batch *under_way[PASSES_MAX]; /* submitted, not yet collected; oldest first */
    double rates[PASSES_MAX];                   /* of these */
    /* since the last log line */
    struct model_timing timing;
    double wait_s, started_s;
    int64_t logged_step;
};

/* An AUC needs both classes; better told now than behind an epoch. */
static bool check_classes(const struct dataset *dataset, const struct manifest *manifest,
                          enum split split, struct error *err)
{
    if (dataset->tumor_count > 0 && dataset->tumor_count < dataset->count) return true;
    return error_set(err, EXIT_CODE_FAILED,
                     "%s: the %s slides hold no %s window; give them slides of both classes",
                     manifest->path, split_name(split),
                     dataset->tumor_count > 0 ? "normal" : "tumour");
}

/* Says what the run is trained on, and refuses to go on with anything else. */
static bool record_data(struct trainer *t, struct error *err)
{
    char difference[FINGERPRINT_DIFFERENCE_BYTES];
    const struct checkpoint *start = &t->start;
    t->input.slides = t->slides = dataset_fingerprint(&t->train, &t->validation);
    if (!t->slides) return error_set(err, EXIT_CODE_FAILED, "no memory for a list of slides");
    if (t->resumed && !start->input.slides)
        log_warning("%s: does not say which slides it was trained on (an earlier program wrote "
                    "it): whether they are the same is not checked",
                    start->path);
    if (!t->resumed || !start->input.slides ||
        dataset_fingerprint_equal(start->input.slides, t->slides, difference))
        return true;
    return error_set(err, EXIT_CODE_USAGE,
                     "%s: was trained on other data: %s; set %s and the packs back to resume, or "
                     "give another name=... to train anew",
                     start->path, difference, t->config->data.manifest);
}

static bool open_data(struct trainer *t, struct error *err)
{
    const struct config *config = t->config;
    int bad_train = 0, bad_validation = 0;
    if (!dataset_init(&t->train, config, &t->manifest, SPLIT_TRAIN, &bad_train, err) ||
        !dataset_init(&t->validation, config, &t->manifest, SPLIT_VALIDATION, &bad_validation,
                      err) ||
        !check_classes(&t->train, &t->manifest, SPLIT_TRAIN, err) ||
        !check_classes(&t->validation, &t->manifest, SPLIT_VALIDATION, err) || !record_data(t, err))
        return false;
    t->bad_slides = bad_train + bad_validation;
    if (!sampler_init(&t->sampler, &t->train, config->data.sampling, config->seed,
                      config->train.examples_per_epoch, err))
        return false;
    t->steps_per_epoch = t->sampler.examples_per_epoch / config->train.batch;
    if (t->steps_per_epoch == 0)
        return error_set(err, EXIT_CODE_USAGE,
                         "train.batch: %d is more than the %lld windows of an epoch; lower it, or "
                         "raise train.examples_per_epoch",
                         config->train.batch, (long long)t->sampler.examples_per_epoch);
    for (int i = 0; i < config->data.level_count; i++) {
        t->input.downsamples[i] = t->train.slides[0].downsamples[i];
        t->input.um_per_px[i] = t->train.slides[0].mpp_x * t->input.downsamples[i];
    }
    log_info("train: %lld windows (%lld tumour) of %d slides; validation: %lld windows (%lld "
             "tumour) of %d slides",
             (long long)t->train.count, (long long)t->train.tumor_count, t->train.slide_count,
             (long long)t->validation.count, (long long)t->validation.tumor_count,
             t->validation.slide_count);
    return true;
}

/* Before anything is allocated: a batch that does not fit is told of at once, with one that does.
 */
static bool plan_memory(struct trainer *t, struct error *err)
{
    if (!memory_plan_make(&t->memory, t->config, t->session.backend, t->session.activations, err))
        return false;
    if (!memory_plan_check(&t->memory, err)) {
        memory_plan_print(&t->memory);
        return false;
    }
    fusion_warn(&t->memory.fusion);
    return true;
}

/* Before the data: a slip in model.weights must not cost a walk over all slides. A run that goes on
 * has its weights in the checkpoint. */
static bool open_model(struct trainer *t, bool verbose, struct error *err)
{
    const struct config *config = t->config;
    const bool given = !t->resumed && strcmp(config->model.weights, "random") != 0;
    struct pretrained pretrained = { 0 };
    if (given && !initial_weights_open(&pretrained, &t->resolved, err)) return false;
    const struct model_spec spec = model_spec_from_config(
        config, t->session.activations, t->resumed ? t->start.gamma : pretrained.gamma, true);
    bool head_taken = false;
    bool ok = model_init(&t->model, t->session.backend, &spec, err) &&
              (t->resumed
                   ? model_refresh(t->model, err) /* its plans then hold all that they will */
                   : model_randomize(t->model, config->seed, err)) &&
              (!given || pretrained_apply(&pretrained, t->model, &head_taken, err));
    if (ok && given) initial_weights_log(&pretrained, spec.towers, head_taken, verbose);
    pretrained_release(&pretrained);
    if (ok)
        log_info("model: %lld values, %lld train; %s; average pools %s padding",
                 (long long)model_values(t->model), (long long)model_trainable_values(t->model),
                 given        ? "weights as above"
                 : t->resumed ? "weights of the checkpoint"
                              : "random weights",
                 pool_padding_name(spec.model.pool_padding));
    return ok;
}

/* Keys, or beginnings of keys, that may change when a run goes on; any other makes another run. */
static const char *const changeable[] = {
    "name",          "data.manifest",           "data.pack",
    "data.source",   "data.reader_threads",     "data.ring",
    "model.weights", "optimizer.learning_rate", "schedule.",
    "train.epochs",  "train.early_stop.",       "train.resume",
    "train.keep",    "train.checkpoint_steps",  "train.run",
    "compute.",
};

static bool may_change(const char *key)
{
    for (size_t i = 0; i < sizeof changeable / sizeof changeable[0]; i++)
        if (strncmp(key, changeable[i], strlen(changeable[i])) == 0) return true;
    return false;
}

static bool check_same_run(const struct checkpoint *checkpoint, const struct config *config,
                           struct error *err)
{
    const char *key;
    for (int at = 0; (key = config_difference(&checkpoint->config, config, &at)) != NULL;)
        if (!may_change(key))
            return error_set(err, EXIT_CODE_USAGE,
                             "%s: was trained with another %s; set it back to resume, or give "
                             "another name=... to train anew",
                             checkpoint->path, key);
    return true;
}

/* Opens the newest checkpoint if the run goes on; without one it starts anew. */
static bool find_start(struct trainer *t, bool required, struct error *err)
{
    const bool go_on = required || t->config->train.resume == RESUME_AUTO;
    char path[PATH_MAX_BYTES];
    if (!run_folder_init(&t->folder, t->config, err) || !run_folder_latest(&t->folder, path, err))
        return false;
    if (required && !path[0])
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: holds no checkpoint to resume from; leave out --resume to start anew",
                         t->folder.checkpoints);
    if (!go_on && path[0])
        return error_set(err, EXIT_CODE_USAGE,
                         "%s: holds checkpoints of an earlier run; add --resume to go on, give "
                         "another name=... to keep it, or remove the folder",
                         t->folder.path);
    t->resumed = path[0] != '\0';
    if (!t->resumed) return true;
    if (!checkpoint_open(&t->start, path, err))
        return error_prefix(err, "cannot resume (without this file from the one before it)");
    if (t->resolved.model.pool_padding == POOL_PADDING_AUTO)
        t->resolved.model.pool_padding = t->start.config.model.pool_padding;
    return check_same_run(&t->start, t->config, err);
}

static bool resume(struct trainer *t, struct error *err)
{
    const double rate = t->config->optimizer.learning_rate;
    t->state = t->start.state;
    t->saved_step = t->state.step;
    if (t->start.config.optimizer.learning_rate != rate) t->state.schedule.plateau_rate = rate;
    const bool applied = checkpoint_apply(&t->start, t->model, true, err);
    checkpoint_release(&t->start); /* the file may be pruned */
    if (!applied) return false;
    log_info("resuming from %s", t->start.path);
    /* A kill may have come between writing the best checkpoint and marking it. */
    const bool best = t->state.examples == 0 && t->state.epoch > 0 &&
                      t->state.best_epoch == t->state.epoch;
    return !best || run_folder_mark_best(&t->folder, t->start.path, err);
}

static bool save(struct trainer *t, char path[PATH_MAX_BYTES], struct error *err)
{
    run_folder_checkpoint_path(&t->folder, t->state.step, path);
    backend_range_push(t->session.backend, "checkpoint");
    const bool written = checkpoint_write(path, t->model, t->config, &t->state, &t->input, err);
    backend_range_pop(t->session.backend);
    if (!written)
        return error_prefix(err, "no checkpoint at step %lld, earlier ones are intact (--resume)",
                            (long long)t->state.step);
    t->saved_step = t->state.step;
    return run_folder_prune(&t->folder, t->config->train.keep, err);
}

static double percent(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

static bool log_steps(struct trainer *t, float loss, double rate, struct error *err)
{
    const double now_s = clock_seconds(), spent_s = now_s - t->started_s;
    const int64_t steps = t->state.step - t->logged_step;
    const struct model_timing *m = &t->timing;
    const double pairs_per_s = (double)(steps * t->config->train.batch) / spent_s;
    json_t *line = json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "epoch",
                             (json_int_t)t->state.epoch, "loss", (double)loss, "learning_rate",
                             rate, "windows_per_s", pairs_per_s, "wait_share", t->wait_s / spent_s,
                             "augment_share", m->augment_s / spent_s, "forward_share",
                             m->forward_s / spent_s, "backward_share", m->backward_s / spent_s,
                             "update_share", m->update_s / spent_s);
    const bool ok = run_folder_log(&t->folder, "train", t->state.step, line, err);
    log_info("epoch %lld step %lld/%lld loss %.4f lr %.3g | %.1f windows/s | wait %.0f%% augment "
             "%.0f%% forward %.0f%% backward %.0f%% update %.0f%%",
             (long long)t->state.epoch + 1, (long long)(t->state.examples / t->config->train.batch),
             (long long)t->steps_per_epoch, loss, rate, pairs_per_s, percent(t->wait_s, spent_s),
             percent(m->augment_s, spent_s), percent(m->forward_s, spent_s),
             percent(m->backward_s, spent_s), percent(m->update_s, spent_s));
    t->timing = (struct model_timing) { 0 };
    t->wait_s = 0;
    t->started_s = now_s;
    t->logged_step = t->state.step;
    return ok;
}

/* Put the step behind those under way on the device. */
static bool submit_step(struct trainer *t, struct loader_batch *slot, struct error *err)
{
    const struct config *config = t->config;
    const int towers = config->data.level_count;
    struct model_batch batch = { .labels = slot->labels, .count = slot->count };
    for (int i = 0; i < slot->count; i++) {
        struct augment_draw draws[TOWERS_MAX];
        augment_draw(&config->augment, towers, config->seed, (uint32_t)t->state.epoch,
                     (uint64_t)(slot->first + i), draws);
        for (int k = 0; k < towers; k++) t->draws[k][i] = draws[k];
    }
    for (int k = 0; k < towers; k++) {
        batch.pixels[k] = slot->pixels[k];
        batch.draws[k] = t->draws[k];
    }
    const int64_t epoch_examples = t->steps_per_epoch * config->train.batch;
    const int64_t examples = t->state.epoch * epoch_examples + slot->first;
    const int under_way = model_in_flight(t->model);
    t->rates[under_way] = schedule_rate(&t->state.schedule, config, examples,
                                        epoch_examples * config->train.epochs);
    t->under_way[under_way] = slot;
    return model_train_submit(t->model, &batch, (float)t->rates[under_way],
                              t->state.step + under_way + 1, config->seed, err);
}

/* Wait for the oldest step under way: only then does the state know of it. */
static bool collect_step(struct trainer *t, struct loader *loader, struct error *err)
{
    struct loader_batch *slot = t->under_way[0];
    const double rate = t->rates[0];
    float loss;
    t->under_way[0] = t->under_way[1];
    t->rates[0] = t->rates[1];
    if (!model_train_collect(t->model, &loss, NULL, &t->timing, err)) return false;
    const int count = slot->count;
    loader_recycle(loader, slot);
    if (!isfinite(loss))
        return error_set(err, EXIT_CODE_FAILED,
                         "the loss became %g at step %lld; the last checkpoint is intact: resume "
                         "with a smaller optimizer.learning_rate",
                         loss, (long long)t->state.step + 1);
    t->state.step++;
    t->state.examples += count;
    t->state.loss_sum += loss;
    return t->state.step % LOG_STEPS != 0 || log_steps(t, loss, rate, err);
}

/* Until no more than `left` steps are under way. */
static bool collect_steps(struct trainer *t, struct loader *loader, int left, struct error *err)
{
    while (model_in_flight(t->model) > left)
        if (!collect_step(t, loader, err)) return false;
    return true;
}

/* A window that cannot be read (a damaged pack, a file server that is gone) ends the run, but not
 * the work of its last steps. */
static void keep_steps(struct trainer *t, struct loader *loader)
{
    char path[PATH_MAX_BYTES];
    struct error err = { 0 };
    if (!collect_steps(t, loader, 0, &err) || t->state.step == t->saved_step) return;
    if (save(t, path, &err))
        log_info("the work up to step %lld is kept; once the cause below is mended, go on with "
                 "--resume (checkpoint %s)",
                 (long long)t->state.step, path);
    else
        log_warning("%s", err.message);
}

/* The rest of the current epoch; *stopped if a signal ended it. */
static bool train_epoch(struct trainer *t, bool *stopped, struct error *err)
{
    const struct config *config = t->config;
    const struct loader_source source = loader_source_dataset(&t->train);
    const int64_t examples = t->steps_per_epoch * config->train.batch;
    struct loader *loader = NULL;
    sampler_start_epoch(&t->sampler, (uint32_t)t->state.epoch);
    if (!loader_init(&loader, &source, t->sampler.order, examples, t->state.examples,
                     config->train.batch, t->slots, config->data.ring, t->session.reader_threads,
                     reader_cache_bytes, err))
        return false;
    t->started_s = clock_seconds();
    t->logged_step = t->state.step;
    bool ok = true;
    while (ok && !stop_signal) {
        struct loader_batch *slot;
        const double asked_s = clock_seconds();
        backend_range_push(t->session.backend, "read");
        ok = loader_next(loader, &slot, err);
        backend_range_pop(t->session.backend);
        t->wait_s += clock_seconds() - asked_s;
        if (!ok) keep_steps(t, loader);
        if (!ok || !slot) break;
        ok = submit_step(t, slot, err);
        const int64_t every = config->train.checkpoint_steps;
        const bool due = every > 0 && (t->state.step + model_in_flight(t->model)) % every == 0;
        const bool last = slot->first + slot->count == examples;
        /* A checkpoint holds a state between two steps; the last one of an epoch keeps its work
         * whatever becomes of the validation. */
        char path[PATH_MAX_BYTES];
        ok = ok && collect_steps(t, loader, due || last ? 0 : 1, err);
        if (ok && (due || last)) ok = save(t, path, err);
    }
    ok = ok && collect_steps(t, loader, 0, err);
    loader_release(loader);
    *stopped = stop_signal != 0;
    return ok;
}

static bool validate(struct trainer *t, double *auc, double *loss, struct error *err)
{
    struct predictions p;
    const bool ok = model_refresh(t->model, err) &&
                    predict_dataset(t->model, &t->validation, 1, t->session.reader_threads,
                                    t->config->data.ring, "validation", &p, err);
    if (!ok) return false;
    const bool measured = metrics_auc(p.probabilities, p.labels, p.count, auc, err) &&
                          metrics_choose_threshold(p.probabilities, p.labels, p.count,
                                                   &t->state.threshold, err);
    *loss = p.loss;
    predictions_release(&p);
    return measured;
}

static bool finish_epoch(struct trainer *t, bool *enough, struct error *err)
{
    const struct config *config = t->config;
    double auc, loss;
    char path[PATH_MAX_BYTES];
    if (!validate(t, &auc, &loss, err)) return false;
    const double train_loss = t->state.loss_sum / (double)t->steps_per_epoch;
    const bool better = isnan(t->state.best_auc) ||
                        auc > t->state.best_auc + config->train.early_stop.min_delta;
    schedule_epoch_end(&t->state.schedule, config, loss);
    t->state.epoch++;
    t->state.examples = 0;
    t->state.loss_sum = 0;
    t->state.stale_epochs = better ? 0 : t->state.stale_epochs + 1;
    if (better) {
        t->state.best_auc = auc;
        t->state.best_epoch = t->state.epoch;
    }
    json_t *line = json_pack("{s:I, s:f, s:f, s:f, s:f}", "epoch", (json_int_t)t->state.epoch,
                             "train_loss", train_loss, "loss", loss, "auc", auc, "threshold",
                             t->state.threshold);
    if (!run_folder_log(&t->folder, "validation", t->state.step, line, err)) return false;
    log_info("epoch %lld: train loss %.4f, validation loss %.4f, AUC %.4f%s, threshold %.3f",
             (long long)t->state.epoch, train_loss, loss, auc, better ? " (best)" : "",
             t->state.threshold);
    if (!save(t, path, err)) return false;
    const int patience = config->train.early_stop.patience;
    *enough = patience > 0 && t->state.stale_epochs >= patience;
    if (*enough)
        log_info("stopping early: no rise of validation AUC by %g in %d epochs",
                 config->train.early_stop.min_delta, patience);
    return !better || run_folder_mark_best(&t->folder, path, err);
}

static bool train_all(struct trainer *t, struct train_result *result, struct error *err)
{
    const int patience = t->config->train.early_stop.patience;
    bool enough = patience > 0 && t->state.stale_epochs >= patience;
    while (!enough && t->state.epoch < t->config->train.epochs) {
        bool stopped;
        if (!train_epoch(t, &stopped, err)) return false;
        if (stopped) {
            char path[PATH_MAX_BYTES];
            if (!save(t, path, err)) return false;
            log_info("stopped by %s; go on with: micromet train … --resume (checkpoint %s)",
                     strsignal(stop_signal), path);
            result->code = EXIT_CODE_INTERRUPTED;
            return true;
        }
        if (!finish_epoch(t, &enough, err)) return false;
    }
    return true;
}

static bool allocate(struct trainer *t, struct error *err)
{
    const struct config *config = t->config;
    for (int k = 0; k < config->data.level_count; k++) {
        t->draws[k] = calloc((size_t)config->train.batch, sizeof *t->draws[k]);
        if (!t->draws[k]) return error_set(err, EXIT_CODE_FAILED, "no memory for draws");
    }
    return batch_slots_init(t->session.backend, config->data.level_count, config->data.window,
                            config->train.batch, config->data.ring, &t->slots, err);
}

static void trainer_release(struct trainer *t)
{
    model_release(t->model); /* waits for a step that an error left under way: it reads a slot */
    if (t->session.backend)
        batch_slots_release(t->session.backend, t->slots, t->config->data.ring,
                            t->config->data.level_count);
    for (int k = 0; k < TOWERS_MAX; k++) free(t->draws[k]);
    free(t->slides);
    run_folder_release(&t->folder);
    checkpoint_release(&t->start);
    sampler_release(&t->sampler);
    dataset_release(&t->train);
    dataset_release(&t->validation);
    manifest_release(&t->manifest);
    session_release(&t->session);
}

static bool prepare_run(struct trainer *t, const struct train_options *options, struct error *err)
{
    t->state = (struct training_state) { .best_auc = NAN, .threshold = NAN };
    schedule_init(&t->state.schedule, t->config);
    if (!options->dry_run && !find_start(t, options->resume, err)) return false;
    if (!session_init(&t->session, &t->config->compute, t->config->data.level_count,
                      t->config->data.reader_threads, err) ||
        !manifest_load(&t->manifest, t->config->data.manifest, err) || !plan_memory(t, err) ||
        !open_model(t, options->verbose, err) || !open_data(t, err) ||
        !memory_plan_complete(&t->memory, t->config, t->model,
                              dataset_cached_bytes(&t->train, &t->validation, reader_cache_bytes),
                              err))
        return false;
    memory_plan_print(&t->memory);
    if (!memory_plan_check(&t->memory, err) || !allocate(t, err)) return false;
    if (options->dry_run) return true;
    return (!t->resumed || resume(t, err)) &&
           run_folder_start(&t->folder, t->config, &t->state, err);
}

/* Where the device's memory ran out all the same, the batch that it would do for. */
static void advise_batch(const struct trainer *t, struct error *err)
{
    const struct backend *backend = t->session.backend;
    const size_t room = backend && backend->ops->exhausted_memory_bytes
                            ? backend->ops->exhausted_memory_bytes(backend)
                            : 0;
    struct memory_plan less = t->memory;
    struct error ignored = { 0 };
    if (room == 0 || less.batch == 0 || !memory_plan_fit(&less, t->config, room, &ignored)) return;
    if (less.batch_max == 0)
        error_append(err, ", but not even a batch of 1 fits");
    else if (less.batch_max < less.batch)
        error_append(err, ", the largest that fits is %d", less.batch_max);
}

bool train_run(const struct config *config, const struct train_options *options,
               struct train_result *result, struct error *err)
{
    struct trainer trainer = { .resolved = *config };
    trainer.config = &trainer.resolved;
    *result = (struct train_result) { .code = EXIT_CODE_OK, .best_auc = NAN };
    catch_signals();
    bool ok = prepare_run(&trainer, options, err);
    if (ok && !options->dry_run) {
        ok = train_all(&trainer, result, err);
        result->best_auc = trainer.state.best_auc;
        snprintf(result->run_folder, sizeof result->run_folder, "%s", trainer.folder.path);
        ok = ok &&
             path_join(result->best_path, trainer.folder.checkpoints, "best.safetensors", err);
    }
    if (!ok) advise_batch(&trainer, err);
    if (ok && !options->dry_run) memory_peak_print(&trainer.session, trainer.memory.all);
    if (ok && result->code == EXIT_CODE_OK && trainer.bad_slides > 0) {
        result->code = EXIT_CODE_PARTIAL;
        log_warning("%s: %d of its slides could not be used (reasons above)", config->data.manifest,
                    trainer.bad_slides);
    }
    trainer_release(&trainer);
    return ok;
}
