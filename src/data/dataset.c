/* Windows from two sources behind one interface: a mapped pack, or the slide itself. Both lists of
 * windows come from windows_select(), so an index refers to the same window either way. */
#include "micromet/data/dataset.h"

#include <stdlib.h>
#include <string.h>

#include "micromet/base/log.h"
#include "micromet/base/stop.h"
#include "micromet/base/thread.h"
#include "micromet/slide/scale.h"

static bool open_pack(struct dataset_slide *slide, const struct config *config, bool *fatal,
                      struct error *err)
{
    char path[PATH_MAX_BYTES];
    struct pack_header want;

    *fatal = true;
    if (!pack_path(path, &slide->row, config, err) ||
        !pack_header_expected(&slide->row, config, NULL, &want, err))
        return false;
    if (!file_exists(path))
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: no such pack; run `micromet prepare`, or take the slide out of the "
                         "manifest",
                         path);
    if (!pack_open(&slide->pack, path, false, err)) return false;
    const char *difference = pack_difference(&slide->pack.header, &want);
    if (difference)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: was made with another value of %s; run `micromet prepare`", path,
                         difference);
    if (!pack_scale_holds(&slide->pack.header, &slide->row, &config->data))
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: was made when its slide had another µm/px; run `micromet prepare`",
                         path);
    const struct pack_header *header = &slide->pack.header;
    slide->windows = slide->pack.windows;
    slide->count = header->count;
    slide->tumor_count = header->tumor_count;
    slide->slide_hash = header->slide_hash;
    slide->identity = header->slide;
    scale_of_row(slide->mpp, &slide->row, &config->data, header->mpp_own);
    memcpy(slide->downsamples, header->downsamples, sizeof slide->downsamples);
    return true;
}

static bool open_slide(struct dataset_slide *slide, const struct config *config, bool *fatal,
                       struct error *err)
{
    const struct config_data *data = &config->data;
    struct annotation *annotation = NULL;
    const struct select_options options = {
        .threads = config->compute.threads > 0 ? config->compute.threads : thread_count_default(),
    };

    *fatal = false;
    if (!slide_open_row(&slide->slide, &slide->row, data, err)) return false;
    scale_log(&slide->slide);
    const bool ok = identity_of_slide(&slide->identity, slide->row.slide, err) &&
                    annotation_open(&annotation, slide->row.annotation, slide->row.mask_downsample,
                                    &slide->slide, data, err) &&
                    windows_select(&slide->slide, annotation, slide->row.label, config, &options,
                                   &slide->list, err);
    annotation_release(annotation);
    if (!ok) return false;
    slide->windows = slide->list.windows;
    slide->count = slide->list.count;
    slide->tumor_count = slide->list.tumor_count;
    slide->slide_hash = slide->slide.quickhash;
    slide->mpp[0] = slide->slide.mpp_x;
    slide->mpp[1] = slide->slide.mpp_y;
    for (int tower = 0; tower < data->level_count; tower++)
        slide->downsamples[tower] =
            slide->slide.levels[tower_level(&slide->slide, data, tower)].downsample;
    return true;
}

static bool (*const open_source[])(struct dataset_slide *slide, const struct config *config,
                                   bool *fatal, struct error *err) = {
    [DATA_SOURCE_PACKS] = open_pack,
    [DATA_SOURCE_SLIDES] = open_slide,
};

static void close_slide(struct dataset_slide *slide)
{
    pack_release(&slide->pack);
    window_list_release(&slide->list);
    slide_release(&slide->slide);
}

/* Add a slide, or log a warning and count it in *bad. False if the dataset must not be used. */
static bool add_slide(struct dataset *dataset, const struct manifest_row *row,
                      const struct config *config, int *bad, struct error *err)
{
    struct dataset_slide *slide = &dataset->slides[dataset->slide_count];
    struct error own = { 0 };
    bool fatal;

    slide->row = *row;
    if (open_source[config->data.source](slide, config, &fatal, &own)) {
        dataset->slide_count++;
        dataset->count += slide->count;
        dataset->tumor_count += slide->tumor_count;
        return true;
    }
    close_slide(slide);
    *slide = (struct dataset_slide) { 0 };
    if (fatal) return error_set(err, own.code, "%s", own.message);
    log_warning("%s", own.message);
    ++*bad;
    return true;
}

bool dataset_init(struct dataset *dataset, const struct config *config,
                  const struct manifest *manifest, enum split split, int *bad, struct error *err)
{
    *dataset = (struct dataset) { .data = config->data };
    *bad = 0;
    dataset->slides = calloc((size_t)manifest->count, sizeof *dataset->slides);
    if (!dataset->slides)
        return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", manifest->path);
    for (int i = 0; i < manifest->count; i++)
        if (manifest->rows[i].split == split &&
            (!stop_check(err) || !add_slide(dataset, &manifest->rows[i], config, bad, err)))
            goto fail;
    if (dataset->slide_count) return true;
    error_set(err, EXIT_CODE_FAILED,
              *bad ? "%s: none of the %s slides can be used" : "%s: names no %s slide",
              manifest->path, split_name(split));
fail:
    dataset_release(dataset);
    return false;
}

void dataset_release(struct dataset *dataset)
{
    for (int i = 0; i < dataset->slide_count; i++) close_slide(&dataset->slides[i]);
    free(dataset->slides);
    *dataset = (struct dataset) { 0 };
}

