/* Rasterises outlines row by row: non-zero winding within each; areas are outlines minus their
 * holes; areas of tumour unite, and those that are normal or to be ignored are cut out of them.
 *
 * ASAP does so where it makes masks (wn_PnPoly() in its annotation/AnnotationToMask.cpp): an
 * outline that crosses itself, or goes round twice, keeps its inside.
 *
 * On the centre line of a row, each outline is a set of intervals: from left to right, its edges
 * lead up or down, and inside is where these do not cancel. Going through all interval ends from
 * left to right while counting what is open gives an area's intervals and, over all areas, the
 * row's runs. */
#include <math.h>
#include <stdlib.h>

#include "annotation_parts.h"

static const int64_t work_max = 400000000; /* edges × rows: more than hand-drawn outlines have */

struct edge {
    double x_top, y_top, x_per_y; /* upper end, and slope */
    int32_t first_row, last_row;  /* rows whose centre line the edge crosses: [first, last) */
    int32_t outline;
    int32_t direction; /* 1: the outline goes down along it, -1: up */
};

struct crossing {
    double x;
    int32_t outline, direction;
};

/* An interval's end at pixel x: something begins (+1) or ends (-1). */
struct event {
    int32_t x;
    int8_t what; /* of an area: 0, or 1 = a hole; of the row: enum label_meaning */
    int8_t change;
};

struct events {
    struct event *items;
    int64_t count;
};

struct filler {
    struct outlines *set;
    struct run_rows *layers;
    int32_t width, height;
    struct edge *edges; /* sorted by first_row */
    int64_t edge_count;
    struct edge **active;
    int64_t active_count;
    struct crossing *crossings;
    struct events area, row;
};

/* The first pixel whose centre is at or right of x, within [0, limit]. */
static int32_t pixel_from(double x, int32_t limit)
{
    const double pixel = ceil(x - 0.5);
    return pixel < 0 ? 0 : pixel > limit ? limit : (int32_t)pixel;
}

static void add_edge(struct filler *filler, struct point a, struct point b, int32_t outline)
{
    const int32_t direction = a.y > b.y ? -1 : 1;
    if (a.y > b.y) {
        const struct point upper = b;
        b = a;
        a = upper;
    }
    const int32_t first = pixel_from(a.y, filler->height);
    const int32_t last = pixel_from(b.y, filler->height);
    if (first >= last) return;
    filler->edges[filler->edge_count++] = (struct edge) {
        a.x, a.y, (b.x - a.x) / (b.y - a.y), first, last, outline, direction,
    };
}

static int by_first_row(const void *left, const void *right)
{
    const struct edge *a = left, *b = right;
    return (a->first_row > b->first_row) - (a->first_row < b->first_row);
}

static int by_outline_then_x(const void *left, const void *right)
{
    const struct crossing *a = left, *b = right;
    if (a->outline != b->outline) return a->outline < b->outline ? -1 : 1;
    return (a->x > b->x) - (a->x < b->x);
}

static int by_x(const void *left, const void *right)
{
    const struct event *a = left, *b = right;
    return (a->x > b->x) - (a->x < b->x);
}

static bool filler_init(struct filler *filler, struct error *err)
{
    const struct outlines *set = filler->set;
    const char *path = filler->layers[0].path;
    const size_t points = (size_t)set->point_count + 1;
    int64_t work = 0;
    filler->edges = malloc(points * sizeof *filler->edges);
    filler->active = malloc(points * sizeof *filler->active);
    filler->crossings = malloc(points * sizeof *filler->crossings);
    filler->area.items = malloc(points * sizeof *filler->area.items);
    filler->row.items = malloc(points * sizeof *filler->row.items);
    if (!filler->edges || !filler->active || !filler->crossings || !filler->area.items ||
        !filler->row.items)
        return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", path);
    for (int64_t i = 0; i < set->count; i++) {
        const struct outline *outline = &set->outlines[i];
        const struct point *points_of = set->points + outline->first;
        if (set->names[outline->name].meaning == LABEL_SKIP) continue;
        for (int64_t j = 0; j < outline->count; j++)
            add_edge(filler, points_of[j], points_of[(j + 1) % outline->count], (int32_t)i);
    }
    for (int64_t i = 0; i < filler->edge_count; i++)
        work += filler->edges[i].last_row - filler->edges[i].first_row;
    if (work > work_max)
        return error_set(err, EXIT_CODE_FAILED, "%s: the polygons are too complex to be drawn",
                         path);
    qsort(filler->edges, (size_t)filler->edge_count, sizeof *filler->edges, by_first_row);
    return true;
}

