/* ASAP's annotation files: outlines in level-0 pixels, each in a named group.
 *
 * Read as ASAP's own reader does (annotation/XmlRepository.cpp): a point's place is its number
 * `Order`, and splines are the polygons of their points, as in masks that ASAP makes of them.
 *
 * ASAP knows no holes within an outline. Ours come as one ring that goes to each hole and back
 * (outline_write.c), whose attribute Rings says where one ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "micromet/base/size.h"
#include "micromet/base/text.h"
#include "outline_formats.h"

enum { TEXT_MAX = 4096 };
enum shape { SHAPE_POLYGON, SHAPE_RECTANGLE, SHAPE_WITHOUT_AREA, SHAPE_UNKNOWN };

/* All of ASAP's (annotation/Annotation.cpp). */
static const struct {
    const char *type;
    enum shape shape;
} shapes[] = {
    { "", SHAPE_POLYGON },          { "Polygon", SHAPE_POLYGON },
    { "Spline", SHAPE_POLYGON },    { "Rectangle", SHAPE_RECTANGLE },
    { "Dot", SHAPE_WITHOUT_AREA },  { "PointSet", SHAPE_WITHOUT_AREA },
    { "None", SHAPE_WITHOUT_AREA }, { "Measurement", SHAPE_WITHOUT_AREA },
};

static enum shape shape_of(const char *type)
{
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        if (!strcasecmp(type, shapes[i].type)) return shapes[i].shape;
    return SHAPE_UNKNOWN;
}

static int by_order(const void *left, const void *right)
{
    const struct numbered_point *a = left, *b = right;
    return (a->order > b->order) - (a->order < b->order);
}

/* Bring the outline's points into their order. */
static bool sort_points(struct outline_reader *reader, struct xml_input *input, struct error *err)
{
    struct numbered_point *points = reader->scratch;
    char what[128];
    if (!reader->numbered) return true;
    if (reader->numbered < reader->scratch_count)
        return xml_refuse(input, "some of the outline's coordinates have no Order", err);
    qsort(points, (size_t)reader->scratch_count, sizeof *points, by_order);
    for (int64_t i = 1; i < reader->scratch_count; i++) {
        if (points[i].order != points[i - 1].order) continue;
        snprintf(what, sizeof what, "two of the outline's coordinates have the Order %g",
                 points[i].order);
        return xml_refuse(input, what, err);
    }
    return true;
}

/* Add `count` points from number `first` on as one outline. */
static const char *add_ring(struct outline_reader *reader, int64_t first, int64_t count, bool hole)
{
    reader->outline.hole = hole;
    const char *why = outlines_begin(reader->set, &reader->outline);
    for (int64_t i = first; !why && i < first + count; i++)
        why = outlines_point(reader->set, reader->scratch[i].point.x, reader->scratch[i].point.y);
    return why;
}

static bool same_point(const struct numbered_point *a, const struct numbered_point *b)
{
    return a->point.x == b->point.x && a->point.y == b->point.y;
}

/* The numbers of points of each ring, "5 4 3", if the points are still those: each hole begins
 * behind a return to the first point, ends where it began, and the way leads back. */
static bool rings_hold(const struct outline_reader *reader, const char *rings)
{
    const struct numbered_point *points = reader->scratch;
    int64_t at = 0;
    char *end;
    for (int ring = 0; *rings; ring++, rings = end + strspn(end, " ")) {
        const int64_t count = strtoll(rings, &end, 10), left = reader->scratch_count - at;
        if (end == rings || count < 1 || count + (ring ? 2 : 0) > left) return false;
        if (!ring) {
            at = count;
            continue;
        }
        if (!same_point(&points[at], &points[0]) ||
            !same_point(&points[at + 1 + count], &points[at + 1]))
            return false;
        at += count + 2;
    }
    return at == reader->scratch_count;
}

