/* Reads pixels: a region is assembled from fixed blocks, which are read whole and cached.
 *
 * Fixed blocks make a pixel's value independent of the region requested, and caching them makes
 * overlapping windows cheap. An LRU cache: a hash table finds a block, a list in order of use tells
 * which one to drop. A block of a made level is shrunk from blocks of its source, found the same
 * way. */
#include <math.h>
#include <openslide.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"
#include "micromet/slide/shrink.h"
#include "micromet/slide/slide.h"
#include "tiff_level.h"

struct block {
    struct block *newer, *older, *next; /* links of the LRU list, and of the hash chain */
    int64_t column, row;                /* in blocks */
    int level, width, height;           /* px */
    uint8_t rgb[];                      /* (height, width, 3) */
};

enum { BUCKET_COUNT = 1 << 12 };

struct slide_cache {
    const struct slide *slide;
    size_t limit_bytes, held_bytes;
    int64_t blocks_read;
    uint32_t *argb; /* one block as OpenSlide delivers it */
    /* A block in the making of a level made of the slide's own, and of one made of such a level. */
    struct shrink shrink[2];
    struct tiff_level *tiff[SLIDE_LEVELS_MAX]; /* opened when first read */
    struct block *newest, *oldest;
    struct block *buckets[BUCKET_COUNT];
};

/* Whether the level's source is made, too. */
static int shrink_depth(const struct slide *slide, const struct slide_level *level)
{
    return slide->levels[level->source].ratio > 0;
}

/* Room for a block of any made level of this depth. */
static bool shrink_open(struct shrink *shrink, const struct slide *slide, int depth)
{
    int width = 0, height = 0, line_px = 0;
    for (int i = slide->level_count; i < slide->level_count + slide->made_count; i++) {
        const struct slide_level *level = &slide->levels[i];
        const int source_px = slide->levels[level->source].block_width;
        if (shrink_depth(slide, level) != depth) continue;
        if (level->block_width > width) width = level->block_width;
        if (level->block_height > height) height = level->block_height;
        if (source_px > line_px) line_px = source_px;
    }
    return width == 0 || shrink_init(shrink, width, height, line_px);
}

bool slide_cache_init(struct slide_cache **cache, const struct slide *slide, size_t limit_bytes,
                      struct error *err)
{
    size_t pixels = 1;
    for (int i = 0; i < slide->level_count; i++) {
        const struct slide_level *level = &slide->levels[i];
        const size_t block = (size_t)level->block_width * (size_t)level->block_height;
        if (block > pixels) pixels = block;
    }
    struct slide_cache *made = *cache = calloc(1, sizeof *made);
    if (made) made->argb = malloc(pixels * sizeof *made->argb);
    if (!made || !made->argb || !shrink_open(&made->shrink[0], slide, 0) ||
        !shrink_open(&made->shrink[1], slide, 1)) {
        slide_cache_release(made);
        *cache = NULL;
        return error_set(err, EXIT_CODE_FAILED, "%s: out of memory for reading", slide->path);
    }
    made->slide = slide;
    made->limit_bytes = limit_bytes;
    return true;
}

void slide_cache_release(struct slide_cache *cache)
{
    if (!cache) return;
    for (struct block *block = cache->newest, *older; block; block = older) {
        older = block->older;
        free(block);
    }
    for (int i = 0; i < SLIDE_LEVELS_MAX; i++) tiff_level_release(cache->tiff[i]);
    for (int depth = 0; depth < 2; depth++) shrink_release(&cache->shrink[depth]);
    free(cache->argb);
    free(cache);
}

int64_t slide_cache_blocks_read(const struct slide_cache *cache)
{
    return cache->blocks_read;
}

static size_t block_bytes(const struct block *block)
{
    return sizeof *block + 3 * (size_t)block->width * (size_t)block->height;
}

static struct block **bucket_of(struct slide_cache *cache, int level, int64_t column, int64_t row)
{
    const uint64_t key = (uint64_t)column * 0x9e3779b97f4a7c15u ^
                         (uint64_t)row * 0xc2b2ae3d27d4eb4fu ^
                         (uint64_t)level * 0x165667b19e3779f9u;
    return &cache->buckets[(key >> 40) % BUCKET_COUNT];
}

static void list_insert(struct slide_cache *cache, struct block *block)
{
    block->newer = NULL;
    block->older = cache->newest;
    *(block->older ? &block->older->newer : &cache->oldest) = block;
    cache->newest = block;
}

static void list_remove(struct slide_cache *cache, struct block *block)
{
    *(block->newer ? &block->newer->older : &cache->newest) = block->older;
    *(block->older ? &block->older->newer : &cache->oldest) = block->newer;
}

