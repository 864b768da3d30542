/* Annotations: a mask or polygons, converted to runs of pixels when opened and queried many
 * times afterwards.
 *
 * Every use needs the whole annotation at least once, and the runs of hand-drawn regions are small.
 * So the file is read once, any damage shows at once, and a query is a binary search that is safe
 * from many threads. */
#include "micromet/slide/annotation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "annotation_parts.h"
#include "micromet/base/size.h"
#include "outline_formats.h"

struct annotation {
    char path[PATH_MAX_BYTES];
    struct run_rows layers[ANNOTATION_LAYERS];
    double pixel_level0;              /* level-0 px per pixel of the rows */
    double slide_width, slide_height; /* level-0 px */
    struct annotation_facts facts;
};

/* Rectangles touch if they overlap by more than this, in level-0 px: above the rounding error of p
 * * pixel_level0. */
static const double touch_level0 = 1e-6;

/* Pixels that the slide's `side` takes up, at most those that the mask has. */
static int64_t pixels_on_slide(double side, double pixel_level0, int64_t mask_side)
{
    const double pixels = ceil((side - touch_level0) / pixel_level0);
    return pixels < (double)mask_side ? (int64_t)pixels : mask_side;
}

const char *const outline_format_names[] = {
    [OUTLINES_ASAP] = "ASAP XML",
    [OUTLINES_GEOJSON] = "GeoJSON",
    [OUTLINES_IMAGESCOPE] = "ImageScope XML",
    [OUTLINES_HALO] = "HALO XML",
    NULL,
};

static bool init_layers(struct annotation *annotation, int64_t width, int64_t height,
                        struct error *err)
{
    for (int i = 0; i < ANNOTATION_LAYERS; i++)
        if (!run_rows_init(&annotation->layers[i], annotation->path, width, height, err))
            return false;
    return true;
}

static void count_pixels(struct annotation *annotation)
{
    annotation->facts.tumor_pixels = run_rows_pixels(&annotation->layers[LAYER_TUMOR]);
    annotation->facts.ignored_pixels = run_rows_pixels(&annotation->layers[LAYER_IGNORED]);
}

/* A mask whose form is known: its scale, and the rows that it shares with the slide. */
static bool fit_mask(struct annotation *annotation, double downsample, const struct mask_form *form,
                     const struct slide *slide, struct error *err)
{
    annotation->facts.is_mask = true;
    annotation->facts.width = form->width;
    annotation->facts.height = form->height;
    return mask_scale(&annotation->pixel_level0, downsample, form, slide, annotation->path, err) &&
           init_layers(
               annotation,
               pixels_on_slide(annotation->slide_width, annotation->pixel_level0, form->width),
               pixels_on_slide(annotation->slide_height, annotation->pixel_level0, form->height),
               err);
}

static bool read_tiff(struct annotation *annotation, double downsample, const struct slide *slide,
                      struct mask_census *census, struct mask_form *form, struct error *err)
{
    struct mask_tiff *mask;
    annotation->facts.format = "mask TIFF";
    if (!mask_tiff_open(&mask, annotation->path, err)) return false;
    *form = *mask_tiff_form(mask);
    const bool ok = fit_mask(annotation, downsample, form, slide, err) &&
                    mask_tiff_read(mask, annotation->layers, census, err);
    mask_tiff_release(mask);
    return ok;
}

static bool read_png(struct annotation *annotation, double downsample, const struct slide *slide,
                     struct mask_census *census, struct mask_form *form, struct error *err)
{
    struct mask_png *mask;
    annotation->facts.format = "mask PNG";
    if (!mask_png_open(&mask, annotation->path, form, err)) return false;
    const bool ok = fit_mask(annotation, downsample, form, slide, err) &&
                    mask_png_read(mask, annotation->layers, census, err);
    mask_png_release(mask);
    return ok;
}

static bool read_mask(struct annotation *annotation, bool png, double downsample,
                      const struct slide *slide, const struct config_data *data, struct error *err)
{
    struct mask_form form;
    struct mask_census *census = calloc(1, sizeof *census);
    if (!census) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", annotation->path);
    mask_values_choose(census, data);
    annotation->facts.labelled = data && data->label_count;
    bool ok = png ? read_png(annotation, downsample, slide, census, &form, err)
                  : read_tiff(annotation, downsample, slide, census, &form, err);
    if (ok) count_pixels(annotation);
    ok = ok && mask_values_check(census, &form, data, annotation->path, &annotation->facts, err);
    free(census);
    return ok;
}

