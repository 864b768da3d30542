/* Geometry, labels, screening and walk of the grid, against pixels read another way and
 * labels computed by brute force. */
#include "micromet/slide/grid.h"

#include <math.h>

#include "micromet/base/size.h"
#include "micromet/slide/tissue.h"
#include "temporary.h"
#include "tiny_slide.h"

#define FOLDER .init = temporary_begin, .fini = temporary_end

static struct config_data make_data(int window, int center, int stride, int level0, int level1)
{
    struct config config;
    config_defaults(&config);
    config.data.levels[0] = level0;
    config.data.levels[1] = level1;
    config.data.level_count = level1 < 0 ? 1 : 2;
    config.data.window = window;
    config.data.center = center;
    config.data.stride = stride;
    config.data.origin[0] = config.data.origin[1] = -1;
    config.data.tissue.method = TISSUE_GRAY;
    config.data.tissue.threshold = 0.8;
    config.data.tissue.min_normal = 0.75;
    return config.data;
}

static void make_tissue(const char *name, const struct tiny_level *levels, int level_count,
                        struct slide *slide)
{
    struct error err = { 0 };
    tiny_write(temporary_path(name), levels, level_count, 3, tiny_tissue, NULL);
    cr_assert(slide_open(slide, temporary_path(name), 0, &err), "%s", err.message);
    cr_assert_eq(slide->level_count, level_count);
}

static struct grid make_grid(const struct slide *slide, const struct config_data *data)
{
    struct grid grid;
    struct error err = { 0 };
    cr_assert(grid_init(&grid, slide, data, 0, &err), "%s", err.message);
    return grid;
}

static uint8_t *make_labels(const struct grid *grid, const struct slide *slide,
                            const struct config_data *data, const char *mask)
{
    struct annotation *annotation = NULL;
    struct error err = { 0 };
    uint8_t *labels;
    cr_assert(annotation_open(&annotation, mask, 0, slide, data, &err), "%s", err.message);
    cr_assert(grid_label(grid, slide, data, annotation, &labels, &err), "%s", err.message);
    annotation_release(annotation);
    return labels;
}

/* --- Geometry -------------------------------------------------------------------------------- */

Test(grid, centers_follow_the_real_downsample, FOLDER)
{
    const struct tiny_level levels[] = { { 1003, 803 }, { 300, 240 } };
    struct slide slide;
    make_tissue("a.tif", levels, 2, &slide);
    const double downsample = (1003.0 / 300 + 803.0 / 240) / 2;
    cr_assert_float_eq(slide.levels[1].downsample, downsample, 1e-12);

    const struct config_data data = make_data(80, 50, 33, 1, 0);
    const struct grid grid = make_grid(&slide, &data);
    cr_assert_eq(grid.columns, 7); /* 80 + 6*33 = 278 <= 300 < 311 */
    cr_assert_eq(grid.rows, 5);    /* 80 + 4*33 = 212 <= 240 < 245 */
    cr_assert_eq(grid.origin_x, lround(40 * downsample));
    for (int64_t i = 0; i < grid.columns; i++) {
        int64_t x, y;
        cr_assert_eq(grid_x_level0(&grid, i), grid.origin_x + lround((double)i * 33 * downsample));
        slide_window_corner(&slide, 1, grid_x_level0(&grid, i), grid_y_level0(&grid, 0), 80, &x,
                            &y);
        cr_assert(x >= 0 && x + 80 <= 300);
        cr_assert_eq(y, 0);
    }
    slide_release(&slide);
}

Test(grid, an_origin_outside_moves_by_whole_steps, FOLDER)
{
    const struct tiny_level levels[] = { { 400, 300 } };
    struct slide slide;
    make_tissue("a.tif", levels, 1, &slide);
    struct config_data data = make_data(80, 50, 30, 0, -1);
    data.origin[0] = 0;
    data.origin[1] = 100;
    const struct grid grid = make_grid(&slide, &data);
    cr_assert_eq(grid.origin_x, 60); /* 0 and 30 reach outside */
    cr_assert_eq(grid.origin_y, 100);
    cr_assert_eq(grid.columns, 11); /* 60 … 360 */
    cr_assert_eq(grid.rows, 6);     /* 100 … 250 */
    slide_release(&slide);
}

