/* micromet evaluate: evaluates a checkpoint on a split of the data. */
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "micromet/base/log.h"
#include "micromet/base/stop.h"
#include "micromet/base/text.h"
#include "micromet/run/evaluate.h"
#include "micromet/run/session.h"
#include "micromet/world/world.h"

struct arguments {
    const char *out;
    int split;
    bool whole_slides, single_input;
    int orientations, batch, threads, stride;
};

static const struct option option_rows[] = {
    { .name = "split",
      .kind = OPTION_CHOICE,
      FIELD(split),
      .choices = split_names,
      .value = "NAME",
      .help = "train, validation or test" },
    { .name = "whole-slides",
      .kind = OPTION_FLAG,
      FIELD(whole_slides),
      .help = "every tissue window of each slide, not the windows of the packs; gives all figures "
              "again with background as probability 0" },
    { .name = "single-input",
      .kind = OPTION_FLAG,
      FIELD(single_input),
      .help =
          "compare with what `micromet export --single-input` and WSInfer compute, whose towers "
          "see the finest level shrunk; with --split validation, choose a threshold for it. "
          "The slides are needed" },
    { OPTION_STRIDE, .help = "whole slides: between windows, px of the finest tower's level" },
    { .name = "out",
      .kind = OPTION_FOLDER,
      FIELD(out),
      .value = "FOLDER",
      .absent = "evaluation-SPLIT[-whole-slides|-single-input] beside the folder of the checkpoint",
      .help = "where the files go" },
    { OPTION_ORIENTATIONS },
    { OPTION_BATCH },
    { OPTION_THREADS, .absent = "as trained" },
    { 0 },
};

static bool read_options(const struct arguments *a, struct evaluate_options *options,
                         struct error *err)
{
    *options = (struct evaluate_options) {
        .split = (enum split)a->split,
        .whole_slides = a->whole_slides,
        .single_input = a->single_input,
        .orientations = a->orientations,
        .batch = a->batch,
        .stride = a->stride,
    };
    if (a->single_input && (a->whole_slides || a->orientations > 1))
        return error_set(err, EXIT_CODE_USAGE,
                         "--single-input: compares the windows of packs, in one orientation as "
                         "exported models see them; leave out --whole-slides and --orientations");
    if (!a->stride || a->whole_slides) return true;
    return error_set(err, EXIT_CODE_USAGE,
                     "--stride: belongs to --whole-slides; packs have the stride that they were "
                     "prepared with (data.stride)");
}

/* evaluation-<split>, next to the checkpoint's folder. */
static bool default_folder(const char *checkpoint, const struct evaluate_options *options,
                           char out[PATH_MAX_BYTES], struct error *err)
{
    char folder[PATH_MAX_BYTES], run[PATH_MAX_BYTES], name[64];
    path_folder(folder, checkpoint);
    char *absolute = realpath(folder, NULL);
    path_folder(run, absolute ? absolute : folder);
    free(absolute);
    snprintf(name, sizeof name, "evaluation-%s%s", split_name(options->split),
             options->whole_slides   ? "-whole-slides"
             : options->single_input ? "-single-input"
                                     : "");
    return path_join(out, run, name, err);
}

/* Print and write; the first rank does it. */
static bool tell(struct evaluation *evaluation, const struct checkpoint *checkpoint,
                 const struct evaluate_options *options, const char *folder, struct error *err)
{
    evaluation_print(evaluation, checkpoint, options, stdout); /* whatever becomes of the files */
    if (!evaluation_write(evaluation, checkpoint, options, folder, err)) return false;
    printf("written: %s/{evaluation.json,predictions.csv,roc.png,precision_recall.png}\n",
           SHOWN(folder));
    return true;
}

