/* Selects windows in one walk with two bounded heaps.
 *
 * Each window gets a random priority that depends only on its name, and a heap keeps the smallest
 * priorities. The selection therefore does not depend on the order of the walk, and the pixels of a
 * window that is evicted are overwritten by those of its replacement. */
#include "micromet/slide/select.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "micromet/base/log.h"
#include "micromet/base/random.h"
#include "micromet/slide/manifest.h"
#include "micromet/slide/scale.h"
#include "micromet/slide/tissue.h"

enum { GLASS_MIN = 20 };              /* windows: fewer tell nothing */
static const double glass_max = 0.05; /* share of tissue in a window of glass */

struct candidate {
    uint64_t priority;
    int64_t grid_index;
    int64_t slot;
    struct window window;
};

/* The `limit` candidates with the smallest priorities: a heap with the largest at the root. */
struct pool {
    struct candidate *items;
    int64_t count, capacity, limit;
};

struct selection {
    const struct slide *slide;
    const struct config *config;
    const struct select_options *options;
    struct tissue_rule rule;
    uint64_t priority_seed;
    uint8_t *visit, *labels;
    pthread_mutex_t lock; /* guards the following fields */
    struct pool pools[2]; /* by label */
    int64_t slots;        /* number of slots in use */
    int64_t tissue_windows;
    int64_t tumor_glass_windows;  /* without tissue */
    int64_t tumor_tissue_windows; /* tumour windows with as much tissue as normal ones need */
    double tumor_tissue;          /* their tissue, in windows */
};

static bool comes_before(const struct candidate *a, const struct candidate *b)
{
    return a->priority != b->priority ? a->priority < b->priority : a->grid_index < b->grid_index;
}

static void swap(struct candidate *a, struct candidate *b)
{
    const struct candidate kept = *a;
    *a = *b;
    *b = kept;
}

static void sift_up(struct pool *pool, int64_t at)
{
    while (at && comes_before(&pool->items[(at - 1) / 2], &pool->items[at])) {
        swap(&pool->items[(at - 1) / 2], &pool->items[at]);
        at = (at - 1) / 2;
    }
}

static void sift_down(struct pool *pool)
{
    for (int64_t at = 0;;) {
        int64_t largest = at;
        for (int64_t child = 2 * at + 1; child <= 2 * at + 2 && child < pool->count; child++)
            if (comes_before(&pool->items[largest], &pool->items[child])) largest = child;
        if (largest == at) return;
        swap(&pool->items[largest], &pool->items[at]);
        at = largest;
    }
}

static bool pool_grow(struct pool *pool)
{
    if (pool->count < pool->capacity) return true;
    const int64_t capacity = pool->capacity ? 2 * pool->capacity : 256;
    void *items = realloc(pool->items, (size_t)capacity * sizeof *pool->items);
    if (!items) return false;
    pool->items = items;
    pool->capacity = capacity;
    return true;
}

/* Offer a candidate. Its slot becomes -1 if it is rejected, else a new one (*slots) or that of the
 * candidate it replaces. */
static bool pool_offer(struct pool *pool, struct candidate *candidate, int64_t *slots)
{
    candidate->slot = -1;
    if (pool->count < pool->limit) {
        if (!pool_grow(pool)) return false;
        candidate->slot = (*slots)++;
        pool->items[pool->count] = *candidate;
        sift_up(pool, pool->count++);
    } else if (pool->count && comes_before(candidate, &pool->items[0])) {
        candidate->slot = pool->items[0].slot;
        pool->items[0] = *candidate;
        sift_down(pool);
    }
    return true;
}

static uint64_t draw_priority(uint64_t seed, int64_t grid_index)
{
    struct random random = random_init(seed, 0, (uint64_t)grid_index, RANDOM_SELECT_NORMAL);
    const uint64_t high = random_u32(&random);
    return high << 32 | random_u32(&random);
}

static bool offer_window(struct selection *selection, struct candidate *candidate,
                         uint8_t *const pixels[TOWERS_MAX], struct error *err)
{
    const struct window_sink *sink = selection->options->sink;

    if (!pool_offer(&selection->pools[candidate->window.label], candidate, &selection->slots))
        return error_set(err, EXIT_CODE_FAILED, "%s: out of memory for the list of windows",
                         selection->slide->path);
    if (candidate->slot < 0 || !sink) return true;
    return sink->put(sink->context, candidate->slot, pixels, err);
}

