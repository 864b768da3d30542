/* The training loop. A step depends only on struct training_state and the model's arrays, so that
 * stopping between any two steps and resuming from a checkpoint gives the same bits. */
#include <math.h>
#include <signal.h>
#include <string.h>

#include "micromet/base/log.h"
#include "micromet/base/size.h"
#include "micromet/base/slurm.h"
#include "micromet/base/stop.h"
#include "micromet/base/thread.h"
#include "micromet/data/augment.h"
#include "micromet/data/loader.h"
#include "micromet/report/metrics.h"
#include "micromet/run/predict.h"
#include "train_parts.h"

enum { LOG_STEPS = 10 };

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

/* Enqueue a step after those in flight. */
static bool submit_step(struct trainer *t, struct loader_batch *slot, struct error *err)
{
    const struct config *config = t->config;
    const int towers = config->data.level_count;
    struct model_batch batch = { .labels = slot->labels, .count = slot->count, .tag = slot };
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
    const double rate = schedule_rate(&t->state.schedule, config, examples,
                                      epoch_examples * config->train.epochs);
    const int64_t step = t->state.step + model_in_flight(t->model) + 1;
    return model_train_submit(t->model, &batch, rate, step, config->seed, err);
}

static void add_timing(struct model_timing *sum, const struct model_timing *step)
{
    sum->augment_s += step->augment_s;
    sum->forward_s += step->forward_s;
    sum->backward_s += step->backward_s;
    sum->update_s += step->update_s;
}

/* Wait for the oldest step in flight; only then is it counted in the state. */
static bool collect_step(struct trainer *t, struct loader *loader, struct error *err)
{
    struct model_result step;
    if (!model_train_collect(t->model, &step, NULL, err)) return false;
    loader_recycle(loader, step.tag);
    if (!isfinite(step.loss))
        return error_set(err, EXIT_CODE_FAILED,
                         "the loss became %g at step %lld; the last checkpoint is intact: resume "
                         "with a smaller optimizer.learning_rate",
                         step.loss, (long long)t->state.step + 1);
    add_timing(&t->timing, &step.timing);
    t->state.step++;
    t->state.examples += step.count;
    t->state.loss_sum += step.loss;
    return t->state.step % LOG_STEPS != 0 || log_steps(t, step.loss, step.learning_rate, err);
}

/* Collect until at most `left` steps are in flight. */
static bool collect_steps(struct trainer *t, struct loader *loader, int left, struct error *err)
{
    while (model_in_flight(t->model) > left)
        if (!collect_step(t, loader, err)) return false;
    return true;
}

/* A window that cannot be read (damaged pack, lost file server) ends the run: first save the steps
 * made since the last checkpoint. */
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

/* Train the rest of the current epoch; *stopped is set if a signal ended it. */
static bool train_epoch(struct trainer *t, bool *stopped, struct error *err)
{
    const struct config *config = t->config;
    const struct loader_source source = loader_source_dataset(&t->train);
    const int64_t examples = t->steps_per_epoch * config->train.batch;
    struct loader *loader = NULL;
    sampler_start_epoch(&t->sampler, (uint32_t)t->state.epoch);
    const struct loader_options options = { .order = t->sampler.order,
                                            .order_count = examples,
                                            .first_sample = t->state.examples,
                                            .batch = config->train.batch,
                                            .slots = t->slots,
                                            .slot_count = config->data.ring,
                                            .threads = t->session.reader_threads,
                                            .cache_bytes = READER_CACHE_BYTES };
    if (!loader_init(&loader, &source, &options, err)) return false;
    t->started_s = clock_seconds();
    t->logged_step = t->state.step;
    bool ok = true;
    while (ok && !stop_signal()) {
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
        /* A checkpoint needs the state between two steps. Save one at the end of an epoch too, in
         * case the validation fails. */
        char path[PATH_MAX_BYTES];
        ok = ok && collect_steps(t, loader, due || last ? 0 : PASSES_MAX - 1, err);
        if (ok && (due || last)) ok = save(t, path, err);
    }
    ok = ok && collect_steps(t, loader, 0, err);
    loader_release(loader);
    *stopped = stop_signal() != 0;
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
    schedule_epoch_end(&t->state.schedule, config, loss);
    t->state.examples = 0;
    t->state.loss_sum = 0;
    const bool better = training_state_judge(&t->state, auc, config->train.early_stop.min_delta);
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
    bool enough = false;
    if (!trainer_begin(t, err)) return false;
    while (!enough && t->state.epoch < t->last_epoch) {
        bool stopped;
        if (!train_epoch(t, &stopped, err)) return false;
        if (stopped) {
            char path[PATH_MAX_BYTES];
            if (!save(t, path, err)) return false;
            log_info("stopped by %s; go on with: micromet train … --resume (checkpoint %s)",
                     strsignal(stop_signal()), path);
            result->code = EXIT_CODE_INTERRUPTED;
            return true;
        }
        if (!finish_epoch(t, &enough, err)) return false;
    }
    const bool finished = enough || t->state.epoch >= t->config->train.epochs;
    return !finished || run_folder_finish(&t->folder, err);
}

