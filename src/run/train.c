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

/* All ranks hold what one of them writes. */
static bool is_writer(const struct trainer *t)
{
    return world_rank(t->world) == 0;
}

static bool save(struct trainer *t, char path[PATH_MAX_BYTES], struct error *err)
{
    run_folder_checkpoint_path(&t->folder, t->state.step, path);
    t->saved_step = t->state.step;
    if (!is_writer(t)) return true;
    backend_range_push(t->session.backend, "checkpoint");
    const bool written = checkpoint_write(path, t->model, t->config, &t->state, &t->input, err);
    backend_range_pop(t->session.backend);
    if (!written)
        return error_prefix(err, "no checkpoint at step %lld, earlier ones are intact (--resume)",
                            (long long)t->state.step);
    return run_folder_prune(&t->folder, t->config->train.keep, err);
}

/* Takes ownership of `line`. */
static bool write_log(struct trainer *t, const char *group, json_t *line, struct error *err)
{
    if (is_writer(t)) return run_folder_log(&t->folder, group, t->state.step, line, err);
    json_decref(line);
    return true;
}

static double percent(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

/* " exchange 12% (40% hidden)": time that the update waited for other ranks, and how much of the
 * exchange ran beside the backward pass. */
static void print_exchange(const struct trainer *t, double spent_s, char text[64])
{
    const struct model_timing *m = &t->timing;
    text[0] = '\0';
    if (world_size(t->world) == 1) return;
    const double hidden_s = m->exchange_s > m->exchange_wait_s ? m->exchange_s - m->exchange_wait_s
                                                               : 0;
    snprintf(text, 64, " exchange %.0f%% (%.0f%% hidden)", percent(m->exchange_wait_s, spent_s),
             percent(hidden_s, m->exchange_s));
}

static bool log_steps(struct trainer *t, float loss, double rate, struct error *err)
{
    const double now_s = clock_seconds(), spent_s = now_s - t->started_s;
    const int64_t steps = t->state.step - t->logged_step;
    const struct model_timing *m = &t->timing;
    const double pairs_per_s = (double)(steps * t->config->train.batch) / spent_s;
    char exchange[64];
    print_exchange(t, spent_s, exchange);
    json_t *line = json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "epoch",
                             (json_int_t)t->state.epoch, "loss", (double)loss, "learning_rate",
                             rate, "windows_per_s", pairs_per_s, "wait_share", t->wait_s / spent_s,
                             "augment_share", m->augment_s / spent_s, "forward_share",
                             m->forward_s / spent_s, "backward_share", m->backward_s / spent_s,
                             "update_share", m->update_s / spent_s);
    if (exchange[0])
        json_object_set_new(line, "exchange_wait_share", json_real(m->exchange_wait_s / spent_s));
    const bool ok = write_log(t, "train", line, err);
    log_info("epoch %lld step %lld/%lld loss %.4f lr %.3g | %.1f windows/s | wait %.0f%% augment "
             "%.0f%% forward %.0f%% backward %.0f%% update %.0f%%%s",
             (long long)t->state.epoch + 1, (long long)(t->state.examples / t->config->train.batch),
             (long long)t->steps_per_epoch, loss, rate, pairs_per_s, percent(t->wait_s, spent_s),
             percent(m->augment_s, spent_s), percent(m->forward_s, spent_s),
             percent(m->backward_s, spent_s), percent(m->update_s, spent_s), exchange);
    t->timing = (struct model_timing) { 0 };
    t->wait_s = 0;
    t->started_s = now_s;
    t->logged_step = t->state.step;
    return ok;
}

/* Where a shard of the loader stands: its step in the epoch, which of this rank's shards it is, and
 * its first row in the epoch's order. */
struct place {
    int64_t step, row;
    int shard;
};

static struct place place_of(const struct trainer *t, const struct loader_batch *slot)
{
    const int local = model_local_shards(t->model), first = model_first_shard(t->model);
    const int64_t pass = slot->first / t->rows;
    struct place place = { .step = pass / local, .shard = (int)(pass % local) };
    place.row = place.step * t->config->train.batch + (int64_t)(first + place.shard) * t->rows;
    return place;
}

