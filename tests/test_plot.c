/* Plots are read back as pixels and measured: where colours are, the length of the scale bar,
 * and which areas are empty. */
#include <math.h>

#include "micromet/base/size.h"
#include "micromet/format/image.h"
#include "micromet/report/plot.h"
#include "report/plot_canvas.h"
#include "temporary.h"

/* fontconfig keeps its cache until the process ends; the leak sanitizer requires this name. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfontconfig";
}

TestSuite(plot, .init = temporary_begin, .fini = temporary_end);

struct image {
    uint8_t *rgb;
    int width, height;
};

struct box {
    int left, top, right, bottom; /* half-open */
    int64_t pixels;
    double center_x, center_y;
};

static const uint8_t curve_blue[] = { 26, 97, 204 }, point_orange[] = { 230, 84, 13 };
static const uint8_t ink[] = { 28, 33, 43 }, tissue_blue[] = { 26, 97, 204 };
static const uint8_t tumor_red[] = { 209, 18, 41 };
static const uint8_t faded_black[] = { 38, 38, 38 };

static struct image read_image(const char *name)
{
    struct error err = { 0 };
    struct image image;
    cr_assert(image_read_png(temporary_path(name), &image.rgb, &image.width, &image.height, &err),
              "%s", err.message);
    return image;
}

static const uint8_t *pixel(const struct image *image, int x, int y)
{
    return image->rgb + 3 * ((size_t)y * (size_t)image->width + (size_t)x);
}

static bool is_color(const uint8_t *rgb, const uint8_t *color)
{
    for (int i = 0; i < 3; i++)
        if (abs(rgb[i] - color[i]) > 1) return false;
    return true;
}

/* Bounding box of the colour within [left, right) × [top, bottom). */
static struct box find_within(const struct image *image, const uint8_t *color, struct box within)
{
    struct box box = { within.right, within.bottom, within.left, within.top, 0, 0, 0 };
    for (int y = within.top; y < within.bottom; y++) {
        for (int x = within.left; x < within.right; x++) {
            if (!is_color(pixel(image, x, y), color)) continue;
            if (x < box.left) box.left = x;
            if (y < box.top) box.top = y;
            if (x + 1 > box.right) box.right = x + 1;
            if (y + 1 > box.bottom) box.bottom = y + 1;
            box.center_x += x + 0.5;
            box.center_y += y + 0.5;
            box.pixels++;
        }
    }
    box.center_x /= (double)box.pixels;
    box.center_y /= (double)box.pixels;
    return box;
}

static struct box find(const struct image *image, const uint8_t *color)
{
    return find_within(image, color, (struct box) { 0, 0, image->width, image->height, 0, 0, 0 });
}

/* Words and their place on a page. */
struct words {
    double x, y; /* as for canvas_text() */
    struct text_style style;
    const char *text;
};

/* Whether the image contains these words: every pixel of their ink is at least as dark in it (lines
 * may cross them), and most of the blank pixels around them are blank. */
static bool reads(const struct image *image, const struct words *words)
{
    struct error err = { 0 };
    struct canvas page;
    int64_t ink_pixels = 0, missing = 0, blank = 0, stained = 0;
    cr_assert(canvas_init(&page, image->width, image->height, 1, &err), "%s", err.message);
    canvas_text(&page, words->x, words->y, words->style, words->text);
    cr_assert(canvas_save(&page, temporary_path("words.png"), &err), "%s", err.message);
    canvas_release(&page);
    struct image alone = read_image("words.png");
    static const uint8_t white[] = { 255, 255, 255 };
    struct box box = { image->width, image->height, 0, 0, 0, 0, 0 };
    for (int y = 0; y < image->height; y++)
        for (int x = 0; x < image->width; x++)
            if (!is_color(pixel(&alone, x, y), white)) {
                box.left = x < box.left ? x : box.left;
                box.right = x >= box.right ? x + 1 : box.right;
                box.top = y < box.top ? y : box.top;
                box.bottom = y >= box.bottom ? y + 1 : box.bottom;
            }
    for (int y = box.top; y < box.bottom; y++)
        for (int x = box.left; x < box.right; x++) {
            const uint8_t *want = pixel(&alone, x, y), *have = pixel(image, x, y);
            const bool is_ink = !is_color(want, white);
            bool dark = true;
            for (int i = 0; i < 3; i++) dark = dark && have[i] <= want[i] + 2;
            ink_pixels += is_ink;
            missing += is_ink && !dark;
            blank += !is_ink;
            stained += !is_ink && !is_color(have, white);
        }
    free(alone.rgb);
    cr_assert_gt(ink_pixels, 10, "text shows; is a font installed?");
    return missing == 0 && stained * 5 <= blank;
}

