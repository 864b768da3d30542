/* Shrinking by area against a mean in double precision; which level a tower reads; and windows by
 * µm/px, whatever reads them. */
#include "micromet/slide/scale.h"

#include <math.h>

#include "micromet/base/random.h"
#include "micromet/base/size.h"
#include "micromet/run/single_window.h"
#include "micromet/slide/grid.h"
#include "micromet/slide/shrink.h"
#include "micromet/synth/synth.h"
#include "temporary.h"
#include "tiny_slide.h"

#define FOLDER .init = temporary_begin, .fini = temporary_end

static struct error err;

static uint8_t *make_pixels(int width, int height)
{
    uint8_t *rgb = malloc(3 * (size_t)width * (size_t)height);
    for (int i = 0; i < width * height; i++)
        tiny_tissue(NULL, 0, i % width, i / width, rgb + 3 * i);
    return rgb;
}

static double overlap(double a0, double a1, double b0, double b1)
{
    return fmax(0, fmin(a1, b1) - fmax(a0, b0));
}

/* The mean of a box, by its definition. */
static double box_mean(const uint8_t *rgb, int width, int height, double ratio, int64_t i,
                       int64_t j, int channel)
{
    const double x0 = (double)i * ratio, y0 = (double)j * ratio, x1 = x0 + ratio, y1 = y0 + ratio;
    double sum = 0;
    for (int y = (int)y0; y < y1 && y < height; y++)
        for (int x = (int)x0; x < x1 && x < width; x++)
            sum += overlap(x0, x1, x, x + 1) * overlap(y0, y1, y, y + 1) *
                   rgb[3 * (y * width + x) + channel];
    return sum / (ratio * ratio);
}

/* Rounding; and edges that are off by half a step of 1/4096 px, times 255, on all four sides. */
static bool is_mean(int value, double mean, double ratio)
{
    return fabs(value - mean) <= 0.5 + 4 * 255.0 / 8192 / ratio;
}

static int random_int(struct random *random, int least, int most)
{
    return least + (int)(random_u32(random) % (uint32_t)(most - least + 1));
}

static double random_ratio(struct random *random)
{
    static const double special[] = { 1.0101, 1.5, 2, 2.0034, 3, 4, 4.0000963, 7.993, 8, 32 };
    const uint32_t pick = random_u32(random) % 20;
    return pick < COUNT_OF(special) ? special[pick] : 1.01 + random_int(random, 0, 20000) * 1e-3;
}

/* Add the fine pixels of a plane in pieces of random sizes. */
static void add_in_pieces(struct shrink *shrink, struct random *random, const uint8_t *rgb,
                          int width, int height)
{
    for (int y = 0, high; y < height; y += high) {
        high = random_int(random, 1, height - y);
        for (int x = 0, wide; x < width; x += wide) {
            wide = random_int(random, 1, width - x);
            shrink_add(shrink, rgb + 3 * (y * width + x), x, y, wide, high, 3 * (size_t)width);
        }
    }
}

Test(scale, shrinking_takes_means_whatever_the_pieces)
{
    struct random random = random_init(1, 0, 0, RANDOM_TEST);
    for (int k = 0; k < 200; k++) {
        const double ratio = random_ratio(&random);
        const int width = random_int(&random, (int)ratio + 2, 160);
        const int height = random_int(&random, (int)ratio + 2, 160);
        const int across = (int)shrink_length(ratio, width);
        const int down = (int)shrink_length(ratio, height);
        const int x = random_int(&random, 0, across - 1), y = random_int(&random, 0, down - 1);
        const int wide = random_int(&random, 1, across - x),
                  high = random_int(&random, 1, down - y);
        uint8_t *rgb = make_pixels(width, height);
        uint8_t *whole = malloc(3 * (size_t)(wide * high)),
                *parts = malloc(3 * (size_t)(wide * high));
        struct shrink shrink;

        cr_assert(shrink_init(&shrink, wide, high, width));
        shrink_begin(&shrink, ratio, x, y, wide, high);
        shrink_add(&shrink, rgb, 0, 0, width, height, 3 * (size_t)width);
        shrink_finish(&shrink, whole);
        shrink_begin(&shrink, ratio, x, y, wide, high);
        add_in_pieces(&shrink, &random, rgb, width, height);
        shrink_finish(&shrink, parts);
        cr_assert_arr_eq(whole, parts, 3 * (size_t)(wide * high));
        for (int i = 0; i < 3 * wide * high; i++)
            cr_assert(is_mean(whole[i],
                              box_mean(rgb, width, height, ratio, x + i / 3 % wide,
                                       y + i / 3 / wide, i % 3),
                              ratio),
                      "ratio %g, sample %d", ratio, i);
        shrink_release(&shrink);
        free(rgb);
        free(whole);
        free(parts);
    }
}

