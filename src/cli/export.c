/* micromet export */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "micromet/base/text.h"
#include "micromet/export/export.h"

static const char help[] =
    "usage: micromet export CHECKPOINT --format FORMAT -o PATH [options]\n"
    "\n"
    "Writes the model of a checkpoint for other programs. Each format says what the model\n"
    "expects: levels, µm/px, window, preprocessing, pool rule, class names and threshold.\n"
    "\n"
    "  --format onnx         one file: batch norms folded, any batch size, one input for each\n"
    "                        tower (tower0, tower1 …), outputs logit and probability\n"
    "  --format safetensors  the weights under torchvision's names, and beside them PATH.py, a\n"
    "                        PyTorch module that loads them\n"
    "  --format wsinfer      a folder for WSInfer and QuPath: config.json, the weights, and\n"
    "                        make_torchscript.py, which makes torchscript_model.pt of them\n"
    "  --format triton       a model repository for NVIDIA Triton: NAME/config.pbtxt and\n"
    "                        NAME/1/model.onnx\n"
    "  -o PATH, --out PATH   file (onnx, safetensors) or folder (wsinfer, triton)\n"
    "  --force               write over what is there\n"
    "\n"
    "onnx and triton:\n"
    "  --input uint8         pictures as they are, (N, height, width, 3) RGB (default)\n"
    "  --input float         (N, 3, height, width) RGB from 0 to 1, as ToTensor or blobFromImage\n"
    "                        with scale 1/255 give it\n"
    "  --single-input        one larger window at the finest level; the graph cuts and shrinks\n"
    "                        each tower's window out of its centre. Levels must shrink by an\n"
    "                        integer against the finest one\n"
    "  --precision fp32|fp16 of weights and arithmetic (default: fp32)\n"
    "\n"
    "  --mpp UM              µm per level-0 pixel, where the training slides did not say\n"
    "\n"
    "examples:\n"
    "  micromet export best.safetensors --format onnx -o model.onnx\n"
    "  micromet export best.safetensors --format onnx --single-input --precision fp16 -o "
    "viewer.onnx\n"
    "  micromet export best.safetensors --format safetensors -o tumor.safetensors\n"
    "  micromet export best.safetensors --format wsinfer -o wsinfer/ && python "
    "wsinfer/make_torchscript.py\n"
    "  micromet export best.safetensors --format triton -o /srv/models\n";

struct arguments {
    const char *format, *out, *input, *precision;
    bool single_input, force;
    double mpp;
};

/* One of `count` names; *index is which. */
static bool choose(const char *option, const char *word, const char *const *names, int count,
                   int *index, struct error *err)
{
    char all[128] = "";
    struct text_nearest nearest = text_nearest_init(word);
    for (*index = 0; *index < count; ++*index) {
        if (strcmp(names[*index], word) == 0) return true;
        text_nearest_offer(&nearest, names[*index]);
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", *index ? ", " : "",
                 names[*index]);
    }
    return error_set(err, EXIT_CODE_USAGE, "--%s: '%.80s' is none of %s%s%s", option, word, all,
                     nearest.best[0] ? "; did you mean " : "", nearest.best);
}

static bool read_options(const struct arguments *a, struct export_options *options,
                         struct error *err)
{
    static const char *const inputs[] = { "uint8", "float" }, *const precisions[] = { "fp32",
                                                                                      "fp16" };
    const char *names[EXPORT_FORMATS];
    int format, input, precision;
    for (int i = 0; i < EXPORT_FORMATS; i++) names[i] = export_format_name((enum export_format)i);
    if (!*a->format)
        return error_set(err, EXIT_CODE_USAGE,
                         "export: which --format? onnx, safetensors, wsinfer or triton");
    if (!choose("format", a->format, names, EXPORT_FORMATS, &format, err) ||
        !choose("input", a->input, inputs, 2, &input, err) ||
        !choose("precision", a->precision, precisions, 2, &precision, err))
        return false;
    if (!*a->out) return error_set(err, EXIT_CODE_USAGE, "export: name the output with -o PATH");
    const bool graph = format == EXPORT_ONNX || format == EXPORT_TRITON;
    if (!graph && (input || precision || a->single_input))
        return error_set(err, EXIT_CODE_USAGE,
                         "--input, --precision and --single-input belong to the formats onnx and "
                         "triton");
    *options = (struct export_options) {
        .format = (enum export_format)format,
        .input = (enum export_input)input,
        .half = precision == 1,
        .single_input = a->single_input,
        .mpp = a->mpp,
        .force = a->force,
    };
    return true;
}

static enum exit_code run(int argc, char **argv, struct error *err)
{
    struct arguments a = { .format = "", .out = "", .input = "uint8", .precision = "fp32" };
    const struct option_spec specs[] = {
        { .name = "format", .kind = OPTION_STRING, .value = &a.format },
        { .name = "out", .kind = OPTION_STRING, .value = &a.out, .letter = 'o' },
        { .name = "input", .kind = OPTION_STRING, .value = &a.input },
        { .name = "precision", .kind = OPTION_STRING, .value = &a.precision },
        { .name = "single-input", .kind = OPTION_FLAG, .value = &a.single_input },
        { .name = "force", .kind = OPTION_FLAG, .value = &a.force },
        { .name = "mpp", .kind = OPTION_DOUBLE, .value = &a.mpp, .min = 0.01, .max = 100 },
    };
    struct export_options options;
    struct checkpoint checkpoint;
    char written[2 * PATH_MAX_BYTES];
    int count;
    if (!options_parse(argc, argv, specs, sizeof specs / sizeof *specs, &count, err))
        return err->code;
    if (count != 1)
        error_set(err, EXIT_CODE_USAGE,
                  "export: give one checkpoint; see `micromet export --help`");
    if (err->code || !read_options(&a, &options, err) ||
        !checkpoint_open(&checkpoint, argv[1], err))
        return err->code;
    if (export_write(&checkpoint, &options, a.out, written, err)) puts(written);
    checkpoint_release(&checkpoint);
    return err->code;
}

const struct subcommand command_export = {
    .name = "export",
    .summary = "write a model for other programs: ONNX, PyTorch, WSInfer, Triton",
    .help = help,
    .run = run,
};
