/* Heat map: probabilities in colour over the slide in grey. Low probabilities are more transparent,
 * so that the tissue can be seen; high ones cover it. The colours run from blue over yellow to red
 * and keep their order for colour-blind readers (ColorBrewer RdYlBu). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"
#include "micromet/report/plot.h"
#include "plot_canvas.h"

enum { LEGEND_WIDTH = 190 };

static const struct color ramp[] = {
    { 0.192, 0.212, 0.584 }, { 0.271, 0.459, 0.706 }, { 0.455, 0.678, 0.820 },
    { 0.671, 0.851, 0.914 }, { 0.996, 0.878, 0.565 }, { 0.992, 0.682, 0.380 },
    { 0.957, 0.427, 0.263 }, { 0.843, 0.188, 0.153 }, { 0.647, 0.000, 0.149 },
};
enum { RAMP = COUNT_OF(ramp) };
static const double opacity_low = 0.40, opacity_high = 0.78;

static double opacity_of(double probability)
{
    return opacity_low + (opacity_high - opacity_low) * probability;
}

static struct color color_of(double probability)
{
    double at = probability * (RAMP - 1);
    int below = (int)fmin(at, RAMP - 2);
    double t = at - below;
    const struct color *a = &ramp[below], *b = &ramp[below + 1];
    return (struct color) { a->red + t * (b->red - a->red), a->green + t * (b->green - a->green),
                            a->blue + t * (b->blue - a->blue) };
}

/* Premultiplied ARGB; NaN is transparent. */
static uint32_t pixel_of(float probability)
{
    if (isnan(probability)) return 0;
    double p = fmin(fmax(probability, 0), 1), opacity = opacity_of(p);
    struct color color = color_of(p);
    return (uint32_t)lround(255 * opacity) << 24 |
           (uint32_t)lround(255 * opacity * color.red) << 16 |
           (uint32_t)lround(255 * opacity * color.green) << 8 |
           (uint32_t)lround(255 * opacity * color.blue);
}

static cairo_surface_t *make_cells(const struct plot_heatmap *map)
{
    int columns = map->columns < INT32_MAX ? (int)map->columns : INT32_MAX;
    int rows = map->rows < INT32_MAX ? (int)map->rows : INT32_MAX;
    cairo_surface_t *cells = cairo_image_surface_create(CAIRO_FORMAT_ARGB32, columns, rows);
    if (cairo_surface_status(cells) != CAIRO_STATUS_SUCCESS) return cells;
    uint8_t *pixels = cairo_image_surface_get_data(cells);
    size_t stride = (size_t)cairo_image_surface_get_stride(cells);
    for (int y = 0; y < rows; y++) {
        for (int x = 0; x < columns; x++) {
            uint32_t pixel = pixel_of(map->probabilities[(int64_t)y * map->columns + x]);
            memcpy(pixels + (size_t)y * stride + 4 * (size_t)x, &pixel, sizeof pixel);
        }
    }
    cairo_surface_mark_dirty(cells);
    return cells;
}

/* Each cell covers one step around its centre. */
static void draw_cells(struct picture *picture, const struct plot_heatmap *map)
{
    double unit = picture->scale / map->thumbnail_downsample; /* logical units per level-0 px */
    double cell = map->step_level0 * unit;
    double x = (map->origin_x_level0 - map->step_level0 / 2) * unit;
    double y = (map->origin_y_level0 - map->step_level0 / 2) * unit;
    cairo_t *cairo = picture->canvas.cairo;
    cairo_surface_t *cells = make_cells(map);
    cairo_save(cairo);
    cairo_rectangle(cairo, picture->x, picture->y, picture->width, picture->height);
    cairo_clip(cairo);
    cairo_translate(cairo, picture->x + x, picture->y + y);
    cairo_scale(cairo, cell, cell);
    cairo_set_source_surface(cairo, cells, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(cairo),
                             cell < 1 ? CAIRO_FILTER_GOOD : CAIRO_FILTER_NEAREST);
    cairo_paint(cairo);
    cairo_restore(cairo);
    cairo_surface_destroy(cells);
}

