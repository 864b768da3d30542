/* Reading and writing PNG through libpng's simplified interface. Pixels are RGB bytes whatever the
 * file holds; transparent pixels are blended with white. */
#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/format/image.h"

static const int64_t pixels_max = INT64_C(1) << 28;

bool image_write_png(const char *path, const uint8_t *rgb, int width, int height, struct error *err)
{
    CHECK(width > 0 && height > 0);
    png_image image = { .version = PNG_IMAGE_VERSION,
                        .width = (png_uint_32)width,
                        .height = (png_uint_32)height,
                        .format = PNG_FORMAT_RGB };
    struct atomic_file file = { 0 };
    if (!atomic_file_open(&file, path, err)) return false;
    errno = 0;
    bool done = png_image_write_to_stdio(&image, file.stream, 0, rgb, 3 * width, NULL);
    if (done)
        done = atomic_file_commit(&file, err);
    else
        error_set(err, EXIT_CODE_FAILED, "%s: cannot write: %s", path,
                  errno ? strerror(errno) : image.message);
    atomic_file_release(&file);
    return done;
}

bool image_read_png(const char *path, uint8_t **rgb, int *width, int *height, struct error *err)
{
    *rgb = NULL;
    png_image image = { .version = PNG_IMAGE_VERSION };
    if (!png_image_begin_read_from_file(&image, path))
        return error_set(err, EXIT_CODE_FAILED, "%s: cannot read as PNG: %s", path, image.message);
    int64_t pixels = (int64_t)image.width * image.height;
    if (pixels > pixels_max) {
        error_set(err, EXIT_CODE_FAILED, "%s: %u×%u pixels are more than %lld can be read", path,
                  image.width, image.height, (long long)pixels_max);
        goto fail;
    }
    image.format = PNG_FORMAT_RGB;
    *rgb = malloc((size_t)pixels * 3);
    if (!*rgb) {
        error_set(err, EXIT_CODE_FAILED, "%s: no memory for %lld pixels", path, (long long)pixels);
        goto fail;
    }
    const png_color white = { 255, 255, 255 };
    if (!png_image_finish_read(&image, &white, *rgb, 3 * (png_int_32)image.width, NULL)) {
        error_set(err, EXIT_CODE_FAILED, "%s: PNG is damaged: %s", path, image.message);
        goto fail;
    }
    *width = (int)image.width;
    *height = (int)image.height;
    return true;
fail:
    png_image_free(&image);
    free(*rgb);
    *rgb = NULL;
    return false;
}
