/* Slides: their properties, pixels against OpenSlide itself and against the requested region, and
 * the errors for bad files. */
#include "micromet/slide/slide.h"

#include <criterion/criterion.h>
#include <math.h>
#include <openslide.h>
#include <stdlib.h>

#include "micromet/base/random.h"
#include "micromet/base/size.h"
#include "support.h"
#include "tiny_slide.h"

static char folder[PATH_MAX_BYTES], path[PATH_MAX_BYTES];
static struct slide slide;
static struct error err;

static void begin(void)
{
    test_folder_make(folder);
}

static void end(void)
{
    slide_release(&slide);
    test_folder_remove(folder);
}

TestSuite(slide, .init = begin, .fini = end);

static void open_shared(const char *name, double mpp)
{
    if (!test_shared_data(path, name)) cr_skip("no %s", name);
    cr_assert(slide_open(&slide, path, mpp, &err), "%s", err.message);
}

static void open_tiny(const struct tiny_level *levels, int count)
{
    test_path(path, folder, "tiny.tif");
    tiny_write(path, levels, count, 3, tiny_tissue, NULL);
    cr_assert(slide_open(&slide, path, 0, &err), "%s", err.message);
}

static struct slide_cache *cache_of(size_t bytes)
{
    struct slide_cache *cache;
    cr_assert(slide_cache_init(&cache, &slide, bytes, &err), "%s", err.message);
    return cache;
}

static uint8_t *read_region(struct slide_cache *cache, int level, int64_t x, int64_t y, int width,
                            int height)
{
    uint8_t *rgb = malloc(3 * (size_t)width * (size_t)height);
    cr_assert(slide_read(cache, level, x, y, width, height, rgb, 3 * (size_t)width, &err), "%s",
              err.message);
    return rgb;
}

static void refuses(const char *what)
{
    cr_assert_not(slide_open(&slide, path, 0, &err));
    cr_assert_eq(err.code, EXIT_CODE_FAILED);
    cr_assert(!strncmp(err.message, path, strlen(path)), "%s", err.message);
    cr_assert(strstr(err.message, what), "%s", err.message);
    cr_assert_null(slide.handle);
}

Test(slide, levels_have_the_downsamples_that_openslide_reports)
{
    open_shared("slides/boxes.tiff", 0);
    cr_assert_str_eq(slide.vendor, "generic-tiff");
    cr_assert_eq(slide.level_count, 4);
    cr_assert_eq(slide.levels[2].width, 75);
    cr_assert_eq(slide.levels[2].height, 62);
    cr_assert_float_eq(slide.levels[2].downsample, (300.0 / 75 + 250.0 / 62) / 2, 1e-12);
    cr_assert_eq(slide.levels[0].tile_width, 64);
    cr_assert_eq(slide.levels[0].block_width, 512);
    cr_assert(!memcmp(slide.background, "\xff\xff\xff", 3));
    cr_assert_eq(slide.mpp_x, 0, "72 dpi is no microscope");
}

Test(slide, blocks_are_whole_tiles_near_512_px)
{
    open_shared("slides/CMU-1-Small-Region.svs", 0);
    cr_assert_eq(slide.levels[0].tile_width, 240);
    cr_assert_eq(slide.levels[0].block_width, 480);
    cr_assert_eq(slide.mpp_x, 0.499);
    cr_assert_str_eq(slide.vendor, "aperio");
    cr_assert_str_eq(slide.quickhash,
                     "6335ea0e6cc54c2cba64bb265d3c713a50cd84484924e3a9c109558c13521d5c");
}

Test(slide, pixel_size_comes_from_the_tiff_resolution_where_openslide_has_none)
{
    open_shared("pcam-mosaic/train_01.tif", 0);
    cr_assert_float_eq(slide.mpp_x, 0.486, 1e-6);
    cr_assert_float_eq(slide.mpp_y, 0.486, 1e-6);
}

Test(slide, given_pixel_size_overrides_the_files)
{
    open_shared("slides/CMU-1-Small-Region.svs", 0.25);
    cr_assert_eq(slide.mpp_x, 0.25);
    cr_assert_eq(slide.mpp_y, 0.25);
}

Test(slide, unknown_pixel_size_is_zero)
{
    open_shared("slides/tcga-cr-7395-01a-01-ts1.svs", 0);
    cr_assert_eq(slide.mpp_x, 0);
    cr_assert_eq(slide.level_count, 2);
}

