/* Chooses the pages that are levels, as OpenSlide does, and judges their tags.
 *
 * OpenSlide decodes a JPEG page of three 8-bit samples itself, and Aperio's JPEG 2000. For the rest
 * it asks libtiff's TIFFRGBAImageGet() for whole tiles, which reach beyond the page at its right
 * and lower edge. Since a security fix (CVE-2025-9900) libtiff answers with pixels moved down or
 * sheared: in Debian 12 where a page is lower or narrower than one tile, in later versions in the
 * last row of tiles of any page. So tiff_level.c reads these pages. Orientation turns single tiles
 * in the one way, and is ignored in the other. */
#include "tiff_pages.h"

#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"
#include "tiff_source.h"
#include "tiff_unread.h"

enum {
    DIRECTORIES_MAX = 4096,
    TILES_MAX = 1 << 26,
    TILE_PIXELS_MAX = 1 << 27,
    COMPRESSION_JP2K_YCBCR = 33003, /* Aperio's */
    COMPRESSION_JP2K_RGB = 33005,
};

struct tags {
    uint32_t subfile, depth;
    uint16_t compression, photometric, bits, samples, format, planar, orientation, max_value;
    uint16_t extra_count, extra; /* extra samples, and what the first of them is */
    uint16_t chroma_width, chroma_height;
    bool tiled, has_subfile;
    const char *description; /* "" if there is none */
};

static void read_tags(TIFF *tiff, struct tags *tags)
{
    uint16_t *extra = NULL;
    *tags = (struct tags) {
        .tiled = TIFFIsTiled(tiff), .description = "", .depth = 1, .max_value = UINT16_MAX
    };
    tags->has_subfile = TIFFGetField(tiff, TIFFTAG_SUBFILETYPE, &tags->subfile);
    TIFFGetField(tiff, TIFFTAG_IMAGEDEPTH, &tags->depth);
    TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &tags->photometric);
    TIFFGetField(tiff, TIFFTAG_MAXSAMPLEVALUE, &tags->max_value);
    TIFFGetField(tiff, TIFFTAG_IMAGEDESCRIPTION, &tags->description);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &tags->compression);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &tags->bits);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &tags->samples);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &tags->format);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &tags->planar);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ORIENTATION, &tags->orientation);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_YCBCRSUBSAMPLING, &tags->chroma_width,
                          &tags->chroma_height);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &tags->extra_count, &extra);
    if (tags->extra_count && extra) tags->extra = extra[0];
}

/* --- Which pages are levels ------------------------------------------------------------------- */

static bool is_tiled(const struct tags *tags, int directory)
{
    (void)directory;
    return tags->tiled;
}

static bool is_first_or_reduced(const struct tags *tags, int directory)
{
    const bool reduced = tags->has_subfile && tags->subfile & FILETYPE_REDUCEDIMAGE;
    return tags->tiled && (directory == 0 || reduced);
}

static bool is_called_level(const struct tags *tags, int directory)
{
    (void)directory;
    return tags->tiled && strstr(tags->description, "level=");
}

/* Leica's fluorescence channels, of which OpenSlide makes no levels, have one sample. */
static bool is_tiled_color(const struct tags *tags, int directory)
{
    (void)directory;
    return tags->tiled && tags->samples == 3;
}

struct vendor {
    const char *name;
    bool (*is_level)(const struct tags *tags, int directory);
    bool plain;  /* see struct tiff_pages */
    bool single; /* each level is one page */
    bool sorted; /* by width */
    bool jp2k;   /* OpenSlide decodes Aperio's JPEG 2000 */
};

static const struct vendor vendors[] = {
    { "generic-tiff", is_first_or_reduced, true, true, true, false },
    { "aperio", is_tiled, true, true, false, true },
    { "philips", is_tiled, false, true, false, false },
    { "trestle", is_tiled, false, false, false, false },
    { "ventana", is_called_level, false, false, false, false },
    { "leica", is_tiled_color, false, false, false, false },
};

/* --- Which tags are read right ---------------------------------------------------------------- */