/* --- Readers --------------------------------------------------------------------------------- */

enum { READER_SLIDES_MAX = 8, READER_CACHE_BYTES_MIN = 4 << 20 };

struct reader_slot {
    struct slide_cache *cache; /* NULL = unused */
    int slide;
    uint64_t used; /* reader->reads at its last use */
};

struct dataset_reader {
    const struct dataset *dataset;
    size_t slot_bytes; /* memory limit of each slot's cache */
    int slot_count;
    uint64_t reads;
    struct reader_slot slots[READER_SLIDES_MAX];
};

bool dataset_reader_init(struct dataset_reader **reader, const struct dataset *dataset,
                         size_t cache_bytes, struct error *err)
{
    *reader = calloc(1, sizeof **reader);
    if (!*reader) return error_set(err, EXIT_CODE_FAILED, "out of memory for a reader of windows");
    size_t slots = cache_bytes / READER_CACHE_BYTES_MIN;
    if (slots > READER_SLIDES_MAX) slots = READER_SLIDES_MAX;
    if (slots > (size_t)dataset->slide_count) slots = (size_t)dataset->slide_count;
    if (!slots) slots = 1;
    (*reader)->dataset = dataset;
    (*reader)->slot_count = (int)slots;
    (*reader)->slot_bytes = cache_bytes / slots;
    return true;
}

void dataset_reader_release(struct dataset_reader *reader)
{
    if (!reader) return;
    for (int i = 0; i < reader->slot_count; i++) slide_cache_release(reader->slots[i].cache);
    free(reader);
}

/* The cache of a slide; if it has none yet, the least recently used slot is taken for it. */
static struct slide_cache *find_cache(struct dataset_reader *reader, int slide, struct error *err)
{
    struct reader_slot *oldest = &reader->slots[0];

    reader->reads++;
    for (int i = 0; i < reader->slot_count; i++) {
        struct reader_slot *slot = &reader->slots[i];
        if (slot->cache && slot->slide == slide) {
            slot->used = reader->reads;
            return slot->cache;
        }
        if (slot->used < oldest->used) oldest = slot;
    }
    slide_cache_release(oldest->cache);
    *oldest = (struct reader_slot) { .slide = slide, .used = reader->reads };
    if (!slide_cache_init(&oldest->cache, &reader->dataset->slides[slide].slide, reader->slot_bytes,
                          err))
        *oldest = (struct reader_slot) { 0 };
    return oldest->cache;
}

static bool read_slide(struct dataset_reader *reader, int slide, const struct window *window,
                       uint8_t *const pixels[TOWERS_MAX], struct error *err)
{
    const struct config_data *data = &reader->dataset->data;
    const struct slide *source = &reader->dataset->slides[slide].slide;
    struct slide_cache *cache = find_cache(reader, slide, err);

    if (!cache) return false;
    for (int tower = 0; tower < data->level_count; tower++) {
        const int level = tower_level(source, data, tower);
        int64_t x, y;
        slide_window_corner(source, level, window->x_level0, window->y_level0, data->window, &x,
                            &y);
        if (!slide_read(cache, level, x, y, data->window, data->window, pixels[tower],
                        (size_t)data->window * 3, err))
            return false;
    }
    return true;
}

/* Total pixels of the levels that windows are cut from or made of. */
static size_t level_pixels(const struct dataset *dataset, const struct slide *slide)
{
    size_t pixels = 0;
    for (int tower = 0; tower < dataset->data.level_count; tower++) {
        const struct slide_level *level = &slide->levels[tower_level(slide, &dataset->data, tower)];
        pixels += (size_t)level->width * (size_t)level->height;
        while (level->ratio > 0) {
            level = &slide->levels[level->source];
            pixels += (size_t)level->width * (size_t)level->height;
        }
    }
    return pixels;
}

size_t dataset_cached_bytes(const struct dataset *a, const struct dataset *b, size_t cache_bytes)
{
    const struct dataset *both[2] = { a, b };
    size_t cached = 0, blocks_max = 0;
    for (int k = 0; k < 2; k++) {
        size_t blocks = 0;
        if (both[k]->data.source != DATA_SOURCE_SLIDES) continue;
        for (int i = 0; i < both[k]->slide_count; i++) {
            const size_t pixels = level_pixels(both[k], &both[k]->slides[i].slide);
            const size_t tiles = pixels * 4; /* ARGB */
            cached += tiles < SLIDE_OPENSLIDE_BYTES ? tiles : SLIDE_OPENSLIDE_BYTES;
            blocks += pixels * 3;
        }
        if (blocks > blocks_max) blocks_max = blocks;
    }
    return cached + (blocks_max < cache_bytes ? blocks_max : cache_bytes);
}

bool dataset_read(struct dataset_reader *reader, int slide, int64_t window,
                  uint8_t *const pixels[TOWERS_MAX], struct error *err)
{
    const struct dataset *dataset = reader->dataset;

    CHECK(slide >= 0 && slide < dataset->slide_count);
    CHECK(window >= 0 && window < dataset->slides[slide].count);
    const struct dataset_slide *source = &dataset->slides[slide];
    if (dataset->data.source == DATA_SOURCE_SLIDES)
        return read_slide(reader, slide, &source->windows[window], pixels, err);
    for (int tower = 0; tower < dataset->data.level_count; tower++)
        if (!pack_read(&source->pack, window, tower, pixels[tower], err)) return false;
    return true;
}
