/* Pyramids written tile by tile in Z-order; see the header.
 *
 * The lowest BLOCK_LEVELS levels below a tile form a block, whose levels are made one after the
 * other with all threads. Above the blocks a recursion makes one tile at a time. The order of tiles
 * in the file does not depend on the threads. */
#include "tiff_pyramid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/file.h"
#include "micromet/base/size.h"
#include "micromet/base/thread.h"

enum { BLOCK_LEVELS = 4, BLOCK_TILES = 64 + 16 + 4 + 1, LEVELS_MAX = 32, HEADER_BYTES = 16 };

/* A tile of the block: its pixels, and its compressed bytes unless it is plain background. */
struct slot {
    uint8_t *pixels;
    uint8_t *bytes;
    size_t size;
};

struct builder {
    const struct tiff_pyramid *pyramid;
    struct atomic_file file;
    uint64_t position;
    size_t tile_bytes;
    uint8_t *background; /* (tile_bytes): a background tile */
    int block_top;       /* level of the tile at the top of a block */
    struct slot slots[BLOCK_TILES];
    uint8_t *children[LEVELS_MAX]; /* by level: the child tile being merged, above the blocks */
    struct tiff_level levels[LEVELS_MAX];
};

static bool inside(const struct builder *builder, int level, int64_t column, int64_t row)
{
    return column < builder->levels[level].columns && row < builder->levels[level].rows;
}

/* Whether the tile lies outside the image or covers only background. */
static bool empty(const struct builder *builder, int level, int64_t column, int64_t row)
{
    const struct tiff_pyramid *pyramid = builder->pyramid;
    int64_t side = (int64_t)pyramid->tile << level;
    return !inside(builder, level, column, row) ||
           pyramid->empty(pyramid->context, column * side, row * side, (column + 1) * side,
                          (row + 1) * side);
}

static bool encode(const struct builder *builder, const uint8_t *pixels, uint8_t **bytes,
                   size_t *size, struct error *err)
{
    return tiff_tile_encode(builder->pyramid, pixels, bytes, size, err) ||
           error_prefix(err, "%s", builder->file.path);
}

static bool append(struct builder *builder, int level, int64_t column, int64_t row,
                   const uint8_t *bytes, size_t size, struct error *err)
{
    struct tiff_level *target = &builder->levels[level];
    if (fwrite(bytes, 1, size, builder->file.stream) != size)
        return error_set(err, EXIT_CODE_FAILED, "%s: cannot write; is the disk full?",
                         builder->file.path);
    target->offsets[row * target->columns + column] = builder->position;
    target->sizes[row * target->columns + column] = (uint32_t)size;
    builder->position += size;
    return true;
}

/* Count the level-0 tiles below this tile as done. */
static void report(const struct builder *builder, int level, int64_t column, int64_t row)
{
    struct progress *progress = builder->pyramid->progress;
    if (progress == NULL || !inside(builder, level, column, row)) return;
    int64_t x0 = column << level, y0 = row << level;
    int64_t x1 = (column + 1) << level, y1 = (row + 1) << level;
    if (x1 > builder->levels[0].columns) x1 = builder->levels[0].columns;
    if (y1 > builder->levels[0].rows) y1 = builder->levels[0].rows;
    progress_add(progress, (x1 - x0) * (y1 - y0));
}

/* One level of a block. */
struct layer {
    struct builder *builder;
    int level, side;
    int64_t column, row;        /* of the first tile */
    struct slot *slots, *below; /* (side, side), (2*side, 2*side) */
};

