/* The writers, one for each kind of structure: polygons with holes (GeoJSON, ASAP), and layers from
 * which regions are cut (ImageScope, HALO).
 *
 * ASAP knows no holes within an outline: a ring goes from its first point to each hole, around it
 * against its own direction, and back, so that ASAP, which counts windings, fills it right. The
 * attribute Rings says how many points each ring has, for our reader. */
#include "outline_write.h"

#include <stdlib.h>
#include <string.h>

#include "micromet/base/text.h"

enum { RED = 0xff0000 };

/* The shortest of decimals that reads back as the same number. */
static void print_number(FILE *stream, double value)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    fputs(text, stream);
}

static int32_t color_of(const struct outline *outline)
{
    return outline->color < 0 ? RED : outline->color;
}

/* The outlines [first, end) of one area. */
struct area {
    int64_t first, end, positives; /* positives: that are no holes */
};

static struct area area_from(const struct outlines *set, int64_t first)
{
    struct area area = { first, first, 0 };
    while (area.end < set->count && set->outlines[area.end].area == set->outlines[first].area)
        area.positives += !set->outlines[area.end++].hole;
    return area;
}

static bool has_holes(const struct area *area)
{
    return area->positives < area->end - area->first;
}

/* The number of the next hole of an outline from `number` on; area->end if there is none. */
static int64_t next_hole(const struct outlines *set, const struct area *area,
                         const struct outline *outline, int64_t number)
{
    if (!has_holes(area)) return area->end;
    for (; number < area->end; number++) {
        const struct outline *hole = &set->outlines[number];
        if (hole->hole && hole->count &&
            (area->positives == 1 || outline_has_hole(set, outline, hole)))
            break;
    }
    return number;
}

/* --- GeoJSON ---------------------------------------------------------------------------------- */

static void print_json_text(FILE *stream, const char *text)
{
    fputc('"', stream);
    for (; *text; text++) {
        const unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\')
            fprintf(stream, "\\%c", byte);
        else if (byte < 0x20 || byte == 0x7f)
            fprintf(stream, "\\u%04x", byte);
        else
            fputc(byte, stream);
    }
    fputc('"', stream);
}

static void print_json_ring(FILE *stream, const struct outlines *set, const struct outline *ring)
{
    const struct point *points = set->points + ring->first;
    fputc('[', stream);
    for (int64_t i = 0; i <= ring->count && ring->count; i++) { /* the first comes again */
        fputs(i ? ", [" : "[", stream);
        print_number(stream, points[i % ring->count].x);
        fputs(", ", stream);
        print_number(stream, points[i % ring->count].y);
        fputc(']', stream);
    }
    fputc(']', stream);
}

static void print_json_polygon(FILE *stream, const struct outlines *set, const struct area *area,
                               const struct outline *outline)
{
    fputc('[', stream);
    print_json_ring(stream, set, outline);
    for (int64_t i = next_hole(set, area, outline, area->first); i < area->end;
         i = next_hole(set, area, outline, i + 1)) {
        fputs(", ", stream);
        print_json_ring(stream, set, &set->outlines[i]);
    }
    fputc(']', stream);
}

static void print_json_properties(FILE *stream, const struct outlines *set,
                                  const struct outline *outline)
{
    const char *name = outline_name(set, outline), *title = outline_title(set, outline);
    const int32_t color = outline->color;
    fputs("{\"objectType\": \"annotation\"", stream);
    if (*title) fputs(", \"name\": ", stream), print_json_text(stream, title);
    if (*name && color >= 0) {
        fputs(", \"classification\": {\"name\": ", stream);
        print_json_text(stream, name);
        fprintf(stream, ", \"color\": [%d, %d, %d]}", color >> 16, color >> 8 & 255, color & 255);
    } else if (*name) { /* QuPath wants a colour in an object */
        fputs(", \"classification\": ", stream);
        print_json_text(stream, name);
    } else if (color >= 0) {
        fprintf(stream, ", \"color\": [%d, %d, %d]", color >> 16, color >> 8 & 255, color & 255);
    }
    fputc('}', stream);
}

/* The number of the next outline that is no hole, from `number` on. */
static int64_t next_positive(const struct outlines *set, int64_t number)
{
    while (number < set->count && (set->outlines[number].hole || !set->outlines[number].count))
        number++;
    return number;
}

