/* Masks that are PNGs. The stored samples are the values, as in a TIFF: of a palette the indices,
 * and alpha says nothing unless it is the same everywhere, or the same as the value. */
#include <stdlib.h>

#include "annotation_parts.h"
#include "mask_pixels.h"
#include "micromet/format/png_rows.h"

struct mask_png {
    struct png_rows *rows;
    struct png_form form;
    struct mask_pixels pixels;
    uint8_t *row;
    uint16_t *values;
};

bool mask_png_open(struct mask_png **mask, const char *path, struct mask_form *form,
                   struct error *err)
{
    struct mask_png *made = *mask = calloc(1, sizeof *made);
    if (!made) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", path);
    if (!png_rows_open(&made->rows, path, &made->form, err)) goto fail;
    mask_pixels_init_plain(&made->pixels, path, made->form.bits, made->form.samples);
    made->row = malloc(made->form.row_bytes);
    made->values = malloc((size_t)made->form.width * sizeof *made->values);
    *form = (struct mask_form) { .width = made->form.width, .height = made->form.height };
    if (made->row && made->values) return true;
    error_set(err, EXIT_CODE_FAILED, "%s: out of memory", path);
fail:
    mask_png_release(made);
    *mask = NULL;
    return false;
}

void mask_png_release(struct mask_png *mask)
{
    if (!mask) return;
    png_rows_release(mask->rows);
    free(mask->row);
    free(mask->values);
    free(mask);
}

bool mask_png_read(struct mask_png *mask, struct run_rows *layers, struct mask_census *census,
                   struct error *err)
{
    const uint32_t width = (uint32_t)mask->form.width;
    for (int64_t y = 0; y < mask->form.height; y++)
        if (!png_rows_next(mask->rows, mask->row, err) ||
            !mask_pixels_row(&mask->pixels, mask->row, 0, width, mask->values, err) ||
            !mask_row_read(layers, y, 0, mask->values, width, census, err))
            return false;
    return mask_pixels_check(&mask->pixels, err);
}