/* Whether OpenSlide decodes the page itself rather than through TIFFRGBAImageGet(). */
static bool decoded_by_openslide(const struct tags *tags, const struct vendor *vendor)
{
    if (vendor->jp2k &&
        (tags->compression == COMPRESSION_JP2K_YCBCR || tags->compression == COMPRESSION_JP2K_RGB))
        return true;
    return tags->compression == COMPRESSION_JPEG && tags->planar == PLANARCONFIG_CONTIG &&
           (tags->photometric == PHOTOMETRIC_RGB || tags->photometric == PHOTOMETRIC_YCBCR) &&
           tags->bits == 8 && tags->samples == 3;
}

/* What libtiff converts to RGB as it is meant: photometric interpretations with their numbers of
 * bits, added up. (libtiff 4.5 shears the last tiles of grey images of 16 bits.) */
static const struct {
    uint16_t photometric, bits, samples;
    bool alpha;  /* one more sample may follow */
    bool planar; /* samples may stand in planes */
} kinds[] = {
    { PHOTOMETRIC_RGB, 8 | 16, 3, true, true },
    { PHOTOMETRIC_MINISBLACK, 2 | 4 | 8, 1, false, true },
    { PHOTOMETRIC_MINISWHITE, 2 | 4 | 8, 1, false, true },
    { PHOTOMETRIC_PALETTE, 2 | 4 | 8, 1, false, true },
    { PHOTOMETRIC_YCBCR, 8, 3, false, false },
};

/* Why a page is not read, and what to do. */
struct objection {
    const char *tag;
    int value;
    const char *why, *remedy;
};

static const char convert[] =
    "convert it to 8-bit RGB: `vips colourspace IN 'OUT.tif[tile,pyramid,bigtiff]' srgb`";
static const char reencode[] =
    "convert it: `vips tiffsave IN OUT.tif --tile --pyramid --bigtiff --compression jpeg`";
static const char turn[] = "turn the pixels with `vips autorot IN "
                           "'OUT.tif[tile,pyramid,bigtiff]'`, or set the tag to 1 if "
                           "they stand upright";
static const char scale[] =
    "scale it to 8 bits, as with `vips linear IN 'OUT.tif[tile,pyramid,bigtiff]' 0.0625 0 --uchar` "
    "for 12 bits";
static const char flatten[] =
    "remove it: `vips extract_band IN 'OUT.tif[tile,pyramid,bigtiff]' 0 --n 3`";

static struct objection object_to_kind(const struct tags *tags)
{
    size_t i = 0;
    while (i < COUNT_OF(kinds) && kinds[i].photometric != tags->photometric) i++;
    if (i == COUNT_OF(kinds))
        return (struct objection) { "PhotometricInterpretation", tags->photometric,
                                    "colours of this kind are not read", convert };
    const int more = tags->samples - kinds[i].samples;
    if (!(kinds[i].bits & tags->bits) || (tags->bits & (tags->bits - 1)))
        return (struct objection) { "BitsPerSample", tags->bits,
                                    "not read with this PhotometricInterpretation", convert };
    if (more && !(more == 1 && kinds[i].alpha))
        return (struct objection) { "SamplesPerPixel", tags->samples,
                                    "not read with this PhotometricInterpretation", convert };
    if (more && (tags->extra_count != 1 ||
                 (tags->extra != EXTRASAMPLE_ASSOCALPHA && tags->extra != EXTRASAMPLE_UNASSALPHA)))
        return (struct objection) { "ExtraSamples", tags->extra,
                                    "a sample that is neither colour nor alpha", flatten };
    if (tags->planar != PLANARCONFIG_CONTIG && !kinds[i].planar)
        return (struct objection) { "PlanarConfiguration", tags->planar,
                                    "planes of luminance and chrominance are not read", convert };
    if (tags->photometric == PHOTOMETRIC_YCBCR && tags->chroma_height > 2)
        return (struct objection) { "YCbCrSubSampling", tags->chroma_height,
                                    "libtiff 4.5 misreads it at the edges without JPEG", reencode };
    return (struct objection) { 0 };
}