Test(slide, missing_file_is_named)
{
    test_path(path, folder, "absent.svs");
    refuses("No such file");
}

Test(slide, folder_is_refused)
{
    test_path(path, folder, "");
    refuses("a folder");
}

Test(slide, empty_file_is_refused)
{
    test_write(path, folder, "empty.tif", "");
    refuses("empty");
}

Test(slide, text_is_not_recognised_and_the_kinds_are_listed)
{
    test_write(path, folder, "text.svs", "certainly not a slide, but long enough to be read");
    refuses("does not recognise");
    cr_assert(strstr(err.message, "MIRAX"));
}

Test(slide, striped_tiff_is_not_recognised_and_told_apart)
{
    if (!test_shared_data(path, "slides/pathml_smalltif.tif")) cr_skip("no shared data");
    refuses("does not recognise");
    cr_assert(strstr(err.message, "not a tiled one"), "%s", err.message);
    cr_assert(strstr(err.message, "vips tiffsave"), "%s", err.message);
}

static void truncate_copy(const char *name, double share)
{
    char *bytes, original[PATH_MAX_BYTES];
    size_t size;
    if (!test_shared_data(original, name)) cr_skip("no %s", name);
    cr_assert(file_read(original, (size_t)1 << 30, &bytes, &size, &err), "%s", err.message);
    test_path(path, folder, "short.tif");
    cr_assert(file_write_atomic(path, bytes, (size_t)((double)size * share), &err));
    free(bytes);
}