Test(scale, whole_ratios_are_rounded_means_exactly)
{
    enum { SIDE = 60 };
    uint8_t *rgb = make_pixels(SIDE, SIDE), out[3 * SIDE * SIDE];
    for (int ratio = 2; ratio <= 6; ratio++) {
        const int side = SIDE / ratio, area = ratio * ratio;
        struct shrink shrink;
        cr_assert(shrink_init(&shrink, side, side, SIDE));
        shrink_begin(&shrink, ratio, 0, 0, side, side);
        shrink_add(&shrink, rgb, 0, 0, SIDE, SIDE, 3 * SIDE);
        shrink_finish(&shrink, out);
        for (int i = 0; i < 3 * side * side; i++) {
            int sum = 0;
            for (int k = 0; k < area; k++)
                sum += rgb[3 * ((i / 3 / side * ratio + k / ratio) * SIDE + i / 3 % side * ratio +
                                k % ratio) +
                           i % 3];
            cr_assert_eq(out[i], (2 * sum + area) / (2 * area));
        }
        shrink_release(&shrink);
    }
    free(rgb);
}

/* The edges of what the sums are exact for: the largest ratio, the brightest pixels, far out. */
Test(scale, shrinking_white_gives_white)
{
    enum { SIDE = 3000 };
    uint8_t *rgb = malloc(3 * (size_t)SIDE * SIDE), out[3];
    memset(rgb, 255, 3 * (size_t)SIDE * SIDE);
    const double ratios[] = { 1023.7, SHRINK_RATIO_MAX };
    for (size_t k = 0; k < COUNT_OF(ratios); k++) {
        const int64_t far = (int64_t)(2e9 / ratios[k]);
        int64_t first, end;
        struct shrink shrink;
        cr_assert(shrink_init(&shrink, 1, 1, SIDE));
        shrink_begin(&shrink, ratios[k], far, far, 1, 1);
        shrink_span(ratios[k], far, 1, &first, &end);
        shrink_add(&shrink, rgb, first, first, (int)(end - first), (int)(end - first), 3 * SIDE);
        shrink_finish(&shrink, out);
        cr_assert_eq(out[0], 255);
        shrink_release(&shrink);
    }
    free(rgb);
}

Test(scale, lengths_are_the_pixels_that_are_whole)
{
    cr_assert_eq(shrink_length(2, 7), 3);
    cr_assert_eq(shrink_length(2.5, 5), 2);
    cr_assert_eq(shrink_length(8, 7), 0);
    cr_assert_eq(shrink_length(2.0000000001, 1000), 500); /* to 1/4096 px */
    cr_assert_eq(shrink_length(2.01, 1000), 497);
}

/* --- Levels that are made --------------------------------------------------------------------- */

static void open_tiny(struct slide *slide, const struct tiny_level *levels, int count, double mpp)
{
    tiny_write(temporary_path("a.tif"), levels, count, 3, tiny_tissue, NULL);
    cr_assert(slide_open(slide, temporary_path("a.tif"), mpp, &err), "%s", err.message);
}