static void draw_threshold(struct canvas *canvas, double x, double y)
{
    cairo_t *cairo = canvas->cairo;
    canvas_color(canvas, color_ink, 1);
    cairo_move_to(cairo, x - 2, y);
    cairo_line_to(cairo, x - 16, y - 9);
    cairo_line_to(cairo, x - 16, y + 9);
    cairo_close_path(cairo);
    cairo_fill(cairo);
}

static void draw_legend(struct picture *picture, double threshold)
{
    enum { BAR = 34, STEPS = 200, TICKS = 5 };
    struct canvas *canvas = &picture->canvas;
    cairo_t *cairo = canvas->cairo;
    double height = fmin(picture->area_height, 560) - 50;
    double x = picture->x + picture->width + (picture->area_width - picture->width) / 2 + 50;
    double top = picture->y + (picture->height - picture->area_height) / 2 + 50;
    struct text_style style = { .size = 23, .color = color_ink };
    canvas_text(canvas, x, top - 26, style, "probability");
    cairo_set_antialias(cairo, CAIRO_ANTIALIAS_NONE);
    for (int i = 0; i < STEPS; i++) {
        double p = (i + 0.5) / STEPS, y = top + height * (1 - (i + 1.0) / STEPS);
        canvas_color(canvas, color_of(p), opacity_of(p));
        cairo_rectangle(cairo, x, y, BAR, height / STEPS);
        cairo_fill(cairo);
    }
    cairo_set_antialias(cairo, CAIRO_ANTIALIAS_DEFAULT);
    for (int i = 0; i <= TICKS; i++) {
        char label[16];
        double p = (double)i / TICKS, y = top + height * (1 - p);
        snprintf(label, sizeof label, "%.1f", p);
        canvas_color(canvas, color_quiet, 1);
        cairo_set_line_width(cairo, 2);
        cairo_move_to(cairo, x + BAR + 1, y);
        cairo_line_to(cairo, x + BAR + 8, y);
        cairo_stroke(cairo);
        canvas_text(canvas, x + BAR + 16, y + 8, style, label);
    }
    if (!(threshold >= 0 && threshold <= 1)) return;
    char label[32];
    draw_threshold(canvas, x, top + height * (1 - threshold));
    snprintf(label, sizeof label, "threshold %.3f", threshold);
    style.size = 19;
    canvas_text(canvas, x - 16, top + height + 36, style, label);
    canvas_text(canvas, x - 16, top + height + 60, style, "of one window");
}

bool plot_heatmap(const char *path, const struct plot_heatmap *heatmap, struct error *err)
{
    CHECK(heatmap->thumbnail_downsample > 0 && heatmap->step_level0 > 0);
    CHECK(heatmap->columns > 0 && heatmap->rows > 0);
    char subtitle[128] = "";
    if (isnan(heatmap->score))
        snprintf(subtitle, sizeof subtitle, "no score: no window is tissue");
    else
        snprintf(subtitle, sizeof subtitle, "slide score %.3f, the largest of all windows",
                 heatmap->score);
    struct picture picture;
    if (!picture_init(&picture, heatmap->title, subtitle, heatmap->thumbnail, heatmap->width,
                      heatmap->height, PICTURE_GRAY, LEGEND_WIDTH, err))
        return false;
    draw_cells(&picture, heatmap);
    if (heatmap->tumor_share) {
        picture_outline(&picture, heatmap->tumor_share, 0.5, color_ink);
        picture_key(&picture, picture.x + picture.width, color_ink, "annotated tumour");
    }
    draw_legend(&picture, heatmap->threshold);
    picture_scale_bar(&picture, heatmap->mpp * heatmap->thumbnail_downsample);
    bool done = canvas_save(&picture.canvas, path, err);
    picture_release(&picture);
    return done;
}