Test(slide, truncated_files_are_told_from_unknown_ones)
{
    static const char *const names[] = { "slides/tcga-derived-pyramid.tif",
                                         "slides/CMU-1-Small-Region.svs",
                                         "pcam-mosaic/validation_01.tif" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        for (double share = 0.1; share < 1; share += 0.2) {
            truncate_copy(names[i], share);
            err = (struct error) { 0 };
            refuses("truncated");
        }
}

/* Change the entry of the table of tile offsets from `from` to `to`. */
static void redirect_tile(uint32_t from, uint32_t to)
{
    char *bytes;
    size_t size;
    int found = 0;
    cr_assert(file_read(path, (size_t)1 << 30, &bytes, &size, &err), "%s", err.message);
    for (size_t i = 0; i + 4 <= size; i++)
        if (!memcmp(bytes + i, &from, 4)) {
            memcpy(bytes + i, &to, 4);
            found++;
        }
    cr_assert_eq(found, 1);
    cr_assert(file_write_atomic(path, bytes, size, &err));
    free(bytes);
}

Test(slide, lost_pixel_data_is_found_when_the_directories_are_whole)
{
    open_tiny((const struct tiny_level[]) { { 200, 200 } }, 1);
    slide_release(&slide);
    TIFF *tiff = TIFFOpen(path, "r");
    const uint32_t last = (uint32_t)TIFFGetStrileOffset(tiff, 15);
    TIFFClose(tiff);
    redirect_tile(last, 1 << 30);
    refuses("refers to byte 1073754112"); /* 2^30 + 64*64*3 */
}

/* Damage a JPEG slide's tile in the middle of the file. */
static void damage(const char *name, uint32_t tile)
{
    truncate_copy(name, 1);
    TIFF *tiff = TIFFOpen(path, "r");
    cr_assert(tiff);
    const uint64_t offset = TIFFGetStrileOffset(tiff, tile);
    const uint64_t bytes = TIFFGetStrileByteCount(tiff, tile);
    TIFFClose(tiff);
    FILE *file = fopen(path, "r+b");
    fseeko(file, (off_t)offset, SEEK_SET);
    for (uint64_t i = 0; i < bytes; i++) fputc(0, file);
    fclose(file);
}

Test(slide, damaged_tile_fails_at_its_place_and_the_slide_stays_failed)
{
    uint8_t rgb[3 * 16 * 16];
    damage("slides/tcga-derived-pyramid.tif", 20); /* tiles of 256, 18 across: column 2, row 1 */
    cr_assert(slide_open(&slide, path, 0, &err), "%s", err.message);
    struct slide_cache *cache = cache_of(1 << 24);
    cr_assert(slide_read(cache, 0, 2000, 2000, 16, 16, rgb, 48, &err), "%s", err.message);
    cr_assert_not(slide_read(cache, 0, 520, 260, 16, 16, rgb, 48, &err));
    cr_assert(strstr(err.message, "level 0 cannot be read near (512, 0)"), "%s", err.message);
    err = (struct error) { 0 };
    cr_assert_not(slide_read(cache, 0, 3000, 3000, 16, 16, rgb, 48, &err));
    cr_assert(strstr(err.message, "an earlier read failed"), "%s", err.message);
    slide_cache_release(cache);
}

/* Number of pixels of `rgb` that differ from `argb` over white. */
static int wrong_pixels(const uint32_t *argb, const uint8_t *rgb, int count)
{
    int wrong = 0;
    for (int i = 0; i < count; i++)
        for (int c = 0; c < 3; c++)
            wrong += rgb[3 * i + c] != (argb[i] >> (16 - 8 * c) & 255) + 255 - (argb[i] >> 24);
    return wrong;
}

/* Compare every block of every level with OpenSlide's own pixels. */
static void compare_with_openslide(const char *name)
{
    open_shared(name, 0);
    openslide_t *direct = openslide_open(path);
    struct slide_cache *cache = cache_of(1 << 22);
    for (int i = 0; i < slide.level_count; i++) {
        const struct slide_level *level = &slide.levels[i];
        for (int64_t y = 0; y < level->height; y += level->block_height)
            for (int64_t x = 0; x < level->width; x += level->block_width) {
                const int width = (int)fmin(level->block_width, (double)(level->width - x));
                const int height = (int)fmin(level->block_height, (double)(level->height - y));
                uint32_t *argb = malloc(4 * (size_t)width * (size_t)height);
                openslide_read_region(direct, argb, llround((double)x * level->downsample),
                                      llround((double)y * level->downsample), i, width, height);
                uint8_t *rgb = read_region(cache, i, x, y, width, height);
                cr_assert_eq(wrong_pixels(argb, rgb, width * height), 0,
                             "%s: level %d, block (%ld, %ld)", name, i, (long)x, (long)y);
                free(rgb);
                free(argb);
            }
    }
    slide_cache_release(cache);
    openslide_close(direct);
}

Test(slide, blocks_are_openslides_pixels_where_downsamples_are_odd)
{
    compare_with_openslide("slides/tcga-derived-pyramid.tif");
}

Test(slide, blocks_are_openslides_pixels_of_an_aperio_slide)
{
    compare_with_openslide("slides/CMU-1-Small-Region.svs");
}

/* The level, assembled from its blocks. */
static uint8_t *whole_level(int level)
{
    struct slide_cache *cache = cache_of(1 << 26);
    uint8_t *rgb = read_region(cache, level, 0, 0, (int)slide.levels[level].width,
                               (int)slide.levels[level].height);
    slide_cache_release(cache);
    return rgb;
}

Test(slide, a_pixel_does_not_depend_on_the_region_that_is_asked_for)
{
    open_shared("slides/tcga-derived-pyramid.tif", 0);
    struct random random = random_init(1, 0, 0, RANDOM_TEST);
    for (int level = 1; level < 4; level++) {
        const int64_t w = slide.levels[level].width, h = slide.levels[level].height;
        uint8_t *whole = whole_level(level);
        for (int round = 0; round < 15; round++) {
            const int width = 1 + (int)random_below(&random, 200);
            const int height = 1 + (int)random_below(&random, 200);
            const int64_t x0 = (int64_t)random_below(&random, (uint64_t)w) - 50;
            const int64_t y0 = (int64_t)random_below(&random, (uint64_t)h) - 50;
            struct slide_cache *cache = cache_of(1); /* holds one block at a time */
            uint8_t *rgb = read_region(cache, level, x0, y0, width, height);
            int wrong = 0;
            for (int y = 0; y < height; y++)
                for (int x = 0; x < width; x++) {
                    const int64_t px = x0 + x, py = y0 + y;
                    const bool inside = px >= 0 && py >= 0 && px < w && py < h;
                    wrong += memcmp(rgb + 3 * (y * width + x),
                                    inside ? whole + 3 * (py * w + px) : slide.background, 3) != 0;
                }
            cr_assert_eq(wrong, 0, "level %d, %d×%d px at (%ld, %ld)", level, width, height,
                         (long)x0, (long)y0);
            free(rgb);
            slide_cache_release(cache);
        }
        free(whole);
    }
}

Test(slide, stored_pixels_come_back_exactly_at_every_level)
{
    const struct tiny_level levels[] = { { 1300, 900 }, { 325, 225 } };
    open_tiny(levels, 2);
    for (int level = 0; level < 2; level++) {
        uint8_t *rgb = whole_level(level), expected[3];
        int wrong = 0;
        for (int y = 0; y < levels[level].height; y++)
            for (int x = 0; x < levels[level].width; x++) {
                tiny_tissue(NULL, level, x, y, expected);
                wrong += memcmp(rgb + 3 * (y * levels[level].width + x), expected, 3) != 0;
            }
        cr_assert_eq(wrong, 0);
        free(rgb);
    }
}

Test(slide, rows_may_stand_apart_in_memory)
{
    uint8_t rgb[4 * 40], expected[3];
    open_tiny((const struct tiny_level[]) { { 600, 600 } }, 1);
    struct slide_cache *cache = cache_of(1 << 22);
    memset(rgb, 7, sizeof rgb);
    cr_assert(slide_read(cache, 0, 510, 511, 5, 4, rgb, 40, &err));
    for (int y = 0; y < 4; y++) {
        for (int x = 0; x < 5; x++) {
            tiny_tissue(NULL, 0, 510 + x, 511 + y, expected);
            cr_assert(!memcmp(rgb + 40 * y + 3 * x, expected, 3));
        }
        for (int i = 15; i < 40; i++) cr_assert_eq(rgb[40 * y + i], 7);
    }
    slide_cache_release(cache);
}

Test(slide, regions_far_outside_are_background)
{
    open_tiny((const struct tiny_level[]) { { 100, 80 } }, 1);
    slide.background[0] = 1, slide.background[1] = 2, slide.background[2] = 3;
    struct slide_cache *cache = cache_of(1 << 20);
    static const int64_t corners[][2] = { { -1000, 0 }, { 0, -1000 },   { 100, 0 },
                                          { 0, 80 },    { 1 << 30, 0 }, { 0, 1 << 30 } };
    for (size_t i = 0; i < COUNT_OF(corners); i++) {
        uint8_t *rgb = read_region(cache, 0, corners[i][0], corners[i][1], 30, 20);
        for (int p = 0; p < 600; p++) cr_assert(!memcmp(rgb + 3 * p, slide.background, 3));
        free(rgb);
    }
    cr_assert_eq(slide_cache_blocks_read(cache), 0);
    slide_cache_release(cache);
}

/* A JPEG slide of 4×2 tiles of 256 px, one of which is missing: Aperio's scanners omit some. */
static void write_gap(uint32_t missing)
{
    static uint8_t tile[256 * 256 * 3];
    TIFF *tiff = TIFFOpen(path, "w");
    TIFFSetField(tiff, TIFFTAG_IMAGEDESCRIPTION, "Aperio Image Library");
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, 1024);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, 512);
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, 256);
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, 256);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 3);
    TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_JPEG);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_YCBCR);
    TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    memset(tile, 100, sizeof tile);
    for (uint32_t i = 0; i < 8; i++)
        if (i != missing) cr_assert(TIFFWriteEncodedTile(tiff, i, tile, sizeof tile) >= 0);
    TIFFClose(tiff);
}

