/* XML of strangers, element by element: no network access, no document type (hence no entities).
 * Errors name the line. */
#ifndef SLIDE_XML_INPUT_H
#define SLIDE_XML_INPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "micromet/base/error.h"

struct xml_input;

/* Called where an element begins, and where it ends. */
typedef bool (*xml_visitor)(void *context, struct xml_input *input, const char *element, bool ends,
                            struct error *err);

/* `path` appears in errors. */
bool xml_input_read(const char *path, const char *bytes, size_t size, xml_visitor visit,
                    void *context, struct error *err);

/* An error at this place; always returns false. */
bool xml_refuse(struct xml_input *input, const char *what, struct error *err);

/* An attribute's text, empty if absent. Refuses one that does not fit into `size` bytes. */
bool xml_text(struct xml_input *input, const char *name, char *text, size_t size,
              struct error *err);
/* The same of any length; *text is malloc'ed, NULL if the attribute is absent. */
bool xml_long_text(struct xml_input *input, const char *name, char **text, struct error *err);
/* An attribute's number of pixels. */
bool xml_number(struct xml_input *input, const char *name, double *value, struct error *err);

#endif
