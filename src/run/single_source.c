/* Each reader keeps a cache of the slide that it read last. */
#include "single_source.h"

#include <stdlib.h>
#include <string.h>

#include "micromet/slide/scale.h"

struct reader {
    const struct single_source *source;
    struct slide_cache *cache; /* of slide number `slide`; NULL = none */
    int slide;
    size_t cache_bytes;
    uint8_t *square; /* (side, side, 3) */
};

void single_source_release(struct single_source *source)
{
    for (int i = 0; source->slides && i < source->dataset->slide_count; i++)
        slide_release(&source->slides[i]);
    free(source->slides);
    *source = (struct single_source) { 0 };
}

static bool open_slide(const struct dataset *dataset, int index, struct slide *slide,
                       struct error *err)
{
    const struct dataset_slide *known = &dataset->slides[index];
    struct file_identity identity;
    if (!slide_open_row(slide, &known->row, &dataset->data, err) ||
        !identity_of_slide(&identity, known->row.slide, err))
        return false;
    return identity_same(&identity, &known->identity) ||
           error_set(err, EXIT_CODE_FAILED,
                     "%s: is not the slide that its pack was made from; run `micromet prepare`",
                     known->row.slide);
}

bool single_source_init(struct single_source *source, const struct checkpoint *checkpoint,
                        const struct dataset *dataset, struct error *err)
{
    *source = (struct single_source) { .dataset = dataset };
    if (!single_window_of(checkpoint, &source->window, err)) return false;
    source->slides = calloc((size_t)dataset->slide_count, sizeof *source->slides);
    bool ok = source->slides || error_set(err, EXIT_CODE_FAILED, "no memory for the slides");
    for (int i = 0; ok && i < dataset->slide_count; i++)
        ok = open_slide(dataset, i, &source->slides[i], err);
    if (!ok) single_source_release(source);
    return ok;
}

static void close_reader(void *context)
{
    struct reader *reader = context;
    slide_cache_release(reader->cache);
    free(reader->square);
    free(reader);
}

static bool open_reader(const void *context, size_t cache_bytes, void **out, struct error *err)
{
    const struct single_source *source = context;
    const size_t side = (size_t)source->window.side;
    struct reader *reader = calloc(1, sizeof *reader);
    uint8_t *square = malloc(side * side * 3);
    if (!reader || !square) {
        free(reader);
        free(square);
        return error_set(err, EXIT_CODE_FAILED, "no memory for a reader of windows");
    }
    *reader = (struct reader) { .source = source, .cache_bytes = cache_bytes, .square = square };
    *out = reader;
    return true;
}

static bool find_cache(struct reader *reader, int slide, struct error *err)
{
    if (reader->cache && reader->slide == slide) return true;
    slide_cache_release(reader->cache);
    reader->cache = NULL;
    reader->slide = slide;
    return slide_cache_init(&reader->cache, &reader->source->slides[slide], reader->cache_bytes,
                            err);
}

static bool read_window(void *context, struct sample sample, uint8_t *const pixels[TOWERS_MAX],
                        float *label, struct error *err)
{
    struct reader *reader = context;
    const struct single_source *source = reader->source;
    const struct config_data *data = &source->dataset->data;
    const int side = source->window.side;
    const int level = tower_level(&source->slides[sample.slide], data, 0);
    const struct window *window = &source->dataset->slides[sample.slide].windows[sample.window];
    int64_t x, y;
    *label = window->label;
    slide_window_corner(&source->slides[sample.slide], level, window->x_level0, window->y_level0,
                        side, &x, &y);
    if (!find_cache(reader, sample.slide, err) ||
        !slide_read(reader->cache, level, x, y, side, side, reader->square, (size_t)side * 3, err))
        return false;
    for (int t = 0; t < data->level_count; t++)
        single_window_cut(&source->window, data->window, t, reader->square, pixels[t]);
    return true;
}

struct loader_source loader_source_single(const struct single_source *source)
{
    const size_t window = (size_t)source->dataset->data.window;
    return (struct loader_source) { .context = source,
                                    .open = open_reader,
                                    .read = read_window,
                                    .close = close_reader,
                                    .towers = source->dataset->data.level_count,
                                    .window_bytes = window * window * 3 };
}