Test(grid, refuses_a_level_that_is_not_there_and_a_slide_that_is_too_small, FOLDER)
{
    const struct tiny_level levels[] = { { 400, 300 }, { 100, 75 } };
    struct slide slide;
    struct grid grid;
    struct error err = { 0 };
    make_tissue("a.tif", levels, 2, &slide);
    struct config_data data = make_data(80, 50, 30, 0, 2);
    cr_assert_not(grid_init(&grid, &slide, &data, 0, &err));
    cr_assert_not_null(strstr(err.message, "has 2 levels (0..1), data.levels asks for level 2"));
    data = make_data(80, 50, 30, 1, -1);
    error_clear(&err);
    cr_assert_not(grid_init(&grid, &slide, &data, 0, &err));
    cr_assert_not_null(strstr(err.message, "level 1 (100×75 px) holds no window of 80 px"));
    slide_release(&slide);
}

/* --- Labels ---------------------------------------------------------------------------------- */

/* A window's label with one mask pixel set. Slide 400×400, window 0 centred at (40, 40): its
 * central square is [15, 65) in both axes. */
static int label_of_dot(const struct slide *slide, const struct config_data *data, int mask_size,
                        int x, int y)
{
    const struct tiny_level mask[] = { { mask_size, mask_size } };
    const int dot[2] = { x, y };
    const struct grid grid = make_grid(slide, data);
    tiny_write(temporary_path("mask.tif"), mask, 1, 1, tiny_dot, dot);
    uint8_t *labels = make_labels(&grid, slide, data, temporary_path("mask.tif"));
    const int label = labels[0];
    for (int64_t i = 1; i < grid.columns * grid.rows; i++) cr_assert_eq(labels[i], 0);
    free(labels);
    return label;
}

Test(grid, one_mask_pixel_at_the_border_of_the_central_square, FOLDER)
{
    const struct tiny_level levels[] = { { 400, 400 } };
    struct slide slide;
    make_tissue("a.tif", levels, 1, &slide);
    const struct config_data data = make_data(80, 50, 200, 0, -1);
    const struct {
        int x, y, label;
    } dots[] = {
        { 15, 15, 1 }, { 64, 64, 1 }, { 15, 64, 1 }, { 14, 40, 0 },
        { 65, 40, 0 }, { 40, 14, 0 }, { 40, 65, 0 }, { 40, 40, 1 },
    };
    for (size_t i = 0; i < COUNT_OF(dots); i++)
        cr_assert_eq(label_of_dot(&slide, &data, 400, dots[i].x, dots[i].y), dots[i].label,
                     "dot at (%d, %d)", dots[i].x, dots[i].y);
    slide_release(&slide);
}

Test(grid, a_mask_of_half_the_resolution_covers_two_pixels, FOLDER)
{
    const struct tiny_level levels[] = { { 400, 400 } };
    struct slide slide;
    make_tissue("a.tif", levels, 1, &slide);
    const struct config_data data = make_data(80, 50, 200, 0, -1);
    cr_assert_eq(label_of_dot(&slide, &data, 200, 7, 20), 1);  /* level-0 px 14, 15: touches 15 */
    cr_assert_eq(label_of_dot(&slide, &data, 200, 6, 20), 0);  /* 12, 13 */
    cr_assert_eq(label_of_dot(&slide, &data, 200, 32, 20), 1); /* 64, 65 */
    cr_assert_eq(label_of_dot(&slide, &data, 200, 33, 20), 0); /* 66, 67 */
    slide_release(&slide);
}

Test(grid, a_coarse_tower_finds_a_tumour_of_one_level0_pixel, FOLDER)
{
    const struct tiny_level levels[] = { { 1600, 1600 }, { 400, 400 } };
    struct slide slide;
    make_tissue("a.tif", levels, 2, &slide);
    const struct config_data data = make_data(80, 50, 200, 1, -1);
    cr_assert_eq(label_of_dot(&slide, &data, 1600, 60, 60), 1); /* square [60, 260) in level-0 px */
    cr_assert_eq(label_of_dot(&slide, &data, 1600, 59, 60), 0);
    cr_assert_eq(label_of_dot(&slide, &data, 1600, 259, 259), 1);
    cr_assert_eq(label_of_dot(&slide, &data, 1600, 260, 200), 0);
    slide_release(&slide);
}

static void sparse_mask(const void *context, int level, int x, int y, uint8_t *pixel)
{
    (void)context;
    pixel[0] = tiny_hash(level + 5, x, y) % 997 == 0;
}

struct dots {
    double pixel_level0; /* level-0 px a side of the mask's pixels */
    int (*dots)[2];
    int count;
};