/* The windows of this rank's shards, those of one step behind those of the other. */
static const struct sample *own_order(struct trainer *t)
{
    const int local = model_local_shards(t->model), first = model_first_shard(t->model);
    const int64_t own = (int64_t)local * t->rows;
    if (own == t->config->train.batch) return t->sampler.order;
    for (int64_t step = 0; step < t->steps_per_epoch; step++)
        memcpy(t->own_order + step * own,
               t->sampler.order + step * t->config->train.batch + (int64_t)first * t->rows,
               (size_t)own * sizeof *t->own_order);
    return t->own_order;
}

/* Enqueue a pass after those in flight; *step_end is the step that it ends, 0 = none. */
static bool submit_shard(struct trainer *t, struct loader_batch *slot, int64_t *step_end,
                         struct error *err)
{
    const struct config *config = t->config;
    const int towers = config->data.level_count;
    const struct place place = place_of(t, slot);
    struct model_batch batch = { .labels = slot->labels,
                                 .count = slot->count,
                                 .shard = place.shard,
                                 .stop = stop_signal() != 0,
                                 .tag = slot };
    for (int i = 0; i < slot->count; i++) {
        struct augment_draw draws[TOWERS_MAX];
        augment_draw(&config->augment, towers, config->seed, (uint32_t)t->state.epoch,
                     (uint64_t)(place.row + i), draws);
        for (int k = 0; k < towers; k++) t->draws[k][i] = draws[k];
    }
    for (int k = 0; k < towers; k++) {
        batch.pixels[k] = slot->pixels[k];
        batch.draws[k] = t->draws[k];
    }
    const int64_t epoch_examples = t->steps_per_epoch * config->train.batch;
    const int64_t examples = t->state.epoch * epoch_examples + place.step * config->train.batch;
    const double rate = schedule_rate(&t->state.schedule, config, examples,
                                      epoch_examples * config->train.epochs);
    const int64_t done = t->state.examples / config->train.batch;
    const int64_t step = t->state.step - done + place.step + 1;
    *step_end = place.shard + 1 == model_local_shards(t->model) ? step : 0;
    return model_train_submit(t->model, &batch, rate, step, config->seed, err);
}

static void add_timing(struct model_timing *sum, const struct model_timing *step)
{
    sum->augment_s += step->augment_s;
    sum->forward_s += step->forward_s;
    sum->backward_s += step->backward_s;
    sum->update_s += step->update_s;
    sum->exchange_wait_s += step->exchange_wait_s;
    sum->exchange_s += step->exchange_s;
}

/* Wait for the oldest pass in flight; only then is its step counted in the state. */
static bool collect_pass(struct trainer *t, struct loader *loader, struct error *err)
{
    struct model_result pass;
    if (!model_train_collect(t->model, &pass, NULL, err)) return false;
    loader_recycle(loader, pass.tag);
    add_timing(&t->timing, &pass.timing);
    if (!pass.step_done) return true;
    if (!isfinite(pass.loss))
        return error_set(err, EXIT_CODE_FAILED,
                         "the loss became %g at step %lld; the last checkpoint is intact: resume "
                         "with a smaller optimizer.learning_rate",
                         pass.loss, (long long)t->state.step + 1);
    t->stop_agreed |= pass.stop;
    t->state.step++;
    t->state.examples += t->config->train.batch;
    t->state.loss_sum += pass.loss;
    return t->state.step % LOG_STEPS != 0 || log_steps(t, pass.loss, pass.learning_rate, err);
}

/* Collect until at most `left` passes are in flight. */
static bool collect_passes(struct trainer *t, struct loader *loader, int left, struct error *err)
{
    while (model_in_flight(t->model) > left)
        if (!collect_pass(t, loader, err)) return false;
    return true;
}

/* One rank stops at once; several stop behind the step by which all know. */
static bool is_stopping(const struct trainer *t)
{
    return t->session.backend->facts.ranks > 1 ? t->stop_agreed : stop_signal() != 0;
}

/* A window that cannot be read (damaged pack, lost file server) ends the run: first save the steps
 * made since the last checkpoint. */
static void keep_steps(struct trainer *t, struct loader *loader)
{
    char path[PATH_MAX_BYTES];
    struct error err = { 0 };
    if (!collect_passes(t, loader, 0, &err) || t->state.step == t->saved_step) return;
    if (!model_train_rewind(t->model, &err)) return;
    if (save(t, path, &err))
        log_info("the work up to step %lld is kept; once the cause below is mended, go on with "
                 "--resume (checkpoint %s)",
                 (long long)t->state.step, path);
    else
        log_warning("%s", err.message);
}

