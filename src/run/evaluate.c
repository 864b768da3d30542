/* Makes the predictions to be evaluated, either for the windows of a dataset or for whole slides.
 * Both are added with evaluation_add(), so that the metrics do not depend on the source. */
#include "micromet/run/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dataset_fingerprint.h"
#include "finished_maps.h"
#include "micromet/base/log.h"
#include "micromet/base/size.h"
#include "micromet/data/survey.h"
#include "micromet/run/heatmap.h"
#include "micromet/run/predict.h"
#include "micromet/run/session.h"
#include "micromet/slide/scale.h"
#include "ranks.h"
#include "single_source.h"

/* Keys that must not be overridden, by prefix, and why. */
static const struct {
    const char *keys, *why;
} fixed[] = {
    { "data.levels", "the model knows its input and was trained on other levels" },
    { "data.um_per_px", "the model knows its input and was trained on other scales" },
    { "data.shrink_from", "the model knows its input and was trained on other pixels" },
    { "data.window", "the model knows its input and was trained on another window" },
    { "model.", "the model is what it was trained as" },
    { "augment.", "an evaluation does not augment" },
    { "optimizer.", "an evaluation does not train" },
    { "schedule.", "an evaluation does not train" },
    { "train.", "an evaluation does not train" },
    { "data.sampling", "an evaluation takes every window once" },
};

bool evaluation_configure(struct config *config, int count, char *const *overrides,
                          struct error *err)
{
    const struct config stored = *config;
    const char *name;
    if (!config_override(config, count, overrides, err)) return false;
    for (int at = 0; (name = config_difference(&stored, config, &at)) != NULL;)
        for (size_t i = 0; i < COUNT_OF(fixed); i++)
            if (strncmp(name, fixed[i].keys, strlen(fixed[i].keys)) == 0)
                return error_set(err, EXIT_CODE_USAGE, "%s: cannot be overridden here: %s", name,
                                 fixed[i].why);
    return true;
}

/* Shared by both kinds of evaluation. */
struct evaluator {
    struct checkpoint *checkpoint;
    const struct evaluate_options *options;
    struct evaluation *evaluation;
    struct manifest manifest;
    struct session session;
    struct model *model;
    struct predictions single; /* options->single_input */
    int single_side;
};

/* Tell of a slide that the model has seen before, perhaps under another name: what it does there
 * says little of other slides. */
static void warn_if_seen(const struct evaluator *e, const char *path,
                         const struct file_identity *identity)
{
    static const struct {
        enum split split;
        const char *how;
    } seen[] = { { SPLIT_TRAIN, "trained" }, { SPLIT_VALIDATION, "chosen" } };
    const char *slides = e->checkpoint->input.slides;
    for (size_t i = 0; slides && i < COUNT_OF(seen) && seen[i].split < e->options->split; i++)
        if (dataset_fingerprint_holds(slides, seen[i].split, identity))
            log_warning("%s: the model was %s on this slide", path, seen[i].how);
}

/* --- windows of a dataset --------------------------------------------------------------------- */

static struct predict_options predict_options_of(const struct evaluator *e,
                                                 const struct dataset *dataset, const char *title)
{
    return (struct predict_options) { .orientations = e->options->orientations,
                                      .threads = e->session.reader_threads,
                                      .ring = dataset->data.ring,
                                      .title = title,
                                      .world = e->options->world };
}

/* Keep the probabilities of the same windows as a single input gives them. */
static bool predict_single(struct evaluator *e, const struct dataset *dataset, struct error *err)
{
    struct single_source source;
    if (!single_source_init(&source, e->checkpoint, dataset, err)) return false;
    const struct loader_source windows = loader_source_single(&source);
    const struct predict_options options = predict_options_of(e, dataset, "single input");
    const bool ok = predict_source(e->model, dataset, &windows, &options, &e->single, err);
    e->single_side = source.window.side;
    single_source_release(&source);
    return ok;
}

static bool compare_single(struct evaluator *e, struct error *err)
{
    return !e->options->single_input ||
           evaluation_compare_single(e->evaluation, e->single.probabilities, e->single_side,
                                     e->options->split == SPLIT_VALIDATION, err);
}

