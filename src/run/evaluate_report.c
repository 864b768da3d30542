/* Reports of an evaluation: a table for a stream, JSON, CSV and two curves. One table names the
 * metrics of a row, for both the printed table and JSON. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "finished_maps.h"
#include "micromet/base/output.h"
#include "micromet/base/size.h"
#include "micromet/base/text.h"
#include "micromet/format/json.h"
#include "micromet/report/plot.h"
#include "micromet/run/evaluate.h"
#include "micromet/run/session.h"

static const struct figure {
    const char *name, *column; /* key in JSON; heading in the table, NULL = not shown */
    size_t offset;             /* of the double in struct evaluation_row */
} figures[] = {
    { "auc", "AUC", offsetof(struct evaluation_row, auc) },
    { "average_precision", "AP", offsetof(struct evaluation_row, average_precision) },
    { "sensitivity", "sens.", offsetof(struct evaluation_row, at.sensitivity) },
    { "specificity", "spec.", offsetof(struct evaluation_row, at.specificity) },
    { "precision", "prec.", offsetof(struct evaluation_row, at.precision) },
    { "recall", NULL, offsetof(struct evaluation_row, at.recall) },
    { "f1", "F1", offsetof(struct evaluation_row, at.f1) },
    { "accuracy", "acc.", offsetof(struct evaluation_row, at.accuracy) },
};
enum { FIGURES = COUNT_OF(figures) };

static double figure_of(const struct evaluation_row *row, const struct figure *figure)
{
    return *(const double *)(const void *)((const char *)row + figure->offset);
}

/* --- table ------------------------------------------------------------------------------------ */

static void print_figure(FILE *stream, double value)
{
    if (isnan(value))
        fprintf(stream, " %7s", "-");
    else
        fprintf(stream, " %7.4f", value);
}

static void print_row(FILE *stream, int name_width, const char *name, const char *label,
                      const struct evaluation_row *row)
{
    fprintf(stream, "%-*s  %-6s %9lld %9lld", name_width, name, label, (long long)row->count,
            (long long)row->tumor_count);
    for (int i = 0; i < FIGURES; i++) {
        const double value = figure_of(row, &figures[i]);
        if (figures[i].column) print_figure(stream, value);
    }
}

static void print_confusion(FILE *stream, const char *of, const struct confusion *c)
{
    fprintf(stream, "%s: tumor %lld found, %lld missed; normal %lld flagged, %lld passed\n", of,
            (long long)c->true_positive, (long long)c->false_negative, (long long)c->false_positive,
            (long long)c->true_negative);
}

static void print_table(const struct evaluation *e, bool whole_slides, FILE *stream)
{
    static const char all[] = "with background";
    int width = (int)strlen(all);
    for (int i = 0; i < e->slide_count; i++) {
        const int length = (int)strlen(SHOWN(path_name(e->slides[i].path)));
        width = length > width ? length : width;
    }
    fprintf(stream, "%-*s  %-6s %9s %9s", width, "slide", "label", "windows", "tumor");
    for (int i = 0; i < FIGURES; i++)
        if (figures[i].column) fprintf(stream, " %7s", figures[i].column);
    fprintf(stream, " %7s\n", whole_slides ? "score" : "largest");
    for (int i = 0; i < e->slide_count; i++) {
        const struct evaluation_slide *slide = &e->slides[i];
        print_row(stream, width, SHOWN(path_name(slide->path)), slide->label ? "tumor" : "normal",
                  &slide->windows);
        print_figure(stream, slide->score);
        fputc('\n', stream);
    }
    print_row(stream, width, whole_slides ? "tissue" : "overall", "", &e->overall);
    fputc('\n', stream);
    if (!whole_slides) return;
    print_row(stream, width, all, "", &e->overall_with_background);
    fputc('\n', stream);
}

