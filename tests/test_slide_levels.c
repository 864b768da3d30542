/* Levels of TIFFs: the right pixels of every page that OpenSlide would misread, the true scale of
 * padded ones, and pages that are no levels. */
#include "micromet/slide/slide.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>

#include "micromet/base/size.h"
#include "slide_fixture.h"

enum { TILE = 64, WIDTH = 13 * TILE, HEIGHT = 11 * TILE, TAG_UNKNOWN = 65000 };

TestSuite(slide_levels, .init = begin, .fini = end);

/* What a page shows; 0 in the fields of tags stands for the usual value. */
struct page {
    int width, height;          /* of the picture; the page is larger if it is padded */
    double shrunk, shrunk_down; /* level-0 px a pixel; down: 0 = as across */
    int kind;                   /* of picture: another scene for each number */
    int shift;                  /* px to the right */
    int padded_width, padded_height;
    int compression, photometric, bits, format, planar, orientation, samples, extra;
    bool missing[64]; /* tiles that are left out */
    bool unknown_tag;
};

/* A scene with structures of some hundred level-0 px. */
static void scene(int kind, double x, double y, uint8_t rgb[3])
{
    rgb[0] = (uint8_t)(128 + 100 * sin(x / (90 + 37 * kind) + kind) * cos(y / 70));
    rgb[1] = (uint8_t)(120 + 90 * cos(x / 160 - y / (110 + 23 * kind)));
    rgb[2] = (uint8_t)(140 + 80 * sin(y / (60 + 11 * kind) + x / 300));
}

static void picture(const struct page *page, int x, int y, uint8_t rgb[3])
{
    const double across = page->shrunk > 0 ? page->shrunk : 1;
    const double down = page->shrunk_down > 0 ? page->shrunk_down : across;
    const bool padding = x >= page->width || y >= page->height;
    scene(page->kind, (x - page->shift + 0.5) * across, (y + 0.5) * down, rgb);
    /* A sharp edge would blur the pixels beside it in JPEG. */
    if (padding && page->compression != COMPRESSION_JPEG) memset(rgb, 255, 3);
}

static int or_usual(int value, int usual)
{
    return value ? value : usual;
}

static int page_width(const struct page *page)
{
    return or_usual(page->padded_width, page->width);
}

static int page_height(const struct page *page)
{
    return or_usual(page->padded_height, page->height);
}

static void set_tags(TIFF *tiff, const struct page *page, bool reduced)
{
    static const TIFFFieldInfo unknown = { TAG_UNKNOWN,  1,    1,     TIFF_SHORT,
                                           FIELD_CUSTOM, true, false, "Unknown" };
    const uint16_t extra = (uint16_t)page->extra;
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, page_width(page));
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, page_height(page));
    TIFFSetField(tiff, TIFFTAG_SUBFILETYPE, reduced ? FILETYPE_REDUCEDIMAGE : 0);
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, TILE);
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, TILE);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, or_usual(page->bits, 8));
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, or_usual(page->samples, 3));
    TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, or_usual(page->planar, PLANARCONFIG_CONTIG));
    TIFFSetField(tiff, TIFFTAG_COMPRESSION, or_usual(page->compression, COMPRESSION_NONE));
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, page->photometric);
    if (page->photometric == PHOTOMETRIC_YCBCR)
        TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    if (page->format) TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, page->format);
    if (page->orientation) TIFFSetField(tiff, TIFFTAG_ORIENTATION, page->orientation);
    if (page->samples > 3) TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, 1, &extra);
    if (!page->unknown_tag) return;
    TIFFMergeFieldInfo(tiff, &unknown, 1);
    TIFFSetField(tiff, TAG_UNKNOWN, 1);
}

/* The samples of one pixel as the page's tags say, in up to 8 bytes; alpha is 255. */
static size_t encode(const struct page *page, const uint8_t rgb[3], uint8_t *samples)
{
    const int count = or_usual(page->samples, 3), bytes = or_usual(page->bits, 8) / 8;
    for (int i = 0; i < count; i++) {
        uint8_t value = i < 3 ? rgb[i] : 255;
        if (page->photometric == PHOTOMETRIC_MINISWHITE) value = (uint8_t)(255 - value);
        for (int b = 0; b < bytes; b++) *samples++ = value; /* 257 times the value in 16 bits */
    }
    return (size_t)(count * bytes);
}

