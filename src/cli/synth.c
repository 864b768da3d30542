/* micromet synth: a folder of synthetic slides with masks and their manifest, ready for `micromet
 * prepare`.
 *
 * Everything follows from the command line: the same options give the same files, byte for byte. */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "micromet/base/log.h"
#include "micromet/base/random.h"
#include "micromet/base/thread.h"
#include "micromet/slide/manifest.h"
#include "micromet/synth/synth.h"

struct batch {
    struct synth_options options;
    int64_t tumor_slides, normal_slides, validation, test;
    const char *folder;
    FILE *manifest;
    struct progress progress;
};

/* The last slides of a kind are for testing, those before them for validation, the rest for
 * training; at least one is left to train on. */
static enum split split_of(const struct batch *batch, int64_t index, int64_t count)
{
    int64_t spare = count - 1, test = batch->test < spare ? batch->test : spare;
    int64_t validation = batch->validation < spare - test ? batch->validation : spare - test;
    return index >= count - test                ? SPLIT_TEST
           : index >= count - test - validation ? SPLIT_VALIDATION
                                                : SPLIT_TRAIN;
}

static bool write_slide(struct batch *batch, const char *kind, int64_t index, int64_t count,
                        struct error *err)
{
    bool tumor = kind[0] == 't';
    char name[64], mask[64] = "", path[PATH_MAX_BYTES], mask_path[PATH_MAX_BYTES];
    struct synth_options options = batch->options;
    struct random random = random_init(options.seed, tumor, (uint64_t)index, RANDOM_SYNTH);
    options.seed = (uint64_t)random_u32(&random) << 32;
    options.seed |= random_u32(&random);
    if (!tumor) options.tumors = 0;

    snprintf(name, sizeof name, "%s_%03" PRId64 ".tif", kind, index + 1);
    if (tumor) snprintf(mask, sizeof mask, "%s_%03" PRId64 "_mask.tif", kind, index + 1);
    if (!path_join(path, batch->folder, name, err) ||
        !path_join(mask_path, batch->folder, mask, err) ||
        !synth_write(&options, path, tumor ? mask_path : NULL, err))
        return false;
    fprintf(batch->manifest, "%s,%s,%s,%s\n", name, mask, kind,
            split_name(split_of(batch, index, count)));
    return true;
}

static bool write_slides(struct batch *batch, struct error *err)
{
    for (int64_t i = 0; i < batch->tumor_slides; i++)
        if (!write_slide(batch, "tumor", i, batch->tumor_slides, err)) return false;
    for (int64_t i = 0; i < batch->normal_slides; i++)
        if (!write_slide(batch, "normal", i, batch->normal_slides, err)) return false;
    return true;
}

static bool write_folder(struct batch *batch, struct error *err)
{
    struct atomic_file file = { 0 };
    char path[PATH_MAX_BYTES];
    double started = clock_seconds();
    int64_t files = 2 * batch->tumor_slides + batch->normal_slides; /* slides and masks */
    if (!folder_create(batch->folder, err) || !path_join(path, batch->folder, "slides.csv", err) ||
        !atomic_file_open(&file, path, err))
        return false;
    batch->manifest = file.stream;
    batch->options.progress = &batch->progress;
    fputs("slide,annotation,label,split\n", file.stream);
    progress_begin(&batch->progress, "synth", "tiles", files * synth_tile_count(&batch->options));
    bool ok = write_slides(batch, err);
    progress_end(&batch->progress);
    ok = ok && atomic_file_commit(&file, err);
    atomic_file_release(&file);
    if (ok)
        log_info("%" PRId64 " slides in %.1f s; they are listed in %s",
                 batch->tumor_slides + batch->normal_slides, clock_seconds() - started, path);
    return ok;
}

/* The integers of the command line that the options keep narrower. */
struct narrow {
    int64_t levels, tile, quality, tumors, seed, threads;
};

