/* Computes heat maps, strip by strip. Reader threads walk the slide and copy tissue windows
 * into a shared batch; the one that fills it submits it to the model and collects finished
 * ones, while the others fill the next. The number of batches is small, so that readers wait
 * when the model is slower. */
#include "micromet/run/heatmap.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "micromet/base/lock.h"
#include "micromet/base/log.h"
#include "micromet/base/size.h"
#include "micromet/base/stop.h"
#include "micromet/data/loader.h"
#include "micromet/slide/identity.h"
#include "micromet/slide/tissue.h"
#include "ranks.h"

enum { STRIP_PX = 8192 }; /* height of a strip, px of the finest tower's level */

/* The reader threads' shared batches. */
struct gather {
    struct heatmap *heatmap;
    struct predictor *predictor;
    struct tissue_rule rule;
    double min_tissue;
    int towers, window, capacity;
    size_t window_bytes;
    struct loader_batch *batches; /* (HEATMAP_BATCHES) */
    int64_t *indices;             /* (HEATMAP_BATCHES, capacity): grid index of each window */
    struct progress progress;

    pthread_mutex_t mutex; /* protects the members below */
    pthread_cond_t changed;
    struct loader_batch *open[HEATMAP_BATCHES]; /* the first is being filled, others are empty */
    int open_count;
    bool computing;       /* a reader is using the predictor */
    struct error failure; /* the first error, which ends the walk */
};

static int64_t *indices_of(const struct gather *g, const struct loader_batch *batch)
{
    return g->indices + (batch - g->batches) * g->capacity;
}

static bool has_failed(const struct gather *g)
{
    return g->failure.code != EXIT_CODE_OK;
}

static bool tell_failure(const struct gather *g, struct error *err)
{
    return error_set(err, g->failure.code, "%s", g->failure.message);
}

/* Store a batch's probabilities, and make it available again. */
static void enter_batch(void *context, struct loader_batch *batch, const float *probabilities)
{
    struct gather *g = context;
    for (int i = 0; i < batch->count; i++)
        g->heatmap->probabilities[indices_of(g, batch)[i]] = probabilities[i];
    progress_add(&g->progress, batch->count);
    batch->count = 0;
    pthread_mutex_lock(&g->mutex);
    g->open[g->open_count++] = batch;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->mutex);
}

/* Submit a batch, or with NULL wait for all in flight. The caller holds the mutex, which is
 * released while the model computes. */
static bool compute(struct gather *g, struct loader_batch *batch, struct error *err)
{
    while (g->computing) pthread_cond_wait(&g->changed, &g->mutex);
    if (has_failed(g)) return tell_failure(g, err);
    g->computing = true;
    pthread_mutex_unlock(&g->mutex);
    const bool ok = batch ? predictor_submit(g->predictor, batch, err)
                          : predictor_finish(g->predictor, err);
    pthread_mutex_lock(&g->mutex);
    if (!ok) g->failure = *err;
    g->computing = false;
    pthread_cond_broadcast(&g->changed);
    return ok;
}

static struct loader_batch *take_open(struct gather *g)
{
    struct loader_batch *batch = g->open[0];
    memmove(g->open, g->open + 1, (size_t)--g->open_count * sizeof *g->open);
    return batch;
}

static bool flush(struct gather *g, struct error *err)
{
    pthread_mutex_lock(&g->mutex);
    const bool ok = (g->open[0]->count == 0 || compute(g, take_open(g), err)) &&
                    compute(g, NULL, err);
    pthread_mutex_unlock(&g->mutex);
    return ok;
}

