/* Masks: at which scale they lie on the slide, which of their values are tumour, and which kinds of
 * pixels are read. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "annotation_fixture.h"
#include "micromet/base/size.h"

TestSuite(mask, .init = begin, .fini = end);

/* --- Scale ------------------------------------------------------------------------------------ */

static void write_mask(int width, int height)
{
    const int dot[] = { 0, 0 };
    tiny_write(path, (const struct tiny_level[]) { { width, height } }, 1, 1, tiny_dot, dot);
}

Test(mask, a_masks_scale_is_what_explains_its_size)
{
    static const struct {
        int64_t slide[2];
        int mask[2]; /* in tiles of 64 px */
        double pixel_level0;
    } cases[] = {
        { { 3000, 2000 }, { 3000, 2000 }, 1 },
        { { 3000, 2000 }, { 93, 62 }, 32 }, /* rounded down */
        { { 3000, 2000 }, { 94, 63 }, 32 }, /* rounded up */
        { { 3000, 2000 }, { 3, 2 }, 1000 },
        { { 3056, 6144 }, { 384, 768 }, 8 }, /* 382 × 768 px, padded to tiles */
        { { 6144, 3056 }, { 768, 384 }, 8 },
        { { 1000, 700 }, { 1024, 704 }, 1 },
        { { 3000, 2000 }, { 3072, 2048 }, 1 }, /* 2.4 % more in both */
        { { 3000, 2000 }, { 3024, 2024 }, 1 },
        { { 1200, 807 }, { 300, 200 }, 4 },           /* cut short by a row and a bit */
        { { 1000, 600 }, { 150, 90 }, 1000.0 / 150 }, /* shrunk to 150 px */
        { { 500, 300 }, { 1000, 600 }, 0.5 },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        write_mask(cases[i].mask[0], cases[i].mask[1]);
        open_for(cases[i].slide[0], cases[i].slide[1]);
        cr_assert_float_eq(facts.pixel_level0, cases[i].pixel_level0, 1e-9, "%zu: %g", i,
                           facts.pixel_level0);
        close_it();
    }
}

static void right_edge(const void *context, int level, int x, int y, uint8_t *pixel)
{
    (void)context, (void)level;
    *pixel = x >= 380 && x < 382 && y == 767 ? 255 : 0;
}

Test(mask, a_padded_mask_lies_at_the_slides_corner)
{
    tiny_write(path, (const struct tiny_level[]) { { 384, 768 } }, 1, 1, right_edge, NULL);
    open_for(3056, 6144);
    const struct spans spans = scan();
    cr_assert_eq(spans.count, 1);
    cr_assert(!memcmp(spans.last, (double[]) { 3040, 6136, 3056, 6144 }, sizeof spans.last));
    close_it();
    tiny_write(path, (const struct tiny_level[]) { { 384, 768 } }, 1, 1, tiny_dot,
               (const int[]) { 383, 0 });
    refuses(3056, 6144, "wholly outside the slide");
}

static void set_resolution(double um_per_px)
{
    TIFF *tiff = TIFFOpen(path, "r+");
    TIFFSetField(tiff, TIFFTAG_RESOLUTIONUNIT, RESUNIT_CENTIMETER);
    TIFFSetField(tiff, TIFFTAG_XRESOLUTION, 1e4 / um_per_px);
    cr_assert(TIFFRewriteDirectory(tiff));
    TIFFClose(tiff);
}

Test(mask, a_scale_in_doubt_is_refused_unless_resolution_tags_tell)
{
    slide.mpp_x = slide.mpp_y = 0.25;
    write_mask(256, 256); /* 250 px, padded; or shrunk to 256 px */
    refuses(1000, 1000, "may be 4 or 3.90625 times smaller");
    downsample = 4;
    open_for(1000, 1000);
    cr_assert_eq(facts.pixel_level0, 4);
    close_it();
    downsample = 3;
    refuses(1000, 1000, "said to be 3 times smaller than the slide of 1000 x 1000 px");
    downsample = 0;
    set_resolution(1);
    open_for(1000, 1000);
    cr_assert_eq(facts.pixel_level0, 4);
    close_it();
    set_resolution(0.25 * 1000 / 256);
    open_for(1000, 1000);
    cr_assert_eq(facts.pixel_level0, 1000.0 / 256);
    close_it();
    write_mask(64, 64); /* one tile */
    refuses(300, 300, "may be 8 or 16 times smaller");
    set_resolution(25400.0 / 72); /* a program's default */
    refuses(300, 300, "may be 8 or 16 times smaller");
}

