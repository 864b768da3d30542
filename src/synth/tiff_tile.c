/* One tile of a pyramid: compression, and reduction into a quadrant of its parent. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>
#include <zlib.h>

#include "tiff_pyramid.h"

int tiff_tile_channels(const struct tiff_pyramid *pyramid)
{
    return pyramid->kind == TIFF_PYRAMID_JPEG ? 3 : 1;
}

/* State that must survive a longjmp() out of libjpeg. */
struct jpeg_run {
    struct jpeg_error_mgr manager; /* must be first: libjpeg passes back a pointer to it */
    jmp_buf jump;
    char message[JMSG_LENGTH_MAX];
    struct jpeg_compress_struct jpeg;
    unsigned char *code;
    unsigned long code_size;
};

static void jpeg_fail(j_common_ptr jpeg)
{
    struct jpeg_run *run = (struct jpeg_run *)jpeg->err;
    run->manager.format_message(jpeg, run->message);
    longjmp(run->jump, 1);
}

static void jpeg_compress(struct jpeg_run *run, const struct tiff_pyramid *pyramid,
                          const uint8_t *pixels)
{
    struct jpeg_compress_struct *jpeg = &run->jpeg;
    jpeg_create_compress(jpeg);
    jpeg_mem_dest(jpeg, &run->code, &run->code_size);
    jpeg->image_width = jpeg->image_height = (JDIMENSION)pyramid->tile;
    jpeg->input_components = 3;
    jpeg->in_color_space = JCS_RGB;
    jpeg_set_defaults(jpeg); /* YCbCr 4:2:0 */
    jpeg_set_quality(jpeg, pyramid->quality, TRUE);
    jpeg->write_JFIF_header = FALSE;
    jpeg_start_compress(jpeg, TRUE);
    while (jpeg->next_scanline < jpeg->image_height) {
        size_t offset = (size_t)jpeg->next_scanline * (size_t)pyramid->tile * 3;
        JSAMPROW row = (JSAMPROW)(pixels + offset);
        jpeg_write_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_compress(jpeg);
}

static bool jpeg_encode(const struct tiff_pyramid *pyramid, const uint8_t *pixels, uint8_t **bytes,
                        size_t *size, struct error *err)
{
    *bytes = NULL;
    struct jpeg_run *run = calloc(1, sizeof *run);
    if (run == NULL) return error_set(err, EXIT_CODE_FAILED, "cannot encode a tile: out of memory");
    run->jpeg.err = jpeg_std_error(&run->manager);
    run->manager.error_exit = jpeg_fail;
    if (setjmp(run->jump) == 0) {
        jpeg_compress(run, pyramid, pixels);
        *bytes = run->code;
        *size = run->code_size;
    } else {
        error_set(err, EXIT_CODE_FAILED, "cannot encode a tile: %s", run->message);
        free(run->code);
    }
    jpeg_destroy_compress(&run->jpeg);
    free(run);
    return *bytes != NULL;
}

static bool deflate_encode(const struct tiff_pyramid *pyramid, const uint8_t *pixels,
                           uint8_t **bytes, size_t *size, struct error *err)
{
    uLong raw = (uLong)pyramid->tile * (uLong)pyramid->tile;
    uLongf code_size = compressBound(raw);
    *bytes = malloc(code_size);
    if (*bytes == NULL || compress2(*bytes, &code_size, pixels, raw, 6) != Z_OK)
        return error_set(err, EXIT_CODE_FAILED, "cannot encode a tile: out of memory");
    *size = code_size;
    return true;
}

bool tiff_tile_encode(const struct tiff_pyramid *pyramid, const uint8_t *pixels, uint8_t **bytes,
                      size_t *size, struct error *err)
{
    return pyramid->kind == TIFF_PYRAMID_JPEG ? jpeg_encode(pyramid, pixels, bytes, size, err)
                                              : deflate_encode(pyramid, pixels, bytes, size, err);
}

/* Reduce `child` to half its size, into the quadrant (right, lower) of `parent`. */
static void average(const uint8_t *child, int tile, int right, int lower, uint8_t *parent)
{
    size_t row = (size_t)tile * 3;
    int half = tile / 2;
    for (int y = 0; y < half; y++) {
        const uint8_t *a = child + (size_t)(2 * y) * row, *b = a + row;
        uint8_t *out = parent + (size_t)(y + lower * half) * row + (size_t)(right * half) * 3;
        for (int x = 0; x < half; x++, a += 6, b += 6, out += 3)
            for (int c = 0; c < 3; c++)
                out[c] = (uint8_t)((a[c] + a[c + 3] + b[c] + b[c + 3] + 2) >> 2);
    }
}

static void maximum(const uint8_t *child, int tile, int right, int lower, uint8_t *parent)
{
    int half = tile / 2;
    for (int y = 0; y < half; y++) {
        const uint8_t *a = child + (size_t)(2 * y) * (size_t)tile, *b = a + tile;
        uint8_t *out = parent + (size_t)(y + lower * half) * (size_t)tile + (size_t)(right * half);
        for (int x = 0; x < half; x++)
            out[x] = a[2 * x] | a[2 * x + 1] | b[2 * x] | b[2 * x + 1]; /* 0 or 255 */
    }
}

void tiff_tile_reduce(const struct tiff_pyramid *pyramid, const uint8_t *child, int right,
                      int lower, uint8_t *parent)
{
    if (pyramid->kind == TIFF_PYRAMID_JPEG)
        average(child, pyramid->tile, right, lower, parent);
    else
        maximum(child, pyramid->tile, right, lower, parent);
}