static const char *add_rings(struct outline_reader *reader, const char *rings)
{
    const char *why = NULL;
    char *end;
    int64_t at = 0;
    for (int ring = 0; *rings && !why; ring++, rings = end + strspn(end, " ")) {
        const int64_t count = strtoll(rings, &end, 10);
        why = add_ring(reader, at + (ring > 0), count, ring > 0);
        at += count + (ring ? 2 : 0);
    }
    return why;
}

/* Add the outline that has been read to the set. Two points of a rectangle are opposite corners. */
static bool end_outline(struct outline_reader *reader, struct xml_input *input, struct error *err)
{
    const struct numbered_point *points = reader->scratch;
    const char *why = NULL;
    if (!reader->open) return true;
    reader->open = false;
    if (!sort_points(reader, input, err)) return false;
    if (reader->shape == SHAPE_RECTANGLE && reader->scratch_count == 2) {
        reader->outline.hole = false;
        why = outlines_begin(reader->set, &reader->outline);
        if (!why) why = outlines_box(reader->set, points[0].point, points[1].point, false);
    } else if (reader->rings && rings_hold(reader, reader->rings)) {
        why = add_rings(reader, reader->rings);
    } else {
        why = add_ring(reader, 0, reader->scratch_count, false);
    }
    reader->outline.area++, reader->outline.object++;
    free(reader->rings);
    reader->rings = NULL;
    return !why || xml_refuse(input, why, err);
}

static bool read_names(struct outline_reader *reader, struct xml_input *input, struct error *err)
{
    char group[LABEL_NAME_BYTES], title[TEXT_MAX], color[64];
    unsigned rgb;
    if (!xml_text(input, "PartOfGroup", group, sizeof group, err) ||
        !xml_text(input, "Name", title, sizeof title, err) ||
        !xml_text(input, "Color", color, sizeof color, err) ||
        !xml_long_text(input, "Rings", &reader->rings, err))
        return false;
    reader->outline.color = sscanf(color, "#%6x", &rgb) == 1 ? (int32_t)rgb : -1;
    const char *why = outlines_name(reader->set, group, &reader->outline.name);
    if (!why) why = outlines_title(reader->set, title, &reader->outline.title);
    return !why || xml_refuse(input, why, err);
}

static bool begin_outline(struct outline_reader *reader, struct xml_input *input, struct error *err)
{
    char type[64], title[TEXT_MAX], what[1024];
    if (!xml_text(input, "Type", type, sizeof type, err) ||
        !xml_text(input, "Name", title, sizeof title, err))
        return false;
    reader->shape = shape_of(type);
    if (reader->shape == SHAPE_WITHOUT_AREA) {
        snprintf(what, sizeof what, "'%.100s'", SHOWN(title));
        outlines_leave_out(reader->set, what);
        return true;
    }
    if (reader->shape == SHAPE_UNKNOWN) {
        snprintf(what, sizeof what, "'%.200s' is of the unknown type '%.200s'; make it a Polygon",
                 SHOWN(title), SHOWN(type));
        return xml_refuse(input, what, err);
    }
    reader->open = true;
    reader->scratch_count = reader->numbered = 0;
    return read_names(reader, input, err);
}

static bool add_point(struct outline_reader *reader, struct xml_input *input, struct error *err)
{
    struct numbered_point read = { 0 };
    char order[32];
    if (!reader->open) return true;
    if (!xml_text(input, "Order", order, sizeof order, err) ||
        !xml_number(input, "X", &read.point.x, err) ||
        !xml_number(input, "Y", &read.point.y, err) ||
        (*order && !xml_number(input, "Order", &read.order, err)))
        return false;
    reader->numbered += *order != 0;
    const char *why = outline_reader_point(reader, read);
    return !why || xml_refuse(input, why, err);
}

bool asap_xml_element(void *context, struct xml_input *input, const char *element, bool ends,
                      struct error *err)
{
    struct outline_reader *reader = context;
    if (!strcmp(element, "Annotation"))
        return end_outline(reader, input, err) && (ends || begin_outline(reader, input, err));
    return ends || strcmp(element, "Coordinate") != 0 || add_point(reader, input, err);
}
