/* PNG and float TIFF: written files read back bit by bit and have their
 * tags; bad files are refused. */
#include <math.h>
#include <png.h>
#include <tiffio.h>

#include "micromet/format/image.h"
#include "temporary.h"

TestSuite(image, .init = temporary_begin, .fini = temporary_end);

static void expect_png_refusal(const char *name, const char *reason)
{
    struct error err = { 0 };
    uint8_t *rgb;
    int width, height;
    cr_assert(!image_read_png(temporary_path(name), &rgb, &width, &height, &err));
    cr_expect(strstr(err.message, reason), "expected '%s' in: %s", reason, err.message);
    cr_expect(strstr(err.message, name), "%s", err.message);
    cr_assert_null(rgb);
}

Test(image, png_reads_back_bit_by_bit)
{
    enum { WIDTH = 33, HEIGHT = 17 };
    uint8_t rgb[HEIGHT * WIDTH * 3], *back;
    int width, height;
    struct error err = { 0 };
    for (size_t i = 0; i < sizeof rgb; i++) rgb[i] = (uint8_t)(i * i * 31 + i);
    cr_assert(image_write_png(temporary_path("a.png"), rgb, WIDTH, HEIGHT, &err), "%s",
              err.message);
    cr_assert_eq(temporary_count(), 1);
    cr_assert(image_read_png(temporary_path("a.png"), &back, &width, &height, &err), "%s",
              err.message);
    cr_assert_eq(width, WIDTH);
    cr_assert_eq(height, HEIGHT);
    cr_assert_eq(memcmp(rgb, back, sizeof rgb), 0);
    free(back);
}

static void write_png(const char *name, png_uint_32 format, int width, const void *pixels)
{
    png_image image = {
        .version = PNG_IMAGE_VERSION, .width = (png_uint_32)width, .height = 1, .format = format
    };
    cr_assert(png_image_write_to_file(&image, temporary_path(name), 0, pixels, 0, NULL));
}

Test(image, png_of_other_kinds_becomes_rgb_on_white)
{
    uint8_t *rgb;
    int width, height;
    struct error err = { 0 };
    write_png("gray.png", PNG_FORMAT_GRAY, 2, (const uint8_t[]) { 0, 200 });
    cr_assert(image_read_png(temporary_path("gray.png"), &rgb, &width, &height, &err));
    cr_assert_eq(width, 2);
    cr_assert_eq(height, 1);
    cr_assert_eq(memcmp(rgb, (const uint8_t[]) { 0, 0, 0, 200, 200, 200 }, 6), 0);
    free(rgb);
    write_png("alpha.png", PNG_FORMAT_RGBA, 2, (const uint8_t[]) { 10, 20, 30, 255, 9, 9, 9, 0 });
    cr_assert(image_read_png(temporary_path("alpha.png"), &rgb, &width, &height, &err));
    cr_assert_eq(memcmp(rgb, (const uint8_t[]) { 10, 20, 30, 255, 255, 255 }, 6), 0);
    free(rgb);
}

Test(image, png_that_is_none_or_cut_short_is_refused)
{
    size_t size;
    struct error err = { 0 };
    uint8_t rgb[3 * 64 * 64];
    for (size_t i = 0; i < sizeof rgb; i++) rgb[i] = (uint8_t)(i * i >> 3);
    cr_assert(image_write_png(temporary_path("a.png"), rgb, 64, 64, &err));
    uint8_t *bytes = temporary_read("a.png", &size);
    for (size_t cut = 0; cut < size - 16; cut += 1 + size / 40) {
        temporary_write("cut.png", bytes, cut);
        expect_png_refusal("cut.png", "PNG");
    }
    free(bytes);
    temporary_write("text.png", "hello, this is no picture", 25);
    expect_png_refusal("text.png", "cannot read as PNG");
    expect_png_refusal("absent.png", "cannot read as PNG");
}

Test(image, png_that_announces_too_many_pixels_is_refused)
{
    static const char huge[] = "\x89PNG\r\n\x1a\n"
                               "\0\0\0\x0dIHDR\0\x0f\x42\x40\0\x0f\x42\x40\x08\x02\0\0\0"
                               "\xd3\x0f\xaf\x2a"
                               "\0\0\0\x08IDAT";
    temporary_write("huge.png", huge, sizeof huge - 1);
    expect_png_refusal("huge.png", "1000000×1000000 pixels are more than");
}

enum { WIDTH = 700, HEIGHT = 531, TILE = 256 };
static const char description[] = "{\"kind\": \"heat map\", \"threshold\": 0.5}";

