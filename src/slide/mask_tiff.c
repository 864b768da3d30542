/* Reads mask TIFFs with libtiff: the stored values rather than colours, tiled or striped, one tile
 * or strip at a time.
 *
 * Most tiles of a mask are empty and compress to the same bytes. Once one has been decoded to
 * zeros, tiles with identical compressed bytes are taken as zeros without decoding. */
#include <stdlib.h>
#include <string.h>

#include "annotation_parts.h"
#include "micromet/base/size.h"
#include "tiff_source.h"

enum { DIRECTORIES_MAX = 4096, DECODED_MAX = 512 << 20, EMPTY_BYTES_MAX = 64 << 10 };

struct mask_tiff {
    struct tiff_source source;
    uint32_t width, height, part_width, part_height; /* part: a tile or a strip */
    uint16_t bits, samples;
    bool tiled, inverted;
    tmsize_t decoded_bytes;
    uint8_t *decoded; /* one part, decoded */
    uint8_t *values;  /* one row of it, a byte per pixel */
    uint8_t *empty;   /* compressed bytes of an all-zero part */
    uint8_t *raw;     /* compressed bytes of the current part */
    tmsize_t empty_bytes;
};

static bool fail(const struct mask_tiff *mask, const char *what, struct error *err)
{
    const char *complaint = mask->source.complaint;
    return error_set(err, EXIT_CODE_FAILED, "%s: %s%s%s", mask->source.path, what,
                     *complaint ? ": " : "", complaint);
}

/* Bytes of one row of a decoded part. */
static uint64_t row_bytes(const struct mask_tiff *mask)
{
    return CEIL_DIV((uint64_t)mask->part_width * mask->samples * mask->bits, 8);
}

/* Select the finest level: the directory with the largest image. */
static bool select_largest(struct mask_tiff *mask, struct error *err)
{
    TIFF *tiff = mask->source.tiff;
    uint16_t best = 0, directory = 0;
    uint64_t best_area = 0;
    do {
        uint32_t width = 0, height = 0;
        TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
        TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
        if ((uint64_t)width * height > best_area) {
            best_area = (uint64_t)width * height;
            best = directory;
            mask->width = width, mask->height = height;
        }
    } while (++directory < DIRECTORIES_MAX && TIFFReadDirectory(tiff));
    *mask->source.complaint = 0;
    return best_area && TIFFSetDirectory(tiff, best) ? true : fail(mask, "holds no image", err);
}

static bool check_pixels(struct mask_tiff *mask, struct error *err)
{
    TIFF *tiff = mask->source.tiff;
    uint16_t format, planar, photometric = PHOTOMETRIC_MINISBLACK, compression;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &mask->bits);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &mask->samples);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &format);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &planar);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &compression);
    TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric);
    if (planar == PLANARCONFIG_SEPARATE) mask->samples = 1;
    mask->inverted = photometric == PHOTOMETRIC_MINISWHITE;
    if (photometric == PHOTOMETRIC_YCBCR) {
        if (compression != COMPRESSION_JPEG)
            return fail(mask, "a mask in YCbCr without JPEG is not supported; save it as gray",
                        err);
        TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    }
    if (format == SAMPLEFORMAT_IEEEFP || mask->samples < 1 ||
        (mask->bits != 8 && mask->bits != 16 && !(mask->bits == 1 && mask->samples == 1)))
        return error_set(
            err, EXIT_CODE_FAILED,
            "%s: %d samples of %d bits%s a pixel; a mask has whole numbers of 1, 8 or 16 "
            "bits",
            mask->source.path, mask->samples, mask->bits,
            format == SAMPLEFORMAT_IEEEFP ? " (floating point)" : "");
    return true;
}

