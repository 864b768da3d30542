/* micromet heatmap: computes heat maps of slides. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"
#include "micromet/base/log.h"
#include "micromet/base/output.h"
#include "micromet/base/text.h"
#include "micromet/run/heatmap.h"
#include "micromet/run/session.h"
#include "micromet/slide/scale.h"

struct arguments {
    const char *out, *annotation, *mask_values;
    int stride, batch, orientations, threads;
    double min_tissue, mpp, mask_downsample; /* min_tissue: -1 = as trained */
};

static const struct option option_rows[] = {
    { .name = "out",
      .kind = OPTION_FOLDER,
      FIELD(out),
      .value = "FOLDER",
      .help = "where the files go" },
    { OPTION_STRIDE, .help = "between windows, px of the finest tower's level" },
    { OPTION_BATCH },
    { OPTION_ORIENTATIONS },
    { .name = "min-tissue",
      .kind = OPTION_DOUBLE,
      FIELD(min_tissue),
      .min = 0,
      .max = 1,
      .value = "SHARE",
      .absent = "as trained",
      .help = "of tissue pixels that a window needs, 0 to 1" },
    { .name = "annotation",
      .kind = OPTION_FILE,
      FIELD(annotation),
      .value = "FILE",
      .help = "mask TIFF or ASAP XML, drawn as an outline (with one SLIDE)" },
    { OPTION_MASK_VALUES, .absent = "as trained",
      .help = "of the annotation's mask that are tumor, such as 1 or 1,2" },
    { OPTION_MASK_DOWNSAMPLE },
    { OPTION_MPP, .help = "µm per level-0 pixel, whatever the slides say" },
    { OPTION_THREADS, .absent = "all" },
    { 0 },
};

/* Open the annotation, and say if there will be no outline. */
static bool open_annotation(struct annotation **annotation, const struct arguments *a,
                            const struct slide *slide, const struct config_data *data,
                            struct error *err)
{
    const char *path = a->annotation;
    char why[ANNOTATION_TEXT_MAX];
    struct annotation_facts facts;
    if (!annotation_open(annotation, path, a->mask_downsample, slide, data, err) ||
        !annotation_describe(*annotation, &facts, err))
        return false;
    if (!*annotation || facts.tumor_pixels) return true;
    annotation_say_empty(*annotation, why);
    log_warning("%s: nothing is outlined: %s", path, why);
    return true;
}

static void print_score(const struct heatmap *heatmap, const char *path,
                        const struct heatmap_files *files)
{
    if (heatmap->windows > 0)
        printf("%s: score %.4f, %lld windows, %s\n", SHOWN(path), heatmap->score,
               (long long)heatmap->windows, SHOWN(files->picture));
    else
        printf("%s: no score, 0 windows, %s\n", SHOWN(path), SHOWN(files->picture));
    fflush(stdout);
    if (heatmap->windows == 0)
        log_warning("%s: no window of it is tissue by the model's data.tissue: it has no score",
                    path);
}

static bool one_slide(const struct checkpoint *checkpoint, struct predictor *predictor,
                      const struct arguments *a, int threads, const char *path, struct error *err)
{
    struct slide slide = { 0 };
    struct annotation *annotation = NULL;
    struct heatmap heatmap = { 0 };
    struct heatmap_files files;
    const struct heatmap_options options = { .stride = a->stride,
                                             .min_tissue = a->min_tissue,
                                             .threads = threads,
                                             .partial = files.partial };
    bool ok = heatmap_files_init(&files, a->out, path, err) &&
              slide_open(&slide, path, a->mpp, err);
    if (ok) scale_log(&slide);
    ok = ok && heatmap_files_check_earlier(&files, checkpoint, &slide, err) &&
         open_annotation(&annotation, a, &slide, &checkpoint->config.data, err) &&
         heatmap_compute(&heatmap, checkpoint, predictor, &slide, &options, err) &&
         heatmap_write(&heatmap, checkpoint, &slide, annotation, &files, err);
    if (ok) {
        unlink(files.partial);
        print_score(&heatmap, path, &files);
    }
    heatmap_release(&heatmap);
    annotation_release(annotation);
    slide_release(&slide);
    return ok;
}

