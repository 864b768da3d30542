/* JSON token by token, for files of strangers: memory does not grow with the file, and errors name
 * the line. */
#ifndef MICROMET_FORMAT_JSON_STREAM_H
#define MICROMET_FORMAT_JSON_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "micromet/base/error.h"

enum json_token {
    TOKEN_END, /* of the file */
    TOKEN_OBJECT,
    TOKEN_OBJECT_END,
    TOKEN_ARRAY,
    TOKEN_ARRAY_END,
    TOKEN_KEY, /* in `text`; the value follows */
    TOKEN_STRING,
    TOKEN_NUMBER,
    TOKEN_TRUE,
    TOKEN_FALSE,
    TOKEN_NULL,
};

enum { JSON_TEXT_MAX = 4096, JSON_DEPTH_MAX = 64 };

struct json_stream {
    const char *path, *at, *end;
    int line;
    int state; /* what may come next */
    int depth;
    uint64_t objects;         /* by depth: whether it is an object */
    char text[JSON_TEXT_MAX]; /* of the last key or string, as UTF-8; cut if it is longer */
    bool cut;
    double number;
};

void json_stream_init(struct json_stream *stream, const char *path, const char *bytes, size_t size);
bool json_next(struct json_stream *stream, enum json_token *token, struct error *err);
/* Go behind the value that begins with this token. */
bool json_skip(struct json_stream *stream, enum json_token first, struct error *err);
/* An error at this place; always returns false. */
bool json_refuse(const struct json_stream *stream, const char *what, struct error *err);

#endif