static const struct color word_quiet = { 0.42, 0.45, 0.50 }, word_ink = { 0.11, 0.13, 0.17 },
                          word_blue = { 0.10, 0.38, 0.80 };
/* In the middle of the plot; the area under the curve; the first and the last figure of the
 * operating point. */
static const struct words no_curve = {
    467, 368, { 26, false, ALIGN_CENTER, word_quiet, 0 }, "no curve: a class is absent"
};
static const struct words no_area = { 870, 180, { 64, true, ALIGN_LEFT, word_blue, 0 }, "–" };
static const struct words no_figures[] = {
    { 1160, 300, { 23, false, ALIGN_RIGHT, word_ink, 0 }, "–" },
    { 1160, 500, { 23, false, ALIGN_RIGHT, word_ink, 0 }, "–" },
};
static const struct box inside_of_plot = { 122, 92, 812, 782, 0, 0, 0 };

static const struct operating_point half_way = {
    .threshold = 0.5,
    .sensitivity = 0.5,
    .specificity = 0.75,
    .precision = 0.4,
    .recall = 0.5,
    .f1 = 0.44,
    .accuracy = NAN,
};

Test(plot, roc_runs_from_corner_to_corner_and_marks_the_operating_point)
{
    const struct curve_point points[] = { { 0.9, 0, 0.25, 1 },
                                          { 0.5, 0.25, 0.5, 1 },
                                          { 0.1, 1, 1, 1 } };
    struct error err = { 0 };
    cr_assert(plot_roc(temporary_path("roc.png"), "Validation", points, 3, 0.6, &half_way, &err),
              "%s", err.message);
    struct image image = read_image("roc.png");
    cr_assert_eq(image.width, 1200);
    cr_assert_eq(image.height, 900);
    /* the number beside the plot has the curve's colour: look left of it */
    struct box plot = find_within(&image, curve_blue, (struct box) { 0, 0, 840, 900, 0, 0, 0 });
    int width = plot.right - plot.left, height = plot.bottom - plot.top;
    cr_assert_gt(width, 600);
    cr_assert_leq(abs(width - height), 3, "%d×%d", width, height);
    struct box point = find_within(&image, point_orange, plot);
    cr_assert_gt(point.pixels, 200);
    cr_assert_float_eq((point.center_x - plot.left) / width, 0.25, 0.006);
    cr_assert_float_eq((plot.bottom - point.center_y) / height, 0.5, 0.006);
    cr_expect_not(reads(&image, &no_curve));
    cr_expect_not(reads(&image, &no_area));
    cr_expect_not(reads(&image, &no_figures[0]));
    free(image.rgb);
}

