/* The text of a manifest, as spreadsheets, pandas and people write it, as records of fields. */
#ifndef SLIDE_MANIFEST_TEXT_H
#define SLIDE_MANIFEST_TEXT_H

#include "micromet/base/error.h"
#include "micromet/base/file.h"

enum { MANIFEST_FIELDS_MAX = 256 };

/* A text being read; fields are terminated in place. */
struct manifest_text {
    char path[PATH_MAX_BYTES];
    char folder[PATH_MAX_BYTES];
    char *text, *at;
    int line; /* number of the line at `at` */
    char separator;
    bool in_rows; /* behind the header */
};

struct manifest_record {
    char *fields[MANIFEST_FIELDS_MAX];
    int count;
    int line; /* number of its first line */
};

/* Read the file and find what separates its fields: a comma, semicolon, tab or bar, whichever
 * makes `slide` a column of the header, or what a line `sep=;` says. UTF-8 or UTF-16, with or
 * without a byte order mark; lines may end with LF, CR LF or CR. */
bool manifest_text_open(struct manifest_text *text, const char *path, struct error *err);
void manifest_text_release(struct manifest_text *text);
/* The next record; record->count is 0 behind the last. Fields may be quoted as in RFC 4180.
 * Lines without any text, and lines that begin with '#', are skipped; but a '#' before the
 * header's names is left out, and a row that names a file beginning with '#' which exists is a
 * row. */
bool manifest_text_record(struct manifest_text *text, struct manifest_record *record,
                          struct error *err);

#endif