static void print_scores(const struct evaluation *e, bool whole_slides, FILE *stream)
{
    if (!isnan(e->slide_auc) && whole_slides)
        fprintf(stream, "slides: AUC %.4f of their scores, the largest probability of each\n",
                e->slide_auc);
    if (!isnan(e->slide_auc) && !whole_slides)
        fprintf(stream,
                "slides: AUC %.4f of the largest probability among each one's sampled windows; "
                "scores of whole slides, as heatmap gives them, need --whole-slides\n",
                e->slide_auc);
    if (!isnan(e->slide_threshold))
        fprintf(stream, "slides: threshold %.4f of their scores, chosen on these\n",
                e->slide_threshold);
    if (e->unscored_slides)
        fprintf(stream, "no tissue, no score: %d slide%s left out of all figures\n",
                e->unscored_slides, e->unscored_slides > 1 ? "s" : "");
}

static void print_single(const struct evaluation *e, FILE *stream)
{
    const struct single_comparison *s = &e->single;
    const struct operating_point *own = &s->own.at;
    fprintf(
        stream,
        "single input of %d px: AUC %.4f, against %.4f with each tower's own level; "
        "probabilities differ by %.4f in the mean, at most %.4f; %lld of %lld decisions differ\n",
        s->side, s->row.auc, e->overall.auc, s->mean_difference, s->max_difference,
        (long long)s->flipped, (long long)e->count);
    if (isnan(own->threshold))
        fprintf(stream, "single input: --split validation chooses a threshold for it\n");
    else
        fprintf(stream,
                "single input: threshold %.4f, chosen here (sens. %.4f, spec. %.4f); `micromet "
                "export --evaluation` stores it\n",
                own->threshold, own->sensitivity, own->specificity);
}

void evaluation_print(const struct evaluation *evaluation, const struct checkpoint *checkpoint,
                      const struct evaluate_options *options, FILE *stream)
{
    const struct evaluation *e = evaluation;
    fprintf(stream, "%s: step %lld, epoch %lld; %s slides, %s, %d orientation%s\n",
            SHOWN(checkpoint->path), (long long)checkpoint->state.step,
            (long long)checkpoint->state.epoch, split_name(options->split),
            options->whole_slides ? "every tissue window" : "the windows of the dataset",
            options->orientations, options->orientations > 1 ? "s" : "");
    fprintf(stream, "threshold %.4f, %s\n\n", e->threshold,
            e->threshold_stored ? "chosen on validation while training"
                                : "because the checkpoint holds none: nothing was validated yet");
    print_table(e, options->whole_slides, stream);
    fputc('\n', stream);
    print_confusion(stream, options->whole_slides ? "tissue" : "overall", &e->overall.at.confusion);
    if (options->whole_slides)
        print_confusion(stream, "with background", &e->overall_with_background.at.confusion);
    print_scores(e, options->whole_slides, stream);
    if (e->single.measured) print_single(e, stream);
    if (e->bad_slides) fprintf(stream, "%d slides could not be used\n", e->bad_slides);
}

/* --- JSON ------------------------------------------------------------------------------------- */

static json_t *row_object(const struct evaluation_row *row)
{
    const struct confusion *c = &row->at.confusion;
    json_t *object = json_pack("{s:I, s:I}", "count", (json_int_t)row->count, "tumor",
                               (json_int_t)row->tumor_count);
    for (int i = 0; i < FIGURES; i++)
        json_object_set_new(object, figures[i].name, json_number(figure_of(row, &figures[i])));
    json_object_set_new(
        object, "confusion",
        json_pack("{s:I, s:I, s:I, s:I}", "true_positive", (json_int_t)c->true_positive,
                  "false_positive", (json_int_t)c->false_positive, "true_negative",
                  (json_int_t)c->true_negative, "false_negative", (json_int_t)c->false_negative));
    return object;
}

/* The largest probability of sampled windows is no score of a slide. */
static const struct {
    const char *score, *auc;
} score_names[] = {
    [false] = { "largest_of_samples", "largest_of_samples_auc" }, [true] = { "score", "slide_auc" }
};

