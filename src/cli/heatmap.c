/* micromet heatmap: computes heat maps of slides. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"
#include "micromet/base/log.h"
#include "micromet/base/output.h"
#include "micromet/base/stop.h"
#include "micromet/base/text.h"
#include "micromet/run/heatmap.h"
#include "micromet/run/session.h"
#include "micromet/slide/scale.h"

struct arguments {
    const char *out, *annotation, *mask_values, *labels;
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
      .help = "mask, GeoJSON or XML, drawn as an outline (with one SLIDE)" },
    { OPTION_MASK_VALUES, .absent = "as trained",
      .help = "of the annotation's mask that are tumor, such as 1 or 1,2" },
    { OPTION_LABELS, .absent = "as trained" },
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

/* The strips that this rank has finished. */
static void name_partial(char path[PATH_MAX_BYTES + 32], const struct heatmap_files *files,
                         const struct world *world)
{
    if (world_size(world) == 1)
        snprintf(path, PATH_MAX_BYTES + 32, "%s", files->partial);
    else
        snprintf(path, PATH_MAX_BYTES + 32, "%s.%d-of-%d", files->partial, world_rank(world) + 1,
                 world_size(world));
}

/* All ranks compute a slide together, and the first of them writes the map. */
static bool one_slide(const struct checkpoint *checkpoint, struct predictor *predictor,
                      const struct arguments *a, int threads, struct world *world, const char *path,
                      struct error *err)
{
    const bool writes = world_rank(world) == 0;
    struct slide slide = { 0 };
    struct annotation *annotation = NULL;
    struct heatmap heatmap = { 0 };
    struct heatmap_files files;
    char partial[PATH_MAX_BYTES + 32];
    const struct heatmap_options options = { .stride = a->stride,
                                             .min_tissue = a->min_tissue,
                                             .threads = threads,
                                             .partial = partial,
                                             .world = world };
    bool ok = heatmap_files_init(&files, a->out, path, err) &&
              slide_open(&slide, path, a->mpp, err) &&
              scale_settle(&slide, &checkpoint->config.data, err);
    if (ok) scale_log(&slide);
    if (ok) name_partial(partial, &files, world);
    ok = ok && (!writes || heatmap_files_check_earlier(&files, checkpoint, &slide, err)) &&
         open_annotation(&annotation, a, &slide, &checkpoint->config.data, err);
    ok = world_all_ok(world, ok, err) &&
         heatmap_compute(&heatmap, checkpoint, predictor, &slide, &options, err);
    ok = ok && (!writes || heatmap_write(&heatmap, checkpoint, &slide, annotation, &files, err));
    ok = world_all_ok(world, ok, err);
    if (ok) unlink(partial);
    if (ok && writes) print_score(&heatmap, path, &files);
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

/* What all slides have in common. */
struct drawing {
    const struct arguments *arguments;
    struct world *world;
    struct checkpoint checkpoint;
    struct session session;
    struct model *model;
    struct predictor predictor;
    int slides, bad;
};

static bool open_drawing(struct drawing *d, char **operands, struct error *err)
{
    const struct arguments *a = d->arguments;
    struct checkpoint *checkpoint = &d->checkpoint;
    if (!checkpoint_open(checkpoint, operands[0], err)) return false;
    session_accept_any_backend(&checkpoint->config.compute, checkpoint->precision, a->threads);
    if (!operands_configure(&checkpoint->config, &d->slides, operands + 1, err) ||
        !mask_values_set(&checkpoint->config, a->mask_values, a->labels, err) ||
        !session_init(&d->session, &checkpoint->config.compute, checkpoint->config.data.level_count,
                      0, d->world, err))
        return false;
    checkpoint->config.compute.precision = d->session.precision;
    if (world_rank(d->world) == 0 &&
        (!check_outputs(a, checkpoint->path, d->slides, operands + 1, err) ||
         !folder_create(a->out, err)))
        return false;
    if (!checkpoint_model(checkpoint, d->session.backend, a->batch, &d->model, err) ||
        !predictor_init(&d->predictor, d->model, a->orientations, err))
        return false;
    session_compare_precision(&d->session, checkpoint->state.threshold,
                              checkpoint->threshold_precision);
    memory_note(d->model, HEATMAP_BATCHES,
                grid_walk_cache_bytes(d->session.reader_threads) + SLIDE_OPENSLIDE_BYTES);
    return true;
}

static void close_drawing(struct drawing *d)
{
    if (d->predictor.model) predictor_release(&d->predictor);
    model_release(d->model);
    session_release(&d->session);
    checkpoint_release(&d->checkpoint);
}

static void all_slides(struct drawing *d, char **paths, struct error *err)
{
    for (int i = 0; i < d->slides; i++) {
        struct error reason = { 0 };
        if (one_slide(&d->checkpoint, &d->predictor, d->arguments, d->session.reader_threads,
                      d->world, paths[i], &reason))
            continue;
        d->bad++;
        const bool stopped = reason.code == EXIT_CODE_INTERRUPTED;
        if (stopped || d->slides == 1)
            *err = reason;
        else
            log_warning("%s", reason.message);
        if (stopped) return;
    }
}

static enum exit_code run(void *arguments, int count, char **operands, struct error *err)
{
    struct drawing d = { .arguments = arguments, .slides = count - 1 };
    if (count < 2) {
        error_set(
            err, EXIT_CODE_USAGE,
            "heatmap: give a checkpoint and at least one slide; see `micromet heatmap --help`");
        return err->code;
    }
    stop_catch();
    if (!world_open(&d.world, err)) return err->code;
    world_end_on_stop(d.world);
    const bool first = world_rank(d.world) == 0;
    if (!first) log_silence();
    const bool opened = open_drawing(&d, operands, err);
    if (world_all_ok(d.world, opened, err))
        all_slides(&d, operands + 1, err);
    else
        world_fail(d.world, err); /* comes back if there are no others */
    if (err->code == EXIT_CODE_OK && d.bad > 0)
        error_set(err, d.bad == d.slides ? EXIT_CODE_FAILED : EXIT_CODE_PARTIAL,
                  "%d of %d slides failed; the reasons stand above", d.bad, d.slides);
    close_drawing(&d);
    world_close(d.world);
    const enum exit_code code = err->code;
    if (!first) error_clear(err); /* the first rank tells it */
    return code;
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
        "and geometry). SIGINT, SIGTERM and SIGUSR1 end it with the exit status 75. Interrupted "
        "maps go on where they stopped.\n\n"
        "Memory does not grow with the slide: with two towers about 300 MiB on two processors, and "
        "up to 32 MiB more for each further processor up to eight. What to expect is printed "
        "first.\n\n"
        "The model computes in the precision that it was trained in, unless compute.precision says "
        "otherwise.",
    .options = option_rows,
    ARGUMENTS(.out = ".", .annotation = "", .mask_values = "", .labels = "", .batch = 32,
              .orientations = 1, .min_tissue = -1),
    .examples = "micromet heatmap runs/seed/checkpoints/best.safetensors test_001.tif --out maps\n"
                "micromet heatmap best.safetensors tumor_091.tif --annotation tumor_091_mask.tif "
                "--orientations 8\n",
    .run = run,
};