Test(plot, precision_recall_is_drawn_in_steps)
{
    const struct curve_point points[] = { { 0.9, 0, 0.5, 1 }, { 0.1, 1, 1, 0.5 } };
    struct error err = { 0 };
    cr_assert(plot_precision_recall(temporary_path("pr.png"), "Validation", points, 2, 0.75, 0.5,
                                    &half_way, &err));
    struct image image = read_image("pr.png");
    struct box plot = find_within(&image, curve_blue, (struct box) { 0, 0, 840, 900, 0, 0, 0 });
    int width = plot.right - plot.left, column = plot.left + width / 2;
    int64_t drop = 0, before = 0;
    for (int y = plot.top; y < plot.bottom; y++) {
        drop += is_color(pixel(&image, column, y), curve_blue);
        before += is_color(pixel(&image, column - 40, y), curve_blue);
    }
    cr_assert_gt(drop, 300, "a vertical line at recall 0.5");
    cr_assert_leq(before, 6, "a horizontal line before it");
    free(image.rgb);
}

static void expect_no_curve(const char *name)
{
    struct image image = read_image(name);
    cr_expect(reads(&image, &no_curve), "%s: no word that the curve is absent", name);
    cr_expect(reads(&image, &no_area), "%s: no dash in the place of the area", name);
    cr_expect_eq(find_within(&image, curve_blue, inside_of_plot).pixels, 0, "%s: a curve", name);
    cr_expect_eq(find_within(&image, point_orange, inside_of_plot).pixels, 0, "%s: a point", name);
    free(image.rgb);
}

Test(plot, curves_without_a_class_say_so_instead_of_failing)
{
    const struct curve_point points[] = { { 0.5, 1, NAN, 0 } };
    struct error err = { 0 };
    struct operating_point nothing = { NAN, { 0 }, NAN, NAN, NAN, NAN, NAN, NAN };
    cr_assert(plot_roc(temporary_path("a.png"), "", points, 1, NAN, &nothing, &err), "%s",
              err.message);
    cr_assert(plot_roc(temporary_path("b.png"), "x", NULL, 0, NAN, NULL, &err), "%s", err.message);
    cr_assert(plot_precision_recall(temporary_path("c.png"), "x", NULL, 0, NAN, NAN, NULL, &err));
    expect_no_curve("a.png");
    expect_no_curve("b.png");
    expect_no_curve("c.png");
    struct image image = read_image("a.png");
    for (int i = 0; i < 2; i++)
        cr_expect(reads(&image, &no_figures[i]), "figure %d of nothing is no dash", i);
    free(image.rgb);
}

Test(plot, titles_of_any_bytes_are_drawn)
{
    static const char *const titles[] = {
        "slide\xff\xfe\x80.svs",
        "\xed\xa0\x80",
        "\xc3",
        "tab\tand\nline",
        "größe µm – 載玻片",
        "😀",
        ("a very long title that cannot stand in one line of the picture because it goes on and on "
         "and on ……………………………"),
    };
    const struct curve_point points[] = { { 0.5, 1, 1, 1 } };
    for (size_t i = 0; i < COUNT_OF(titles); i++) {
        struct error err = { 0 };
        cr_assert(plot_roc(temporary_path("t.png"), titles[i], points, 1, 0.5, NULL, &err), "%s",
                  err.message);
        struct image image = read_image("t.png");
        cr_expect_gt(find(&image, curve_blue).pixels, 1000, "title %zu", i);
        cr_expect_lt(find(&image, ink).right, 1165, "title %zu stays on the page", i);
        free(image.rgb);
    }
}

Test(plot, folder_that_is_not_there_is_reported)
{
    struct error err = { 0 };
    cr_assert(!plot_roc(temporary_path("no/roc.png"), "", NULL, 0, NAN, NULL, &err));
    cr_assert(strstr(err.message, "no/roc.png"), "%s", err.message);
}

/* A black slide of 800×400 px, seen 10 times smaller, with 4×2 cells of 200 px. */
enum { WIDTH = 80, HEIGHT = 40, COLUMNS = 4, ROWS = 2 };
static uint8_t black[HEIGHT * WIDTH * 3];