/* The next pass of the epoch; *more is false behind the last one. A checkpoint needs the state
 * between two steps: *step_end is the step that the pass ends, 0 = none. */
static bool train_pass(struct trainer *t, struct loader *loader, bool *more, int64_t *step_end,
                       struct error *err)
{
    struct loader_batch *slot;
    const double asked_s = clock_seconds();
    backend_range_push(t->session.backend, "read");
    const bool read = loader_next(loader, &slot, err);
    backend_range_pop(t->session.backend);
    t->wait_s += clock_seconds() - asked_s;
    if (!read) keep_steps(t, loader);
    *more = read && slot;
    return read && (!slot || submit_shard(t, slot, step_end, err));
}

/* Train the rest of the current epoch; *stopped is set if a signal ended it. Between two steps all
 * ranks come to the same decisions: they count the same steps, and know of the same signals. */
static bool train_epoch(struct trainer *t, bool *stopped, struct error *err)
{
    const struct config *config = t->config;
    const struct loader_source source = loader_source_dataset(&t->train);
    const int64_t own = (int64_t)model_local_shards(t->model) * t->rows;
    sampler_start_epoch(&t->sampler, (uint32_t)t->state.epoch);
    const struct loader_options options = { .order = own_order(t),
                                            .order_count = t->steps_per_epoch * own,
                                            .first_sample = t->state.examples /
                                                            config->train.batch * own,
                                            .batch = t->rows,
                                            .slots = t->slots,
                                            .slot_count = config->data.ring,
                                            .threads = t->session.reader_threads,
                                            .cache_bytes = READER_CACHE_BYTES };
    const int64_t first = t->state.step - t->state.examples / config->train.batch;
    const int64_t every = config->train.checkpoint_steps;
    struct loader *loader = NULL;
    if (!loader_init(&loader, &source, &options, err)) return false;
    t->started_s = clock_seconds();
    t->logged_step = t->state.step;
    bool ok = true, more = !is_stopping(t);
    while (ok && more) {
        int64_t step_end = 0;
        char path[PATH_MAX_BYTES];
        ok = train_pass(t, loader, &more, &step_end, err);
        if (!ok || !more) break;
        /* Save one at the end of an epoch too, in case the validation fails. */
        const bool due = step_end > 0 && ((every > 0 && step_end % every == 0) ||
                                          step_end == first + t->steps_per_epoch);
        ok = collect_passes(t, loader, due ? 0 : PASSES_MAX - 1, err) &&
             (!due || save(t, path, err));
        more = step_end == 0 || !is_stopping(t);
    }
    ok = ok && collect_passes(t, loader, 0, err);
    loader_release(loader);
    *stopped = is_stopping(t);
    return ok;
}

static bool validate(struct trainer *t, double *auc, double *loss, struct error *err)
{
    struct predictions p;
    const struct predict_options options = { .orientations = 1,
                                             .threads = t->session.reader_threads,
                                             .ring = t->config->data.ring,
                                             .title = "validation",
                                             .world = t->world };
    const bool ok = model_refresh(t->model, err) &&
                    predict_dataset(t->model, &t->validation, &options, &p, err);
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
    if (!write_log(t, "validation", line, err)) return false;
    log_info("epoch %lld: train loss %.4f, validation loss %.4f, AUC %.4f%s, threshold %.3f",
             (long long)t->state.epoch, train_loss, loss, auc, better ? " (best)" : "",
             t->state.threshold);
    if (!save(t, path, err)) return false;
    const int patience = config->train.early_stop.patience;
    *enough = patience > 0 && t->state.stale_epochs >= patience;
    if (*enough)
        log_info("stopping early: no rise of validation AUC by %g in %d epochs",
                 config->train.early_stop.min_delta, patience);
    return !better || !is_writer(t) || run_folder_mark_best(&t->folder, path, err);
}