/* All ranks. */
static bool evaluate(struct checkpoint *checkpoint, const struct evaluate_options *options,
                     int override_count, char *const *overrides, struct error *err)
{
    struct evaluation evaluation = { 0 };
    const bool first = world_rank(options->world) == 0;
    bool ok = evaluation_configure(&checkpoint->config, override_count, overrides, err) &&
              (!first || evaluation_check_outputs(checkpoint, options, options->folder, err));
    if (!world_all_ok(options->world, ok, err) ||
        !evaluate_run(&evaluation, checkpoint, options, err))
        return false;
    const int bad = evaluation.bad_slides, slides = evaluation.slide_count + bad;
    ok = !first || tell(&evaluation, checkpoint, options, options->folder, err);
    evaluation_release(&evaluation);
    if (!world_all_ok(options->world, ok, err) || !bad) return err->code == EXIT_CODE_OK;
    return error_set(err, EXIT_CODE_PARTIAL, "%d of %d slides failed; the reasons stand above", bad,
                     slides);
}

static bool open_and_evaluate(const struct arguments *a, struct world *world, int count,
                              char **operands, struct error *err)
{
    struct evaluate_options options;
    struct checkpoint checkpoint = { 0 };
    char folder[PATH_MAX_BYTES];
    snprintf(folder, sizeof folder, "%s", a->out);
    bool ok = read_options(a, &options, err) && checkpoint_open(&checkpoint, operands[0], err) &&
              (*folder || default_folder(operands[0], &options, folder, err));
    ok = world_all_ok(world, ok, err);
    if (ok) {
        session_accept_any_backend(&checkpoint.config.compute, checkpoint.precision, a->threads);
        options.folder = folder;
        options.world = world;
        ok = evaluate(&checkpoint, &options, count - 1, operands + 1, err);
    }
    checkpoint_release(&checkpoint);
    return ok;
}

static enum exit_code run(void *arguments, int count, char **operands, struct error *err)
{
    struct world *world = NULL;
    if (count < 1)
        error_set(err, EXIT_CODE_USAGE,
                  "evaluate: which checkpoint? See `micromet evaluate --help`");
    if (err->code || !world_open(&world, err)) return err->code;
    world_end_on_stop(world);
    const bool first = world_rank(world) == 0;
    if (!first) log_silence();
    const bool ok = open_and_evaluate(arguments, world, count, operands, err);
    if (!ok && err->code != EXIT_CODE_PARTIAL) world_fail(world, err);
    world_close(world);
    const enum exit_code code = err->code;
    if (!first) error_clear(err); /* the first rank tells it */
    return code;
}

const struct subcommand command_evaluate = {
    .name = "evaluate",
    .summary = "say how good a model is on a split of its slides",
    .operands = "CHECKPOINT [key=value ...]",
    .operand_kind = OPTION_FILE,
    .overrides = true,
    .description =
        "Says how good a model is on a split of its manifest, for each slide and overall: AUC, "
        "average precision, and sensitivity, specificity, precision, recall, F1 and accuracy at "
        "the threshold that training chose on validation. A slide's score is the largest "
        "probability of all its windows, so it takes --whole-slides; without, the largest of the "
        "sampled windows stands in its place. Where there are slides of both kinds, these are "
        "given an AUC, and on whole slides of validation a threshold of their own. A slide without "
        "tissue has no score.\n\n"
        "The configuration is the checkpoint's own. Its data can be replaced by key=value, but not "
        "what the model is or sees (data.levels, data.window, model.*). It computes in the "
        "precision that the model was trained in, unless compute.precision says otherwise.",
    .options = option_rows,
    ARGUMENTS(.out = "", .split = SPLIT_TEST, .orientations = 1, .batch = 32),
    .notes =
        "Writes evaluation.json, predictions.csv, roc.png and precision_recall.png. A slide that "
        "cannot be used is reported and the others are finished; the exit status is then 3. "
        "SIGINT, SIGTERM and SIGUSR1 end it without results, and the exit status is 75; an "
        "evaluation of whole slides then goes on behind its last finished slide.",
    .examples =
        "micromet evaluate runs/seed/checkpoints/best.safetensors\n"
        "micromet evaluate runs/seed/checkpoints/best.safetensors --split validation\n"
        "micromet evaluate best.safetensors --whole-slides --orientations 8 --out whole\n"
        "micromet evaluate best.safetensors data.manifest=other.csv data.pack=other-packs\n",
    .run = run,
};
