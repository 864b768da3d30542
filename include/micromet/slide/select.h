/* Selection of a slide's windows; the same for packs and for training directly from slides.
 *
 * Kept are all tumour windows (at most max_tumor) and normal windows with enough tissue: on a slide
 * with tumour normals_per_tumor for each tumour window kept, on one without max_normal (0 = all),
 * and never more than max_normal. If there are more, those with the smallest Philox draw for (seed,
 * slide name, grid index) are kept, so the choice does not depend on the order in which threads
 * reach the windows. */
#ifndef MICROMET_SLIDE_SELECT_H
#define MICROMET_SLIDE_SELECT_H

#include "micromet/base/config.h"
#include "micromet/base/log.h"
#include "micromet/slide/grid.h"

struct window_list {
    struct window *windows; /* raster order: ascending y, then x */
    int64_t *slots;         /* sink slot of each window's pixels; NULL without a sink */
    int64_t count, tumor_count;
    struct grid grid;
    int64_t tissue_windows; /* normal windows with enough tissue, kept or not */
    int32_t gray_max;       /* the tissue rule used; see tissue.h */
};
void window_list_release(struct window_list *list);

/* Receives the pixels of windows during selection. A slot is overwritten when a better candidate
 * replaces its window; slots are numbered from 0 without gaps. Calls are serialised. pixels[tower]:
 * window*window*3 RGB. */
struct window_sink {
    bool (*put)(void *context, int64_t slot, uint8_t *const pixels[TOWERS_MAX], struct error *err);
    void *context;
};

struct select_options {
    int threads;                    /* at least 1 */
    size_t cache_bytes;             /* for all threads; 0 = grid_walk_cache_bytes(threads) */
    const struct window_sink *sink; /* NULL = list only; pixels of coarser towers are not read */
    struct progress *progress;      /* counts the windows of the grid; NULL = silent */
};

/* label: of the slide (1 = tumour). Fails, naming the slide, if it contradicts the annotation or if
 * no window can be kept. */
bool windows_select(const struct slide *slide, struct annotation *annotation, int label,
                    const struct config *config, const struct select_options *options,
                    struct window_list *list, struct error *err);

#endif
