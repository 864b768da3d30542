/* A tokenizer with a bit for each open bracket (RFC 8259). The text must end with a NUL. */
#include "micromet/format/json_stream.h"

#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"
#include "micromet/base/text.h"

enum state { EXPECT_VALUE, EXPECT_FIRST, EXPECT_NEXT, EXPECT_KEY, EXPECT_NOTHING };

void json_stream_init(struct json_stream *stream, const char *path, const char *bytes, size_t size)
{
    stream->path = path;
    stream->at = bytes;
    stream->end = bytes + size;
    stream->line = 1;
    stream->state = EXPECT_VALUE;
    stream->depth = 0;
    stream->objects = 0;
    stream->cut = false;
    *stream->text = 0;
    if (size >= 3 && !memcmp(bytes, "\xef\xbb\xbf", 3)) stream->at += 3;
}

bool json_refuse(const struct json_stream *stream, const char *what, struct error *err)
{
    return error_set(err, EXIT_CODE_FAILED, "%s:%d: %s", stream->path, stream->line, what);
}

static bool in_object(const struct json_stream *stream)
{
    return stream->depth > 0 && (stream->objects >> (stream->depth - 1) & 1);
}

static void skip_space(struct json_stream *stream)
{
    for (; stream->at < stream->end && *stream->at && strchr(" \t\r\n", *stream->at); stream->at++)
        stream->line += *stream->at == '\n';
}

/* After a value. */
static void settle(struct json_stream *stream)
{
    stream->state = stream->depth ? EXPECT_NEXT : EXPECT_NOTHING;
}

static bool open_bracket(struct json_stream *stream, bool object, struct error *err)
{
    if (stream->depth == JSON_DEPTH_MAX)
        return json_refuse(stream, "JSON that is nested more than 64 deep", err);
    const uint64_t bit = UINT64_C(1) << stream->depth++;
    stream->objects = object ? stream->objects | bit : stream->objects & ~bit;
    stream->state = EXPECT_FIRST;
    stream->at++;
    return true;
}

/* --- Strings ---------------------------------------------------------------------------------- */

struct text {
    char *bytes;
    size_t count;
    bool cut;
};

static void put(struct text *text, const char *bytes, size_t count)
{
    if (text->cut || text->count + count >= JSON_TEXT_MAX) {
        text->cut = true;
        return;
    }
    memcpy(text->bytes + text->count, bytes, count);
    text->count += count;
}

static void put_code_point(struct text *text, uint32_t point)
{
    char utf8[4];
    if (point < 0x80) {
        utf8[0] = (char)point;
        put(text, utf8, 1);
    } else if (point < 0x800) {
        utf8[0] = (char)(0xc0 | point >> 6);
        utf8[1] = (char)(0x80 | (point & 0x3f));
        put(text, utf8, 2);
    } else if (point < 0x10000) {
        utf8[0] = (char)(0xe0 | point >> 12);
        utf8[1] = (char)(0x80 | (point >> 6 & 0x3f));
        utf8[2] = (char)(0x80 | (point & 0x3f));
        put(text, utf8, 3);
    } else {
        utf8[0] = (char)(0xf0 | point >> 18);
        utf8[1] = (char)(0x80 | (point >> 12 & 0x3f));
        utf8[2] = (char)(0x80 | (point >> 6 & 0x3f));
        utf8[3] = (char)(0x80 | (point & 0x3f));
        put(text, utf8, 4);
    }
}

/* The four digits behind \u, or -1. */
static int32_t read_unit(const char *at, const char *end)
{
    int32_t unit = 0;
    if (end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *digit = at[i] ? strchr(digits, at[i]) : NULL;
        if (!digit) return -1;
        unit = unit << 4 | (int32_t)((digit - digits) % 16);
    }
    return unit;
}

/* Behind a backslash. */
static bool read_escape(struct json_stream *stream, struct text *text, struct error *err)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char letter = stream->at < stream->end ? *stream->at++ : 0;
    const char *known = letter ? strchr(letters, letter) : NULL;
    if (known) {
        put(text, &meant[known - letters], 1);
        return true;
    }
    int32_t point = letter == 'u' ? read_unit(stream->at, stream->end) : -1;
    if (point <= 0) return json_refuse(stream, "a bad escape in a string", err);
    stream->at += 4;
    if (point >= 0xd800 && point < 0xdc00 && stream->end - stream->at >= 6 &&
        stream->at[0] == '\\' && stream->at[1] == 'u') {
        const int32_t low = read_unit(stream->at + 2, stream->end);
        if (low >= 0xdc00 && low < 0xe000) {
            point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
            stream->at += 6;
        }
    }
    if (point >= 0xd800 && point < 0xe000)
        return json_refuse(stream, "half of a surrogate pair in a string", err);
    put_code_point(text, (uint32_t)point);
    return true;
}

