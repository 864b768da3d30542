/* See the header: libpng's row interface, whose errors are jumps that end in these functions. */
#include "micromet/format/png_rows.h"

#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/file.h"

enum { SIDE_MAX = 1 << 22 };

struct png_rows {
    char path[PATH_MAX_BYTES];
    FILE *file;
    png_structp png;
    png_infop info;
    int64_t left; /* rows */
    char complaint[128];
};

static void complain(png_structp png, png_const_charp what)
{
    struct png_rows *rows = png_get_error_ptr(png);
    snprintf(rows->complaint, sizeof rows->complaint, "%s", what);
    png_longjmp(png, 1);
}

static void ignore(png_structp png, png_const_charp what)
{
    (void)png, (void)what;
}

static bool fail(const struct png_rows *rows, struct error *err)
{
    return error_set(err, EXIT_CODE_FAILED, "%s: cannot be read as PNG: %s", rows->path,
                     rows->complaint);
}

static bool read_form(struct png_rows *rows, struct png_form *form, struct error *err)
{
    if (setjmp(png_jmpbuf(rows->png))) return fail(rows, err);
    png_init_io(rows->png, rows->file);
    png_set_user_limits(rows->png, SIDE_MAX, SIDE_MAX);
    png_read_info(rows->png, rows->info);
    if (png_get_interlace_type(rows->png, rows->info) != PNG_INTERLACE_NONE)
        return error_set(err, EXIT_CODE_FAILED, "%s: an interlaced PNG; save it without that",
                         rows->path);
    const uint16_t one = 1;
    uint8_t low;
    memcpy(&low, &one, 1);
    form->bits = png_get_bit_depth(rows->png, rows->info);
    if (form->bits == 16 && low) png_set_swap(rows->png);
    png_read_update_info(rows->png, rows->info);
    form->width = png_get_image_width(rows->png, rows->info);
    form->height = rows->left = png_get_image_height(rows->png, rows->info);
    form->samples = png_get_channels(rows->png, rows->info);
    form->row_bytes = png_get_rowbytes(rows->png, rows->info);
    return true;
}

bool png_rows_open(struct png_rows **rows, const char *path, struct png_form *form,
                   struct error *err)
{
    struct png_rows *made = *rows = calloc(1, sizeof *made);
    if (!made) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", path);
    snprintf(made->path, sizeof made->path, "%s", path);
    made->file = fopen(path, "rb");
    if (!made->file) {
        error_set(err, EXIT_CODE_FAILED, "%s: cannot open: %s", path, strerror(errno));
        goto fail;
    }
    made->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, made, complain, ignore);
    made->info = made->png ? png_create_info_struct(made->png) : NULL;
    if (!made->info) {
        error_set(err, EXIT_CODE_FAILED, "%s: out of memory", path);
        goto fail;
    }
    if (read_form(made, form, err)) return true;
fail:
    png_rows_release(made);
    *rows = NULL;
    return false;
}

bool png_rows_next(struct png_rows *rows, uint8_t *row, struct error *err)
{
    CHECK(rows->left > 0);
    if (setjmp(png_jmpbuf(rows->png))) return fail(rows, err);
    png_read_row(rows->png, row, NULL);
    if (--rows->left == 0) png_read_end(rows->png, NULL);
    return true;
}

void png_rows_release(struct png_rows *rows)
{
    if (!rows) return;
    if (rows->png) png_destroy_read_struct(&rows->png, &rows->info, NULL);
    if (rows->file) fclose(rows->file);
    free(rows);
}