/* Whether the error is a request to stop, from where there is nothing to write: while the run was
 * opened, or within a validation, which has its checkpoint behind it. It is no error then. */
static bool is_stopped(const struct trainer *t, bool opened, struct error *err)
{
    if (err->code != EXIT_CODE_INTERRUPTED) return false;
    const char *signal = strsignal(stop_signal());
    if (opened)
        log_info("stopped by %s during the validation, which will be repeated; go on with: "
                 "micromet train … --resume (step %lld)",
                 signal, (long long)t->state.step);
    else
        log_info("stopped by %s before the first step: the run is as it was", signal);
    error_clear(err);
    return true;
}

/* A job that must go because its time is up comes back. SIGTERM may mean that nobody wants it any
 * more (scancel), and jobs that Slurm preempts are requeued by Slurm. */
static void requeue(const struct config *config)
{
    char job[SLURM_JOB_BYTES];
    struct error err = { 0 };
    if (!config->train.requeue || stop_signal() != SIGUSR1 || !slurm_job(job)) return;
    log_info("requeueing Slurm job %s", job);
    if (!slurm_requeue(job, &err))
        log_warning("%s; the job is not requeued: submit it again to go on", err.message);
}

bool train_run(const struct config *config, const struct train_options *options,
               struct train_result *result, struct error *err)
{
    struct trainer trainer = { .resolved = *config };
    trainer.config = &trainer.resolved;
    *result = (struct train_result) { .code = EXIT_CODE_OK, .best_auc = NAN };
    stop_catch();
    const bool opened = trainer_open(&trainer, options, err) && stop_check(err);
    bool ok = opened;
    if (ok && !options->dry_run && !trainer.finished) ok = train_all(&trainer, result, err);
    if (!ok && is_stopped(&trainer, opened, err)) {
        result->code = EXIT_CODE_INTERRUPTED;
        ok = true;
    }
    if (ok && !options->dry_run) {
        result->best_auc = trainer.state.best_auc;
        snprintf(result->run_folder, sizeof result->run_folder, "%s", trainer.folder.path);
        ok = path_join(result->best_path, trainer.folder.checkpoints, "best.safetensors", err);
    }
    if (!ok) trainer_advise_batch(&trainer, err);
    if (ok && trainer.memory.all > 0 && !options->dry_run)
        memory_peak_print(&trainer.session, trainer.memory.all);
    if (ok && result->code == EXIT_CODE_OK && trainer.bad_slides > 0) {
        result->code = EXIT_CODE_PARTIAL;
        log_warning("%s: %d of its slides could not be used (reasons above)", config->data.manifest,
                    trainer.bad_slides);
    }
    trainer_release(&trainer);
    if (ok && result->code == EXIT_CODE_INTERRUPTED) requeue(config);
    return ok;
}
