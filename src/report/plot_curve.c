/* ROC and precision-recall curves: a square plot on the left, the metrics on the right. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "micromet/base/size.h"
#include "micromet/report/plot.h"
#include "plot_canvas.h"

enum { PAGE_WIDTH = 1200, PAGE_HEIGHT = 900, LEFT = 122, TOP = 92, SIDE = 690, TICKS = 5 };
enum { COLUMN = LEFT + SIDE + 58, COLUMN_WIDTH = PAGE_WIDTH - COLUMN - 40 };

static const struct color color_curve = { 0.10, 0.38, 0.80 };
static const struct color color_point = { 0.90, 0.33, 0.05 };

/* Labels of a kind of curve, and which coordinates it plots. */
struct kind {
    const char *x_label, *y_label, *area_label;
    bool is_roc;
};

static double page_x(double value)
{
    return LEFT + SIDE * value;
}

static double page_y(double value)
{
    return TOP + SIDE * (1 - value);
}

static double curve_x(const struct kind *kind, const struct curve_point *point)
{
    return kind->is_roc ? point->false_positive_rate : point->true_positive_rate;
}

static double curve_y(const struct kind *kind, const struct curve_point *point)
{
    return kind->is_roc ? point->true_positive_rate : point->precision;
}

static void draw_axes(struct canvas *canvas, const struct kind *kind)
{
    cairo_t *cairo = canvas->cairo;
    struct text_style tick = { .size = 23, .color = color_quiet };
    struct text_style label = { .size = 26, .color = color_ink, .align = ALIGN_CENTER };
    cairo_set_line_width(cairo, 1.5);
    for (int i = 0; i <= TICKS; i++) {
        char text[16];
        double value = (double)i / TICKS;
        snprintf(text, sizeof text, "%.1f", value);
        canvas_color(canvas, color_grid, 1);
        cairo_move_to(cairo, page_x(value), page_y(0));
        cairo_line_to(cairo, page_x(value), page_y(1));
        cairo_move_to(cairo, page_x(0), page_y(value));
        cairo_line_to(cairo, page_x(1), page_y(value));
        cairo_stroke(cairo);
        tick.align = ALIGN_CENTER;
        canvas_text(canvas, page_x(value), page_y(0) + 36, tick, text);
        tick.align = ALIGN_RIGHT;
        canvas_text(canvas, page_x(0) - 14, page_y(value) + 8, tick, text);
    }
    canvas_text(canvas, page_x(0.5), page_y(0) + 82, label, kind->x_label);
    cairo_save(cairo);
    cairo_translate(cairo, 42, page_y(0.5));
    cairo_rotate(cairo, -acos(-1) / 2);
    canvas_text(canvas, 0, 0, label, kind->y_label);
    cairo_restore(cairo);
}

static void draw_dashed(struct canvas *canvas, double x0, double y0, double x1, double y1)
{
    cairo_t *cairo = canvas->cairo;
    canvas_color(canvas, color_quiet, 1);
    cairo_set_line_width(cairo, 2);
    cairo_set_dash(cairo, (const double[]) { 4, 9 }, 2, 0);
    cairo_move_to(cairo, page_x(x0), page_y(y0));
    cairo_line_to(cairo, page_x(x1), page_y(y1));
    cairo_stroke(cairo);
    cairo_set_dash(cairo, NULL, 0, 0);
}

/* The precision that guessing reaches. */
static void draw_prevalence(struct canvas *canvas, double prevalence)
{
    char text[32];
    struct text_style style = { .size = 21, .color = color_quiet };
    snprintf(text, sizeof text, "prevalence %.3f", prevalence);
    draw_dashed(canvas, 0, prevalence, 1, prevalence);
    canvas_text(canvas, page_x(0) + 12, page_y(prevalence) + (prevalence < 0.1 ? -10 : 28), style,
                text);
}

/* Trace the curve as a cairo path, as its area is defined: linear for ROC, stepwise for
 * precision-recall. Points closer than a fraction of a pixel are skipped, so that millions of them
 * draw quickly. */
static void trace(cairo_t *cairo, const struct kind *kind, const struct curve_point *points,
                  int64_t count)
{
    double x = page_x(0), y = kind->is_roc ? page_y(0) : page_y(curve_y(kind, &points[0]));
    cairo_move_to(cairo, x, y);
    for (int64_t i = 0; i < count; i++) {
        double next_x = page_x(curve_x(kind, &points[i])),
               next_y = page_y(curve_y(kind, &points[i]));
        if (fabs(next_x - x) + fabs(next_y - y) < 0.3 && i + 1 < count) continue;
        if (!kind->is_roc) cairo_line_to(cairo, x, next_y);
        cairo_line_to(cairo, next_x, next_y);
        x = next_x;
        y = next_y;
    }
}

static void draw_curve(struct canvas *canvas, const struct kind *kind,
                       const struct curve_point *points, int64_t count)
{
    cairo_t *cairo = canvas->cairo;
    trace(cairo, kind, points, count);
    cairo_line_to(cairo, page_x(curve_x(kind, &points[count - 1])), page_y(0));
    cairo_line_to(cairo, page_x(0), page_y(0));
    cairo_close_path(cairo);
    canvas_color(canvas, color_curve, 0.09);
    cairo_fill(cairo);
    trace(cairo, kind, points, count);
    canvas_color(canvas, color_curve, 1);
    cairo_set_line_width(cairo, 4.5);
    cairo_stroke(cairo);
}

