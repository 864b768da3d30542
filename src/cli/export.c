/* micromet export: converts a checkpoint for other programs. */
#include <stdio.h>

#include "cli.h"
#include "micromet/base/text.h"
#include "micromet/export/export.h"

struct arguments {
    const char *out, *evaluation;
    int format, input, precision; /* format: -1 = not chosen */
    bool single_input, force;
    double mpp;
};

/* Indexed by enum export_format and enum export_input. */
static const char *const format_help[] = {
    "one file: batch norms folded, any batch size, one input for each tower (tower0, tower1 ...), "
    "outputs logit and probability",
    "the weights under torchvision's names, and beside them PATH.py, a PyTorch module that loads "
    "them",
    "a folder for WSInfer and QuPath: config.json, the weights, and make_torchscript.py, which "
    "makes torchscript_model.pt of them",
    "a model repository for NVIDIA Triton: NAME/config.pbtxt and NAME/1/model.onnx",
    NULL,
};
static const char *const inputs[] = { "uint8", "float", NULL };
static const char *const input_help[] = {
    "pictures as they are, (N, height, width, 3) RGB (default)",
    "(N, 3, height, width) RGB from 0 to 1, as ToTensor or blobFromImage with scale 1/255 give it",
    NULL,
};
static const char *const precisions[] = { "fp32", "fp16", NULL };

static const struct option option_rows[] = {
    { .name = "format",
      .kind = OPTION_CHOICE,
      FIELD(format),
      .choices = export_format_names,
      .choice_help = format_help },
    { .name = "out",
      .letter = 'o',
      .kind = OPTION_FILE,
      FIELD(out),
      .value = "PATH",
      .help = "file (onnx, safetensors) or folder (wsinfer, triton)" },
    { .name = "force", .kind = OPTION_FLAG, FIELD(force), .help = "write over what is there" },
    { OPTION_MPP, .help = "µm per level-0 pixel, where the training slides did not say" },
    { .name = "evaluation",
      .kind = OPTION_FILE,
      FIELD(evaluation),
      .value = "FOLDER",
      .absent = "not measured",
      .help = "of `micromet evaluate --single-input --split validation`: for an export that takes "
              "one window for all towers (--single-input, wsinfer), its own threshold" },
    { .name = "input",
      .kind = OPTION_CHOICE,
      FIELD(input),
      .choices = inputs,
      .choice_help = input_help,
      .group = "onnx and triton" },
    { .name = "single-input",
      .kind = OPTION_FLAG,
      FIELD(single_input),
      .help = "one larger window at the finest level; the graph cuts and shrinks each tower's "
              "window out of its centre. Levels must shrink by an integer against the finest one. "
              "This is another model than the checkpoint's, see --evaluation" },
    { .name = "precision",
      .kind = OPTION_CHOICE,
      FIELD(precision),
      .choices = precisions,
      .help = "of weights and arithmetic" },
    { 0 },
};

static bool read_options(const struct arguments *a, struct export_options *options,
                         struct error *err)
{
    const bool graph = a->format == EXPORT_ONNX || a->format == EXPORT_TRITON;
    if (a->format < 0)
        return error_set(err, EXIT_CODE_USAGE,
                         "export: which --format? onnx, safetensors, wsinfer or triton");
    if (!*a->out) return error_set(err, EXIT_CODE_USAGE, "export: name the output with -o PATH");
    if (!graph && (a->input || a->precision || a->single_input))
        return error_set(err, EXIT_CODE_USAGE,
                         "--input, --precision and --single-input belong to the formats onnx and "
                         "triton");
    if (a->evaluation && graph && !a->single_input)
        return error_set(err, EXIT_CODE_USAGE,
                         "--evaluation: belongs to exports with one window for all towers; add "
                         "--single-input");
    *options = (struct export_options) {
        .format = (enum export_format)a->format,
        .input = (enum export_input)a->input,
        .half = a->precision == 1,
        .single_input = a->single_input,
        .mpp = a->mpp,
        .force = a->force,
        .evaluation = a->evaluation,
    };
    return true;
}

static enum exit_code run(void *arguments, int count, char **operands, struct error *err)
{
    struct export_options options;
    struct checkpoint checkpoint;
    char written[2 * PATH_MAX_BYTES];
    const struct arguments *a = arguments;
    if (count != 1)
        error_set(err, EXIT_CODE_USAGE,
                  "export: give one checkpoint; see `micromet export --help`");
    if (err->code || !read_options(a, &options, err) ||
        !checkpoint_open(&checkpoint, operands[0], err))
        return err->code;
    if (export_write(&checkpoint, &options, a->out, written, err)) puts(SHOWN(written));
    checkpoint_release(&checkpoint);
    return err->code;
}

const struct subcommand command_export = {
    .name = "export",
    .summary = "write a model for other programs: ONNX, PyTorch, WSInfer, Triton",
    .operands = "CHECKPOINT --format FORMAT -o PATH",
    .operand_kind = OPTION_FILE,
    .description =
        "Writes the model of a checkpoint for other programs. Each format says what the model "
        "expects: levels, µm/px, window, preprocessing, pool rule, class names and threshold.",
    .options = option_rows,
    ARGUMENTS(.out = "", .format = -1),
    .examples =
        "micromet export best.safetensors --format onnx -o model.onnx\n"
        "micromet export best.safetensors --format onnx --single-input --precision fp16 -o "
        "viewer.onnx\n"
        "micromet evaluate best.safetensors --single-input --split validation --out single\n"
        "micromet export best.safetensors --format wsinfer --evaluation single -o wsinfer\n"
        "micromet export best.safetensors --format safetensors -o tumor.safetensors\n"
        "micromet export best.safetensors --format wsinfer -o wsinfer/ && python "
        "wsinfer/make_torchscript.py\n"
        "micromet export best.safetensors --format triton -o /srv/models\n",
    .run = run,
};