static bool evaluate_dataset(struct evaluator *e, const struct dataset *dataset, struct error *err)
{
    const int64_t no_background[2] = { 0, 0 };
    struct predictions predictions;
    for (int i = 0; i < dataset->slide_count; i++) {
        const struct dataset_slide *slide = &dataset->slides[i];
        if (!checkpoint_check_scale(e->checkpoint, slide->row.slide, slide->downsamples, slide->mpp,
                                    slide->slide.mpp_absurd, err))
            return false;
        warn_if_seen(e, slide->row.slide, &slide->identity);
    }
    const struct predict_options options = predict_options_of(e, dataset, "evaluate");
    if (!predict_dataset(e->model, dataset, &options, &predictions, err)) return false;
    const float *probabilities = predictions.probabilities;
    bool ok = !e->options->single_input || predict_single(e, dataset, err);
    for (int i = 0; ok && i < dataset->slide_count; i++) {
        const struct dataset_slide *slide = &dataset->slides[i];
        ok = evaluation_add(e->evaluation, slide->row.slide, slide->row.label, slide->windows,
                            probabilities, slide->count, no_background, err);
        probabilities += slide->count;
    }
    predictions_release(&predictions);
    return ok;
}

static bool evaluate_windows(struct evaluator *e, struct error *err)
{
    struct dataset dataset;
    if (!survey_packs(&e->manifest, &e->checkpoint->config, e->options->split, err) ||
        !dataset_init(&dataset, &e->checkpoint->config, &e->manifest, e->options->split,
                      &e->evaluation->bad_slides, err))
        return false;
    const bool ok = evaluate_dataset(e, &dataset, err);
    dataset_release(&dataset);
    return ok;
}

/* --- whole slides ----------------------------------------------------------------------------- */

/* Add the map's windows, and its cells without a probability as background. */
static bool add_map(struct evaluation *evaluation, const struct manifest_row *row,
                    const struct heatmap *heatmap, const uint8_t *labels, struct error *err)
{
    const struct grid *grid = &heatmap->grid;
    int64_t count = 0, background[2] = { 0, 0 };
    struct window *windows = malloc(((size_t)heatmap->windows + 1) * sizeof *windows);
    float *probabilities = malloc(((size_t)heatmap->windows + 1) * sizeof *probabilities);
    bool ok = (windows && probabilities) ||
              error_set(err, EXIT_CODE_FAILED, "%s: no memory for its windows", row->slide);
    for (int64_t i = 0; ok && i < grid->rows * grid->columns; i++) {
        if (labels[i] == GRID_IGNORED) continue;
        if (isnan(heatmap->probabilities[i])) {
            background[labels[i]]++;
            continue;
        }
        windows[count] = (struct window) {
            .x_level0 = (int32_t)grid_x_level0(grid, i % grid->columns),
            .y_level0 = (int32_t)grid_y_level0(grid, i / grid->columns),
            .label = labels[i],
        };
        probabilities[count++] = heatmap->probabilities[i];
    }
    ok = ok && evaluation_add(evaluation, row->slide, row->label, windows, probabilities, count,
                              background, err);
    if (ok && count == 0)
        log_warning("%s: no window of it is tissue (data.tissue): it has no score", row->slide);
    free(windows);
    free(probabilities);
    return ok;
}

static bool check_label(const struct manifest_row *row, const struct slide *slide,
                        struct annotation *annotation, struct error *err)
{
    char empty[ANNOTATION_TEXT_MAX] = "it has no annotation";
    bool tumor;
    if (!annotation_any(annotation, 0, 0, (double)slide->levels[0].width,
                        (double)slide->levels[0].height, &tumor, err))
        return false;
    if (tumor == (row->label != 0)) return true;
    if (annotation && !tumor) annotation_say_empty(annotation, empty);
    return error_set(err, EXIT_CODE_FAILED, "%s: the manifest calls it %s, but %s", row->slide,
                     tumor ? "normal" : "tumor", tumor ? "its annotation marks tumor" : empty);
}

/* Compute the heat map, or load it if an interrupted evaluation has left it. */
static bool map_slide(struct evaluator *e, struct predictor *predictor, const struct slide *slide,
                      const struct file_identity *identity, const struct grid *grid,
                      struct heatmap *heatmap, struct error *err)
{
    struct world *world = e->options->world;
    const struct heatmap_options options = { .stride = e->options->stride,
                                             .min_tissue = -1,
                                             .threads = e->session.reader_threads,
                                             .world = world };
    const char *folder = e->options->folder;
    struct finished_map kept;
    struct error unsaved = { 0 };
    bool all_have;
    warn_if_seen(e, slide->path, identity);
    const bool named = !folder || finished_map_init(&kept, folder, e->checkpoint, slide, identity,
                                                    grid, e->options->orientations, err);
    if (!world_all_ok(world, named, err)) return false;
    const bool has = folder && finished_map_load(&kept, grid, heatmap);
    if (!ranks_all(world, has, &all_have, err)) return false;
    if (all_have) {
        log_info("  finished by an earlier try");
        return true;
    }
    heatmap_release(heatmap);
    if (!heatmap_compute(heatmap, e->checkpoint, predictor, slide, &options, err)) return false;
    if (folder && world_rank(world) == 0 && !finished_map_save(&kept, heatmap, &unsaved))
        log_warning("%s (a later try will compute this slide again)", unsaved.message);
    return true;
}

