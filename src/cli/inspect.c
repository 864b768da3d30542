/* micromet inspect: describes a file and what is unusual about it. Its kind is determined by its
 * first bytes, not by its name. */
#include "inspect.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "micromet/base/file.h"
#include "micromet/base/log.h"
#include "micromet/base/output.h"
#include "micromet/format/weights.h"
#include "micromet/slide/pack.h"

struct arguments {
    const char *annotation, *mask_values, *labels, *out;
    double mpp, mask_downsample;
};

static const struct option option_rows[] = {
    { .name = "annotation",
      .kind = OPTION_FILE,
      FIELD(annotation),
      .value = "FILE",
      .help = "of the slide (one PATH only)" },
    { OPTION_MASK_VALUES, .absent = "all but 0",
      .help = "of the annotation's mask that are tumor, such as 1 or 1,2" },
    { OPTION_LABELS, .absent = "all are tumor" },
    { OPTION_MASK_DOWNSAMPLE },
    { OPTION_MPP, .help = "µm per pixel of level 0, for slides that do not say or say it wrong" },
    { .name = "out",
      .kind = OPTION_FOLDER,
      FIELD(out),
      .value = "FOLDER",
      .absent = "here",
      .help = "where pictures go" },
    { 0 },
};

/* The kind of a file, by its first bytes. Unknown ones are left to OpenSlide. */
enum file_kind { FILE_SLIDE, FILE_PACK, FILE_WEIGHTS };

static enum file_kind kind_of(const char *path)
{
    struct error ignored = { 0 };
    enum weights_format format = WEIGHTS_UNKNOWN;
    if (pack_is_at(path)) return FILE_PACK;
    return weights_sniff(&format, path, &ignored) && format != WEIGHTS_UNKNOWN ? FILE_WEIGHTS
                                                                               : FILE_SLIDE;
}

static bool inspect_file(const struct arguments *a, const char *path, struct error *err)
{
    struct config config;
    config_defaults(&config);
    if (!mask_values_set(&config, a->mask_values, a->labels, err)) return false;
    switch (kind_of(path)) {
    case FILE_PACK:
        return inspect_pack(path, a->out, err);
    case FILE_WEIGHTS:
        return inspect_weights(path, err);
    default:
        return inspect_slide(path, a->annotation, a->mask_downsample,
                             *a->mask_values || *a->labels ? &config.data : NULL, a->mpp, a->out,
                             err);
    }
}

static bool check_picture(const char *folder, const char *path, const char *ending,
                          char *const *inputs, int count, struct error *err)
{
    char stem[PATH_MAX_BYTES], name[PATH_MAX_BYTES + 16], picture[PATH_MAX_BYTES];
    path_stem(stem, path);
    snprintf(name, sizeof name, "%s.%s.png", stem, ending);
    return path_join(picture, folder, name, err) &&
           output_check(picture, "give another --out", err) &&
           output_check_inputs(picture, inputs, count, err);
}

/* Pictures of slides and packs are named by these. */
static bool check_outputs(const struct arguments *a, int count, char **paths, struct error *err)
{
    static const char *const endings[] = { [FILE_SLIDE] = "inspect", [FILE_PACK] = "contact" };
    for (int kind = FILE_SLIDE; kind <= FILE_PACK; kind++) {
        char **of_kind = calloc((size_t)count, sizeof *of_kind);
        int found = 0;
        bool ok = of_kind || error_set(err, EXIT_CODE_FAILED, "no memory for a list of files");
        for (int i = 0; ok && i < count; i++)
            if (kind_of(paths[i]) == (enum file_kind)kind) of_kind[found++] = paths[i];
        ok = ok && output_check_stems(of_kind, found, err);
        for (int i = 0; ok && i < found; i++)
            ok = check_picture(a->out, of_kind[i], endings[kind], paths, count, err);
        free(of_kind);
        if (!ok) return false;
    }
    return true;
}

/* A bad file is reported, and the others are still inspected. */
static enum exit_code inspect_files(const struct arguments *a, int count, char **paths,
                                    struct error *err)
{
    int failed = 0;
    if (!check_outputs(a, count, paths, err)) return err->code;
    for (int i = 0; i < count; i++) {
        struct error reason = { 0 };
        if (i > failed) printf("\n"); /* between reports */
        if (inspect_file(a, paths[i], &reason)) continue;
        failed++;
        fflush(stdout);
        if (count == 1)
            *err = reason;
        else
            log_warning("%s", reason.message);
    }
    if (failed)
        error_set(err, failed < count ? EXIT_CODE_PARTIAL : EXIT_CODE_FAILED,
                  "inspect: %d of %d files failed, as reported above", failed, count);
    return err->code;
}

static enum exit_code run(void *arguments, int count, char **operands, struct error *err)
{
    const struct arguments *a = arguments;
    if (count < 1)
        error_set(err, EXIT_CODE_USAGE,
                  "inspect: which file? for example `micromet inspect slide.tif`");
    else if (count > 1 && *a->annotation)
        error_set(err, EXIT_CODE_USAGE,
                  "inspect: --annotation belongs to one slide, but %d files are given", count);
    if (err->code) return err->code;
    return inspect_files(a, count, operands, err);
}

const struct subcommand command_inspect = {
    .name = "inspect",
    .summary = "say what a slide, pack, checkpoint or file of weights holds, and draw it",
    .operands = "PATH...",
    .operand_kind = OPTION_FILE,
    .description =
        "A slide: its levels, pixel size and tissue; with an annotation (mask, GeoJSON or XML) "
        "also its size, values or names and tumor, and whether these fit the slide. Writes "
        "NAME.inspect.png, the slide with tissue outlined in blue and tumor in red.\n\n"
        "A pack: its parameters, checksum and a sheet of its windows. A checkpoint: its model. "
        "Weights of Keras, PyTorch or ONNX: what of them `micromet import` takes.\n\n"
        "What a file is, its first bytes decide. A file that cannot be read is reported and the "
        "others go on; the exit status is then 3 (1 when all failed).",
    .options = option_rows,
    ARGUMENTS(.annotation = "", .mask_values = "", .labels = "", .out = "."),
    .examples = "micromet inspect tumor_091.tif --annotation tumor_091_mask.tif --out pictures\n"
                "micromet inspect slides/*.svs --mpp 0.25 --out pictures\n"
                "micromet inspect runs/seed/best.safetensors\n",
    .run = run,
};
