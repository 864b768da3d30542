/* See the header. The text is brought into one form first, UTF-8 with LF, then read in place. */
#include "manifest_text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "micromet/base/size.h"

enum { TEXT_BYTES_MAX = 64 << 20 };

static const char separators[] = ",;\t|";

/* --- One form --------------------------------------------------------------------------------- */

/* Files that people take for a CSV, by their first bytes. */
static const struct {
    const char *bytes, *what;
} no_texts[] = {
    { "PK\3\4", "is an Excel workbook or another zip; save it as CSV" },
    { "\xd0\xcf\x11\xe0", "is an Excel workbook; save it as CSV" },
    { "\x1f\x8b", "is compressed; unpack it" },
    { "%PDF", "is a PDF; a manifest is a CSV" },
};

/* Append a character as UTF-8. */
static char *put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) return *to++ = (char)c, to;
    const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char leads[] = { 0, 0xc0, 0xe0, 0xf0 };
    *to++ = (char)(leads[more] | c >> (6 * more));
    for (int i = more - 1; i >= 0; i--) *to++ = (char)(0x80 | (c >> (6 * i) & 0x3f));
    return to;
}

static uint32_t unit_at(const uint8_t *bytes, size_t at, bool big_endian)
{
    return (uint32_t)bytes[at + !big_endian] << 8 | bytes[at + big_endian];
}

/* Convert UTF-16 into malloc'ed UTF-8; lone surrogates become U+FFFD. */
static char *from_utf16(const uint8_t *bytes, size_t size, bool big_endian)
{
    char *text = malloc(size / 2 * 3 + 1), *to = text;
    if (!text) return NULL;
    for (size_t at = 0; at + 1 < size; at += 2) {
        uint32_t c = unit_at(bytes, at, big_endian);
        const uint32_t low = at + 3 < size ? unit_at(bytes, at + 2, big_endian) : 0;
        if (c >= 0xd800 && c < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
            at += 2;
        } else if (c >= 0xd800 && c < 0xe000) {
            c = 0xfffd;
        }
        to = put_utf8(to, c ? c : 0xfffd);
    }
    *to = 0;
    return text;
}

/* Without a byte order mark: the first letter has a zero beside it. */
static bool is_utf16(const char *text, size_t size, bool *big_endian)
{
    if (size < 2 || size % 2) return false;
    *big_endian = !memcmp(text, "\xfe\xff", 2) || (!text[0] && text[1]);
    return *big_endian || !memcmp(text, "\xff\xfe", 2) || (text[0] && !text[1]);
}

/* CR LF and CR become LF. */
static void unify_lines(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        if (from[0] == '\r' && from[1] == '\n') continue;
        *to++ = *from == '\r' ? '\n' : *from;
    }
    *to = 0;
}

static bool to_one_form(struct manifest_text *text, size_t size, struct error *err)
{
    bool big_endian;
    for (size_t i = 0; i < COUNT_OF(no_texts); i++)
        if (strncmp(text->text, no_texts[i].bytes, strlen(no_texts[i].bytes)) == 0)
            return error_set(err, EXIT_CODE_USAGE, "%s: %s", text->path, no_texts[i].what);
    if (is_utf16(text->text, size, &big_endian)) {
        char *utf8 = from_utf16((const uint8_t *)text->text, size, big_endian);
        if (!utf8) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", text->path);
        free(text->text);
        text->text = utf8;
        size = strlen(utf8);
    }
    if (memchr(text->text, 0, size))
        return error_set(err, EXIT_CODE_USAGE,
                         "%s: holds a zero byte, so it is no CSV; save it as CSV in UTF-8",
                         text->path);
    text->at = text->text;
    if (strncmp(text->at, "\xef\xbb\xbf", 3) == 0) text->at += 3; /* byte order mark */
    unify_lines(text->at);
    return true;
}

/* --- The separator ---------------------------------------------------------------------------- */

/* Whether the line has a field `slide`. */
static bool has_slide(const char *line, char separator)
{
    static const char column[] = "slide";
    const char ends[] = { separator, '\n', 0 };
    const size_t length = strlen(column);
    for (;; line++) {
        line += strspn(line, " \"#");
        if (!strncasecmp(line, column, length) &&
            strchr(ends, line[length + strspn(line + length, " \"")]))
            return true;
        line += strcspn(line, ends);
        if (*line != separator) return false;
    }
}

/* The separator with which a line is the header, or 0. */
static char header_separator(const char *line)
{
    for (const char *s = separators; *s; s++)
        if (has_slide(line, *s)) return *s;
    return 0;
}

static void next_line(struct manifest_text *text)
{
    text->at += strcspn(text->at, "\n");
    if (*text->at) text->at++, text->line++;
}

/* Go behind blank lines; blanks before the first field stay, since they may separate. */
static void skip_blank_lines(struct manifest_text *text)
{
    for (size_t blanks; blanks = strspn(text->at, " \t"), text->at[blanks] == '\n';) {
        text->at += blanks + 1;
        text->line++;
    }
    if (!text->at[strspn(text->at, " \t")]) text->at += strlen(text->at);
}