static void write_tile(TIFF *tiff, const struct page *page, uint32_t tile, int x0, int y0)
{
    static uint8_t samples[TILE * TILE * 16];
    const bool planes = page->planar == PLANARCONFIG_SEPARATE;
    uint8_t *next = samples;
    for (int plane = 0; plane < (planes ? 3 : 1); plane++) {
        for (int i = 0; i < TILE * TILE; i++) {
            uint8_t rgb[3], pixel[16];
            picture(page, x0 + i % TILE, y0 + i / TILE, rgb);
            const size_t bytes = encode(page, rgb, pixel);
            memcpy(next, planes ? pixel + plane : pixel, planes ? 1 : bytes);
            next += planes ? 1 : bytes;
        }
        const uint32_t index = tile + (uint32_t)plane * TIFFNumberOfTiles(tiff) / 3;
        cr_assert(TIFFWriteEncodedTile(tiff, index, samples, next - samples) >= 0);
        next = samples;
    }
}

static void write_pages(const struct page *pages, int count)
{
    TIFF *tiff = TIFFOpen(path, "w");
    cr_assert(tiff);
    for (int i = 0; i < count; i++) {
        uint32_t tile = 0;
        set_tags(tiff, &pages[i], i > 0);
        for (int y = 0; y < page_height(&pages[i]); y += TILE)
            for (int x = 0; x < page_width(&pages[i]); x += TILE, tile++)
                if (tile >= COUNT_OF(pages[i].missing) || !pages[i].missing[tile])
                    write_tile(tiff, &pages[i], tile, x, y);
        cr_assert(TIFFWriteDirectory(tiff));
    }
    TIFFClose(tiff);
}

static void open_pages(const struct page *pages, int count)
{
    write_pages(pages, count);
    cr_assert(slide_open(&slide, path, 0, &err), "%s", err.message);
}

static void refuses(const struct page *pages, int count, const char *what)
{
    write_pages(pages, count);
    err = (struct error) { 0 };
    cr_assert_not(slide_open(&slide, path, 0, &err), "%s is accepted", what);
    cr_assert_eq(err.code, EXIT_CODE_FAILED);
    cr_assert(!strncmp(err.message, path, strlen(path)), "%s", err.message);
    cr_assert(strstr(err.message, what), "%s, which does not say: %s", err.message, what);
}

static uint8_t *read_level(int index)
{
    const struct slide_level *level = &slide.levels[index];
    const size_t row_bytes = 3 * (size_t)level->width;
    uint8_t *rgb = malloc(row_bytes * (size_t)level->height);
    struct slide_cache *cache;
    cr_assert(slide_cache_init(&cache, &slide, 1 << 20, &err), "%s", err.message);
    cr_assert(
        slide_read(cache, index, 0, 0, (int)level->width, (int)level->height, rgb, row_bytes, &err),
        "%s", err.message);
    slide_cache_release(cache);
    return rgb;
}

/* Whether the pixel lies in a tile that was left out. */
static bool is_missing(const struct page *page, int x, int y)
{
    const int tile = y / TILE * CEIL_DIV(page_width(page), TILE) + x / TILE;
    return tile < (int)COUNT_OF(page->missing) && page->missing[tile];
}

/* Compare each pixel of a level with the page's picture; gray: its first sample is all there is. */
static void shows(int index, const struct page *page, int tolerance)
{
    uint8_t *rgb = read_level(index), *pixel = rgb;
    const struct slide_level *level = &slide.levels[index];
    int wrong = 0;
    cr_assert_eq(level->width, page->width);
    cr_assert_eq(level->height, page->height);
    for (int y = 0; y < page->height; y++)
        for (int x = 0; x < page->width; x++, pixel += 3) {
            uint8_t expected[3];
            picture(page, x, y, expected);
            if (page->samples == 1) expected[1] = expected[2] = expected[0];
            if (is_missing(page, x, y)) memset(expected, 255, 3);
            for (int c = 0; c < 3; c++) wrong += abs(pixel[c] - expected[c]) > tolerance;
        }
    cr_assert_eq(wrong, 0, "level %d: %d samples are wrong", index, wrong);
    free(rgb);
}

/* --- Pixels ----------------------------------------------------------------------------------- */