static struct image draw_heatmap(const float *probabilities, const uint8_t *tumor_share, double mpp)
{
    struct plot_heatmap map = {
        .title = "slide",
        .thumbnail = black,
        .width = WIDTH,
        .height = HEIGHT,
        .thumbnail_downsample = 10,
        .probabilities = probabilities,
        .columns = COLUMNS,
        .rows = ROWS,
        .origin_x_level0 = 100,
        .origin_y_level0 = 100,
        .step_level0 = 200,
        .tumor_share = tumor_share,
        .mpp = mpp,
        .score = NAN,
        .threshold = NAN,
    };
    struct error err = { 0 };
    cr_assert(plot_heatmap(temporary_path("map.png"), &map, &err), "%s", err.message);
    return read_image("map.png");
}

static struct box find_thumbnail(void)
{
    float nothing[COLUMNS * ROWS];
    for (int i = 0; i < COLUMNS * ROWS; i++) nothing[i] = NAN;
    struct image image = draw_heatmap(nothing, NULL, 0);
    struct box box = find(&image, faded_black);
    free(image.rgb);
    return box;
}

Test(plot, heatmap_leaves_unknown_cells_clear_and_keeps_proportions)
{
    struct box box = find_thumbnail();
    int width = box.right - box.left, height = box.bottom - box.top;
    cr_assert_leq(abs(width - 1200), 2);
    cr_assert_leq(abs(height - 600), 2);
    cr_assert_geq(box.pixels, (int64_t)width * height - 8);
}

Test(plot, heatmap_cell_covers_one_step_around_its_center)
{
    float p[COLUMNS * ROWS] = { NAN, NAN, NAN, NAN, NAN, NAN, 1, NAN };
    struct box box = find_thumbnail();
    struct image image = draw_heatmap(p, NULL, 0);
    for (int y = 0; y < 600; y += 7) {
        for (int x = 0; x < 1200; x += 7) {
            bool inside = x >= 600 && x < 900 && y >= 300;
            bool edge = abs(x - 600) < 3 || abs(x - 900) < 3 || abs(y - 300) < 3 || x < 3 ||
                        y < 3 || x > 1196 || y > 596;
            bool clear = is_color(pixel(&image, box.left + x, box.top + y), faded_black);
            cr_assert(edge || clear != inside, "at %d,%d", x, y);
        }
    }
    free(image.rgb);
}

Test(plot, heatmap_colors_run_from_blue_to_red)
{
    const float p[COLUMNS * ROWS] = { 0, 0.25f, 0.75f, 1, -3, NAN, NAN, 9 };
    struct box box = find_thumbnail();
    struct image image = draw_heatmap(p, NULL, 0);
    int redness[COLUMNS];
    for (int i = 0; i < COLUMNS; i++) {
        const uint8_t *rgb = pixel(&image, box.left + 150 + 300 * i, box.top + 150);
        redness[i] = rgb[0] - rgb[2];
    }
    cr_assert_lt(redness[0], -20);
    cr_assert_lt(redness[1], 0);
    cr_assert_gt(redness[2], 20);
    cr_assert_gt(redness[3], 60);
    /* beyond 0..1 counts as the end of the range */
    for (int i = 0; i < COLUMNS; i += COLUMNS - 1)
        cr_assert_eq(memcmp(pixel(&image, box.left + 150 + 300 * i, box.top + 150),
                            pixel(&image, box.left + 150 + 300 * i, box.top + 450), 3),
                     0);
    free(image.rgb);
}

Test(plot, heatmap_outlines_the_annotation)
{
    float p[COLUMNS * ROWS];
    uint8_t share[HEIGHT * WIDTH] = { 0 };
    for (int i = 0; i < COLUMNS * ROWS; i++) p[i] = NAN;
    for (int y = 10; y < 30; y++)
        for (int x = 20; x < 60; x++) share[y * WIDTH + x] = 255;
    struct box box = find_thumbnail();
    struct image image = draw_heatmap(p, share, 0);
    struct box line = find_within(&image, ink, box);
    cr_assert_float_eq(line.left - box.left, 20 * 15, 12);
    cr_assert_float_eq(line.right - box.left, 60 * 15, 12);
    cr_assert_float_eq(line.top - box.top, 10 * 15, 12);
    cr_assert_float_eq(line.bottom - box.top, 30 * 15, 12);
    cr_assert(is_color(pixel(&image, box.left + 600, box.top + 300), faded_black), "not filled");
    free(image.rgb);
}