Test(mask, much_padding_leaves_the_scale_in_doubt)
{
    static const struct {
        int64_t slide[2];
        int mask[2]; /* in tiles of 64 px */
        const char *says;
    } cases[] = {
        { { 4099, 2987 }, { 256, 192 }, "may be 16 or 17 times" }, /* as 20 times smaller, too */
        { { 6000, 2900 }, { 256, 128 }, "may be 24 or 25 times" },
        { { 3000, 1000 }, { 256, 100 }, "has not the aspect ratio" }, /* squashed, not padded */
        { { 3040, 2010 }, { 192, 128 }, NULL },                       /* 190 × 126 px */
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        write_mask(cases[i].mask[0], cases[i].mask[1]);
        if (cases[i].says) {
            refuses(cases[i].slide[0], cases[i].slide[1], cases[i].says);
            continue;
        }
        open_for(cases[i].slide[0], cases[i].slide[1]);
        cr_assert_eq(facts.pixel_level0, 16);
        close_it();
    }
}

Test(mask, a_mask_of_a_levels_size_has_its_downsample)
{
    slide.level_count = 2;
    slide.levels[1] = (struct slide_level) { .width = 249, .height = 174, .downsample = 4.02 };
    write_mask(249, 174);
    open_for(1000, 700);
    cr_assert_eq(facts.pixel_level0, 4.02);
}

/* --- Values ----------------------------------------------------------------------------------- */

/* 10 columns each of 1 and 2, then 0. */
static void one_two(const void *context, int level, int x, int y, uint8_t *pixel)
{
    (void)context, (void)level, (void)y;
    *pixel = x < 10 ? 1 : x < 20 ? 2 : 0;
}

static void say_values(int count, const int *values)
{
    config.data.mask_value_count = count;
    memcpy(config.data.mask_values, values, (size_t)count * sizeof *values);
}

Test(mask, mask_values_say_what_is_tumor)
{
    char why[ANNOTATION_TEXT_MAX];
    tiny_write(path, (const struct tiny_level[]) { { 100, 50 } }, 1, 1, one_two, NULL);
    refuses(100, 50,
            "several values besides 0: 0 (80 %), 1 (10 %), 2 (10 %); say which are tumor "
            "with data.mask_values, such as [1]");
    say_values(1, (const int[]) { 2 });
    open_for(100, 50);
    cr_assert_eq(facts.tumor_pixels, 500);
    cr_assert_not(any(0, 0, 10, 50));
    cr_assert(any(10, 0, 11, 1));
    close_it();
    say_values(2, (const int[]) { 2, 1 });
    open_for(100, 50);
    cr_assert_eq(facts.tumor_pixels, 1000);
    close_it();
    say_values(1, (const int[]) { 255 });
    open_for(100, 50);
    cr_assert_eq(facts.tumor_pixels, 0);
    annotation_say_empty(annotation, why);
    cr_assert_str_eq(why, "none of data.mask_values is in its mask: 0 (80 %), 1 (10 %), 2 (10 %)");
    close_it();
    data = NULL;
    open_for(100, 50);
    cr_assert_eq(facts.tumor_pixels, 1000);
}

Test(mask, coverage_of_tissue_gives_rise_to_doubt)
{
    cr_assert_null(annotation_doubt(0.9, 0.4));
    cr_assert_null(annotation_doubt(0.9, (double)NAN));
    cr_assert(strstr(annotation_doubt(0.1, 0.1), "less than half"));
    cr_assert(strstr(annotation_doubt(1, 0.95), "90 %"));
}

/* --- Kinds of pixels -------------------------------------------------------------------------- */

/* A mask of 4 × 1 px in one strip; `samples` of a pixel beyond its colours are alpha. */
struct small {
    const char *name;
    int bits, samples, photometric, format, orientation, pages;
    const void *pixels;
    int64_t tumor_pixels; /* -1: refused, as `says` */
    const char *says;
};

static void write_small(const struct small *small)
{
    const uint16_t alpha = EXTRASAMPLE_UNASSALPHA;
    const int colors = small->photometric == PHOTOMETRIC_RGB ? 3 : 1;
    TIFF *tiff = TIFFOpen(path, "w");
    for (int page = 0; page < 1 + small->pages; page++) {
        TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, 4);
        TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, 1);
        TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, small->bits);
        TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, small->samples);
        if (small->samples > colors) TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, 1, &alpha);
        TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, small->photometric);
        if (small->format) TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, small->format);
        if (small->orientation) TIFFSetField(tiff, TIFFTAG_ORIENTATION, small->orientation);
        const tmsize_t size = TIFFStripSize(tiff);
        uint8_t bytes[64];
        memcpy(bytes, small->pixels, (size_t)size);
        cr_assert_eq(TIFFWriteEncodedStrip(tiff, 0, bytes, size), size, "%s", small->name);
        cr_assert(TIFFWriteDirectory(tiff));
    }
    TIFFClose(tiff);
}

