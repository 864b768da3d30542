/* Maps of numbers as a tiled float32 TIFF that QuPath, ASAP and Python can open. Rows are collected
 * in a band one tile high; a full band is cut into tiles and written, so memory does not grow with
 * the height of the map.
 *
 * Compressed by deflate without a predictor: Bio-Formats (QuPath) and plain tifffile do not support
 * the floating-point predictor. */
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>
#include <unistd.h>

#include "micromet/base/size.h"
#include "micromet/format/image.h"

enum { TILE = 256 };
static const int64_t classic_bytes_max = INT64_C(3) << 30; /* larger files need BigTIFF */
static const int64_t side_max = INT64_C(1) << 26;

struct float_tiff {
    struct atomic_file file;
    TIFF *tiff;
    int64_t width, height;
    int64_t rows;      /* appended so far */
    float *band;       /* (TILE, padded width) */
    float *tile;       /* (TILE, TILE), scratch */
    struct error said; /* libtiff's first message */
};

/* libtiff's message handlers: the first error is kept as a struct error, warnings are dropped. */
static int keep_error(TIFF *tiff, void *context, const char *module, const char *format,
                      va_list arguments)
{
    (void)tiff, (void)module;
    char text[256];
    vsnprintf(text, sizeof text, format, arguments);
    error_set(context, EXIT_CODE_FAILED, "%s", text);
    return 1;
}

static int drop_warning(TIFF *tiff, void *context, const char *module, const char *format,
                        va_list arguments)
{
    (void)tiff, (void)context, (void)module, (void)format, (void)arguments;
    return 1;
}

/* Open with libtiff's error messages directed to `said`. */
static TIFF *open_tiff(const char *path, int descriptor, const char *mode, struct error *said)
{
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options) return NULL;
    TIFFOpenOptionsSetErrorHandlerExtR(options, keep_error, said);
    TIFFOpenOptionsSetWarningHandlerExtR(options, drop_warning, NULL);
    TIFF *tiff = TIFFFdOpenExt(descriptor, path, mode, options);
    TIFFOpenOptionsFree(options);
    return tiff;
}

static bool set_tags(const struct float_tiff *map, double um_per_px, const char *description)
{
    TIFF *tiff = map->tiff;
    bool done = TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, (uint32_t)map->width) &&
                TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, (uint32_t)map->height) &&
                TIFFSetField(tiff, TIFFTAG_TILEWIDTH, TILE) &&
                TIFFSetField(tiff, TIFFTAG_TILELENGTH, TILE) &&
                TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 1) &&
                TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 32) &&
                TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_IEEEFP) &&
                TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) &&
                TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK) &&
                TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_ADOBE_DEFLATE) &&
                TIFFSetField(tiff, TIFFTAG_SOFTWARE, "micromet");
    if (done && um_per_px > 0) {
        double px_per_cm = 10000 / um_per_px;
        done = TIFFSetField(tiff, TIFFTAG_RESOLUTIONUNIT, RESUNIT_CENTIMETER) &&
               TIFFSetField(tiff, TIFFTAG_XRESOLUTION, px_per_cm) &&
               TIFFSetField(tiff, TIFFTAG_YRESOLUTION, px_per_cm);
    }
    if (done && description) done = TIFFSetField(tiff, TIFFTAG_IMAGEDESCRIPTION, description);
    return done;
}

static int64_t padded_width(const struct float_tiff *map)
{
    return (int64_t)round_up((size_t)map->width, TILE);
}

static bool write_error(const struct float_tiff *map, struct error *err)
{
    return error_set(err, EXIT_CODE_FAILED, "%s: cannot write: %s", map->file.path,
                     map->said.message);
}