static void draw_point(struct canvas *canvas, double x, double y)
{
    cairo_t *cairo = canvas->cairo;
    cairo_arc(cairo, x, y, 11, 0, 2 * acos(-1));
    canvas_color(canvas, color_point, 1);
    cairo_fill_preserve(cairo);
    cairo_set_source_rgb(cairo, 1, 1, 1);
    cairo_set_line_width(cairo, 3);
    cairo_stroke(cairo);
}

static void draw_figure(struct canvas *canvas, double y, const char *name, const char *value)
{
    struct text_style left = { .size = 23, .color = color_quiet };
    struct text_style right = { .size = 23, .color = color_ink, .align = ALIGN_RIGHT };
    canvas_text(canvas, COLUMN, y, left, name);
    canvas_text(canvas, COLUMN + COLUMN_WIDTH, y, right, value);
}

static void draw_area(struct canvas *canvas, const char *label, double area)
{
    struct text_style name = { .size = 23, .color = color_quiet };
    struct text_style value = { .size = 64, .bold = true, .color = color_curve };
    char text[16] = "–";
    if (!isnan(area)) snprintf(text, sizeof text, "%.3f", area);
    canvas_text(canvas, COLUMN, TOP + 22, name, label);
    canvas_text(canvas, COLUMN, TOP + 88, value, text);
}

static void draw_operating_point(struct canvas *canvas, const struct operating_point *at)
{
    const struct {
        const char *name;
        double value;
    } figures[] = {
        { "threshold", at->threshold },
        { "sensitivity", at->sensitivity },
        { "specificity", at->specificity },
        { "precision", at->precision },
        { "F1", at->f1 },
        { "accuracy", at->accuracy },
    };
    const struct {
        const char *name;
        int64_t value;
    } counts[] = {
        { "tumour, found", at->confusion.true_positive },
        { "tumour, missed", at->confusion.false_negative },
        { "normal, flagged", at->confusion.false_positive },
        { "normal, passed", at->confusion.true_negative },
    };
    char text[32];
    double y = TOP + 168;
    struct text_style head = { .size = 25, .bold = true, .color = color_ink };
    draw_point(canvas, COLUMN + 10, y - 9);
    canvas_text(canvas, COLUMN + 34, y, head, "operating point");
    for (size_t i = 0; i < COUNT_OF(figures); i++) {
        snprintf(text, sizeof text, isnan(figures[i].value) ? "–" : "%.3f", figures[i].value);
        draw_figure(canvas, y += 40, figures[i].name, text);
    }
    y += 24;
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        snprintf(text, sizeof text, "%lld", (long long)counts[i].value);
        draw_figure(canvas, y += 40, counts[i].name, text);
    }
}

static bool plot_curve(const char *path, const char *title, const struct kind *kind,
                       const struct curve_point *points, int64_t count, double area,
                       double prevalence, const struct operating_point *at, struct error *err)
{
    struct canvas canvas;
    if (!canvas_init(&canvas, PAGE_WIDTH, PAGE_HEIGHT, 1, err)) return false;
    struct text_style head = {
        .size = 34, .bold = true, .color = color_ink, .width_max = PAGE_WIDTH - LEFT - 40
    };
    struct text_style note = { .size = 26, .color = color_quiet, .align = ALIGN_CENTER };
    bool has_curve = count > 0 && !isnan(curve_x(kind, points)) && !isnan(curve_y(kind, points));
    canvas_text(&canvas, LEFT, 56, head, title);
    draw_axes(&canvas, kind);
    if (kind->is_roc)
        draw_dashed(&canvas, 0, 0, 1, 1);
    else if (!isnan(prevalence))
        draw_prevalence(&canvas, prevalence);
    if (has_curve)
        draw_curve(&canvas, kind, points, count);
    else
        canvas_text(&canvas, page_x(0.5), page_y(0.6), note, "no curve: a class is absent");
    draw_area(&canvas, kind->area_label, area);
    if (at) {
        double x = kind->is_roc ? 1 - at->specificity : at->recall;
        double y = kind->is_roc ? at->sensitivity : at->precision;
        if (!isnan(x) && !isnan(y)) draw_point(&canvas, page_x(x), page_y(y));
        draw_operating_point(&canvas, at);
    }
    bool done = canvas_save(&canvas, path, err);
    canvas_release(&canvas);
    return done;
}

bool plot_roc(const char *path, const char *title, const struct curve_point *points, int64_t count,
              double auc, const struct operating_point *at, struct error *err)
{
    static const struct kind kind = { "1 − specificity (false positive rate)",
                                      "sensitivity (true positive rate)", "area under the curve",
                                      true };
    return plot_curve(path, title, &kind, points, count, auc, NAN, at, err);
}

bool plot_precision_recall(const char *path, const char *title, const struct curve_point *points,
                           int64_t count, double average_precision, double prevalence,
                           const struct operating_point *at, struct error *err)
{
    static const struct kind kind = { "recall (sensitivity)", "precision", "average precision",
                                      false };
    return plot_curve(path, title, &kind, points, count, average_precision, prevalence, at, err);
}
