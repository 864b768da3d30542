/* Masks: every pixel, in all storage formats, against slow and simple algorithms;
 * and which files are refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "annotation_fixture.h"
#include "micromet/base/random.h"
#include "micromet/base/size.h"

TestSuite(annotation, .init = begin, .fini = end);

Test(annotation, no_path_means_no_tumor)
{
    uint8_t share[6] = { 9, 9, 9, 9, 9, 9 };
    *path = 0;
    open_for(100, 100);
    cr_assert_null(annotation);
    cr_assert_not(any(0, 0, 100, 100));
    cr_assert_eq(scan().count, 0);
    cr_assert_eq(facts.tumor_pixels, 0);
    cr_assert(annotation_draw(annotation, 3, 2, share, &err));
    for (int i = 0; i < 6; i++) cr_assert_eq(share[i], 0);
}

Test(annotation, one_pixel_is_found_wherever_it_is_and_nowhere_else)
{
    static const int dots[][2] = { { 0, 0 },    { 299, 199 }, { 63, 64 }, { 64, 63 },
                                   { 255, 10 }, { 256, 192 }, { 0, 199 } };
    for (size_t i = 0; i < COUNT_OF(dots); i++) {
        const double x = dots[i][0], y = dots[i][1];
        tiny_write(path, (const struct tiny_level[]) { { 300, 200 } }, 1, 1, tiny_dot, dots[i]);
        open_for(300, 200);
        const struct spans spans = scan();
        cr_assert_eq(spans.count, 1);
        cr_assert(!memcmp(spans.last, (double[]) { x, y, x + 1, y + 1 }, sizeof spans.last));
        cr_assert_eq(facts.tumor_pixels, 1);
        cr_assert(any(x, y, x + 1, y + 1));
        cr_assert(any(x + 0.9, y + 0.9, x + 50, y + 50));
        cr_assert(any(-1e9, -1e9, 1e9, 1e9));
        cr_assert_not(any(x + 1, 0, 1e9, 200));
        cr_assert_not(any(-1e9, 0, x, 200));
        cr_assert_not(any(0, y + 1, 300, 1e9));
        cr_assert_not(any(0, -1e9, 300, y));
        cr_assert_not(any(x + 0.5, y + 0.5, x + 0.5, y + 0.5), "an empty rectangle");
        annotation_release(annotation);
        annotation = NULL;
    }
}

Test(annotation, only_the_finest_level_counts)
{
    const int dot[] = { 10, 20 }; /* on each level; the file has the coarsest level first */
    tiny_write(path, (const struct tiny_level[]) { { 75, 50 }, { 300, 200 }, { 150, 100 } }, 3, 1,
               tiny_dot, dot);
    open_for(1200, 800);
    cr_assert_eq(facts.width, 300);
    const struct spans spans = scan();
    cr_assert_eq(spans.count, 1);
    cr_assert(!memcmp(spans.last, (double[]) { 40, 80, 44, 84 }, sizeof spans.last));
}

/* Random blots that share tile borders with empty tiles. */
static void blots(const void *context, int level, int x, int y, uint8_t *pixel)
{
    (void)context;
    *pixel = tiny_hash(level, x / 7, y / 5) % 13 == 0 && (x / 64 + y / 64) % 3 ? 1 : 0;
}

/* Whether the mask (width × height px of size² level-0 px) has tumour in the rectangle, by testing
 * all pixels. */
static bool slow_any(int width, int height, double size, const double r[4])
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint8_t value;
            blots(NULL, 0, x, y, &value);
            if (value && fmin(r[2], (x + 1) * size) - fmax(r[0], x * size) > 1e-6 &&
                fmin(r[3], (y + 1) * size) - fmax(r[1], y * size) > 1e-6)
                return true;
        }
    return false;
}

Test(annotation, masks_of_any_scale_answer_in_level_0_pixels)
{
    static const struct {
        int64_t width, height;
        double size; /* rounded down, to the nearest, and of a mask finer than the slide */
    } slides[] = { { 333, 233, 1 }, { 1000, 700, 3 }, { 1332, 932, 4 }, { 167, 117, 0.5 } };
    struct random random = random_init(2, 0, 0, RANDOM_TEST);
    tiny_write(path, (const struct tiny_level[]) { { 333, 233 } }, 1, 1, blots, NULL);
    for (size_t i = 0; i < COUNT_OF(slides); i++) {
        int found = 0;
        open_for(slides[i].width, slides[i].height);
        cr_assert_eq(facts.pixel_level0, slides[i].size);
        for (int round = 0; round < 300; round++) {
            double r[4];
            r[0] = (double)random_below(&random, (uint64_t)slides[i].width * 4) / 4 - 5;
            r[1] = (double)random_below(&random, (uint64_t)slides[i].height * 4) / 4 - 5;
            r[2] = r[0] + (double)random_below(&random, 80) / 4;
            r[3] = r[1] + (double)random_below(&random, 80) / 4;
            const bool expected = slow_any(333, 233, slides[i].size, r);
            found += expected;
            cr_assert_eq(any(r[0], r[1], r[2], r[3]), expected, "slide %zu: %g %g %g %g", i, r[0],
                         r[1], r[2], r[3]);
        }
        cr_assert(found > 20 && found < 280, "%d: the test must ask for both", found);
        cr_assert_float_eq(scan().area,
                           (double)facts.tumor_pixels * slides[i].size * slides[i].size, 1e-3);
        annotation_release(annotation);
        annotation = NULL;
    }
}