static void filler_release(struct filler *filler)
{
    free(filler->edges);
    free(filler->active);
    free(filler->crossings);
    free(filler->area.items);
    free(filler->row.items);
}

static void add_interval(struct events *events, int32_t start, int32_t end, int8_t what)
{
    if (start >= end) return;
    events->items[events->count++] = (struct event) { start, what, 1 };
    events->items[events->count++] = (struct event) { end, what, -1 };
}

/* Add the intervals of the area whose outlines' intervals have been collected to the row's. There
 * are no more than those: each begins where an outline does, or where a hole ends. */
static void end_area(struct filler *filler, int8_t meaning)
{
    struct events *area = &filler->area;
    int64_t open[2] = { 0, 0 };
    int32_t start = -1;
    qsort(area->items, (size_t)area->count, sizeof *area->items, by_x);
    for (int64_t i = 0; i < area->count;) {
        const int32_t x = area->items[i].x;
        for (; i < area->count && area->items[i].x == x; i++)
            open[area->items[i].what] += area->items[i].change;
        const bool inside = open[0] > 0 && open[1] == 0;
        if (inside && start < 0) start = x;
        if (inside || start < 0) continue;
        add_interval(&filler->row, start, x, meaning);
        start = -1;
    }
    area->count = 0;
}

/* The crossings on one row, by outline and from left to right. */
static void collect_crossings(struct filler *filler, int32_t row)
{
    for (int64_t i = 0; i < filler->active_count; i++) {
        const struct edge *edge = filler->active[i];
        const double x = edge->x_top + (row + 0.5 - edge->y_top) * edge->x_per_y;
        filler->crossings[i] = (struct crossing) { x, edge->outline, edge->direction };
    }
    qsort(filler->crossings, (size_t)filler->active_count, sizeof *filler->crossings,
          by_outline_then_x);
}

/* The interval ends on one row, from left to right. */
static void collect_events(struct filler *filler, int32_t row)
{
    const struct outlines *set = filler->set;
    collect_crossings(filler, row);
    filler->row.count = 0;
    int64_t winding = 0; /* 0 behind each outline's last crossing */
    const struct crossing *start = filler->crossings;
    for (int64_t i = 0; i < filler->active_count; i++) {
        const struct crossing *crossing = &filler->crossings[i];
        struct outline *outline = &set->outlines[crossing->outline];
        if (!winding) start = crossing;
        winding += crossing->direction;
        if (winding) continue;
        const int64_t before = filler->area.count;
        add_interval(&filler->area, pixel_from(start->x, filler->width),
                     pixel_from(crossing->x, filler->width), outline->hole);
        outline->drawn |= filler->area.count > before;
        if (i + 1 == filler->active_count ||
            set->outlines[crossing[1].outline].area != outline->area)
            end_area(filler, (int8_t)set->names[outline->name].meaning);
    }
    qsort(filler->row.items, (size_t)filler->row.count, sizeof *filler->row.items, by_x);
}

static bool fill_row(struct filler *filler, int32_t row, struct error *err)
{
    int64_t open[LABEL_SKIP + 1] = { 0 };
    int32_t starts[ANNOTATION_LAYERS] = { -1, -1 };
    collect_events(filler, row);
    for (int64_t i = 0; i < filler->row.count;) {
        const struct event *items = filler->row.items;
        const int32_t x = items[i].x;
        for (; i < filler->row.count && items[i].x == x; i++)
            open[items[i].what] += items[i].change;
        const bool inside[ANNOTATION_LAYERS] = {
            [LAYER_TUMOR] = open[LABEL_TUMOR] && !open[LABEL_NORMAL] && !open[LABEL_IGNORE],
            [LAYER_IGNORED] = open[LABEL_IGNORE] > 0,
        };
        for (int layer = 0; layer < ANNOTATION_LAYERS; layer++) {
            if (inside[layer] == (starts[layer] >= 0)) continue;
            if (!inside[layer] &&
                !run_rows_append(&filler->layers[layer], row, starts[layer], x, err))
                return false;
            starts[layer] = inside[layer] ? x : -1;
        }
    }
    return true;
}

bool outlines_fill(struct outlines *set, struct run_rows *layers, struct error *err)
{
    struct filler filler = {
        .set = set, .layers = layers, .width = layers[0].width, .height = layers[0].height
    };
    int64_t next = 0;
    bool ok = filler_init(&filler, err);
    for (int32_t row = 0; ok && row < filler.height; row++) {
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
