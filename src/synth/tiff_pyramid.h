/* Writes a pyramidal tiled TIFF whose finest level comes from a function; memory does not grow with
 * the image, except for the tables of tile offsets.
 *
 * Tiles are made in Z-order and four finished tiles are immediately reduced into their parent, so
 * only a block of tiles and one path to the root are held in memory. Tiles of all levels are
 * appended to the file as they are made. The directories follow last, when the size of the file,
 * and thus the choice between TIFF and BigTIFF, is known. A background tile is stored only once;
 * all such tiles refer to it. */
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
    struct progress *progress; /* may be NULL; counts level-0 tiles */

    void *context;
    /* Draw the level-0 tile whose top left pixel is (x, y) into pixels[tile*tile*channels]. Called
     * from several threads. The tile may extend beyond the image. */
    bool (*draw)(void *context, int64_t x, int64_t y, int worker, uint8_t *pixels,
                 struct error *err);
    /* Returns true only if draw() would give pure background throughout the half-open rectangle. */
    bool (*empty)(void *context, int64_t x0, int64_t y0, int64_t x1, int64_t y1);
};

bool tiff_pyramid_write(const struct tiff_pyramid *pyramid, const char *path, struct error *err);

/* Internal to the writer. */
struct tiff_level {
    int64_t width, height; /* px */
    int64_t columns, rows; /* tiles */
    uint64_t *offsets;     /* (rows, columns) file offsets; 0 = background */
    uint32_t *sizes;       /* (rows, columns) bytes */
};

int tiff_tile_channels(const struct tiff_pyramid *pyramid);

/* Compress one tile; *bytes is malloc'ed. */
bool tiff_tile_encode(const struct tiff_pyramid *pyramid, const uint8_t *pixels, uint8_t **bytes,
                      size_t *size, struct error *err);

/* Reduce `child` to half its size, into one quadrant of `parent`. */
void tiff_tile_reduce(const struct tiff_pyramid *pyramid, const uint8_t *child, int right,
                      int lower, uint8_t *parent);

/* Append the directories of all levels at `position`, the end of the file, and fill in the file's
 * header (its first 16 bytes, reserved). */
struct atomic_file;
bool tiff_directories_write(const struct tiff_pyramid *pyramid, const struct tiff_level *levels,
                            struct atomic_file *file, uint64_t position, struct error *err);

#endif
