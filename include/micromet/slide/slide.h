/* A whole-slide image, read with OpenSlide; the only module that includes openslide.h.
 *
 * Pixels are 8-bit RGB. OpenSlide's premultiplied ARGB is composited onto the slide's background
 * colour (white if it has none), so missing tiles and pixels outside the slide are never black.
 *
 * A pixel's value does not depend on the region requested. With non-integer downsamples OpenSlide
 * resamples by a fraction of a pixel that depends on the region's corner; therefore every read is
 * assembled from fixed blocks, aligned to the level's tiles, that are fetched whole and kept in a
 * bounded least-recently-used cache.
 *
 * What OpenSlide misreads in TIFFs is mended or refused when the slide is opened: pages that it
 * decodes wrongly are read by libtiff, levels padded to whole tiles get their true downsample, and
 * pages that are no shrunken copies of level 0, as far as their coarse content tells, are left out
 * (with a remark) or refused.
 *
 * Behind the slide's own levels there may be some that are made: shrunk by area from another one
 * (shrink.h) to a scale that the slide lacks. They are read like the others. */
#ifndef MICROMET_SLIDE_SLIDE_H
#define MICROMET_SLIDE_SLIDE_H

#include <stddef.h>
#include <stdint.h>

#include "micromet/base/error.h"
#include "micromet/base/file.h"

enum {
    SLIDE_LEVELS_MAX = 32,
    SLIDE_MADE_MAX = 4,
    SLIDE_OPENSLIDE_BYTES = 32 << 20, /* decoded tiles that OpenSlide caches for each open slide */
};

/* µm per level-0 px that a microscope may have: screen and printer resolutions (72 dpi is 353
 * µm) are outside. */
#define SLIDE_MPP_MIN 0.02
#define SLIDE_MPP_MAX 20.0

struct slide_level {
    int64_t width, height;         /* px of this level that show the slide: without padding */
    double downsample;             /* level-0 px per px of this level */
    double openslide_downsample;   /* what OpenSlide takes for it, and expects in its coordinates */
    int tile_width, tile_height;   /* px; 0 = unknown */
    int block_width, block_height; /* px; a whole number of tiles, about 512 */
    int directory;                 /* of the TIFF, to read it from by libtiff; -1: by OpenSlide */
    /* Tiles without data, which are background, and whether level 0 has pixels at one of them. */
    int64_t missing_tiles;
    bool has_holes;
    /* Of a made level: which level it is shrunk from, and how many of its px make one. Else 0. */
    int source;
    double ratio;
};

struct slide {
    char path[PATH_MAX_BYTES];
    void *handle; /* openslide_t; OpenSlide's reads are thread-safe */
    char vendor[64];
    char quickhash[80]; /* openslide.quickhash-1, or a hash of the file's size and both its ends */
    int level_count;
    struct slide_level levels[SLIDE_LEVELS_MAX + SLIDE_MADE_MAX]; /* its own, then the made ones */
    int made_count;
    int tower_count, tower_levels[SLIDE_MADE_MAX]; /* scale_settle() */
    double in_place_of;  /* µm/px that level 0 is read for, though it is coarser; else 0 */
    double mpp_x, mpp_y; /* µm per level-0 px; 0 if unknown or implausible */
    double mpp_own[2];   /* x, y as the slide itself says; 0 if it does not, or implausibly */
    double mpp_absurd;   /* what it says instead, implausibly; else 0 */
    /* Corner of what has content, where OpenSlide knows it: the origin of QuPath's coordinates. */
    int64_t bounds_x, bounds_y; /* level-0 px */
    uint8_t background[3];
    char remark[512]; /* a page that was left out of the levels, and why; "" if there is none */
};

/* Open a slide; `mpp` > 0 overrides its own µm/px. Errors name the file and the reason: missing,
 * not a format that OpenSlide reads, truncated (in TIFFs, directories and pixel data are checked
 * against the file's size), a TIFF's tags that nobody reads right, levels that do not fit. Reads a
 * bounded number of tiles, for the coarse content of TIFFs' levels. */
bool slide_open(struct slide *slide, const char *path, double mpp, struct error *err);
bool slide_mpp_plausible(double mpp);
void slide_release(struct slide *slide);

/* Add a level shrunk by `ratio` > 1, at most SHRINK_RATIO_MAX, from one of the slide's own or from
 * one made of those, and return its index. It shows as many px as are whole; behind them is
 * background. */
int slide_make_level(struct slide *slide, int source, double ratio);

/* Cache of one slide's blocks for one thread: at most limit_bytes, but never fewer than
 * the latest block. */
struct slide_cache;
bool slide_cache_init(struct slide_cache **cache, const struct slide *slide, size_t limit_bytes,
                      struct error *err);
void slide_cache_release(struct slide_cache *cache);
/* Number of blocks fetched from the file so far. */
int64_t slide_cache_blocks_read(const struct slide_cache *cache);

/* Read width×height px of `level` whose top left pixel is (x_level, y_level), in px of that level,
 * into rgb[(row*row_stride) + 3*column]; row_stride in bytes. The region may reach beyond the
 * slide. After a failed read, OpenSlide fails every further read of the slide until
 * it is reopened. */
bool slide_read(struct slide_cache *cache, int level, int64_t x_level, int64_t y_level, int width,
                int height, uint8_t *rgb, size_t row_stride, struct error *err);

/* Top left pixel on `level` of the window×window px window centred at (x_level0, y_level0):
 * round(x_level0 / downsample) - window / 2. */
void slide_window_corner(const struct slide *slide, int level, int64_t x_level0, int64_t y_level0,
                         int window, int64_t *x_level, int64_t *y_level);

/* The slide scaled so that its longer side is `side_max` px, or unscaled if it is smaller. Made
 * from the coarsest level that need not be enlarged and has no holes: pixel p of the level's side
 * goes to thumbnail pixel p * side / level side (rounded down), and each thumbnail pixel is the
 * rounded mean of its pixels. *rgb is malloc'ed, width*height*3. Blocks are averaged as they are
 * read, so memory stays bounded even for slides with a single level. */
bool slide_thumbnail(const struct slide *slide, int side_max, uint8_t **rgb, int *width,
                     int *height, struct error *err);

#endif