static bool layer_tile(void *context, int64_t item, int worker, struct error *err)
{
    const struct layer *layer = context;
    struct builder *builder = layer->builder;
    const struct tiff_pyramid *pyramid = builder->pyramid;
    int x = (int)(item % layer->side), y = (int)(item / layer->side);
    int64_t column = layer->column + x, row = layer->row + y, tile = pyramid->tile;
    struct slot *slot = &layer->slots[item];
    if (empty(builder, layer->level, column, row)) {
        memcpy(slot->pixels, builder->background, builder->tile_bytes);
        return true;
    }
    if (layer->level == 0) {
        if (!pyramid->draw(pyramid->context, column * tile, row * tile, worker, slot->pixels, err))
            return false;
    } else {
        for (int i = 0; i < 4; i++) {
            int right = i & 1, lower = i >> 1;
            const struct slot *child =
                &layer->below[(2 * y + lower) * 2 * layer->side + 2 * x + right];
            tiff_tile_reduce(pyramid, child->pixels, right, lower, slot->pixels);
        }
    }
    if (memcmp(slot->pixels, builder->background, builder->tile_bytes) == 0) return true;
    return encode(builder, slot->pixels, &slot->bytes, &slot->size, err);
}

static bool layer_append(const struct layer *layer, struct error *err)
{
    for (int i = 0; i < layer->side * layer->side; i++) {
        struct slot *slot = &layer->slots[i];
        if (slot->bytes == NULL) continue;
        if (!append(layer->builder, layer->level, layer->column + i % layer->side,
                    layer->row + i / layer->side, slot->bytes, slot->size, err))
            return false;
        free(slot->bytes);
        slot->bytes = NULL;
    }
    return true;
}

/* Make the block whose top tile is (column, row); that tile's pixels go to `out`. */
static bool block_write(struct builder *builder, int64_t column, int64_t row, uint8_t *out,
                        struct error *err)
{
    struct slot *slots = builder->slots, *below = NULL;
    for (int level = 0; level <= builder->block_top; level++) {
        int up = builder->block_top - level, side = 1 << up;
        struct layer layer = { builder, level, side, column << up, row << up, slots, below };
        if (!parallel_for(builder->pyramid->threads, (int64_t)side * side, &layer, layer_tile,
                          err) ||
            !layer_append(&layer, err))
            return false;
        below = slots;
        slots += side * side;
    }
    CHECK(below); /* there is a level 0 */
    memcpy(out, below->pixels, builder->tile_bytes);
    return true;
}

/* Make tile (column, row) of `level` and all tiles below it; its pixels go to `out`. */
static bool tile_write(struct builder *builder, int level, int64_t column, int64_t row,
                       uint8_t *out, struct error *err)
{
    if (empty(builder, level, column, row)) {
        report(builder, level, column, row);
        memcpy(out, builder->background, builder->tile_bytes);
        return true;
    }
    if (level == builder->block_top) {
        report(builder, level, column, row);
        return block_write(builder, column, row, out, err);
    }
    uint8_t *child = builder->children[level - 1];
    for (int i = 0; i < 4; i++) {
        int right = i & 1, lower = i >> 1;
        if (!tile_write(builder, level - 1, 2 * column + right, 2 * row + lower, child, err))
            return false;
        tiff_tile_reduce(builder->pyramid, child, right, lower, out);
    }
    if (memcmp(out, builder->background, builder->tile_bytes) == 0) return true;
    uint8_t *bytes = NULL;
    size_t size;
    bool ok = encode(builder, out, &bytes, &size, err) &&
              append(builder, level, column, row, bytes, size, err);
    free(bytes);
    return ok;
}

/* Store one background tile and let every tile that was not written refer to it. */
static bool background_share(struct builder *builder, struct error *err)
{
    uint8_t *bytes = NULL;
    size_t size;
    uint64_t position = builder->position;
    bool ok = encode(builder, builder->background, &bytes, &size, err);
    if (ok && fwrite(bytes, 1, size, builder->file.stream) != size)
        ok = error_set(err, EXIT_CODE_FAILED, "%s: cannot write; is the disk full?",
                       builder->file.path);
    free(bytes);
    if (!ok) return false;
    builder->position += size;
    for (int i = 0; i < builder->pyramid->levels; i++) {
        struct tiff_level *level = &builder->levels[i];
        for (int64_t t = 0; t < level->columns * level->rows; t++) {
            if (level->offsets[t] != 0) continue;
            level->offsets[t] = position;
            level->sizes[t] = (uint32_t)size;
        }
    }
    return true;
}