/* A way to store a mask. */
struct storage {
    const char *name;
    int bits, samples, compression, photometric, planar;
    bool tiled;
    int format; /* 0: unsigned */
};

static uint8_t stored_value(const struct storage *storage, int x, int y)
{
    uint8_t value;
    blots(NULL, 0, x, y, &value);
    return storage->photometric == PHOTOMETRIC_MINISWHITE ? !value : value;
}

/* Rows from y0 and `width` px from x0, packed as `storage` requires. */
static void pack_pixels_of(const struct storage *storage, int x0, int y0, int width, int height,
                           uint8_t *bytes)
{
    const int samples = storage->planar == PLANARCONFIG_SEPARATE ? 1 : storage->samples;
    const int stride = (width * samples * storage->bits + 7) / 8;
    memset(bytes, 0, (size_t)(stride * height));
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const uint8_t value = stored_value(storage, x0 + x, y0 + y);
            uint8_t *row = bytes + y * stride;
            if (storage->bits < 8)
                row[x * storage->bits / 8] |=
                    (uint8_t)(value << (8 - storage->bits - x * storage->bits % 8));
            else if (storage->format == SAMPLEFORMAT_IEEEFP)
                ((float *)row)[x * samples] = value;
            else if (storage->bits == 32)
                ((uint32_t *)row)[x * samples] = value;
            else if (storage->bits == 16)
                ((uint16_t *)row)[x * samples] = value ? 300 : 0;
            else
                row[x * samples] = value;
        }
}

static void write_stored(const struct storage *storage, int width, int height)
{
    static _Alignas(8) uint8_t bytes[400 * 300 * 8];
    const int side_x = storage->tiled ? 64 : width, side_y = storage->tiled ? 64 : 23;
    TIFF *tiff = TIFFOpen(path, "w");
    cr_assert(tiff);
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, width);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, height);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, storage->bits);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, storage->samples);
    TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, storage->planar);
    TIFFSetField(tiff, TIFFTAG_COMPRESSION, storage->compression);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, storage->photometric);
    if (storage->format) TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, storage->format);
    if (storage->tiled) {
        TIFFSetField(tiff, TIFFTAG_TILEWIDTH, side_x);
        TIFFSetField(tiff, TIFFTAG_TILELENGTH, side_y);
    } else {
        TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, side_y);
    }
    for (int sample = 0; sample < (storage->planar == PLANARCONFIG_SEPARATE ? storage->samples : 1);
         sample++)
        for (int y = 0; y < height; y += side_y)
            for (int x = 0; x < width; x += side_x) {
                pack_pixels_of(storage, x, y, side_x, side_y, bytes);
                const int rows = !storage->tiled && y + side_y > height ? height - y : side_y;
                const tmsize_t size = storage->tiled ? TIFFTileSize(tiff)
                                                     : TIFFVStripSize(tiff, (uint32_t)rows);
                const tmsize_t written =
                    storage->tiled
                        ? TIFFWriteEncodedTile(
                              tiff,
                              TIFFComputeTile(tiff, (uint32_t)x, (uint32_t)y, 0, (uint16_t)sample),
                              bytes, size)
                        : TIFFWriteEncodedStrip(
                              tiff, TIFFComputeStrip(tiff, (uint32_t)y, (uint16_t)sample), bytes,
                              size);
                cr_assert_eq(written, size, "%s", storage->name);
            }
    TIFFClose(tiff);
}