/* Before any of them is computed. */
static bool check_outputs(const struct arguments *a, const char *checkpoint, int count,
                          char **paths, struct error *err)
{
    char *others[] = { (char *)checkpoint, (char *)a->annotation };
    struct heatmap_files files;
    if (!output_check_stems(paths, count, err)) return false;
    for (int i = 0; i < count; i++)
        if (!heatmap_files_init(&files, a->out, paths[i], err) ||
            !heatmap_files_check(&files, paths, count, err) ||
            !heatmap_files_check(&files, others, 2, err))
            return false;
    return true;
}

static bool all_slides(struct checkpoint *checkpoint, const struct session *session,
                       const struct arguments *a, int count, char **paths, int *bad,
                       struct error *err)
{
    struct model *model = NULL;
    struct predictor predictor = { 0 };
    checkpoint->config.compute.precision = session->precision;
    bool ok = check_outputs(a, checkpoint->path, count, paths, err) && folder_create(a->out, err) &&
              checkpoint_model(checkpoint, session->backend, a->batch, &model, err) &&
              predictor_init(&predictor, model, a->orientations, err);
    if (ok)
        session_compare_precision(session, checkpoint->state.threshold,
                                  checkpoint->threshold_precision);
    if (ok)
        memory_note(model, HEATMAP_BATCHES,
                    grid_walk_cache_bytes(session->reader_threads) + SLIDE_OPENSLIDE_BYTES);
    for (int i = 0; i < count && ok; i++) {
        struct error reason = { 0 };
        if (one_slide(checkpoint, &predictor, a, session->reader_threads, paths[i], &reason))
            continue;
        ++*bad;
        if (count == 1)
            *err = reason;
        else
            log_warning("%s", reason.message);
    }
    predictor_release(&predictor);
    model_release(model);
    return ok;
}

static enum exit_code run(void *arguments, int count, char **operands, struct error *err)
{
    const struct arguments *a = arguments;
    int bad = 0, slides = count - 1;
    struct checkpoint checkpoint;
    struct session session = { 0 };
    if (count < 2) {
        error_set(
            err, EXIT_CODE_USAGE,
            "heatmap: give a checkpoint and at least one slide; see `micromet heatmap --help`");
        return err->code;
    }
    if (!checkpoint_open(&checkpoint, operands[0], err)) return err->code;
    session_accept_any_backend(&checkpoint.config.compute, checkpoint.precision, a->threads);
    const bool ok = operands_configure(&checkpoint.config, &slides, operands + 1, err) &&
                    mask_values_set(&checkpoint.config, a->mask_values, err) &&
                    session_init(&session, &checkpoint.config.compute,
                                 checkpoint.config.data.level_count, 0, NULL, err) &&
                    all_slides(&checkpoint, &session, a, slides, operands + 1, &bad, err);
    session_release(&session);
    checkpoint_release(&checkpoint);
    if (!ok) return err->code;
    if (bad == 0) return EXIT_CODE_OK;
    if (err->code == EXIT_CODE_OK)
        error_set(err, bad == slides ? EXIT_CODE_FAILED : EXIT_CODE_PARTIAL,
                  "%d of %d slides failed; the reasons stand above", bad, slides);
    return err->code;
}

const struct subcommand command_heatmap = {
    .name = "heatmap",
    .summary = "draw the tumour probability of every tissue window of a slide",
    .operands = "CHECKPOINT SLIDE... [compute.KEY=value ...]",
    .operand_kind = OPTION_FILE,
    .description =
        "Computes the tumour probability of every tissue window of each SLIDE with the model's own "
        "window, levels and preprocessing, and writes <out>/<slide>.heatmap.tif (float TIFF, one "
        "pixel a window), .heatmap.png (overlay with legend and scale) and .heatmap.json (score "
        "and geometry). Interrupted maps go on where they stopped.\n\n"
        "Memory does not grow with the slide: with two towers about 300 MiB on two processors, and "
        "up to 32 MiB more for each further processor up to eight. What to expect is printed "
        "first.\n\n"
        "The model computes in the precision that it was trained in, unless compute.precision says "
        "otherwise.",
    .options = option_rows,
    ARGUMENTS(.out = ".", .annotation = "", .mask_values = "", .batch = 32, .orientations = 1,
              .min_tissue = -1),
    .examples = "micromet heatmap runs/seed/checkpoints/best.safetensors test_001.tif --out maps\n"
                "micromet heatmap best.safetensors tumor_091.tif --annotation tumor_091_mask.tif "
                "--orientations 8\n",
    .run = run,
};
