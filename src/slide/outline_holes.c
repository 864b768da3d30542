/* Whether a hole is one of an outline's. Formats with layers cut a hole out of all that is in the
 * layer; those with polygons need to know of which. */
#include <math.h>

#include "outline_write.h"

struct box {
    double x0, y0, x1, y1;
};

static struct box box_of(const struct point *points, int64_t count)
{
    struct box box = { INFINITY, INFINITY, -INFINITY, -INFINITY };
    for (int64_t i = 0; i < count; i++) {
        box.x0 = fmin(box.x0, points[i].x), box.x1 = fmax(box.x1, points[i].x);
        box.y0 = fmin(box.y0, points[i].y), box.y1 = fmax(box.y1, points[i].y);
    }
    return box;
}

static bool winds_about(const struct point *points, int64_t count, struct point p)
{
    int64_t winding = 0;
    for (int64_t i = 0, j = count - 1; i < count; j = i++) {
        const struct point a = points[j], b = points[i];
        if ((a.y <= p.y) == (b.y <= p.y)) continue;
        if (a.x + (p.y - a.y) / (b.y - a.y) * (b.x - a.x) > p.x) winding += a.y <= p.y ? 1 : -1;
    }
    return winding != 0;
}

/* On which side of the line from a to b the point lies. */
static double side(struct point a, struct point b, struct point p)
{
    return (b.x - a.x) * (p.y - a.y) - (b.y - a.y) * (p.x - a.x);
}

static bool edges_cross(const struct point *a, int64_t a_count, const struct point *b,
                        int64_t b_count)
{
    for (int64_t i = 0; i < a_count; i++)
        for (int64_t j = 0; j < b_count; j++) {
            const struct point p = a[i], q = a[(i + 1) % a_count];
            const struct point r = b[j], s = b[(j + 1) % b_count];
            if (side(p, q, r) * side(p, q, s) <= 0 && side(r, s, p) * side(r, s, q) <= 0)
                return true;
        }
    return false;
}

bool outline_has_hole(const struct outlines *set, const struct outline *outline,
                      const struct outline *hole)
{
    const struct point *a = set->points + outline->first, *b = set->points + hole->first;
    const struct box one = box_of(a, outline->count), other = box_of(b, hole->count);
    if (!(one.x0 <= other.x1 && other.x0 <= one.x1 && one.y0 <= other.y1 && other.y0 <= one.y1))
        return false;
    for (int64_t i = 0; i < hole->count; i++)
        if (winds_about(a, outline->count, b[i])) return true;
    for (int64_t i = 0; i < outline->count; i++)
        if (winds_about(b, hole->count, a[i])) return true;
    return edges_cross(a, outline->count, b, hole->count);
}