static bool read_outlines(struct annotation *annotation, const struct slide *slide,
                          const struct config_data *data, struct error *err)
{
    struct annotation_facts *facts = &annotation->facts;
    struct outlines set;
    enum outline_format format;
    if (!outlines_read(&set, &format, annotation->path, err)) return false;
    /* QuPath shows of a slide what OpenSlide calls its bounds, and counts from there. */
    if (format == OUTLINES_GEOJSON) outlines_move(&set, slide->bounds_x, slide->bounds_y);
    facts->format = outline_format_names[format];
    facts->width = slide->levels[0].width;
    facts->height = slide->levels[0].height;
    outlines_say_names(&set, facts->names, sizeof facts->names);
    annotation->pixel_level0 = 1;
    const bool ok = outlines_label(&set, format, data, annotation->path, &facts->polygon_count,
                                   err) &&
                    init_layers(annotation, facts->width, facts->height, err) &&
                    outlines_fill(&set, annotation->layers, err) &&
                    outlines_check(&set, annotation->path, facts->width, facts->height, err);
    outlines_release(&set);
    if (ok) count_pixels(annotation);
    return ok;
}

bool annotation_open(struct annotation **annotation, const char *path, double mask_downsample,
                     const struct slide *slide, const struct config_data *data, struct error *err)
{
    enum annotation_kind kind;
    *annotation = NULL;
    if (!*path) return true;
    if (strlen(path) >= PATH_MAX_BYTES)
        return error_set(err, EXIT_CODE_FAILED, "%.64s...: the path is longer than %d bytes", path,
                         PATH_MAX_BYTES - 1);
    if (!annotation_sniff(path, &kind, err)) return false;
    struct annotation *made = calloc(1, sizeof *made);
    if (!made) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", path);
    snprintf(made->path, sizeof made->path, "%s", path);
    made->slide_width = (double)slide->levels[0].width;
    made->slide_height = (double)slide->levels[0].height;
    if (!(kind == ANNOTATION_OUTLINES
              ? read_outlines(made, slide, data, err)
              : read_mask(made, kind == ANNOTATION_MASK_PNG, mask_downsample, slide, data, err))) {
        annotation_release(made);
        return false;
    }
    made->facts.pixel_level0 = made->pixel_level0;
    *annotation = made;
    return true;
}

void annotation_release(struct annotation *annotation)
{
    if (!annotation) return;
    for (int i = 0; i < ANNOTATION_LAYERS; i++) run_rows_release(&annotation->layers[i]);
    free(annotation);
}

bool annotation_scan(struct annotation *annotation, enum annotation_layer layer,
                     void (*span)(void *context, double x0_level0, double y0_level0,
                                  double x1_level0, double y1_level0),
                     void *context, struct error *err)
{
    (void)err;
    if (!annotation) return true;
    const double pixel = annotation->pixel_level0;
    for (int32_t y = 0; y < annotation->layers[layer].height; y++) {
        const struct run_row *row = &annotation->layers[layer].rows[y];
        for (int32_t i = 0; i < row->count; i++)
            span(context, row->runs[i].start * pixel, y * pixel, row->runs[i].end * pixel,
                 (y + 1) * pixel);
    }
    return true;
}

/* Whether any pixel of [start, end) is tumour. */
static bool row_any(const struct run_row *row, int32_t start, int32_t end)
{
    int32_t low = 0, high = row->count; /* finds the first run that ends after `start` */
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if (row->runs[middle].end > start)
            high = middle;
        else
            low = middle + 1;
    }
    return low < row->count && row->runs[low].start < end;
}

/* The pixels [*first, *end), of size `pixel`, that overlap the level-0 interval [from, to). */
static void pixels_touched(double from, double to, double pixel, int32_t limit, int32_t *first,
                           int32_t *end)
{
    const double low = floor((from + touch_level0) / pixel),
                 high = ceil((to - touch_level0) / pixel);
    *first = low < 0 ? 0 : low > limit ? limit : (int32_t)low;
    *end = high < 0 ? 0 : high > limit ? limit : (int32_t)high;
}

