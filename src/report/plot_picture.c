/* A page with a slide's thumbnail and what surrounds it: title, outlines, scale bar, keys. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plot_canvas.h"

/* Logical units; the thumbnail's longer side is always SIDE. */
enum {
    SIDE = 1200,
    PIXELS_MAX = 2400,     /* pixels of the longer side */
    AREA_WIDTH_MIN = 760,  /* room for title and scale bar */
    AREA_HEIGHT_MIN = 420, /* room for a legend */
    MARGIN = 40,
    HEAD = 120,
    FOOT = 84,
};

/* Mostly grey and slightly lighter (ITU-R BT.601 weights). */
static void fade(uint8_t out[3], const uint8_t rgb[3])
{
    double gray = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
    for (int i = 0; i < 3; i++)
        out[i] = (uint8_t)(0.85 * (0.88 * gray + 0.12 * rgb[i]) + 0.15 * 255);
}

static cairo_surface_t *make_thumbnail(const uint8_t *rgb, int width, int height,
                                       enum picture_tone tone)
{
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height);
    if (cairo_surface_status(surface) != CAIRO_STATUS_SUCCESS) return surface;
    uint8_t *pixels = cairo_image_surface_get_data(surface);
    size_t stride = (size_t)cairo_image_surface_get_stride(surface);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++, rgb += 3) {
            uint8_t shown[3] = { rgb[0], rgb[1], rgb[2] };
            if (tone == PICTURE_GRAY) fade(shown, rgb);
            uint32_t pixel = (uint32_t)shown[0] << 16 | (uint32_t)shown[1] << 8 | shown[2];
            memcpy(pixels + (size_t)y * stride + 4 * (size_t)x, &pixel, sizeof pixel);
        }
    }
    cairo_surface_mark_dirty(surface);
    return surface;
}

static void draw_thumbnail(struct picture *picture, const uint8_t *rgb, enum picture_tone tone)
{
    cairo_t *cairo = picture->canvas.cairo;
    cairo_surface_t *thumbnail = make_thumbnail(rgb, picture->columns, picture->rows, tone);
    cairo_save(cairo);
    cairo_rectangle(cairo, picture->x, picture->y, picture->width, picture->height);
    cairo_clip(cairo);
    cairo_translate(cairo, picture->x, picture->y);
    cairo_scale(cairo, picture->scale, picture->scale);
    cairo_set_source_surface(cairo, thumbnail, 0, 0);
    cairo_pattern_set_extend(cairo_get_source(cairo), CAIRO_EXTEND_PAD);
    cairo_pattern_set_filter(cairo_get_source(cairo), CAIRO_FILTER_GOOD);
    cairo_paint(cairo);
    cairo_restore(cairo);
    cairo_surface_destroy(thumbnail);
    canvas_color(&picture->canvas, color_grid, 1);
    cairo_set_line_width(cairo, 1.5);
    cairo_rectangle(cairo, picture->x, picture->y, picture->width, picture->height);
    cairo_stroke(cairo);
}

bool picture_init(struct picture *picture, const char *title, const char *subtitle,
                  const uint8_t *thumbnail, int width, int height, enum picture_tone tone,
                  double legend_width, struct error *err)
{
    CHECK(width > 0 && height > 0);
    int longer = width > height ? width : height;
    double zoom = fmin(fmax((double)longer, SIDE), PIXELS_MAX) / SIDE;
    *picture =
        (struct picture) { .scale = (double)SIDE / longer, .columns = width, .rows = height };
    picture->width = width * picture->scale;
    picture->height = height * picture->scale;
    picture->area_width = fmax(picture->width, AREA_WIDTH_MIN);
    picture->area_height = fmax(picture->height, AREA_HEIGHT_MIN);
    picture->x = MARGIN + (picture->area_width - picture->width) / 2;
    picture->y = HEAD + (picture->area_height - picture->height) / 2;
    double page_width = picture->area_width + legend_width + 2 * MARGIN;
    if (!canvas_init(&picture->canvas, page_width, picture->area_height + HEAD + FOOT, zoom, err))
        return false;
    struct text_style head = {
        .size = 34, .bold = true, .color = color_ink, .width_max = page_width - 2 * MARGIN
    };
    struct text_style sub = { .size = 23, .color = color_quiet, .width_max = head.width_max };
    canvas_text(&picture->canvas, MARGIN, 56, head, title);
    canvas_text(&picture->canvas, MARGIN, 94, sub, subtitle);
    draw_thumbnail(picture, thumbnail, tone);
    return true;
}

void picture_release(struct picture *picture)
{
    canvas_release(&picture->canvas);
}

/* Values at pixel centres; 0 outside the image. */
struct field {
    const uint8_t *values;
    int columns, rows;
    double level;
};