Test(slide_levels, pages_lower_or_narrower_than_a_tile_show_their_own_pixels)
{
    static const int sizes[][2] = {
        { 40, 200 }, { 200, 40 }, { 40, 30 }, { 200, 150 }, { 64, 64 }
    };
    static const int compressions[] = { COMPRESSION_NONE, COMPRESSION_LZW,
                                        COMPRESSION_ADOBE_DEFLATE };
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (size_t k = 0; k < COUNT_OF(compressions); k++) {
            const struct page page = { .width = sizes[i][0],
                                       .height = sizes[i][1],
                                       .photometric = PHOTOMETRIC_RGB,
                                       .compression = compressions[k] };
            open_pages(&page, 1);
            shows(0, &page, 0);
            slide_release(&slide);
        }
}

Test(slide_levels, pixels_of_all_kinds_that_are_read_are_right)
{
    const struct page kinds[] = {
        { .photometric = PHOTOMETRIC_RGB, .bits = 16 },
        { .photometric = PHOTOMETRIC_RGB, .planar = PLANARCONFIG_SEPARATE },
        { .photometric = PHOTOMETRIC_RGB, .samples = 4, .extra = EXTRASAMPLE_UNASSALPHA },
        { .photometric = PHOTOMETRIC_RGB, .samples = 4, .extra = EXTRASAMPLE_ASSOCALPHA },
        { .photometric = PHOTOMETRIC_RGB, .orientation = ORIENTATION_TOPLEFT },
        { .photometric = PHOTOMETRIC_MINISBLACK, .samples = 1 },
        { .photometric = PHOTOMETRIC_MINISWHITE, .samples = 1 },
    };
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        for (int size = 50; size <= 150; size += 100) {
            struct page page = kinds[i];
            page.width = size, page.height = size + 7;
            open_pages(&page, 1);
            shows(0, &page, 0);
            slide_release(&slide);
        }
}