bool float_tiff_create(struct float_tiff **tiff, const char *path, int64_t width, int64_t height,
                       double um_per_px, const char *description, struct error *err)
{
    CHECK(width > 0 && height > 0);
    *tiff = NULL;
    if (width > side_max || height > side_max)
        return error_set(err, EXIT_CODE_FAILED, "%s: a map of %lld×%lld values is too large", path,
                         (long long)width, (long long)height);
    struct float_tiff *map = calloc(1, sizeof *map);
    if (!map) return error_set(err, EXIT_CODE_FAILED, "%s: no memory", path);
    map->width = width;
    map->height = height;
    map->tile = malloc(sizeof(float) * TILE * TILE);
    map->band = malloc(sizeof(float) * TILE * (size_t)padded_width(map));
    if (!map->tile || !map->band) {
        error_set(err, EXIT_CODE_FAILED, "%s: no memory for a row of tiles", path);
        goto fail;
    }
    for (int64_t i = 0; i < TILE * padded_width(map); i++) map->band[i] = NAN;
    if (!atomic_file_open(&map->file, path, err)) goto fail;
    bool big = width > classic_bytes_max / (int64_t)sizeof(float) / height;
    int descriptor = dup(fileno(map->file.stream)); /* libtiff closes its descriptor */
    if (descriptor >= 0) map->tiff = open_tiff(path, descriptor, big ? "w8" : "w", &map->said);
    if (!map->tiff && descriptor >= 0) close(descriptor);
    if (!map->tiff || !set_tags(map, um_per_px, description)) {
        write_error(map, err);
        goto fail;
    }
    *tiff = map;
    return true;
fail:
    float_tiff_release(map);
    return false;
}

/* Cut the band into tiles and write them; the band is empty (NaN) afterwards. */
static bool write_band(struct float_tiff *map, int64_t row, struct error *err)
{
    int64_t stride = padded_width(map);
    for (int64_t x = 0; x < stride; x += TILE) {
        for (int64_t y = 0; y < TILE; y++)
            memcpy(map->tile + y * TILE, map->band + y * stride + x, TILE * sizeof(float));
        if (TIFFWriteTile(map->tiff, map->tile, (uint32_t)x, (uint32_t)row, 0, 0) < 0)
            return write_error(map, err);
    }
    for (int64_t i = 0; i < TILE * stride; i++) map->band[i] = NAN;
    return true;
}

bool float_tiff_append(struct float_tiff *tiff, const float *values, int64_t rows,
                       struct error *err)
{
    CHECK(rows >= 0 && rows <= tiff->height - tiff->rows);
    for (int64_t i = 0; i < rows; i++) {
        float *row = tiff->band + tiff->rows % TILE * padded_width(tiff);
        memcpy(row, values + i * tiff->width, (size_t)tiff->width * sizeof(float));
        tiff->rows++;
        bool full = tiff->rows % TILE == 0 || tiff->rows == tiff->height;
        if (full && !write_band(tiff, (tiff->rows - 1) / TILE * TILE, err)) return false;
    }
    return true;
}

bool float_tiff_commit(struct float_tiff *tiff, struct error *err)
{
    CHECK(tiff->rows == tiff->height);
    bool flushed = TIFFFlush(tiff->tiff);
    TIFFClose(tiff->tiff);
    tiff->tiff = NULL;
    if (!flushed || tiff->said.code != EXIT_CODE_OK) return write_error(tiff, err);
    return atomic_file_commit(&tiff->file, err);
}

void float_tiff_release(struct float_tiff *tiff)
{
    if (!tiff) return;
    if (tiff->tiff) TIFFClose(tiff->tiff);
    atomic_file_release(&tiff->file);
    free(tiff->band);
    free(tiff->tile);
    free(tiff);
}

bool float_tiff_is_at(const char *path)
{
    struct error ignored = { 0 };
    const char *software = NULL;
    uint16_t format = SAMPLEFORMAT_UINT;
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    TIFF *tiff = descriptor < 0 ? NULL : open_tiff(path, descriptor, "r", &ignored);
    if (!tiff) {
        if (descriptor >= 0) close(descriptor);
        return false;
    }
    TIFFGetField(tiff, TIFFTAG_SAMPLEFORMAT, &format);
    const bool is = TIFFGetField(tiff, TIFFTAG_SOFTWARE, &software) &&
                    strcmp(software, "micromet") == 0 && format == SAMPLEFORMAT_IEEEFP;
    TIFFClose(tiff);
    return is;
}
