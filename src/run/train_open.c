/* Opens a training run. Checks that may fail come in the order of their cost: the configuration and
 * the checkpoint, the memory, the weights, and finally the slides. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "initial_weights.h"
#include "micromet/base/log.h"
#include "micromet/base/slurm.h"
#include "micromet/base/stop.h"
#include "micromet/data/loader.h"
#include "micromet/data/survey.h"
#include "micromet/run/predict.h"
#include "micromet/run/preflight.h"
#include "train_parts.h"

/* An AUC needs both classes: fail now rather than after the first epoch. */
static bool check_classes(const struct dataset *dataset, const struct manifest *manifest,
                          enum split split, struct error *err)
{
    if (dataset->tumor_count > 0 && dataset->tumor_count < dataset->count) return true;
    return error_set(err, EXIT_CODE_FAILED,
                     "%s: the %s slides hold no %s window; give them slides of both classes",
                     manifest->path, split_name(split),
                     dataset->tumor_count > 0 ? "normal" : "tumour");
}

/* The scale of each tower, which is that of all slides. */
static void find_input(struct trainer *t)
{
    const struct config_data *data = &t->config->data;
    for (int i = 0; i < data->level_count; i++) {
        const double downsample = t->train.slides[0].downsamples[i];
        const double asked = data->um_per_px[i];
        const bool by_um = data->um_per_px_count > 0;
        t->input.downsamples[i] = by_um ? asked / data->um_per_px[0] : downsample;
        t->input.um_per_px[i] = by_um ? asked : t->train.slides[0].mpp[0] * downsample;
    }
}

static bool open_data(struct trainer *t, struct error *err)
{
    const struct config *config = t->config;
    int bad_train = 0, bad_validation = 0;
    if (!survey_training(&t->manifest, config, err) ||
        !dataset_init(&t->train, config, &t->manifest, SPLIT_TRAIN, &bad_train, err) ||
        !dataset_init(&t->validation, config, &t->manifest, SPLIT_VALIDATION, &bad_validation,
                      err) ||
        !check_classes(&t->train, &t->manifest, SPLIT_TRAIN, err) ||
        !check_classes(&t->validation, &t->manifest, SPLIT_VALIDATION, err))
        return false;
    find_input(t);
    if (!trainer_check_data(t, err)) return false;
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
    log_info("train: %lld windows (%lld tumour) of %d slides; validation: %lld windows (%lld "
             "tumour) of %d slides",
             (long long)t->train.count, (long long)t->train.tumor_count, t->train.slide_count,
             (long long)t->validation.count, (long long)t->validation.tumor_count,
             t->validation.slide_count);
    return true;
}

/* Check the memory before anything is allocated. If the batch does not fit, the
 * error names one that does. */
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

/* Comes before the data, so that an error in model.weights is found before all slides are opened. A
 * resumed run takes its weights from the checkpoint. */
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
              (t->resumed ? model_refresh(t->model, err) /* loads its plans, to be counted */
                          : model_randomize(t->model, config->seed, err)) &&
              (!given || pretrained_apply(&pretrained, t->model, &head_taken, err));
    if (ok && given) initial_weights_log(&pretrained, spec.towers, head_taken, verbose);
    pretrained_release(&pretrained);
    t->rows = spec.batch;
    if (ok)
        log_info("model: %lld values, %lld train; %s; average pools %s padding",
                 (long long)model_values(t->model), (long long)model_trainable_values(t->model),
                 given        ? "weights as above"
                 : t->resumed ? "weights of the checkpoint"
                              : "random weights",
                 pool_padding_name(spec.model.pool_padding));
    return ok;
}

static bool allocate(struct trainer *t, struct error *err)
{
    const struct config *config = t->config;
    const int64_t own = t->steps_per_epoch * model_local_shards(t->model) * t->rows;
    for (int k = 0; k < config->data.level_count; k++) {
        t->draws[k] = calloc((size_t)t->rows, sizeof *t->draws[k]);
        if (!t->draws[k]) return error_set(err, EXIT_CODE_FAILED, "no memory for draws");
    }
    if (t->session.backend->facts.ranks > 1)
        t->own_order = calloc((size_t)own, sizeof *t->own_order);
    if (t->session.backend->facts.ranks > 1 && !t->own_order)
        return error_set(err, EXIT_CODE_FAILED, "no memory for the order of %lld windows",
                         (long long)own);
    return batch_slots_init(t->session.backend, config->data.level_count, config->data.window,
                            t->rows, config->data.ring, &t->slots, err);
}