static json_t *slide_object(const struct evaluation_slide *slide, bool whole_slides)
{
    json_t *object = json_pack("{s:o, s:s, s:o, s:o}", "slide", json_name(slide->path), "label",
                               slide->label ? "tumor" : "normal", score_names[whole_slides].score,
                               json_number(slide->score), "windows", row_object(&slide->windows));
    if (whole_slides)
        json_object_set_new(object, "with_background", row_object(&slide->with_background));
    return object;
}

/* What was evaluated. The folder of an evaluation is that of these inputs. */
static json_t *inputs_object(const struct checkpoint *checkpoint,
                             const struct evaluate_options *options)
{
    const struct config_data *data = &checkpoint->config.data;
    return json_pack("{s:o, s:o, s:s, s:s}", "checkpoint", json_path(checkpoint->path), "manifest",
                     json_name(data->manifest), "split", split_name(options->split), "windows_of",
                     options->whole_slides               ? "whole_slides"
                     : data->source == DATA_SOURCE_PACKS ? "packs"
                                                         : "slides");
}

static void describe(json_t *object, const struct evaluation *e,
                     const struct checkpoint *checkpoint, const struct evaluate_options *options)
{
    const int stride = options->stride > 0 ? options->stride : checkpoint->config.data.stride;
    json_object_set_new(object, "program", json_name(checkpoint->program));
    json_object_set_new(object, "step", json_integer(checkpoint->state.step));
    json_object_set_new(object, "epoch", json_integer(checkpoint->state.epoch));
    json_object_set_new(object, "stride", json_integer(stride));
    json_object_set_new(object, "orientations", json_integer(options->orientations));
    json_object_set_new(object, "precision",
                        json_string(precision_name(checkpoint->config.compute.precision)));
    json_object_set_new(object, "threshold_precision",
                        json_string(precision_name(checkpoint->threshold_precision)));
    json_object_set_new(object, "threshold", json_number(e->threshold));
    json_object_set_new(object, "threshold_from",
                        json_string(e->threshold_stored ? "validation" : "default"));
    json_object_set_new(object, "bad_slides", json_integer(e->bad_slides));
    json_object_set_new(object, "slides_without_windows", json_integer(e->unscored_slides));
}

/* What export_measured.c reads. */
static json_t *single_object(const struct evaluation *e, const struct checkpoint *checkpoint)
{
    const struct single_comparison *s = &e->single;
    const char *content = weights_metadata(&checkpoint->weights, "micromet.xxh3");
    json_t *object = json_pack("{s:s, s:i, s:I, s:I}", "checkpoint", content ? content : "",
                               "side_px", s->side, "count", (json_int_t)e->count,
                               "decisions_differ", (json_int_t)s->flipped);
    json_object_set_new(object, "threshold", json_number(s->own.at.threshold));
    json_object_set_new(object, "auc", json_number(s->row.auc));
    json_object_set_new(object, "auc_of_towers", json_number(e->overall.auc));
    json_object_set_new(object, "mean_difference", json_number(s->mean_difference));
    json_object_set_new(object, "max_difference", json_number(s->max_difference));
    json_object_set_new(object, "windows", row_object(&s->row));
    if (!isnan(s->own.at.threshold))
        json_object_set_new(object, "windows_at_own_threshold", row_object(&s->own));
    return object;
}

char *evaluation_json(const struct evaluation *evaluation, const struct checkpoint *checkpoint,
                      const struct evaluate_options *options)
{
    const struct evaluation *e = evaluation;
    json_t *object = inputs_object(checkpoint, options), *slides = json_array();
    describe(object, e, checkpoint, options);
    json_object_set_new(object, score_names[options->whole_slides].auc, json_number(e->slide_auc));
    if (options->whole_slides)
        json_object_set_new(object, "slide_threshold", json_number(e->slide_threshold));
    json_object_set_new(object, "windows", row_object(&e->overall));
    if (options->whole_slides)
        json_object_set_new(object, "with_background", row_object(&e->overall_with_background));
    if (e->single.measured)
        json_object_set_new(object, "single_input", single_object(e, checkpoint));
    for (int i = 0; i < e->slide_count; i++)
        json_array_append_new(slides, slide_object(&e->slides[i], options->whole_slides));
    json_object_set_new(object, "slides", slides);
    char *text = json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(object);
    return text;
}