static bool measure_parts(struct mask_tiff *mask, struct error *err)
{
    TIFF *tiff = mask->source.tiff;
    mask->tiled = TIFFIsTiled(tiff);
    if (mask->tiled) {
        TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &mask->part_width);
        TIFFGetField(tiff, TIFFTAG_TILELENGTH, &mask->part_height);
        mask->decoded_bytes = TIFFTileSize(tiff);
    } else {
        mask->part_width = mask->width;
        TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &mask->part_height);
        if (mask->part_height > mask->height) mask->part_height = mask->height;
        mask->decoded_bytes = TIFFStripSize(tiff);
    }
    if (mask->decoded_bytes > DECODED_MAX)
        return fail(
            mask,
            "its strips or tiles are larger than 512 MiB; convert it with `vips tiffsave IN "
            "OUT.tif --tile --compression deflate --bigtiff`",
            err);
    /* libtiff's size must agree with the layout that read_row() assumes. */
    if (!mask->part_width || !mask->part_height || mask->decoded_bytes < 1 ||
        row_bytes(mask) * mask->part_height > (uint64_t)mask->decoded_bytes)
        return fail(mask, "its tiles or strips have an impossible size", err);
    return true;
}

bool mask_tiff_open(struct mask_tiff **mask, const char *path, struct error *err)
{
    struct mask_tiff *made = *mask = calloc(1, sizeof *made);
    if (!made) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", path);
    if (!tiff_check_whole(path, err) || !tiff_source_open(&made->source, path, err) ||
        !select_largest(made, err) || !check_pixels(made, err) || !measure_parts(made, err))
        goto fail;
    made->decoded = malloc((size_t)made->decoded_bytes);
    made->values = malloc(made->part_width < made->width ? made->part_width : made->width);
    made->empty = malloc(EMPTY_BYTES_MAX);
    made->raw = malloc(EMPTY_BYTES_MAX);
    if (made->decoded && made->values && made->empty && made->raw) return true;
    error_set(err, EXIT_CODE_FAILED, "%s: out of memory for a tile", path);
fail:
    mask_tiff_release(made);
    *mask = NULL;
    return false;
}

void mask_tiff_release(struct mask_tiff *mask)
{
    if (!mask) return;
    tiff_source_release(&mask->source);
    free(mask->decoded);
    free(mask->values);
    free(mask->empty);
    free(mask->raw);
    free(mask);
}

void mask_tiff_size(const struct mask_tiff *mask, int64_t *width, int64_t *height)
{
    *width = mask->width;
    *height = mask->height;
}

/* Row y of the decoded part, one byte per pixel; may point into `decoded`. */
static const uint8_t *read_row(struct mask_tiff *mask, uint32_t y, uint32_t width)
{
    const uint8_t *row = mask->decoded + y * row_bytes(mask);
    uint8_t *values = mask->values;

    if (mask->bits == 8 && mask->samples == 1 && !mask->inverted) return row;
    for (uint32_t x = 0; x < width; x++) {
        const size_t sample = (size_t)x * mask->samples;
        uint16_t wide;
        switch (mask->bits) {
        case 1:
            values[x] = row[x / 8] >> (7 - x % 8) & 1;
            break;
        case 8:
            values[x] = row[sample];
            break;
        default:
            memcpy(&wide, row + 2 * sample, 2);
            if (mask->inverted) wide = (uint16_t)~wide;
            values[x] = wide < 255 ? (uint8_t)wide : 255;
        }
    }
    if (mask->inverted && mask->bits < 16)
        for (uint32_t x = 0; x < width; x++) values[x] ^= mask->bits == 1 ? 1 : 255;
    return values;
}

/* Length of the run of equal values at the start of `values`. */
static uint32_t equal_length(const uint8_t *values, uint32_t count)
{
    const uint64_t pattern = 0x0101010101010101u * values[0];
    uint32_t length = 1;
    for (uint64_t eight; length + 8 <= count; length += 8) {
        memcpy(&eight, values + length, 8);
        if (eight != pattern) break;
    }
    while (length < count && values[length] == values[0]) length++;
    return length;
}