static bool train_all(struct trainer *t, struct train_result *result, struct error *err)
{
    bool enough = false;
    const bool begun = !is_writer(t) || trainer_begin(t, err);
    if (!world_all_ok(t->world, begun, err)) return false;
    while (!enough && t->state.epoch < t->last_epoch) {
        bool stopped;
        if (!train_epoch(t, &stopped, err)) return false;
        if (stopped) {
            char path[PATH_MAX_BYTES];
            if (!save(t, path, err) || !ranks_agree_on_stop(t->world, err)) return false;
            log_info("stopped by %s; go on with: micromet train … --resume (checkpoint %s)",
                     strsignal(stop_signal()), path);
            result->code = EXIT_CODE_INTERRUPTED;
            return true;
        }
        if (!finish_epoch(t, &enough, err)) return false;
    }
    const bool finished = enough || t->state.epoch >= t->config->train.epochs;
    const bool noted = !finished || !is_writer(t) || run_folder_finish(&t->folder, err);
    return world_all_ok(t->world, noted, err);
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
static void requeue(const struct config *config, bool came_further)
{
    char job[SLURM_JOB_BYTES];
    struct error err = { 0 };
    if (!config->train.requeue || stop_signal() != SIGUSR1 || !slurm_job(job)) return;
    if (!came_further && slurm_restarts() > 0) {
        log_warning("Slurm job %s has come no further since it was started again, and is not "
                    "requeued; give it more --time",
                    job);
        return;
    }
    log_info("requeueing Slurm job %s", job);
    if (!slurm_requeue(job, &err))
        log_warning("%s; the job is not requeued: submit it again to go on", err.message);
}

/* The log says how far the run came, whose steps are logged by tens. */
static void note_failure(struct trainer *t)
{
    struct error ignored = { 0 };
    if (t->folder.metrics)
        write_log(t, "failed", json_pack("{s:I}", "epoch", (json_int_t)t->state.epoch), &ignored);
}

static bool train(struct trainer *t, const struct train_options *options,
                  struct train_result *result, struct error *err)
{
    struct error stop_error = { 0 };
    const bool opened = trainer_open(t, options, err);
    bool ok = opened;
    t->first_step = t->state.step;
    if (ok && !options->dry_run && !t->finished) ok = train_all(t, result, err);
    /* All ranks have this error if one has. */
    if (!ok && err->code == EXIT_CODE_INTERRUPTED && !ranks_agree_on_stop(t->world, &stop_error))
        return error_set(err, stop_error.code, "%s", stop_error.message);
    if (!ok && is_stopped(t, opened, err)) {
        result->code = EXIT_CODE_INTERRUPTED;
        ok = true;
    }
    if (ok && !options->dry_run) {
        result->best_auc = t->state.best_auc;
        snprintf(result->run_folder, sizeof result->run_folder, "%s", t->folder.path);
        ok = path_join(result->best_path, t->folder.checkpoints, "best.safetensors", err);
    }
    if (!ok) {
        note_failure(t);
        trainer_advise_batch(t, err);
    }
    if (ok && t->memory.all > 0 && !options->dry_run) memory_peak_print(&t->session, t->memory.all);
    if (ok && result->code == EXIT_CODE_OK && t->bad_slides > 0) {
        result->code = EXIT_CODE_PARTIAL;
        log_warning("%s: %d of its slides could not be used (reasons above)",
                    t->config->data.manifest, t->bad_slides);
    }
    return ok;
}

/* A signal came while this process waited for the others. */
static bool is_stopped_alone(const struct config *config, struct train_result *result,
                             struct error *err)
{
    if (err->code != EXIT_CODE_INTERRUPTED) return false;
    log_info("%s while waiting for other ranks: the run is as it was", err->message);
    error_clear(err);
    result->code = EXIT_CODE_INTERRUPTED;
    requeue(config, false);
    return path_join(result->run_folder, config->train.run, config->name, err);
}

bool train_run(const struct config *config, const struct train_options *options,
               struct train_result *result, struct error *err)
{
    struct trainer trainer;
    struct world *world = NULL;
    *result = (struct train_result) { .code = EXIT_CODE_OK, .best_auc = NAN };
    if (!world_open(&world, err)) return is_stopped_alone(config, result, err);
    trainer_init(&trainer, config, world, options);
    result->rank = world_rank(world);
    if (result->rank > 0) log_silence();
    const bool ok = train(&trainer, options, result, err);
    const bool came_further = trainer.state.step > trainer.first_step;
    if (!ok) world_fail(world, err); /* comes back if there are no others */
    trainer_release(&trainer);
    world_close(world);
    if (ok && result->code == EXIT_CODE_INTERRUPTED && result->rank == 0)
        requeue(config, came_further);
    return ok;
}