static bool evaluate_slide(struct evaluator *e, struct predictor *predictor,
                           const struct manifest_row *row, struct error *err)
{
    const struct config_data *data = &e->checkpoint->config.data;
    struct slide slide = { 0 };
    struct annotation *annotation = NULL;
    struct heatmap heatmap = { 0 };
    struct grid grid;
    uint8_t *labels = NULL;
    struct file_identity identity;
    bool ok = slide_open_row(&slide, row, data, err) &&
              annotation_open(&annotation, row->annotation, row->mask_downsample, &slide, data,
                              err) &&
              check_label(row, &slide, annotation, err) &&
              grid_init(&grid, &slide, data, e->options->stride, err) &&
              grid_label(&grid, &slide, data, annotation, &labels, err) &&
              identity_of_slide(&identity, row->slide, err);
    ok = world_all_ok(e->options->world, ok, err) &&
         map_slide(e, predictor, &slide, &identity, &grid, &heatmap, err);
    ok = world_all_ok(e->options->world, ok, err) &&
         add_map(e->evaluation, row, &heatmap, labels, err);
    free(labels);
    heatmap_release(&heatmap);
    annotation_release(annotation);
    slide_release(&slide);
    return ok;
}

static bool evaluate_slides(struct evaluator *e, struct error *err)
{
    struct predictor predictor;
    struct evaluation *evaluation = e->evaluation;
    if (!predictor_init(&predictor, e->model, e->options->orientations, err)) return false;
    for (int i = 0; i < e->manifest.count; i++) {
        struct error reason = { 0 };
        const struct manifest_row *row = &e->manifest.rows[i];
        if (row->split != e->options->split) continue;
        log_info("%s", path_name(row->slide));
        if (evaluate_slide(e, &predictor, row, &reason)) continue;
        if (reason.code == EXIT_CODE_INTERRUPTED) {
            *err = reason;
            break;
        }
        log_warning("%s", reason.message);
        evaluation->bad_slides++;
    }
    predictor_release(&predictor);
    if (err->code) return false;
    if (evaluation->slide_count) return true;
    return error_set(err, EXIT_CODE_FAILED,
                     evaluation->bad_slides ? "%s: none of the %s slides can be evaluated"
                                            : "%s: names no %s slide",
                     e->manifest.path, split_name(e->options->split));
}

/* --- both ------------------------------------------------------------------------------------- */

/* What computes is known once the session is open: tf32 is fp32 where there is no GPU. */
static bool adopt_precision(struct evaluator *e)
{
    e->checkpoint->config.compute.precision = e->session.precision;
    session_compare_precision(&e->session, e->checkpoint->state.threshold,
                              e->checkpoint->threshold_precision);
    return true;
}

static bool open_evaluator(struct evaluator *e, struct error *err)
{
    const struct config *config = &e->checkpoint->config;
    return manifest_load(&e->manifest, config->data.manifest, err) &&
           session_init(&e->session, &config->compute, config->data.level_count,
                        config->data.reader_threads, e->options->world, err) &&
           adopt_precision(e) &&
           checkpoint_model(e->checkpoint, e->session.backend, e->options->batch, &e->model, err);
}

static bool run(struct evaluator *e, struct error *err)
{
    struct world *world = e->options->world;
    if (!ranks_agree_on_config(world, &e->checkpoint->config, err)) return false;
    const bool opened = open_evaluator(e, err);
    return world_all_ok(world, opened, err) &&
           ranks_agree_on_checkpoint(world, e->checkpoint, err) &&
           (e->options->whole_slides ? evaluate_slides(e, err) : evaluate_windows(e, err)) &&
           evaluation_finish(e->evaluation, err) &&
           (!e->options->whole_slides || e->options->split != SPLIT_VALIDATION ||
            evaluation_choose_slide_threshold(e->evaluation, err)) &&
           compare_single(e, err);
}

bool evaluate_run(struct evaluation *evaluation, struct checkpoint *checkpoint,
                  const struct evaluate_options *options, struct error *err)
{
    struct evaluator e = { .checkpoint = checkpoint, .options = options, .evaluation = evaluation };
    evaluation_init(evaluation, checkpoint->state.threshold);
    const bool ok = run(&e, err);
    predictions_release(&e.single);
    model_release(e.model);
    session_release(&e.session);
    manifest_release(&e.manifest);
    if (!ok) evaluation_release(evaluation);
    return ok;
}