static void write_geojson(const struct outlines *set, FILE *stream)
{
    struct area area = { 0 };
    const char *between = "\n";
    fputs("{\"type\": \"FeatureCollection\", \"features\": [", stream);
    for (int64_t i = next_positive(set, 0), next; i < set->count; i = next) {
        const struct outline *outline = &set->outlines[i];
        int64_t parts = 0; /* of the object: the outlines [i, next) that are no holes */
        for (next = i; next < set->count && set->outlines[next].object == outline->object; parts++)
            next = next_positive(set, next + 1);
        fprintf(stream,
                "%s{\"type\": \"Feature\", \"geometry\": {\"type\": \"%s\", "
                "\"coordinates\": %s",
                between, parts > 1 ? "MultiPolygon" : "Polygon", parts > 1 ? "[" : "");
        for (int64_t part = i; part < next; part = next_positive(set, part + 1)) {
            while (area.end <= part) area = area_from(set, area.end);
            if (part > i) fputs(", ", stream);
            print_json_polygon(stream, set, &area, &set->outlines[part]);
        }
        fprintf(stream, "%s}, \"properties\": ", parts > 1 ? "]" : "");
        print_json_properties(stream, set, outline);
        fputc('}', stream);
        between = ",\n";
    }
    fputs("\n]}\n", stream);
}

/* --- XML -------------------------------------------------------------------------------------- */

/* In an attribute. Control characters, which XML cannot hold, become question marks. */
static void print_xml_text(FILE *stream, const char *text)
{
    for (; *text; text++) {
        const unsigned char byte = (unsigned char)*text;
        if (strchr("&<>\"\t\r\n", byte))
            fprintf(stream, "&#%d;", byte);
        else if (byte < 0x20)
            fputc('?', stream);
        else
            fputc(byte, stream);
    }
}

static void print_xml_attribute(FILE *stream, const char *name, const char *text)
{
    fprintf(stream, " %s=\"", name);
    print_xml_text(stream, text);
    fputc('"', stream);
}

static void print_xml_point(FILE *stream, struct point point, const char *end)
{
    fputs(" X=\"", stream);
    print_number(stream, point.x);
    fputs("\" Y=\"", stream);
    print_number(stream, point.y);
    fputs(end, stream);
}

/* --- ASAP ------------------------------------------------------------------------------------- */

static double twice_area(const struct outlines *set, const struct outline *ring)
{
    const struct point *points = set->points + ring->first;
    double sum = 0;
    for (int64_t i = 0, j = ring->count - 1; i < ring->count; j = i++)
        sum += points[j].x * points[i].y - points[i].x * points[j].y;
    return sum;
}

static void print_asap_point(FILE *stream, struct point point, int64_t *order)
{
    fprintf(stream, "<Coordinate Order=\"%lld\"", (long long)(*order)++);
    print_xml_point(stream, point, "\"/>\n");
}

/* To the hole, around it and back to where it began; the next point closes the way. */
static void print_asap_hole(FILE *stream, const struct outlines *set, const struct outline *outline,
                            const struct outline *hole, int64_t *order)
{
    const struct point *points = set->points + hole->first;
    const bool turn = twice_area(set, outline) * twice_area(set, hole) > 0;
    print_asap_point(stream, set->points[outline->first], order);
    for (int64_t i = 0; i <= hole->count; i++)
        print_asap_point(stream, points[(turn ? hole->count - i : i) % hole->count], order);
}

static void print_asap_outline(FILE *stream, const struct outlines *set, const struct area *area,
                               const struct outline *outline)
{
    const int64_t first_hole = next_hole(set, area, outline, area->first);
    int64_t order = 0;
    fputs("<Annotation", stream);
    print_xml_attribute(stream, "Name", outline_title(set, outline));
    fputs(" Type=\"Polygon\"", stream);
    if (*outline_name(set, outline))
        print_xml_attribute(stream, "PartOfGroup", outline_name(set, outline));
    if (outline->color >= 0) fprintf(stream, " Color=\"#%06x\"", (unsigned)outline->color);
    if (first_hole < area->end) fprintf(stream, " Rings=\"%lld", (long long)outline->count);
    for (int64_t i = first_hole; i < area->end; i = next_hole(set, area, outline, i + 1))
        fprintf(stream, " %lld", (long long)set->outlines[i].count);
    fputs(first_hole < area->end ? "\">\n<Coordinates>\n" : ">\n<Coordinates>\n", stream);
    for (int64_t i = 0; i < outline->count; i++)
        print_asap_point(stream, set->points[outline->first + i], &order);
    for (int64_t i = first_hole; i < area->end; i = next_hole(set, area, outline, i + 1))
        print_asap_hole(stream, set, outline, &set->outlines[i], &order);
    fputs("</Coordinates>\n</Annotation>\n", stream);
}