static void drop_oldest(struct slide_cache *cache)
{
    struct block *block = cache->oldest;
    struct block **link = bucket_of(cache, block->level, block->column, block->row);
    while (*link != block) link = &(*link)->next;
    *link = block->next;
    list_remove(cache, block);
    cache->held_bytes -= block_bytes(block);
    free(block);
}

/* Blend premultiplied ARGB with the background to RGB. Nearly all blocks are opaque:
 * just copied. */
static void compose(const uint32_t *restrict argb, size_t count, const uint8_t background[3],
                    uint8_t *restrict rgb)
{
    uint32_t common = 0xff000000u;
    for (size_t i = 0; i < count; i++) common &= argb[i];
    if (common == 0xff000000u) {
        for (size_t i = 0; i < count; i++) {
            rgb[3 * i + 0] = (uint8_t)(argb[i] >> 16);
            rgb[3 * i + 1] = (uint8_t)(argb[i] >> 8);
            rgb[3 * i + 2] = (uint8_t)argb[i];
        }
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const uint32_t clear = 255 - (argb[i] >> 24);
        for (int c = 0; c < 3; c++) {
            const uint32_t value = (argb[i] >> (16 - 8 * c) & 255) +
                                   (background[c] * clear + 127) / 255;
            rgb[3 * i + (size_t)c] = (uint8_t)(value < 255 ? value : 255);
        }
    }
}

/* After a failed read, OpenSlide returns the same error for every later one. */
static bool fetch_by_openslide(struct slide_cache *cache, const struct block *block,
                               int64_t x_level, int64_t y_level, struct error *err)
{
    const struct slide *slide = cache->slide;
    const double downsample = slide->levels[block->level].openslide_downsample;
    const char *complaint = openslide_get_error(slide->handle);

    if (complaint)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: an earlier read failed (%s); nothing more can be read from the slide",
                         slide->path, complaint);
    openslide_read_region(slide->handle, cache->argb, llround((double)x_level * downsample),
                          llround((double)y_level * downsample), block->level, block->width,
                          block->height);
    complaint = openslide_get_error(slide->handle);
    if (!complaint) return true;
    return error_set(err, EXIT_CODE_FAILED,
                     "%s: level %d cannot be read near (%lld, %lld): %s; is the file damaged?",
                     slide->path, block->level, (long long)x_level, (long long)y_level, complaint);
}

static bool fetch_by_libtiff(struct slide_cache *cache, const struct block *block, int64_t x_level,
                             int64_t y_level, struct error *err)
{
    const struct slide *slide = cache->slide;
    struct tiff_level **tiff = &cache->tiff[block->level];
    struct error own = { 0 };

    if (!*tiff && !tiff_level_open(tiff, slide->path, slide->levels[block->level].directory, err))
        return false;
    if (tiff_level_read(*tiff, x_level, y_level, block->width, block->height, cache->argb, &own))
        return true;
    return error_set(err, EXIT_CODE_FAILED,
                     "%s: level %d cannot be read near (%lld, %lld): %s; is the file damaged?",
                     slide->path, block->level, (long long)x_level, (long long)y_level,
                     own.message);
}

static bool fetch_pixels(struct slide_cache *cache, const struct block *block, struct error *err)
{
    const struct slide_level *level = &cache->slide->levels[block->level];
    return (level->directory < 0 ? fetch_by_openslide : fetch_by_libtiff)(
        cache, block, block->column * level->block_width, block->row * level->block_height, err);
}

static int smaller(int64_t a, int64_t b)
{
    return (int)(a < b ? a : b);
}

static const struct block *find(struct slide_cache *cache, int level, int64_t column, int64_t row,
                                struct error *err);

/* Shrink the blocks of the source that a block of a made level covers, one after another. */
static bool make_pixels(struct slide_cache *cache, const struct block *block, struct error *err)
{
    const struct slide_level *level = &cache->slide->levels[block->level];
    const struct slide_level *source = &cache->slide->levels[level->source];
    const int64_t x = block->column * level->block_width, y = block->row * level->block_height;
    struct shrink *shrink = &cache->shrink[shrink_depth(cache->slide, level)];
    int64_t x0, x1, y0, y1;

    shrink_span(level->ratio, x, block->width, &x0, &x1);
    shrink_span(level->ratio, y, block->height, &y0, &y1);
    shrink_begin(shrink, level->ratio, x, y, block->width, block->height);
    for (int64_t row = y0 / source->block_height; row * source->block_height < y1; row++)
        for (int64_t column = x0 / source->block_width; column * source->block_width < x1;
             column++) {
            const struct block *fine = find(cache, level->source, column, row, err);
            if (!fine) return false;
            const int64_t left = column * source->block_width, right = left + fine->width;
            const int64_t from = left > x0 ? left : x0, to = right < x1 ? right : x1;
            shrink_add(shrink, fine->rgb + 3 * (from - left), from, row * source->block_height,
                       (int)(to - from), fine->height, 3 * (size_t)fine->width);
        }
    return true;
}