Test(slide_levels, tags_that_nobody_reads_right_are_refused_by_name)
{
    static const struct {
        struct page page;
        const char *what;
    } cases[] = {
        { { .photometric = PHOTOMETRIC_RGB, .orientation = ORIENTATION_RIGHTTOP },
          "the tag Orientation is 6" },
        { { .photometric = PHOTOMETRIC_YCBCR,
            .compression = COMPRESSION_JPEG,
            .orientation = ORIENTATION_BOTRIGHT },
          "the tag Orientation is 3" },
        { { .photometric = PHOTOMETRIC_RGB, .bits = 32, .format = SAMPLEFORMAT_IEEEFP },
          "the tag SampleFormat is 3" },
        { { .photometric = PHOTOMETRIC_RGB, .format = SAMPLEFORMAT_INT },
          "the tag SampleFormat is 2" },
        { { .photometric = PHOTOMETRIC_RGB, .bits = 32 }, "the tag BitsPerSample is 32" },
        { { .photometric = PHOTOMETRIC_MINISBLACK, .samples = 1, .bits = 16 },
          "the tag BitsPerSample is 16" },
        { { .photometric = PHOTOMETRIC_SEPARATED, .samples = 4 },
          "the tag PhotometricInterpretation is 5" },
        { { .photometric = PHOTOMETRIC_CIELAB }, "the tag PhotometricInterpretation is 8" },
        { { .photometric = PHOTOMETRIC_RGB, .samples = 4, .extra = EXTRASAMPLE_UNSPECIFIED },
          "the tag ExtraSamples is 0" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct page page = cases[i].page;
        page.width = page.height = 100;
        refuses(&page, 1, cases[i].what);
        cr_assert(strstr(err.message, "`vips "), "no remedy: %s", err.message);
    }
}

Test(slide_levels, sixteen_bits_of_which_twelve_are_used_are_refused)
{
    const struct page page = {
        .width = 100, .height = 100, .photometric = PHOTOMETRIC_RGB, .bits = 16
    };
    uint16_t samples[TILE * TILE * 3];
    write_pages(&page, 1);
    TIFF *tiff = TIFFOpen(path, "r+");
    for (size_t i = 0; i < COUNT_OF(samples); i++) samples[i] = (uint16_t)(i % 4096);
    for (uint32_t tile = 0; tile < 4; tile++)
        cr_assert(TIFFWriteEncodedTile(tiff, tile, samples, sizeof samples) >= 0);
    TIFFClose(tiff);
    cr_assert_not(slide_open(&slide, path, 0, &err));
    cr_assert(strstr(err.message, "the brightest among those looked at is 16 of 255"), "%s",
              err.message);
}

Test(slide_levels, libtiff_writes_nothing_to_stderr)
{
    const struct page page = { .width = 100,
                               .height = 100,
                               .photometric = PHOTOMETRIC_YCBCR,
                               .compression = COMPRESSION_JPEG,
                               .unknown_tag = true };
    char text[16];
    write_pages(&page, 1);
    cr_redirect_stderr();
    cr_assert(slide_open(&slide, path, 0, &err), "%s", err.message);
    free(read_level(0));
    fflush(stderr);
    fputs("end", stderr);
    fflush(stderr);
    cr_assert_eq(fread(text, 1, 3, cr_get_redirected_stderr()), 3);
    cr_assert(!memcmp(text, "end", 3), "something is written: %.3s...", text);
}

/* --- Missing tiles ---------------------------------------------------------------------------- */

Test(slide_levels, missing_tiles_are_background_on_any_level)
{
    static const int compressions[] = { COMPRESSION_NONE, COMPRESSION_JPEG };
    for (size_t i = 0; i < COUNT_OF(compressions); i++) {
        const bool jpeg = compressions[i] == COMPRESSION_JPEG;
        struct page pages[] = { { .width = 256, .height = 192 },
                                { .width = 128, .height = 96, .shrunk = 2 } };
        for (size_t k = 0; k < COUNT_OF(pages); k++) {
            pages[k].compression = compressions[i];
            pages[k].photometric = jpeg ? PHOTOMETRIC_YCBCR : PHOTOMETRIC_RGB;
        }
        pages[0].missing[5] = pages[0].missing[11] = pages[1].missing[2] = true;
        open_pages(pages, 2);
        for (int k = 0; k < 2; k++) shows(k, &pages[k], jpeg ? 25 : 0);
        cr_assert_eq(slide.levels[0].missing_tiles, 2);
        cr_assert_eq(slide.levels[1].missing_tiles, 1);
        slide_release(&slide);
    }
}

Test(slide_levels, a_level_with_holes_is_told_from_one_that_is_empty_where_level_0_is)
{
    struct page pages[] = {
        { .width = 256, .height = 256, .photometric = PHOTOMETRIC_RGB },
        { .width = 128, .height = 128, .shrunk = 2, .photometric = PHOTOMETRIC_RGB }
    };
    uint8_t *rgb;
    int width, height;
    pages[0].missing[0] = pages[0].missing[1] = pages[0].missing[4] = pages[0].missing[5] = true;
    pages[1].missing[0] = true;
    open_pages(pages, 2);
    cr_assert_not(slide.levels[1].has_holes);
    slide_release(&slide);

    pages[0].missing[5] = false;
    open_pages(pages, 2);
    cr_assert(slide.levels[1].has_holes);
    /* The thumbnail is made from level 0: its cell (1, 1) of 4×4 is not background. */
    cr_assert(slide_thumbnail(&slide, 4, &rgb, &width, &height, &err), "%s", err.message);
    cr_assert(rgb[3 * (width + 1)] < 250);
    cr_assert_eq(rgb[0], 255);
    free(rgb);
}

/* --- Scale ------------------------------------------------------------------------------------ */

/* A pyramid of halved levels, padded to whole tiles; returns the number of levels. */
static int padded_pyramid(struct page *pages, int width, int height, int compression)
{
    int count = 0;
    for (int shrunk = 1; count < 4; shrunk *= 2) {
        struct page *page = &pages[count++];
        *page = (struct page) { .width = width / shrunk, .height = height / shrunk };
        page->shrunk = shrunk;
        page->padded_width = CEIL_DIV(page->width, TILE) * TILE;
        page->padded_height = CEIL_DIV(page->height, TILE) * TILE;
        page->compression = compression;
        page->photometric = compression == COMPRESSION_JPEG ? PHOTOMETRIC_YCBCR : PHOTOMETRIC_RGB;
    }
    return count;
}

/* OpenSlide takes 1.845, 3.458 and 6 for the downsamples of the first; 1.857, 3.25 and 6.5, evenly
 * across and down, for those of the second. */
Test(slide_levels, levels_padded_to_whole_tiles_have_their_true_downsample_and_pixels)
{
    static const int heights[] = { HEIGHT, WIDTH };
    static const int compressions[] = { COMPRESSION_NONE, COMPRESSION_JPEG };
    for (size_t i = 0; i < COUNT_OF(heights); i++)
        for (size_t k = 0; k < COUNT_OF(compressions); k++) {
            struct page pages[4];
            const int count = padded_pyramid(pages, WIDTH, heights[i], compressions[k]);
            open_pages(pages, count);
            cr_assert_eq(slide.level_count, 4, "%s", slide.remark);
            for (int level = 0; level < 4; level++) {
                cr_assert_eq(slide.levels[level].downsample, 1 << level, "%g",
                             slide.levels[level].downsample);
                shows(level, &pages[level], k ? 40 : 0);
            }
            slide_release(&slide);
        }
}

Test(slide_levels, downsamples_that_are_no_whole_numbers_stay)
{
    const struct page pages[] = {
        { .width = WIDTH, .height = HEIGHT, .photometric = PHOTOMETRIC_RGB },
        { .width = 252, .height = 213, .shrunk = 3.3, .photometric = PHOTOMETRIC_RGB },
        { .width = 128, .height = 108, .shrunk = 6.5, .photometric = PHOTOMETRIC_RGB },
    };
    open_pages(pages, 3);
    cr_assert_eq(slide.level_count, 3);
    for (int i = 1; i < 3; i++) {
        cr_assert_float_eq(slide.levels[i].downsample,
                           ((double)WIDTH / pages[i].width + (double)HEIGHT / pages[i].height) / 2,
                           1e-12);
        shows(i, &pages[i], 0);
    }
}

Test(slide_levels, a_level_shrunk_more_across_than_down_is_refused)
{
    const struct page pages[] = {
        { .width = WIDTH, .height = HEIGHT, .photometric = PHOTOMETRIC_RGB },
        { .width = WIDTH / 4,
          .height = HEIGHT / 2,
          .shrunk = 4,
          .shrunk_down = 2,
          .photometric = PHOTOMETRIC_RGB },
    };
    refuses(pages, 2, "level 1 (TIFF directory 1, 208 x 352 px) is shrunk by 4 across and 2 down");
}

/* --- Pages that are no levels ----------------------------------------------------------------- */

static void pyramid(struct page *pages, int count)
{
    for (int i = 0; i < count; i++)
        pages[i] = (struct page) { .width = WIDTH >> i,
                                   .height = HEIGHT >> i,
                                   .shrunk = 1 << i,
                                   .photometric = PHOTOMETRIC_RGB };
}

Test(slide_levels, another_picture_after_the_levels_is_left_out_and_said)
{
    struct page pages[4];
    pyramid(pages, 4);
    pages[3].kind = 1;
    open_pages(pages, 4);
    cr_assert_eq(slide.level_count, 3);
    cr_assert(
        strstr(slide.remark, "level 3 of OpenSlide (TIFF directory 3, 104 x 88 px) is left out"),
        "%s", slide.remark);
}

Test(slide_levels, a_label_of_another_shape_after_the_levels_is_left_out)
{
    struct page pages[4];
    pyramid(pages, 4);
    pages[3].kind = 2;
    pages[3].width = 60, pages[3].height = 80;
    open_pages(pages, 4);
    cr_assert_eq(slide.level_count, 3);
}

Test(slide_levels, pages_among_the_levels_that_show_something_else_are_refused)
{
    struct page pages[4];
    pyramid(pages, 4);
    pages[2].kind = 1;
    refuses(pages, 4, "TIFF directory 2 (208 x 176 px) stands among the levels, as level 2");
    pages[2].kind = 0, pages[2].shift = 50;
    refuses(pages, 4, "TIFF directory 2 (208 x 176 px) stands among the levels");
    pages[2].shift = 0, pages[2].shrunk = 3;
    refuses(pages, 4, "TIFF directory 2 (208 x 176 px) stands among the levels");
}

Test(slide_levels, a_page_that_leaves_the_levels_in_no_order_is_named)
{
    struct page pages[4];
    pyramid(pages, 3);
    pages[3] = (struct page) { .width = 200, .height = 400, .photometric = PHOTOMETRIC_RGB };
    refuses(pages, 4, "TIFF directory 3 (200 x 400 px) is no level of this slide (832 x 704 px)");
}
