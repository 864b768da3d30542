/* A small image of the whole slide: each pixel is the mean of the level's pixels that fall into it.
 *
 * Blocks are summed one after another, and rows of the image are finished with each row of blocks,
 * so memory does not grow with the slide, even if it has a single level. */
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"
#include "micromet/slide/slide.h"

struct thumbnail {
    const struct slide_level *level;
    int width, height;
    int first, rows; /* rows of the image that are being summed */
    uint64_t *sums;  /* (rows, width, 3) */
    uint8_t *block;  /* pixels of one block of the level */
};

/* The coarsest level that need not be enlarged, and that shows all that level 0 shows. */
static int level_for(const struct slide *slide, int side_max)
{
    for (int i = slide->level_count - 1; i > 0; i--)
        if (!slide->levels[i].has_holes &&
            (slide->levels[i].width >= side_max || slide->levels[i].height >= side_max))
            return i;
    return 0;
}

static int scaled(int64_t side, int64_t longer, int side_max)
{
    if (longer <= side_max) return (int)side;
    const int64_t small = (side * side_max + longer / 2) / longer;
    return small > 0 ? (int)small : 1;
}

static void add_block(const struct thumbnail *thumbnail, int64_t x0, int64_t y0, int width,
                      int height)
{
    const struct slide_level *level = thumbnail->level;
    for (int y = 0; y < height; y++) {
        const int64_t row = (y0 + y) * thumbnail->height / level->height - thumbnail->first;
        const uint8_t *pixel = thumbnail->block + 3 * (size_t)y * (size_t)width;
        for (int x = 0; x < width; x++, pixel += 3) {
            const int64_t column = (x0 + x) * thumbnail->width / level->width;
            uint64_t *sum = thumbnail->sums + 3 * (row * thumbnail->width + column);
            for (int c = 0; c < 3; c++) sum[c] += pixel[c];
        }
    }
}

/* Number of the `side` px that fall into pixel i of `parts`: those p with p * parts / side == i. */
static int64_t part_length(int64_t side, int parts, int64_t i)
{
    return CEIL_DIV((i + 1) * side, parts) - CEIL_DIV(i * side, parts);
}

/* Write the rows before `end`, which are complete; summing continues with row `end`. */
static void finish_rows(struct thumbnail *thumbnail, int end, uint8_t *rgb)
{
    const struct slide_level *level = thumbnail->level;
    const size_t samples = 3 * (size_t)thumbnail->width;
    for (int y = thumbnail->first; y < end; y++) {
        const int64_t rows = part_length(level->height, thumbnail->height, y);
        const uint64_t *sum = thumbnail->sums + (size_t)(y - thumbnail->first) * samples;
        uint8_t *sample = rgb + (size_t)y * samples;
        for (int x = 0; x < thumbnail->width; x++) {
            const uint64_t count = (uint64_t)(rows *
                                              part_length(level->width, thumbnail->width, x));
            for (int c = 0; c < 3; c++) *sample++ = (uint8_t)((*sum++ + count / 2) / count);
        }
    }
    const size_t done = (size_t)(end - thumbnail->first), left = (size_t)thumbnail->rows - done;
    memmove(thumbnail->sums, thumbnail->sums + done * samples,
            left * samples * sizeof *thumbnail->sums);
    memset(thumbnail->sums + left * samples, 0, done * samples * sizeof *thumbnail->sums);
    thumbnail->first = end;
}

static bool add_blocks(struct thumbnail *thumbnail, const struct slide *slide, int level_index,
                       struct slide_cache *cache, uint8_t *rgb, struct error *err)
{
    const struct slide_level *level = thumbnail->level;
    for (int64_t y = 0; y < level->height; y += level->block_height) {
        for (int64_t x = 0; x < level->width; x += level->block_width) {
            const int64_t right = slide->levels[level_index].width - x, below = level->height - y;
            const int width = (int)(right < level->block_width ? right : level->block_width);
            const int height = (int)(below < level->block_height ? below : level->block_height);
            if (!slide_read(cache, level_index, x, y, width, height, thumbnail->block,
                            3 * (size_t)width, err))
                return false;
            add_block(thumbnail, x, y, width, height);
        }
        const int64_t next = y + level->block_height;
        const int64_t bottom = next < level->height ? next : level->height;
        finish_rows(thumbnail, (int)(bottom * thumbnail->height / level->height), rgb);
    }
    return true;
}

bool slide_thumbnail(const struct slide *slide, int side_max, uint8_t **rgb, int *width,
                     int *height, struct error *err)
{
    CHECK(side_max > 0);
    const int level_index = level_for(slide, side_max);
    const struct slide_level *level = &slide->levels[level_index];
    const int64_t longer = level->width > level->height ? level->width : level->height;
    struct slide_cache *cache = NULL;
    bool ok = false;
    struct thumbnail thumbnail = {
        .level = level,
        .width = scaled(level->width, longer, side_max),
        .height = scaled(level->height, longer, side_max),
    };
    const int64_t rows = (int64_t)level->block_height * thumbnail.height / level->height + 2;
    thumbnail.rows = (int)(rows < thumbnail.height ? rows : thumbnail.height);
    const size_t row_samples = 3 * (size_t)thumbnail.width;

    *width = thumbnail.width, *height = thumbnail.height;
    *rgb = malloc((size_t)thumbnail.height * row_samples);
    thumbnail.sums = calloc((size_t)thumbnail.rows * row_samples, sizeof *thumbnail.sums);
    thumbnail.block = malloc(3 * (size_t)level->block_width * (size_t)level->block_height);
    if (!*rgb || !thumbnail.sums || !thumbnail.block) {
        error_set(err, EXIT_CODE_FAILED, "%s: out of memory for a thumbnail of %d x %d",
                  slide->path, *width, *height);
        goto done;
    }
    ok = slide_cache_init(&cache, slide, 1, err) &&
         add_blocks(&thumbnail, slide, level_index, cache, *rgb, err);
done:
    if (!ok) {
        free(*rgb);
        *rgb = NULL;
    }
    slide_cache_release(cache);
    free(thumbnail.sums);
    free(thumbnail.block);
    return ok;
}