static struct objection object(const struct tags *tags, const struct vendor *vendor)
{
    const bool decoded = decoded_by_openslide(tags, vendor);
    if (tags->orientation != ORIENTATION_TOPLEFT)
        return (struct objection) { "Orientation", tags->orientation,
                                    "a turned or mirrored image; micromet does not turn it", turn };
    if (decoded) return (struct objection) { 0 };
    if (!TIFFIsCODECConfigured(tags->compression) || tags->compression == COMPRESSION_OJPEG)
        return (struct objection) { "Compression", tags->compression,
                                    "not read in files of this kind", reencode };
    if (tags->format != SAMPLEFORMAT_UINT && tags->format != SAMPLEFORMAT_VOID)
        return (struct objection) { "SampleFormat", tags->format,
                                    "pixels are not whole numbers from 0 on", convert };
    if (tags->depth != 1)
        return (struct objection) { "ImageDepth", (int)tags->depth, "a volume, not an image",
                                    convert };
    if (tags->bits == 16 && tags->max_value < UINT16_MAX)
        return (struct objection) { "MaxSampleValue", tags->max_value,
                                    "16-bit samples that do not use all bits", scale };
    if (!vendor->plain)
        return (
            struct objection) { "Compression", tags->compression,
                                "OpenSlide misreads it in this format if it is not JPEG of 8-bit "
                                "RGB or YCbCr",
                                reencode };
    return object_to_kind(tags);
}

/* --- Reading ---------------------------------------------------------------------------------- */

static bool refuse(const char *path, const struct tiff_page *page, struct objection objection,
                   struct error *err)
{
    return error_set(err, EXIT_CODE_FAILED,
                     "%s: TIFF directory %d (%lld x %lld px): the tag %s is %d: %s; %s", path,
                     page->directory, (long long)page->width, (long long)page->height,
                     objection.tag, objection.value, objection.why, objection.remedy);
}

static bool is_missing(TIFF *tiff, uint32_t tile)
{
    int failed = 0;
    return TIFFGetStrileByteCountWithErr(tiff, tile, &failed) == 0 ||
           TIFFGetStrileOffsetWithErr(tiff, tile, &failed) == 0;
}

static bool find_missing(TIFF *tiff, struct tiff_page *page, const char *path, struct error *err)
{
    const int64_t tiles = page->tiles_across * page->tiles_down;
    for (int64_t tile = 0; tile < tiles; tile++) {
        if (!is_missing(tiff, (uint32_t)tile)) continue;
        if (!page->is_missing) page->is_missing = calloc((size_t)tiles, 1);
        if (!page->is_missing)
            return error_set(err, EXIT_CODE_FAILED, "%s: out of memory for its tiles", path);
        page->is_missing[tile] = 1;
        page->missing++;
    }
    return true;
}

static bool measure(TIFF *tiff, struct tiff_page *page, const char *path, struct error *err)
{
    uint32_t width = 0, height = 0, tile_width = 0, tile_height = 0;
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &tile_width);
    TIFFGetField(tiff, TIFFTAG_TILELENGTH, &tile_height);
    page->width = width, page->height = height;
    if (!width || !height || !tile_width || !tile_height || width > INT32_MAX ||
        height > INT32_MAX || (uint64_t)tile_width * tile_height > TILE_PIXELS_MAX)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: TIFF directory %d has an impossible size: %u x %u px in tiles of "
                         "%u x %u px",
                         path, page->directory, width, height, tile_width, tile_height);
    page->tile_width = tile_width, page->tile_height = tile_height;
    page->tiles_across = CEIL_DIV(page->width, page->tile_width);
    page->tiles_down = CEIL_DIV(page->height, page->tile_height);
    if (page->tiles_across * page->tiles_down > TILES_MAX)
        return error_set(err, EXIT_CODE_FAILED, "%s: TIFF directory %d has too many tiles: %lld",
                         path, page->directory, (long long)(page->tiles_across * page->tiles_down));
    return true;
}

