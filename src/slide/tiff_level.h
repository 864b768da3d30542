/* One level of a TIFF, read through libtiff: for pages that OpenSlide would misread. */
#ifndef SLIDE_TIFF_LEVEL_H
#define SLIDE_TIFF_LEVEL_H

#include <stdint.h>

#include "micromet/base/error.h"

struct tiff_level;

/* `directory` is one that tiff_pages_read() accepted. For one thread. */
bool tiff_level_open(struct tiff_level **level, const char *path, int directory, struct error *err);
void tiff_level_release(struct tiff_level *level);

/* Read width×height px whose top left pixel is (x, y) into argb[row * width + column], as OpenSlide
 * gives them: premultiplied, and transparent (0) where a tile is missing. The region lies on the
 * level; it may begin and end anywhere in tiles. */
bool tiff_level_read(struct tiff_level *level, int64_t x, int64_t y, int width, int height,
                     uint32_t *argb, struct error *err);

#endif
