/* Writes a heat map to files: the numbers for programs, and an image for people. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "micromet/format/image.h"
#include "micromet/report/plot.h"
#include "micromet/run/heatmap.h"

enum { PICTURE_SIDE_PX = 1600 };

/* Geometry to overlay the map on the slide: the pixel (column, row) is the window centred at
 * (origin + column*step, origin + row*step) in level-0 pixels. */
static json_t *facts(const struct heatmap *heatmap, const struct checkpoint *checkpoint,
                     const struct slide *slide)
{
    const struct grid *grid = &heatmap->grid;
    char stem[PATH_MAX_BYTES];
    path_stem(stem, slide->path);
    return json_pack(
        "{s:s, s:s, s:I, s:s, s:f, s:f, s:I, s:{s:I, s:I}, s:{s:I, s:I}, s:f, s:f}", "slide", stem,
        "slide_hash", slide->quickhash, "checkpoint_step", (json_int_t)checkpoint->state.step,
        "program", checkpoint->program, "score", heatmap->score, "threshold",
        isnan(checkpoint->state.threshold) ? -1.0 : checkpoint->state.threshold, "windows",
        (json_int_t)heatmap->windows, "origin_level0", "x", (json_int_t)grid->origin_x, "y",
        (json_int_t)grid->origin_y, "size", "columns", (json_int_t)grid->columns, "rows",
        (json_int_t)grid->rows, "step_level0", grid->step, "um_per_level0_px", slide->mpp_x);
}

static bool write_tiff(const struct heatmap *heatmap, const struct slide *slide, const char *path,
                       const char *description, struct error *err)
{
    const struct grid *grid = &heatmap->grid;
    struct float_tiff *tiff = NULL;
    const bool ok = float_tiff_create(&tiff, path, grid->columns, grid->rows,
                                      slide->mpp_x * grid->step, description, err) &&
                    float_tiff_append(tiff, heatmap->probabilities, grid->rows, err) &&
                    float_tiff_commit(tiff, err);
    float_tiff_release(tiff);
    return ok;
}

static bool write_picture(const struct heatmap *heatmap, const struct checkpoint *checkpoint,
                          const struct slide *slide, struct annotation *annotation,
                          const char *path, struct error *err)
{
    char stem[PATH_MAX_BYTES];
    uint8_t *thumbnail = NULL, *share = NULL;
    int width, height;
    path_stem(stem, slide->path);
    bool ok = slide_thumbnail(slide, PICTURE_SIDE_PX, &thumbnail, &width, &height, err);
    if (ok && annotation) {
        share = malloc((size_t)width * (size_t)height);
        ok = share != NULL || error_set(err, EXIT_CODE_FAILED, "no memory for an overlay");
        ok = ok && annotation_draw(annotation, width, height, share, err);
    }
    const struct plot_heatmap plot = {
        .title = stem,
        .thumbnail = thumbnail,
        .width = ok ? width : 0,
        .height = ok ? height : 0,
        .thumbnail_downsample = ok ? (double)slide->levels[0].width / width : 1,
        .probabilities = heatmap->probabilities,
        .columns = heatmap->grid.columns,
        .rows = heatmap->grid.rows,
        .origin_x_level0 = (double)heatmap->grid.origin_x,
        .origin_y_level0 = (double)heatmap->grid.origin_y,
        .step_level0 = heatmap->grid.step,
        .tumor_share = share,
        .mpp = slide->mpp_x,
        .score = heatmap->score,
        .threshold = checkpoint->state.threshold,
    };
    ok = ok && plot_heatmap(path, &plot, err);
    free(thumbnail);
    free(share);
    return ok;
}

bool heatmap_write(const struct heatmap *heatmap, const struct checkpoint *checkpoint,
                   const struct slide *slide, struct annotation *annotation, const char *folder,
                   struct error *err)
{
    char stem[PATH_MAX_BYTES], name[PATH_MAX_BYTES + 16];
    char tiff[PATH_MAX_BYTES], png[PATH_MAX_BYTES], json[PATH_MAX_BYTES];
    path_stem(stem, slide->path);
    snprintf(name, sizeof name, "%s.heatmap.tif", stem);
    if (!folder_create(folder, err) || !path_join(tiff, folder, name, err)) return false;
    snprintf(name, sizeof name, "%s.heatmap.png", stem);
    if (!path_join(png, folder, name, err)) return false;
    snprintf(name, sizeof name, "%s.heatmap.json", stem);
    if (!path_join(json, folder, name, err)) return false;
    json_t *object = facts(heatmap, checkpoint, slide);
    char *text = json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(object);
    if (!text) return error_set(err, EXIT_CODE_FAILED, "no memory for %s", json);
    const bool ok = write_tiff(heatmap, slide, tiff, text, err) &&
                    write_picture(heatmap, checkpoint, slide, annotation, png, err) &&
                    file_write_atomic(json, text, strlen(text), err);
    free(text);
    return ok;
}