/* Add the current directory, whose tags are `tags`. */
static bool add(struct tiff_pages *pages, TIFF *tiff, const struct tags *tags, int directory,
                const struct vendor *vendor, const char *path, struct error *err)
{
    if (pages->count == SLIDE_LEVELS_MAX)
        return error_set(err, EXIT_CODE_FAILED, "%s: more than %d levels", path, SLIDE_LEVELS_MAX);
    struct tiff_page *page = &pages->pages[pages->count++];
    *page = (struct tiff_page) { .directory = directory, .deep = tags->bits == 16 };
    if (!measure(tiff, page, path, err)) return false;
    const struct objection objection = object(tags, vendor);
    if (objection.tag) return refuse(path, page, objection, err);
    page->for_libtiff = TIFFIsCODECConfigured(tags->compression);
    page->by_libtiff = !decoded_by_openslide(tags, vendor);
    if (!find_missing(tiff, page, path, err)) return false;
    /* OpenSlide knows of missing tiles in the other formats. */
    if (page->missing && vendor->sorted) page->by_libtiff = true;
    return true;
}

/* Stable, as OpenSlide's. */
static void sort_by_width(struct tiff_pages *pages)
{
    for (int i = 1; i < pages->count; i++)
        for (int k = i; k > 0 && pages->pages[k].width > pages->pages[k - 1].width; k--) {
            const struct tiff_page page = pages->pages[k];
            pages->pages[k] = pages->pages[k - 1];
            pages->pages[k - 1] = page;
        }
}

/* OpenSlide says only that it does not know such a file. */
static bool check_order(const struct tiff_pages *pages, const char *path, struct error *err)
{
    const struct tiff_page *first = &pages->pages[0];
    double before = 1;
    for (int i = 1; i < pages->count; i++) {
        const struct tiff_page *page = &pages->pages[i];
        const double downsample = ((double)first->width / (double)page->width +
                                   (double)first->height / (double)page->height) /
                                  2;
        if (downsample < before)
            return error_set(
                err, EXIT_CODE_FAILED,
                "%s: TIFF directory %d (%lld x %lld px) is no level of this slide (%lld x %lld px) "
                "but stands among its levels, perhaps a label, macro or thumbnail: remove it, as "
                "with `tiffcp FILE,0,1,2 OUT`, which keeps directories 0, 1 and 2",
                path, page->directory, (long long)page->width, (long long)page->height,
                (long long)first->width, (long long)first->height);
        before = downsample;
    }
    return true;
}

static bool read_pages(struct tiff_pages *pages, TIFF *tiff, const struct vendor *vendor,
                       const char *path, struct error *err)
{
    int directory = 0;
    do {
        struct tags tags;
        read_tags(tiff, &tags);
        if (vendor->is_level(&tags, directory) &&
            !add(pages, tiff, &tags, directory, vendor, path, err))
            return false;
    } while (++directory < DIRECTORIES_MAX && TIFFReadDirectory(tiff));
    if (vendor->sorted) sort_by_width(pages);
    return !vendor->plain || check_order(pages, path, err);
}

bool tiff_pages_read(struct tiff_pages *pages, const char *path, const char *vendor_name,
                     struct error *err)
{
    const struct vendor *vendor = NULL;
    struct tiff_source source;

    *pages = (struct tiff_pages) { 0 };
    for (size_t i = 0; i < COUNT_OF(vendors); i++)
        if (!strcmp(vendors[i].name, vendor_name)) vendor = &vendors[i];
    if (!vendor) return true;
    if (!tiff_source_open(&source, path, err)) return false;
    const bool ok = read_pages(pages, source.tiff, vendor, path, err) &&
                    (vendor->is_level != is_first_or_reduced ||
                     tiff_unread_find(pages, source.tiff, path, err));
    tiff_source_release(&source);
    pages->plain = vendor->plain;
    if (!ok || !vendor->single) tiff_pages_release(pages);
    return ok;
}

void tiff_pages_release(struct tiff_pages *pages)
{
    for (int i = 0; i < pages->count; i++) free(pages->pages[i].is_missing);
    pages->count = 0;
}
