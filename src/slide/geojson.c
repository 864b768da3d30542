/* QuPath's GeoJSON: a FeatureCollection, a bare array of features, or one of them. Polygons and
 * MultiPolygons are areas, whose first ring is the border and the others holes; what has no area
 * is left out. A feature's name is its classification's or, if it has none, its own.
 *
 * The file is read as it comes, so that memory does not grow beyond the outlines: as keys have no
 * order, coordinates are taken at any depth of brackets, and compared with the geometry's type at
 * its end. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "micromet/base/size.h"
#include "micromet/base/text.h"
#include "micromet/format/json_stream.h"
#include "outline_formats.h"

/* How deep the coordinates' brackets are, which is what a position's, a ring's … parts are called
 * by below; RINGS is a polygon. */
enum depth { EMPTY, POSITION, RING, RINGS, POLYGONS, TOO_DEEP };

static const struct {
    const char *type;
    enum depth depth;
    bool area;
} geometries[] = {
    { "Polygon", RINGS, true },    { "MultiPolygon", POLYGONS, true },
    { "Point", POSITION, false },  { "MultiPoint", RING, false },
    { "LineString", RING, false }, { "MultiLineString", RINGS, false },
};

enum { TYPE_MAX = 32 };

struct feature {
    int64_t first; /* outline */
    bool geometry;
    char type[TYPE_MAX]; /* of the geometry */
    enum depth depth;
    bool classified;
    char class[LABEL_NAME_BYTES], name[JSON_TEXT_MAX];
    int32_t color, class_color; /* 0xRRGGBB, -1 = none */
};

struct geojson {
    struct json_stream stream;
    struct outlines *set;
    struct outline outline; /* what the next one begins with */
    struct point position;  /* the last one */
    int64_t features;
};

static bool refuse(const struct geojson *json, const char *what, struct error *err)
{
    return json_refuse(&json->stream, what, err);
}

/* --- Coordinates ------------------------------------------------------------------------------ */

/* The rest of an array that begins with a number. */
static bool read_position(struct geojson *json, struct error *err)
{
    double values[2] = { json->stream.number, NAN };
    enum json_token token;
    for (int count = 1;; count++) {
        if (!json_next(&json->stream, &token, err)) return false;
        if (token == TOKEN_ARRAY_END) break;
        if (token != TOKEN_NUMBER) return refuse(json, "a coordinate that is no number", err);
        if (count == 1) values[1] = json->stream.number;
    }
    for (int i = 0; i < 2; i++)
        if (!(fabs(values[i]) <= COORDINATE_MAX))
            return refuse(json, "a position that is not two numbers of pixels", err);
    json->position = (struct point) { values[0], values[1] };
    return true;
}

/* The part number `index` of an array, of the depth `part`, has been read: a ring gets its
 * points, a polygon its rings. */
static bool add_part(struct geojson *json, enum depth part, int64_t index, struct error *err)
{
    const char *why = NULL;
    if (part == POSITION) {
        if (!index) why = outlines_begin(json->set, &json->outline);
        if (!why) why = outlines_point(json->set, json->position.x, json->position.y);
    } else if (part == RING) {
        json->outline.hole = true;
    }
    return !why || refuse(json, why, err);
}

/* The rest of an array, whose parts are all of one depth. */
static bool read_array(struct geojson *json, enum depth *depth, int level, struct error *err)
{
    enum depth parts = EMPTY, part;
    enum json_token token;
    *depth = EMPTY;
    for (int64_t index = 0;; index++) {
        if (!json_next(&json->stream, &token, err)) return false;
        if (token == TOKEN_ARRAY_END) break;
        if (token == TOKEN_NUMBER && !index) {
            *depth = POSITION;
            return read_position(json, err);
        }
        if (token != TOKEN_ARRAY || level == POLYGONS)
            return refuse(json, "coordinates that are no arrays of positions", err);
        if (!read_array(json, &part, level + 1, err)) return false;
        if (index && part != parts)
            return refuse(json, "coordinates of different depths, or none in between", err);
        if (!add_part(json, part, index, err)) return false;
        parts = part;
    }
    if (parts == POSITION) outlines_close(json->set);
    if (parts == RING) json->outline.area++, json->outline.hole = false;
    *depth = parts == EMPTY ? EMPTY : parts + 1;
    return true;
}

/* --- Geometry --------------------------------------------------------------------------------- */