/* Add a window to the open batch. The caller holds the mutex. */
static bool gather_add(struct gather *g, uint8_t *const pixels[TOWERS_MAX], int64_t grid_index,
                       struct error *err)
{
    while (g->open_count == 0 && !has_failed(g)) pthread_cond_wait(&g->changed, &g->mutex);
    if (has_failed(g)) return tell_failure(g, err);
    struct loader_batch *batch = g->open[0];
    for (int t = 0; t < g->towers; t++)
        memcpy(batch->pixels[t] + (size_t)batch->count * g->window_bytes, pixels[t],
               g->window_bytes);
    indices_of(g, batch)[batch->count++] = grid_index;
    return batch->count < g->capacity || compute(g, take_open(g), err);
}

static bool visit(void *context, const struct window *window, int64_t grid_index,
                  uint8_t *const pixels[TOWERS_MAX], int worker, struct error *err)
{
    (void)window;
    (void)worker;
    struct gather *g = context;
    if (!stop_check(err)) return false;
    const float share = tissue_share(&g->rule, pixels[0], g->window, g->window,
                                     (size_t)g->window * 3);
    if (share < g->min_tissue) return true;
    pthread_mutex_lock(&g->mutex);
    const bool ok = gather_add(g, pixels, grid_index, err);
    pthread_mutex_unlock(&g->mutex);
    return ok;
}

static void gather_release(struct gather *g)
{
    predictor_abandon(g->predictor); /* after an error it may still be reading the batches */
    batch_slots_release(model_backend(g->predictor->model), g->batches, HEATMAP_BATCHES, g->towers);
    free(g->indices);
    pthread_cond_destroy(&g->changed);
    pthread_mutex_destroy(&g->mutex);
}

static bool gather_init(struct gather *g, struct heatmap *heatmap, struct predictor *predictor,
                        struct error *err)
{
    const struct model_spec *spec = model_spec(predictor->model);
    *g = (struct gather) { .heatmap = heatmap,
                           .predictor = predictor,
                           .towers = spec->towers,
                           .window = spec->window,
                           .capacity = spec->batch,
                           .window_bytes = (size_t)spec->window * (size_t)spec->window * 3,
                           .open_count = HEATMAP_BATCHES };
    pthread_mutex_init(&g->mutex, NULL);
    pthread_cond_init(&g->changed, NULL);
    g->indices = malloc((size_t)HEATMAP_BATCHES * (size_t)g->capacity * sizeof *g->indices);
    if (!g->indices) return error_set(err, EXIT_CODE_FAILED, "no memory for a batch of windows");
    if (!batch_slots_init(model_backend(predictor->model), g->towers, g->window, g->capacity,
                          HEATMAP_BATCHES, &g->batches, err))
        return false;
    for (int b = 0; b < HEATMAP_BATCHES; b++) g->open[b] = &g->batches[b];
    predictor_begin(predictor, enter_batch, g);
    return true;
}

static bool input_check(const struct checkpoint *checkpoint, const struct slide *slide,
                        struct error *err)
{
    const struct config_data *data = &checkpoint->config.data;
    double downsamples[TOWERS_MAX] = { 0 };
    for (int t = 0; t < data->level_count; t++) {
        const int level = data->levels[t];
        if (level >= slide->level_count)
            return error_set(err, EXIT_CODE_FAILED,
                             "%s: has levels 0 to %d; the model was trained on level %d%s%s",
                             slide->path, slide->level_count - 1, level, *slide->remark ? "; " : "",
                             slide->remark);
        downsamples[t] = slide->levels[level].downsample;
    }
    const double mpp[2] = { slide->mpp_x, slide->mpp_y };
    return checkpoint_check_scale(checkpoint, slide->path, downsamples, mpp, slide->mpp_absurd,
                                  err);
}

/* --- strips --------------------------------------------------------------------------------- */

/* Rows of the grid that are walked together; ranks take them in turn. */
struct strips {
    int64_t rows, columns; /* of the grid */
    int64_t each;          /* rows of a strip */
    int rank, ranks;
};

struct strip {
    int64_t first, rows; /* rows = 0: there is none */
};