static double field_at(const struct field *field, int x, int y)
{
    if (x < 0 || y < 0 || x >= field->columns || y >= field->rows) return -field->level;
    return field->values[(size_t)y * (size_t)field->columns + (size_t)x] - field->level;
}

/* Marching squares: add the contour's segments in the square whose upper left pixel
 * centre is (x, y). */
static void outline_square(cairo_t *cairo, const struct field *field, int x, int y)
{
    static const int corner_x[] = { 0, 1, 1, 0 }, corner_y[] = { 0, 0, 1, 1 };
    double corner[4], cut_x[4], cut_y[4];
    int cuts = 0;
    for (int i = 0; i < 4; i++) corner[i] = field_at(field, x + corner_x[i], y + corner_y[i]);
    for (int i = 0; i < 4; i++) {
        int next = (i + 1) % 4;
        if ((corner[i] > 0) == (corner[next] > 0)) continue;
        double along = corner[i] / (corner[i] - corner[next]);
        cut_x[cuts] = x + 0.5 + corner_x[i] + along * (corner_x[next] - corner_x[i]);
        cut_y[cuts++] = y + 0.5 + corner_y[i] + along * (corner_y[next] - corner_y[i]);
    }
    for (int i = 0; i < cuts; i += 2) {
        cairo_move_to(cairo, cut_x[i], cut_y[i]);
        cairo_line_to(cairo, cut_x[i + 1], cut_y[i + 1]);
    }
}

static void stroke_outline(struct picture *picture, const struct field *field, double width)
{
    cairo_t *cairo = picture->canvas.cairo;
    cairo_set_line_width(cairo, width / picture->scale);
    for (int y = -1; y < field->rows; y++) {
        for (int x = -1; x < field->columns; x++) outline_square(cairo, field, x, y);
        cairo_stroke(cairo);
    }
}

void picture_outline(struct picture *picture, const uint8_t *values, double level,
                     struct color color)
{
    struct field field = { values, picture->columns, picture->rows, level };
    cairo_t *cairo = picture->canvas.cairo;
    cairo_save(cairo);
    cairo_rectangle(cairo, picture->x, picture->y, picture->width, picture->height);
    cairo_clip(cairo);
    cairo_translate(cairo, picture->x, picture->y);
    cairo_scale(cairo, picture->scale, picture->scale);
    cairo_set_source_rgb(cairo, 1, 1, 1); /* a white halo sets the line off from the tissue */
    stroke_outline(picture, &field, 5.5);
    canvas_color(&picture->canvas, color, 1);
    stroke_outline(picture, &field, 2.8);
    cairo_restore(cairo);
}

/* The longest of 1, 2 and 5 × 10^n that is at most `limit`. */
static double round_length(double limit)
{
    static const double steps[] = { 5, 2, 1 };
    double power = pow(10, floor(log10(limit)));
    for (int i = 0; i < 3; i++)
        if (steps[i] * power <= limit * (1 + 1e-9)) return steps[i] * power;
    return power;
}

static double foot_baseline(const struct picture *picture)
{
    return HEAD + picture->area_height + 46;
}

void picture_scale_bar(struct picture *picture, double um_per_px)
{
    if (!(um_per_px > 0) || !isfinite(um_per_px)) {
        struct text_style quiet = { .size = 23, .color = color_quiet };
        canvas_text(&picture->canvas, picture->x, foot_baseline(picture) + 1, quiet,
                    "no scale: µm per pixel unknown");
        return;
    }
    double mm_per_unit = um_per_px / 1000 / picture->scale;
    double mm = round_length(mm_per_unit * fmin(picture->width / 3, 240));
    double length = mm / mm_per_unit, y = foot_baseline(picture) - 7;
    cairo_t *cairo = picture->canvas.cairo;
    canvas_color(&picture->canvas, color_ink, 1);
    cairo_rectangle(cairo, picture->x, y - 4, length, 8);
    cairo_fill(cairo);
    char label[32];
    if (mm < 0.1)
        snprintf(label, sizeof label, "%g µm", mm * 1000);
    else
        snprintf(label, sizeof label, "%g mm", mm);
    struct text_style style = { .size = 23, .color = color_ink };
    canvas_text(&picture->canvas, picture->x + length + 14, y + 8, style, label);
}

double picture_key(struct picture *picture, double right, struct color color, const char *text)
{
    double y = foot_baseline(picture);
    struct text_style style = { .size = 23, .color = color_ink, .align = ALIGN_RIGHT };
    double left = right - canvas_text(&picture->canvas, right, y + 1, style, text) - 14;
    cairo_t *cairo = picture->canvas.cairo;
    canvas_color(&picture->canvas, color, 1);
    cairo_set_line_width(cairo, 4);
    cairo_move_to(cairo, left - 34, y - 7);
    cairo_line_to(cairo, left, y - 7);
    cairo_stroke(cairo);
    return left - 34 - 36;
}
