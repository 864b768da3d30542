/* Writes a heat map to files: the numbers for programs, and an image for people. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "micromet/base/output.h"
#include "micromet/base/size.h"
#include "micromet/format/image.h"
#include "micromet/format/json.h"
#include "micromet/report/plot.h"
#include "micromet/run/heatmap.h"

enum { PICTURE_SIDE_PX = 1600 };

static bool name_file(char path[PATH_MAX_BYTES], const char *folder, const char *stem,
                      const char *ending, struct error *err)
{
    char name[PATH_MAX_BYTES + 16];
    snprintf(name, sizeof name, "%s.heatmap.%s", stem, ending);
    return path_join(path, folder, name, err);
}

bool heatmap_files_init(struct heatmap_files *files, const char *folder, const char *slide,
                        struct error *err)
{
    char stem[PATH_MAX_BYTES];
    path_stem(stem, slide);
    return name_file(files->tiff, folder, stem, "tif", err) &&
           name_file(files->picture, folder, stem, "png", err) &&
           name_file(files->json, folder, stem, "json", err) &&
           name_file(files->partial, folder, stem, "partial", err);
}

static bool is_json(const char *path)
{
    return output_holds(path, "{", "\"slide_hash\"");
}

bool heatmap_files_check(const struct heatmap_files *files, char *const *inputs, int count,
                         struct error *err)
{
    const char *const paths[] = { files->json, files->tiff, files->picture, files->partial };
    for (size_t i = 0; i < COUNT_OF(paths); i++)
        if (!output_check(paths[i], "give another --out", err) ||
            !output_check_inputs(paths[i], inputs, count, err))
            return false;
    return output_check_own(files->tiff, float_tiff_is_at, "a heat map of micromet", err) &&
           output_check_own(files->json, is_json, "of a heat map of micromet", err);
}

static void checkpoint_hash(char text[17], const struct checkpoint *checkpoint)
{
    snprintf(text, 17, "%016llx", (unsigned long long)checkpoint->identity);
}

/* Whether a map was drawn from another file: under this path there may be a new content, and this
 * content may have moved. */
static bool is_of_another(const json_t *map, const char *path_key, const char *path,
                          const char *hash_key, const char *hash)
{
    const char *its_path = json_string_value(json_object_get(map, path_key));
    const char *its_hash = json_string_value(json_object_get(map, hash_key));
    json_t *own_path = json_path(path);
    const bool other = its_path && its_hash && strcmp(its_hash, hash) != 0 &&
                       strcmp(its_path, json_string_value(own_path)) != 0;
    json_decref(own_path);
    return other;
}

bool heatmap_files_check_earlier(struct heatmap_files *files, const struct checkpoint *checkpoint,
                                 const struct slide *slide, struct error *err)
{
    char hash[17];
    struct file_identity identity;
    if (!identity_of_slide(&identity, slide->path, err)) return false;
    identity_print(&identity, files->content);
    json_t *map = json_read_object(files->json);
    checkpoint_hash(hash, checkpoint);
    const bool slide_differs = is_of_another(map, "slide_path", slide->path, "slide_content",
                                             files->content);
    const bool model_differs = is_of_another(map, "checkpoint", checkpoint->path, "checkpoint_hash",
                                             hash);
    if (slide_differs || model_differs)
        error_set(
            err, EXIT_CODE_FAILED,
            "%.300s: %.300s is there already, of another %s, %.300s; give another --out",
            slide->path, files->json, slide_differs ? "slide of this name" : "checkpoint",
            json_string_value(json_object_get(map, slide_differs ? "slide_path" : "checkpoint")));
    json_decref(map);
    return !slide_differs && !model_differs;
}

/* Geometry to overlay the map on the slide: the pixel (column, row) is the window centred at
 * (origin + column*step, origin + row*step) in level-0 pixels. */
static json_t *facts(const struct heatmap *heatmap, const struct checkpoint *checkpoint,
                     const struct slide *slide, const struct heatmap_files *files)
{
    const struct grid *grid = &heatmap->grid;
    char stem[PATH_MAX_BYTES], hash[17];
    path_stem(stem, slide->path);
    checkpoint_hash(hash, checkpoint);
    return json_pack(
        "{s:o, s:o, s:s, s:s, s:o, s:s, s:I, s:o, s:o, s:o, s:I, s:{s:I, s:I}, s:{s:I, s:I}, s:f, "
        "s:f}",
        "slide", json_name(stem), "slide_path", json_path(slide->path), "slide_hash",
        slide->quickhash, "slide_content", files->content, "checkpoint",
        json_path(checkpoint->path), "checkpoint_hash", hash, "checkpoint_step",
        (json_int_t)checkpoint->state.step, "program", json_name(checkpoint->program), "score",
        json_number(heatmap->score), "window_threshold", json_number(checkpoint->state.threshold),
        "windows", (json_int_t)heatmap->windows, "origin_level0", "x", (json_int_t)grid->origin_x,
        "y", (json_int_t)grid->origin_y, "size", "columns", (json_int_t)grid->columns, "rows",
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
                   const struct slide *slide, struct annotation *annotation,
                   const struct heatmap_files *files, struct error *err)
{
    char folder[PATH_MAX_BYTES];
    path_folder(folder, files->json);
    if (!folder_create(folder, err)) return false;
    json_t *object = facts(heatmap, checkpoint, slide, files);
    char *text = object ? json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(9) |
                                                 JSON_ENSURE_ASCII) /* TIFF's texts are ASCII */
                        : NULL;
    json_decref(object);
    if (!text) return error_set(err, EXIT_CODE_FAILED, "no memory for %s", files->json);
    const bool ok = write_tiff(heatmap, slide, files->tiff, text, err) &&
                    write_picture(heatmap, checkpoint, slide, annotation, files->picture, err) &&
                    file_write_atomic(files->json, text, strlen(text), err);
    free(text);
    return ok;
}
