/* Synthetic slides: OpenSlide and libtiff read back what was requested, and the bytes do not
 * depend on tiles or threads. */
#include <criterion/criterion.h>
#include <math.h>
#include <sys/types.h>
#include <tiffio.h>

#include "micromet/base/size.h"
#include "micromet/slide/manifest.h"
#include "micromet/slide/slide.h"
#include "micromet/synth/synth.h"
#include "synth/synth_scene.h"
#include "synth/tiff_pyramid.h"
#include "temporary.h"

TestSuite(synth, .init = temporary_begin, .fini = temporary_end);

static struct synth_options options_of(int64_t width, int64_t height, int levels)
{
    struct synth_options options = { SYNTH_DEFAULTS };
    options.width = width;
    options.height = height;
    options.levels = levels;
    options.threads = 2;
    return options;
}

static void write_or_fail(const struct synth_options *options, const char *name, const char *mask)
{
    struct error err = { 0 };
    bool ok = synth_write(options, temporary_path(name), mask ? temporary_path(mask) : NULL, &err);
    cr_assert(ok, "%s", err.message);
}

/* A whole level of a mask, read with libtiff; malloc'ed. */
static uint8_t *mask_level(const char *name, int level, uint32_t *width, uint32_t *height)
{
    uint32_t tile;
    TIFF *tiff = TIFFOpen(temporary_path(name), "r");
    cr_assert(tiff && TIFFSetDirectory(tiff, (tdir_t)level));
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, height);
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &tile);
    uint8_t *mask = malloc((size_t)*width * *height), *buffer = malloc((size_t)tile * tile);
    for (uint32_t y = 0; y < *height; y += tile)
        for (uint32_t x = 0; x < *width; x += tile) {
            cr_assert_eq(TIFFReadTile(tiff, buffer, x, y, 0, 0), (tmsize_t)tile * tile);
            uint32_t columns = *width - x < tile ? *width - x : tile;
            for (uint32_t j = 0; j < tile && y + j < *height; j++)
                memcpy(mask + (size_t)(y + j) * *width + x, buffer + (size_t)j * tile, columns);
        }
    free(buffer);
    TIFFClose(tiff);
    return mask;
}

static uint8_t *slide_level(const char *name, int level, int *width, int *height)
{
    struct error err = { 0 };
    struct slide slide;
    struct slide_cache *cache;
    cr_assert(slide_open(&slide, temporary_path(name), 0, &err), "%s", err.message);
    cr_assert(slide_cache_init(&cache, &slide, 1 << 24, &err), "%s", err.message);
    *width = (int)slide.levels[level].width;
    *height = (int)slide.levels[level].height;
    size_t stride = 3 * (size_t)*width;
    uint8_t *rgb = malloc(stride * (size_t)*height);
    cr_assert(slide_read(cache, level, 0, 0, *width, *height, rgb, stride, &err), "%s",
              err.message);
    slide_cache_release(cache);
    slide_release(&slide);
    return rgb;
}

static double grey(const uint8_t *rgb)
{
    return (0.2125 * rgb[0] + 0.7154 * rgb[1] + 0.0721 * rgb[2]) / 255;
}

Test(synth, openslide_reads_levels_and_mpp)
{
    struct synth_options options = options_of(1000, 777, 4);
    options.mpp = 0.243;
    write_or_fail(&options, "a.tif", "m.tif");
    static const int64_t sizes[4][2] = { { 1000, 777 }, { 500, 389 }, { 250, 195 }, { 125, 98 } };
    const char *const names[] = { "a.tif", "m.tif" };
    for (int n = 0; n < 2; n++) {
        struct error err = { 0 };
        struct slide slide;
        cr_assert(slide_open(&slide, temporary_path(names[n]), 0, &err), "%s", err.message);
        cr_assert_str_eq(slide.vendor, "generic-tiff");
        cr_assert_eq(slide.level_count, 4);
        for (int i = 0; i < 4; i++) {
            cr_assert_eq(slide.levels[i].width, sizes[i][0]);
            cr_assert_eq(slide.levels[i].height, sizes[i][1]);
        }
        cr_assert_float_eq(slide.mpp_x, 0.243, 1e-6);
        cr_assert_float_eq(slide.mpp_y, 0.243, 1e-6);
        slide_release(&slide);
    }
}

