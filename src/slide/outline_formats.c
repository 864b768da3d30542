/* Reads a file of outlines, packed by gzip or not, and tells its format by its root: XML's first
 * element, or JSON's first bracket. */
#include "outline_formats.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "micromet/base/size.h"
#include "micromet/base/text.h"

enum { FILE_MAX = 256 << 20, CHUNK = 1 << 16 };

/* Roots of XML. Without a reader they are refused by their program's name. */
static const struct {
    const char *root;
    enum outline_format format;
    xml_visitor element;
    const char *program;
} roots[] = {
    { "ASAP_Annotations", OUTLINES_ASAP, asap_xml_element, NULL },
    { "Annotations", OUTLINES_IMAGESCOPE, region_xml_element, NULL },
    { "annotations", OUTLINES_IMAGESCOPE, NULL, "Hamamatsu NDP.view" },
};

struct document {
    struct outline_reader reader;
    xml_visitor element; /* of the root; NULL before it */
};

static bool begin_root(struct document *document, struct xml_input *input, const char *name,
                       struct error *err)
{
    char what[1024];
    const char *program = NULL;
    for (size_t i = 0; i < COUNT_OF(roots); i++) {
        if (strcmp(name, roots[i].root) != 0) continue;
        document->element = roots[i].element;
        document->reader.format = roots[i].format;
        program = roots[i].program;
    }
    if (document->element) return true;
    snprintf(what, sizeof what,
             "the file begins with <%.200s>%s%s, not with <ASAP_Annotations>, nor with "
             "<Annotations> as those of ImageScope and HALO; save the outlines as one of these, as "
             "GeoJSON, or as a mask",
             SHOWN(name), program ? ", as those of " : "", program ? program : "");
    return xml_refuse(input, what, err);
}

static bool visit(void *context, struct xml_input *input, const char *element, bool ends,
                  struct error *err)
{
    struct document *document = context;
    if (!document->element) return begin_root(document, input, element, err);
    return document->element(&document->reader, input, element, ends, err);
}

static bool read_xml(struct outlines *set, enum outline_format *format, const char *path,
                     const char *bytes, size_t size, struct error *err)
{
    struct document document = { .reader = { .set = set } };
    const bool ok = xml_input_read(path, bytes, size, visit, &document, err);
    free(document.reader.scratch);
    free(document.reader.rings);
    *format = document.reader.format;
    return ok;
}

/* All bytes of a file, unpacked if it is packed by gzip; *bytes is malloc'ed. */
static bool read_unpacked(const char *path, char **bytes, size_t *size, struct error *err)
{
    gzFile file = gzopen(path, "rb");
    size_t capacity = 0;
    int got = 0;
    *bytes = NULL;
    *size = 0;
    if (!file) return error_set(err, EXIT_CODE_FAILED, "%s: cannot open", path);
    do {
        *size += (size_t)got;
        if (*size + CHUNK + 1 > capacity) {
            capacity = capacity ? 2 * capacity : 2 * CHUNK;
            char *moved = *size <= FILE_MAX ? realloc(*bytes, capacity) : NULL;
            if (!moved) {
                error_set(err, EXIT_CODE_FAILED, "%s: larger than %d MiB, or no memory for it",
                          path, FILE_MAX >> 20);
                break;
            }
            *bytes = moved;
        }
    } while ((got = gzread(file, *bytes + *size, CHUNK)) > 0);
    if (got < 0) error_set(err, EXIT_CODE_FAILED, "%s: cannot be read or unpacked", path);
    if (gzclose(file) != Z_OK && got >= 0)
        error_set(err, EXIT_CODE_FAILED, "%s: is cut short", path);
    if (!err->code) (*bytes)[*size] = 0;
    if (!err->code) return true;
    free(*bytes);
    *bytes = NULL;
    return false;
}

bool outlines_read(struct outlines *set, enum outline_format *format, const char *path,
                   struct error *err)
{
    char *bytes;
    size_t size, start = 0;
    *set = (struct outlines) { 0 };
    if (!read_unpacked(path, &bytes, &size, err)) return false;
    if (size >= 3 && !memcmp(bytes, "\xef\xbb\xbf", 3)) start = 3;
    while (start < size && strchr(" \t\r\n", bytes[start]) && bytes[start]) start++;
    const bool json = start < size && (bytes[start] == '{' || bytes[start] == '[');
    *format = OUTLINES_GEOJSON;
    const bool ok = json ? geojson_read(set, path, bytes, size, err)
                         : read_xml(set, format, path, bytes, size, err);
    free(bytes);
    if (ok)
        outlines_count_names(set);
    else
        outlines_release(set);
    return ok;
}
