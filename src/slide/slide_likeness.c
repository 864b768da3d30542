/* Compares levels by the mean colours of coarse cells, at a bounded number of places.
 *
 * A pyramid may have been blurred, sharpened, saved as JPEG or thinned out to every nth pixel:
 * cells of 8 px and more hardly change by that. A label, a macro or another slide differs wherever
 * one of the two is not background. */
#include "slide_levels.h"

#include <math.h>
#include <openslide.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"

enum {
    CELL_SIDE = 8, /* px of the coarser level, where it has so many */
    CELLS_ACROSS_MAX = 16,
    OVERVIEW = 32,      /* cells of the overview, each way */
    SPOTS_STRIKING = 6, /* chosen from the overview */
    SPOTS_EVEN = 4,
    SPOT_DISTANCE = 3, /* cells of the overview */
    TOLD_CELLS_MIN = 2,
};
static const double interesting = 16;  /* grey values from the background */
static const double same = 16;         /* grey values: differences that do not matter */
static const double pixel_noise = 60;  /* a single pixel against the mean of what it stands for */
static const double alike_share = 0.2; /* of what two unrelated levels differ by */

struct box {
    int64_t x, y; /* px of the level */
    int width, height;
};

/* Mean colours of one cell in two levels, and the variance to be expected of their difference. */
struct cell {
    double colors[2][3];
    double noise;
};

struct cells {
    int count;
    struct cell cells[SPOTS_MAX * CELLS_ACROSS_MAX * CELLS_ACROSS_MAX];
};

static int spot_side(int block)
{
    return block <= SPOT_SIDE_MAX ? block : SPOT_SIDE_MAX / 2;
}

/* The places of a level that are compared: all of a small level, else those at the spots. */
static int choose_boxes(const struct slide_level *level, const struct spots *spots,
                        struct box boxes[SPOTS_MAX])
{
    const int width = spot_side(level->block_width), height = spot_side(level->block_height);
    const int64_t across = CEIL_DIV(level->width, width), down = CEIL_DIV(level->height, height);
    const bool all = across <= SPOTS_MAX && across * down <= SPOTS_MAX;
    const int wanted = all ? (int)(across * down) : spots->count;
    int count = 0;
    for (int i = 0; i < wanted; i++) {
        const int64_t column = all ? i % across : (int64_t)(spots->x[i] * (double)across);
        const int64_t row = all ? i / across : (int64_t)(spots->y[i] * (double)down);
        struct box box = { .x = column * width, .y = row * height };
        if (box.x >= level->width || box.y >= level->height) continue;
        box.width = level->width - box.x < width ? (int)(level->width - box.x) : width;
        box.height = level->height - box.y < height ? (int)(level->height - box.y) : height;
        bool fresh = true;
        for (int k = 0; k < count; k++)
            fresh = fresh && (boxes[k].x != box.x || boxes[k].y != box.y);
        if (fresh) boxes[count++] = box;
    }
    return count;
}

static bool lacks_tiles(const struct tiff_page *page, const struct box *box)
{
    if (!page->is_missing) return false;
    for (int64_t row = box->y / page->tile_height; row * page->tile_height < box->y + box->height;
         row++)
        for (int64_t column = box->x / page->tile_width;
             column * page->tile_width < box->x + box->width; column++)
            if (page->is_missing[row * page->tiles_across + column]) return true;
    return false;
}

/* Read a box; *rgb is NULL if it cannot be read. After that OpenSlide must be opened anew. */
static bool read_box(const struct levels_view *view, int level, const struct box *box,
                     uint8_t **rgb, struct error *err)
{
    struct slide *slide = view->slide;
    struct error ignored = { 0 };
    const size_t row_bytes = 3 * (size_t)box->width;
    *rgb = malloc(row_bytes * (size_t)box->height);
    if (!*rgb) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", slide->path);
    if (slide_read(view->cache, level, box->x, box->y, box->width, box->height, *rgb, row_bytes,
                   &ignored))
        return true;
    free(*rgb);
    *rgb = NULL;
    if (!openslide_get_error(slide->handle)) return true;
    openslide_close(slide->handle);
    slide->handle = openslide_open(slide->path);
    return slide->handle != NULL ||
           error_set(err, EXIT_CODE_FAILED, "%s: the file has changed", slide->path);
}

/* Part i of `count` of `length` px. */
static int part(int length, int count, int i)
{
    return (int)((int64_t)length * i / count);
}

static void mean_color(const uint8_t *rgb, const struct box *box, int cells, int column, int row,
                       double color[3])
{
    const int x0 = part(box->width, cells, column), x1 = part(box->width, cells, column + 1);
    const int y0 = part(box->height, cells, row), y1 = part(box->height, cells, row + 1);
    uint64_t sums[3] = { 0 };
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++)
            for (int c = 0; c < 3; c++)
                sums[c] += rgb[3 * ((size_t)y * (size_t)box->width + (size_t)x) + (size_t)c];
    for (int c = 0; c < 3; c++) color[c] = (double)sums[c] / ((double)(x1 - x0) * (y1 - y0));
}

