/* micromet evaluate */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "micromet/base/text.h"
#include "micromet/run/evaluate.h"
#include "micromet/run/session.h"

static const char help[] =
    "usage: micromet evaluate CHECKPOINT [key=value ...] [options]\n"
    "\n"
    "Says how good a model is on a split of its manifest, for each slide and overall: AUC,\n"
    "average precision, and sensitivity, specificity, precision, recall, F1 and accuracy at\n"
    "the threshold that training chose on validation. A slide's score is the largest\n"
    "probability of its windows; where there are slides of both kinds, it is given an AUC.\n"
    "\n"
    "The configuration is the checkpoint's own. Its data can be replaced by key=value, but\n"
    "not what the model is or sees (data.levels, data.window, model.*).\n"
    "\n"
    "  --split NAME          train, validation or test (default: test)\n"
    "  --whole-slides        every tissue window of each slide, not the windows of the packs;\n"
    "                        gives all figures again with background as probability 0\n"
    "  --stride PX           whole slides: between windows, px of the finest tower's level\n"
    "                        (default: as trained)\n"
    "  --out FOLDER          default: evaluation-SPLIT[-whole-slides] beside the folder of\n"
    "                        the checkpoint\n"
    "  --orientations 1|4|8  average over rotations and mirrors (default: 1)\n"
    "  --batch N             windows computed at once (default: 32)\n"
    "  --threads N           processors to use (default: as trained)\n"
    "\n"
    "Writes evaluation.json, predictions.csv, roc.png and precision_recall.png. A slide that\n"
    "cannot be used is reported and the others are finished; the exit code is then 3.\n"
    "An evaluation of whole slides that was interrupted goes on behind its last finished\n"
    "slide.\n"
    "\n"
    "examples:\n"
    "  micromet evaluate runs/seed/checkpoints/best.safetensors\n"
    "  micromet evaluate runs/seed/checkpoints/best.safetensors --split validation\n"
    "  micromet evaluate best.safetensors --whole-slides --orientations 8 --out whole\n"
    "  micromet evaluate best.safetensors data.manifest=other.csv data.pack=other-packs\n";

struct arguments {
    const char *split, *out;
    bool whole_slides;
    int64_t orientations, batch, threads, stride;
};

static bool find_split(const char *name, enum split *split, struct error *err)
{
    struct text_nearest nearest = text_nearest_init(name);
    for (int i = 0; i < SPLIT_COUNT; i++) {
        *split = (enum split)i;
        if (strcmp(split_name(*split), name) == 0) return true;
        text_nearest_offer(&nearest, split_name(*split));
    }
    return error_set(err, EXIT_CODE_USAGE,
                     "--split: '%.80s' is none of train, validation, test%s%s", name,
                     nearest.best[0] ? "; did you mean " : "", nearest.best);
}

static bool read_options(const struct arguments *a, struct evaluate_options *options,
                         struct error *err)
{
    *options = (struct evaluate_options) {
        .whole_slides = a->whole_slides,
        .orientations = (int)a->orientations,
        .batch = (int)a->batch,
        .stride = (int)a->stride,
    };
    if (a->stride && !a->whole_slides)
        return error_set(
            err, EXIT_CODE_USAGE,
            "--stride: belongs to --whole-slides; packs have the stride that they were "
            "prepared with (data.stride)");
    return find_split(a->split, &options->split, err);
}

/* evaluation-<split> beside the folder that the checkpoint lies in. */
static bool default_folder(const char *checkpoint, const struct evaluate_options *options,
                           char out[PATH_MAX_BYTES], struct error *err)
{
    char folder[PATH_MAX_BYTES], run[PATH_MAX_BYTES], name[64];
    path_folder(folder, checkpoint);
    char *absolute = realpath(folder, NULL);
    path_folder(run, absolute ? absolute : folder);
    free(absolute);
    snprintf(name, sizeof name, "evaluation-%s%s", split_name(options->split),
             options->whole_slides ? "-whole-slides" : "");
    return path_join(out, run, name, err);
}

static bool evaluate(struct checkpoint *checkpoint, const struct evaluate_options *options,
                     int override_count, char *const *overrides, const char *folder,
                     struct error *err)
{
    struct evaluation evaluation = { 0 };
    if (!evaluation_configure(&checkpoint->config, override_count, overrides, err) ||
        !evaluate_run(&evaluation, checkpoint, options, err))
        return false;
    const int bad = evaluation.bad_slides, slides = evaluation.slide_count + bad;
    const bool ok = evaluation_write(&evaluation, checkpoint, options, folder, err);
    if (ok) {
        evaluation_print(&evaluation, checkpoint, options, stdout);
        printf("written: %s/{evaluation.json,predictions.csv,roc.png,precision_recall.png}\n",
               folder);
    }
    evaluation_release(&evaluation);
    if (!ok || !bad) return ok;
    return error_set(err, EXIT_CODE_PARTIAL, "%d of %d slides failed; the reasons stand above", bad,
                     slides);
}

static enum exit_code run(int argc, char **argv, struct error *err)
{
    struct arguments a = { .split = "test", .out = "", .orientations = 1, .batch = 32 };
    const struct option_spec specs[] = {
        { .name = "split", .kind = OPTION_STRING, .value = &a.split },
        { .name = "out", .kind = OPTION_STRING, .value = &a.out },
        { .name = "whole-slides", .kind = OPTION_FLAG, .value = &a.whole_slides },
        OPTION_ORIENTATIONS(&a.orientations),
        { .name = "batch", .kind = OPTION_INT, .value = &a.batch, .min = 1, .max = 4096 },
        { .name = "threads", .kind = OPTION_INT, .value = &a.threads, .min = 1, .max = 1024 },
        { .name = "stride", .kind = OPTION_INT, .value = &a.stride, .min = 1, .max = 100000 },
    };
    struct evaluate_options options;
    struct checkpoint checkpoint;
    char folder[PATH_MAX_BYTES];
    int count;
    if (!options_parse(argc, argv, specs, sizeof specs / sizeof *specs, &count, err))
        return err->code;
    if (count < 1)
        error_set(err, EXIT_CODE_USAGE,
                  "evaluate: which checkpoint? See `micromet evaluate --help`");
    if (err->code || !read_options(&a, &options, err) ||
        !checkpoint_open(&checkpoint, argv[1], err))
        return err->code;
    snprintf(folder, sizeof folder, "%s", a.out);
    session_accept_any_backend(&checkpoint.config.compute, (int)a.threads);
    options.folder = folder;
    if (*folder || default_folder(argv[1], &options, folder, err))
        evaluate(&checkpoint, &options, count - 1, argv + 2, folder, err);
    checkpoint_release(&checkpoint);
    return err->code;
}

const struct subcommand command_evaluate = {
    .name = "evaluate",
    .summary = "say how good a model is on a split of its slides",
    .help = help,
    .run = run,
};