static bool visit(void *context, const struct window *window, int64_t grid_index,
                  uint8_t *const pixels[TOWERS_MAX], int worker, struct error *err)
{
    struct selection *selection = context;
    const struct config_data *data = &selection->config->data;
    struct candidate candidate = {
        .priority = draw_priority(selection->priority_seed, grid_index),
        .grid_index = grid_index,
        .window = *window,
    };
    (void)worker;

    candidate.window.tissue = tissue_share(&selection->rule, pixels[0], data->window, data->window,
                                           (size_t)data->window * 3);
    const bool enough = candidate.window.tissue >= (float)data->tissue.min_normal;
    bool ok = true;
    if (window->label || enough) {
        pthread_mutex_lock(&selection->lock);
        selection->tissue_windows += !window->label;
        selection->tumor_tissue_windows += window->label && enough;
        selection->tumor_glass_windows += window->label &&
                                          (double)candidate.window.tissue < glass_max;
        selection->tumor_tissue += window->label ? (double)candidate.window.tissue : 0;
        ok = offer_window(selection, &candidate, pixels, err);
        pthread_mutex_unlock(&selection->lock);
    }
    if (selection->options->progress) progress_add(selection->options->progress, 1);
    return ok;
}

/* --- Before the walk -------------------------------------------------------------------------- */

static int64_t count_ones(const uint8_t *bytes, int64_t count)
{
    int64_t ones = 0;
    for (int64_t i = 0; i < count; i++) ones += bytes[i] == 1;
    return ones;
}

static bool check_labels(const struct slide *slide, struct annotation *annotation, int label,
                         int64_t tumors, struct error *err)
{
    struct annotation_facts facts;
    char empty[ANNOTATION_TEXT_MAX];

    if (label && !annotation)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: labelled tumor, but the manifest names no annotation", slide->path);
    if (label == (tumors > 0)) return true;
    if (!label)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: labelled normal, but its annotation marks tumor in %lld windows",
                         slide->path, (long long)tumors);
    if (!annotation_describe(annotation, &facts, err)) return false;
    if (facts.tumor_pixels)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: labelled tumor, but the central square of no window%s touches the "
                         "annotated tumor; lower data.stride or raise data.center",
                         slide->path, facts.ignored_pixels ? " beside what is ignored" : "");
    annotation_say_empty(annotation, empty);
    return error_set(err, EXIT_CODE_FAILED, "%s: labelled tumor, but %s; is it of this slide?",
                     slide->path, empty);
}

static void set_limits(struct selection *selection, int label, int64_t tumors)
{
    const struct config_data *data = &selection->config->data;
    const int64_t most = data->max_normal > 0 ? data->max_normal : INT64_MAX;

    if (data->max_tumor > 0 && tumors > data->max_tumor) tumors = data->max_tumor;
    const double wanted = rint(data->normals_per_tumor * (double)tumors);
    selection->pools[1].limit = tumors;
    selection->pools[0].limit = label && wanted < (double)most ? (int64_t)wanted : most;
}

/* Decide which windows to visit: all tumour windows and, if normal windows are wanted, those that
 * may hold tissue. */
static bool plan_visits(struct selection *selection, const struct grid *grid, struct error *err)
{
    const int64_t count = grid->columns * grid->rows;

    if (selection->pools[0].limit) {
        if (!grid_screen(grid, selection->slide, &selection->config->data, &selection->visit, err))
            return false;
        for (int64_t i = 0; i < count; i++)
            selection->visit[i] = (selection->visit[i] || selection->labels[i] == 1) &&
                                  selection->labels[i] != GRID_IGNORED;
    } else {
        selection->visit = malloc((size_t)count);
        if (!selection->visit)
            return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", selection->slide->path);
        for (int64_t i = 0; i < count; i++) selection->visit[i] = selection->labels[i] == 1;
    }
    if (selection->options->progress)
        progress_add(selection->options->progress, count - count_ones(selection->visit, count));
    return true;
}

/* --- After the walk --------------------------------------------------------------------------- */

static int compare_index(const void *a, const void *b)
{
    const struct candidate *left = a, *right = b;
    return (left->grid_index > right->grid_index) - (left->grid_index < right->grid_index);
}

/* Warn of an annotation that covers nearly all tissue, or little. */
static void tell_doubt(const struct selection *selection, int64_t tumors)
{
    const double in_tumor = (double)selection->tumor_tissue_windows;
    const double tissue = in_tumor + (double)selection->tissue_windows;
    if (!tumors) return;
    const char *doubt = annotation_doubt(selection->tumor_tissue / (double)tumors,
                                         selection->pools[0].limit && tissue > 0 ? in_tumor / tissue
                                                                                 : (double)NAN);
    if (doubt) log_warning("%s: %s", selection->slide->path, doubt);
}

