/* Writes a pyramidal tiled TIFF whose finest level comes from a function, in memory that does not
 * grow with the image.
 *
 * Tiles are made in Z-order: four finished tiles are reduced into their parent at once, so only a
 * block of tiles and one path to the root are ever held. All levels share one file; tiles are
 * appended as they come and the directories that name them are written last, when the size of the
 * file, and so TIFF or BigTIFF, is known. A tile of background alone is stored once, and all such
 * tiles of a level point at it. */
#ifndef MICROMET_SYNTH_TIFF_PYRAMID_H
#define MICROMET_SYNTH_TIFF_PYRAMID_H

#include <stddef.h>
#include <stdint.h>

#include "micromet/base/error.h"
#include "micromet/base/log.h"

enum tiff_pyramid_kind {
    TIFF_PYRAMID_JPEG, /* RGB drawn, YCbCr 4:2:0 stored, levels reduced by averaging 2×2 px */
    TIFF_PYRAMID_MASK, /* one channel, deflate, levels reduced by the maximum of 2×2 px */
};

struct tiff_pyramid {
    enum tiff_pyramid_kind kind;
    int64_t width, height; /* level-0 px */
    int levels;
    int tile;    /* px, multiple of 16 */
    int quality; /* JPEG 1..100 */
    double mpp;  /* µm/px; 0 = not written */
    uint8_t background[3];
    int threads;
    struct progress *progress; /* may be NULL; told of level-0 tiles */

    void *context;
    /* Draw the level-0 tile whose top left pixel is (x, y) into pixels[tile*tile*channels]; called
     * from several threads. The tile may reach beyond the image. */
    bool (*draw)(void *context, int64_t x, int64_t y, int worker, uint8_t *pixels,
                 struct error *err);
    /* True only if draw() would give nothing but background in the half-open rectangle. */
    bool (*empty)(void *context, int64_t x0, int64_t y0, int64_t x1, int64_t y1);
};

bool tiff_pyramid_write(const struct tiff_pyramid *pyramid, const char *path, struct error *err);

/* Internal to the writer. */
struct tiff_level {
    int64_t width, height; /* px */
    int64_t columns, rows; /* tiles */
    uint64_t *offsets;     /* (rows, columns) bytes from the file's start; 0 = background */
    uint32_t *sizes;       /* (rows, columns) bytes */
};

int tiff_tile_channels(const struct tiff_pyramid *pyramid);

/* One compressed tile; *bytes is malloc'ed. */
bool tiff_tile_encode(const struct tiff_pyramid *pyramid, const uint8_t *pixels, uint8_t **bytes,
                      size_t *size, struct error *err);

/* Shrink `child` to half its size, into one quadrant of `parent`. */
void tiff_tile_reduce(const struct tiff_pyramid *pyramid, const uint8_t *child, int right,
                      int lower, uint8_t *parent);

/* Append the directories of all levels to `stream`, whose next byte is at `position`, and fill in
 * the file's header (its first 16 bytes, left free). */
struct atomic_file;
bool tiff_directories_write(const struct tiff_pyramid *pyramid, const struct tiff_level *levels,
                            struct atomic_file *file, uint64_t position, struct error *err);

#endif
