/* See the header: libxml2's reader of a text in memory. */
#include "xml_input.h"

#include <libxml/xmlreader.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/text.h"
#include "outlines.h"

struct xml_input {
    const char *path;
    xmlTextReader *xml;
    char complaint[256];
    int complaint_line;
};

static void keep_complaint(void *user, xmlError *complaint)
{
    struct xml_input *input = user;
    if (*input->complaint || !complaint->message) return;
    snprintf(input->complaint, sizeof input->complaint, "%s", complaint->message);
    input->complaint[strcspn(input->complaint, "\n")] = 0;
    input->complaint_line = complaint->line;
}

bool xml_refuse(struct xml_input *input, const char *what, struct error *err)
{
    return error_set(err, EXIT_CODE_FAILED, "%s:%d: %s", input->path,
                     xmlTextReaderGetParserLineNumber(input->xml), what);
}

bool xml_text(struct xml_input *input, const char *name, char *text, size_t size, struct error *err)
{
    char what[96];
    xmlChar *value = xmlTextReaderGetAttribute(input->xml, (const xmlChar *)name);
    const int length = snprintf(text, size, "%s", value ? (const char *)value : "");
    xmlFree(value);
    if (length >= 0 && (size_t)length < size) return true;
    snprintf(what, sizeof what, "%s is longer than %zu bytes", name, size - 1);
    return xml_refuse(input, what, err);
}

bool xml_long_text(struct xml_input *input, const char *name, char **text, struct error *err)
{
    xmlChar *value = xmlTextReaderGetAttribute(input->xml, (const xmlChar *)name);
    *text = value ? strdup((const char *)value) : NULL;
    const bool ok = *text || !value;
    xmlFree(value);
    return ok || xml_refuse(input, "out of memory", err);
}

bool xml_number(struct xml_input *input, const char *name, double *value, struct error *err)
{
    char text[64], *end, what[512];
    if (!xml_text(input, name, text, sizeof text, err)) return false;
    *value = strtod(text, &end);
    if (end != text && !end[strspn(end, " \t\r\n")] && fabs(*value) <= COORDINATE_MAX) return true;
    snprintf(what, sizeof what, "%s=\"%.400s\" is not a number of pixels%s", name, SHOWN(text),
             strchr(text, ',') ? "; decimals have a point, not a comma" : "");
    return xml_refuse(input, what, err);
}

static bool read_nodes(struct xml_input *input, xml_visitor visit, void *context, struct error *err)
{
    int status;
    while ((status = xmlTextReaderRead(input->xml)) == 1) {
        const int type = xmlTextReaderNodeType(input->xml);
        if (type == XML_READER_TYPE_DOCUMENT_TYPE)
            return xml_refuse(input, "a document type is not allowed in an annotation", err);
        if (type != XML_READER_TYPE_ELEMENT && type != XML_READER_TYPE_END_ELEMENT) continue;
        const bool ends = type == XML_READER_TYPE_END_ELEMENT;
        const bool empty = !ends && xmlTextReaderIsEmptyElement(input->xml) == 1;
        const char *name = (const char *)xmlTextReaderConstLocalName(input->xml);
        if (!visit(context, input, name, ends, err) ||
            (empty && !visit(context, input, name, true, err)))
            return false;
    }
    return status == 0 || error_set(err, EXIT_CODE_FAILED, "%s:%d: not well-formed XML: %s",
                                    input->path, input->complaint_line, input->complaint);
}

bool xml_input_read(const char *path, const char *bytes, size_t size, xml_visitor visit,
                    void *context, struct error *err)
{
    struct xml_input input = { .path = path };
    input.xml = xmlReaderForMemory(bytes, (int)size, NULL, NULL, XML_PARSE_NONET);
    if (!input.xml) return error_set(err, EXIT_CODE_FAILED, "%s: cannot be read as XML", path);
    xmlTextReaderSetStructuredErrorHandler(input.xml, (xmlStructuredErrorFunc)keep_complaint,
                                           &input);
    const bool ok = read_nodes(&input, visit, context, err);
    xmlFreeTextReader(input.xml);
    return ok;
}