/* Values of a map whose sides are not multiples of a tile's; one in 97 is NaN. */
static float *make_values(void)
{
    float *values = malloc(sizeof(float) * WIDTH * HEIGHT);
    cr_assert(values);
    for (int i = 0; i < WIDTH * HEIGHT; i++) values[i] = i % 97 ? sinf((float)i * 1e-3f) : NAN;
    return values;
}

/* Write `values` in pieces of 1, 2, 3 … rows. */
static void write_map(const char *name, const float *values)
{
    struct error err = { 0 };
    struct float_tiff *tiff;
    cr_assert(
        float_tiff_create(&tiff, temporary_path(name), WIDTH, HEIGHT, 64.5, description, &err),
        "%s", err.message);
    for (int64_t row = 0, rows = 1; row < HEIGHT; row += rows, rows++) {
        if (rows > HEIGHT - row) rows = HEIGHT - row;
        cr_assert(float_tiff_append(tiff, values + row * WIDTH, rows, &err), "%s", err.message);
    }
    cr_assert(float_tiff_commit(tiff, &err), "%s", err.message);
    float_tiff_release(tiff);
}

/* Check the tile at (x, y), as far as it is within the map. */
static void expect_tile(TIFF *tiff, uint32_t x, uint32_t y, const float *values)
{
    static float tile[TILE * TILE];
    const uint32_t columns = WIDTH - x < TILE ? WIDTH - x : TILE;
    const uint32_t rows = HEIGHT - y < TILE ? HEIGHT - y : TILE;
    cr_assert_eq(TIFFReadTile(tiff, tile, x, y, 0, 0), sizeof tile);
    for (uint32_t row = 0; row < rows; row++)
        cr_assert_arr_eq(tile + row * TILE, values + (size_t)(y + row) * WIDTH + x,
                         columns * sizeof *tile, "row %u from column %u", y + row, x);
}

Test(image, float_tiff_reads_back_bit_by_bit)
{
    float *values = make_values();
    uint32_t width = 0, height = 0;
    char *text = NULL;
    write_map("map.tif", values);
    cr_assert_eq(temporary_count(), 1);
    TIFF *tiff = TIFFOpen(temporary_path("map.tif"), "r");
    cr_assert(tiff);
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
    cr_assert_eq(width, WIDTH);
    cr_assert_eq(height, HEIGHT);
    cr_assert(TIFFGetField(tiff, TIFFTAG_IMAGEDESCRIPTION, &text));
    cr_assert_str_eq(text, description);
    for (uint32_t y = 0; y < height; y += TILE)
        for (uint32_t x = 0; x < width; x += TILE) expect_tile(tiff, x, y, values);
    TIFFClose(tiff);
    free(values);
}

Test(image, float_tiff_says_what_it_is_in_its_tags)
{
    float *values = make_values(), per_cm = 0;
    uint16_t compression = 0, unit = 0, predictor = 0;
    uint32_t tile_width = 0, tile_height = 0;
    write_map("map.tif", values);
    TIFF *tiff = TIFFOpen(temporary_path("map.tif"), "r");
    cr_assert(tiff);
    TIFFGetField(tiff, TIFFTAG_COMPRESSION, &compression);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PREDICTOR, &predictor);
    TIFFGetField(tiff, TIFFTAG_RESOLUTIONUNIT, &unit);
    TIFFGetField(tiff, TIFFTAG_XRESOLUTION, &per_cm);
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &tile_width);
    TIFFGetField(tiff, TIFFTAG_TILELENGTH, &tile_height);
    cr_assert_eq(compression, COMPRESSION_ADOBE_DEFLATE);
    cr_assert_eq(predictor, PREDICTOR_NONE, "QuPath reads no other");
    cr_assert_eq(unit, RESUNIT_CENTIMETER);
    cr_assert_float_eq(per_cm, 10000 / 64.5, 1e-4);
    cr_assert_eq(tile_width, 256);
    cr_assert_eq(tile_height, 256);
    TIFFClose(tiff);
    free(values);
}

Test(image, float_tiff_without_commit_leaves_nothing)
{
    struct error err = { 0 };
    struct float_tiff *tiff;
    float row[16] = { 0 };
    cr_assert(float_tiff_create(&tiff, temporary_path("map.tif"), 16, 3, 0, NULL, &err));
    cr_assert(float_tiff_append(tiff, row, 1, &err));
    float_tiff_release(tiff);
    cr_assert_eq(temporary_count(), 0);
    cr_assert(!float_tiff_create(&tiff, temporary_path("no/folder/map.tif"), 16, 3, 0, NULL, &err));
    cr_assert_null(tiff);
    cr_assert_neq(err.message[0], '\0');
}