static bool read_string(struct json_stream *stream, struct error *err)
{
    struct text text = { .bytes = stream->text };
    for (stream->at++; stream->at < stream->end && *stream->at != '"';) {
        const char *start = stream->at;
        if ((unsigned char)*start < 0x20)
            return json_refuse(stream, "a control character in a string", err);
        if (*start == '\\') {
            stream->at++;
            if (!read_escape(stream, &text, err)) return false;
            continue;
        }
        if (text_utf8_next(&stream->at) < 0)
            return json_refuse(stream, "a string that is not UTF-8", err);
        put(&text, start, (size_t)(stream->at - start));
    }
    if (stream->at == stream->end) return json_refuse(stream, "a string without an end", err);
    stream->at++;
    stream->text[text.count] = 0;
    stream->cut = text.cut;
    return true;
}

/* --- Values ----------------------------------------------------------------------------------- */

static bool read_number(struct json_stream *stream, struct error *err)
{
    const char *at = stream->at, *digits;
    at += *at == '-';
    digits = at;
    at += strspn(at, "0123456789");
    bool good = at > digits && (*digits != '0' || at == digits + 1);
    if (*at == '.') {
        digits = ++at;
        at += strspn(at, "0123456789");
        good = good && at > digits;
    }
    if (*at == 'e' || *at == 'E') {
        at++;
        at += *at == '-' || *at == '+';
        digits = at;
        at += strspn(at, "0123456789");
        good = good && at > digits;
    }
    if (!good) return json_refuse(stream, "this is no JSON: a value was expected", err);
    stream->number = strtod(stream->at, NULL);
    stream->at = at;
    return true;
}

static bool read_word(struct json_stream *stream, enum json_token *token)
{
    static const struct {
        const char *word;
        enum json_token token;
    } words[] = { { "true", TOKEN_TRUE }, { "false", TOKEN_FALSE }, { "null", TOKEN_NULL } };
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        const size_t length = strlen(words[i].word);
        if (strncmp(stream->at, words[i].word, length) != 0) continue;
        stream->at += length;
        *token = words[i].token;
        return true;
    }
    return false;
}

static bool read_value(struct json_stream *stream, enum json_token *token, struct error *err)
{
    const char first = stream->at < stream->end ? *stream->at : 0;
    if (!first) return json_refuse(stream, "the JSON is cut short", err);
    if (first == '{' || first == '[') {
        *token = first == '{' ? TOKEN_OBJECT : TOKEN_ARRAY;
        return open_bracket(stream, first == '{', err);
    }
    *token = first == '"' ? TOKEN_STRING : TOKEN_NUMBER;
    if (first == '"' ? !read_string(stream, err)
                     : !read_word(stream, token) && !read_number(stream, err))
        return false;
    settle(stream);
    return true;
}

static bool read_key(struct json_stream *stream, enum json_token *token, struct error *err)
{
    if (stream->at == stream->end || *stream->at != '"')
        return json_refuse(stream, "this is no JSON: a key in double quotes was expected", err);
    if (!read_string(stream, err)) return false;
    skip_space(stream);
    if (stream->at == stream->end || *stream->at != ':')
        return json_refuse(stream, "this is no JSON: a colon was expected behind a key", err);
    stream->at++;
    stream->state = EXPECT_VALUE;
    *token = TOKEN_KEY;
    return true;
}

bool json_next(struct json_stream *stream, enum json_token *token, struct error *err)
{
    skip_space(stream);
    const bool object = in_object(stream);
    if (stream->state == EXPECT_NOTHING) {
        *token = TOKEN_END;
        return stream->at == stream->end || json_refuse(stream, "more behind the JSON's end", err);
    }
    if (stream->at < stream->end && *stream->at == (object ? '}' : ']') && stream->depth &&
        (stream->state == EXPECT_FIRST || stream->state == EXPECT_NEXT)) {
        stream->at++;
        stream->depth--;
        settle(stream);
        *token = object ? TOKEN_OBJECT_END : TOKEN_ARRAY_END;
        return true;
    }
    if (stream->state == EXPECT_NEXT) {
        if (stream->at == stream->end) return json_refuse(stream, "the JSON is cut short", err);
        if (*stream->at != ',')
            return json_refuse(stream, "this is no JSON: a comma or a bracket was expected", err);
        stream->at++;
        skip_space(stream);
        stream->state = object ? EXPECT_KEY : EXPECT_VALUE;
    }
    if (object && stream->state != EXPECT_VALUE) return read_key(stream, token, err);
    return read_value(stream, token, err);
}

bool json_skip(struct json_stream *stream, enum json_token first, struct error *err)
{
    if (first != TOKEN_OBJECT && first != TOKEN_ARRAY) return true;
    const int outside = stream->depth - 1;
    while (stream->depth > outside)
        if (!json_next(stream, &first, err)) return false;
    return true;
}