Test(synth, without_mpp_the_slide_says_none)
{
    struct error err = { 0 };
    struct slide slide;
    struct synth_options options = options_of(300, 200, 2);
    options.mpp = 0;
    write_or_fail(&options, "a.tif", NULL);
    cr_assert(slide_open(&slide, temporary_path("a.tif"), 0, &err), "%s", err.message);
    cr_assert_eq(slide.mpp_x, 0);
    slide_release(&slide);
}

Test(synth, mask_is_the_tumor_function_at_every_pixel)
{
    struct synth_options options = options_of(1000, 777, 3);
    struct synth_scene *scene = malloc(sizeof *scene);
    uint32_t width, height;
    int64_t tumor = 0;
    write_or_fail(&options, "a.tif", "m.tif");
    synth_scene_init(scene, &options);
    uint8_t *mask = mask_level("m.tif", 0, &width, &height);
    cr_assert_eq(width, 1000);
    cr_assert_eq(height, 777);
    for (int64_t y = 0; y < 777; y++)
        for (int64_t x = 0; x < 1000; x++) {
            int expected = synth_is_tumor(scene, x, y) ? 255 : 0;
            cr_assert_eq(mask[y * 1000 + x], expected, "at %d, %d", (int)x, (int)y);
            tumor += expected != 0;
        }
    cr_assert_gt(tumor, 777000 / 100);
    cr_assert_lt(tumor, 777000 / 4);
    free(mask);
    free(scene);
}

Test(synth, smaller_masks_keep_every_tumor_pixel)
{
    struct synth_options options = options_of(601, 350, 3);
    write_or_fail(&options, "a.tif", "m.tif");
    for (int level = 1; level < 3; level++) {
        uint32_t width, height, below_width, below_height;
        uint8_t *mask = mask_level("m.tif", level, &width, &height);
        uint8_t *below = mask_level("m.tif", level - 1, &below_width, &below_height);
        cr_assert_eq(width, (below_width + 1) / 2);
        for (uint32_t y = 0; y + 1 < below_height / 2; y++)
            for (uint32_t x = 0; x + 1 < below_width / 2; x++) {
                const uint8_t *four = below + 2 * (size_t)y * below_width + 2 * x;
                int any = four[0] | four[1] | four[below_width] | four[below_width + 1];
                cr_assert_eq(mask[(size_t)y * width + x], any);
            }
        free(mask);
        free(below);
    }
}

Test(synth, each_level_averages_the_one_above)
{
    struct synth_options options = options_of(700, 500, 3);
    options.quality = 100;
    write_or_fail(&options, "a.tif", NULL);
    int width, height, below_width, below_height;
    uint8_t *rgb = slide_level("a.tif", 1, &width, &height);
    uint8_t *below = slide_level("a.tif", 0, &below_width, &below_height);
    double sum = 0;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const uint8_t *four = below +
                                  3 * ((size_t)(2 * y) * (size_t)below_width + (size_t)(2 * x));
            size_t row = 3 * (size_t)below_width;
            double mean = (four[1] + four[4] + four[row + 1] + four[row + 4]) / 4.0;
            sum += fabs(mean - rgb[3 * ((size_t)y * (size_t)width + (size_t)x) + 1]);
        }
    cr_assert_lt(sum / (width * height), 1.5); /* grey levels lost to JPEG */
    free(rgb);
    free(below);
}