static bool end_geometry(struct geojson *json, struct feature *feature, struct error *err)
{
    char what[256];
    size_t i = 0;
    while (i < COUNT_OF(geometries) && strcmp(geometries[i].type, feature->type) != 0) i++;
    if (i == COUNT_OF(geometries)) {
        snprintf(what, sizeof what, "a geometry of the type '%.64s'; make it a Polygon",
                 SHOWN(feature->type));
        return refuse(json, what, err);
    }
    if (feature->depth != EMPTY && feature->depth != geometries[i].depth) {
        snprintf(what, sizeof what, "coordinates that are not nested as a %s's", feature->type);
        return refuse(json, what, err);
    }
    if (!geometries[i].area) {
        outlines_drop(json->set, feature->first);
        snprintf(what, sizeof what, "line %d", json->stream.line);
        outlines_leave_out(json->set, what);
    }
    return true;
}

static bool read_type(struct geojson *json, enum json_token token, struct feature *feature,
                      struct error *err)
{
    if (token != TOKEN_STRING) return refuse(json, "a type that is no text", err);
    snprintf(feature->type, sizeof feature->type, "%.31s", json->stream.text);
    return true;
}

static bool read_coordinates(struct geojson *json, enum json_token token, struct feature *feature,
                             struct error *err)
{
    if (token != TOKEN_ARRAY || feature->geometry)
        return refuse(json, "coordinates that are no array, or given twice", err);
    feature->geometry = true;
    json->outline.hole = false;
    return read_array(json, &feature->depth, POSITION, err);
}

/* The rest of an object. */
static bool read_geometry(struct geojson *json, struct feature *feature, struct error *err)
{
    enum json_token token;
    while (json_next(&json->stream, &token, err) && token == TOKEN_KEY) {
        const bool type = !strcmp(json->stream.text, "type");
        const bool coordinates = !strcmp(json->stream.text, "coordinates");
        if (!json_next(&json->stream, &token, err)) return false;
        if (!(type          ? read_type(json, token, feature, err)
              : coordinates ? read_coordinates(json, token, feature, err)
                            : json_skip(&json->stream, token, err)))
            return false;
    }
    return !err->code && end_geometry(json, feature, err);
}

/* --- Properties ------------------------------------------------------------------------------- */

/* An array of three bytes, or anything else, which is no colour. */
static bool read_color(struct geojson *json, enum json_token token, int32_t *color,
                       struct error *err)
{
    int32_t value = 0, count = 0;
    if (token != TOKEN_ARRAY) return json_skip(&json->stream, token, err);
    while (json_next(&json->stream, &token, err) && token != TOKEN_ARRAY_END) {
        const double byte = token == TOKEN_NUMBER ? json->stream.number : -1;
        if (!json_skip(&json->stream, token, err)) return false;
        if (count++ < 3 && byte >= 0 && byte <= 255)
            value = value << 8 | (int32_t)byte;
        else
            count = 4;
    }
    if (count == 3) *color = value;
    return !err->code;
}

/* Before QuPath 0.4: one number, with what it is of opacity in the highest byte. */
static void take_color_number(const struct geojson *json, enum json_token token, int32_t *color)
{
    if (token == TOKEN_NUMBER && fabs(json->stream.number) < 0x1p32)
        *color = (int32_t)((int64_t)json->stream.number & 0xffffff);
}

static bool take_class(struct geojson *json, struct feature *feature, struct error *err)
{
    const size_t used = strlen(feature->class);
    const int length = snprintf(feature->class + used, sizeof feature->class - used, "%s%s",
                                used ? ": " : "", json->stream.text);
    feature->classified = true;
    return (size_t)length < sizeof feature->class - used ||
           refuse(json, "a name of more than 127 bytes", err);
}

/* A text, or a list of a class's and its subclasses' names. */
static bool read_class_name(struct geojson *json, enum json_token token, struct feature *feature,
                            struct error *err)
{
    if (token == TOKEN_STRING) return take_class(json, feature, err);
    if (token != TOKEN_ARRAY) return json_skip(&json->stream, token, err);
    while (json_next(&json->stream, &token, err) && token != TOKEN_ARRAY_END)
        if (token == TOKEN_STRING ? !take_class(json, feature, err)
                                  : !json_skip(&json->stream, token, err))
            return false;
    return !err->code;
}

static bool read_classification(struct geojson *json, enum json_token token,
                                struct feature *feature, struct error *err)
{
    if (token != TOKEN_OBJECT) return read_class_name(json, token, feature, err);
    while (json_next(&json->stream, &token, err) && token == TOKEN_KEY) {
        const char *key = json->stream.text;
        const bool name = !strcmp(key, "name") || !strcmp(key, "names");
        const bool color = !strcmp(key, "color"), number = !strcmp(key, "colorRGB");
        if (!json_next(&json->stream, &token, err)) return false;
        if (number) take_color_number(json, token, &feature->class_color);
        if (name && feature->classified) *feature->class = 0; /* both say the same */
        if (!(name    ? read_class_name(json, token, feature, err)
              : color ? read_color(json, token, &feature->class_color, err)
                      : json_skip(&json->stream, token, err)))
            return false;
    }
    return !err->code;
}

