/* The annotation files of Aperio ImageScope and of HALO, which are nearly one format: layers
 * (Annotation) with a name and a colour, and in them regions, of which NegativeROA="1" are cut out
 * of the layer's others. ImageScope writes the corners as Vertex and a region's type as a number,
 * HALO as V and as a word. Rectangles and ellipses of two corners are given by the box about
 * them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "micromet/base/size.h"
#include "micromet/base/text.h"
#include "outline_formats.h"

enum { TEXT_MAX = 4096 };
enum shape { SHAPE_POLYGON, SHAPE_RECTANGLE, SHAPE_ELLIPSE, SHAPE_WITHOUT_AREA, SHAPE_UNKNOWN };

/* ImageScope's numbers, and HALO's words. */
static const struct {
    const char *type;
    enum shape shape;
} shapes[] = {
    { "", SHAPE_POLYGON },        { "0", SHAPE_POLYGON },          { "1", SHAPE_RECTANGLE },
    { "2", SHAPE_ELLIPSE },       { "3", SHAPE_WITHOUT_AREA },     { "4", SHAPE_WITHOUT_AREA },
    { "5", SHAPE_WITHOUT_AREA },  { "Polygon", SHAPE_POLYGON },    { "Rectangle", SHAPE_RECTANGLE },
    { "Ellipse", SHAPE_ELLIPSE }, { "Ruler", SHAPE_WITHOUT_AREA }, { "Pin", SHAPE_WITHOUT_AREA },
};

/* What a corner's element says of the program. */
static const struct {
    const char *element;
    enum outline_format format;
} corners[] = { { "Vertex", OUTLINES_IMAGESCOPE }, { "V", OUTLINES_HALO } };

static enum shape shape_of(const char *type)
{
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        if (!strcasecmp(type, shapes[i].type)) return shapes[i].shape;
    return SHAPE_UNKNOWN;
}

static bool end_region(struct outline_reader *reader, struct xml_input *input, struct error *err)
{
    const struct numbered_point *points = reader->scratch;
    if (!reader->open) return true;
    reader->open = false;
    if (reader->shape == SHAPE_WITHOUT_AREA) {
        char what[128];
        snprintf(what, sizeof what, "one of '%.100s'",
                 SHOWN(outline_name(reader->set, &reader->outline)));
        outlines_leave_out(reader->set, what);
        return true;
    }
    const char *why = outlines_begin(reader->set, &reader->outline);
    if (!why && reader->shape != SHAPE_POLYGON && reader->scratch_count == 2)
        why = outlines_box(reader->set, points[0].point, points[1].point,
                           reader->shape == SHAPE_ELLIPSE);
    else
        for (int64_t i = 0; !why && i < reader->scratch_count; i++)
            why = outlines_point(reader->set, points[i].point.x, points[i].point.y);
    if (why) return xml_refuse(input, why, err);
    outlines_close(reader->set);
    reader->outline.object++;
    return true;
}

static bool begin_region(struct outline_reader *reader, struct xml_input *input, struct error *err)
{
    char type[64], negative[16], title[TEXT_MAX], what[512];
    if (!reader->layer) return xml_refuse(input, "a Region outside an Annotation", err);
    if (!xml_text(input, "Type", type, sizeof type, err) ||
        !xml_text(input, "NegativeROA", negative, sizeof negative, err) ||
        !xml_text(input, "Text", title, sizeof title, err))
        return false;
    reader->shape = shape_of(type);
    if (reader->shape == SHAPE_UNKNOWN) {
        snprintf(what, sizeof what, "a Region of the unknown type '%.200s'; make it a polygon",
                 SHOWN(type));
        return xml_refuse(input, what, err);
    }
    reader->outline.hole = !strcmp(negative, "1") || !strcasecmp(negative, "true");
    reader->open = true;
    reader->scratch_count = 0;
    const char *why = outlines_title(reader->set, title, &reader->outline.title);
    return !why || xml_refuse(input, why, err);
}

/* Colours are numbers with red in the lowest byte. */
static int32_t color_of(const char *text)
{
    char *end;
    const long value = strtol(text, &end, 10);
    if (end == text || *end || value < 0 || value > 0xffffff) return -1;
    return (int32_t)((value & 0xff) << 16 | (value & 0xff00) | value >> 16);
}

static bool begin_layer(struct outline_reader *reader, struct xml_input *input, struct error *err)
{
    char name[LABEL_NAME_BYTES], color[64];
    if (!xml_text(input, "Name", name, sizeof name, err) ||
        !xml_text(input, "LineColor", color, sizeof color, err))
        return false;
    reader->layer = true;
    reader->outline.area++;
    reader->outline.color = color_of(color);
    const char *why = outlines_name(reader->set, name, &reader->outline.name);
    return !why || xml_refuse(input, why, err);
}

static bool add_corner(struct outline_reader *reader, struct xml_input *input, struct error *err)
{
    struct numbered_point read = { 0 };
    if (!reader->open) return true;
    if (!xml_number(input, "X", &read.point.x, err) || !xml_number(input, "Y", &read.point.y, err))
        return false;
    const char *why = outline_reader_point(reader, read);
    return !why || xml_refuse(input, why, err);
}

bool region_xml_element(void *context, struct xml_input *input, const char *element, bool ends,
                        struct error *err)
{
    struct outline_reader *reader = context;
    if (!strcmp(element, "Annotation")) {
        if (!end_region(reader, input, err)) return false;
        reader->layer = false;
        return ends || begin_layer(reader, input, err);
    }
    if (!strcmp(element, "Region"))
        return end_region(reader, input, err) && (ends || begin_region(reader, input, err));
    for (size_t i = 0; !ends && i < COUNT_OF(corners); i++) {
        if (strcmp(element, corners[i].element) != 0) continue;
        reader->format = corners[i].format;
        return add_corner(reader, input, err);
    }
    return true;
}
