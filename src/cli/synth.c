/* micromet synth: writes synthetic slides with masks and their manifest, ready for `micromet
 * prepare`. The same options give the same files, byte for byte. */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "micromet/base/log.h"
#include "micromet/base/output.h"
#include "micromet/base/random.h"
#include "micromet/base/thread.h"
#include "micromet/slide/manifest.h"
#include "micromet/synth/synth.h"

struct arguments {
    struct synth_options synth;
    int64_t tumor_slides, normal_slides, validation, test;
};

#define COUNT(option, member) .name = option, .kind = OPTION_INT, FIELD(member), .value = "N"
#define SIDE(option, member)  .name = option, .kind = OPTION_INT, FIELD(member), .value = "PX"

static const struct option option_rows[] = {
    { COUNT("tumor-slides", tumor_slides), .max = 9999, .help = "slides with tumour" },
    { COUNT("normal-slides", normal_slides), .max = 9999, .help = "slides without" },
    { COUNT("validation", validation), .max = 9999,
      .help = "of each kind for validation; the last but --test" },
    { COUNT("test", test), .max = 9999,
      .help = "of each kind for testing; the last. At least one slide of each kind is left for "
              "training" },
    { SIDE("width", synth.width), .min = 64, .max = 1 << 20, .help = "of level 0" },
    { SIDE("height", synth.height), .min = 64, .max = 1 << 20, .help = "of level 0" },
    { COUNT("levels", synth.levels), .min = 1, .max = 16,
      .help = "pyramid levels, each half of the one before" },
    { .name = "tissue",
      .kind = OPTION_DOUBLE,
      FIELD(synth.tissue),
      .max = 1,
      .value = "SHARE",
      .help = "of the slide that tissue covers, 0 to 1" },
    { COUNT("tumors", synth.tumors), .min = 1, .max = SYNTH_TUMORS_MAX,
      .help = "tumour regions of a slide with tumour" },
    { .name = "mpp",
      .kind = OPTION_DOUBLE,
      FIELD(synth.mpp),
      .max = 1000,
      .value = "UM",
      .help = "µm per level-0 pixel; 0 = do not say" },
    { SIDE("tile", synth.tile), .min = 64, .max = 512, .help = "side of a tile, a multiple of 16" },
    { COUNT("quality", synth.quality), .min = 1, .max = 100, .help = "of JPEG, 1 to 100" },
    { COUNT("seed", synth.seed), .max = INT32_MAX, .help = "another seed, other slides" },
    { COUNT("threads", synth.threads), .max = 256, .absent = "all",
      .help = "processors to use; the files do not depend on it" },
    { 0 },
};

/* The slides to write, and their manifest. */
struct batch {
    const struct arguments *wanted;
    struct synth_options synth; /* of each slide, except its seed and tumours */
    const char *folder;
    FILE *manifest;
    struct progress progress;
};

/* The last slides of a class are for testing, those before them for validation, and the rest,
 * at least one, for training. */
static enum split split_of(const struct batch *batch, int64_t index, int64_t count)
{
    int64_t spare = count - 1, test = batch->wanted->test < spare ? batch->wanted->test : spare;
    int64_t validation = batch->wanted->validation < spare - test ? batch->wanted->validation
                                                                  : spare - test;
    return index >= count - test                ? SPLIT_TEST
           : index >= count - test - validation ? SPLIT_VALIDATION
                                                : SPLIT_TRAIN;
}

/* The slides that CAMELYON16 calls tumor_001.tif, too, are not written over. */
static bool check_absent(const struct batch *batch, const char *name, struct error *err)
{
    char path[PATH_MAX_BYTES];
    return path_join(path, batch->folder, name, err) &&
           (!file_exists(path) ||
            error_set(err, EXIT_CODE_FAILED,
                      "%s: is there already; remove it, or name another folder", path));
}

static bool check_all_absent(const struct batch *batch, struct error *err)
{
    char name[64];
    for (int64_t i = 1; i <= batch->wanted->tumor_slides; i++) {
        snprintf(name, sizeof name, "tumor_%03" PRId64 ".tif", i);
        if (!check_absent(batch, name, err)) return false;
        snprintf(name, sizeof name, "tumor_%03" PRId64 "_mask.tif", i);
        if (!check_absent(batch, name, err)) return false;
    }
    for (int64_t i = 1; i <= batch->wanted->normal_slides; i++) {
        snprintf(name, sizeof name, "normal_%03" PRId64 ".tif", i);
        if (!check_absent(batch, name, err)) return false;
    }
    return check_absent(batch, "slides.csv", err);
}