static bool scan_row(struct run_rows *rows, int64_t row, int64_t x0, const uint8_t *values,
                     uint32_t width, int64_t histogram[256], struct error *err)
{
    for (uint32_t x = 0, length; x < width; x += length) {
        length = equal_length(values + x, width - x);
        histogram[values[x]] += length;
        if (values[x] && !run_rows_append(rows, row, x0 + x, x0 + x + length, err)) return false;
    }
    return true;
}

static tmsize_t read_raw(struct mask_tiff *mask, uint32_t part, tmsize_t bytes)
{
    return mask->tiled ? TIFFReadRawTile(mask->source.tiff, part, mask->raw, bytes)
                       : TIFFReadRawStrip(mask->source.tiff, part, mask->raw, bytes);
}

/* Whether a part is missing, or has the compressed bytes of a part that was decoded to zeros. */
static bool known_empty(struct mask_tiff *mask, uint32_t part, uint64_t bytes)
{
    if (bytes == 0) return true;
    return mask->empty_bytes && bytes == (uint64_t)mask->empty_bytes &&
           read_raw(mask, part, mask->empty_bytes) == mask->empty_bytes &&
           !memcmp(mask->raw, mask->empty, (size_t)mask->empty_bytes);
}

/* If the part just decoded is all zeros, remember its compressed bytes. */
static void learn_empty(struct mask_tiff *mask, uint32_t part, uint64_t bytes)
{
    if (mask->empty_bytes || mask->inverted || bytes > EMPTY_BYTES_MAX || *mask->decoded ||
        memcmp(mask->decoded, mask->decoded + 1, (size_t)mask->decoded_bytes - 1) != 0)
        return;
    if (read_raw(mask, part, (tmsize_t)bytes) != (tmsize_t)bytes) return;
    memcpy(mask->empty, mask->raw, (size_t)bytes);
    mask->empty_bytes = (tmsize_t)bytes;
}

/* Decode the part with top left corner (x0, y0) and append its runs. */
static bool read_part(struct mask_tiff *mask, uint32_t x0, uint32_t y0, struct run_rows *rows,
                      int64_t histogram[256], struct error *err)
{
    TIFF *tiff = mask->source.tiff;
    const uint32_t part = mask->tiled ? TIFFComputeTile(tiff, x0, y0, 0, 0)
                                      : TIFFComputeStrip(tiff, y0, 0);
    const uint32_t right = mask->width - x0, below = mask->height - y0;
    const uint32_t width = right < mask->part_width ? right : mask->part_width;
    const uint32_t height = below < mask->part_height ? below : mask->part_height;
    const uint64_t bytes = TIFFGetStrileByteCount(tiff, part);
    const tmsize_t needed = (tmsize_t)(row_bytes(mask) * height);

    if (known_empty(mask, part, bytes)) {
        histogram[0] += (int64_t)width * height;
        return true;
    }
    if ((mask->tiled
             ? TIFFReadEncodedTile(tiff, part, mask->decoded, mask->decoded_bytes)
             : TIFFReadEncodedStrip(tiff, part, mask->decoded, mask->decoded_bytes)) < needed)
        return fail(mask, "the mask cannot be read", err);
    if (needed == mask->decoded_bytes) learn_empty(mask, part, bytes);
    for (uint32_t y = 0; y < height; y++)
        if (!scan_row(rows, y0 + y, x0, read_row(mask, y, width), width, histogram, err))
            return false;
    return true;
}

bool mask_tiff_read(struct mask_tiff *mask, struct run_rows *rows, int64_t histogram[256],
                    struct error *err)
{
    memset(histogram, 0, 256 * sizeof *histogram);
    for (uint32_t y = 0; y < mask->height; y += mask->part_height)
        for (uint32_t x = 0; x < mask->width; x += mask->part_width)
            if (!read_part(mask, x, y, rows, histogram, err)) return false;
    return true;
}