/* Of noise, white, or a pixel that is out of the slide. */
static void check_region(struct slide_cache *cache, const struct slide *slide, int level,
                         const uint8_t *fine, int64_t x, int64_t y, int side)
{
    const struct slide_level *made = &slide->levels[level], *source = &slide->levels[made->source];
    uint8_t *rgb = malloc(3 * (size_t)(side * side));
    cr_assert(slide_read(cache, level, x, y, side, side, rgb, 3 * (size_t)side, &err), "%s",
              err.message);
    for (int i = 0; i < 3 * side * side; i++) {
        const int64_t column = x + i / 3 % side, row = y + i / 3 / side;
        const bool inside = column >= 0 && row >= 0 && column < made->width && row < made->height;
        const double mean = inside ? box_mean(fine, (int)source->width, (int)source->height,
                                              made->ratio, column, row, i % 3)
                                   : 255;
        cr_assert(is_mean(rgb[i], mean, made->ratio), "ratio %g, (%ld, %ld): %d, not %g",
                  made->ratio, (long)column, (long)row, rgb[i], mean);
    }
    free(rgb);
}

Test(scale, made_levels_are_means_of_their_source_across_blocks_and_borders, FOLDER)
{
    static const struct tiny_level size = { 1300, 1150 };
    static const double ratios[] = { 1.3, 2, 3.7, 40.1 };
    struct random random = random_init(2, 0, 0, RANDOM_TEST);
    uint8_t *fine = make_pixels(size.width, size.height);
    struct slide slide;
    open_tiny(&slide, &size, 1, 0.25);
    for (size_t k = 0; k < COUNT_OF(ratios); k++) {
        const int level = slide_make_level(&slide, 0, ratios[k]);
        for (int tiny = 0; tiny < 2; tiny++) { /* a cache for all, or for one block */
            struct slide_cache *cache;
            cr_assert(slide_cache_init(&cache, &slide, tiny ? 1 : 64 << 20, &err));
            check_region(cache, &slide, level, fine, -7, -9, 40);
            check_region(cache, &slide, level, fine, slide.levels[level].width - 20,
                         slide.levels[level].height - 25, 40);
            for (int i = 0; i < 4; i++)
                check_region(cache, &slide, level, fine,
                             random_int(&random, 0, (int)slide.levels[level].width),
                             random_int(&random, 0, (int)slide.levels[level].height), 30);
            slide_cache_release(cache);
        }
    }
    slide_release(&slide);
    free(fine);
}

/* --- Which level a tower reads ---------------------------------------------------------------- */

static struct config_data data_of(double finest, double coarser)
{
    struct config config;
    char text[64], *overrides[] = { text };
    snprintf(text, sizeof text,
             coarser > 0 ? "data.um_per_px=[%.17g, %.17g]" : "data.um_per_px=[%.17g]", finest,
             coarser);
    cr_assert(config_load(&config, NULL, 1, overrides, &err), "%s", err.message);
    return config.data;
}

Test(scale, towers_read_the_coarsest_level_that_is_fine_enough, FOLDER)
{
    static const struct tiny_level pyramid[] = { { 800, 640 }, { 200, 160 }, { 50, 40 } };
    static const struct {
        int levels;
        double mpp, um_per_px;
        int level; /* read as it is, or the source */
        double ratio;
    } cases[] = {
        { 3, 0.25, 0.25, 0, 0 },
        { 3, 0.25, 0.5, 0, 2 },
        { 3, 0.25, 1, 1, 0 },
        { 3, 0.25, 2, 1, 2 },
        { 3, 0.25, 4, 2, 0 },
        { 3, 0.25, 16, 2, 4 },
        { 3, 0.252, 0.25, 0, 0 },
        { 3, 0.2476, 0.25, 0, 0 },
        { 3, 0.243, 0.25, 0, 0.25 / 0.243 },
        { 3, 0.243, 0.5, 0, 0.5 / 0.243 },
        { 3, 0.2526, 1, 0, 1 / 0.2526 },
        { 1, 0.25, 2, 0, 8 },
        { 1, 0.274, 0.25, 0, 0 }, /* enlarging by less than 10 %: as it is */
    };
    for (size_t k = 0; k < COUNT_OF(cases); k++) {
        struct slide slide;
        open_tiny(&slide, pyramid, cases[k].levels, cases[k].mpp);
        const struct config_data data = data_of(cases[k].um_per_px, 0);
        cr_assert(scale_settle(&slide, &data, &err), "%s", err.message);
        const int level = tower_level(&slide, &data, 0);
        const struct slide_level *read = &slide.levels[level];
        if (cases[k].ratio > 0) {
            cr_assert_eq(read->source, cases[k].level, "case %zu", k);
            cr_assert_float_eq(read->ratio, cases[k].ratio, 1e-12, "case %zu: %g", k, read->ratio);
            cr_assert_float_eq(read->downsample * cases[k].mpp, cases[k].um_per_px, 1e-12);
        } else {
            cr_assert_eq(level, cases[k].level, "case %zu", k);
        }
        cr_assert_eq(slide.in_place_of > 0, cases[k].mpp == 0.274);
        slide_release(&slide);
    }
}