/* Several ranks get several strips each, so that tissue is shared out evenly. */
static struct strips strips_of(const struct heatmap *heatmap, const struct config_data *data,
                               const struct heatmap_options *options)
{
    enum { TURNS = 8 };
    const int stride = options->stride > 0 ? options->stride : data->stride;
    struct strips strips = { .rows = heatmap->grid.rows,
                             .columns = heatmap->grid.columns,
                             .each = STRIP_PX / stride > 0 ? STRIP_PX / stride : 1,
                             .rank = world_rank(options->world),
                             .ranks = world_size(options->world) };
    const int64_t even = CEIL_DIV(strips.rows, (int64_t)strips.ranks * TURNS);
    if (strips.ranks > 1 && even < strips.each) strips.each = even > 0 ? even : 1;
    return strips;
}

static struct strip strip_at(const struct strips *strips, int64_t index)
{
    const int64_t first = index * strips->each, left = strips->rows - first;
    return (struct strip) { first, left < 0 ? 0 : left < strips->each ? left : strips->each };
}

static struct strip own_strip(const struct strips *strips, int64_t index)
{
    return strip_at(strips, index * strips->ranks + strips->rank);
}

/* Every rank gets the strips of all. */
static bool gather_strips(struct heatmap *heatmap, const struct strips *strips, struct world *world,
                          struct error *err)
{
    const size_t cells = (size_t)(strips->each * strips->columns);
    if (strips->ranks == 1) return true;
    float *all = malloc((size_t)strips->ranks * cells * sizeof *all);
    float *mine = calloc(cells, sizeof *mine);
    bool ok = (all && mine) || error_set(err, EXIT_CODE_FAILED, "no memory for the ranks' strips");
    ok = world_all_ok(world, ok, err);
    for (int64_t turn = 0; ok && strip_at(strips, turn * strips->ranks).rows > 0; turn++) {
        const struct strip own = own_strip(strips, turn);
        memcpy(mine, heatmap->probabilities + own.first * strips->columns * (own.rows > 0),
               (size_t)(own.rows * strips->columns) * sizeof *mine);
        ok = world_gather(world, mine, cells * sizeof *mine, all, err);
        for (int r = 0; r < strips->ranks && ok; r++) {
            const struct strip strip = strip_at(strips, turn * strips->ranks + r);
            if (strip.rows > 0)
                memcpy(heatmap->probabilities + strip.first * strips->columns,
                       all + (size_t)r * cells,
                       (size_t)(strip.rows * strips->columns) * sizeof *all);
        }
    }
    free(all);
    free(mine);
    return ok;
}

/* --- finished strips on disk ------------------------------------------------------------------ */

struct partial {
    FILE *stream;
    char identity[512];
};

/* Read this process' finished strips; returns their number, and behind which cell the file goes
 * on. */
static int64_t partial_read(struct partial *partial, const struct strips *strips,
                            struct heatmap *heatmap, int64_t *cells)
{
    int64_t done = 0;
    *cells = 0;
    for (;; done++) {
        const struct strip strip = own_strip(strips, done);
        float *rows = heatmap->probabilities + strip.first * strips->columns;
        const size_t count = (size_t)(strip.rows * strips->columns);
        if (count == 0) return done;
        if (fread(rows, sizeof *rows, count, partial->stream) != count) {
            for (size_t i = 0; i < count; i++) rows[i] = NAN;
            return done;
        }
        *cells += (int64_t)count;
    }
}

/* The file has a line that identifies the map, then rows of floats. Reads the finished strips into
 * the map and returns their number in *strips_done. */
