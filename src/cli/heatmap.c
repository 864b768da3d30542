/* micromet heatmap: computes heat maps of slides. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"
#include "micromet/base/log.h"
#include "micromet/run/heatmap.h"
#include "micromet/run/session.h"
#include "micromet/slide/scale.h"

struct arguments {
    const char *out, *annotation;
    int stride, batch, orientations, threads;
    double min_tissue, mpp; /* min_tissue: -1 = as trained */
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
    { OPTION_MPP, .help = "µm per level-0 pixel, whatever the slides say" },
    { OPTION_THREADS, .absent = "all" },
    { 0 },
};

static bool one_slide(const struct checkpoint *checkpoint, struct predictor *predictor,
                      const struct arguments *a, int threads, const char *path, struct error *err)
{
    struct slide slide = { 0 };
    struct annotation *annotation = NULL;
    struct heatmap heatmap = { 0 };
    char stem[PATH_MAX_BYTES], name[PATH_MAX_BYTES + 16], partial[PATH_MAX_BYTES];
    path_stem(stem, path);
    snprintf(name, sizeof name, "%s.heatmap.partial", stem);
    const struct heatmap_options options = {
        .stride = a->stride, .min_tissue = a->min_tissue, .threads = threads, .partial = partial
    };
    bool ok = path_join(partial, a->out, name, err) && slide_open(&slide, path, a->mpp, err);
    if (ok) scale_log(&slide);
    ok = ok && annotation_open(&annotation, a->annotation, &slide, err) &&
         heatmap_compute(&heatmap, checkpoint, predictor, &slide, &options, err) &&
         heatmap_write(&heatmap, checkpoint, &slide, annotation, a->out, err);
    if (ok) {
        unlink(partial);
        printf("%s: score %.4f, %lld windows, %s/%s.heatmap.png\n", path, heatmap.score,
               (long long)heatmap.windows, a->out, stem);
        fflush(stdout);
    }
    heatmap_release(&heatmap);
    annotation_release(annotation);
    slide_release(&slide);
    return ok;
}

static bool all_slides(struct checkpoint *checkpoint, const struct session *session,
                       const struct arguments *a, int count, char **paths, int *bad,
                       struct error *err)
{
    struct model *model = NULL;
    struct predictor predictor = { 0 };
    bool ok = folder_create(a->out, err) &&
              checkpoint_model(checkpoint, session->backend, a->batch, &model, err) &&
              predictor_init(&predictor, model, a->orientations, err);
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
    int bad = 0;
    struct checkpoint checkpoint;
    struct session session;
    if (count < 2) {
        error_set(
            err, EXIT_CODE_USAGE,
            "heatmap: give a checkpoint and at least one slide; see `micromet heatmap --help`");
        return err->code;
    }
    if (!checkpoint_open(&checkpoint, operands[0], err)) return err->code;
    session_accept_any_backend(&checkpoint.config.compute, a->threads);
    const bool ok = session_init(&session, &checkpoint.config.compute,
                                 checkpoint.config.data.level_count, 0, err) &&
                    all_slides(&checkpoint, &session, a, count - 1, operands + 1, &bad, err);
    session_release(&session);
    checkpoint_release(&checkpoint);
    if (!ok) return err->code;
    if (bad == 0) return EXIT_CODE_OK;
    if (err->code == EXIT_CODE_OK)
        error_set(err, bad == count - 1 ? EXIT_CODE_FAILED : EXIT_CODE_PARTIAL,
                  "%d of %d slides failed; the reasons stand above", bad, count - 1);
    return err->code;
}

const struct subcommand command_heatmap = {
    .name = "heatmap",
    .summary = "draw the tumour probability of every tissue window of a slide",
    .operands = "CHECKPOINT SLIDE...",
    .operand_kind = OPTION_FILE,
    .description =
        "Computes the tumour probability of every tissue window of each SLIDE with the model's own "
        "window, levels and preprocessing, and writes <out>/<slide>.heatmap.tif (float TIFF, one "
        "pixel a window), .heatmap.png (overlay with legend and scale) and .heatmap.json (score "
        "and geometry). Interrupted maps go on where they stopped.\n\n"
        "Memory does not grow with the slide: with two towers about 300 MiB on two processors, and "
        "up to 32 MiB more for each further processor up to eight. What to expect is printed "
        "first.",
    .options = option_rows,
    ARGUMENTS(.out = ".", .annotation = "", .batch = 32, .orientations = 1, .min_tissue = -1),
    .examples = "micromet heatmap runs/seed/checkpoints/best.safetensors test_001.tif --out maps\n"
                "micromet heatmap best.safetensors tumor_091.tif --annotation tumor_091_mask.tif "
                "--orientations 8\n",
    .run = run,
};