static struct dots find_dots(const struct tiny_level *size, double pixel_level0)
{
    struct dots mask = { pixel_level0, calloc((size_t)size->width * (size_t)size->height, 8), 0 };
    for (int i = 0; i < size->width * size->height; i++) {
        uint8_t value;
        sparse_mask(NULL, 0, i % size->width, i / size->width, &value);
        if (!value) continue;
        mask.dots[mask.count][0] = i % size->width;
        mask.dots[mask.count++][1] = i / size->width;
    }
    return mask;
}

/* The definition of the label, applied to every mask pixel. */
static int label_by_force(const struct slide *slide, const struct config_data *data,
                          const struct grid *grid, int64_t column, int64_t row,
                          const struct dots *mask)
{
    const double d = slide->levels[data->levels[0]].downsample;
    const double m = mask->pixel_level0;
    const double left = (double)(llround((double)grid_x_level0(grid, column) / d) -
                                 data->center / 2);
    const double top = (double)(llround((double)grid_y_level0(grid, row) / d) - data->center / 2);
    for (int i = 0; i < mask->count; i++) {
        const int x = mask->dots[i][0], y = mask->dots[i][1];
        if ((x + 1) * m > left * d && x * m < (left + data->center) * d && (y + 1) * m > top * d &&
            y * m < (top + data->center) * d)
            return 1;
    }
    return 0;
}

Test(grid, labels_equal_brute_force_where_nothing_is_a_power_of_two, FOLDER)
{
    const struct tiny_level levels[] = { { 1003, 803 }, { 300, 240 } };
    const struct tiny_level masks[] = { { 1003, 803 }, { 501, 401 }, { 300, 240 } };
    struct slide slide;
    make_tissue("a.tif", levels, 2, &slide);
    /* the slide itself, its half rounded down, and its other level */
    const double pixels_level0[] = { 1, 2, slide.levels[1].downsample };
    const struct config_data data = make_data(40, 11, 7, 1, -1);
    const struct grid grid = make_grid(&slide, &data);
    for (size_t m = 0; m < COUNT_OF(masks); m++) {
        int tumors = 0;
        struct dots dots = find_dots(&masks[m], pixels_level0[m]);
        tiny_write(temporary_path("mask.tif"), &masks[m], 1, 1, sparse_mask, NULL);
        uint8_t *labels = make_labels(&grid, &slide, &data, temporary_path("mask.tif"));
        for (int64_t row = 0; row < grid.rows; row++)
            for (int64_t column = 0; column < grid.columns; column++) {
                const int label = labels[row * grid.columns + column];
                tumors += label;
                cr_assert_eq(label, label_by_force(&slide, &data, &grid, column, row, &dots),
                             "mask %zu, window (%d, %d)", m, (int)column, (int)row);
            }
        cr_assert(tumors > 20 && tumors < grid.columns * grid.rows - 20, "%d", tumors);
        free(dots.dots);
        free(labels);
    }
    slide_release(&slide);
}

Test(grid, without_annotation_all_is_normal, FOLDER)
{
    const struct tiny_level levels[] = { { 400, 400 } };
    struct slide slide;
    make_tissue("a.tif", levels, 1, &slide);
    const struct config_data data = make_data(80, 50, 40, 0, -1);
    const struct grid grid = make_grid(&slide, &data);
    uint8_t *labels = make_labels(&grid, &slide, &data, "");
    for (int64_t i = 0; i < grid.columns * grid.rows; i++) cr_assert_eq(labels[i], 0);
    free(labels);
    slide_release(&slide);
}

/* --- Screen ---------------------------------------------------------------------------------- */

/* Bright, except dark blocks with edges anywhere; coarser levels are the means of level 0. */
static uint8_t island(int x, int y)
{
    const bool dark = tiny_hash(1, x / 150, y / 130) % 5 == 0;
    return dark ? (uint8_t)(tiny_hash(2, x, y) % 205) : 236;
}

static void islands(const void *context, int level, int x, int y, uint8_t *pixel)
{
    const int scale = 1 << (2 * level);
    int sum = 0;
    (void)context;
    for (int j = 0; j < scale; j++)
        for (int i = 0; i < scale; i++) sum += island(x * scale + i, y * scale + j);
    memset(pixel, (sum + scale * scale / 2) / (scale * scale), 3);
}