static bool write_slide(struct batch *batch, const char *kind, int64_t index, int64_t count,
                        struct error *err)
{
    bool tumor = kind[0] == 't';
    char name[64], mask[64] = "", path[PATH_MAX_BYTES], mask_path[PATH_MAX_BYTES];
    struct synth_options synth = batch->synth;
    struct random random = random_init(synth.seed, tumor, (uint64_t)index, RANDOM_SYNTH);
    synth.seed = (uint64_t)random_u32(&random) << 32;
    synth.seed |= random_u32(&random);
    if (!tumor) synth.tumors = 0;

    snprintf(name, sizeof name, "%s_%03" PRId64 ".tif", kind, index + 1);
    if (tumor) snprintf(mask, sizeof mask, "%s_%03" PRId64 "_mask.tif", kind, index + 1);
    if (!path_join(path, batch->folder, name, err) ||
        !path_join(mask_path, batch->folder, mask, err) ||
        !synth_write(&synth, path, tumor ? mask_path : NULL, err))
        return false;
    fprintf(batch->manifest, "%s,%s,%s,%s\n", name, mask, kind,
            split_name(split_of(batch, index, count)));
    return true;
}

static bool write_slides(struct batch *batch, struct error *err)
{
    for (int64_t i = 0; i < batch->wanted->tumor_slides; i++)
        if (!write_slide(batch, "tumor", i, batch->wanted->tumor_slides, err)) return false;
    for (int64_t i = 0; i < batch->wanted->normal_slides; i++)
        if (!write_slide(batch, "normal", i, batch->wanted->normal_slides, err)) return false;
    return true;
}

static bool write_folder(struct batch *batch, struct error *err)
{
    struct atomic_file file = { 0 };
    char path[PATH_MAX_BYTES];
    double started = clock_seconds();
    int64_t files = 2 * batch->wanted->tumor_slides +
                    batch->wanted->normal_slides; /* slides and masks */
    if (!path_join(path, batch->folder, "slides.csv", err) || !check_all_absent(batch, err) ||
        !output_check(path, "name another folder", err) || !folder_create(batch->folder, err) ||
        !atomic_file_open(&file, path, err))
        return false;
    batch->manifest = file.stream;
    batch->synth.progress = &batch->progress;
    fputs("slide,annotation,label,split\n", file.stream);
    progress_begin(&batch->progress, "synth", "tiles", files * synth_tile_count(&batch->synth));
    bool ok = write_slides(batch, err);
    progress_end(&batch->progress);
    ok = ok && atomic_file_commit(&file, err);
    atomic_file_release(&file);
    if (ok)
        log_info("%" PRId64 " slides in %.1f s; they are listed in %s",
                 batch->wanted->tumor_slides + batch->wanted->normal_slides,
                 clock_seconds() - started, path);
    return ok;
}

static enum exit_code run(void *arguments, int count, char **operands, struct error *err)
{
    const struct arguments *a = arguments;
    struct batch batch = { .wanted = a, .synth = a->synth };
    if (count != 1) {
        error_set(err, EXIT_CODE_USAGE,
                  "synth: give one folder to write to, for example `micromet synth slides`");
        return err->code;
    }
    if (a->tumor_slides <= a->validation + a->test) {
        error_set(err, EXIT_CODE_USAGE,
                  "synth: --tumor-slides %" PRId64 " leaves none for training beside "
                  "--validation %" PRId64 " and --test %" PRId64,
                  a->tumor_slides, a->validation, a->test);
        return err->code;
    }
    batch.folder = operands[0];
    if (synth_check(&a->synth, err)) write_folder(&batch, err);
    return err->code;
}

const struct subcommand command_synth = {
    .name = "synth",
    .summary = "write synthetic slides with tumour masks and a manifest",
    .operands = "FOLDER",
    .operand_kind = OPTION_FOLDER,
    .description =
        "Writes tumor_001.tif with tumor_001_mask.tif, ..., normal_001.tif, ... and slides.csv, "
        "the manifest that names them. Slides are pyramidal JPEG TIFFs that OpenSlide opens, masks "
        "are 0/255 TIFFs with the same levels. The same options give the same files, byte for "
        "byte.\n\n"
        "Tumour has large nuclei in nests. Every slide also has regions with large nuclei without "
        "nests and regions with nests of small nuclei, so one magnification alone is not enough. "
        "Nuclei show at levels 0 and 1, nests at levels 2 and 3.",
    .options = option_rows,
    ARGUMENTS(.synth = { SYNTH_DEFAULTS }, .tumor_slides = 6, .normal_slides = 2, .validation = 1,
              .test = 1),
    .examples =
        "micromet synth slides\n"
        "micromet synth slides --tumor-slides 10 --normal-slides 4 --validation 2 --test 2\n"
        "micromet synth large --tumor-slides 1 --normal-slides 0 --validation 0 --test 0 --width "
        "80000 --height 80000 --levels 9 --tissue 0.01\n",
    .run = run,
};
