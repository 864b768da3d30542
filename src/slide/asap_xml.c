/* ASAP annotation files: outlines in level-0 pixels, each in a named group that means
 * tumour or hole.
 *
 * Read as ASAP's own reader does (annotation/XmlRepository.cpp): a point's place is its number
 * `Order`, and splines are the polygons of their points, as in masks that ASAP makes of them.
 *
 * The input is not trusted: no network access, no document type (hence no entities), bounded sizes.
 * Whatever is left out is reported, since an unknown group would otherwise silently turn tumour
 * into normal tissue. */
#include <libxml/xmlreader.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "annotation_parts.h"
#include "micromet/base/file.h"
#include "micromet/base/log.h"
#include "micromet/base/size.h"

enum { FILE_MAX = 256 << 20, POINTS_MAX = 1 << 24, POLYGONS_MAX = 1 << 20 };
static const double coordinate_max = 1e8;

enum group_kind { GROUP_TUMOR, GROUP_HOLE, GROUP_UNKNOWN };

/* The groups of CAMELYON16, and CAMELYON17's metastases and normal. */
static const struct {
    const char *name;
    enum group_kind kind;
} groups[] = {
    { "", GROUP_TUMOR },      { "Tumor", GROUP_TUMOR },    { "Tumour", GROUP_TUMOR },
    { "_0", GROUP_TUMOR },    { "_1", GROUP_TUMOR },       { "metastases", GROUP_TUMOR },
    { "_2", GROUP_HOLE },     { "Exclusion", GROUP_HOLE }, { "None", GROUP_HOLE },
    { "normal", GROUP_HOLE },
};

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

/* Roots of other programs' files. */
static const struct {
    const char *name, *program;
} roots[] = {
    { "Annotations", "Aperio ImageScope or HALO" },
    { "annotations", "Hamamatsu NDP.view" },
};

struct numbered_point {
    double order;
    struct point point;
};

struct asap_reader {
    struct polygon_set *set;
    const char *path;
    xmlTextReader *xml;
    char complaint[256];
    int complaint_line;
    bool in_root, in_polygon;
    /* the outline that is being read */
    enum shape shape;
    struct numbered_point *points;
    int64_t point_count, point_capacity, numbered;
    int64_t tumors;
    struct name_list without_area, unknown; /* unknown: groups */
    int64_t unknown_polygons;
};

static void keep_complaint(void *user, xmlError *complaint)
{
    struct asap_reader *reader = user;
    if (*reader->complaint || !complaint->message) return;
    snprintf(reader->complaint, sizeof reader->complaint, "%s", complaint->message);
    reader->complaint[strcspn(reader->complaint, "\n")] = 0;
    reader->complaint_line = complaint->line;
}

static bool refuse(struct asap_reader *reader, const char *what, struct error *err)
{
    return error_set(err, EXIT_CODE_FAILED, "%s:%d: %s", reader->path,
                     xmlTextReaderGetParserLineNumber(reader->xml), what);
}

/* Ensure capacity for one more item than `count`. */
static bool reserve(void **items, int64_t *capacity, int64_t count, size_t size)
{
    if (count < *capacity) return true;
    const int64_t larger = *capacity ? 2 * *capacity : 64;
    void *moved = realloc(*items, (size_t)larger * size);
    if (!moved) return false;
    *items = moved;
    *capacity = larger;
    return true;
}

/* Make a UTF-8 text fit for a terminal: no control characters, and whole at its end. */
static void make_printable(char *text)
{
    size_t start = 0; /* of the last character */
    for (size_t i = 0; text[i]; i++) {
        const unsigned char byte = (unsigned char)text[i], next = (unsigned char)text[i + 1];
        if (byte < 0x20 || byte == 0x7f) text[i] = '?';
        if (byte == 0xc2 && next < 0xa0) text[i] = '?', text[i + 1] = next ? '?' : 0;
        if ((byte & 0xc0) != 0x80) start = i;
    }
    const unsigned char lead = (unsigned char)text[start];
    const size_t length = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (strlen(text + start) < length) text[start] = 0;
}

/* An attribute's text, truncated to `size`; empty if absent. */
static void attribute(struct asap_reader *reader, const char *name, char *text, size_t size)
{
    xmlChar *value = xmlTextReaderGetAttribute(reader->xml, (const xmlChar *)name);
    snprintf(text, size, "%s", value ? (const char *)value : "");
    xmlFree(value);
    make_printable(text);
}

static bool number(struct asap_reader *reader, const char *name, double *value, struct error *err)
{
    char text[64], *end, what[192];
    attribute(reader, name, text, sizeof text);
    *value = strtod(text, &end);
    if (end != text && !end[strspn(end, " \t\r\n")] && fabs(*value) <= coordinate_max) return true;
    snprintf(what, sizeof what, "%s=\"%s\" is not a number of pixels%s", name, text,
             strchr(text, ',') ? "; decimals have a point, not a comma" : "");
    return refuse(reader, what, err);
}

