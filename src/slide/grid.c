/* Geometry and labels of the grid.
 *
 * Along each axis the edges of the windows are sorted, so the windows that a run of tumour pixels
 * touches are found by two binary searches, and labelling costs one scan of the mask whatever the
 * number of windows. */
#include "micromet/slide/grid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/slide/scale.h"

/* Rectangles touch if they overlap by more than this, in level-0 px: above the rounding error of
 * two products of doubles. */
static const double touch_level0 = 1e-6;

static int64_t corner_level(const struct slide *slide, int level, int64_t centre_level0, int window)
{
    int64_t corner, unused;
    slide_window_corner(slide, level, centre_level0, 0, window, &corner, &unused);
    return corner;
}

static int64_t step_by(double step, int64_t steps)
{
    return llround((double)steps * step);
}

/* Origin and number of the windows along one axis, of `size` px at the finest tower's level. */
static void axis_init(const struct slide *slide, const struct config_data *data, double step,
                      int64_t configured, int64_t size, int64_t *origin, int64_t *count)
{
    const int level = tower_level(slide, data, 0);
    const double half = (data->window / 2) * slide->levels[level].downsample;
    const int64_t first = configured >= 0 ? configured : llround(half);

    int64_t skipped = 0;
    while (corner_level(slide, level, first + step_by(step, skipped), data->window) < 0) skipped++;
    *origin = first + step_by(step, skipped);
    *count = 0;
    while (corner_level(slide, level, *origin + step_by(step, *count), data->window) +
               data->window <=
           size)
        (*count)++;
}

bool grid_init(struct grid *grid, const struct slide *slide, const struct config_data *data,
               int stride, struct error *err)
{
    *grid = (struct grid) { 0 };
    for (int tower = 0; tower < data->level_count && !data->um_per_px_count; tower++)
        if (data->levels[tower] < 0 || data->levels[tower] >= slide->level_count)
            return error_set(err, EXIT_CODE_FAILED,
                             "%s: has %d level%s (0..%d), data.levels asks for level %d%s%s",
                             slide->path, slide->level_count, slide->level_count == 1 ? "" : "s",
                             slide->level_count - 1, data->levels[tower],
                             *slide->remark ? "; " : "", slide->remark);
    if (slide->levels[0].width > INT32_MAX || slide->levels[0].height > INT32_MAX)
        return error_set(err, EXIT_CODE_FAILED, "%s: larger than 2,147,483,647 px", slide->path);

    const struct slide_level *finest = &slide->levels[tower_level(slide, data, 0)];
    char text[TOWER_TEXT_BYTES];
    grid->step = (stride ? stride : data->stride) * finest->downsample;
    if (!(grid->step >= 1))
        return error_set(err, EXIT_CODE_FAILED, "%s: a stride of %g level-0 px is below 1",
                         slide->path, grid->step);
    axis_init(slide, data, grid->step, data->origin[0], finest->width, &grid->origin_x,
              &grid->columns);
    axis_init(slide, data, grid->step, data->origin[1], finest->height, &grid->origin_y,
              &grid->rows);
    if (!grid->columns || !grid->rows)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: %s (%lld×%lld px) holds no window of %d px; choose a finer %s "
                         "or another data.origin",
                         slide->path, tower_text(data, 0, text), (long long)finest->width,
                         (long long)finest->height, data->window,
                         data->um_per_px_count ? "scale" : "level");
    if (grid->columns > INT32_MAX / grid->rows)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: a grid of %lld×%lld windows is too fine; raise data.stride",
                         slide->path, (long long)grid->columns, (long long)grid->rows);
    return true;
}

int64_t grid_x_level0(const struct grid *grid, int64_t column)
{
    return grid->origin_x + step_by(grid->step, column);
}

int64_t grid_y_level0(const struct grid *grid, int64_t row)
{
    return grid->origin_y + step_by(grid->step, row);
}

/* --- Labels ----------------------------------------------------------------------------------- */

/* The windows' centre squares along one axis: half-open intervals, ascending, in level-0 px. */
struct axis {
    int64_t count;
    double *start, *end; /* (count) */
};

struct marker {
    struct axis columns, rows;
    uint8_t *labels, label;
};

static bool axis_squares(struct axis *axis, int64_t count, int64_t origin, double step,
                         const struct slide *slide, const struct config_data *data, int side)
{
    const int level = tower_level(slide, data, 0);
    const double downsample = slide->levels[level].downsample;

    axis->count = count;
    axis->start = malloc((size_t)count * sizeof *axis->start);
    axis->end = malloc((size_t)count * sizeof *axis->end);
    if (!axis->start || !axis->end) return false;
    for (int64_t i = 0; i < count; i++) {
        const int64_t corner = corner_level(slide, level, origin + step_by(step, i), side);
        axis->start[i] = (double)corner * downsample;
        axis->end[i] = (double)(corner + side) * downsample;
    }
    return true;
}

static void axis_release(struct axis *axis)
{
    free(axis->start);
    free(axis->end);
}

/* Index of the first value above `bound`, or count. */
static int64_t first_above(const double *ascending, int64_t count, double bound)
{
    int64_t low = 0, high = count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (ascending[middle] > bound)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The squares [*first, *last) that overlap the interval [start, end). */
static void axis_overlap(const struct axis *axis, double start, double end, int64_t *first,
                         int64_t *last)
{
    *first = first_above(axis->end, axis->count, start + touch_level0);
    *last = first_above(axis->start, axis->count, end - touch_level0);
}

static void mark_span(void *context, double x0_level0, double y0_level0, double x1_level0,
                      double y1_level0)
{
    struct marker *marker = context;
    int64_t column, column_end, row, row_end;

    axis_overlap(&marker->columns, x0_level0, x1_level0, &column, &column_end);
    if (column >= column_end) return;
    axis_overlap(&marker->rows, y0_level0, y1_level0, &row, &row_end);
    for (; row < row_end; row++)
        memset(marker->labels + row * marker->columns.count + column, marker->label,
               (size_t)(column_end - column));
}

/* Give `label` to the windows of which a square of side×side px touches the layer. */
static bool mark_layer(const struct grid *grid, const struct slide *slide,
                       const struct config_data *data, struct annotation *annotation,
                       enum annotation_layer layer, int side, uint8_t label, uint8_t *labels,
                       struct error *err)
{
    struct marker marker = { .labels = labels, .label = label };
    bool ok = axis_squares(&marker.columns, grid->columns, grid->origin_x, grid->step, slide, data,
                           side) &&
              axis_squares(&marker.rows, grid->rows, grid->origin_y, grid->step, slide, data, side);
    if (!ok)
        error_set(err, EXIT_CODE_FAILED, "%s: out of memory for the labels", slide->path);
    else
        ok = annotation_scan(annotation, layer, mark_span, &marker, err);
    axis_release(&marker.columns);
    axis_release(&marker.rows);
    return ok;
}

bool grid_label(const struct grid *grid, const struct slide *slide, const struct config_data *data,
                struct annotation *annotation, uint8_t **labels, struct error *err)
{
    *labels = calloc((size_t)(grid->columns * grid->rows), 1);
    if (!*labels)
        return error_set(err, EXIT_CODE_FAILED, "%s: out of memory for the labels", slide->path);
    if (!annotation ||
        (mark_layer(grid, slide, data, annotation, LAYER_TUMOR, data->center, 1, *labels, err) &&
         mark_layer(grid, slide, data, annotation, LAYER_IGNORED, data->window, GRID_IGNORED,
                    *labels, err)))
        return true;
    free(*labels);
    *labels = NULL;
    return false;
}
