/* Reads mask TIFFs with libtiff: the stored values rather than colours, tiled or striped, one tile
 * or strip at a time.
 *
 * Most tiles of a mask are empty and compress to the same bytes. Once one has been decoded to
 * zeros, tiles with identical compressed bytes are taken as zeros without decoding. */
#include <stdlib.h>
#include <string.h>

#include "annotation_parts.h"
#include "mask_pixels.h"
#include "micromet/base/size.h"
#include "tiff_source.h"

enum { DIRECTORIES_MAX = 4096, DECODED_MAX = 512 << 20, EMPTY_BYTES_MAX = 64 << 10 };

struct mask_tiff {
    struct tiff_source source;
    struct mask_form form;
    struct mask_pixels pixels;
    uint32_t width, height, part_width, part_height; /* part: a tile or a strip */
    bool tiled;
    int planes;             /* that are stored one by one */
    tmsize_t decoded_bytes; /* of a plane's part */
    uint8_t *decoded;       /* one part, decoded: (planes, decoded_bytes) */
    uint16_t *values;       /* of one row of it */
    uint8_t *empty;         /* compressed bytes of an all-zero part */
    uint8_t *raw;           /* compressed bytes of the current part */
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
    const uint64_t samples = mask->planes > 1 ? 1 : (uint64_t)mask->pixels.samples;
    return CEIL_DIV(mask->part_width * samples * mask->pixels.bits, 8);
}

/* Select the finest level: the directory with the largest image. Two of that size are two masks. */
static bool select_largest(struct mask_tiff *mask, struct error *err)
{
    TIFF *tiff = mask->source.tiff;
    uint16_t best = 0, directory = 0;
    uint64_t best_area = 0;
    int equals = 0;
    do {
        uint32_t width = 0, height = 0, kind = 0;
        TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
        TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
        TIFFGetField(tiff, TIFFTAG_SUBFILETYPE, &kind);
        const uint64_t area = (uint64_t)width * height;
        if (area < best_area || kind & FILETYPE_MASK) continue;
        equals = area == best_area ? equals + 1 : 1;
        if (area == best_area) continue;
        best_area = area;
        best = directory;
        mask->width = width, mask->height = height;
    } while (++directory < DIRECTORIES_MAX && TIFFReadDirectory(tiff));
    *mask->source.complaint = 0;
    if (equals > 1 && best_area)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: holds %d images of %u x %u px; a mask is one: save that which marks "
                         "tumor by itself",
                         mask->source.path, equals, mask->width, mask->height);
    return best_area && TIFFSetDirectory(tiff, best) ? true : fail(mask, "holds no image", err);
}

static bool measure_parts(struct mask_tiff *mask, struct error *err)
{
    TIFF *tiff = mask->source.tiff;
    mask->tiled = TIFFIsTiled(tiff);
    mask->planes = mask->pixels.planar ? mask->pixels.samples : 1;
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
    if (mask->decoded_bytes > DECODED_MAX / mask->planes)
        return fail(
            mask,
            "its strips or tiles are larger than 512 MiB; convert it with `vips tiffsave IN "
            "OUT.tif --tile --compression deflate --bigtiff`",
            err);
    /* libtiff's size must agree with the layout that mask_pixels_row() assumes. */
    if (!mask->part_width || !mask->part_height || mask->decoded_bytes < 1 ||
        row_bytes(mask) * mask->part_height > (uint64_t)mask->decoded_bytes)
        return fail(mask, "its tiles or strips have an impossible size", err);
    return true;
}

/* µm per px by the resolution tags; 0 if they do not say. */
static double resolution(TIFF *tiff)
{
    uint16_t unit;
    float per_unit = 0;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_RESOLUTIONUNIT, &unit);
    TIFFGetField(tiff, TIFFTAG_XRESOLUTION, &per_unit);
    if (!(per_unit > 0)) return 0;
    return (unit == RESUNIT_CENTIMETER ? 1e4 : unit == RESUNIT_INCH ? 25400 : 0) / (double)per_unit;
}

static void describe(struct mask_tiff *mask)
{
    mask->form = (struct mask_form) {
        .width = mask->width,
        .height = mask->height,
        .tile_width = mask->tiled ? mask->part_width : 0,
        .tile_height = mask->tiled ? mask->part_height : 0,
        .mpp = resolution(mask->source.tiff),
        .lossy = mask->pixels.lossy,
    };
}