bool annotation_any(struct annotation *annotation, double x0_level0, double y0_level0,
                    double x1_level0, double y1_level0, bool *any, struct error *err)
{
    (void)err;
    int32_t x0, x1, y0, y1;
    *any = false;
    if (!annotation || !(x0_level0 < x1_level0 && y0_level0 < y1_level0)) return true;
    const struct run_rows *tumor = &annotation->layers[LAYER_TUMOR];
    pixels_touched(x0_level0, x1_level0, annotation->pixel_level0, tumor->width, &x0, &x1);
    pixels_touched(y0_level0, y1_level0, annotation->pixel_level0, tumor->height, &y0, &y1);
    if (x0 >= x1) return true;
    for (; y0 < y1 && !*any; y0++) *any = row_any(&tumor->rows[y0], x0, x1);
    return true;
}

/* Add the interval [x0, x1) to a line of cells: `weight` times the covered share of each cell. */
static void draw_line(float *line, int width, double x0, double x1, double weight)
{
    const int first = (int)x0;
    const int last = x1 < width ? (int)x1 : width - 1;
    for (int x = first; x <= last; x++)
        line[x] += (float)(weight * (fmin(x1, x + 1) - fmax(x0, x)));
}

static void draw_row(const struct annotation *annotation, int32_t y, int width, int height,
                     float *cover)
{
    const struct run_row *row = &annotation->layers[LAYER_TUMOR].rows[y];
    const double scale_x = annotation->pixel_level0 * width / annotation->slide_width;
    const double scale_y = annotation->pixel_level0 * height / annotation->slide_height;
    const double y0 = y * scale_y, y1 = fmin((y + 1) * scale_y, height);
    for (int line = (int)y0; line < height && line < y1; line++) {
        const double weight = fmin(y1, line + 1) - fmax(y0, line);
        for (int32_t i = 0; i < row->count; i++)
            draw_line(cover + (size_t)line * (size_t)width, width, row->runs[i].start * scale_x,
                      row->runs[i].end * scale_x, weight);
    }
}

bool annotation_draw(struct annotation *annotation, int width, int height, uint8_t *share,
                     struct error *err)
{
    const size_t count = (size_t)width * (size_t)height;
    memset(share, 0, count);
    if (!annotation) return true;
    float *cover = calloc(count, sizeof *cover);
    if (!cover)
        return error_set(err, EXIT_CODE_FAILED, "%s: out of memory for a picture",
                         annotation->path);
    const struct run_rows *tumor = &annotation->layers[LAYER_TUMOR];
    for (int32_t y = 0; y < tumor->height; y++)
        if (tumor->rows[y].count) draw_row(annotation, y, width, height, cover);
    for (size_t i = 0; i < count; i++) {
        const float value = 255 * cover[i];
        share[i] = value <= 0 ? 0 : value < 1 ? 1 : value < 254.5f ? (uint8_t)(value + 0.5f) : 255;
    }
    free(cover);
    return true;
}

bool annotation_describe(struct annotation *annotation, struct annotation_facts *facts,
                         struct error *err)
{
    (void)err;
    *facts = annotation ? annotation->facts : (struct annotation_facts) { 0 };
    return true;
}

void annotation_say_empty(const struct annotation *annotation, char text[ANNOTATION_TEXT_MAX])
{
    const struct annotation_facts *facts = &annotation->facts;
    char values[ANNOTATION_TEXT_MAX];
    annotation_say_values(facts, values);
    if (!facts->is_mask)
        snprintf(text, ANNOTATION_TEXT_MAX, "its annotation outlines no pixel of tumor%s%.200s",
                 *facts->names ? ": " : "", facts->names);
    else if (facts->value_count > 1 || facts->values[0])
        snprintf(text, ANNOTATION_TEXT_MAX, "none of %s is in its mask: %.250s",
                 facts->labelled ? "the values that data.labels calls tumor" : "data.mask_values",
                 values);
    else
        snprintf(text, ANNOTATION_TEXT_MAX, "its annotation is empty (all zero)");
}

const char *annotation_doubt(double tumor_on_tissue, double tissue_in_tumor)
{
    if (tumor_on_tissue < 0.5)
        return "less than half of the tumor lies on tissue; is the annotation of this slide?";
    if (tissue_in_tumor >= 0.9)
        return "the tumor covers 90 % of the tissue or more; does the mask mark tissue, or is it "
               "inverted?";
    return NULL;
}
