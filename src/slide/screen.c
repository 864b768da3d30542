/* Screening: finds the regions of a slide that hold too little tissue, without reading them at
 * full resolution.
 *
 * The mean darkness m of a coarse pixel bounds the share of tissue under it: if a fine pixel is
 * tissue only when its darkness is at least D, the share is at most min(1, m / D). Summed over the
 * coarse pixels that cover a window, this bounds the window's tissue. Coarse levels exclude most
 * windows at little cost, and finer levels examine only the rest. */
#include "micromet/slide/grid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/log.h"
#include "micromet/slide/scale.h"
#include "micromet/slide/tissue.h"

enum {
    WINDOW_MIN = 4,     /* smallest size of a window, in px, on a level that is read */
    WINDOW_ENOUGH = 16, /* px; a finer level would add little */
    SPAN_MAX = 4096,    /* px of a level per read, in addition to a window */
    MARGIN = 1,         /* coarse px on all sides: levels may be shifted against each other */
    CACHE_BYTES = 24 << 20,
};
static const double bound_share = 0.8;      /* of min_normal: margin for compression, resampling */
static const double rounding = 2.0 / 255.0; /* of a coarse pixel's grey value */

struct screen {
    const struct slide *slide;
    const struct grid *grid;
    struct slide_cache *cache;
    uint8_t *maybe; /* (rows, columns) */
    double window_level0;
    double share_min;    /* share of a window's area, times dark_tissue */
    int32_t dark_tissue; /* lowest darkness of a tissue pixel, in units of tissue_gray() */
    /* the current level */
    int level;
    double downsample, dark_min;
    uint8_t *rgb;    /* grows as needed */
    int64_t *before; /* prefix sums: darkness left of each column of a read */
    size_t rgb_bytes;
};

/* The coarse pixels [*first, *last), clipped to the level, that cover a window with a margin. */
static void cover(const struct screen *screen, int64_t centre_level0, int64_t size_level,
                  int64_t *first, int64_t *last)
{
    const double half = screen->window_level0 / 2, center = (double)centre_level0;
    const int64_t start = (int64_t)floor((center - half) / screen->downsample) - MARGIN;
    const int64_t end = (int64_t)ceil((center + half) / screen->downsample) + MARGIN;

    *first = start < 0 ? 0 : start > size_level ? size_level : start;
    *last = end > size_level ? size_level : end < *first ? *first : end;
}

/* Prefix sums over columns x0..x1 of the darkness, at most dark_tissue per pixel, of
 * rows y0..y1. */
static bool sum_columns(struct screen *screen, int64_t x0, int64_t x1, int64_t y0, int64_t y1,
                        struct error *err)
{
    const int width = (int)(x1 - x0), height = (int)(y1 - y0);
    const size_t row_bytes = (size_t)width * 3, bytes = row_bytes * (size_t)height;

    if (bytes > screen->rgb_bytes) {
        free(screen->rgb);
        screen->rgb_bytes = bytes;
        screen->rgb = malloc(bytes);
        if (!screen->rgb)
            return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", screen->slide->path);
    }
    if (!slide_read(screen->cache, screen->level, x0, y0, width, height, screen->rgb, row_bytes,
                    err))
        return false;
    screen->before[0] = 0;
    for (int x = 0; x < width; x++) {
        int64_t sum = 0;
        for (int y = 0; y < height; y++) {
            const int32_t dark = GRAY_MAX -
                                 tissue_gray(screen->rgb + (size_t)y * row_bytes + 3 * x);
            sum += dark < screen->dark_tissue ? dark : screen->dark_tissue;
        }
        screen->before[x + 1] = screen->before[x] + sum;
    }
    return true;
}

/* Screen the windows of one row from column `first` to `last`; windows already excluded are
 * not read again. */
static bool screen_row(struct screen *screen, int64_t row, int64_t first, int64_t last,
                       struct error *err)
{
    const struct slide_level *level = &screen->slide->levels[screen->level];
    uint8_t *maybe = screen->maybe + row * screen->grid->columns;
    int64_t x0, x1, y0, y1, unused;

