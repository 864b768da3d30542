/* Small slides and masks with known pixels: tiled, uncompressed TIFFs whose pixels a function
 * computes, level by level. */
#ifndef MICROMET_TESTS_TINY_SLIDE_H
#define MICROMET_TESTS_TINY_SLIDE_H

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>
#include <tiffio.h>

enum { TINY_TILE = 64 };

struct tiny_level {
    int width, height;
};

/* Writes `channels` bytes for pixel (x, y) of a level. */
typedef void (*tiny_pixel)(const void *context, int level, int x, int y, uint8_t *pixel);

static inline void tiny_write_level(TIFF *tiff, const struct tiny_level *size, int level,
                                    int channels, tiny_pixel pixel, const void *context)
{
    uint8_t tile[TINY_TILE * TINY_TILE * 3];

    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, size->width);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, size->height);
    TIFFSetField(tiff, TIFFTAG_SUBFILETYPE, level ? FILETYPE_REDUCEDIMAGE : 0);
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, TINY_TILE);
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, TINY_TILE);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, channels);
    TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_NONE);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC,
                 channels == 3 ? PHOTOMETRIC_RGB : PHOTOMETRIC_MINISBLACK);
    for (int y0 = 0; y0 < size->height; y0 += TINY_TILE)
        for (int x0 = 0; x0 < size->width; x0 += TINY_TILE) {
            memset(tile, 0, sizeof tile);
            for (int y = 0; y < TINY_TILE && y0 + y < size->height; y++)
                for (int x = 0; x < TINY_TILE && x0 + x < size->width; x++)
                    pixel(context, level, x0 + x, y0 + y, tile + channels * (y * TINY_TILE + x));
            cr_assert(TIFFWriteTile(tiff, tile, (uint32_t)x0, (uint32_t)y0, 0, 0) >= 0);
        }
    cr_assert(TIFFWriteDirectory(tiff));
}

static inline void tiny_write(const char *path, const struct tiny_level *levels, int level_count,
                              int channels, tiny_pixel pixel, const void *context)
{
    TIFF *tiff = TIFFOpen(path, "w");
    cr_assert(tiff);
    for (int level = 0; level < level_count; level++)
        tiny_write_level(tiff, &levels[level], level, channels, pixel, context);
    TIFFClose(tiff);
}

static inline uint32_t tiny_hash(int level, int x, int y)
{
    uint32_t value = (uint32_t)x * 0x9e3779b1u ^ (uint32_t)y * 0x85ebca77u ^ (uint32_t)level << 27;
    value ^= value >> 15;
    value *= 0x2c1b3c6du;
    return value ^ value >> 13;
}

/* Every pixel differs from its neighbours and from the other levels; dark enough to be tissue. */
static inline void tiny_tissue(const void *context, int level, int x, int y, uint8_t *pixel)
{
    const uint32_t hash = tiny_hash(level, x, y);
    (void)context;
    pixel[0] = (uint8_t)(hash % 200);
    pixel[1] = (uint8_t)(hash >> 8) % 200;
    pixel[2] = (uint8_t)(hash >> 16) % 200;
}

/* The size×size px with the corner (left, top); white outside the level. */
static inline void tiny_window(tiny_pixel pixel, int level, struct tiny_level bounds, int64_t left,
                               int64_t top, int size, uint8_t *rgb)
{
    memset(rgb, 255, (size_t)size * (size_t)size * 3);
    for (int i = 0; i < size * size; i++) {
        const int64_t x = left + i % size, y = top + i / size;
        if (x >= 0 && y >= 0 && x < bounds.width && y < bounds.height)
            pixel(NULL, level, (int)x, (int)y, rgb + 3 * i);
    }
}

/* One tumour pixel, at context: int[2]. */
static inline void tiny_dot(const void *context, int level, int x, int y, uint8_t *pixel)
{
    const int *dot = context;
    (void)level;
    pixel[0] = x == dot[0] && y == dot[1] ? 255 : 0;
}

#endif
