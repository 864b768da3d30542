/* micromet prepare: makes the packs of a manifest's slides. */
#include "micromet/run/prepare.h"
#include "cli.h"
#include "micromet/base/log.h"
#include "micromet/run/preflight.h"

struct arguments {
    bool force;
};

static const struct option option_rows[] = {
    { .name = "force", .kind = OPTION_FLAG, FIELD(force), .help = "make every pack again" },
    { 0 },
};

/* Log a summary; false if it is an error. */
static bool tell(const struct config *config, const struct prepare_result *result,
                 struct error *err)
{
    const char *manifest = config->data.manifest;
    log_info("%d built, %d reused, %d failed: %lld windows (%lld tumor), %.1f MB in %s, %.1f s",
             result->built, result->reused, result->failed, (long long)result->windows,
             (long long)result->tumor_windows, result->pack_bytes / 1e6, config->data.pack,
             result->seconds);
    if (result->failed == result->slides)
        return error_set(err, EXIT_CODE_FAILED, "%s: no slide could be prepared (reasons above)",
                         manifest);
    if (result->failed)
        return error_set(err, EXIT_CODE_PARTIAL,
                         "%s: %d of %d slides failed (reasons above); the other packs are ready",
                         manifest, result->failed, result->slides);
    return true;
}

static enum exit_code run(void *arguments, int count, char **operands, struct error *err)
{
    const struct arguments *a = arguments;
    struct config config;
    struct prepare_result result;
    if (count < 1) {
        error_set(err, EXIT_CODE_USAGE,
                  "prepare: which configuration? for example "
                  "`micromet prepare configs/seed.yaml`");
        return err->code;
    }
    if (config_load_checked(&config, operands[0], count - 1, operands + 1, preflight_model, err) &&
        prepare_run(&config, a->force, &result, err))
        tell(&config, &result, err);
    return err->code;
}

const struct subcommand command_prepare = {
    .name = "prepare",
    .summary = "cut the windows of every slide and keep them in packs",
    .operands = "CONFIG [key=value ...]",
    .operand_kind = OPTION_FILE,
    .overrides = true,
    .description =
        "Reads the slides of data.manifest, labels a grid of windows from their annotations, keeps "
        "all tumour windows and a seeded choice of normal ones with enough tissue, and writes one "
        "pack a slide into data.pack, for training, validation and test alike. A pack that was "
        "made from the same files with the same parameters is used again; files are the same if "
        "their content is, whatever their time.\n\n"
        "Refused before any work: slides of different µm/px, the same slide twice, and a patient "
        "in two splits.\n\n"
        "A slide that cannot be prepared is reported with its reason and the others are finished; "
        "the exit status is then 3 (1 when no slide could be prepared).",
    .options = option_rows,
    ARGUMENTS(0),
    .examples =
        "micromet prepare configs/seed.yaml\n"
        "micromet prepare configs/seed.yaml data.stride=25 data.pack=packs-25\n"
        "micromet prepare configs/seed.yaml data.levels=[3,4] data.normals_per_tumor=2 --force\n"
        "micromet inspect packs/tumor_091.pack --out pictures\n",
    .run = run,
};
