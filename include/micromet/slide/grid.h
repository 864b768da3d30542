/* Windows of one slide: where they are, what they are called, and the walk that visits them with
 * their pixels.
 *
 * The grid's centres are origin + k*stride px of the finest tower's level, in level-0 pixels: x =
 * origin_x + round(i * stride * downsample). Centres whose finest window lies wholly inside the
 * slide belong to the grid; an origin whose window does not is moved by whole steps to the first
 * that does. */
#ifndef MICROMET_SLIDE_GRID_H
#define MICROMET_SLIDE_GRID_H

#include "micromet/base/config.h"
#include "micromet/slide/annotation.h"
#include "micromet/slide/slide.h"

struct window {
    int32_t x_level0, y_level0; /* centre */
    float tissue;               /* share of tissue px in the finest window, 0..1 */
    uint8_t label;              /* 1 = tumour in the central square */
    uint8_t reserved[3];
};

struct grid {
    int64_t columns, rows;
    int64_t origin_x, origin_y; /* centre of column 0, row 0; level-0 px */
    double step;                /* level-0 px */
};
/* Fails when a configured level does not exist or no window fits. stride in px of levels[0];
 * 0 = data->stride. */
bool grid_init(struct grid *grid, const struct slide *slide, const struct config_data *data,
               int stride, struct error *err);
int64_t grid_x_level0(const struct grid *grid, int64_t column);
int64_t grid_y_level0(const struct grid *grid, int64_t row);

/* One byte a window, 0 or 1: tumour if any mask pixel touches the central center×center px (finest
 * tower's level). The mask is scanned once; all zeros when `annotation` is NULL. */
bool grid_label(const struct grid *grid, const struct slide *slide, const struct config_data *data,
                struct annotation *annotation, uint8_t **labels /* malloc'ed, rows*columns bytes */,
                struct error *err);

/* Which windows might hold at least `min_normal` tissue, judged from coarse levels (screen.c
 * says how), so that empty regions of the slide are never read: a safe bound with a fifth of
 * slack, so no window that qualifies is dropped. One byte a window; all ones when the slide has
 * no coarse level. */
bool grid_screen(const struct grid *grid, const struct slide *slide, const struct config_data *data,
                 uint8_t **maybe /* malloc'ed, rows*columns bytes */, struct error *err);

/* One window with its pixels, in the order the walk reaches them; window->tissue is not set.
 * pixels[tower]: window*window*3 RGB, overwritten after the call. Calls for one slide may come from
 * several threads at once; worker, in [0, threads), tells which. */
typedef bool (*window_visitor)(void *context, const struct window *window, int64_t grid_index,
                               uint8_t *const pixels[TOWERS_MAX], int worker, struct error *err);

/* How much a walk has read. */
struct walk_facts {
    int64_t bands, blocks_read;
};

struct grid_walk_options {
    const uint8_t *visit;     /* by grid_index: windows to visit, others are 0; NULL = all */
    const uint8_t *labels;    /* by grid_index; NULL = all 0 */
    int towers;               /* read the first ones only; 1 = the finest alone */
    int threads;              /* bands that go on at once */
    size_t cache_bytes;       /* of all threads; 0 = grid_walk_cache_bytes() */
    struct walk_facts *facts; /* filled if not NULL */
};

/* Show windows to the visitor. The grid is cut into bands, narrow enough that a thread's share
 * of the cache holds what the next grid row needs again: each block of the slide is read once
 * within a band. */
bool grid_walk(const struct grid *grid, const struct slide *slide, const struct config_data *data,
               const struct grid_walk_options *options, window_visitor visitor, void *context,
               struct error *err);

/* What a walk of all threads keeps of the slide unless it is told otherwise: 32 MiB a thread,
 * 256 MiB at most. */
size_t grid_walk_cache_bytes(int threads);

#endif