/* The rest of an object. */
static bool read_properties(struct geojson *json, struct feature *feature, struct error *err)
{
    enum json_token token;
    while (json_next(&json->stream, &token, err) && token == TOKEN_KEY) {
        const char *key = json->stream.text;
        const bool class = !strcmp(key, "classification"), name = !strcmp(key, "name");
        const bool color = !strcmp(key, "color");
        if (!json_next(&json->stream, &token, err)) return false;
        if (name && token == TOKEN_STRING)
            snprintf(feature->name, sizeof feature->name, "%s", json->stream.text);
        if (!(class   ? read_classification(json, token, feature, err)
              : color ? read_color(json, token, &feature->color, err)
                      : json_skip(&json->stream, token, err)))
            return false;
    }
    return !err->code;
}

/* --- Features --------------------------------------------------------------------------------- */

/* Give the feature's outlines its names. */
static bool end_feature(struct geojson *json, const struct feature *feature, struct error *err)
{
    struct outlines *set = json->set;
    struct outline look = { .color = feature->class_color };
    if (look.color < 0) look.color = feature->color;
    if (feature->first == set->count) return true;
    const char *why = outlines_name(set, feature->classified ? feature->class : feature->name,
                                    &look.name);
    if (!why) why = outlines_title(set, feature->name, &look.title);
    if (why) return refuse(json, why, err);
    for (int64_t i = feature->first; i < set->count; i++) {
        set->outlines[i].name = look.name;
        set->outlines[i].title = look.title;
        set->outlines[i].color = look.color;
    }
    json->outline.object++;
    return true;
}

static bool read_feature(struct geojson *json, bool top, struct error *err);

/* The rest of an array of features. */
static bool read_features(struct geojson *json, struct error *err)
{
    enum json_token token;
    while (json_next(&json->stream, &token, err) && token != TOKEN_ARRAY_END) {
        if (token != TOKEN_OBJECT)
            return refuse(json, "not GeoJSON: a feature that is no object", err);
        if (!read_feature(json, false, err)) return false;
    }
    json->features++; /* none is an answer, too */
    return !err->code;
}

/* The rest of an object that is a feature, a geometry by itself or, at the top, a collection. */
static bool read_feature(struct geojson *json, bool top, struct error *err)
{
    struct feature feature = { .first = json->set->count, .color = -1, .class_color = -1 };
    bool bare = false;
    enum json_token token;
    while (json_next(&json->stream, &token, err) && token == TOKEN_KEY) {
        char key[16];
        snprintf(key, sizeof key, "%.15s", json->stream.text);
        if (!json_next(&json->stream, &token, err)) return false;
        const bool object = token == TOKEN_OBJECT;
        bool ok;
        json->features += !strcmp(key, "geometry") || !strcmp(key, "coordinates");
        if (!strcmp(key, "geometry") && object && !feature.geometry) {
            ok = read_geometry(json, &feature, err);
        } else if (!strcmp(key, "properties") && object) {
            ok = read_properties(json, &feature, err);
        } else if (!strcmp(key, "features") && token == TOKEN_ARRAY && top) {
            ok = read_features(json, err);
            feature.first = json->set->count;
        } else if (!strcmp(key, "coordinates")) {
            bare = true;
            ok = read_coordinates(json, token, &feature, err);
        } else if (!strcmp(key, "type") && (bare || !feature.geometry)) {
            ok = read_type(json, token, &feature, err);
        } else {
            ok = json_skip(&json->stream, token, err);
        }
        if (!ok) return false;
    }
    if (err->code || (bare && !end_geometry(json, &feature, err))) return false;
    return end_feature(json, &feature, err);
}

bool geojson_read(struct outlines *set, const char *path, const char *bytes, size_t size,
                  struct error *err)
{
    struct geojson json = { .set = set };
    enum json_token token;
    json_stream_init(&json.stream, path, bytes, size);
    if (!json_next(&json.stream, &token, err)) return false;
    if (!(token == TOKEN_ARRAY    ? read_features(&json, err)
          : token == TOKEN_OBJECT ? read_feature(&json, true, err)
                                  : refuse(&json, "not GeoJSON", err)) ||
        !json_next(&json.stream, &token, err))
        return false;
    if (json.features) return true;
    return error_set(err, EXIT_CODE_FAILED,
                     "%s: JSON, but not GeoJSON: it has neither features nor a geometry", path);
}