static bool read_options(struct batch *batch, int argc, char **argv, struct error *err)
{
    struct synth_options *options = &batch->options;
    struct narrow narrow = { options->levels, options->tile,          options->quality,
                             options->tumors, (int64_t)options->seed, 0 };
    const struct option_spec specs[] = {
        { .name = "tumor-slides", .kind = OPTION_INT, .value = &batch->tumor_slides, .max = 9999 },
        { .name = "normal-slides",
          .kind = OPTION_INT,
          .value = &batch->normal_slides,
          .max = 9999 },
        { .name = "validation", .kind = OPTION_INT, .value = &batch->validation, .max = 9999 },
        { .name = "test", .kind = OPTION_INT, .value = &batch->test, .max = 9999 },
        { .name = "width",
          .kind = OPTION_INT,
          .value = &options->width,
          .min = 64,
          .max = 1 << 20 },
        { .name = "height",
          .kind = OPTION_INT,
          .value = &options->height,
          .min = 64,
          .max = 1 << 20 },
        { .name = "levels", .kind = OPTION_INT, .value = &narrow.levels, .min = 1, .max = 16 },
        { .name = "tissue", .kind = OPTION_DOUBLE, .value = &options->tissue, .max = 1 },
        { .name = "tumors",
          .kind = OPTION_INT,
          .value = &narrow.tumors,
          .min = 1,
          .max = SYNTH_TUMORS_MAX },
        { .name = "mpp", .kind = OPTION_DOUBLE, .value = &options->mpp, .max = 1000 },
        { .name = "tile", .kind = OPTION_INT, .value = &narrow.tile, .min = 64, .max = 512 },
        { .name = "quality", .kind = OPTION_INT, .value = &narrow.quality, .min = 1, .max = 100 },
        { .name = "seed", .kind = OPTION_INT, .value = &narrow.seed, .max = INT32_MAX },
        { .name = "threads", .kind = OPTION_INT, .value = &narrow.threads, .max = 256 },
    };
    int positionals;
    if (!options_parse(argc, argv, specs, sizeof specs / sizeof *specs, &positionals, err))
        return false;
    if (positionals != 1)
        return error_set(err, EXIT_CODE_USAGE,
                         "synth: give one folder to write to, for example `micromet synth slides`");
    batch->folder = argv[1];
    options->levels = (int)narrow.levels;
    options->tile = (int)narrow.tile;
    options->quality = (int)narrow.quality;
    options->tumors = (int)narrow.tumors;
    options->seed = (uint64_t)narrow.seed;
    options->threads = (int)narrow.threads;
    if (batch->tumor_slides <= batch->validation + batch->test)
        return error_set(err, EXIT_CODE_USAGE,
                         "synth: --tumor-slides %" PRId64 " leaves none for training beside "
                         "--validation %" PRId64 " and --test %" PRId64,
                         batch->tumor_slides, batch->validation, batch->test);
    return synth_check(options, err);
}

static enum exit_code run(int argc, char **argv, struct error *err)
{
    struct batch batch = { .tumor_slides = 6, .normal_slides = 2, .validation = 1, .test = 1 };
    synth_defaults(&batch.options);
    if (read_options(&batch, argc, argv, err)) write_folder(&batch, err);
    return err->code;
}

const struct subcommand command_synth = {
    .name = "synth",
    .summary = "write synthetic slides with tumour masks and a manifest",
    .help =
        "usage: micromet synth FOLDER [options]\n"
        "\n"
        "Writes tumor_001.tif with tumor_001_mask.tif, ..., normal_001.tif, ... and slides.csv, "
        "the\n"
        "manifest that names them. Slides are pyramidal JPEG TIFFs that OpenSlide opens, masks "
        "are\n"
        "0/255 TIFFs with the same levels. The same options give the same files, byte for byte.\n"
        "\n"
        "Tumour has large nuclei in nests. Every slide also has regions with large nuclei without\n"
        "nests and regions with nests of small nuclei, so one magnification alone is not enough.\n"
        "Nuclei show at levels 0 and 1, nests at levels 2 and 3.\n"
        "\n"
        "  --tumor-slides N   slides with tumour (6)\n"
        "  --normal-slides N  slides without (2)\n"
        "  --validation N     of each kind for validation; the last but --test (1)\n"
        "  --test N           of each kind for testing; the last (1)\n"
        "                     At least one slide of each kind is left for training.\n"
        "  --width PX         of level 0 (4096)\n"
        "  --height PX        of level 0 (4096)\n"
        "  --levels N         pyramid levels, each half of the one before (5)\n"
        "  --tissue SHARE     of the slide that tissue covers, 0 to 1 (0.5)\n"
        "  --tumors N         tumour regions of a slide with tumour (2)\n"
        "  --mpp X            micrometres a pixel of level 0; 0 = do not say (0.5)\n"
        "  --tile PX          side of a tile, a multiple of 16 (256)\n"
        "  --quality N        of JPEG, 1 to 100 (80)\n"
        "  --seed N           another seed, other slides (1)\n"
        "  --threads N        0 = all processors; the files do not depend on it (0)\n"
        "\n"
        "examples:\n"
        "  micromet synth slides\n"
        "  micromet synth slides --tumor-slides 10 --normal-slides 4 --validation 2 --test 2\n"
        "  micromet synth large --tumor-slides 1 --normal-slides 0 --validation 0 --test 0 \\\n"
        "      --width 80000 --height 80000 --levels 9 --tissue 0.01\n",
    .run = run,
};