static float share_of(struct slide_cache *cache, const struct slide *slide,
                      const struct config_data *data, int64_t x, int64_t y)
{
    static uint8_t pixels[80 * 80 * 3];
    const struct tissue_rule rule = { .gray_max = (int32_t)(0.8 * GRAY_MAX) };
    struct error err = { 0 };
    int64_t corner_x, corner_y;
    slide_window_corner(slide, data->levels[0], x, y, 80, &corner_x, &corner_y);
    cr_assert(slide_read(cache, data->levels[0], corner_x, corner_y, 80, 80, pixels, 240, &err));
    return tissue_share(&rule, pixels, 80, 80, 240);
}

Test(grid, the_screen_keeps_every_window_with_tissue_and_drops_most_empty_ones, FOLDER)
{
    const struct tiny_level levels[] = { { 2048, 1536 }, { 512, 384 }, { 128, 96 } };
    struct slide slide;
    struct slide_cache *cache;
    struct error err = { 0 };
    uint8_t *maybe;
    tiny_write(temporary_path("a.tif"), levels, 3, 3, islands, NULL);
    cr_assert(slide_open(&slide, temporary_path("a.tif"), 0, &err), "%s", err.message);
    cr_assert(slide_cache_init(&cache, &slide, 64 << 20, &err));
    const struct config_data data = make_data(80, 50, 23, 0, -1);
    const struct grid grid = make_grid(&slide, &data);
    cr_assert(grid_screen(&grid, &slide, &data, &maybe, &err), "%s", err.message);

    int with_tissue = 0, empty = 0, dropped = 0;
    for (int64_t i = 0; i < grid.columns * grid.rows; i++) {
        const float share = share_of(cache, &slide, &data, grid_x_level0(&grid, i % grid.columns),
                                     grid_y_level0(&grid, i / grid.columns));
        if (share >= 0.75f) cr_assert(maybe[i], "window %d holds %g tissue", (int)i, (double)share);
        with_tissue += share >= 0.75f;
        empty += share == 0;
        dropped += !maybe[i];
    }
    cr_assert(with_tissue > 100, "%d", with_tissue);
    cr_assert(dropped > empty * 8 / 10, "%d of %d", dropped, empty);
    free(maybe);
    slide_cache_release(cache);
    slide_release(&slide);
}

Test(grid, a_slide_of_one_level_is_not_screened, FOLDER)
{
    const struct tiny_level levels[] = { { 400, 300 } };
    struct slide slide;
    struct error err = { 0 };
    uint8_t *maybe;
    make_tissue("a.tif", levels, 1, &slide);
    const struct config_data data = make_data(80, 50, 40, 0, -1);
    const struct grid grid = make_grid(&slide, &data);
    cr_assert(grid_screen(&grid, &slide, &data, &maybe, &err), "%s", err.message);
    for (int64_t i = 0; i < grid.columns * grid.rows; i++) cr_assert_eq(maybe[i], 1);
    free(maybe);
    slide_release(&slide);
}

/* --- Walk ------------------------------------------------------------------------------------ */

struct visits {
    const struct slide *slide;
    const struct config_data *data;
    const struct grid *grid;
    const uint8_t *labels;
    int *count; /* (rows*columns), one thread writes each */
    int64_t fail_at;
};

static bool check_visit(void *context, const struct window *window, int64_t grid_index,
                        uint8_t *const pixels[TOWERS_MAX], int worker, struct error *err)
{
    struct visits *visits = context;
    const struct grid *grid = visits->grid;
    (void)worker;
    visits->count[grid_index]++;
    if (grid_index == visits->fail_at) return error_set(err, EXIT_CODE_FAILED, "window %d", 12);
    cr_assert_eq(window->x_level0, grid_x_level0(grid, grid_index % grid->columns));
    cr_assert_eq(window->y_level0, grid_y_level0(grid, grid_index / grid->columns));
    cr_assert_eq(window->label, visits->labels[grid_index]);
    const int size = visits->data->window;
    for (int tower = 0; tower < visits->data->level_count; tower++) {
        const int level = visits->data->levels[tower];
        const double d = visits->slide->levels[level].downsample;
        const int64_t left = llround(window->x_level0 / d) - size / 2;
        const int64_t top = llround(window->y_level0 / d) - size / 2;
        uint8_t expected[80 * 80 * 3];
        cr_assert_eq(size, 80);
        const struct tiny_level bounds = { (int)visits->slide->levels[level].width,
                                           (int)visits->slide->levels[level].height };
        tiny_window(tiny_tissue, level, bounds, left, top, size, expected);
        cr_assert_eq(memcmp(pixels[tower], expected, sizeof expected), 0);
    }
    return true;
}