static int fewest(int a, int b, int c)
{
    const int least = a < b ? a : b;
    return least < c ? least : c;
}

static void add_cells(struct cells *cells, const struct box boxes[2], uint8_t *const rgb[2])
{
    int across = fewest(boxes[1].width, boxes[1].height, CELL_SIDE * CELLS_ACROSS_MAX) / CELL_SIDE;
    across = fewest(across, boxes[0].width, boxes[0].height);
    if (across < 1) across = 1;
    const double pixels = (double)boxes[1].width * boxes[1].height / across / across;
    for (int i = 0; i < across * across; i++) {
        struct cell *cell = &cells->cells[cells->count++];
        cell->noise = pixel_noise * pixel_noise / pixels;
        for (int k = 0; k < 2; k++)
            mean_color(rgb[k], &boxes[k], across, i % across, i / across, cell->colors[k]);
    }
}

static int ascending(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* The median colour of all cells of both levels. */
static bool background(const struct cells *cells, double color[3])
{
    const size_t count = 2 * (size_t)cells->count;
    double *values = malloc(count * sizeof *values);
    if (!values) return false;
    for (int c = 0; c < 3; c++) {
        for (size_t i = 0; i < count; i++) values[i] = cells->cells[i / 2].colors[i % 2][c];
        qsort(values, count, sizeof *values, ascending);
        color[c] = values[count / 2];
    }
    free(values);
    return true;
}

/* Mean squared differences of two colours; the largest difference is *largest. */
static double squared(const double a[3], const double b[3], double *largest)
{
    double sum = 0;
    for (int c = 0; c < 3; c++) {
        sum += (a[c] - b[c]) * (a[c] - b[c]) / 3;
        *largest = fmax(*largest, fabs(a[c] - b[c]));
    }
    return sum;
}

static void judge(const struct cells *cells, const double back[3], struct likeness *likeness)
{
    double difference = 0, power = 0, noise = 0, unused = 0;
    int told = 0;
    for (int i = 0; i < cells->count; i++) {
        const struct cell *cell = &cells->cells[i];
        double deviation = 0;
        const double own = squared(cell->colors[0], back, &deviation) +
                           squared(cell->colors[1], back, &deviation);
        if (deviation < interesting) continue;
        told++;
        power += own;
        noise += cell->noise;
        difference += squared(cell->colors[0], cell->colors[1], &unused);
    }
    likeness->told = told >= TOLD_CELLS_MIN;
    if (!likeness->told) return;
    likeness->difference = difference / told;
    likeness->alike = difference <= told * same * same + noise || difference <= alike_share * power;
}

/* The box of `level` that shows what `box` of the reference does; empty outside the level. */
static struct box same_place(const struct slide_level *reference, const struct slide_level *level,
                             const struct box *box, double scale_x, double scale_y)
{
    const double across = reference->downsample / scale_x, down = reference->downsample / scale_y;
    const int64_t x0 = llround((double)box->x * across), y0 = llround((double)box->y * down);
    int64_t x1 = llround((double)(box->x + box->width) * across);
    int64_t y1 = llround((double)(box->y + box->height) * down);
    if (x1 <= x0) x1 = x0 + 1;
    if (y1 <= y0) y1 = y0 + 1;
    if (x1 > level->width) x1 = level->width;
    if (y1 > level->height) y1 = level->height;
    if (x1 <= x0 || y1 <= y0) return (struct box) { 0 };
    return (struct box) { x0, y0, (int)(x1 - x0), (int)(y1 - y0) };
}

/* Add the cells of one box of the reference level and of the same place on the other. */
static bool compare_box(const struct levels_view *view, int reference, int level, double scale_x,
                        double scale_y, const struct box *box, struct cells *cells,
                        struct error *err)
{
    const struct slide_level *levels = view->slide->levels;
    const struct box boxes[2] = { *box, same_place(&levels[reference], &levels[level], box, scale_x,
                                                   scale_y) };
    uint8_t *rgb[2] = { 0 };
    if (!boxes[1].width || boxes[1].width > 2 * SPOT_SIDE_MAX ||
        boxes[1].height > 2 * SPOT_SIDE_MAX ||
        lacks_tiles(&view->pages->pages[reference], &boxes[0]) ||
        lacks_tiles(&view->pages->pages[level], &boxes[1]))
        return true;
    const bool ok = read_box(view, reference, &boxes[0], &rgb[0], err) &&
                    read_box(view, level, &boxes[1], &rgb[1], err);
    if (rgb[0] && rgb[1]) add_cells(cells, boxes, rgb);
    free(rgb[0]);
    free(rgb[1]);
    return ok;
}

bool levels_view_compare(const struct levels_view *view, int reference, int level, double scale_x,
                         double scale_y, struct likeness *likeness, struct error *err)
{
    struct box boxes[SPOTS_MAX];
    struct cells *cells = calloc(1, sizeof *cells);
    double back[3];
    bool ok = true;

    *likeness = (struct likeness) { 0 };
    if (!cells) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", view->slide->path);
    const int count = choose_boxes(&view->slide->levels[reference], &view->spots, boxes);
    for (int i = 0; i < count && ok; i++)
        ok = compare_box(view, reference, level, scale_x, scale_y, &boxes[i], cells, err);
    if (ok && cells->count) {
        ok = background(cells, back);
        if (ok)
            judge(cells, back, likeness);
        else
            error_set(err, EXIT_CODE_FAILED, "%s: out of memory", view->slide->path);
    }
    free(cells);
    return ok;
}

bool levels_view_brightest(const struct levels_view *view, int *brightest, struct error *err)
{
    struct box boxes[SPOTS_MAX];
    const int count = choose_boxes(&view->slide->levels[0], &view->spots, boxes);
    *brightest = 0;
    for (int i = 0; i < count; i++) {
        uint8_t *rgb;
        if (lacks_tiles(&view->pages->pages[0], &boxes[i])) continue;
        if (!read_box(view, 0, &boxes[i], &rgb, err)) return false;
        const size_t bytes = rgb ? 3 * (size_t)boxes[i].width * (size_t)boxes[i].height : 0;
        for (size_t k = 0; k < bytes; k++)
            if (rgb[k] > *brightest) *brightest = rgb[k];
        free(rgb);
    }
    return true;
}

/* --- Spots ------------------------------------------------------------------------------------ */

/* The i-th number of van der Corput's sequence: evenly spread over [0, 1). */
static double spread(int i, int base)
{
    double value = 0, digit = 1;
    for (; i > 0; i /= base) value += (i % base) * (digit /= base);
    return value;
}

/* The finest level after level 0 of which all boxes are read; 0 if there is none. */
static int overview_level(const struct slide *slide)
{
    for (int i = 1; i < slide->level_count; i++) {
        const struct slide_level *level = &slide->levels[i];
        const int64_t across = CEIL_DIV(level->width, spot_side(level->block_width));
        if (across * CEIL_DIV(level->height, spot_side(level->block_height)) <= SPOTS_MAX) return i;
    }
    return 0;
}

static void add_overview(const struct slide_level *level, const struct box *box, const uint8_t *rgb,
                         double sums[OVERVIEW * OVERVIEW], int64_t counts[OVERVIEW * OVERVIEW])
{
    for (int y = 0; y < box->height; y++)
        for (int x = 0; x < box->width; x++, rgb += 3) {
            const int64_t cell = (box->y + y) * OVERVIEW / level->height * OVERVIEW +
                                 (box->x + x) * OVERVIEW / level->width;
            sums[cell] += rgb[0] + rgb[1] + rgb[2];
            counts[cell]++;
        }
}

/* Choose the cells farthest from the median, none near another one. */
static void choose_striking(const double grays[OVERVIEW * OVERVIEW], struct spots *spots)
{
    double sorted[OVERVIEW * OVERVIEW];
    bool taken[OVERVIEW * OVERVIEW] = { 0 };
    memcpy(sorted, grays, sizeof sorted);
    qsort(sorted, COUNT_OF(sorted), sizeof *sorted, ascending);
    const double median = sorted[COUNT_OF(sorted) / 2];
    while (spots->count < SPOTS_STRIKING) {
        int best = -1;
        for (int i = 0; i < OVERVIEW * OVERVIEW; i++)
            if (!taken[i] && (best < 0 || fabs(grays[i] - median) > fabs(grays[best] - median)))
                best = i;
        if (best < 0) return;
        spots->x[spots->count] = (best % OVERVIEW + 0.5) / OVERVIEW;
        spots->y[spots->count++] = (best / OVERVIEW + 0.5) / OVERVIEW;
        for (int i = 0; i < OVERVIEW * OVERVIEW; i++)
            taken[i] = taken[i] || (abs(i % OVERVIEW - best % OVERVIEW) < SPOT_DISTANCE &&
                                    abs(i / OVERVIEW - best / OVERVIEW) < SPOT_DISTANCE);
    }
}

bool levels_view_choose_spots(struct levels_view *view, struct error *err)
{
    const int index = overview_level(view->slide);
    const struct slide_level *level = &view->slide->levels[index];
    double grays[OVERVIEW * OVERVIEW] = { 0 };
    int64_t counts[OVERVIEW * OVERVIEW] = { 0 };
    struct spots *spots = &view->spots;
    struct box boxes[SPOTS_MAX];
    const int count = index ? choose_boxes(level, spots, boxes) : 0;

    for (int i = 0; i < count; i++) {
        uint8_t *rgb;
        if (!read_box(view, index, &boxes[i], &rgb, err)) return false;
        if (rgb) add_overview(level, &boxes[i], rgb, grays, counts);
        free(rgb);
    }
    for (int i = 0; i < OVERVIEW * OVERVIEW; i++)
        if (counts[i]) grays[i] /= (double)counts[i];
    if (index) choose_striking(grays, spots);
    for (int i = 1; i <= SPOTS_EVEN; i++) {
        spots->x[spots->count] = spread(i, 2);
        spots->y[spots->count++] = spread(i, 3);
    }
    return true;
}
