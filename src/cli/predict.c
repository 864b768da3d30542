/* micromet predict: prints the probabilities of windows in packs or images. */
#include <stdio.h>

#include "cli.h"
#include "micromet/base/log.h"
#include "micromet/base/output.h"
#include "micromet/export/export.h"
#include "micromet/run/predict_files.h"
#include "micromet/run/session.h"

struct arguments {
    const char *model, *out;
    int orientations, batch, threads;
};

static const struct option option_rows[] = {
    { .name = "model",
      .kind = OPTION_FILE,
      FIELD(model),
      .value = "MODEL",
      .help = "a checkpoint, or an ONNX file of `micromet export`" },
    { .name = "out",
      .letter = 'o',
      .kind = OPTION_FILE,
      FIELD(out),
      .value = "FILE",
      .absent = "standard output",
      .help = "where the lines go" },
    { OPTION_ORIENTATIONS },
    { OPTION_BATCH },
    { OPTION_THREADS, .absent = "as trained" },
    { 0 },
};

static bool predict(struct checkpoint *checkpoint, const struct session *session,
                    const struct arguments *a, int count, char *const *paths, FILE *csv,
                    struct error *err)
{
    const struct predict_files_options options = { a->orientations, session->reader_threads };
    struct model *model = NULL;
    checkpoint->config.compute.precision = session->precision;
    const bool onnx = checkpoint->weights.format == WEIGHTS_ONNX;
    if (onnx)
        log_info("%s: its weights, stored in %s, in this program's own network, computed in %s; no "
                 "ONNX runtime takes part",
                 checkpoint->path, weights_metadata(&checkpoint->weights, "precision"),
                 precision_name(session->precision));
    const bool done = (onnx ? export_model : checkpoint_model)(checkpoint, session->backend,
                                                               a->batch, &model, err) &&
                      predict_files(checkpoint, model, paths, count, &options, csv, err);
    model_release(model);
    return done;
}

static bool predict_to(struct checkpoint *checkpoint, const struct session *session,
                       const struct arguments *a, int count, char *const *paths, struct error *err)
{
    if (!*a->out) return predict(checkpoint, session, a, count, paths, stdout, err);
    struct atomic_file file = { 0 };
    const bool done = atomic_file_open(&file, a->out, err) &&
                      predict(checkpoint, session, a, count, paths, file.stream, err) &&
                      atomic_file_commit(&file, err);
    atomic_file_release(&file);
    return done;
}

static bool open_model(struct checkpoint *checkpoint, const char *path, struct error *err)
{
    enum weights_format format;
    if (!weights_sniff(&format, path, err)) return false;
    return (format == WEIGHTS_ONNX ? export_open : checkpoint_open)(checkpoint, path, err);
}

static bool is_list(const char *path)
{
    return output_holds(path, predict_files_header, "");
}

static bool check_out(const char *out, char *model, char *const *files, int count,
                      struct error *err)
{
    return !*out || (output_check(out, "give another --out", err) &&
                     output_check_inputs(out, files, count, err) &&
                     output_check_inputs(out, &model, 1, err) &&
                     output_check_own(out, is_list, "a list of `micromet predict`", err));
}

static enum exit_code run(void *arguments, int count, char **operands, struct error *err)
{
    const struct arguments *a = arguments;
    struct checkpoint checkpoint;
    struct session session = { 0 };
    if (count < 1 || !*a->model)
        error_set(err, EXIT_CODE_USAGE,
                  "predict: give packs or pictures, and --model; see `micromet predict --help`");
    if (err->code || !check_out(a->out, (char *)a->model, operands, count, err) ||
        !open_model(&checkpoint, a->model, err))
        return err->code;
    session_accept_any_backend(&checkpoint.config.compute, checkpoint.precision, a->threads);
    if (operands_configure(&checkpoint.config, &count, operands, err) &&
        session_init(&session, &checkpoint.config.compute, checkpoint.config.data.level_count, 0,
                     NULL, err))
        predict_to(&checkpoint, &session, a, count, operands, err);
    session_release(&session);
    checkpoint_release(&checkpoint);
    return err->code;
}

const struct subcommand command_predict = {
    .name = "predict",
    .summary = "print the tumour probability of windows in packs and pictures",
    .operands = "FILE... --model MODEL [compute.KEY=value ...]",
    .operand_kind = OPTION_FILE,
    .description =
        "Prints the tumour probability of windows: what this program computes, to compare an "
        "exported model in another runtime with. A FILE is a pack of `micromet prepare`, or PNG "
        "pictures of windows: one for each tower, finest first, one after another, or one larger "
        "as the models of `micromet export --single-input` take it.\n\n"
        "It computes in the precision that the model was trained in, and ONNX files in fp32, "
        "unless compute.precision says otherwise.",
    .options = option_rows,
    ARGUMENTS(.model = "", .out = "", .orientations = 1, .batch = 32),
    .notes = "The lines read file,window,x_level0,y_level0,probability; pictures have no "
             "coordinates.",
    .examples =
        "micromet predict packs/tumor_091.pack --model best.safetensors --out tumor_091.csv\n"
        "micromet predict packs/tumor_091.pack --model model.onnx\n"
        "micromet predict a-level2.png a-level3.png b-level2.png b-level3.png --model "
        "model.onnx\n",
    .run = run,
};