Test(synth, tumor_lies_in_tissue_and_tissue_has_its_share)
{
    struct synth_options options = options_of(3000, 2000, 3);
    uint32_t mask_width, mask_height;
    int width, height;
    options.tissue = 0.35;
    options.seed = 7;
    write_or_fail(&options, "a.tif", "m.tif");
    uint8_t *mask = mask_level("m.tif", 2, &mask_width, &mask_height);
    uint8_t *rgb = slide_level("a.tif", 2, &width, &height);
    cr_assert(mask_width == (uint32_t)width && mask_height == (uint32_t)height);
    double tumor = 0, dark = 0, tissue = 0;
    for (int i = 0; i < width * height; i++) {
        bool is_tissue = grey(rgb + 3 * i) <= 0.8;
        tissue += is_tissue;
        tumor += mask[i] != 0;
        dark += mask[i] != 0 && is_tissue;
    }
    cr_assert_gt(tumor, 0);
    cr_assert_gt(dark, 0.9 * tumor, "%g of %g tumour pixels are tissue", dark, tumor);
    cr_assert_float_eq(tissue / (width * height), 0.35, 0.06); /* holes of fat, the pen */
    free(mask);
    free(rgb);
}

Test(synth, same_options_give_the_same_bytes_with_any_threads)
{
    struct synth_options options = options_of(1500, 900, 4);
    size_t sizes[3];
    uint8_t *bytes[3], *masks[3];
    static const char *const slides[] = { "a.tif", "b.tif", "c.tif" };
    static const char *const names[] = { "am.tif", "bm.tif", "cm.tif" };
    for (int i = 0; i < 3; i++) {
        size_t mask_size;
        options.threads = i == 0 ? 1 : 3;
        options.seed = i == 2 ? 2 : 1;
        write_or_fail(&options, slides[i], names[i]);
        bytes[i] = temporary_read(slides[i], &sizes[i]);
        masks[i] = temporary_read(names[i], &mask_size);
        if (i == 1) cr_assert_arr_eq(masks[0], masks[1], mask_size);
    }
    cr_assert_eq(sizes[0], sizes[1]);
    cr_assert_arr_eq(bytes[0], bytes[1], sizes[0]);
    cr_assert(sizes[0] != sizes[2] || memcmp(bytes[0], bytes[2], sizes[0]) != 0);
    for (int i = 0; i < 3; i++) free(bytes[i]), free(masks[i]);
}

Test(synth, a_pixel_does_not_depend_on_its_tile)
{
    enum { LARGE = 512, SMALL = 64 };
    struct synth_options options = options_of(2048, 2048, 1);
    struct synth_scene *scene = malloc(sizeof *scene);
    struct synth_canvas *large = synth_canvas_new(LARGE), *small = synth_canvas_new(SMALL);
    uint8_t *whole = malloc(LARGE * LARGE * 3), *part = malloc(SMALL * SMALL * 3);
    synth_scene_init(scene, &options);
    synth_draw(scene, large, 1024, 512, whole);
    for (int y = LARGE - SMALL; y >= 0; y -= SMALL)
        for (int x = 0; x < LARGE; x += SMALL) {
            synth_draw(scene, small, 1024 + x, 512 + y, part);
            for (int j = 0; j < SMALL; j++)
                cr_assert_arr_eq(part + j * SMALL * 3, whole + ((y + j) * LARGE + x) * 3,
                                 SMALL * 3);
        }
    synth_canvas_free(large);
    synth_canvas_free(small);
    free(whole);
    free(part);
    free(scene);
}

Test(synth, regions_called_blank_are_drawn_as_background)
{
    enum { TILE = 64, SIDE = 4096 };
    struct synth_options options = options_of(SIDE, SIDE, 1);
    struct synth_scene *scene = malloc(sizeof *scene);
    struct synth_canvas *canvas = synth_canvas_new(TILE);
    uint8_t rgb[TILE * TILE * 3], mask[TILE * TILE];
    int blank = 0, no_tumor = 0;
    options.tissue = 0.05;
    for (options.seed = 1; options.seed <= 3; options.seed++) {
        synth_scene_init(scene, &options);
        for (int64_t y = 0; y < SIDE; y += 3 * TILE)
            for (int64_t x = 0; x < SIDE; x += 2 * TILE) {
                if (synth_no_tumor(scene, (double)x, (double)y, (double)x + TILE,
                                   (double)y + TILE)) {
                    synth_draw_mask(scene, canvas, x, y, mask);
                    for (int i = 0; i < TILE * TILE; i++) cr_assert_eq(mask[i], 0);
                    no_tumor++;
                }
                if (!synth_blank(scene, (double)x, (double)y, (double)x + TILE, (double)y + TILE))
                    continue;
                synth_draw(scene, canvas, x, y, rgb);
                for (int i = 0; i < TILE * TILE * 3; i++)
                    cr_assert_eq(rgb[i], scene->background[i % 3]);
                blank++;
            }
    }
    cr_assert_gt(blank, 100);
    cr_assert_gt(no_tumor, 100);
    synth_canvas_free(canvas);
    free(scene);
}