Test(scale, levels_with_holes_are_passed_over, FOLDER)
{
    static const struct tiny_level pyramid[] = { { 800, 640 }, { 200, 160 } };
    struct slide slide;
    open_tiny(&slide, pyramid, 2, 0.25);
    slide.levels[1].has_holes = true;
    const struct config_data data = data_of(1, 0);
    cr_assert(scale_settle(&slide, &data, &err), "%s", err.message);
    cr_assert_eq(slide.levels[tower_level(&slide, &data, 0)].ratio, 4);
    slide_release(&slide);
}

static void expect_refusal(double mpp, double um_per_px, const char *why)
{
    static const struct tiny_level size = { 100, 100 };
    struct slide slide;
    open_tiny(&slide, &size, 1, mpp);
    const struct config_data data = data_of(um_per_px, 0);
    cr_assert_not(scale_settle(&slide, &data, &err));
    cr_assert(strstr(err.message, why), "%s", err.message);
    err = (struct error) { 0 };
    slide_release(&slide);
}

Test(scale, what_cannot_be_met_is_refused, FOLDER)
{
    expect_refusal(0, 0.5, "does not say how many µm a pixel has, and data.um_per_px needs it");
    expect_refusal(0.56, 0.5, "its finest level has 0.56 µm/px, coarser than the 0.5");
    expect_refusal(0.015, 20, "shrunk more than 1024 times");
}

/* --- Windows ---------------------------------------------------------------------------------- */

static bool keep_window(void *context, const struct window *window, int64_t grid_index,
                        uint8_t *const pixels[TOWERS_MAX], int worker, struct error *reason)
{
    uint8_t *all = context;
    (void)window;
    (void)worker;
    (void)reason;
    memcpy(all + grid_index * 2 * 80 * 80 * 3, pixels[0], 80 * 80 * 3);
    memcpy(all + (grid_index * 2 + 1) * 80 * 80 * 3, pixels[1], 80 * 80 * 3);
    return true;
}

static uint8_t *walk_windows(const struct slide *slide, const struct config_data *data,
                             struct grid *grid, int threads, size_t cache_bytes,
                             struct walk_facts *facts)
{
    cr_assert(grid_init(grid, slide, data, 0, &err), "%s", err.message);
    uint8_t *all = calloc((size_t)(grid->columns * grid->rows), 2 * 80 * 80 * 3);
    const struct grid_walk_options options = {
        .towers = 2, .threads = threads, .cache_bytes = cache_bytes, .facts = facts
    };
    cr_assert(grid_walk(grid, slide, data, &options, keep_window, all, &err), "%s", err.message);
    return all;
}

/* Each pixel of a fine slide: that of the coarse one that it lies in. */
static void doubled(const void *context, int level, int x, int y, uint8_t *pixel)
{
    tiny_tissue(context, level, x / 2, y / 2, pixel);
}

static int largest_difference(const uint8_t *a, const uint8_t *b, size_t count)
{
    int largest = 0;
    for (size_t i = 0; i < count; i++)
        if (abs(a[i] - b[i]) > largest) largest = abs(a[i] - b[i]);
    return largest;
}