Test(annotation, masks_are_read_however_they_are_stored)
{
    static const struct storage storages[] = {
        { "tiles, deflate", 8, 1, COMPRESSION_ADOBE_DEFLATE, PHOTOMETRIC_MINISBLACK, 1,
          .tiled = true },
        { "tiles, LZW", 8, 1, COMPRESSION_LZW, PHOTOMETRIC_MINISBLACK, 1, .tiled = true },
        { "strips, deflate", 8, 1, COMPRESSION_ADOBE_DEFLATE, PHOTOMETRIC_MINISBLACK, 1,
          .tiled = false },
        { "strips, packed", 8, 1, COMPRESSION_PACKBITS, PHOTOMETRIC_MINISBLACK, 1, .tiled = false },
        { "strips, one bit", 1, 1, COMPRESSION_CCITTFAX4, PHOTOMETRIC_MINISWHITE, 1,
          .tiled = false },
        { "tiles, one bit", 1, 1, COMPRESSION_NONE, PHOTOMETRIC_MINISBLACK, 1, .tiled = true },
        { "tiles, 16 bits", 16, 1, COMPRESSION_NONE, PHOTOMETRIC_MINISBLACK, 1, .tiled = true },
        { "strips, RGB", 8, 3, COMPRESSION_LZW, PHOTOMETRIC_RGB, 1, .tiled = false },
        { "tiles, planes", 8, 3, COMPRESSION_NONE, PHOTOMETRIC_RGB, PLANARCONFIG_SEPARATE,
          .tiled = true },
        { "tiles, two bits", 2, 1, COMPRESSION_NONE, PHOTOMETRIC_MINISBLACK, 1, .tiled = true },
        { "strips, four bits", 4, 1, COMPRESSION_NONE, PHOTOMETRIC_MINISBLACK, 1, .tiled = false },
        { "strips, 32 bits", 32, 1, COMPRESSION_LZW, PHOTOMETRIC_MINISBLACK, 1, .tiled = false },
        { "signed bytes", 8, 1, COMPRESSION_NONE, PHOTOMETRIC_MINISBLACK, 1, .tiled = true,
          .format = SAMPLEFORMAT_INT },
        { "signed words", 16, 1, COMPRESSION_NONE, PHOTOMETRIC_MINISBLACK, 1, .tiled = true,
          .format = SAMPLEFORMAT_INT },
        { "whole floats", 32, 1, COMPRESSION_NONE, PHOTOMETRIC_MINISBLACK, 1, .tiled = true,
          .format = SAMPLEFORMAT_IEEEFP },
    };
    for (size_t i = 0; i < COUNT_OF(storages); i++) {
        int wrong = 0;
        write_stored(&storages[i], 333, 233);
        open_for(333, 233);
        for (int y = 0; y < 233; y++)
            for (int x = 0; x < 333; x++) {
                uint8_t value;
                blots(NULL, 0, x, y, &value);
                wrong += any(x, y, x + 1, y + 1) != value;
            }
        cr_assert_eq(wrong, 0, "%s: %d pixels are wrong", storages[i].name, wrong);
        cr_assert_eq(facts.value_count, 2, "%s", storages[i].name);
        cr_assert_eq(facts.values[0], 0, "%s", storages[i].name);
        annotation_release(annotation);
        annotation = NULL;
    }
}

Test(annotation, inverted_gray_masks_mean_what_they_look_like)
{
    const struct storage storage = {
        "inverted", 8, 1, COMPRESSION_NONE, PHOTOMETRIC_MINISWHITE, 1, .tiled = true,
    };
    write_stored(&storage, 100, 80); /* 1 and 0: nearly white and white */
    refuses(100, 80, "several values besides 0: 254 (");
    data = NULL;
    open_for(100, 80);
    cr_assert_eq(facts.values[0], 254);
    cr_assert_eq(facts.values[1], 255);
}

Test(annotation, a_missing_tile_is_not_tumor)
{
    uint8_t tile[64 * 64];
    TIFF *tiff = TIFFOpen(path, "w");
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, 128);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, 64);
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, 64);
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, 64);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 1);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
    memset(tile, 255, sizeof tile);
    cr_assert(TIFFWriteEncodedTile(tiff, 1, tile, sizeof tile) > 0);
    TIFFClose(tiff);
    open_for(128, 64);
    cr_assert_eq(facts.tumor_pixels, 64 * 64);
    cr_assert_not(any(0, 0, 64, 64));
    cr_assert(any(64, 0, 65, 1));
}

static void seven(const void *context, int level, int x, int y, uint8_t *pixel)
{
    (void)context, (void)level;
    *pixel = (uint8_t)((x + 10 * y) % 12);
}

Test(annotation, odd_values_are_counted)
{
    tiny_write(path, (const struct tiny_level[]) { { 120, 100 } }, 1, 1, seven, NULL);
    data = NULL;
    open_for(120, 100);
    cr_assert_eq(facts.value_count, 12);
    for (int i = 0; i < 8; i++) cr_assert_eq(facts.values[i], i);
    cr_assert_eq(facts.tumor_pixels, 120 * 100 / 12 * 11);
}

