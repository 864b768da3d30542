/* Walks over a grid's windows so that, within a band, each block of the slide is read once.
 *
 * Consecutive rows of a grid share blocks. A band is only so wide that a thread's cache holds all
 * blocks that two consecutive rows touch, for all towers. Whatever the next row needs again is thus
 * still cached, and memory is bounded by the caches rather than by the slide. */
#include "micromet/slide/grid.h"

#include <stdlib.h>

#include "micromet/base/size.h"
#include "micromet/base/thread.h"
#include "micromet/slide/scale.h"

enum {
    BLOCK_PIXEL_BYTES = 4,         /* upper bound for the cache's bytes per pixel */
    BANDS_PER_THREAD = 4,          /* to balance the load */
    BAND_BLOCK_ROWS_MIN = 4,       /* shorter bands would reread too many blocks at their seams */
    CACHE_BYTES_THREAD = 32 << 20, /* bands of about a dozen blocks, to which a seam adds one */
    CACHE_BYTES_TOTAL = 256 << 20,
};

struct walk_worker {
    struct slide_cache *cache;
    uint8_t *pixels[TOWERS_MAX];
};

struct walk {
    const struct grid *grid;
    const struct slide *slide;
    const struct config_data *data;
    const struct grid_walk_options *options;
    size_t cache_bytes; /* per thread */
    window_visitor visitor;
    void *context;
    int64_t band_columns, band_rows; /* in windows */
    int64_t bands_across, bands_down;
    struct walk_worker *workers;
};

size_t grid_walk_cache_bytes(int threads)
{
    const size_t sum = (size_t)threads * CACHE_BYTES_THREAD;
    return sum < CACHE_BYTES_TOTAL ? sum : CACHE_BYTES_TOTAL;
}

/* Largest number of blocks of `block` px that an interval of `pixels` px can touch. */
static double blocks_touched(double pixels, int block)
{
    return (double)(int64_t)((pixels + block - 2) / block) + 1;
}

static const struct slide_level *level_of(const struct walk *walk, int tower)
{
    return &walk->slide->levels[tower_level(walk->slide, walk->data, tower)];
}

/* Bytes of the blocks of a level that a rectangle of width × height px can touch. */
static double rectangle_bytes(const struct slide_level *level, double width, double height)
{
    return blocks_touched(width, level->block_width) * blocks_touched(height, level->block_height) *
           level->block_width * level->block_height * BLOCK_PIXEL_BYTES;
}

/* Bytes of all blocks that two consecutive grid rows of `columns` windows touch. Of the source of a
 * made level, what one row of its blocks needs. */
static double band_bytes(const struct walk *walk, int64_t columns)
{
    const int window = walk->data->window;
    double bytes = 0;

    for (int tower = 0; tower < walk->options->towers; tower++) {
        const struct slide_level *level = level_of(walk, tower);
        const double step = walk->grid->step / level->downsample;
        const double width = (double)(columns - 1) * step + window + 1;
        bytes += rectangle_bytes(level, width, step + window + 1);
        for (double across = width; level->ratio > 0;) {
            const double down = level->block_height * level->ratio + 2;
            across = (across + 2 * level->block_width) * level->ratio;
            level = &walk->slide->levels[level->source];
            bytes += rectangle_bytes(level, across, down);
        }
    }
    return bytes;
}

static void plan_bands(struct walk *walk)
{
    const int threads = walk->options->threads;
    const struct slide_level *finest = level_of(walk, 0);
    if (finest->ratio > 0) finest = &walk->slide->levels[finest->source];
    const double rows_per_block = finest->block_height * finest->downsample / walk->grid->step;
    const int64_t rows_min = 1 + (int64_t)(BAND_BLOCK_ROWS_MIN * rows_per_block);

    int64_t low = 1, high = walk->grid->columns; /* binary search for the widest band that fits */
    while (low < high) {
        const int64_t middle = low + (high - low + 1) / 2;
        if (band_bytes(walk, middle) <= (double)walk->cache_bytes)
            low = middle;
        else
            high = middle - 1;
    }
    walk->bands_across = CEIL_DIV(walk->grid->columns, low);
    walk->band_columns = CEIL_DIV(walk->grid->columns, walk->bands_across);
    const int64_t wanted = threads > 1
                               ? CEIL_DIV((int64_t)threads * BANDS_PER_THREAD, walk->bands_across)
                               : 1;
    walk->band_rows = CEIL_DIV(walk->grid->rows, wanted);
    if (walk->band_rows < rows_min) walk->band_rows = rows_min;
    walk->bands_down = CEIL_DIV(walk->grid->rows, walk->band_rows);
}