/* A slide, and another scanner's of the same glass at half the µm/px, give the same windows at the
 * same places: to the bit if the edges of pixels are whole, else to the rounding of the edges. */
static void compare_scans(double finest, double coarser, int tolerance)
{
    static const struct tiny_level coarse_size = { 700, 620 }, fine_size = { 1400, 1240 };
    struct config_data data = data_of(finest, coarser);
    struct slide coarse, fine;
    struct grid grid, fine_grid;
    open_tiny(&coarse, &coarse_size, 1, 0.5);
    tiny_write(temporary_path("b.tif"), &fine_size, 1, 3, doubled, NULL);
    cr_assert(slide_open(&fine, temporary_path("b.tif"), 0.25, &err), "%s", err.message);
    cr_assert(scale_settle(&coarse, &data, &err) && scale_settle(&fine, &data, &err));
    data.window = 80;
    data.stride = 97;
    uint8_t *of_coarse = walk_windows(&coarse, &data, &grid, 1, 0, NULL);
    uint8_t *of_fine = walk_windows(&fine, &data, &fine_grid, 2, 1, NULL);
    cr_assert_eq(grid.columns, fine_grid.columns);
    cr_assert_eq(grid.rows, fine_grid.rows);
    for (int64_t i = 0; i < grid.columns; i++)
        cr_assert_eq(2 * grid_x_level0(&grid, i), grid_x_level0(&fine_grid, i));
    cr_assert(largest_difference(of_coarse, of_fine,
                                 (size_t)(grid.columns * grid.rows) * 2 * 80 * 80 * 3) <=
              tolerance);
    free(of_coarse);
    free(of_fine);
    slide_release(&coarse);
    slide_release(&fine);
}

Test(scale, a_slide_and_its_scan_at_twice_the_scale_give_the_same_windows, FOLDER)
{
    compare_scans(0.5, 1.5, 0);
    compare_scans(0.5, 1.3, 1);
}

static int64_t blocks_of(const struct slide_level *level)
{
    return CEIL_DIV(level->width, level->block_width) *
           CEIL_DIV(level->height, level->block_height);
}

Test(scale, a_walk_reads_each_block_of_the_source_once_if_a_band_fits_the_cache, FOLDER)
{
    static const struct tiny_level size = { 2100, 3000 };
    static const double pairs[][2] = { { 0.5, 2 }, { 0.31, 1.7 } };
    for (int k = 0; k < 2; k++) {
        struct config_data data = data_of(pairs[k][0], pairs[k][1]);
        struct walk_facts facts;
        struct slide slide;
        struct grid grid;
        open_tiny(&slide, &size, 1, 0.25);
        cr_assert(scale_settle(&slide, &data, &err));
        data.stride = 61;
        free(walk_windows(&slide, &data, &grid, 1, 64 << 20, &facts));
        cr_assert_eq(facts.bands, 1, "%d", (int)facts.bands);
        cr_assert_eq(facts.blocks_read, blocks_of(&slide.levels[0]), "%d of %d",
                     (int)facts.blocks_read, (int)blocks_of(&slide.levels[0]));
        slide_release(&slide);
    }
}

/* --- Towers shrunk from the finest one -------------------------------------------------------- */

/* What a model with a single input cuts out of one large window is what its towers were trained on,
 * where the windows' centres lie on the coarser grid: on slides that lack the finest scale, and
 * that have levels of their own for the coarser one. */
