/* The page that all pictures are drawn on, with cairo. */
#include "plot_canvas.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/format/image.h"

const struct color color_ink = { 0.11, 0.13, 0.17 };
const struct color color_quiet = { 0.42, 0.45, 0.50 };
const struct color color_grid = { 0.89, 0.90, 0.92 };
const struct color color_tissue = { 0.10, 0.38, 0.80 };
const struct color color_tumor = { 0.82, 0.07, 0.16 };

enum { TEXT_BYTES_MAX = 256 };

bool canvas_init(struct canvas *canvas, double width, double height, double zoom, struct error *err)
{
    *canvas = (struct canvas) { .width = (int)ceil(width * zoom),
                                .height = (int)ceil(height * zoom) };
    canvas->surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, canvas->width, canvas->height);
    canvas->cairo = cairo_create(canvas->surface);
    if (cairo_status(canvas->cairo) != CAIRO_STATUS_SUCCESS) {
        error_set(err, EXIT_CODE_FAILED, "picture of %d×%d pixels: %s", canvas->width,
                  canvas->height, cairo_status_to_string(cairo_status(canvas->cairo)));
        canvas_release(canvas);
        return false;
    }
    cairo_set_source_rgb(canvas->cairo, 1, 1, 1);
    cairo_paint(canvas->cairo);
    cairo_scale(canvas->cairo, zoom, zoom);
    cairo_set_line_cap(canvas->cairo, CAIRO_LINE_CAP_ROUND);
    cairo_set_line_join(canvas->cairo, CAIRO_LINE_JOIN_ROUND);
    return true;
}

void canvas_release(struct canvas *canvas)
{
    if (canvas->cairo) cairo_destroy(canvas->cairo);
    if (canvas->surface) cairo_surface_destroy(canvas->surface);
    *canvas = (struct canvas) { 0 };
}

bool canvas_save(struct canvas *canvas, const char *path, struct error *err)
{
    cairo_status_t status = cairo_status(canvas->cairo);
    if (status != CAIRO_STATUS_SUCCESS)
        return error_set(err, EXIT_CODE_FAILED, "%s: cannot draw: %s", path,
                         cairo_status_to_string(status));
    uint8_t *rgb = malloc((size_t)canvas->width * (size_t)canvas->height * 3), *to = rgb;
    if (!rgb) return error_set(err, EXIT_CODE_FAILED, "%s: no memory for the picture", path);
    cairo_surface_flush(canvas->surface);
    const uint8_t *pixels = cairo_image_surface_get_data(canvas->surface);
    int stride = cairo_image_surface_get_stride(canvas->surface);
    for (int y = 0; y < canvas->height; y++) {
        for (int x = 0; x < canvas->width; x++) {
            uint32_t pixel;
            memcpy(&pixel, pixels + (size_t)y * (size_t)stride + 4 * (size_t)x, sizeof pixel);
            *to++ = (uint8_t)(pixel >> 16);
            *to++ = (uint8_t)(pixel >> 8);
            *to++ = (uint8_t)pixel;
        }
    }
    bool done = image_write_png(path, rgb, canvas->width, canvas->height, err);
    free(rgb);
    return done;
}

void canvas_color(struct canvas *canvas, struct color color, double opacity)
{
    cairo_set_source_rgba(canvas->cairo, color.red, color.green, color.blue, opacity);
}

/* Length of the UTF-8 sequence of up to three bytes at `text`; 0 if it is invalid or longer. */
static int utf8_length(const char *text)
{
    unsigned char lead = (unsigned char)text[0], second = lead ? (unsigned char)text[1] : 0;
    if (lead < 0x80) return 1;
    if (lead < 0xc2 || lead > 0xef || (second & 0xc0) != 0x80) return 0;
    if (lead < 0xe0) return 2;
    bool is_overlong = lead == 0xe0 && second < 0xa0, is_surrogate = lead == 0xed && second >= 0xa0;
    return is_overlong || is_surrogate || ((unsigned char)text[2] & 0xc0) != 0x80 ? 0 : 3;
}

/* Copy as much as fits, with '?' for anything but printable UTF-8, after which cairo
 * would draw nothing. */
static void clean_text(char out[TEXT_BYTES_MAX], const char *text)
{
    size_t size = 0;
    while (*text && size + 4 < TEXT_BYTES_MAX) {
        int length = utf8_length(text);
        bool plain = length > 1 || (length == 1 && *text >= ' ' && *text != 0x7f);
        if (!plain) length = 1;
        memcpy(out + size, plain ? text : "?", (size_t)length);
        size += (size_t)length;
        text += length;
    }
    out[size] = '\0';
}

static double text_width(struct canvas *canvas, const char *text)
{
    cairo_text_extents_t extents;
    cairo_text_extents(canvas->cairo, text, &extents);
    return extents.x_advance;
}

/* Drop characters from the end until the text with "…" fits. */
static void shorten(struct canvas *canvas, char text[TEXT_BYTES_MAX], double width_max)
{
    size_t size = strlen(text);
    while (size > 0 && text_width(canvas, text) > width_max) {
        do size--;
        while (size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80);
        memcpy(text + size, "…", sizeof "…");
    }
}

double canvas_text(struct canvas *canvas, double x, double y, struct text_style style,
                   const char *text)
{
    char clean[TEXT_BYTES_MAX];
    clean_text(clean, text);
    cairo_select_font_face(canvas->cairo, "sans", CAIRO_FONT_SLANT_NORMAL,
                           style.bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(canvas->cairo, style.size);
    if (style.width_max > 0) shorten(canvas, clean, style.width_max);
    double width = text_width(canvas, clean);
    canvas_color(canvas, style.color, 1);
    cairo_move_to(canvas->cairo, x - width * 0.5 * style.align, y);
    cairo_show_text(canvas->cairo, clean);
    cairo_new_path(canvas->cairo);
    return width;
}
