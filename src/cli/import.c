/* micromet import */
#include <stdio.h>

#include "cli.h"
#include "micromet/nn/pretrained.h"

static const char help[] =
    "usage: micromet import FILE --out OUT.safetensors [options]\n"
    "\n"
    "Reads weights of an InceptionV3 and writes them as a safetensors file with torchvision's\n"
    "names. Prints what was taken, what was ignored and what is missing. FILE's content decides\n"
    "what it is: Keras' HDF5 (.h5, .weights.h5) or .keras, PyTorch's .pth, safetensors of\n"
    "torchvision, timm or micromet (a checkpoint), or ONNX, with batch norm folded or not.\n"
    "\n"
    "A training takes any of these as model.weights itself, in the same way; importing shows\n"
    "beforehand what becomes of them, and makes one tower another's start.\n"
    "\n"
    "  -o, --out FILE      where the weights go\n"
    "  --towers N          towers to write, 1 to 4 (default: as many as FILE has); a file of\n"
    "                      fewer gives its last one to the rest. One tower is written without\n"
    "                      'tower0.', as torchvision and timm have it\n"
    "  --from-tower K,...  FILE's towers for towers 0, 1, ... (the last K for the rest)\n"
    "  --strict            fail if an array is ignored that is not known to be of no use (a\n"
    "                      classifier, counters, an optimizer's state), or one is missing\n"
    "\n"
    "examples:\n"
    "  micromet import inception_v3_google-0cc3c7bd.pth -o inception_v3.safetensors\n"
    "  micromet import inception.weights.h5 --towers 2 -o two-towers.safetensors --strict\n"
    "  micromet import runs/seed/checkpoints/best.safetensors --from-tower 1 --towers 1 -o "
    "coarse.safetensors\n";

struct arguments {
    const char *out, *from;
    int64_t towers;
    bool strict;
};

static bool import(const struct arguments *a, struct pretrained *p, struct error *err)
{
    bool head_taken;
    if (a->from && !pretrained_choose_towers(p, a->from, err))
        return error_prefix(err, "--from-tower");
    const int towers = a->towers ? (int)a->towers : p->towers;
    const bool strict = !a->strict || pretrained_check_strict(p, err);
    const bool ok = strict && pretrained_write(p, a->out, towers, &head_taken, err);
    pretrained_report(p, towers, ok && head_taken, stdout);
    if (ok) printf("written       %s\n", a->out);
    return ok;
}

static enum exit_code run(int argc, char **argv, struct error *err)
{
    struct arguments a = { 0 };
    const struct option_spec specs[] = {
        { .name = "out", .letter = 'o', .kind = OPTION_STRING, .value = &a.out },
        { .name = "towers", .kind = OPTION_INT, .value = &a.towers, .min = 1, .max = TOWERS_MAX },
        { .name = "from-tower", .kind = OPTION_STRING, .value = &a.from },
        { .name = "strict", .kind = OPTION_FLAG, .value = &a.strict },
    };
    int count;
    if (!options_parse(argc, argv, specs, sizeof specs / sizeof specs[0], &count, err))
        return err->code;
    if (count != 1 || !a.out) {
        error_set(
            err, EXIT_CODE_USAGE,
            "import: %s? For example `micromet import inception_v3.pth -o weights.safetensors`",
            count == 1 ? "into which file" : "which one file");
        return err->code;
    }
    struct pretrained pretrained;
    if (!pretrained_open(&pretrained, argv[1], err)) return err->code;
    const bool ok = import(&a, &pretrained, err);
    pretrained_release(&pretrained);
    return ok ? EXIT_CODE_OK : err->code;
}

const struct subcommand command_import = {
    .name = "import",
    .summary = "turn weights of Keras, PyTorch or ONNX into a file to start from",
    .help = help,
    .run = run,
};
