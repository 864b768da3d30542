/* Texts made fit for terminals, shells, JSON and CSV; edit distance (with transpositions), for the
 * suggestions in error messages. */
#include "micromet/base/text.h"

#include <string.h>

int32_t text_utf8_next(const char **text)
{
    const unsigned char *p = (const unsigned char *)*text;
    const int extra = p[0] < 0x80 ? 0 : p[0] >> 5 == 6 ? 1 : p[0] >> 4 == 14 ? 2 : 3;
    if (extra == 3 && p[0] >> 3 != 30) return -1;
    int32_t point = extra ? p[0] & (0x3f >> extra) : p[0];
    for (int i = 1; i <= extra; i++) {
        if (p[i] >> 6 != 2) return -1;
        point = point << 6 | (p[i] & 0x3f);
    }
    static const int32_t smallest[] = { 0, 0x80, 0x800, 0x10000 };
    if (point < smallest[extra] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
        return -1;
    *text += extra + 1;
    return point;
}

bool text_is_utf8(const char *text)
{
    while (*text)
        if (text_utf8_next(&text) < 0) return false;
    return true;
}

/* Which characters a text keeps as they are, besides the printable ones. */
enum keep { KEEP_NONE, KEEP_LINES_AND_TABS, KEEP_CONTROLS };

static bool kept(int32_t point, enum keep keep)
{
    const bool control = point < 0x20 || (point >= 0x7f && point < 0xa0);
    const bool separator = point == 0x2028 || point == 0x2029;
    const bool direction = (point >= 0x202a && point <= 0x202e) ||
                           (point >= 0x2066 && point <= 0x2069);
    if (!control && !separator && !direction) return true;
    return keep == KEEP_CONTROLS ||
           (keep == KEEP_LINES_AND_TABS && (point == '\n' || point == '\r' || point == '\t'));
}

/* The next character of *text, or what stands for it; returns its bytes. */
enum { CHARACTER_MAX = 8 };
static size_t next_character(const char **text, enum keep keep, char out[CHARACTER_MAX])
{
    const char *start = *text;
    const int32_t point = text_utf8_next(text);
    if (point < 0) {
        ++*text;
        return (size_t)snprintf(out, CHARACTER_MAX, "\\x%02x", (unsigned char)*start);
    }
    if (kept(point, keep)) {
        const size_t bytes = (size_t)(*text - start);
        memcpy(out, start, bytes);
        return bytes;
    }
    if (point == '\n' || point == '\t')
        return (size_t)snprintf(out, CHARACTER_MAX, point == '\n' ? "\\n" : "\\t");
    return (size_t)snprintf(out, CHARACTER_MAX, point < 0x80 ? "\\x%02x" : "\\u%04x",
                            (unsigned)point);
}

static const char *copy(char out[TEXT_SHOWN_MAX], const char *text, enum keep keep)
{
    size_t size = 0;
    while (*text && size + CHARACTER_MAX < TEXT_SHOWN_MAX)
        size += next_character(&text, keep, out + size);
    out[size] = '\0';
    return out;
}

const char *text_shown(char out[TEXT_SHOWN_MAX], const char *text)
{
    return copy(out, text, KEEP_NONE);
}

void text_print_shown(FILE *stream, const char *text)
{
    char character[CHARACTER_MAX];
    while (*text) fwrite(character, 1, next_character(&text, KEEP_NONE, character), stream);
}

/* --- words of the shell ------------------------------------------------------------------------*/

static bool is_plain_word(const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_./=:,@%+-";
    return *text && !text[strspn(text, plain)];
}

void text_print_word(FILE *stream, const char *text)
{
    const char *quote = is_plain_word(text) ? "" : "'";
    fputs(quote, stream);
    for (; *text; text++)
        if (*text == '\'')
            fputs("'\\''", stream);
        else
            fputc(*text, stream);
    fputs(quote, stream);
}

static bool fits_terminal(const char *text)
{
    while (*text)
        if (!kept(text_utf8_next(&text), KEEP_NONE)) return false;
    return true;
}

/* The next character of *text within '...', or within $'...', where each byte of what cannot be
 * shown stands as \ooo; returns its bytes. */
enum { QUOTED_MAX = 4 * 4 + 1 };
static size_t quote_next(const char **text, bool dollar, char out[QUOTED_MAX])
{
    const char *start = *text;
    const int32_t point = text_utf8_next(text);
    size_t size = 0;
    if (point < 0) ++*text;
    if (*start == '\'') return (size_t)snprintf(out, QUOTED_MAX, dollar ? "\\'" : "'\\''");
    if (*start == '\\' && dollar) return (size_t)snprintf(out, QUOTED_MAX, "\\\\");
    for (const char *at = start; at < *text; at++)
        if (kept(point, KEEP_NONE))
            out[size++] = *at;
        else
            size += (size_t)snprintf(out + size, 5, "\\%03o", (unsigned char)*at);
    return size;
}

const char *text_word(char out[TEXT_SHOWN_MAX], const char *text)
{
    const bool plain = is_plain_word(text), dollar = !plain && !fits_terminal(text);
    size_t size = (size_t)snprintf(out, TEXT_SHOWN_MAX, "%s", plain ? "" : dollar ? "$'" : "'");
    while (*text && size + QUOTED_MAX + 2 < TEXT_SHOWN_MAX)
        size += quote_next(&text, dollar, out + size);
    snprintf(out + size, TEXT_SHOWN_MAX - size, "%s", plain ? "" : "'");
    return out;
}

/* -----------------------------------------------------------------------------------------------*/

const char *text_utf8(char out[TEXT_SHOWN_MAX], const char *text)
{
    return copy(out, text, KEEP_CONTROLS);
}

void text_print_csv(FILE *stream, const char *text)
{
    const bool quoted = text[strcspn(text, ",\"\r\n\t")] != '\0';
    char character[CHARACTER_MAX];
    if (quoted) fputc('"', stream);
    while (*text) {
        if (*text == '"') fputc('"', stream);
        fwrite(character, 1, next_character(&text, KEEP_LINES_AND_TABS, character), stream);
    }
    if (quoted) fputc('"', stream);
}

enum { LENGTH_MAX = 64 };

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

int text_distance(const char *a, const char *b)
{
    const int m = (int)strnlen(a, LENGTH_MAX), n = (int)strnlen(b, LENGTH_MAX);
    /* rows[i % 3][j]: distance between the first i bytes of a and the first j of b. */
    int rows[3][LENGTH_MAX + 1];
    for (int j = 0; j <= n; j++) rows[0][j] = j;
    for (int i = 1; i <= m; i++) {
        int *row = rows[i % 3];
        const int *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            const int replaced = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = smaller(replaced, smaller(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = smaller(row[j], above2[j - 2] + 1);
        }
    }
    return rows[m % 3][n];
}

struct text_nearest text_nearest_init(const char *word)
{
    const int third = (int)strnlen(word, LENGTH_MAX) / 3;
    return (struct text_nearest) { .word = word, .distance = (third < 2 ? 2 : third) + 1 };
}

void text_nearest_offer(struct text_nearest *nearest, const char *candidate)
{
    const int distance = text_distance(nearest->word, candidate);
    if (distance >= nearest->distance) return;
    nearest->distance = distance;
    snprintf(nearest->best, sizeof(nearest->best), "%s", candidate);
}