static bool partial_open(struct partial *partial, const struct heatmap_options *options,
                         const struct checkpoint *checkpoint, const struct slide *slide,
                         int orientations, double min_tissue, const struct strips *strips,
                         struct heatmap *heatmap, int64_t *strips_done, struct error *err)
{
    *strips_done = 0;
    if (!options->partial) return true;
    char found[sizeof partial->identity] = "";
    const struct grid *grid = &heatmap->grid;
    struct file_identity of_slide;
    char content[IDENTITY_TEXT_BYTES];
    if (!identity_of_slide(&of_slide, slide->path, err)) return false;
    identity_print(&of_slide, content);
    snprintf(
        partial->identity, sizeof partial->identity,
        "micromet partial heat map 3 %d of %d %s model %016llx %.100s %lldx%lld %lld,%lld %.17g %d "
        "%.17g\n",
        strips->rank, strips->ranks, content, (unsigned long long)checkpoint->identity,
        checkpoint->program, (long long)grid->columns, (long long)grid->rows,
        (long long)grid->origin_x, (long long)grid->origin_y, grid->step, orientations, min_tissue);
    partial->stream = fopen(options->partial, "r+b");
    if (partial->stream && lock_try(fileno(partial->stream)) == LOCK_OF_OTHERS)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: another process is drawing this heat map; give another --out",
                         options->partial);
    if (partial->stream && fgets(found, sizeof found, partial->stream) &&
        strcmp(found, partial->identity) == 0) {
        int64_t cells;
        *strips_done = partial_read(partial, strips, heatmap, &cells);
        const long at = (long)strlen(found) + (long)(cells * (int64_t)sizeof(float));
        if (fseek(partial->stream, at, SEEK_SET) == 0 &&
            ftruncate(fileno(partial->stream), at) == 0)
            return true;
    }
    if (partial->stream) fclose(partial->stream);
    partial->stream = fopen(options->partial, "wb");
    *strips_done = 0;
    if (partial->stream) lock_try(fileno(partial->stream));
    if (partial->stream && fputs(partial->identity, partial->stream) != EOF) return true;
    return error_set(err, EXIT_CODE_FAILED, "%s: cannot be written: %s", options->partial,
                     strerror(errno));
}

static bool partial_append(struct partial *partial, const char *path, const float *rows,
                           int64_t count, struct error *err)
{
    if (!partial->stream) return true;
    if (fwrite(rows, sizeof *rows, (size_t)count, partial->stream) == (size_t)count &&
        fflush(partial->stream) == 0)
        return true;
    return error_set(err, EXIT_CODE_FAILED, "%s: cannot be written: %s", path, strerror(errno));
}

/* --- the walk --------------------------------------------------------------------------------- */

static bool walk_strip(struct gather *g, const struct slide *slide, const struct config_data *data,
                       const uint8_t *maybe, uint8_t *chosen, int64_t first, int64_t rows,
                       int threads, struct error *err)
{
    const struct grid *grid = &g->heatmap->grid;
    const int64_t cells = grid->rows * grid->columns, from = first * grid->columns;
    memset(chosen, 0, (size_t)cells);
    memcpy(chosen + from, maybe + from, (size_t)(rows * grid->columns));
    if (!memchr(chosen + from, 1, (size_t)(rows * grid->columns))) return true;
    const struct grid_walk_options options = { .visit = chosen,
                                               .towers = g->towers,
                                               .threads = threads };
    return grid_walk(grid, slide, data, &options, visit, g, err) && flush(g, err);
}

/* Windows that this process may have to compute, from its strip `done` on. */
static int64_t count_left(const struct strips *strips, const uint8_t *maybe, int64_t done)
{
    int64_t set = 0;
    for (struct strip s; (s = own_strip(strips, done)).rows > 0; done++)
        for (int64_t i = s.first * strips->columns; i < (s.first + s.rows) * strips->columns; i++)
            set += maybe[i] != 0;
    return set;
}

void heatmap_summarise(struct heatmap *heatmap)
{
    heatmap->windows = 0;
    heatmap->score = NAN;
    for (int64_t i = 0; i < heatmap->grid.rows * heatmap->grid.columns; i++) {
        const float p = heatmap->probabilities[i];
        if (isnan(p)) continue;
        heatmap->windows++;
        heatmap->score = fmax(heatmap->score, p); /* the number, if the other one is NaN */
    }
}