Test(slide, missing_tiles_are_background_and_never_black)
{
    test_path(path, folder, "gap.tif");
    write_gap(5); /* column 1 of row 1 */
    cr_assert(slide_open(&slide, path, 0, &err), "%s", err.message);
    slide.background[0] = 240, slide.background[1] = 241, slide.background[2] = 242;
    uint8_t *rgb = whole_level(0);
    int wrong = 0;
    for (int y = 0; y < 512; y++)
        for (int x = 0; x < 1024; x++) {
            const bool gap = y >= 256 && x >= 256 && x < 512;
            for (int c = 0; c < 3; c++)
                wrong += rgb[3 * (y * 1024 + x) + c] != (gap ? 240 + c : 100);
        }
    cr_assert_eq(wrong, 0);
    free(rgb);
}

Test(slide, cache_keeps_blocks_within_its_bound)
{
    open_tiny((const struct tiny_level[]) { { 2048, 512 } }, 1);
    struct slide_cache *cache = cache_of(2 * 512 * 512 * 3 + 1024); /* two blocks */
    static const struct {
        int64_t x, blocks_read;
    } steps[] = { { 0, 1 }, { 512, 2 }, { 0, 2 }, { 1024, 3 }, { 0, 3 }, { 512, 4 }, { 1024, 5 } };
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        free(read_region(cache, 0, steps[i].x, 0, 100, 100));
        cr_assert_eq(slide_cache_blocks_read(cache), steps[i].blocks_read, "step %zu", i);
    }
    slide_cache_release(cache);
}

