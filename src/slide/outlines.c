/* See the header. All arrays grow by doubling, up to a limit that no drawing by hand reaches. */
#include "outlines.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS_MAX = 1 << 24, OUTLINES_MAX = 1 << 20, NAMES_MAX = 1 << 12, TITLES_MAX = 1 << 26 };
enum { ELLIPSE_MIN = 16, ELLIPSE_MAX = 8192 };
static const double ellipse_error = 0.02; /* px */

void outlines_release(struct outlines *set)
{
    free(set->points);
    free(set->outlines);
    free(set->names);
    free(set->titles);
    *set = (struct outlines) { 0 };
}

/* Ensure capacity for `more` items than `count`. */
static bool reserve(void **items, int64_t *capacity, int64_t count, int64_t more, size_t size)
{
    if (count + more <= *capacity) return true;
    int64_t larger = *capacity ? 2 * *capacity : 64;
    if (larger < count + more) larger = count + more;
    void *moved = realloc(*items, (size_t)larger * size);
    if (!moved) return false;
    *items = moved;
    *capacity = larger;
    return true;
}

const char *outlines_begin(struct outlines *set, const struct outline *outline)
{
    if (set->count >= OUTLINES_MAX) return "more than 1048576 outlines";
    if (!reserve((void **)&set->outlines, &set->capacity, set->count, 1, sizeof *set->outlines) ||
        !reserve((void **)&set->points, &set->point_capacity, set->point_count, 1,
                 sizeof *set->points)) /* so that there is an array, also if no point follows */
        return "out of memory";
    set->outlines[set->count] = *outline;
    set->outlines[set->count].first = set->point_count;
    set->outlines[set->count++].count = 0;
    return NULL;
}

const char *outlines_point(struct outlines *set, double x, double y)
{
    if (set->point_count >= POINTS_MAX) return "more than 16777216 coordinates";
    if (!reserve((void **)&set->points, &set->point_capacity, set->point_count, 1,
                 sizeof *set->points))
        return "out of memory";
    set->points[set->point_count++] = (struct point) { x, y };
    set->outlines[set->count - 1].count++;
    return NULL;
}

const char *outlines_name(struct outlines *set, const char *name, int32_t *index)
{
    if (strlen(name) >= LABEL_NAME_BYTES) return "a name of more than 127 bytes";
    for (int64_t i = set->name_count; i-- > 0;) {
        if (strcmp(set->names[i].text, name) != 0) continue;
        *index = (int32_t)i;
        return NULL;
    }
    if (set->name_count >= NAMES_MAX) return "more than 4096 different names";
    if (!reserve((void **)&set->names, &set->name_capacity, set->name_count, 1, sizeof *set->names))
        return "out of memory";
    *index = (int32_t)set->name_count;
    struct outline_name *added = &set->names[set->name_count++];
    *added = (struct outline_name) { .count = 0 };
    memcpy(added->text, name, strlen(name) + 1);
    return NULL;
}

const char *outlines_title(struct outlines *set, const char *title, int32_t *offset)
{
    const int64_t bytes = (int64_t)strlen(title) + 1;
    *offset = 0;
    if (set->title_bytes > TITLES_MAX - bytes - 1) return "names of more than 64 MiB";
    if (!reserve((void **)&set->titles, &set->title_capacity, set->title_bytes, bytes + 1, 1))
        return "out of memory";
    if (!set->title_bytes) set->titles[set->title_bytes++] = 0; /* nothing */
    if (bytes == 1) return NULL;
    *offset = (int32_t)set->title_bytes;
    memcpy(set->titles + set->title_bytes, title, (size_t)bytes);
    set->title_bytes += bytes;
    return NULL;
}

void outlines_close(struct outlines *set)
{
    struct outline *outline = &set->outlines[set->count - 1];
    const struct point *first = set->points + outline->first;
    if (outline->count < 2) return;
    const struct point *last = first + outline->count - 1;
    if (first->x != last->x || first->y != last->y) return;
    outline->count--;
    set->point_count--;
}

void outlines_leave_out(struct outlines *set, const char *what)
{
    const size_t used = strlen(set->left_out), size = sizeof set->left_out;
    const bool fits = set->listed == set->without_area && used + strlen(what) + 3 < size;
    set->without_area++;
    if (!fits) return;
    set->listed++;
    snprintf(set->left_out + used, size - used, "%s%s", used ? ", " : "", what);
}

void outlines_drop(struct outlines *set, int64_t first)
{
    if (first >= set->count) return;
    set->point_count = set->outlines[first].first;
    set->count = first;
}

void outlines_move(struct outlines *set, int64_t x, int64_t y)
{
    for (int64_t i = 0; i < set->point_count; i++) {
        set->points[i].x += (double)x;
        set->points[i].y += (double)y;
    }
}

void outlines_count_names(struct outlines *set)
{
    for (int64_t i = 0; i < set->name_count; i++) set->names[i].count = 0;
    for (int64_t i = 0; i < set->count; i++)
        set->names[set->outlines[i].name].count += !set->outlines[i].hole;
}

static const char *add_ellipse(struct outlines *set, struct point a, struct point b)
{
    const double rx = fabs(b.x - a.x) / 2, ry = fabs(b.y - a.y) / 2, pi = acos(-1);
    const double radius = fmax(rx, ry);
    int count = ELLIPSE_MIN; /* between two points a circle bulges by r - r cos(pi / count) */
    if (radius > ellipse_error) {
        const double needed = ceil(pi / acos(1 - fmin(ellipse_error / radius, 1)));
        count = needed > ELLIPSE_MAX ? ELLIPSE_MAX : needed > count ? (int)needed : count;
    }
    const char *why = NULL;
    for (int i = 0; !why && i < count; i++)
        why = outlines_point(set, (a.x + b.x) / 2 + rx * cos(2 * pi * i / count),
                             (a.y + b.y) / 2 + ry * sin(2 * pi * i / count));
    return why;
}

const char *outlines_box(struct outlines *set, struct point a, struct point b, bool ellipse)
{
    if (ellipse) return add_ellipse(set, a, b);
    const char *why = outlines_point(set, a.x, a.y);
    if (!why) why = outlines_point(set, b.x, a.y);
    if (!why) why = outlines_point(set, b.x, b.y);
    return why ? why : outlines_point(set, a.x, b.y);
}