static bool walk_all(struct gather *g, const struct slide *slide, const struct config_data *data,
                     const struct heatmap_options *options, const struct strips *strips,
                     struct partial *partial, int64_t done, struct error *err)
{
    const struct grid *grid = &g->heatmap->grid;
    uint8_t *maybe = NULL, *chosen = malloc((size_t)(grid->rows * grid->columns));
    bool ok = chosen != NULL || error_set(err, EXIT_CODE_FAILED, "no memory for the grid");
    ok = ok && grid_screen(grid, slide, data, &maybe, err);
    if (ok) progress_begin(&g->progress, "heat map", "windows", count_left(strips, maybe, done));
    for (struct strip s; ok && (s = own_strip(strips, done)).rows > 0; done++)
        ok = walk_strip(g, slide, data, maybe, chosen, s.first, s.rows, options->threads, err) &&
             partial_append(partial, options->partial,
                            g->heatmap->probabilities + s.first * grid->columns,
                            s.rows * grid->columns, err);
    progress_end(&g->progress);
    free(maybe);
    free(chosen);
    return ok;
}

/* Compute this process' strips. */
static bool compute_strips(struct heatmap *heatmap, const struct checkpoint *checkpoint,
                           struct predictor *predictor, const struct slide *slide,
                           const struct config_data *data, const struct heatmap_options *options,
                           const struct strips *strips, struct error *err)
{
    struct partial partial = { 0 };
    struct gather gather;
    int64_t done;
    bool ok = gather_init(&gather, heatmap, predictor, err);
    gather.min_tissue = data->tissue.min_normal;
    ok = ok && tissue_rule_init(&gather.rule, data, slide, err) &&
         partial_open(&partial, options, checkpoint, slide, predictor->orientations,
                      gather.min_tissue, strips, heatmap, &done, err) &&
         walk_all(&gather, slide, data, options, strips, &partial, done, err);
    if (partial.stream) fclose(partial.stream);
    gather_release(&gather);
    return ok;
}

static bool prepare_map(struct heatmap *heatmap, const struct checkpoint *checkpoint,
                        const struct slide *slide, const struct config_data *data, int stride,
                        struct error *err)
{
    if (!input_check(checkpoint, slide, err) ||
        !grid_init(&heatmap->grid, slide, data, stride, err))
        return false;
    const int64_t cells = heatmap->grid.rows * heatmap->grid.columns;
    heatmap->probabilities = malloc((size_t)cells * sizeof(float));
    if (!heatmap->probabilities)
        return error_set(err, EXIT_CODE_FAILED, "no memory for a map of %lld windows",
                         (long long)cells);
    for (int64_t i = 0; i < cells; i++) heatmap->probabilities[i] = NAN;
    return true;
}

bool heatmap_compute(struct heatmap *heatmap, const struct checkpoint *checkpoint,
                     struct predictor *predictor, const struct slide *slide,
                     const struct heatmap_options *options, struct error *err)
{
    struct config_data data = checkpoint->config.data;
    *heatmap = (struct heatmap) { 0 };
    if (options->min_tissue >= 0) data.tissue.min_normal = options->min_tissue;
    if (!ranks_agree_on_checkpoint(options->world, checkpoint, err)) return false;
    bool ok = prepare_map(heatmap, checkpoint, slide, &data, options->stride, err);
    const struct strips strips = strips_of(heatmap, &data, options);
    ok = ok && compute_strips(heatmap, checkpoint, predictor, slide, &data, options, &strips, err);
    ok = world_all_ok(options->world, ok, err) &&
         gather_strips(heatmap, &strips, options->world, err);
    if (ok) heatmap_summarise(heatmap);
    if (!ok) heatmap_release(heatmap);
    return ok;
}

void heatmap_release(struct heatmap *heatmap)
{
    free(heatmap->probabilities);
    *heatmap = (struct heatmap) { 0 };
}
