/* A whole-slide image read through OpenSlide; the only module that includes openslide.h.
 *
 * Pixels are RGB, 8 bit. OpenSlide's premultiplied ARGB is composed onto the slide's background
 * colour (white where it names none), so missing tiles and pixels outside the slide are never
 * black.
 *
 * A pixel's value does not depend on which region was asked for: every read is assembled from fixed
 * blocks, aligned to the level's tiles, that are fetched from OpenSlide whole (with non-integer
 * downsamples OpenSlide resamples by a fraction of a pixel that depends on the region's corner). A
 * bounded least-recently-used cache keeps blocks. */
#ifndef MICROMET_SLIDE_SLIDE_H
#define MICROMET_SLIDE_SLIDE_H

#include <stddef.h>
#include <stdint.h>

#include "micromet/base/error.h"
#include "micromet/base/file.h"

enum {
    SLIDE_LEVELS_MAX = 32,
    SLIDE_OPENSLIDE_BYTES = 32 << 20, /* of decoded tiles, kept by OpenSlide for each open slide */
};

struct slide_level {
    int64_t width, height;         /* px of this level */
    double downsample;             /* level-0 px per px of this level, as OpenSlide reports it */
    int tile_width, tile_height;   /* px; 0 = the format does not say */
    int block_width, block_height; /* px; a whole number of tiles, about 512 */
};

struct slide {
    char path[PATH_MAX_BYTES];
    void *handle; /* openslide_t; OpenSlide's reads are thread-safe */
    char vendor[64];
    char quickhash[80]; /* openslide.quickhash-1, or a hash of the file's size and its ends */
    int level_count;
    struct slide_level levels[SLIDE_LEVELS_MAX];
    double mpp_x, mpp_y; /* µm per level-0 px, where plausible; 0 if unknown */
    uint8_t background[3];
};

/* Open; `mpp` > 0 overrides the slide's own µm/px. Errors name the file and say what is wrong with
 * it: missing, not a slide that OpenSlide knows, truncated (the directories and pixel data of TIFFs
 * are checked against the file's size). */
bool slide_open(struct slide *slide, const char *path, double mpp, struct error *err);
void slide_release(struct slide *slide);

/* Blocks of one slide kept by one thread: at most limit_bytes of them, but always the last one. */
struct slide_cache;
bool slide_cache_init(struct slide_cache **cache, const struct slide *slide, size_t limit_bytes,
                      struct error *err);
void slide_cache_release(struct slide_cache *cache);
/* Blocks fetched from OpenSlide so far. */
int64_t slide_cache_blocks_read(const struct slide_cache *cache);

/* Read width×height px of `level` whose top left pixel is (x_level, y_level), px of that level,
 * into rgb[(row*row_stride) + 3*column]; row_stride in bytes. The region may reach outside the
 * slide. After a read that failed, every other read of the slide fails too, until it is opened
 * again (so OpenSlide has it). */
bool slide_read(struct slide_cache *cache, int level, int64_t x_level, int64_t y_level, int width,
                int height, uint8_t *rgb, size_t row_stride, struct error *err);

/* Where the window×window px window centred at (x_level0, y_level0) begins on `level`:
 * round(x_level0 / downsample) - window / 2. */
void slide_window_corner(const struct slide *slide, int level, int64_t x_level0, int64_t y_level0,
                         int window, int64_t *x_level, int64_t *y_level);

/* The slide with its longer side `side_max` px, or as large as it is if that is smaller: the
 * coarsest level that need not be enlarged, each pixel the rounded mean of the level's pixels p
 * with p * side / level side (rounded down) there. *rgb is malloc'ed, width*height*3. Memory stays
 * bounded for slides with one level only: blocks are averaged as they are read. */
bool slide_thumbnail(const struct slide *slide, int side_max, uint8_t **rgb, int *width,
                     int *height, struct error *err);

#endif