static struct walk_facts walk(const struct slide *slide, const struct config_data *data,
                              int threads, size_t cache_bytes)
{
    const struct grid grid = make_grid(slide, data);
    const size_t count = (size_t)(grid.columns * grid.rows);
    uint8_t *visit = malloc(count), *labels = malloc(count);
    int *seen = calloc(count, sizeof *seen);
    struct visits visits = { slide, data, &grid, labels, seen, -1 };
    struct walk_facts facts;
    struct error err = { 0 };
    for (size_t i = 0; i < count; i++) {
        visit[i] = i % 7 != 3;
        labels[i] = i % 5 == 0;
    }
    const struct grid_walk_options options = { .visit = visit,
                                               .labels = labels,
                                               .towers = data->level_count,
                                               .threads = threads,
                                               .cache_bytes = cache_bytes,
                                               .facts = &facts };
    cr_assert(grid_walk(&grid, slide, data, &options, check_visit, &visits, &err), "%s",
              err.message);
    for (size_t i = 0; i < count; i++) cr_assert_eq(seen[i], visit[i]);
    free(visit);
    free(labels);
    free(seen);
    return facts;
}

static int64_t blocks_of(const struct slide_level *level)
{
    return CEIL_DIV(level->width, level->block_width) *
           CEIL_DIV(level->height, level->block_height);
}

static const struct tiny_level tall[] = { { 2100, 3000 }, { 1050, 1500 } };

Test(grid, the_walk_reads_each_block_once_if_a_band_fits_the_cache, FOLDER)
{
    struct slide slide;
    make_tissue("a.tif", tall, 2, &slide);
    const struct config_data data = make_data(80, 50, 61, 0, 1);
    const int64_t all = blocks_of(&slide.levels[0]) + blocks_of(&slide.levels[1]);
    /* two rows of blocks of both levels, 4 bytes per pixel: less than half of the slide */
    const size_t two_rows = (size_t)(2 * (5 + 3) + 4) * 512 * 512 * 4;
    const struct walk_facts facts = walk(&slide, &data, 1, two_rows);
    cr_assert_eq(facts.bands, 1);
    cr_assert_eq(facts.blocks_read, all, "%d of %d", (int)facts.blocks_read, (int)all);
    slide_release(&slide);
}

Test(grid, narrow_bands_read_again_only_what_lies_at_their_seams, FOLDER)
{
    struct slide slide;
    make_tissue("a.tif", tall, 2, &slide);
    const struct config_data data = make_data(80, 50, 61, 0, 1);
    const int64_t all = blocks_of(&slide.levels[0]) + blocks_of(&slide.levels[1]);
    const int64_t block_rows = (3000 + 511) / 512 + (1500 + 511) / 512;
    const struct walk_facts facts = walk(&slide, &data, 1, (size_t)12 * 512 * 512 * 4);
    cr_assert(facts.bands > 1);
    /* a seam is in one column of blocks, or in two if its windows straddle their border */
    cr_assert(facts.blocks_read <= all + 2 * (facts.bands - 1) * block_rows, "%d of %d, %d bands",
              (int)facts.blocks_read, (int)all, (int)facts.bands);
    slide_release(&slide);
}

Test(grid, the_walk_is_right_with_threads_and_with_hardly_any_cache, FOLDER)
{
    const struct tiny_level levels[] = { { 1503, 1203 }, { 450, 360 } };
    struct slide slide;
    make_tissue("a.tif", levels, 2, &slide);
    const struct config_data data = make_data(80, 50, 67, 0, 1);
    walk(&slide, &data, 3, 64 << 20);
    walk(&slide, &data, 2, 1);
    slide_release(&slide);
}

Test(grid, an_error_of_the_visitor_ends_the_walk, FOLDER)
{
    const struct tiny_level levels[] = { { 400, 400 } };
    struct slide slide;
    struct error err = { 0 };
    int seen[81] = { 0 };
    uint8_t labels[81] = { 0 };
    make_tissue("a.tif", levels, 1, &slide);
    const struct config_data data = make_data(80, 50, 40, 0, -1);
    const struct grid grid = make_grid(&slide, &data);
    cr_assert_eq(grid.columns * grid.rows, 81);
    struct visits visits = { &slide, &data, &grid, labels, seen, 40 };
    const struct grid_walk_options options = { .labels = labels, .towers = 1, .threads = 1 };
    cr_assert_not(grid_walk(&grid, &slide, &data, &options, check_visit, &visits, &err));
    cr_assert_str_eq(err.message, "window 12");
    cr_assert_eq(seen[40], 1);
    cr_assert_eq(seen[41], 0);
    slide_release(&slide);
}

