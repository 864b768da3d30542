/* Slide overview: outlines of what the program considers tissue and tumour, to check
 * before training.
 *
 * Tissue varies from pixel to pixel, so the outline is drawn around the local majority. */
#include <stdio.h>
#include <stdlib.h>

#include "micromet/report/plot.h"
#include "plot_canvas.h"

enum { MAJORITY_PART = 250 }; /* longer side / radius of the neighbourhood */

/* Box filter: mean of 2·radius + 1 values, `step` bytes apart, for each of `count`
 * values; 0 outside. */
static void box_blur(const uint8_t *from, uint8_t *to, int count, size_t step, int radius)
{
    int sum = 0, size = 2 * radius + 1;
    for (int i = 0; i < radius && i < count; i++) sum += from[(size_t)i * step];
    for (int i = 0; i < count; i++) {
        if (i + radius < count) sum += from[(size_t)(i + radius) * step];
        if (i - radius - 1 >= 0) sum -= from[(size_t)(i - radius - 1) * step];
        to[(size_t)i * step] = (uint8_t)((sum + size / 2) / size);
    }
}

/* Share of tissue around each pixel, 0..255; malloc'ed, NULL if out of memory. */
static uint8_t *blur_tissue(const uint8_t *tissue, int width, int height)
{
    size_t pixels = (size_t)width * (size_t)height;
    int radius = 1 + (width > height ? width : height) / MAJORITY_PART;
    uint8_t *share = calloc(2, pixels);
    if (!share) return NULL;
    uint8_t *half = share + pixels;
    for (size_t i = 0; i < pixels; i++) share[i] = tissue[i] ? 255 : 0;
    for (int y = 0; y < height; y++)
        box_blur(share + (size_t)y * (size_t)width, half + (size_t)y * (size_t)width, width, 1,
                 radius);
    for (int x = 0; x < width; x++) box_blur(half + x, share + x, height, (size_t)width, radius);
    return share;
}

static bool outline_tissue(struct picture *picture, const uint8_t *tissue, struct error *err)
{
    uint8_t *share = blur_tissue(tissue, picture->columns, picture->rows);
    if (!share) return error_set(err, EXIT_CODE_FAILED, "no memory for the outline of the tissue");
    picture_outline(picture, share, 127.5, color_tissue);
    free(share);
    return true;
}

bool plot_slide(const char *path, const char *title, const uint8_t *thumbnail, int width,
                int height, const uint8_t *tissue, const uint8_t *tumor_share,
                double thumbnail_downsample, double mpp, struct error *err)
{
    struct picture picture;
    char subtitle[64] = "";
    if (mpp > 0) snprintf(subtitle, sizeof subtitle, "%.4g µm per pixel", mpp);
    if (!picture_init(&picture, title, subtitle, thumbnail, width, height, PICTURE_COLOR, 0, err))
        return false;
    double right = picture.x + picture.width;
    bool done = !tissue || outline_tissue(&picture, tissue, err);
    if (tumor_share) {
        picture_outline(&picture, tumor_share, 0.5, color_tumor);
        right = picture_key(&picture, right, color_tumor, "annotated tumour");
    }
    if (tissue) picture_key(&picture, right, color_tissue, "tissue");
    picture_scale_bar(&picture, mpp * thumbnail_downsample);
    done = done && canvas_save(&picture.canvas, path, err);
    picture_release(&picture);
    return done;
}