/* --- files ------------------------------------------------------------------------------------ */

static bool write_predictions(const struct evaluation *e, const char *path, struct error *err)
{
    struct atomic_file file;
    if (!atomic_file_open(&file, path, err)) return false;
    fputs("slide,x_level0,y_level0,label,probability\n", file.stream);
    for (int s = 0; s < e->slide_count; s++) {
        const struct evaluation_slide *slide = &e->slides[s];
        for (int64_t i = slide->first; i < slide->first + slide->count; i++) {
            text_print_csv(file.stream, path_name(slide->path));
            fprintf(file.stream, ",%d,%d,%d,%.9g\n", e->windows[i].x_level0, e->windows[i].y_level0,
                    e->labels[i] != 0, e->probabilities[i]);
        }
    }
    const bool ok = atomic_file_commit(&file, err);
    atomic_file_release(&file);
    return ok;
}

static bool write_curves(const struct evaluation *e, const char *title, const char *roc,
                         const char *precision_recall, struct error *err)
{
    const struct evaluation_row *row = &e->overall;
    const double prevalence = row->count ? (double)row->tumor_count / (double)row->count : NAN;
    struct curve_point *points;
    int64_t count;
    if (!metrics_curve(e->probabilities, e->labels, e->count, &points, &count, err)) return false;
    const bool ok = plot_roc(roc, title, points, count, row->auc, &row->at, err) &&
                    plot_precision_recall(precision_recall, title, points, count,
                                          row->average_precision, prevalence, &row->at, err);
    free(points);
    return ok;
}

enum { FILES = 4 };
static const char *const file_names[FILES] = { "evaluation.json", "predictions.csv", "roc.png",
                                               "precision_recall.png" };

bool evaluation_check_outputs(const struct checkpoint *checkpoint,
                              const struct evaluate_options *options, const char *folder,
                              struct error *err)
{
    char path[PATH_MAX_BYTES];
    bool ok = true;
    for (int i = FILES - 1; ok && i >= 0; i--)
        ok = path_join(path, folder, file_names[i], err) &&
             output_check(path, "give another --out", err);
    if (!ok) return false;
    json_t *earlier = json_read_object(path), *wanted = inputs_object(checkpoint, options);
    const char *key;
    json_t *value;
    json_object_foreach(wanted, key, value)
    {
        const char *other = json_string_value(json_object_get(earlier, key));
        if (!other || strcmp(other, json_string_value(value)) == 0) continue;
        ok = error_set(err, EXIT_CODE_USAGE,
                       "%.300s: holds another evaluation (%s is %.300s there, and %.300s here); "
                       "give another --out, or remove it",
                       path, key, other, json_string_value(value));
    }
    json_decref(earlier);
    json_decref(wanted);
    return ok;
}

bool evaluation_write(const struct evaluation *evaluation, const struct checkpoint *checkpoint,
                      const struct evaluate_options *options, const char *folder, struct error *err)
{
    char paths[FILES][PATH_MAX_BYTES], title[256];
    snprintf(title, sizeof title, "%s, %s%s", checkpoint->config.name, split_name(options->split),
             options->whole_slides ? ", whole slides" : "");
    if (!folder_create(folder, err)) return false;
    for (int i = 0; i < FILES; i++)
        if (!path_join(paths[i], folder, file_names[i], err)) return false;
    char *text = evaluation_json(evaluation, checkpoint, options);
    if (!text) return error_set(err, EXIT_CODE_FAILED, "no memory for %s", paths[0]);
    const bool ok = write_predictions(evaluation, paths[1], err) &&
                    write_curves(evaluation, title, paths[2], paths[3], err) &&
                    file_write_atomic(paths[0], text, strlen(text), err);
    if (ok && options->whole_slides && options->folder) finished_maps_remove(options->folder);
    free(text);
    return ok;
}