Test(scale, towers_shrunk_from_the_finest_are_what_a_single_input_cuts, FOLDER)
{
    static const struct tiny_level pyramid[] = { { 1600, 1280 }, { 400, 320 }, { 200, 160 } };
    struct checkpoint checkpoint = { 0 };
    struct config_data *data = &checkpoint.config.data;
    struct single_window single;
    struct slide_cache *cache;
    struct slide slide;
    struct grid grid;
    *data = data_of(0.5, 2);
    data->shrink_from = SHRINK_FROM_FINEST;
    data->stride = 88;
    checkpoint.input.downsamples[0] = 1;
    checkpoint.input.downsamples[1] = 4;
    cr_assert(single_window_of(&checkpoint, &single, &err), "%s", err.message);
    open_tiny(&slide, pyramid, 3, 0.25);
    cr_assert(scale_settle(&slide, data, &err), "%s", err.message);
    const int finest = tower_level(&slide, data, 0), coarser = tower_level(&slide, data, 1);
    cr_assert_eq(slide.levels[coarser].source, finest);
    cr_assert(slide_cache_init(&cache, &slide, 8 << 20, &err));
    uint8_t *square = malloc(3 * (size_t)(single.side * single.side)), cut[80 * 80 * 3];
    uint8_t *all = walk_windows(&slide, data, &grid, 1, 0, NULL);
    for (int64_t i = 0; i < grid.columns * grid.rows; i++) {
        int64_t x, y;
        slide_window_corner(&slide, finest, grid_x_level0(&grid, i % grid.columns),
                            grid_y_level0(&grid, i / grid.columns), single.side, &x, &y);
        cr_assert(slide_read(cache, finest, x, y, single.side, single.side, square,
                             3 * (size_t)single.side, &err));
        for (int t = 0; t < 2; t++) {
            single_window_cut(&single, 80, t, square, cut);
            cr_assert_arr_eq(cut, all + (2 * i + t) * 80 * 80 * 3, 80 * 80 * 3);
        }
    }
    free(all);
    free(square);
    slide_cache_release(cache);
    slide_release(&slide);
}

/* --- A picture with structure, as a scanner stores it ----------------------------------------- */

static double mean_difference(const uint8_t *a, const uint8_t *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += abs(a[i] - b[i]);
    return sum / (double)count;
}

/* A slide's own levels against means of level 0: two JPEGs of one picture, the coarse one shrunk
 * before it was compressed. Labels are the same. */
Test(scale, a_slide_without_levels_gives_nearly_the_windows_of_one_with_them, FOLDER)
{
    struct synth_options options = { SYNTH_DEFAULTS };
    options.width = options.height = 1024;
    options.tissue = 0.6;
    options.tumors = 1;
    options.mpp = 0.25;
    struct config_data data = data_of(0.5, 2);
    struct slide slides[2];
    struct grid grids[2];
    uint8_t *windows[2], *labels[2];
    char slide[PATH_MAX_BYTES], mask[PATH_MAX_BYTES];
    snprintf(slide, sizeof slide, "%s", temporary_path("s.tif"));
    snprintf(mask, sizeof mask, "%s", temporary_path("m.tif"));
    cr_assert(synth_write(&options, slide, mask, &err), "%s", err.message);
    data.stride = 50;
    for (int k = 0; k < 2; k++) {
        struct annotation *annotation;
        cr_assert(slide_open(&slides[k], slide, 0, &err), "%s", err.message);
        if (k == 1) slides[k].level_count = 1;
        cr_assert(scale_settle(&slides[k], &data, &err), "%s", err.message);
        windows[k] = walk_windows(&slides[k], &data, &grids[k], 1, 0, NULL);
        cr_assert(annotation_open(&annotation, mask, 0, &slides[k], &data, &err), "%s",
                  err.message);
        cr_assert(grid_label(&grids[k], &slides[k], &data, annotation, &labels[k], &err));
        annotation_release(annotation);
        slide_release(&slides[k]);
    }
    const size_t count = (size_t)(grids[0].columns * grids[0].rows);
    cr_assert_eq(memcmp(&grids[0], &grids[1], sizeof grids[0]), 0);
    cr_assert_arr_eq(labels[0], labels[1], count);
    const double mean = mean_difference(windows[0], windows[1], count * 2 * 80 * 80 * 3);
    cr_log_info("%zu windows: %.3f grey levels apart in the mean", count, mean);
    cr_assert(mean < 5, "%g", mean);
    for (int k = 0; k < 2; k++) {
        free(windows[k]);
        free(labels[k]);
    }
}
