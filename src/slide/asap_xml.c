/* ASAP annotation files: polygons in level-0 pixels, each in a named group that means
 * tumour or hole.
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

static const char *const area_types[] = { "", "Polygon", "Spline", "Rectangle" };

struct asap_reader {
    struct polygon_set *set;
    const char *path;
    xmlTextReader *xml;
    char complaint[256];
    int complaint_line;
    bool in_root, in_polygon;
    double order_last; /* `Order` of the polygon's last point; -1: none yet */
    int64_t shapes_left_out, tumors;
    char unknown_group[64]; /* the first one */
    int64_t unknown_groups;
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

/* An attribute's text, truncated to `size`; empty if absent. */
static void attribute(struct asap_reader *reader, const char *name, char *text, size_t size)
{
    xmlChar *value = xmlTextReaderGetAttribute(reader->xml, (const xmlChar *)name);
    snprintf(text, size, "%s", value ? (const char *)value : "");
    xmlFree(value);
}

static bool coordinate(struct asap_reader *reader, const char *name, double *value,
                       struct error *err)
{
    char text[64], *end, what[160];
    attribute(reader, name, text, sizeof text);
    *value = strtod(text, &end);
    if (end != text && !end[strspn(end, " \t\r\n")] && fabs(*value) <= coordinate_max) return true;
    snprintf(what, sizeof what, "the coordinate %s=\"%s\" is not a number of pixels", name, text);
    return refuse(reader, what, err);
}

static enum group_kind group_of(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(groups); i++)
        if (!strcasecmp(name, groups[i].name)) return groups[i].kind;
    return GROUP_UNKNOWN;
}

static bool is_area(const char *type)
{
    for (size_t i = 0; i < COUNT_OF(area_types); i++)
        if (!strcasecmp(type, area_types[i])) return true;
    return false;
}

static bool begin_polygon(struct asap_reader *reader, struct error *err)
{
    struct polygon_set *set = reader->set;
    char type[64], group[64];
    attribute(reader, "Type", type, sizeof type);
    attribute(reader, "PartOfGroup", group, sizeof group);
    const enum group_kind kind = group_of(group);

    reader->in_polygon = false;
    if (!is_area(type)) {
        reader->shapes_left_out++;
        return true;
    }
    if (kind == GROUP_UNKNOWN) {
        if (!reader->unknown_groups++)
            snprintf(reader->unknown_group, sizeof reader->unknown_group, "%s", group);
        return true;
    }
    if (set->polygon_count >= POLYGONS_MAX)
        return refuse(reader, "more than 1048576 polygons", err);
    if (!reserve((void **)&set->polygons, &set->polygon_capacity, set->polygon_count,
                 sizeof *set->polygons))
        return refuse(reader, "out of memory", err);
    set->polygons[set->polygon_count++] = (struct polygon) {
        .first = set->point_count,
        .hole = kind == GROUP_HOLE,
    };
    reader->tumors += kind == GROUP_TUMOR;
    reader->in_polygon = true;
    reader->order_last = -1;
    return true;
}

static bool add_point(struct asap_reader *reader, struct error *err)
{
    struct polygon_set *set = reader->set;
    struct point point;
    char order[32];
    if (!reader->in_polygon) return true;
    if (!coordinate(reader, "X", &point.x, err) || !coordinate(reader, "Y", &point.y, err))
        return false;
    attribute(reader, "Order", order, sizeof order);
    if (*order) {
        const double number = strtod(order, NULL);
        if (!(number >= reader->order_last))
            return refuse(reader, "the polygon's coordinates are not in the order of their numbers",
                          err);
        reader->order_last = number;
    }
    if (set->point_count >= POINTS_MAX)
        return refuse(reader, "more than 16777216 coordinates", err);
    if (!reserve((void **)&set->points, &set->point_capacity, set->point_count,
                 sizeof *set->points))
        return refuse(reader, "out of memory", err);
    set->points[set->point_count++] = point;
    set->polygons[set->polygon_count - 1].count++;
    return true;
}

static bool read_element(struct asap_reader *reader, struct error *err)
{
    const char *name = (const char *)xmlTextReaderConstLocalName(reader->xml);
    if (!reader->in_root) {
        char what[160];
        reader->in_root = !strcmp(name, "ASAP_Annotations");
        if (reader->in_root) return true;
        snprintf(what, sizeof what,
                 "not an ASAP annotation: the file begins with <%.64s>, not <ASAP_Annotations>",
                 name);
        return refuse(reader, what, err);
    }
    if (!strcmp(name, "Annotation")) return begin_polygon(reader, err);
    if (!strcmp(name, "Coordinate")) return add_point(reader, err);
    return true;
}

static bool read_nodes(struct asap_reader *reader, struct error *err)
{
    int status;
    while ((status = xmlTextReaderRead(reader->xml)) == 1) {
        const int type = xmlTextReaderNodeType(reader->xml);
        if (type == XML_READER_TYPE_DOCUMENT_TYPE)
            return refuse(reader, "a document type is not allowed in an annotation", err);
        if (type == XML_READER_TYPE_ELEMENT && !read_element(reader, err)) return false;
    }
    if (status == 0) return true;
    return error_set(err, EXIT_CODE_FAILED, "%s:%d: not well-formed XML: %s", reader->path,
                     reader->complaint_line, reader->complaint);
}

static bool tell_left_out(const struct asap_reader *reader, struct error *err)
{
    if (reader->shapes_left_out)
        log_warning("%s: %lld shapes without area (dots, measurements) are left out", reader->path,
                    (long long)reader->shapes_left_out);
    if (!reader->tumors && (reader->set->polygon_count || reader->unknown_groups))
        return error_set(
            err, EXIT_CODE_FAILED,
            "%s: none of its polygons is in a tumor group (Tumor, _0, _1, metastases): "
            "%lld are in hole groups (_2, Exclusion, None, normal), %lld in others%s%s",
            reader->path, (long long)reader->set->polygon_count, (long long)reader->unknown_groups,
            reader->unknown_groups ? " such as " : "", reader->unknown_group);
    if (reader->unknown_groups)
        log_warning("%s: %lld polygons are in unknown groups and left out; the first group is '%s'",
                    reader->path, (long long)reader->unknown_groups, reader->unknown_group);
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
    if (!ok) polygon_set_release(set);
    return ok;
}

void polygon_set_release(struct polygon_set *set)
{
    free(set->points);
    free(set->polygons);
    *set = (struct polygon_set) { 0 };
}