#define BYTES(...)  ((const uint8_t[]) { __VA_ARGS__ })
#define WORDS(...)  ((const uint16_t[]) { __VA_ARGS__ })
#define FLOATS(...) ((const float[]) { __VA_ARGS__ })

Test(mask, colors_alpha_and_other_samples_are_read_right_or_refused)
{
    enum { GRAY = PHOTOMETRIC_MINISBLACK, WHITE = PHOTOMETRIC_MINISWHITE, RGB = PHOTOMETRIC_RGB };
    const struct small smalls[] = {
        { "gray as RGB", 8, 3, RGB, .pixels = BYTES(0, 0, 0, 9, 9, 9, 9, 9, 9, 0, 0, 0), 2 },
        { "green", 8, 3, RGB, .pixels = BYTES(0, 0, 0, 0, 255, 0, 0, 255, 0, 0, 0, 0), 2 },
        { "dark red", 8, 3, RGB, .pixels = BYTES(80, 0, 0, 0, 0, 0, 80, 0, 0, 80, 0, 0), 3 },
        { "red and green", 8, 3, RGB, .pixels = BYTES(0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 0), -1,
          "several colours" },
        { "red on white", 8, 3, RGB,
          .pixels = BYTES(255, 255, 255, 255, 0, 0, 255, 255, 255, 255, 255, 255), -1,
          "several colours" },
        { "opaque", 8, 4, RGB,
          .pixels = BYTES(0, 0, 0, 255, 1, 1, 1, 255, 0, 0, 0, 255, 1, 1, 1, 255), 2 },
        { "alpha alone", 8, 4, RGB,
          .pixels = BYTES(0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 0), -1, "sample 4" },
        { "alpha as gray", 8, 2, GRAY, .pixels = BYTES(0, 0, 255, 255, 0, 0, 255, 255), 2 },
        { "256 in 16 bits", 16, 1, GRAY, .pixels = WORDS(0, 256, 256, 0), 2 },
        { "white is 0", 8, 1, WHITE, .pixels = BYTES(255, 0, 255, 255), 1 },
        { "white is 0, bits", 1, 1, WHITE, .pixels = BYTES(0xb0), -1, "do not agree" },
        { "bits", 1, 1, GRAY, .pixels = BYTES(0x40), 1 },
        { "a negative number", 16, 1, GRAY, .format = SAMPLEFORMAT_INT,
          .pixels = WORDS(0, 0xffff, 0, 0), -1, "the value -1" },
        { "a share", 32, 1, GRAY, .format = SAMPLEFORMAT_IEEEFP, .pixels = FLOATS(0, 0.5f, 1, 0),
          -1, "the value 0.5" },
        { "no number", 32, 1, GRAY, .format = SAMPLEFORMAT_IEEEFP, .pixels = FLOATS(0, NAN, 1, 0),
          -1, "whole numbers" },
        { "70000", 32, 1, GRAY, .pixels = ((const uint32_t[]) { 0, 70000, 0, 0 }), -1,
          "the value 70000" },
        { "CMYK", 8, 4, PHOTOMETRIC_SEPARATED, .pixels = BYTES(0, 0, 0, 0, 1, 1, 1, 1), -1,
          "CMYK" },
        { "mirrored", 8, 1, GRAY, .orientation = ORIENTATION_TOPRIGHT, .pixels = BYTES(0, 1, 1, 1),
          -1, "Orientation (2)" },
        { "two pages", 8, 1, GRAY, .pages = 1, .pixels = BYTES(0, 1, 1, 1), -1,
          "2 images of 4 x 1 px" },
    };
    for (size_t i = 0; i < COUNT_OF(smalls); i++) {
        write_small(&smalls[i]);
        if (smalls[i].tumor_pixels < 0) {
            refuses(4, 1, smalls[i].says);
            continue;
        }
        open_for(4, 1);
        cr_assert_eq(facts.tumor_pixels, smalls[i].tumor_pixels, "%s", smalls[i].name);
        close_it();
    }
}

Test(mask, other_files_are_told_by_their_content)
{
    static const struct {
        const char *content, *what;
    } files[] = {
        { "\x89PNG\r\n\x1a\n", "cannot be read as PNG" },
        { "\xff\xd8\xff\xe0", "is a JPEG" },
        { "\x93NUMPY\1", "is a NumPy array" },
        { "\x1f\x8b\b", "cannot be unpacked" },
        { "{}", "JSON, but not GeoJSON" },
    };
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        test_write(path, folder, "mask.tif", files[i].content);
        refuses(4, 1, files[i].what);
    }
    snprintf(path, sizeof path, "%s", folder);
    refuses(4, 1, "is a folder");
}