static enum group_kind group_of(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(groups); i++)
        if (!strcasecmp(name, groups[i].name)) return groups[i].kind;
    return GROUP_UNKNOWN;
}

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
static bool sort_points(struct asap_reader *reader, struct error *err)
{
    struct numbered_point *points = reader->points;
    char what[128];
    if (!reader->numbered) return true;
    if (reader->numbered < reader->point_count)
        return refuse(reader, "some of the outline's coordinates have no Order", err);
    qsort(points, (size_t)reader->point_count, sizeof *points, by_order);
    for (int64_t i = 1; i < reader->point_count; i++) {
        if (points[i].order != points[i - 1].order) continue;
        snprintf(what, sizeof what, "two of the outline's coordinates have the Order %g",
                 points[i].order);
        return refuse(reader, what, err);
    }
    return true;
}

static bool append_point(struct asap_reader *reader, double x, double y, struct error *err)
{
    struct polygon_set *set = reader->set;
    if (set->point_count >= POINTS_MAX)
        return refuse(reader, "more than 16777216 coordinates", err);
    if (!reserve((void **)&set->points, &set->point_capacity, set->point_count,
                 sizeof *set->points))
        return refuse(reader, "out of memory", err);
    set->points[set->point_count++] = (struct point) { x, y };
    set->polygons[set->polygon_count - 1].count++;
    return true;
}

/* Add the outline that has been read to the set. Two points of a rectangle are opposite corners. */
static bool end_polygon(struct asap_reader *reader, struct error *err)
{
    const struct numbered_point *points = reader->points;
    if (!reader->in_polygon) return true;
    reader->in_polygon = false;
    if (!sort_points(reader, err)) return false;
    if (reader->shape == SHAPE_RECTANGLE && reader->point_count == 2) {
        const struct point a = points[0].point, b = points[1].point;
        return append_point(reader, a.x, a.y, err) && append_point(reader, b.x, a.y, err) &&
               append_point(reader, b.x, b.y, err) && append_point(reader, a.x, b.y, err);
    }
    for (int64_t i = 0; i < reader->point_count; i++)
        if (!append_point(reader, points[i].point.x, points[i].point.y, err)) return false;
    return true;
}

static bool begin_polygon(struct asap_reader *reader, struct error *err)
{
    struct polygon_set *set = reader->set;
    struct polygon polygon = { .first = set->point_count };
    char type[64], group[64], what[192];
    attribute(reader, "Type", type, sizeof type);
    attribute(reader, "PartOfGroup", group, sizeof group);
    attribute(reader, "Name", polygon.name, sizeof polygon.name);
    const enum group_kind kind = group_of(group);
    reader->shape = shape_of(type);

    if (reader->shape == SHAPE_WITHOUT_AREA) {
        name_list_add(&reader->without_area, polygon.name);
        return true;
    }
    if (kind == GROUP_UNKNOWN) {
        char quoted[68];
        snprintf(quoted, sizeof quoted, "'%s'", group);
        if (!strstr(reader->unknown.text, quoted)) name_list_add(&reader->unknown, group);
        reader->unknown_polygons++;
        return true;
    }
    if (reader->shape == SHAPE_UNKNOWN) {
        snprintf(what, sizeof what, "'%s' is of the unknown type '%s'; make it a Polygon",
                 polygon.name, type);
        return refuse(reader, what, err);
    }
    if (set->polygon_count >= POLYGONS_MAX)
        return refuse(reader, "more than 1048576 polygons", err);
    if (!reserve((void **)&set->polygons, &set->polygon_capacity, set->polygon_count,
                 sizeof *set->polygons))
        return refuse(reader, "out of memory", err);
    polygon.hole = kind == GROUP_HOLE;
    set->polygons[set->polygon_count++] = polygon;
    reader->tumors += !polygon.hole;
    reader->in_polygon = true;
    reader->point_count = reader->numbered = 0;
    return true;
}

static bool add_point(struct asap_reader *reader, struct error *err)
{
    struct numbered_point read = { 0 };
    char order[32];
    if (!reader->in_polygon) return true;
    attribute(reader, "Order", order, sizeof order);
    reader->numbered += *order != 0;
    if (!number(reader, "X", &read.point.x, err) || !number(reader, "Y", &read.point.y, err) ||
        (*order && !number(reader, "Order", &read.order, err)))
        return false;
    if (reader->point_count >= POINTS_MAX)
        return refuse(reader, "more than 16777216 coordinates", err);
    if (!reserve((void **)&reader->points, &reader->point_capacity, reader->point_count,
                 sizeof *reader->points))
        return refuse(reader, "out of memory", err);
    reader->points[reader->point_count++] = read;
    return true;
}

