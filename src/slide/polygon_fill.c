/* Rasterises polygons row by row: non-zero winding within each polygon, union of the tumour
 * polygons, minus the holes.
 *
 * ASAP does so where it makes masks (wn_PnPoly() in its annotation/AnnotationToMask.cpp): an
 * outline that crosses itself, or goes round twice, keeps its inside.
 *
 * On the centre line of a row, each polygon is a set of intervals: from left to right, its edges
 * lead up or down, and inside is where these do not cancel. Going through all interval ends from
 * left to right while counting open tumours and open holes gives the row's runs. */
#include <math.h>
#include <stdlib.h>

#include "annotation_parts.h"

static const int64_t work_max = 400000000; /* edges × rows: more than hand-drawn polygons have */

struct edge {
    double x_top, y_top, x_per_y; /* upper end, and slope */
    int32_t first_row, last_row;  /* rows whose centre line the edge crosses: [first, last) */
    int32_t polygon;
    int32_t direction; /* 1: the outline goes down along it, -1: up */
};

struct crossing {
    double x;
    int32_t polygon, direction;
};

/* An interval's end: begins (+1) or ends (-1) a tumour or a hole at pixel x. */
struct event {
    int32_t x;
    int8_t tumor, hole;
};

struct filler {
    struct polygon_set *set;
    struct run_rows *rows;
    struct edge *edges; /* sorted by first_row */
    int64_t edge_count;
    struct edge **active;
    int64_t active_count;
    struct crossing *crossings;
    struct event *events;
};

/* The first pixel whose centre is at or right of x, within [0, limit]. */
static int32_t pixel_from(double x, int32_t limit)
{
    const double pixel = ceil(x - 0.5);
    return pixel < 0 ? 0 : pixel > limit ? limit : (int32_t)pixel;
}

static void add_edge(struct filler *filler, struct point a, struct point b, int32_t polygon)
{
    const int32_t direction = a.y > b.y ? -1 : 1;
    if (a.y > b.y) {
        const struct point upper = b;
        b = a;
        a = upper;
    }
    const int32_t first = pixel_from(a.y, filler->rows->height);
    const int32_t last = pixel_from(b.y, filler->rows->height);
    if (first >= last) return;
    filler->edges[filler->edge_count++] = (struct edge) {
        a.x, a.y, (b.x - a.x) / (b.y - a.y), first, last, polygon, direction,
    };
}

static int by_first_row(const void *left, const void *right)
{
    const struct edge *a = left, *b = right;
    return (a->first_row > b->first_row) - (a->first_row < b->first_row);
}

static int by_polygon_then_x(const void *left, const void *right)
{
    const struct crossing *a = left, *b = right;
    if (a->polygon != b->polygon) return a->polygon < b->polygon ? -1 : 1;
    return (a->x > b->x) - (a->x < b->x);
}

static int by_x(const void *left, const void *right)
{
    const struct event *a = left, *b = right;
    return (a->x > b->x) - (a->x < b->x);
}

static bool filler_init(struct filler *filler, struct error *err)
{
    const struct polygon_set *set = filler->set;
    const size_t points = (size_t)set->point_count + 1;
    int64_t work = 0;
    filler->edges = malloc(points * sizeof *filler->edges);
    filler->active = malloc(points * sizeof *filler->active);
    filler->crossings = malloc(points * sizeof *filler->crossings);
    filler->events = malloc(points * sizeof *filler->events);
    if (!filler->edges || !filler->active || !filler->crossings || !filler->events)
        return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", filler->rows->path);
    for (int64_t i = 0; i < set->polygon_count; i++) {
        const struct polygon *polygon = &set->polygons[i];
        const struct point *points_of = set->points + polygon->first;
        for (int64_t j = 0; j < polygon->count; j++)
            add_edge(filler, points_of[j], points_of[(j + 1) % polygon->count], (int32_t)i);
    }
    for (int64_t i = 0; i < filler->edge_count; i++)
        work += filler->edges[i].last_row - filler->edges[i].first_row;
    if (work > work_max)
        return error_set(err, EXIT_CODE_FAILED, "%s: the polygons are too complex to be drawn",
                         filler->rows->path);
    qsort(filler->edges, (size_t)filler->edge_count, sizeof *filler->edges, by_first_row);
    return true;
}

static void filler_release(struct filler *filler)
{
    free(filler->edges);
    free(filler->active);
    free(filler->crossings);
    free(filler->events);
}

/* Add the interval [x0, x1) of a polygon; returns the number of events. */
static int64_t add_interval(struct filler *filler, struct polygon *polygon, double x0, double x1,
                            int64_t count)
{
    const int32_t start = pixel_from(x0, filler->rows->width);
    const int32_t end = pixel_from(x1, filler->rows->width);
    const int8_t tumor = !polygon->hole, hole = polygon->hole;
    if (start >= end) return count;
    polygon->drawn = true;
    filler->events[count++] = (struct event) { start, tumor, hole };
    filler->events[count++] = (struct event) { end, (int8_t)-tumor, (int8_t)-hole };
    return count;
}

/* The interval ends on one row, from left to right; returns their number. */
static int64_t collect_events(struct filler *filler, int32_t row)
{
    int64_t count = 0;
    for (int64_t i = 0; i < filler->active_count; i++) {
        const struct edge *edge = filler->active[i];
        const double x = edge->x_top + (row + 0.5 - edge->y_top) * edge->x_per_y;
        filler->crossings[i] = (struct crossing) { x, edge->polygon, edge->direction };
    }
    qsort(filler->crossings, (size_t)filler->active_count, sizeof *filler->crossings,
          by_polygon_then_x);
    int64_t winding = 0; /* 0 behind each polygon's last crossing */
    const struct crossing *start = filler->crossings;
    for (int64_t i = 0; i < filler->active_count; i++) {
        const struct crossing *crossing = &filler->crossings[i];
        if (!winding) start = crossing;
        winding += crossing->direction;
        if (!winding)
            count = add_interval(filler, &filler->set->polygons[crossing->polygon], start->x,
                                 crossing->x, count);
    }
    qsort(filler->events, (size_t)count, sizeof *filler->events, by_x);
    return count;
}

static bool fill_row(struct filler *filler, int32_t row, struct error *err)
{
    const int64_t count = collect_events(filler, row);
    int64_t tumors = 0, holes = 0;
    int32_t start = -1;
    for (int64_t i = 0; i < count;) {
        const int32_t x = filler->events[i].x;
        for (; i < count && filler->events[i].x == x; i++) {
            tumors += filler->events[i].tumor;
            holes += filler->events[i].hole;
        }
        const bool inside = tumors > 0 && holes == 0;
        if (inside && start < 0) start = x;
        if (!inside && start >= 0) {
            if (!run_rows_append(filler->rows, row, start, x, err)) return false;
            start = -1;
        }
    }
    return true;
}

bool polygon_set_fill(struct polygon_set *set, struct run_rows *rows, struct error *err)
{
    struct filler filler = { .set = set, .rows = rows };
    int64_t next = 0;
    bool ok = filler_init(&filler, err);
    for (int32_t row = 0; ok && row < rows->height; row++) {
        int64_t kept = 0;
        for (int64_t i = 0; i < filler.active_count; i++)
            if (filler.active[i]->last_row > row) filler.active[kept++] = filler.active[i];
        filler.active_count = kept;
        while (next < filler.edge_count && filler.edges[next].first_row <= row)
            filler.active[filler.active_count++] = &filler.edges[next++];
        if (filler.active_count) ok = fill_row(&filler, row, err);
    }
    filler_release(&filler);
    return ok;
}
