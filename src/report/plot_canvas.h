/* Shared by all pictures: a white page with text, and on it a slide's thumbnail with outlines
 * and a scale bar.
 *
 * Drawing uses logical units, in which font sizes are fixed; the page's `zoom` converts
 * them to pixels. */
#ifndef MICROMET_REPORT_PLOT_CANVAS_H
#define MICROMET_REPORT_PLOT_CANVAS_H

#include <cairo.h>
#include <stdbool.h>
#include <stdint.h>

#include "micromet/base/error.h"

struct color {
    double red, green, blue;
};

extern const struct color color_ink, color_quiet, color_grid, color_tissue, color_tumor;

struct canvas {
    cairo_surface_t *surface;
    cairo_t *cairo;
    int width, height; /* pixels */
};

bool canvas_init(struct canvas *canvas, double width, double height, double zoom,
                 struct error *err);
/* Write the page as a PNG. */
bool canvas_save(struct canvas *canvas, const char *path, struct error *err);
void canvas_release(struct canvas *canvas);

void canvas_color(struct canvas *canvas, struct color color, double opacity);

enum align { ALIGN_LEFT, ALIGN_CENTER, ALIGN_RIGHT };
struct text_style {
    double size;
    bool bold;
    enum align align;
    struct color color;
    double width_max; /* 0 = unlimited; longer text is cut and ends in … */
};
/* (x, y) is on the baseline. Returns the width drawn. Invalid UTF-8 is shown as '?'. */
double canvas_text(struct canvas *canvas, double x, double y, struct text_style style,
                   const char *text);

/* A page with a thumbnail: title above, space for a legend to its right, a strip for the
 * scale bar below. */
struct picture {
    struct canvas canvas;
    double x, y, width, height;     /* of the thumbnail, logical units */
    double area_width, area_height; /* space reserved for it, at least as large */
    double scale;                   /* logical units per thumbnail px */
    int columns, rows;              /* of the thumbnail, px */
};

/* PICTURE_GRAY: the thumbnail is drawn grey, so that colours laid over it can be read. */
enum picture_tone { PICTURE_COLOR, PICTURE_GRAY };

bool picture_init(struct picture *picture, const char *title, const char *subtitle,
                  const uint8_t *thumbnail, int width, int height, enum picture_tone tone,
                  double legend_width, struct error *err);
void picture_release(struct picture *picture);

/* Outline of the pixels above `level`, linearly interpolated between pixel centres. values:
 * (rows, columns). */
void picture_outline(struct picture *picture, const uint8_t *values, double level,
                     struct color color);

/* Below the thumbnail: a scale bar of 1, 2 or 5 × 10^n mm, or a note if µm per thumbnail px are
 * unknown (0). */
void picture_scale_bar(struct picture *picture, double um_per_px);

/* Below the thumbnail, right-aligned at `right`: a key, that is a line in `color` and its meaning.
 * Returns where the next key ends. */
double picture_key(struct picture *picture, double right, struct color color, const char *text);

#endif