Test(synth, background_is_stored_once)
{
    struct synth_options options = options_of(16384, 16384, 7);
    size_t size;
    options.tissue = 0.001;
    write_or_fail(&options, "a.tif", "m.tif");
    free(temporary_read("a.tif", &size));
    cr_assert_lt(size, 2 << 20); /* 5,461 tiles of about a kilobyte each would not fit */
    TIFF *tiff = TIFFOpen(temporary_path("a.tif"), "r");
    cr_assert(tiff);
    cr_assert_eq(TIFFNumberOfTiles(tiff), 4096);
    cr_assert_eq(TIFFGetStrileOffset(tiff, 0), TIFFGetStrileOffset(tiff, 4095));
    TIFFClose(tiff);
}

Test(synth, normal_slide_has_an_empty_mask)
{
    struct synth_options options = options_of(500, 400, 2);
    uint32_t width, height;
    options.tumors = 0;
    write_or_fail(&options, "a.tif", "m.tif");
    uint8_t *mask = mask_level("m.tif", 0, &width, &height);
    for (size_t i = 0; i < (size_t)width * height; i++) cr_assert_eq(mask[i], 0);
    free(mask);
}

Test(synth, tiny_full_and_empty_slides_are_written)
{
    static const struct {
        int64_t width, height;
        int levels;
        double tissue;
    } cases[] = { { 1, 1, 1, 0.5 }, { 64, 3, 8, 1 }, { 300, 300, 3, 0 }, { 300, 300, 3, 1 } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int width, height;
        struct synth_options options = options_of(cases[i].width, cases[i].height, cases[i].levels);
        options.tissue = cases[i].tissue;
        write_or_fail(&options, "a.tif", "m.tif");
        uint8_t *rgb = slide_level("a.tif", 0, &width, &height);
        cr_assert_eq(width, cases[i].width);
        cr_assert_eq(height, cases[i].height);
        double bright = 0;
        for (int p = 0; p < width * height; p++) bright += grey(rgb + 3 * p) > 0.9;
        if (options.tissue == 0) cr_assert_eq(bright, width * height);
        if (options.tissue == 1) cr_assert_lt(bright, 0.5 * width * height);
        free(rgb);
    }
}

Test(synth, bad_options_are_refused_before_anything_is_written)
{
    static const struct {
        const char *words;
        int tile, levels, quality, tumors;
        double tissue;
    } cases[] = {
        { "tile is 100", 100, 1, 80, 1, 0.5 },           { "tile is 1024", 1024, 1, 80, 1, 0.5 },
        { "levels is 0", 256, 0, 80, 1, 0.5 },           { "quality is 101", 256, 1, 101, 1, 0.5 },
        { "tumors is 65", 256, 1, 80, 65, 0.5 },         { "tissue is 1.5", 256, 1, 80, 1, 1.5 },
        { "tissue is nan", 256, 1, 80, 1, (double)NAN },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct error err = { 0 };
        struct synth_options options = options_of(300, 300, cases[i].levels);
        options.tile = cases[i].tile;
        options.quality = cases[i].quality;
        options.tumors = cases[i].tumors;
        options.tissue = cases[i].tissue;
        cr_assert_not(synth_write(&options, temporary_path("a.tif"), NULL, &err));
        cr_assert_eq(err.code, EXIT_CODE_USAGE);
        cr_assert(strstr(err.message, cases[i].words), "%s", err.message);
    }
    cr_assert_eq(temporary_count(), 0);
}