void trainer_release(struct trainer *t)
{
    model_release(t->model); /* waits for steps in flight after an error, which read slots */
    if (t->session.backend)
        batch_slots_release(t->session.backend, t->slots, t->config->data.ring,
                            t->config->data.level_count);
    for (int k = 0; k < TOWERS_MAX; k++) free(t->draws[k]);
    free(t->own_order);
    free(t->slides);
    run_folder_release(&t->folder);
    json_decref(t->changes);
    checkpoint_release(&t->start);
    sampler_release(&t->sampler);
    dataset_release(&t->train);
    dataset_release(&t->validation);
    manifest_release(&t->manifest);
    session_release(&t->session);
}

/* How many shards a batch has, where the configuration leaves it to the number of ranks. */
static bool resolve_shards(struct trainer *t, struct error *err)
{
    struct config_train *train = &t->resolved.train;
    const int ranks = world_size(t->world);
    const char *key = NULL;
    if (train->shards == 0) train->shards = ranks;
    if (train->shards % ranks != 0)
        return error_set(err, EXIT_CODE_USAGE,
                         "train.shards: %d ranks cannot share %d shards equally; start a number of "
                         "processes that divides it",
                         ranks, train->shards);
    if (model_syncs(&t->resolved.model) && train->shards != ranks)
        return error_set(err, EXIT_CODE_USAGE,
                         "model.batch_norm_sync: batch statistics of the whole batch need as many "
                         "processes as train.shards, %d and not %d, since a process computes its "
                         "shards one after the other",
                         train->shards, ranks);
    if (train->batch % train->shards != 0)
        return error_set(err, EXIT_CODE_USAGE,
                         "train.batch: %d windows cannot be cut into %d shards of equal size",
                         train->batch, train->shards);
    return preflight_training(&t->resolved, &key, err);
}

void trainer_init(struct trainer *t, const struct config *config, struct world *world,
                  const struct train_options *options)
{
    *t = (struct trainer) { .resolved = *config, .world = world };
    t->config = &t->resolved;
    t->state = (struct training_state) { .best_auc = NAN, .patience_auc = NAN, .threshold = NAN };
    schedule_init(&t->state.schedule, t->config);
    t->last_epoch = t->config->train.epochs;
    if (options->until_epoch > 0 && options->until_epoch < t->last_epoch)
        t->last_epoch = options->until_epoch;
}

static bool open_rank(struct trainer *t, const struct train_options *options, struct error *err)
{
    if (t->config->train.requeue && !slurm_requeue_check(err)) return false;
    if (!resolve_shards(t, err) ||
        !session_init(&t->session, &t->config->compute, t->config->data.level_count,
                      t->config->data.reader_threads, t->world, err) ||
        !manifest_load(&t->manifest, t->config->data.manifest, err) || !plan_memory(t, err) ||
        !open_model(t, options->verbose, err) || !open_data(t, err) ||
        !memory_plan_complete(&t->memory, t->config, t->model,
                              dataset_cached_bytes(&t->train, &t->validation, READER_CACHE_BYTES),
                              err))
        return false;
    memory_plan_print(&t->memory);
    if (!memory_plan_check(&t->memory, err) || !allocate(t, err)) return false;
    if (options->dry_run) return true;
    return (!t->resumed || trainer_resume(t, err)) && stop_check(err);
}

static bool agree_on_options(const struct trainer *t, const struct train_options *options,
                             struct error *err)
{
    char text[96];
    snprintf(text, sizeof text, "--resume %d, --dry-run %d, --until-epoch %d", options->resume,
             options->dry_run, options->until_epoch);
    return world_agree(t->world, "command line", text, err);
}

bool trainer_open(struct trainer *t, const struct train_options *options, struct error *err)
{
    if (!agree_on_options(t, options, err) || !ranks_agree_on_config(t->world, t->config, err))
        return false;
    if (!options->dry_run && !trainer_find_start(t, options, err)) return false;
    if (t->finished) return true;
    const bool opened = open_rank(t, options, err);
    if (!world_all_ok(t->world, opened, err)) return false;
    return options->dry_run ||
           (world_agree(t->world, "precision", precision_name(t->session.precision), err) &&
            world_agree(t->world, "data", t->slides, err) &&
            ranks_agree_on_model(t->world, t->model, err) &&
            ranks_compare_processors(t->world, t->session.backend->facts.description, err));
}

void trainer_advise_batch(const struct trainer *t, struct error *err)
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