Test(annotation, another_aspect_ratio_is_refused)
{
    const int dot[] = { 0, 0 };
    tiny_write(path, (const struct tiny_level[]) { { 300, 200 } }, 1, 1, tiny_dot, dot);
    refuses(200, 300, "aspect ratio");
    refuses(1200, 820, "aspect ratio");
    refuses(1240, 800, "aspect ratio");
    open_for(1200, 807); /* within 1 % */
    annotation_release(annotation);
    annotation = NULL;

    tiny_write(path, (const struct tiny_level[]) { { 10, 7 } }, 1, 1, tiny_dot, dot);
    open_for(1000, 780); /* 7.8 px cut to 7: within one pixel */
    annotation_release(annotation);
    annotation = NULL;
    refuses(1000, 900, "aspect ratio");
}

Test(annotation, damaged_and_foreign_masks_are_refused)
{
    const int dot[] = { 0, 0 };
    char *bytes;
    size_t size;
    tiny_write(path, (const struct tiny_level[]) { { 300, 200 } }, 1, 1, tiny_dot, dot);
    cr_assert(file_read(path, 1 << 24, &bytes, &size, &err));
    cr_assert(file_write_atomic(path, bytes, size / 2, &err));
    free(bytes);
    refuses(300, 200, "truncated");
    test_write(path, folder, "mask.tif", "not a picture");
    refuses(300, 200, "neither a picture, XML nor JSON");
    test_write(path, folder, "mask.tif", "II*");
    refuses(300, 200, "neither a picture, XML nor JSON");
    test_write(path, folder, "mask.tif", "");
    refuses(300, 200, "is empty");
    test_path(path, folder, "absent.tif");
    refuses(300, 200, "No such file");
}

Test(annotation, real_masks_agree_with_what_tifffile_counts)
{
    static const struct {
        const char *name;
        int64_t tumor_pixels;
    } masks[] = { { "pcam-mosaic/train_01_mask.tif", 950272 },
                  { "pcam-mosaic/validation_01_mask.tif", 974848 } };
    for (size_t i = 0; i < 2; i++) {
        if (!test_shared_data(path, masks[i].name)) cr_skip("no %s", masks[i].name);
        open_for(4608, 4608);
        cr_assert_eq(facts.width, 4608);
        cr_assert_eq(facts.value_count, 2);
        cr_assert_eq(facts.values[1], 255);
        cr_assert_eq(facts.tumor_pixels, masks[i].tumor_pixels);
        cr_assert_eq(scan().area, (double)masks[i].tumor_pixels);
        int cells = 0; /* tumour fills the central 64 of 192 px, or none of them */
        for (int y = 0; y < 24; y++)
            for (int x = 0; x < 24; x++) {
                const double left = 192.0 * x + 64, top = 192.0 * y + 64;
                const bool tumor = any(left + 63, top + 63, left + 64, top + 64);
                cr_assert_eq(any(left, top, left + 1, top + 1), tumor);
                cr_assert_not(any(left - 64, top - 64, left, top + 128));
                cells += tumor;
            }
        cr_assert_eq(cells * 64 * 64, masks[i].tumor_pixels);
        annotation_release(annotation);
        annotation = NULL;
    }
}

static void quarter(const void *context, int level, int x, int y, uint8_t *pixel)
{
    (void)context, (void)level;
    *pixel = x < 30 && y < 20 ? 255 : 0;
}

Test(annotation, drawing_gives_the_covered_share_of_each_pixel)
{
    uint8_t share[7 * 5];
    tiny_write(path, (const struct tiny_level[]) { { 70, 50 } }, 1, 1, quarter, NULL);
    open_for(140, 100);
    cr_assert(annotation_draw(annotation, 7, 5, share, &err));
    for (int i = 0; i < 35; i++) cr_assert_eq(share[i], i % 7 < 3 && i / 7 < 2 ? 255 : 0, "%d", i);

    cr_assert(
        annotation_draw(annotation, 4, 1, share, &err)); /* cells of 17.5×50: 17.5, 12.5, 0, 0 */
    cr_assert_eq(share[0], (int)(255 * 20.0 / 50 + 0.5));
    cr_assert_eq(share[1], (int)(255 * 20.0 / 50 * 12.5 / 17.5 + 0.5));
    cr_assert_eq(share[2], 0);
}

Test(annotation, drawing_loses_no_tumor_however_small)
{
    const int dot[] = { 299, 199 };
    uint8_t share[2];
    tiny_write(path, (const struct tiny_level[]) { { 300, 200 } }, 1, 1, tiny_dot, dot);
    open_for(300, 200);
    cr_assert(annotation_draw(annotation, 2, 1, share, &err));
    cr_assert_eq(share[0], 0);
    cr_assert_eq(share[1], 1);
}
