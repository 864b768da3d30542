/* Image files: PNG, and float TIFFs that QuPath, ASAP and Python read. Written atomically. */
#ifndef MICROMET_FORMAT_IMAGE_H
#define MICROMET_FORMAT_IMAGE_H

#include <stdint.h>

#include "micromet/base/error.h"
#include "micromet/base/file.h"

/* rgb: (height, width, 3). */
bool image_write_png(const char *path, const uint8_t *rgb, int width, int height,
                     struct error *err);
/* Read any 8-bit PNG as RGB; *rgb is malloc'ed. */
bool image_read_png(const char *path, uint8_t **rgb, int *width, int *height, struct error *err);

/* A single-channel float32 TIFF, tiled 256×256, deflate. Rows are appended and written one row of
 * tiles at a time, so memory stays bounded. NaN means "no value". Resolution tags carry the pixel
 * size, ImageDescription a JSON text. */
struct float_tiff;
bool float_tiff_create(struct float_tiff **tiff, const char *path, int64_t width, int64_t height,
                       double um_per_px /* 0 = unknown */, const char *description,
                       struct error *err);
/* Append any number of rows. values: (rows, width). */
bool float_tiff_append(struct float_tiff *tiff, const float *values, int64_t rows,
                       struct error *err);
bool float_tiff_commit(struct float_tiff *tiff, struct error *err);
void float_tiff_release(struct float_tiff *tiff);
/* Whether the file is such a TIFF, written by this program. */
bool float_tiff_is_at(const char *path);

#endif