/* --- Real pixels ----------------------------------------------------------------------------- */

static uint8_t *read_tiff(const char *path, int level, int channels, uint32_t *width)
{
    uint32_t height, tile_width, tile_height;
    TIFF *tiff = TIFFOpen(path, "r");
    cr_assert(tiff && TIFFSetDirectory(tiff, (tdir_t)level));
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &tile_width);
    TIFFGetField(tiff, TIFFTAG_TILELENGTH, &tile_height);
    if (channels == 3) TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    const size_t pixel = (size_t)channels;
    uint8_t *image = malloc(*width * (size_t)height * pixel);
    uint8_t *tile = malloc(tile_width * (size_t)tile_height * pixel);
    for (uint32_t y = 0; y < height; y += tile_height)
        for (uint32_t x = 0; x < *width; x += tile_width) {
            cr_assert(TIFFReadTile(tiff, tile, x, y, 0, 0) > 0);
            const uint32_t across = x + tile_width < *width ? tile_width : *width - x;
            for (uint32_t row = 0; row < tile_height && y + row < height; row++)
                memcpy(image + ((y + row) * (size_t)*width + x) * pixel,
                       tile + row * (size_t)tile_width * pixel, across * pixel);
        }
    free(tile);
    TIFFClose(tiff);
    return image;
}

struct mosaic {
    uint8_t *images[2];
    uint32_t widths[2];
    int visited; /* one thread */
};

static bool check_mosaic(void *context, const struct window *window, int64_t grid_index,
                         uint8_t *const pixels[TOWERS_MAX], int worker, struct error *err)
{
    struct mosaic *mosaic = context;
    (void)grid_index, (void)worker, (void)err;
    mosaic->visited++;
    for (int tower = 0; tower < 2; tower++)
        for (int y = 0; y < 80; y++) {
            const size_t row = (size_t)(window->y_level0 >> tower) - 40 + (size_t)y;
            const size_t column = (size_t)(window->x_level0 >> tower) - 40;
            cr_assert_arr_eq(pixels[tower] + y * 240,
                             mosaic->images[tower] + 3 * (row * mosaic->widths[tower] + column),
                             240);
        }
    return true;
}

Test(grid, mosaic_has_576_windows_with_the_labels_and_pixels_of_its_cells)
{
    char slide_path[PATH_MAX_BYTES], mask_path[PATH_MAX_BYTES];
    if (!test_shared_data(slide_path, "pcam-mosaic/train_01.tif") ||
        !test_shared_data(mask_path, "pcam-mosaic/train_01_mask.tif"))
        cr_skip("pcam-mosaic is not there");
    struct slide slide;
    struct error err = { 0 };
    cr_assert(slide_open(&slide, slide_path, 0, &err), "%s", err.message);
    struct config_data data = make_data(80, 50, 192, 0, 1);
    data.origin[0] = data.origin[1] = 96;
    const struct grid grid = make_grid(&slide, &data);
    cr_assert_eq(grid.columns, 24);
    cr_assert_eq(grid.rows, 24);
    uint8_t *labels = make_labels(&grid, &slide, &data, mask_path);

    uint32_t width;
    uint8_t *mask = read_tiff(mask_path, 0, 1, &width);
    int tumors = 0;
    for (int cell = 0; cell < 576; cell++) {
        const uint32_t x = (uint32_t)cell % 24 * 192 + 96, y = (uint32_t)cell / 24 * 192 + 96;
        cr_assert_eq(labels[cell], mask[y * width + x] == 255);
        tumors += labels[cell];
    }
    cr_assert(tumors > 150 && tumors < 300, "%d", tumors);
    free(mask);

    struct mosaic mosaic = { 0 };
    for (int tower = 0; tower < 2; tower++)
        mosaic.images[tower] = read_tiff(slide_path, tower, 3, &mosaic.widths[tower]);
    const struct grid_walk_options options = { .labels = labels, .towers = 2, .threads = 1 };
    cr_assert(grid_walk(&grid, &slide, &data, &options, check_mosaic, &mosaic, &err), "%s",
              err.message);
    cr_assert_eq(mosaic.visited, 576);
    free(mosaic.images[0]);
    free(mosaic.images[1]);
    free(labels);
    slide_release(&slide);
}