Test(plot, scale_bar_is_as_long_as_it_says)
{
    float p[COLUMNS * ROWS] = { 0 };
    struct box box = find_thumbnail();
    /* 1200 px show 800 px of the slide at 0.5 µm: a third of a µm each; the longest of 1, 2, 5
     * within 240 is 0.05 mm */
    struct image image = draw_heatmap(p, NULL, 0.5);
    struct box foot = { 0, box.bottom + 12, image.width / 2, image.height, 0, 0, 0 };
    int longest = 0;
    for (int y = foot.top; y < foot.bottom; y++) {
        int run = 0;
        for (int x = foot.left; x < foot.right; x++) {
            run = is_color(pixel(&image, x, y), ink) ? run + 1 : 0;
            if (run > longest) longest = run;
        }
    }
    cr_assert_eq(longest, 150);
    free(image.rgb);
    image = draw_heatmap(p, NULL, 0);
    cr_assert_eq(find_within(&image, ink, foot).pixels, 0, "no bar without µm per pixel");
    free(image.rgb);
}

Test(plot, slide_shows_tissue_and_tumour_outlines)
{
    uint8_t white[HEIGHT * WIDTH * 3], tissue[HEIGHT * WIDTH] = { 0 },
                                                       share[HEIGHT * WIDTH] = { 0 };
    struct error err = { 0 };
    memset(white, 255, sizeof white);
    for (int y = 8; y < 32; y++) memset(tissue + y * WIDTH + 10, 1, 60);
    share[20 * WIDTH + 40] = 1; /* a tumour much smaller than a pixel */
    cr_assert(plot_slide(temporary_path("s.png"), "slide", white, WIDTH, HEIGHT, tissue, share, 10,
                         0.25, &err),
              "%s", err.message);
    struct image image = read_image("s.png");
    struct box body = { 0, 130, image.width, image.height - 90, 0, 0, 0 };
    struct box blue = find_within(&image, tissue_blue, body);
    cr_assert_float_eq(blue.right - blue.left, 60 * 15, 20);
    cr_assert_float_eq(blue.bottom - blue.top, 24 * 15, 20);
    struct box red = find_within(&image, tumor_red, body);
    cr_assert_gt(red.pixels, 5, "even the smallest tumour is seen");
    cr_assert_float_eq(red.center_x - blue.left, (40.5 - 10) * 15, 10);
    cr_assert_float_eq(red.center_y - blue.top, (20.5 - 8) * 15, 10);
    free(image.rgb);
    cr_assert(plot_slide(temporary_path("t.png"), "slide", white, WIDTH, HEIGHT, NULL, NULL, 10, 0,
                         &err));
    image = read_image("t.png");
    cr_assert_eq(find(&image, tissue_blue).pixels + find(&image, tumor_red).pixels, 0);
    free(image.rgb);
}

Test(plot, slides_of_any_shape_are_drawn)
{
    static const int shapes[][2] = { { 1, 1 }, { 3000, 2 }, { 2, 3000 }, { 2500, 1800 } };
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        int width = shapes[i][0], height = shapes[i][1];
        struct error err = { 0 };
        uint8_t *rgb = calloc((size_t)width * (size_t)height, 3);
        uint8_t *tissue = calloc((size_t)width, (size_t)height);
        cr_assert(plot_slide(temporary_path("s.png"), "slide", rgb, width, height, tissue, tissue,
                             1e-3, 1e3, &err),
                  "%s", err.message);
        struct image image = read_image("s.png");
        cr_assert(image.width <= 2600 && image.height <= 2900 && image.width >= 800);
        free(image.rgb);
        free(rgb);
        free(tissue);
    }
}
