/* The table of export formats. Existing files are overwritten only on request. In an export of
 * several files, the last one to be written is the one by which readers recognise the model, so an
 * interrupted export is not mistaken for a complete one. */
#include "micromet/export/export.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "export_parts.h"
#include "export_torchscript.h"
#include "micromet/base/log.h"
#include "micromet/base/output.h"
#include "micromet/base/text.h"

enum { TRITON_BATCH_MAX = 64, TRITON_DELAY_US = 1000 };

struct job {
    struct checkpoint *checkpoint;
    const struct export_options *options;
    const struct export_facts *facts;
    char paths[5][PATH_MAX_BYTES]; /* of all files, in order of writing */
    int path_count;
};

/* Add a file to the job: folder/name, or `folder` itself if name is NULL. */
static bool plan_file(struct job *job, const char *folder, const char *name, struct error *err)
{
    char *path = job->paths[job->path_count++];
    if (name) return path_join(path, folder, name, err);
    snprintf(path, PATH_MAX_BYTES, "%s", folder);
    return true;
}

static bool plan_onnx(struct job *job, const char *path, struct error *err)
{
    return plan_file(job, path, NULL, err);
}

static bool write_onnx(struct job *job, struct error *err)
{
    return export_onnx(job->checkpoint, job->options, job->facts, job->paths[0], err);
}

/* The Python module is placed beside the weights, under the same name. */
static bool plan_safetensors(struct job *job, const char *path, struct error *err)
{
    static const char suffix[] = ".safetensors";
    char module[PATH_MAX_BYTES];
    const size_t length = strlen(path), cut = sizeof suffix - 1;
    if (length <= cut || strcmp(path + length - cut, suffix) != 0)
        return error_set(err, EXIT_CODE_USAGE, "%s: name a file that ends in %s", path, suffix);
    if (!text_is_utf8(path_name(path)))
        return error_set(err, EXIT_CODE_USAGE,
                         "%s: the Python module could not name this file: its name is not UTF-8",
                         path);
    snprintf(module, sizeof module, "%.*s.py", (int)(length - cut), path);
    return plan_file(job, module, NULL, err) && plan_file(job, path, NULL, err);
}

static bool write_safetensors(struct job *job, struct error *err)
{
    return export_module(job->checkpoint, job->facts, job->paths[0], path_name(job->paths[1]),
                         err) &&
           export_arrays(job->checkpoint, job->facts, job->paths[1], err);
}

static bool plan_wsinfer(struct job *job, const char *folder, struct error *err)
{
    static const char *const names[] = { "model.py", "make_torchscript.py", "model.safetensors",
                                         "config.json" };
    if (!(job->checkpoint->input.um_per_px[0] > 0))
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: WSInfer needs the µm/px of the windows, which the slides that the "
                         "model was trained on do not tell; give --mpp, µm per level-0 px",
                         job->checkpoint->path);
    for (int i = 0; i < 4; i++)
        if (!plan_file(job, folder, names[i], err)) return false;
    return folder_create(folder, err);
}

