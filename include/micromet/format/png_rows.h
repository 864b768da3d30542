/* A PNG row by row, with the samples as they are stored: no colours of a palette, no blending, no
 * gamma. For masks, whose values these are. */
#ifndef MICROMET_FORMAT_PNG_ROWS_H
#define MICROMET_FORMAT_PNG_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "micromet/base/error.h"

struct png_form {
    int64_t width, height; /* px; at most 2^22 */
    int bits;              /* a sample: 1, 2, 4, 8, 16 */
    int samples;           /* 1: gray or a palette's index; 2: gray, alpha; 3: RGB; 4: RGB, alpha */
    size_t row_bytes;
};
struct png_rows;
/* Refuses what is interlaced. */
bool png_rows_open(struct png_rows **rows, const char *path, struct png_form *form,
                   struct error *err);
void png_rows_release(struct png_rows *rows);
/* The next row, of row_bytes: samples of less than 8 bits are packed, the first in the highest
 * bits; those of 16 bits are in the processor's order. After the last row the file's end is
 * checked. */
bool png_rows_next(struct png_rows *rows, uint8_t *row, struct error *err);

#endif