Test(synth, unwritable_path_is_reported_and_leaves_nothing)
{
    struct error err = { 0 };
    struct synth_options options = options_of(300, 300, 1);
    cr_assert_not(synth_write(&options, temporary_path("missing/a.tif"), NULL, &err));
    cr_assert(strstr(err.message, "missing/a.tif"), "%s", err.message);
    cr_assert_eq(temporary_count(), 0);
}

/* TIFF directories after 5 GB of a sparse file, which only BigTIFF can address, and after none. */
Test(synth, files_over_4_gb_become_bigtiff)
{
    static const uint64_t positions[] = { 1 << 20, 5ull << 30 };
    for (int i = 0; i < 2; i++) {
        struct error err = { 0 };
        struct atomic_file file;
        uint64_t offsets[2] = { 16, positions[i] - 100 };
        uint32_t sizes[2] = { 7, 100 };
        struct tiff_pyramid pyramid = { .kind = TIFF_PYRAMID_MASK, .levels = 1, .tile = 64 };
        struct tiff_level level = { 128, 64, 2, 1, offsets, sizes };
        cr_assert(atomic_file_open(&file, temporary_path("a.tif"), &err), "%s", err.message);
        cr_assert_eq(fseeko(file.stream, (off_t)positions[i], SEEK_SET), 0);
        cr_assert(tiff_directories_write(&pyramid, &level, &file, positions[i], &err));
        cr_assert(atomic_file_commit(&file, &err), "%s", err.message);
        atomic_file_release(&file);

        TIFF *tiff = TIFFOpen(temporary_path("a.tif"), "r");
        cr_assert(tiff);
        uint16_t compression;
        TIFFGetField(tiff, TIFFTAG_COMPRESSION, &compression);
        cr_assert_eq(compression, COMPRESSION_ADOBE_DEFLATE);
        cr_assert_eq(TIFFIsBigTIFF(tiff), i == 1);
        cr_assert_eq(TIFFGetStrileOffset(tiff, 1), positions[i] - 100);
        cr_assert_eq(TIFFGetStrileByteCount(tiff, 1), 100);
        TIFFClose(tiff);
    }
}

Test(synth, command_writes_slides_and_a_manifest_with_all_splits)
{
    struct error err = { 0 };
    struct manifest manifest;
    char command[2 * PATH_MAX_BYTES];
    snprintf(
        command, sizeof command,
        "'%s' synth '%s' --tumor-slides 4 --normal-slides 2 --test 1 --validation 1 --width 300 "
        "--height 200 --levels 2 2>/dev/null",
        MICROMET_PROGRAM, temporary_path("out"));
    cr_assert_eq(system(command), 0);
    cr_assert(manifest_load(&manifest, temporary_path("out/slides.csv"), &err), "%s", err.message);
    static const struct {
        const char *name, *mask;
        int label;
        enum split split;
    } rows[] = {
        { "tumor_001.tif", "tumor_001_mask.tif", 1, SPLIT_TRAIN },
        { "tumor_002.tif", "tumor_002_mask.tif", 1, SPLIT_TRAIN },
        { "tumor_003.tif", "tumor_003_mask.tif", 1, SPLIT_VALIDATION },
        { "tumor_004.tif", "tumor_004_mask.tif", 1, SPLIT_TEST },
        { "normal_001.tif", "", 0, SPLIT_TRAIN },
        { "normal_002.tif", "", 0, SPLIT_TEST },
    };
    cr_assert_eq(manifest.count, 6);
    for (int i = 0; i < 6; i++) {
        cr_assert_str_eq(path_name(manifest.rows[i].slide), rows[i].name);
        cr_assert_str_eq(path_name(manifest.rows[i].annotation), rows[i].mask);
        cr_assert_eq(manifest.rows[i].label, rows[i].label);
        cr_assert_eq(manifest.rows[i].split, rows[i].split);
        cr_assert(file_exists(manifest.rows[i].slide));
        cr_assert(!rows[i].label || file_exists(manifest.rows[i].annotation));
    }
    manifest_release(&manifest);
}