bool mask_tiff_open(struct mask_tiff **mask, const char *path, struct error *err)
{
    struct mask_tiff *made = *mask = calloc(1, sizeof *made);
    if (!made) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", path);
    if (!tiff_check_whole(path, err) || !tiff_source_open(&made->source, path, err) ||
        !select_largest(made, err) ||
        !mask_pixels_init(&made->pixels, made->source.tiff, path, err) || !measure_parts(made, err))
        goto fail;
    describe(made);
    made->decoded = malloc((size_t)made->decoded_bytes * (size_t)made->planes);
    made->values = malloc((made->part_width < made->width ? made->part_width : made->width) *
                          sizeof *made->values);
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

const struct mask_form *mask_tiff_form(const struct mask_tiff *mask)
{
    return &mask->form;
}

static tmsize_t read_raw(struct mask_tiff *mask, uint32_t part, tmsize_t bytes)
{
    return mask->tiled ? TIFFReadRawTile(mask->source.tiff, part, mask->raw, bytes)
                       : TIFFReadRawStrip(mask->source.tiff, part, mask->raw, bytes);
}

/* Whether a part has the compressed bytes of a part that was decoded to zeros. */
static bool known_empty(struct mask_tiff *mask, uint32_t part, uint64_t bytes)
{
    return mask->empty_bytes && bytes == (uint64_t)mask->empty_bytes &&
           read_raw(mask, part, mask->empty_bytes) == mask->empty_bytes &&
           !memcmp(mask->raw, mask->empty, (size_t)mask->empty_bytes);
}

/* If the part just decoded is all zeros, remember its compressed bytes. */
static void learn_empty(struct mask_tiff *mask, uint32_t part, uint64_t bytes)
{
    if (mask->empty_bytes || mask->pixels.inverted || bytes > EMPTY_BYTES_MAX || *mask->decoded ||
        memcmp(mask->decoded, mask->decoded + 1, (size_t)mask->decoded_bytes - 1) != 0)
        return;
    if (read_raw(mask, part, (tmsize_t)bytes) != (tmsize_t)bytes) return;
    memcpy(mask->empty, mask->raw, (size_t)bytes);
    mask->empty_bytes = (tmsize_t)bytes;
}

/* Decode one plane of a part of `height` rows; a missing one is 0. */
static bool decode(struct mask_tiff *mask, uint32_t part, uint32_t height, uint8_t *decoded,
                   struct error *err)
{
    TIFF *tiff = mask->source.tiff;
    const uint64_t bytes = TIFFGetStrileByteCount(tiff, part);
    const tmsize_t needed = (tmsize_t)(row_bytes(mask) * height);
    if (!bytes) {
        memset(decoded, 0, (size_t)mask->decoded_bytes);
        return true;
    }
    if ((mask->tiled ? TIFFReadEncodedTile(tiff, part, decoded, mask->decoded_bytes)
                     : TIFFReadEncodedStrip(tiff, part, decoded, mask->decoded_bytes)) < needed)
        return fail(mask, "the mask cannot be read", err);
    if (mask->planes == 1 && needed == mask->decoded_bytes) learn_empty(mask, part, bytes);
    return true;
}

/* Whether the part with these planes need not be decoded, being missing or known to be empty. */
static bool skip(struct mask_tiff *mask, const uint32_t *parts, struct mask_census *census)
{
    int missing = 0, empty = 0;
    for (int plane = 0; plane < mask->planes; plane++) {
        const uint64_t bytes = TIFFGetStrileByteCount(mask->source.tiff, parts[plane]);
        missing += bytes == 0;
        empty += bytes && known_empty(mask, parts[plane], bytes);
    }
    census->parts++;
    census->missing += missing == mask->planes;
    census->empty += empty == mask->planes;
    return missing == mask->planes || empty == mask->planes;
}

/* Decode the part with top left corner (x0, y0) and append its runs. */
static bool read_part(struct mask_tiff *mask, uint32_t x0, uint32_t y0, struct run_rows *layers,
                      struct mask_census *census, struct error *err)
{
    TIFF *tiff = mask->source.tiff;
    const uint32_t right = mask->width - x0, below = mask->height - y0;
    const uint32_t width = right < mask->part_width ? right : mask->part_width;
    const uint32_t height = below < mask->part_height ? below : mask->part_height;
    const size_t plane_bytes = (size_t)mask->decoded_bytes;
    uint32_t parts[MASK_SAMPLES_MAX];

    for (int plane = 0; plane < mask->planes; plane++)
        parts[plane] = mask->tiled ? TIFFComputeTile(tiff, x0, y0, 0, (uint16_t)plane)
                                   : TIFFComputeStrip(tiff, y0, (uint16_t)plane);
    if (skip(mask, parts, census)) {
        census->counts[0] += (int64_t)width * height;
        return true;
    }
    for (int plane = 0; plane < mask->planes; plane++)
        if (!decode(mask, parts[plane], height, mask->decoded + (size_t)plane * plane_bytes, err))
            return false;
    for (uint32_t y = 0; y < height; y++)
        if (!mask_pixels_row(&mask->pixels, mask->decoded + y * row_bytes(mask), plane_bytes, width,
                             mask->values, err) ||
            !mask_row_read(layers, y0 + y, x0, mask->values, width, census, err))
            return false;
    return true;
}

bool mask_tiff_read(struct mask_tiff *mask, struct run_rows *layers, struct mask_census *census,
                    struct error *err)
{
    for (uint32_t y = 0; y < mask->height; y += mask->part_height)
        for (uint32_t x = 0; x < mask->width; x += mask->part_width)
            if (!read_part(mask, x, y, layers, census, err)) return false;
    census->empty += mask->empty_bytes > 0; /* the one that was decoded to find out */
    return mask_pixels_check(&mask->pixels, err);
}
