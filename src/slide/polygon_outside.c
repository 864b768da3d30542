/* What of the outlines does not reach the slide's pixels: tumour beyond its border, as of another
 * slide's or another scale's outlines, and shapes that cover no pixel.
 *
 * Areas are measured on some hundred lines across each outline, by the winding rule by which it is
 * filled; holes are left out of account. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "annotation_parts.h"
#include "micromet/base/log.h"
#include "micromet/base/text.h"

enum { LINES_MAX = 512, LINES_MIN = 16, CROSSINGS_MAX = 100000000 };
static const double outside_min = 0.001; /* of the tumour's area; less goes unmentioned */

struct box {
    double x0, y0, x1, y1; /* level-0 px */
};

struct crossing {
    double x;
    int direction;
};

static int by_x(const void *left, const void *right)
{
    const struct crossing *a = left, *b = right;
    return (a->x > b->x) - (a->x < b->x);
}

static bool is_tumor(const struct outlines *set, const struct outline *outline)
{
    return outline->count && !outline->hole && set->names[outline->name].meaning == LABEL_TUMOR;
}

static struct box box_of(const struct outlines *set, const struct outline *outline)
{
    const struct point *points = set->points + outline->first;
    struct box box = { INFINITY, INFINITY, -INFINITY, -INFINITY };
    for (int64_t i = 0; i < outline->count; i++) {
        box.x0 = fmin(box.x0, points[i].x), box.x1 = fmax(box.x1, points[i].x);
        box.y0 = fmin(box.y0, points[i].y), box.y1 = fmax(box.y1, points[i].y);
    }
    return box;
}

/* Where the outline crosses the line at height y, from left to right; returns their number. */
static int64_t cross(const struct point *points, int64_t count, double y,
                     struct crossing *crossings)
{
    int64_t crossed = 0;
    for (int64_t i = 0, j = count - 1; i < count; j = i++) {
        const struct point a = points[j], b = points[i];
        if ((a.y <= y) == (b.y <= y)) continue;
        crossings[crossed++] = (struct crossing) {
            a.x + (y - a.y) / (b.y - a.y) * (b.x - a.x),
            a.y <= y ? 1 : -1,
        };
    }
    qsort(crossings, (size_t)crossed, sizeof *crossings, by_x);
    return crossed;
}

struct areas {
    double inside, all; /* level-0 px² */
};

static void measure(const struct outlines *set, const struct outline *outline,
                    const struct box *slide, struct crossing *crossings, struct areas *areas)
{
    const struct box box = box_of(set, outline);
    const int64_t affordable = CROSSINGS_MAX / (set->point_count + 1);
    const int64_t lines = affordable < LINES_MIN   ? LINES_MIN
                          : affordable > LINES_MAX ? LINES_MAX
                                                   : affordable;
    const double step = (box.y1 - box.y0) / (double)lines;
    for (int64_t line = 0; line < lines && step > 0; line++) {
        const double y = box.y0 + ((double)line + 0.5) * step;
        const int64_t count = cross(set->points + outline->first, outline->count, y, crossings);
        int winding = 0;
        for (int64_t i = 0; i + 1 < count; i++) {
            const double x0 = crossings[i].x, x1 = crossings[i + 1].x;
            winding += crossings[i].direction;
            if (!winding) continue;
            areas->all += step * (x1 - x0);
            if (y >= slide->y0 && y < slide->y1)
                areas->inside += step * fmax(0, fmin(x1, slide->x1) - fmax(x0, slide->x0));
        }
    }
}

static bool within(const struct box *box, const struct box *slide)
{
    return box->x0 >= slide->x0 && box->y0 >= slide->y0 && box->x1 <= slide->x1 &&
           box->y1 <= slide->y1;
}

static bool beyond(const struct box *box, const struct box *slide)
{
    return box->x1 <= slide->x0 || box->y1 <= slide->y0 || box->x0 >= slide->x1 ||
           box->y0 >= slide->y1;
}