/* Go to the header, and find the separator; without a header, stay at the first line. */
static void find_header(struct manifest_text *text)
{
    text->separator = separators[0];
    skip_blank_lines(text);
    if (!strncasecmp(text->at, "sep=", 4) && text->at[4] && strchr(separators, text->at[4])) {
        text->separator = text->at[4];
        next_line(text);
        skip_blank_lines(text);
    }
    while (*text->at == '#' && !header_separator(text->at)) {
        next_line(text);
        skip_blank_lines(text);
    }
    const char separator = header_separator(text->at);
    if (separator && !has_slide(text->at, text->separator)) text->separator = separator;
    text->at += strspn(text->at, "# ");
}

bool manifest_text_open(struct manifest_text *text, const char *path, struct error *err)
{
    size_t size;
    *text = (struct manifest_text) { .line = 1 };
    if (!path_join(text->path, "", path, err) ||
        !file_read(path, TEXT_BYTES_MAX, &text->text, &size, err))
        return false;
    path_folder(text->folder, text->path);
    if (!to_one_form(text, size, err)) {
        manifest_text_release(text);
        return false;
    }
    find_header(text);
    return true;
}

void manifest_text_release(struct manifest_text *text)
{
    free(text->text);
    *text = (struct manifest_text) { 0 };
}

/* --- Records ---------------------------------------------------------------------------------- */

/* What looks like nothing: blanks, no-break and zero-width ones, byte order marks. */
static const char *const blanks[] = { " ", "\t", "\xc2\xa0", "\xe2\x80\x8b", "\xef\xbb\xbf" };

static char *trim(char *field)
{
    size_t left = strlen(field);
    for (size_t i = 0; i < COUNT_OF(blanks);) { /* after each one that is found, from the first */
        const size_t blank = strlen(blanks[i]);
        const bool starts = left >= blank && memcmp(field, blanks[i], blank) == 0;
        const bool ends = left >= blank && memcmp(field + left - blank, blanks[i], blank) == 0;
        if (starts) field += blank;
        if (starts || ends) left -= blank;
        i = starts || ends ? 0 : i + 1;
    }
    field[left] = 0;
    return field;
}

/* Read a quoted field, in which "" means one quote. Advances text->at past the closing quote and
 * following blanks. */
static bool read_quoted(struct manifest_text *text, char **field, struct error *err)
{
    const int line = text->line;
    char *out = ++text->at;

    *field = out;
    for (; *text->at; text->at++) {
        if (*text->at == '\n') text->line++;
        if (*text->at == '"' && *++text->at != '"') {
            while (*text->at == ' ' || (*text->at == '\t' && text->separator != '\t')) text->at++;
            if (*text->at && *text->at != text->separator && *text->at != '\n')
                return error_set(err, EXIT_CODE_USAGE, "%s:%d: text behind a closing quote",
                                 text->path, text->line);
            *out = 0;
            return true;
        }
        *out++ = *text->at;
    }
    return error_set(err, EXIT_CODE_USAGE, "%s:%d: a quote is never closed", text->path, line);
}

/* Read one field and its end; *more: another one follows in the record. */
static bool read_field(struct manifest_text *text, char **field, bool *more, struct error *err)
{
    const char ends[] = { text->separator, '\n', 0 };
    while (*text->at == ' ' || (*text->at == '\t' && text->separator != '\t')) text->at++;
    const bool quoted = *text->at == '"';
    *field = text->at;
    if (quoted && !read_quoted(text, field, err)) return false;
    if (!quoted) text->at += strcspn(text->at, ends);
    const char end = *text->at;
    *more = end == text->separator;
    *text->at = 0;
    if (end) text->at++;
    if (end == '\n') text->line++;
    if (!quoted) *field = trim(*field);
    return true;
}

/* A line that begins with '#' is a row only if it names a file that exists. */
static bool is_comment(const struct manifest_text *text)
{
    char name[PATH_MAX_BYTES], path[PATH_MAX_BYTES];
    const char ends[] = { text->separator, '\n', 0 };
    const char *at = text->at + strspn(text->at, " ");
    const size_t length = strcspn(at, ends);
    struct error ignored = { 0 };
    if (*at != '#') return false;
    if (length >= sizeof name) return true;
    snprintf(name, sizeof name, "%.*s", (int)length, at);
    return !path_join(path, text->folder, trim(name), &ignored) || !file_exists(path);
}

static bool is_empty(const struct manifest_record *record)
{
    for (int i = 0; i < record->count; i++)
        if (*record->fields[i]) return false;
    return true;
}

/* The record at the start of a line that is neither blank nor a comment. */
static bool read_record(struct manifest_text *text, struct manifest_record *record,
                        struct error *err)
{
    bool more = *text->at != 0;
    record->line = text->line;
    for (record->count = 0; more;) {
        if (record->count == MANIFEST_FIELDS_MAX)
            return error_set(err, EXIT_CODE_USAGE, "%s:%d: more than %d fields", text->path,
                             record->line, MANIFEST_FIELDS_MAX);
        if (!read_field(text, &record->fields[record->count++], &more, err)) return false;
    }
    return true;
}

bool manifest_text_record(struct manifest_text *text, struct manifest_record *record,
                          struct error *err)
{
    do {
        skip_blank_lines(text);
        while (text->in_rows && is_comment(text)) {
            next_line(text);
            skip_blank_lines(text);
        }
        if (!read_record(text, record, err)) return false;
    } while (record->count && is_empty(record));
    text->in_rows = true;
    return true;
}