Test(slide, window_corner_is_the_rounded_center_less_half_the_window)
{
    struct slide made = {
        .level_count = 3,
        .levels = { { .downsample = 1 }, { .downsample = 4.0000963 }, { .downsample = 57.375 } }
    };
    static const struct {
        int level, window;
        int64_t x0, x;
    } cases[] = { { 0, 80, 96, 56 },     { 0, 299, 1000, 851 }, { 1, 80, 100000, 24959 },
                  { 2, 80, 57375, 960 }, { 2, 80, 57403, 960 }, { 2, 80, 57404, 961 },
                  { 2, 80, 0, -40 },     { 1, 75, 2, -37 } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t x, y;
        slide_window_corner(&made, cases[i].level, cases[i].x0, 0, cases[i].window, &x, &y);
        cr_assert_eq(x, cases[i].x, "case %zu: %ld", i, (long)x);
        cr_assert_eq(y, -(cases[i].window / 2));
    }
}

/* The mean of the level's pixels in columns [x0, x1) and rows [y0, y1). */
static int mean(const uint8_t *whole, int stride, int x0, int x1, int y0, int y1, int channel)
{
    double sum = 0;
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) sum += whole[3 * (y * stride + x) + channel];
    return (int)floor(sum / ((x1 - x0) * (y1 - y0)) + 0.5);
}

/* The first p with p * parts / side == i, found by trying. */
static int first_of(int side, int parts, int i)
{
    int p = 0;
    while (p < side && p * parts / side < i) p++;
    return p;
}

static void check_thumbnail(const struct tiny_level *levels, int level, int side_max, int width,
                            int height)
{
    uint8_t *rgb, *whole = whole_level(level);
    int got_width, got_height, wrong = 0;
    cr_assert(slide_thumbnail(&slide, side_max, &rgb, &got_width, &got_height, &err), "%s",
              err.message);
    cr_assert_eq(got_width, width);
    cr_assert_eq(got_height, height);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const int x0 = first_of(levels[level].width, width, x);
            const int x1 = first_of(levels[level].width, width, x + 1);
            const int y0 = first_of(levels[level].height, height, y);
            const int y1 = first_of(levels[level].height, height, y + 1);
            for (int c = 0; c < 3; c++)
                wrong += rgb[3 * (y * width + x) + c] !=
                         mean(whole, levels[level].width, x0, x1, y0, y1, c);
        }
    cr_assert_eq(wrong, 0);
    free(rgb);
    free(whole);
}

Test(slide, thumbnail_is_the_mean_of_the_coarsest_level_that_is_large_enough)
{
    const struct tiny_level levels[] = { { 1300, 600 }, { 325, 150 }, { 81, 37 } };
    open_tiny(levels, 3);
    check_thumbnail(levels, 0, 400, 400, 185);
    check_thumbnail(levels, 1, 100, 100, 46);
    check_thumbnail(levels, 2, 7, 7, 3);
    check_thumbnail(levels, 2, 1, 1, 1);
}

Test(slide, thumbnail_is_never_enlarged)
{
    const struct tiny_level levels[] = { { 130, 60 } };
    open_tiny(levels, 1);
    check_thumbnail(levels, 0, 1600, 130, 60);
}

Test(slide, hash_of_the_file_stands_in_for_a_quickhash)
{
    char before[80];
    open_tiny((const struct tiny_level[]) { { 1536, 1536 } },
              1); /* too large for OpenSlide's hash */
    cr_assert(!strncmp(slide.quickhash, "xxh3-", 5), "%s", slide.quickhash);
    cr_assert_eq(strlen(slide.quickhash), 5 + 32);
    strcpy(before, slide.quickhash);
    slide_release(&slide);

    FILE *file = fopen(path, "ab");
    fputc(1, file);
    fclose(file);
    cr_assert(slide_open(&slide, path, 0, &err), "%s", err.message);
    cr_assert_str_neq(slide.quickhash, before);
}