/* Add all tumour outlines' areas, if any of them leaves the slide. */
static bool measure_all(const struct outlines *set, const struct box *slide, struct areas *areas)
{
    bool leaves = false;
    for (int64_t i = 0; i < set->count; i++) {
        const struct box box = box_of(set, &set->outlines[i]);
        leaves |= is_tumor(set, &set->outlines[i]) && !within(&box, slide);
    }
    if (!leaves) return true;
    struct crossing *crossings = malloc(((size_t)set->point_count + 1) * sizeof *crossings);
    if (!crossings) return false;
    for (int64_t i = 0; i < set->count; i++)
        if (is_tumor(set, &set->outlines[i]))
            measure(set, &set->outlines[i], slide, crossings, areas);
    free(crossings);
    return true;
}

/* A few names for a message, "'a', 'b' and 7 more", of the items that were added. */
struct name_list {
    char text[160];
    int64_t count, named;
};

static void name_list_add(struct name_list *list, const char *name)
{
    const size_t used = strlen(list->text);
    const int room = (int)(sizeof list->text - used);
    list->count++;
    if (list->named + 1 < list->count) return; /* the text is full */
    const int length = snprintf(list->text + used, (size_t)room, "%s'%s'", used ? ", " : "",
                                SHOWN(name));
    if (length < room - 24) /* for what name_list_end() adds */
        list->named++;
    else
        list->text[used] = 0;
}

static const char *name_list_end(struct name_list *list)
{
    const size_t used = strlen(list->text);
    if (list->named < list->count)
        snprintf(list->text + used, sizeof list->text - used, "%s%lld more", used ? " and " : "",
                 (long long)(list->count - list->named));
    list->named = list->count;
    return list->text;
}

bool outlines_check(const struct outlines *set, const char *path, int64_t width, int64_t height,
                    struct error *err)
{
    const struct box slide = { 0, 0, (double)width, (double)height };
    struct box all = { INFINITY, INFINITY, -INFINITY, -INFINITY };
    struct name_list outside = { 0 }, undrawn = { 0 };
    struct areas areas = { 0 };
    for (int64_t i = 0; i < set->count; i++) {
        const struct outline *outline = &set->outlines[i];
        const struct box box = box_of(set, outline);
        const char *name = *outline_title(set, outline) ? outline_title(set, outline)
                                                        : outline_name(set, outline);
        if (!outline->drawn && set->names[outline->name].meaning != LABEL_SKIP)
            name_list_add(outline->count && beyond(&box, &slide) ? &outside : &undrawn, name);
        if (!is_tumor(set, outline)) continue;
        all.x0 = fmin(all.x0, box.x0), all.x1 = fmax(all.x1, box.x1);
        all.y0 = fmin(all.y0, box.y0), all.y1 = fmax(all.y1, box.y1);
    }
    if (!measure_all(set, &slide, &areas))
        return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", path);
    if (areas.all > 0 && !(areas.inside > 0))
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: its tumor lies wholly outside the slide of %lld x %lld px, at x %g "
                         "to %g and y %g to %g; is it of another slide, or in other pixels than "
                         "those of level 0?",
                         path, (long long)width, (long long)height, all.x0, all.x1, all.y0, all.y1);
    if (areas.inside < areas.all * (1 - outside_min))
        log_warning("%s: %.1f %% of the tumor that it outlines lies outside the slide of %lld x "
                    "%lld px; is it of another slide, or in other pixels than those of level 0?",
                    path, 100 * (1 - areas.inside / areas.all), (long long)width,
                    (long long)height);
    if (outside.count)
        log_warning("%s: these outlines lie outside the slide: %s", path, name_list_end(&outside));
    if (undrawn.count)
        log_warning("%s: these outlines have no area, or none that covers a pixel: %s", path,
                    name_list_end(&undrawn));
    return true;
}
