/* micromet import: converts weights of Keras, PyTorch or ONNX to a file to start from. */
#include <stdio.h>

#include "cli.h"
#include "micromet/base/config.h"
#include "micromet/base/output.h"
#include "micromet/base/text.h"
#include "micromet/nn/pretrained.h"

struct arguments {
    const char *out, *from, *set;
    int towers; /* 0 = as many as the file has */
    bool strict;
};

static const struct option option_rows[] = {
    { .name = "out",
      .letter = 'o',
      .kind = OPTION_FILE,
      FIELD(out),
      .value = "FILE",
      .help = "where the weights go" },
    { .name = "towers",
      .kind = OPTION_INT,
      FIELD(towers),
      .min = 1,
      .max = TOWERS_MAX,
      .value = "N",
      .absent = "as many as FILE has",
      .help = "towers to write, 1 to 4; a file of fewer gives its last one to the rest. One tower "
              "is written without 'tower0.', as torchvision and timm have it" },
    { .name = "from-tower",
      .kind = OPTION_TEXT,
      FIELD(from),
      .value = "K,...",
      .help = "FILE's towers for towers 0, 1, ... (the last K for the rest)" },
    { .name = "set",
      .kind = OPTION_TEXT,
      FIELD(set),
      .value = "NAME,...",
      .absent = "the only one",
      .help = "of several sets of weights in FILE (a model and its moving average, an ensemble) "
              "the one to take, or those for towers 0, 1, ...; without it they are listed" },
    { .name = "strict",
      .kind = OPTION_FLAG,
      FIELD(strict),
      .help = "fail if an array is ignored that is not known to be of no use (a classifier, "
              "counters, an optimizer's state), or one is missing" },
    { 0 },
};

static bool import(const struct arguments *a, struct pretrained *p, struct error *err)
{
    bool head_taken;
    if (a->from && !pretrained_choose_towers(p, a->from, err))
        return error_prefix(err, "--from-tower");
    const int towers = a->towers ? a->towers : p->towers;
    const bool strict = !a->strict || pretrained_check_strict(p, err);
    const bool ok = strict && pretrained_write(p, a->out, towers, &head_taken, err);
    pretrained_report(p, towers, ok && head_taken, stdout);
    if (ok) printf("written       %s\n", SHOWN(a->out));
    return ok;
}

static enum exit_code run(void *arguments, int count, char **operands, struct error *err)
{
    const struct arguments *a = arguments;
    if (count != 1 || !a->out) {
        error_set(
            err, EXIT_CODE_USAGE,
            "import: %s? For example `micromet import inception_v3.pth -o weights.safetensors`",
            count == 1 ? "into which file" : "which one file");
        return err->code;
    }
    struct pretrained pretrained;
    if (!output_check(a->out, "name another --out", err) ||
        !output_check_inputs(a->out, operands, 1, err) ||
        !output_check_own(a->out, pretrained_is_written, "a file of `micromet import`", err) ||
        !pretrained_open_sets(&pretrained, operands[0], a->set, err))
        return err->code;
    const bool ok = import(a, &pretrained, err);
    pretrained_release(&pretrained);
    return ok ? EXIT_CODE_OK : err->code;
}

const struct subcommand command_import = {
    .name = "import",
    .summary = "turn weights of Keras, PyTorch or ONNX into a file to start from",
    .operands = "FILE --out OUT.safetensors",
    .operand_kind = OPTION_FILE,
    .description =
        "Reads weights of an InceptionV3 and writes them as a safetensors file with torchvision's "
        "names. Prints what was taken, what was ignored and what is missing. FILE's content "
        "decides what it is: Keras' HDF5 (.h5, .weights.h5) or .keras, PyTorch's .pth, safetensors "
        "of torchvision, timm or micromet (a checkpoint), or ONNX, with batch norm folded or "
        "not.\n\n"
        "A training takes any of these as model.weights itself, in the same way; importing shows "
        "beforehand what becomes of them, and makes one tower another's start.",
    .options = option_rows,
    ARGUMENTS(0),
    .examples =
        "micromet import inception_v3_google-0cc3c7bd.pth -o inception_v3.safetensors\n"
        "micromet import timm-checkpoint.pth.tar --set state_dict_ema -o averaged.safetensors\n"
        "micromet import inception.weights.h5 --towers 2 -o two-towers.safetensors --strict\n"
        "micromet import runs/seed/checkpoints/best.safetensors --from-tower 1 --towers 1 -o "
        "coarse.safetensors\n",
    .run = run,
};