static struct block *fetch(struct slide_cache *cache, int level_index, int64_t column, int64_t row,
                           struct error *err)
{
    const struct slide_level *level = &cache->slide->levels[level_index];
    const struct block wanted = {
        .column = column,
        .row = row,
        .level = level_index,
        .width = smaller(level->block_width, level->width - column * level->block_width),
        .height = smaller(level->block_height, level->height - row * level->block_height),
    };
    const size_t bytes = block_bytes(&wanted);
    const bool made = level->ratio > 0;

    if (!(made ? make_pixels : fetch_pixels)(cache, &wanted, err)) return NULL;
    /* The block that the latest made one was shrunk from stays: the next one needs it, too. */
    while (cache->oldest && cache->held_bytes + bytes > cache->limit_bytes &&
           !(made && cache->oldest == cache->newest))
        drop_oldest(cache);
    struct block *block = malloc(bytes);
    if (!block) {
        error_set(err, EXIT_CODE_FAILED, "%s: out of memory for a block", cache->slide->path);
        return NULL;
    }
    *block = wanted;
    if (made)
        shrink_finish(&cache->shrink[shrink_depth(cache->slide, level)], block->rgb);
    else
        compose(cache->argb, (size_t)block->width * (size_t)block->height, cache->slide->background,
                block->rgb);
    struct block **bucket = bucket_of(cache, level_index, column, row);
    block->next = *bucket;
    *bucket = block;
    list_insert(cache, block);
    cache->held_bytes += bytes;
    cache->blocks_read += !made;
    return block;
}

static const struct block *find(struct slide_cache *cache, int level, int64_t column, int64_t row,
                                struct error *err)
{
    struct block *block = *bucket_of(cache, level, column, row);
    while (block && (block->level != level || block->column != column || block->row != row))
        block = block->next;
    if (!block) return fetch(cache, level, column, row, err);
    if (block != cache->newest) {
        list_remove(cache, block);
        list_insert(cache, block);
    }
    return block;
}

struct region {
    int64_t x, y; /* of rgb[0], px of the level */
    int width, height;
    uint8_t *rgb;
    size_t row_stride;
};

static void fill(const struct region *region, const uint8_t color[3])
{
    for (int y = 0; y < region->height; y++) {
        uint8_t *line = region->rgb + (size_t)y * region->row_stride;
        for (int x = 0; x < region->width; x++) memcpy(line + 3 * (size_t)x, color, 3);
    }
}

/* Copy the part of `block`, whose corner is (x, y), that lies in the region. */
static void copy(const struct region *region, const struct block *block, int64_t x, int64_t y)
{
    const int64_t x0 = x > region->x ? x : region->x, y0 = y > region->y ? y : region->y;
    const int64_t x1 = smaller(x + block->width, region->x + region->width);
    const int64_t y1 = smaller(y + block->height, region->y + region->height);
    for (int64_t row = y0; row < y1; row++)
        memcpy(region->rgb + (size_t)(row - region->y) * region->row_stride +
                   3 * (size_t)(x0 - region->x),
               block->rgb + 3 * ((size_t)(row - y) * (size_t)block->width + (size_t)(x0 - x)),
               3 * (size_t)(x1 - x0));
}

/* The blocks [*first, *end) that [start, start + length) touches on a side of `side` px. */
static void blocks_touched(int64_t start, int length, int64_t side, int block, int64_t *first,
                           int64_t *end)
{
    const int64_t last = start + length < side ? start + length : side;
    *first = (start > 0 ? start : 0) / block;
    *end = last > 0 && start < side ? CEIL_DIV(last, block) : 0;
}

bool slide_read(struct slide_cache *cache, int level_index, int64_t x_level, int64_t y_level,
                int width, int height, uint8_t *rgb, size_t row_stride, struct error *err)
{
    CHECK(level_index >= 0 && level_index < cache->slide->level_count + cache->slide->made_count &&
          width > 0 && height > 0);
    const struct slide_level *level = &cache->slide->levels[level_index];
    const struct region region = { x_level, y_level, width, height, rgb, row_stride };
    int64_t column0, column1, row0, row1;

    if (x_level < 0 || y_level < 0 || x_level + width > level->width ||
        y_level + height > level->height)
        fill(&region, cache->slide->background);
    blocks_touched(x_level, width, level->width, level->block_width, &column0, &column1);
    blocks_touched(y_level, height, level->height, level->block_height, &row0, &row1);
    for (int64_t row = row0; row < row1; row++)
        for (int64_t column = column0; column < column1; column++) {
            const struct block *block = find(cache, level_index, column, row, err);
            if (!block) return false;
            copy(&region, block, column * level->block_width, row * level->block_height);
        }
    return true;
}