static void write_asap(const struct outlines *set, FILE *stream)
{
    struct area area = { 0 };
    fputs("<?xml version=\"1.0\"?>\n<ASAP_Annotations>\n<Annotations>\n", stream);
    for (int64_t i = next_positive(set, 0); i < set->count; i = next_positive(set, i + 1)) {
        while (area.end <= i) area = area_from(set, area.end);
        print_asap_outline(stream, set, &area, &set->outlines[i]);
    }
    fputs("</Annotations>\n<AnnotationGroups>\n", stream);
    for (int64_t i = 0; i < set->name_count; i++) {
        if (!set->names[i].count || !*set->names[i].text) continue;
        int64_t used = 0;
        while (set->outlines[used].name != i) used++;
        fputs("<Group", stream);
        print_xml_attribute(stream, "Name", set->names[i].text);
        fprintf(stream, " PartOfGroup=\"None\" Color=\"#%06x\"><Attributes/></Group>\n",
                (unsigned)color_of(&set->outlines[used]));
    }
    fputs("</AnnotationGroups>\n</ASAP_Annotations>\n", stream);
}

/* --- ImageScope and HALO ---------------------------------------------------------------------- */

static void print_region(FILE *stream, const struct outlines *set, const struct outline *outline,
                         bool halo, int64_t id)
{
    if (halo) {
        fprintf(stream, "<Region Type=\"Polygon\" HasEndcaps=\"0\" NegativeROA=\"%d\">\n",
                outline->hole);
    } else {
        fprintf(stream, "<Region Id=\"%lld\" Type=\"0\" NegativeROA=\"%d\" Analyze=\"1\"",
                (long long)id, outline->hole);
        print_xml_attribute(stream, "Text", outline_title(set, outline));
        fputs(">\n", stream);
    }
    fputs("<Vertices>\n", stream);
    for (int64_t i = 0; i <= outline->count && outline->count; i++) { /* the first comes again */
        fputs(halo ? "<V" : "<Vertex", stream);
        print_xml_point(stream, set->points[outline->first + i % outline->count],
                        halo ? "\"/>\n" : "\" Z=\"0\"/>\n");
    }
    fputs(halo ? "</Vertices>\n<Comments/>\n</Region>\n" : "</Vertices>\n</Region>\n", stream);
}

/* Outlines of one area, or of areas of one name and colour that have no holes, in one layer. */
static int64_t layer_end(const struct outlines *set, int64_t first)
{
    const struct outline *one = &set->outlines[first];
    struct area area = area_from(set, first);
    int64_t end = area.end;
    for (; end < set->count && !has_holes(&area); end = area.end) {
        const struct outline *other = &set->outlines[end];
        area = area_from(set, end);
        if (other->name != one->name || other->color != one->color || has_holes(&area)) break;
    }
    return end;
}

static void write_layers(const struct outlines *set, FILE *stream, bool halo)
{
    int64_t layer = 1, region = 1;
    fputs("<?xml version=\"1.0\"?>\n<Annotations>\n", stream);
    for (int64_t first = 0, end; first < set->count; first = end, layer++) {
        const int32_t color = color_of(&set->outlines[first]);
        end = layer_end(set, first);
        fputs("<Annotation", stream);
        if (!halo) fprintf(stream, " Id=\"%lld\" Type=\"4\"", (long long)layer);
        print_xml_attribute(stream, "Name", outline_name(set, &set->outlines[first]));
        fprintf(stream, " LineColor=\"%d\" Visible=\"%s\">\n<Regions>\n",
                (color & 0xff) << 16 | (color & 0xff00) | color >> 16, halo ? "True" : "1");
        for (int64_t i = first; i < end; i++)
            print_region(stream, set, &set->outlines[i], halo, region++);
        fputs("</Regions>\n</Annotation>\n", stream);
    }
    fputs("</Annotations>\n", stream);
}

static void write_imagescope(const struct outlines *set, FILE *stream)
{
    write_layers(set, stream, false);
}

static void write_halo(const struct outlines *set, FILE *stream)
{
    write_layers(set, stream, true);
}

void outlines_write(const struct outlines *set, enum outline_format format, FILE *stream)
{
    static void (*const writers[])(const struct outlines *set, FILE *stream) = {
        [OUTLINES_ASAP] = write_asap,
        [OUTLINES_GEOJSON] = write_geojson,
        [OUTLINES_IMAGESCOPE] = write_imagescope,
        [OUTLINES_HALO] = write_halo,
    };
    writers[format](set, stream);
}
