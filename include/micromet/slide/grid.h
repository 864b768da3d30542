/* The windows of one slide: a regular grid of centres, their labels, and the walk that visits them
 * and reads their pixels.
 *
 * Centres are spaced by `stride` px of the finest tower's level (scale.h says which level a tower
 * reads), and given in level-0 pixels:
 * x = origin_x + round(i * stride * downsample). The grid holds the centres whose finest window
 * lies wholly inside the slide. If the window at the configured origin does not, the origin moves
 * by whole steps to the first that does. */
#ifndef MICROMET_SLIDE_GRID_H
#define MICROMET_SLIDE_GRID_H

#include "micromet/base/config.h"
#include "micromet/slide/annotation.h"
#include "micromet/slide/slide.h"

struct window {
    int32_t x_level0, y_level0; /* of the centre */
    float tissue;               /* share of tissue pixels in the finest window, 0..1 */
    uint8_t label;              /* 1 = tumour in the centre square */
    uint8_t reserved[3];
};

struct grid {
    int64_t columns, rows;
    int64_t origin_x, origin_y; /* centre of column 0, row 0; level-0 px */
    double step;                /* level-0 px */
};
/* Fails when a configured level does not exist or no window fits. stride: px of the finest tower;
 * 0 = data->stride. */
bool grid_init(struct grid *grid, const struct slide *slide, const struct config_data *data,
               int stride, struct error *err);
int64_t grid_x_level0(const struct grid *grid, int64_t column);
int64_t grid_y_level0(const struct grid *grid, int64_t row);

/* One label byte per window: 1 (tumour) if any mask pixel touches the centre square of
 * center×center px at the finest tower's level, else 0; GRID_IGNORED, which is no class, if any
 * pixel to be ignored touches the finest tower's window. All 0 if `annotation` is NULL. The mask is
 * scanned once. *labels: malloc'ed, rows*columns bytes. */
enum { GRID_IGNORED = 2 };
bool grid_label(const struct grid *grid, const struct slide *slide, const struct config_data *data,
                struct annotation *annotation, uint8_t **labels, struct error *err);

/* Which windows may hold a share of at least `min_normal` tissue, judged from coarse levels (see
 * screen.c), so that empty regions are never read at full resolution. The bound is conservative,
 * with a margin of a fifth, so no qualifying window is dropped. One byte per window; all 1 if the
 * slide has no coarse level. *maybe: malloc'ed, rows*columns bytes. */
bool grid_screen(const struct grid *grid, const struct slide *slide, const struct config_data *data,
                 uint8_t **maybe, struct error *err);

/* Called with each window and its pixels, in the order of the walk; window->tissue is not set.
 * pixels[tower]: window*window*3 RGB, valid during the call. Several threads may call at once for
 * one slide; `worker`, in [0, threads), is the thread's number. */
typedef bool (*window_visitor)(void *context, const struct window *window, int64_t grid_index,
                               uint8_t *const pixels[TOWERS_MAX], int worker, struct error *err);

/* What a walk has read. */
struct walk_facts {
    int64_t bands, blocks_read;
};

struct grid_walk_options {
    const uint8_t *visit;     /* by grid_index: nonzero = visit; NULL = visit all */
    const uint8_t *labels;    /* by grid_index; NULL = all 0 */
    int towers;               /* read only the first ones; 1 = the finest alone */
    int threads;              /* bands processed in parallel */
    size_t cache_bytes;       /* for all threads; 0 = grid_walk_cache_bytes() */
    struct walk_facts *facts; /* filled if not NULL */
};

/* Visit windows. The grid is cut into bands, narrow enough that a thread's share of the
 * cache holds all that the next grid row will need again; within a band, each block of the
 * slide is read once. */
bool grid_walk(const struct grid *grid, const struct slide *slide, const struct config_data *data,
               const struct grid_walk_options *options, window_visitor visitor, void *context,
               struct error *err);

/* Default cache size for a walk, all threads together: 32 MiB per thread, at most 256 MiB. */
size_t grid_walk_cache_bytes(int threads);

#endif
