/* Reads tiles with libtiff's conversion to RGBA, which knows every photometric interpretation. */
#include "tiff_level.h"

#include <stdlib.h>
#include <string.h>

#include "micromet/base/file.h"
#include "tiff_source.h"

struct tiff_level {
    char path[PATH_MAX_BYTES];
    struct tiff_source source;
    uint32_t width, height, tile_width, tile_height;
    uint16_t planes;
    uint32_t *tile; /* the latest one: ABGR, its rows from the bottom up */
    bool has_tile, is_missing;
    uint32_t tile_x, tile_y; /* px, of the latest tile's corner */
};

static bool fail(const struct tiff_level *level, struct error *err)
{
    return error_set(err, EXIT_CODE_FAILED, "%s",
                     *level->source.complaint ? level->source.complaint : "no reason given");
}

static bool measure(struct tiff_level *level, int directory, struct error *err)
{
    TIFF *tiff = level->source.tiff;
    uint16_t planar = PLANARCONFIG_CONTIG, samples = 1;
    if (!TIFFSetDirectory(tiff, (tdir_t)directory)) return fail(level, err);
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &level->width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &level->height);
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &level->tile_width);
    TIFFGetField(tiff, TIFFTAG_TILELENGTH, &level->tile_height);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &planar);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &samples);
    level->planes = planar == PLANARCONFIG_SEPARATE ? samples : 1;
    const uint64_t pixels = (uint64_t)level->tile_width * level->tile_height;
    if (!pixels || pixels > SIZE_MAX / sizeof *level->tile || !level->width || !level->height)
        return error_set(err, EXIT_CODE_FAILED, "the file has changed");
    level->tile = malloc((size_t)pixels * sizeof *level->tile);
    return level->tile || error_set(err, EXIT_CODE_FAILED, "out of memory for a tile");
}

bool tiff_level_open(struct tiff_level **level, const char *path, int directory, struct error *err)
{
    struct tiff_level *made = *level = calloc(1, sizeof *made);
    if (!made) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", path);
    snprintf(made->path, sizeof made->path, "%s", path);
    if (tiff_source_open(&made->source, made->path, err)) {
        *made->source.complaint = 0;
        if (measure(made, directory, err)) return true;
        error_prefix(err, "%s: TIFF directory %d", path, directory);
    }
    tiff_level_release(made);
    *level = NULL;
    return false;
}

void tiff_level_release(struct tiff_level *level)
{
    if (!level) return;
    tiff_source_release(&level->source);
    free(level->tile);
    free(level);
}

/* Whether the tile has no data; one that has only some of its planes is damaged. */
static bool tile_missing(TIFF *tiff, uint32_t x, uint32_t y, uint16_t planes)
{
    for (uint16_t plane = 0; plane < planes; plane++) {
        const uint32_t tile = TIFFComputeTile(tiff, x, y, 0, plane);
        int failed = 0;
        if (TIFFGetStrileByteCountWithErr(tiff, tile, &failed) &&
            TIFFGetStrileOffsetWithErr(tiff, tile, &failed))
            return false;
    }
    return true;
}

/* Decode the tile with corner (x, y), unless it is the latest. */
static bool load(struct tiff_level *level, uint32_t x, uint32_t y, struct error *err)
{
    TIFF *tiff = level->source.tiff;
    if (level->has_tile && level->tile_x == x && level->tile_y == y) return true;
    level->has_tile = false;
    level->is_missing = tile_missing(tiff, x, y, level->planes);
    *level->source.complaint = 0;
    if (!level->is_missing && !TIFFReadRGBATileExt(tiff, x, y, level->tile, 1))
        return fail(level, err);
    level->tile_x = x, level->tile_y = y;
    level->has_tile = true;
    return true;
}

static uint32_t argb_of(uint32_t abgr)
{
    return TIFFGetA(abgr) << 24 | TIFFGetR(abgr) << 16 | TIFFGetG(abgr) << 8 | TIFFGetB(abgr);
}

/* Copy the px [x0, x1) × [y0, y1), of the latest tile, to argb, whose rows are `stride` apart. */
static void copy(const struct tiff_level *level, int64_t x0, int64_t x1, int64_t y0, int64_t y1,
                 uint32_t *argb, size_t stride)
{
    const size_t columns = (size_t)(x1 - x0);
    for (int64_t y = y0; y < y1; y++, argb += stride) {
        const int64_t row = level->tile_height - 1 - (y - level->tile_y);
        const uint32_t *from = level->tile + row * level->tile_width + (x0 - level->tile_x);
        if (level->is_missing)
            memset(argb, 0, columns * sizeof *argb);
        else
            for (size_t i = 0; i < columns; i++) argb[i] = argb_of(from[i]);
    }
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

bool tiff_level_read(struct tiff_level *level, int64_t x, int64_t y, int width, int height,
                     uint32_t *argb, struct error *err)
{
    const int64_t tile_width = level->tile_width, tile_height = level->tile_height;
    const int64_t right = x + width, bottom = y + height;
    CHECK(x >= 0 && y >= 0 && width > 0 && height > 0);
    if (right > level->width || bottom > level->height)
        return error_set(err, EXIT_CODE_FAILED, "the file has changed");
    for (int64_t y0 = y, y1; y0 < bottom; y0 = y1) {
        const int64_t tile_y = y0 / tile_height * tile_height;
        y1 = smaller(tile_y + tile_height, bottom);
        for (int64_t x0 = x, x1; x0 < right; x0 = x1) {
            const int64_t tile_x = x0 / tile_width * tile_width;
            x1 = smaller(tile_x + tile_width, right);
            if (!load(level, (uint32_t)tile_x, (uint32_t)tile_y, err)) return false;
            copy(level, x0, x1, y0, y1, argb + (y0 - y) * width + (x0 - x), (size_t)width);
        }
    }
    return true;
}