/* Refuse an annotation that marks nearly all glass: then 0 means tumour in it. Outlines drawn too
 * wide mark some of it. */
static bool check_glass(const struct selection *selection, const struct grid *grid, int64_t tumors,
                        struct error *err)
{
    const int64_t all = grid->columns * grid->rows, marked = selection->tumor_glass_windows;
    const int64_t unmarked = all - tumors - selection->tissue_windows; /* and what is half tissue */
    if (!selection->pools[0].limit || marked < GLASS_MIN || 5 * marked < all ||
        20 * unmarked > marked)
        return true;
    return error_set(
        err, EXIT_CODE_FAILED,
        "%s: its annotation marks the glass beside the tissue as tumor: %lld windows "
        "without tissue, and but %lld others of them are not; does 0 mean tumor in its "
        "mask? Then invert it: `vips invert IN OUT.tif`",
        selection->slide->path, (long long)marked, (long long)unmarked);
}

/* Merge both pools into one list in raster order. */
static bool make_list(struct selection *selection, struct window_list *list, struct error *err)
{
    struct pool *all = &selection->pools[0];
    const struct pool *tumors = &selection->pools[1];
    char text[TOWER_TEXT_BYTES];

    list->count = all->count + tumors->count;
    list->tumor_count = tumors->count;
    list->tissue_windows = selection->tissue_windows;
    list->gray_max = selection->rule.gray_max;
    if (!list->count)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: no window of %d px at %s is tissue by at least %g %% (data.tissue)",
                         selection->slide->path, selection->config->data.window,
                         tower_text(&selection->config->data, 0, text),
                         100 * selection->config->data.tissue.min_normal);
    void *items = realloc(all->items, (size_t)list->count * sizeof *all->items);
    if (items) all->items = items;
    list->windows = malloc((size_t)list->count * sizeof *list->windows);
    list->slots = malloc((size_t)list->count * sizeof *list->slots);
    if (!items || !list->windows || !list->slots)
        return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", selection->slide->path);
    if (tumors->count)
        memcpy(all->items + all->count, tumors->items,
               (size_t)tumors->count * sizeof *tumors->items);
    qsort(all->items, (size_t)list->count, sizeof *all->items, compare_index);
    for (int64_t i = 0; i < list->count; i++) {
        list->windows[i] = all->items[i].window;
        list->slots[i] = all->items[i].slot;
    }
    return true;
}

static bool run_selection(struct selection *selection, struct annotation *annotation, int label,
                          struct window_list *list, struct error *err)
{
    const struct config_data *data = &selection->config->data;
    const struct select_options *options = selection->options;
    const struct grid *grid = &list->grid;

    if (!grid_init(&list->grid, selection->slide, data, 0, err)) return false;
    if (!tissue_rule_init(&selection->rule, data, selection->slide, err)) return false;
    if (!grid_label(grid, selection->slide, data, annotation, &selection->labels, err))
        return false;
    const int64_t tumors = count_ones(selection->labels, grid->columns * grid->rows);
    if (!check_labels(selection->slide, annotation, label, tumors, err)) return false;
    set_limits(selection, label, tumors);
    if (!plan_visits(selection, grid, err)) return false;
    const struct grid_walk_options walk = { .visit = selection->visit,
                                            .labels = selection->labels,
                                            .towers = options->sink ? data->level_count : 1,
                                            .threads = options->threads,
                                            .cache_bytes = options->cache_bytes };
    if (!grid_walk(grid, selection->slide, data, &walk, visit, selection, err)) return false;
    if (!check_glass(selection, grid, tumors, err)) return false;
    tell_doubt(selection, tumors);
    return make_list(selection, list, err);
}

bool windows_select(const struct slide *slide, struct annotation *annotation, int label,
                    const struct config *config, const struct select_options *options,
                    struct window_list *list, struct error *err)
{
    const char *name = path_name(slide->path);
    struct selection selection = {
        .slide = slide,
        .config = config,
        .options = options,
        .priority_seed = config->seed ^ XXH3_64bits(name, strlen(name)),
        .lock = PTHREAD_MUTEX_INITIALIZER,
    };

    *list = (struct window_list) { 0 };
    const bool ok = run_selection(&selection, annotation, label, list, err);
    free(selection.visit);
    free(selection.labels);
    free(selection.pools[0].items);
    free(selection.pools[1].items);
    pthread_mutex_destroy(&selection.lock);
    if (!ok) window_list_release(list);
    return ok;
}

void window_list_release(struct window_list *list)
{
    free(list->windows);
    free(list->slots);
    *list = (struct window_list) { 0 };
}