static bool worker_init(struct walk_worker *worker, const struct walk *walk, struct error *err)
{
    const size_t bytes = (size_t)walk->data->window * (size_t)walk->data->window * 3;

    if (worker->cache) return true;
    for (int tower = 0; tower < walk->options->towers; tower++) {
        worker->pixels[tower] = malloc(bytes);
        if (!worker->pixels[tower])
            return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", walk->slide->path);
    }
    return slide_cache_init(&worker->cache, walk->slide, walk->cache_bytes, err);
}

static void worker_release(struct walk_worker *worker)
{
    slide_cache_release(worker->cache);
    for (int tower = 0; tower < TOWERS_MAX; tower++) free(worker->pixels[tower]);
}

static bool visit_window(const struct walk *walk, struct walk_worker *worker, int worker_index,
                         int64_t column, int64_t row, struct error *err)
{
    const int64_t index = row * walk->grid->columns + column;
    const int size = walk->data->window;
    const struct window window = {
        .x_level0 = (int32_t)grid_x_level0(walk->grid, column),
        .y_level0 = (int32_t)grid_y_level0(walk->grid, row),
        .label = walk->options->labels ? walk->options->labels[index] : 0,
    };

    for (int tower = 0; tower < walk->options->towers; tower++) {
        const int level = tower_level(walk->slide, walk->data, tower);
        int64_t x, y;
        slide_window_corner(walk->slide, level, window.x_level0, window.y_level0, size, &x, &y);
        if (!slide_read(worker->cache, level, x, y, size, size, worker->pixels[tower],
                        (size_t)size * 3, err))
            return false;
    }
    return walk->visitor(walk->context, &window, index, worker->pixels, worker_index, err);
}

static bool walk_band(void *context, int64_t item, int worker_index, struct error *err)
{
    const struct walk *walk = context;
    const struct grid *grid = walk->grid;
    const uint8_t *visit = walk->options->visit;
    struct walk_worker *worker = &walk->workers[worker_index];
    const int64_t column0 = item / walk->bands_down * walk->band_columns;
    const int64_t row0 = item % walk->bands_down * walk->band_rows;

    if (!worker_init(worker, walk, err)) return false;
    for (int64_t row = row0; row < row0 + walk->band_rows && row < grid->rows; row++)
        for (int64_t column = column0;
             column < column0 + walk->band_columns && column < grid->columns; column++) {
            if (visit && !visit[row * grid->columns + column]) continue;
            if (!visit_window(walk, worker, worker_index, column, row, err)) return false;
        }
    return true;
}

bool grid_walk(const struct grid *grid, const struct slide *slide, const struct config_data *data,
               const struct grid_walk_options *options, window_visitor visitor, void *context,
               struct error *err)
{
    const int threads = options->threads, towers = options->towers;
    const size_t cache_bytes = options->cache_bytes ? options->cache_bytes
                                                    : grid_walk_cache_bytes(threads);
    CHECK(threads >= 1 && towers >= 1 && towers <= data->level_count);
    struct walk walk = { .grid = grid,
                         .slide = slide,
                         .data = data,
                         .options = options,
                         .cache_bytes = cache_bytes / (size_t)threads,
                         .visitor = visitor,
                         .context = context };
    struct walk_facts facts = { 0 };

    walk.workers = calloc((size_t)threads, sizeof *walk.workers);
    if (!walk.workers) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", slide->path);
    plan_bands(&walk);
    facts.bands = walk.bands_across * walk.bands_down;
    const bool ok = parallel_for(threads, facts.bands, &walk, walk_band, err);
    for (int i = 0; i < threads; i++) {
        if (walk.workers[i].cache)
            facts.blocks_read += slide_cache_blocks_read(walk.workers[i].cache);
        worker_release(&walk.workers[i]);
    }
    free(walk.workers);
    if (options->facts) *options->facts = facts;
    return ok;
}
