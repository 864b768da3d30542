/* Values of JSON from what may be undefined, or no text. */
#ifndef MICROMET_FORMAT_JSON_H
#define MICROMET_FORMAT_JSON_H

#include <jansson.h>

#include "micromet/base/error.h"

/* null for NaN, which JSON does not know. */
json_t *json_number(double value);
/* A name of a file, of any bytes: those that are no UTF-8 become \xNN. */
json_t *json_name(const char *name);
/* The path from the root, which means the same in any folder, if the file is there. */
json_t *json_path(const char *path);
/* The object that an earlier run left in a file; NULL if there is none that can be read. */
json_t *json_read_object(const char *path);
/* Write a file whole, with numbers of nine digits; takes the object. */
bool json_write(const char *path, json_t *object, struct error *err);

#endif