    while (first < last && !maybe[first]) first++;
    while (first < last && !maybe[last - 1]) last--;
    if (first == last) return true;
    cover(screen, grid_y_level0(screen->grid, row), level->height, &y0, &y1);
    cover(screen, grid_x_level0(screen->grid, first), level->width, &x0, &unused);
    cover(screen, grid_x_level0(screen->grid, last - 1), level->width, &unused, &x1);
    if (x0 == x1 || y0 == y1) return true; /* outside a cropped level: keep the windows */
    if (!sum_columns(screen, x0, x1, y0, y1, err)) return false;
    for (int64_t column = first; column < last; column++) {
        int64_t start, end;
        cover(screen, grid_x_level0(screen->grid, column), level->width, &start, &end);
        if (!maybe[column] || start == end) continue;
        const int64_t dark = screen->before[end - x0] - screen->before[start - x0];
        maybe[column] = (double)dark >= screen->dark_min;
    }
    return true;
}

static bool screen_level(struct screen *screen, int level, struct error *err)
{
    const struct grid *grid = screen->grid;

    screen->level = level;
    screen->downsample = screen->slide->levels[level].downsample;
    screen->dark_min = pow(screen->window_level0 / screen->downsample, 2) * screen->share_min;
    int64_t span = (int64_t)(SPAN_MAX * screen->downsample / grid->step);
    if (span < 1) span = 1;
    for (int64_t first = 0; first < grid->columns; first += span) {
        const int64_t last = first + span < grid->columns ? first + span : grid->columns;
        for (int64_t row = 0; row < grid->rows; row++)
            if (!screen_row(screen, row, first, last, err)) return false;
    }
    return true;
}

static bool screen_init(struct screen *screen, const struct config_data *data, struct error *err)
{
    const double finest = screen->slide->levels[tower_level(screen->slide, data, 0)].downsample;
    struct tissue_rule rule;

    if (!tissue_rule_init(&rule, data, screen->slide, err)) return false;
    screen->window_level0 = data->window * finest;
    screen->dark_tissue = GRAY_MAX - rule.gray_max;
    screen->share_min = bound_share * data->tissue.min_normal * screen->dark_tissue -
                        rounding * GRAY_MAX;
    const size_t columns = SPAN_MAX + (size_t)data->window + 8;
    screen->before = malloc(columns * sizeof *screen->before);
    if (!screen->before)
        return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", screen->slide->path);
    return slide_cache_init(&screen->cache, screen->slide, CACHE_BYTES, err);
}

/* Screen from the coarsest useful level down to the first that is fine enough, or that the finest
 * tower's pixels come from. */
static bool screen_levels(struct screen *screen, const struct config_data *data, struct error *err)
{
    const int read = tower_level(screen->slide, data, 0);
    const int finest = screen->slide->levels[read].ratio > 0 ? screen->slide->levels[read].source
                                                             : read;
    for (int level = screen->slide->level_count - 1; level > finest; level--) {
        const double window = screen->window_level0 / screen->slide->levels[level].downsample;
        if (window < WINDOW_MIN || screen->slide->levels[level].has_holes) continue;
        if (!screen_level(screen, level, err)) return false;
        if (window >= WINDOW_ENOUGH) break;
    }
    return true;
}

/* Say what the windows will not show. */
static void warn_of_gaps(const struct slide *slide, const struct config_data *data)
{
    if (*slide->remark) log_warning("%s: %s", slide->path, slide->remark);
    for (int tower = 0; tower < data->level_count; tower++) {
        const int index = tower_level(slide, data, tower);
        const struct slide_level *level = &slide->levels[index];
        if (level->has_holes)
            log_warning("%s: level %d lacks %lld of its tiles where level 0 has pixels; windows of "
                        "this level are background there",
                        slide->path, index, (long long)level->missing_tiles);
    }
}

bool grid_screen(const struct grid *grid, const struct slide *slide, const struct config_data *data,
                 uint8_t **maybe, struct error *err)
{
    const size_t count = (size_t)(grid->columns * grid->rows);
    struct screen screen = { .slide = slide, .grid = grid, .maybe = malloc(count) };

    *maybe = NULL;
    warn_of_gaps(slide, data);
    if (!screen.maybe) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", slide->path);
    memset(screen.maybe, 1, count);
    const bool ok = screen_init(&screen, data, err) && screen_levels(&screen, data, err);
    slide_cache_release(screen.cache);
    free(screen.rgb);
    free(screen.before);
    if (ok)
        *maybe = screen.maybe;
    else
        free(screen.maybe);
    return ok;
}