/* Follows wsinfer-zoo's model-config.schema.json, version 1.0. */
static bool write_wsinfer_config(const struct job *job, const char *path, struct error *err)
{
    const int side = job->facts->single.side;
    json_t *config = json_pack(
        "{s:s, s:s, s:s, s:i, s:[s,s], s:i, s:f, s:[{s:s, s:{s:i}}, {s:s}, {s:s, s:{s:[fff], "
        "s:[fff]}}]}",
        "spec_version", "1.0", "name", job->checkpoint->config.name, "architecture", "inception_v3",
        "num_classes", 2, "class_names", "normal", "tumor", "patch_size_pixels", side,
        "spacing_um_px", job->checkpoint->input.um_per_px[0], "transform", "name", "Resize",
        "arguments", "size", side, "name", "ToTensor", "name", "Normalize", "arguments", "mean",
        0.5, 0.5, 0.5, "std", 0.5, 0.5, 0.5);
    char *text = config ? json_dumps(config, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(config);
    if (!text) return error_set(err, EXIT_CODE_FAILED, "%s: no memory", path);
    struct atomic_file file = { 0 };
    bool done = atomic_file_open(&file, path, err);
    if (done) fprintf(file.stream, "%s\n", text);
    done = done && atomic_file_commit(&file, err);
    atomic_file_release(&file);
    free(text);
    return done;
}

static bool write_wsinfer(struct job *job, struct error *err)
{
    return export_module(job->checkpoint, job->facts, job->paths[0], "model.safetensors", err) &&
           file_write_atomic(job->paths[1], export_torchscript_text,
                             strlen(export_torchscript_text), err) &&
           export_arrays(job->checkpoint, job->facts, job->paths[2], err) &&
           write_wsinfer_config(job, job->paths[3], err);
}

/* The model's name, made fit for a folder. */
static void triton_name(const struct checkpoint *checkpoint, char name[128])
{
    snprintf(name, 128, "%s", checkpoint->config.name[0] ? checkpoint->config.name : "micromet");
    for (char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("_-.", *c)) *c = '_';
    if (name[0] == '.') name[0] = '_';
}

static bool plan_triton(struct job *job, const char *repository, struct error *err)
{
    char name[128], model[PATH_MAX_BYTES], version[PATH_MAX_BYTES];
    triton_name(job->checkpoint, name);
    return path_join(model, repository, name, err) && path_join(version, model, "1", err) &&
           plan_file(job, version, "model.onnx", err) &&
           plan_file(job, model, "config.pbtxt", err) && folder_create(version, err);
}

/* Write a string in protobuf's text format. */
static void put_quoted(FILE *stream, const char *text)
{
    putc('"', stream);
    for (; *text; text++)
        if (*text == '\n')
            fputs("\\n", stream);
        else
            fprintf(stream, "%s%c", strchr("\"\\", *text) ? "\\" : "", *text);
    putc('"', stream);
}

static void put_triton_config(FILE *stream, const struct job *job)
{
    const struct config_data *data = &job->checkpoint->config.data;
    const bool bytes = job->options->input == EXPORT_UINT8, single = job->options->single_input;
    const int side = single ? job->facts->single.side : data->window;
    char name[128];
    triton_name(job->checkpoint, name);
    fprintf(stream, "name: \"%s\"\nbackend: \"onnxruntime\"\nmax_batch_size: %d\n", name,
            TRITON_BATCH_MAX);
    for (int t = 0; t < (single ? 1 : data->level_count); t++) {
        fprintf(stream, "input { name: \"");
        if (single)
            fprintf(stream, "window");
        else
            fprintf(stream, "tower%d", t);
        fprintf(stream,
                bytes ? "\" data_type: TYPE_UINT8 dims: [%d, %d, 3] }\n"
                      : "\" data_type: TYPE_FP32 dims: [3, %d, %d] }\n",
                side, side);
    }
    fprintf(stream,
            "output { name: \"logit\" data_type: TYPE_FP32 dims: [1] }\n"
            "output { name: \"probability\" data_type: TYPE_FP32 dims: [1] }\n"
            "dynamic_batching { max_queue_delay_microseconds: %d }\n",
            TRITON_DELAY_US);
    for (int i = 0; i < job->facts->count; i++) {
        fprintf(stream,
                "parameters { key: \"%s\" value { string_value: ", job->facts->pairs[2 * i]);
        put_quoted(stream, job->facts->pairs[2 * i + 1]);
        fprintf(stream, " } }\n");
    }
}

static bool write_triton(struct job *job, struct error *err)
{
    struct atomic_file file = { 0 };
    if (!export_onnx(job->checkpoint, job->options, job->facts, job->paths[0], err) ||
        !atomic_file_open(&file, job->paths[1], err))
        return false;
    put_triton_config(file.stream, job);
    const bool done = atomic_file_commit(&file, err);
    atomic_file_release(&file);
    return done;
}

const char *const export_format_names[EXPORT_FORMATS + 1] = {
    [EXPORT_ONNX] = "onnx",
    [EXPORT_SAFETENSORS] = "safetensors",
    [EXPORT_WSINFER] = "wsinfer",
    [EXPORT_TRITON] = "triton",
};

static const struct {
    bool (*plan)(struct job *, const char *path, struct error *);
    bool (*write)(struct job *, struct error *);
} formats[EXPORT_FORMATS] = {
    [EXPORT_ONNX] = { plan_onnx, write_onnx },
    [EXPORT_SAFETENSORS] = { plan_safetensors, write_safetensors },
    [EXPORT_WSINFER] = { plan_wsinfer, write_wsinfer },
    [EXPORT_TRITON] = { plan_triton, write_triton },
};

/* Fails if a file exists, unless `force`. The last file is removed first: should this export be
 * interrupted, what remains must not look complete. */
static bool make_room(const struct job *job, bool force, struct error *err)
{
    char *checkpoint[] = { job->checkpoint->path };
    for (int i = job->path_count - 1; i >= 0; i--)
        if (!output_check(job->paths[i], "name another output with -o", err) ||
            !output_check_inputs(job->paths[i], checkpoint, 1, err))
            return false;
    for (int i = job->path_count - 1; i >= 0; i--) {
        if (!file_exists(job->paths[i])) continue;
        if (!force)
            return error_set(err, EXIT_CODE_FAILED,
                             "%s: is there already; --force writes over it, or name another output",
                             job->paths[i]);
        if (i == job->path_count - 1 && i > 0 && unlink(job->paths[i]) != 0)
            return error_set(err, EXIT_CODE_FAILED, "%s: cannot be removed: %m", job->paths[i]);
    }
    return true;
}

static void warn_of_single(const struct checkpoint *checkpoint, const struct export_facts *facts)
{
    const struct export_measured *m = &facts->measured;
    if (!facts->is_single) return;
    if (m->known)
        log_info("one input for all towers: another model than %s; on validation AUC %.4f against "
                 "%.4f, its own threshold is %.4f",
                 checkpoint->path, m->auc, m->auc_of_towers, m->threshold);
    else
        log_warning("one input for all towers: coarser ones see means of the finest level, and the "
                    "model was trained on the slide's own levels. This is another model, whose "
                    "threshold is not known: `micromet evaluate %s --single-input --split "
                    "validation` measures it, and `micromet export --evaluation` stores it",
                    checkpoint->path);
}

bool export_write(struct checkpoint *checkpoint, const struct export_options *options,
                  const char *path, char written[2 * PATH_MAX_BYTES], struct error *err)
{
    struct export_facts facts = { 0 };
    struct job job = { .checkpoint = checkpoint, .options = options, .facts = &facts };
    for (int t = 0; t < checkpoint->config.data.level_count; t++)
        if (!(checkpoint->input.um_per_px[t] > 0) && options->mpp > 0)
            checkpoint->input.um_per_px[t] = options->mpp * checkpoint->input.downsamples[t];
    if (!export_facts_collect(&facts, checkpoint, options, err) ||
        !formats[options->format].plan(&job, path, err) || !make_room(&job, options->force, err) ||
        !formats[options->format].write(&job, err))
        return false;
    int at = snprintf(written, 2 * PATH_MAX_BYTES, "written:");
    for (int i = 0; i < job.path_count && at < PATH_MAX_BYTES; i++)
        at += snprintf(written + at, 2 * PATH_MAX_BYTES - (size_t)at, " %s", job.paths[i]);
    warn_of_single(checkpoint, &facts);
    if (isnan(checkpoint->state.threshold))
        log_warning("%s: training has chosen no threshold yet; the export names none",
                    checkpoint->path);
    return true;
}
