/* The formats of outlines: their readers, and what tells them. A new one is a row of the table in
 * outline_formats.c. */
#ifndef SLIDE_OUTLINE_FORMATS_H
#define SLIDE_OUTLINE_FORMATS_H

#include "micromet/slide/annotation.h"
#include "outlines.h"
#include "xml_input.h"

/* Read the file, which may be compressed by gzip, into *set; empty after a failure. */
bool outlines_read(struct outlines *set, enum outline_format *format, const char *path,
                   struct error *err);

struct numbered_point {
    double order;
    struct point point;
};
/* Where a reader of XML is, which is called for each element below the root. */
struct outline_reader {
    struct outlines *set;
    enum outline_format format;     /* region_xml.c finds out which of two */
    struct outline outline;         /* what the next one begins with */
    bool layer, open;               /* inside a layer; an outline is being read, */
    int shape;                      /* of this kind, */
    char *rings;                    /* of rings of so many points; NULL = one ring, */
    struct numbered_point *scratch; /* and these points */
    int64_t scratch_count, scratch_capacity, numbered;
};
/* outline_reader.c: NULL, or why not. */
const char *outline_reader_point(struct outline_reader *reader, struct numbered_point point);

bool asap_xml_element(void *reader, struct xml_input *input, const char *element, bool ends,
                      struct error *err);
bool region_xml_element(void *reader, struct xml_input *input, const char *element, bool ends,
                        struct error *err);
bool geojson_read(struct outlines *set, const char *path, const char *bytes, size_t size,
                  struct error *err);

#endif
