/* Synthetic slides: checks the options, then has the pyramid writer draw slide and mask
 * from one scene. */
#include "micromet/synth/synth.h"

#include <stdlib.h>

#include "micromet/base/size.h"
#include "micromet/base/thread.h"
#include "synth_scene.h"
#include "tiff_pyramid.h"

enum { SYNTH_THREADS_MAX = 256 };

int64_t synth_tile_count(const struct synth_options *options)
{
    int64_t tile = options->tile;
    return CEIL_DIV(options->width, tile) * CEIL_DIV(options->height, tile);
}

bool synth_check(const struct synth_options *options, struct error *err)
{
    static const int64_t side_max = 1 << 20;
    const struct {
        const char *name;
        double value, min, max;
    } ranges[] = {
        { "width", (double)options->width, 1, (double)side_max },
        { "height", (double)options->height, 1, (double)side_max },
        { "levels", options->levels, 1, 16 },
        { "tile", options->tile, 64, 512 },
        { "quality", options->quality, 1, 100 },
        { "tissue", options->tissue, 0, 1 },
        { "tumors", options->tumors, 0, SYNTH_TUMORS_MAX },
        { "mpp", options->mpp, 0, 1000 },
    };
    for (size_t i = 0; i < COUNT_OF(ranges); i++)
        if (!(ranges[i].value >= ranges[i].min && ranges[i].value <= ranges[i].max))
            return error_set(err, EXIT_CODE_USAGE, "synth: %s is %g; it must be from %g to %g",
                             ranges[i].name, ranges[i].value, ranges[i].min, ranges[i].max);
    if (options->tile % 16 != 0)
        return error_set(err, EXIT_CODE_USAGE, "synth: tile is %d; it must be a multiple of 16",
                         options->tile);
    return true;
}

struct studio {
    struct synth_scene scene;
    struct synth_canvas *canvases[SYNTH_THREADS_MAX];
    int threads;
};

static bool draw_slide(void *context, int64_t x, int64_t y, int worker, uint8_t *pixels,
                       struct error *err)
{
    (void)err;
    struct studio *studio = context;
    synth_draw(&studio->scene, studio->canvases[worker], x, y, pixels);
    return true;
}

static bool draw_mask(void *context, int64_t x, int64_t y, int worker, uint8_t *pixels,
                      struct error *err)
{
    (void)err;
    struct studio *studio = context;
    synth_draw_mask(&studio->scene, studio->canvases[worker], x, y, pixels);
    return true;
}

static bool slide_empty(void *context, int64_t x0, int64_t y0, int64_t x1, int64_t y1)
{
    const struct studio *studio = context;
    return synth_blank(&studio->scene, (double)x0, (double)y0, (double)x1, (double)y1);
}

static bool mask_empty(void *context, int64_t x0, int64_t y0, int64_t x1, int64_t y1)
{
    const struct studio *studio = context;
    return synth_no_tumor(&studio->scene, (double)x0, (double)y0, (double)x1, (double)y1);
}

static bool studio_init(struct studio *studio, const struct synth_options *options,
                        struct error *err)
{
    int threads = options->threads > 0 ? options->threads : thread_count_default();
    studio->threads = threads < SYNTH_THREADS_MAX ? threads : SYNTH_THREADS_MAX;
    synth_scene_init(&studio->scene, options);
    for (int i = 0; i < studio->threads; i++)
        if ((studio->canvases[i] = synth_canvas_new(options->tile)) == NULL)
            return error_set(err, EXIT_CODE_FAILED, "synth: out of memory");
    return true;
}

static void studio_free(struct studio *studio)
{
    if (studio == NULL) return;
    for (int i = 0; i < studio->threads; i++) synth_canvas_free(studio->canvases[i]);
    free(studio);
}

static bool slide_write(struct studio *studio, const struct synth_options *options,
                        const char *path, struct error *err)
{
    const uint8_t *background = studio->scene.background;
    struct tiff_pyramid pyramid = {
        .kind = TIFF_PYRAMID_JPEG,
        .width = options->width,
        .height = options->height,
        .levels = options->levels,
        .tile = options->tile,
        .quality = options->quality,
        .mpp = options->mpp,
        .background = { background[0], background[1], background[2] },
        .threads = studio->threads,
        .progress = options->progress,
        .context = studio,
        .draw = draw_slide,
        .empty = slide_empty,
    };
    return tiff_pyramid_write(&pyramid, path, err);
}

static bool mask_write(struct studio *studio, const struct synth_options *options, const char *path,
                       struct error *err)
{
    struct tiff_pyramid pyramid = {
        .kind = TIFF_PYRAMID_MASK,
        .width = options->width,
        .height = options->height,
        .levels = options->levels,
        .tile = options->tile,
        .mpp = options->mpp,
        .threads = studio->threads,
        .progress = options->progress,
        .context = studio,
        .draw = draw_mask,
        .empty = mask_empty,
    };
    return tiff_pyramid_write(&pyramid, path, err);
}

bool synth_write(const struct synth_options *options, const char *path, const char *mask_path,
                 struct error *err)
{
    if (!synth_check(options, err)) return false;
    struct studio *studio = calloc(1, sizeof *studio);
    if (studio == NULL) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", path);
    bool ok = studio_init(studio, options, err) && slide_write(studio, options, path, err) &&
              (mask_path == NULL || mask_write(studio, options, mask_path, err));
    studio_free(studio);
    return ok;
}