static bool begin_root(struct asap_reader *reader, const char *name, struct error *err)
{
    char what[256], shown[64];
    reader->in_root = !strcmp(name, "ASAP_Annotations");
    if (reader->in_root) return true;
    const char *program = NULL;
    for (size_t i = 0; i < COUNT_OF(roots); i++)
        if (!strcmp(name, roots[i].name)) program = roots[i].program;
    snprintf(shown, sizeof shown, "%s", name);
    make_printable(shown);
    snprintf(what, sizeof what,
             "not an ASAP annotation: the file begins with <%s>, not <ASAP_Annotations>%s%s; save "
             "the outlines as ASAP XML, or as a mask TIFF",
             shown, program ? ", as those of " : "", program ? program : "");
    return refuse(reader, what, err);
}

static bool read_element(struct asap_reader *reader, struct error *err)
{
    const char *name = (const char *)xmlTextReaderConstLocalName(reader->xml);
    if (!reader->in_root) return begin_root(reader, name, err);
    if (!strcmp(name, "Annotation")) return end_polygon(reader, err) && begin_polygon(reader, err);
    if (!strcmp(name, "Coordinate")) return add_point(reader, err);
    return true;
}

static bool end_element(struct asap_reader *reader, struct error *err)
{
    const char *name = (const char *)xmlTextReaderConstLocalName(reader->xml);
    return strcmp(name, "Annotation") != 0 || end_polygon(reader, err);
}

static bool read_nodes(struct asap_reader *reader, struct error *err)
{
    int status;
    while ((status = xmlTextReaderRead(reader->xml)) == 1) {
        const int type = xmlTextReaderNodeType(reader->xml);
        if (type == XML_READER_TYPE_DOCUMENT_TYPE)
            return refuse(reader, "a document type is not allowed in an annotation", err);
        if (type == XML_READER_TYPE_ELEMENT && !read_element(reader, err)) return false;
        if (type == XML_READER_TYPE_END_ELEMENT && !end_element(reader, err)) return false;
    }
    if (status == 0) return end_polygon(reader, err);
    return error_set(err, EXIT_CODE_FAILED, "%s:%d: not well-formed XML: %s", reader->path,
                     reader->complaint_line, reader->complaint);
}

static bool tell_left_out(struct asap_reader *reader, struct error *err)
{
    const int64_t unknown = reader->unknown_polygons;
    if (reader->without_area.count)
        log_warning("%s: shapes without area (dots, measurements) are left out: %s", reader->path,
                    name_list_end(&reader->without_area));
    if (!reader->tumors && unknown)
        return error_set(
            err, EXIT_CODE_FAILED,
            "%s: none of its polygons is in a tumor group (Tumor, _0, _1, metastases): "
            "%lld are in hole groups (_2, Exclusion, None, normal), %lld in others such as %s; "
            "name no annotation if these are no tumor",
            reader->path, (long long)reader->set->polygon_count, (long long)unknown,
            name_list_end(&reader->unknown));
    if (unknown)
        log_warning("%s: %lld polygons in unknown groups are left out; the groups: %s",
                    reader->path, (long long)unknown, name_list_end(&reader->unknown));
    return true;
}

bool asap_xml_read(struct polygon_set *set, const char *path, struct error *err)
{
    struct asap_reader reader = { .set = set, .path = path };
    char *bytes;
    size_t size;
    *set = (struct polygon_set) { 0 };
    if (!file_read(path, FILE_MAX, &bytes, &size, err)) return false;
    reader.xml = xmlReaderForMemory(bytes, (int)size, NULL, NULL, XML_PARSE_NONET);
    bool ok = reader.xml != NULL;
    if (ok) {
        xmlTextReaderSetStructuredErrorHandler(reader.xml, (xmlStructuredErrorFunc)keep_complaint,
                                               &reader);
        ok = read_nodes(&reader, err) && tell_left_out(&reader, err);
        xmlFreeTextReader(reader.xml);
    } else {
        error_set(err, EXIT_CODE_FAILED, "%s: cannot be read as XML", path);
    }
    free(bytes);
    free(reader.points);
    if (!ok) polygon_set_release(set);
    return ok;
}

void polygon_set_release(struct polygon_set *set)
{
    free(set->points);
    free(set->polygons);
    *set = (struct polygon_set) { 0 };
}

void name_list_add(struct name_list *list, const char *name)
{
    const size_t used = strlen(list->text);
    const int room = (int)(sizeof list->text - used);
    list->count++;
    if (list->named + 1 < list->count) return; /* the text is full */
    const int length = snprintf(list->text + used, (size_t)room, "%s'%s'", used ? ", " : "", name);
    if (length < room - 24) /* for what name_list_end() adds */
        list->named++;
    else
        list->text[used] = 0;
}

const char *name_list_end(struct name_list *list)
{
    const size_t used = strlen(list->text);
    if (list->named < list->count)
        snprintf(list->text + used, sizeof list->text - used, "%s%lld more", used ? " and " : "",
                 (long long)(list->count - list->named));
    list->named = list->count;
    return list->text;
}
