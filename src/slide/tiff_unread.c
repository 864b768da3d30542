/* Looks at the directories of a TIFF of which OpenSlide makes no levels though they may be meant as
 * some: SubIFDs, pages that are not marked as reduced, strips, and channels one by one. */
#include "tiff_unread.h"

#include <math.h>
#include <stdio.h>

enum { DIRECTORIES_MAX = 4096 };
static const double aspect_max = 0.01; /* by how much a level's ratio of sides may differ */
#define MAKE_ANEW                                                                                  \
    "make the pyramid anew: `vips tiffsave IN OUT.tif --tile --pyramid --bigtiff --compression "   \
    "jpeg --Q 90`"

struct size {
    uint32_t width, height;
};

static struct size size_of(TIFF *tiff)
{
    struct size size = { 0, 0 };
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &size.width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &size.height);
    return size;
}

/* Whether a page of this size may be a level below the first. */
static bool is_smaller_alike(struct size first, struct size page)
{
    const double across = (double)first.width / page.width;
    const double down = (double)first.height / page.height;
    return across > 1.5 && fabs(across / down - 1) <= aspect_max;
}

static bool refuse_channels(const char *path, int equals, struct size size, struct error *err)
{
    return error_set(
        err, EXIT_CODE_FAILED,
        "%s: holds %d gray images of %u x %u px, as of the channels of one picture, and OpenSlide "
        "sees the first alone; merge them into RGB: `bfconvert -merge IN RGB.tif`, then `vips "
        "tiffsave RGB.tif OUT.tif --tile --pyramid --bigtiff`",
        path, equals, size.width, size.height);
}

static uint32_t kind_of(TIFF *tiff)
{
    uint32_t kind = 0;
    TIFFGetField(tiff, TIFFTAG_SUBFILETYPE, &kind);
    return kind;
}

bool tiff_unread_find(struct tiff_pages *pages, TIFF *tiff, const char *path, struct error *err)
{
    uint16_t samples = 1, inner = 0;
    uint64_t *offsets = NULL;
    if (!TIFFSetDirectory(tiff, 0)) return true;
    const struct size first = size_of(tiff);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &samples);
    TIFFGetField(tiff, TIFFTAG_SUBIFD, &inner, &offsets);
    int equals = 1, unmarked = 0, striped = 0;
    for (int directory = 1; directory < DIRECTORIES_MAX && TIFFReadDirectory(tiff); directory++) {
        const struct size size = size_of(tiff);
        const uint32_t kind = kind_of(tiff);
        if (!size.width || !size.height || kind & FILETYPE_MASK) continue;
        equals += size.width == first.width && size.height == first.height;
        if (!is_smaller_alike(first, size)) continue;
        const bool tiled = TIFFIsTiled(tiff), marked = kind & FILETYPE_REDUCEDIMAGE;
        if (tiled && !marked && !unmarked) unmarked = directory;
        if (!tiled && marked && !striped) striped = directory;
    }
    if (equals > 1 && samples == 1) return refuse_channels(path, equals, first, err);
    if (pages->count > 1) return true;
    if (inner)
        snprintf(
            pages->remark, sizeof pages->remark,
            "its smaller levels are in SubIFDs, as OME-TIFF has them, where OpenSlide does not "
            "look; " MAKE_ANEW);
    else if (unmarked || striped)
        snprintf(pages->remark, sizeof pages->remark,
                 "TIFF directory %d has the shape of a level, but %s, so that OpenSlide does not "
                 "take it for one; " MAKE_ANEW,
                 unmarked ? unmarked : striped,
                 unmarked ? "is not marked as a reduced image (NewSubfileType 1)"
                          : "consists of strips, not of tiles");
    else if (equals > 1)
        snprintf(pages->remark, sizeof pages->remark,
                 "holds %d images of its size, as of several focal planes; the first is taken",
                 equals);
    return true;
}