static void builder_release(struct builder *builder)
{
    atomic_file_release(&builder->file);
    for (int i = 0; i < BLOCK_TILES; i++) {
        free(builder->slots[i].pixels);
        free(builder->slots[i].bytes);
    }
    for (int i = 0; i < LEVELS_MAX; i++) {
        free(builder->children[i]);
        free(builder->levels[i].offsets);
        free(builder->levels[i].sizes);
    }
    free(builder->background);
}

static bool level_init(struct tiff_level *level, const struct tiff_pyramid *pyramid, int index)
{
    int64_t step = (int64_t)1 << index, tile = pyramid->tile;
    level->width = CEIL_DIV(pyramid->width, step);
    level->height = CEIL_DIV(pyramid->height, step);
    level->columns = CEIL_DIV(level->width, tile);
    level->rows = CEIL_DIV(level->height, tile);
    size_t tiles = (size_t)(level->columns * level->rows);
    level->offsets = calloc(tiles, sizeof *level->offsets);
    level->sizes = calloc(tiles, sizeof *level->sizes);
    return level->offsets != NULL && level->sizes != NULL;
}

static bool builder_init(struct builder *builder, const struct tiff_pyramid *pyramid,
                         const char *path, struct error *err)
{
    int samples = tiff_tile_channels(pyramid), top = pyramid->levels - 1;
    *builder = (struct builder) { .pyramid = pyramid, .position = HEADER_BYTES };
    builder->tile_bytes = (size_t)pyramid->tile * (size_t)pyramid->tile * (size_t)samples;
    builder->block_top = top < BLOCK_LEVELS - 1 ? top : BLOCK_LEVELS - 1;
    bool ok = (builder->background = malloc(builder->tile_bytes)) != NULL;
    int slot_count = ((4 << (2 * builder->block_top)) - 1) / 3; /* 1 + 4 + 16 + … */
    for (int i = 0; i < slot_count; i++)
        ok = ok && (builder->slots[i].pixels = malloc(builder->tile_bytes)) != NULL;
    for (int i = 0; i <= top; i++)
        ok = ok && level_init(&builder->levels[i], pyramid, i) &&
             (builder->children[i] = malloc(builder->tile_bytes)) != NULL;
    if (!ok) {
        error_set(err, EXIT_CODE_FAILED, "%s: out of memory", path);
        goto fail;
    }
    for (size_t i = 0; i < builder->tile_bytes; i++)
        builder->background[i] = pyramid->background[i % (size_t)samples];
    static const uint8_t header[HEADER_BYTES];
    if (!atomic_file_open(&builder->file, path, err)) goto fail;
    if (fwrite(header, 1, sizeof header, builder->file.stream) != sizeof header) {
        error_set(err, EXIT_CODE_FAILED, "%s: cannot write; is the disk full?", path);
        goto fail;
    }
    return true;
fail:
    builder_release(builder);
    return false;
}

bool tiff_pyramid_write(const struct tiff_pyramid *pyramid, const char *path, struct error *err)
{
    CHECK(pyramid->levels >= 1 && pyramid->levels <= LEVELS_MAX && pyramid->tile % 16 == 0);
    struct builder *builder = malloc(sizeof *builder);
    if (builder == NULL) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", path);
    bool ok = builder_init(builder, pyramid, path, err);
    if (!ok) goto done;
    int top = pyramid->levels - 1;
    const struct tiff_level *roots = &builder->levels[top];
    for (int64_t i = 0; ok && i < roots->columns * roots->rows; i++)
        ok = tile_write(builder, top, i % roots->columns, i / roots->columns,
                        builder->children[top], err);
    ok = ok && background_share(builder, err) &&
         tiff_directories_write(pyramid, builder->levels, &builder->file, builder->position, err) &&
         atomic_file_commit(&builder->file, err);
    builder_release(builder);
done:
    free(builder);
    return ok;
}
