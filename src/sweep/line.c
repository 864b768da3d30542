/* Hydra's overrides as a sweep's text, so that there is one way to read a sweep. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/sweep/sweep.h"

/* Length of the text up to the next comma that stands in no brackets and no quotes. */
static size_t item_length(const char *text)
{
    int depth = 0;
    char quote = 0;
    size_t i = 0;
    for (; text[i] && (text[i] != ',' || depth > 0 || quote); i++) {
        if (quote)
            quote = text[i] == quote ? 0 : quote;
        else if (text[i] == '"' || text[i] == '\'')
            quote = text[i];
        else
            depth += (strchr("[({", text[i]) != NULL) - (strchr("])}", text[i]) != NULL);
    }
    return i;
}

/* A value as YAML: lists as they are, all else between quotes, as overrides are taken literally. */
static void print_value(FILE *stream, const char *text, size_t length)
{
    while (length > 0 && isspace((unsigned char)*text)) text++, length--;
    while (length > 0 && isspace((unsigned char)text[length - 1])) length--;
    if (length > 1 && text[0] == '[') {
        fwrite(text, 1, length, stream);
        return;
    }
    if (length > 1 && (text[0] == '"' || text[0] == '\'') && text[length - 1] == text[0])
        text++, length -= 2;
    fputc('"', stream);
    for (size_t i = 0; i < length; i++)
        fprintf(stream, "%s%c", strchr("\"\\", text[i]) ? "\\" : "", text[i]);
    fputc('"', stream);
}

static void print_items(FILE *stream, const char *text, size_t size)
{
    for (size_t start = 0; start <= size;) {
        size_t length = item_length(text + start);
        if (length > size - start) length = size - start;
        if (start) fputs(", ", stream);
        print_value(stream, text + start, length);
        start += length + 1;
    }
}

/* range(stop), range(start, stop) or range(start, stop, step), of whole numbers; without `stop`. */
static bool print_range(FILE *stream, const char *override, const char *arguments,
                        struct error *err)
{
    long long numbers[3] = { 0, 0, 1 };
    int used = 0;
    char end;
    const int three = sscanf(arguments, "%lld , %lld , %lld %c%n", &numbers[0], &numbers[1],
                             &numbers[2], &end, &used);
    bool ok = three == 4 && end == ')' && !arguments[used];
    if (!ok && sscanf(arguments, "%lld , %lld %c%n", &numbers[0], &numbers[1], &end, &used) == 3) {
        numbers[2] = 1;
        ok = end == ')' && !arguments[used];
    }
    if (!ok && sscanf(arguments, "%lld %c%n", &numbers[1], &end, &used) == 2) {
        numbers[0] = 0;
        ok = end == ')' && !arguments[used];
    }
    const long long step = numbers[2], limit = 1LL << 40;
    for (int i = 0; i < 3; i++) ok = ok && numbers[i] > -limit && numbers[i] < limit;
    ok = ok && step != 0 && (numbers[1] - numbers[0]) / step < SWEEP_RUNS_MAX;
    if (!ok || (step > 0 ? numbers[0] >= numbers[1] : numbers[0] <= numbers[1]))
        return error_set(err, EXIT_CODE_USAGE,
                         "command line: %.200s: expected whole numbers such as range(1, 10), which "
                         "is 1 to 9, or range(0, 10, 2)",
                         override);
    for (long long n = numbers[0]; step > 0 ? n < numbers[1] : n > numbers[1]; n += step)
        fprintf(stream, "%s%lld", n == numbers[0] ? "" : ", ", n);
    return true;
}

static bool print_override(FILE *stream, const char *override, struct error *err)
{
    const char *equals = strchr(override, '='), *text = equals ? equals + 1 : "";
    if (!equals)
        return error_set(err, EXIT_CODE_USAGE, "command line: expected key=value, got '%.200s'",
                         override);
    fputs("  ", stream);
    print_value(stream, override, (size_t)(equals - override));
    fputs(": [", stream);
    const size_t size = strlen(text);
    bool ok = true;
    if (strncmp(text, "range(", 6) == 0)
        ok = print_range(stream, override, text + 6, err);
    else if (strncmp(text, "choice(", 7) == 0 && text[size - 1] == ')')
        print_items(stream, text + 7, size - 8);
    else
        print_items(stream, text, size);
    fputs("]\n", stream);
    return ok;
}

bool sweep_text_of_line(char **yaml, const char *base, int count, char *const *overrides,
                        struct error *err)
{
    size_t size;
    FILE *stream = open_memstream(yaml, &size);
    if (!stream) return error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
    fputs("base: ", stream);
    print_value(stream, base, strlen(base));
    fputs("\ngrid:\n", stream);
    bool ok = true;
    for (int i = 0; i < count && ok; i++) ok = print_override(stream, overrides[i], err);
    fclose(stream);
    if (ok) return true;
    free(*yaml);
    *yaml = NULL;
    return false;
}
