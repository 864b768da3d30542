/* "~/x" and "$NAME/x" in paths that no shell has seen: those of configurations, and "--out=~/x". */
#include <stdlib.h>
#include <string.h>

#include "micromet/base/file.h"

static bool append(char out[PATH_MAX_BYTES], size_t *length, const char *text, size_t count,
                   struct error *err)
{
    if (*length + count >= PATH_MAX_BYTES)
        return error_set(err, EXIT_CODE_FAILED, "%.200s...: the path is too long", out);
    memcpy(out + *length, text, count);
    *length += count;
    out[*length] = '\0';
    return true;
}

/* Append the home folder if `*text` begins with "~", and step over it. */
static bool expand_home(char out[PATH_MAX_BYTES], size_t *length, const char **text,
                        struct error *err)
{
    const char *home = getenv("HOME");
    if (**text != '~') return true;
    if ((*text)[1] && (*text)[1] != '/')
        return error_set(err, EXIT_CODE_USAGE,
                         "'%.200s': only ~/ is expanded, to $HOME; write the folder out, or "
                         "./%.200s for a file of that name",
                         *text, *text);
    if (!home || !*home)
        return error_set(err, EXIT_CODE_USAGE,
                         "'%.200s': HOME is not set in the environment; write the folder out",
                         *text);
    ++*text;
    return append(out, length, home, strlen(home), err);
}

/* Append the value of the variable at `*text`, a '$', and step over its name. */
static bool expand_variable(char out[PATH_MAX_BYTES], size_t *length, const char **text,
                            struct error *err)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
    const bool braces = (*text)[1] == '{';
    const char *start = *text + 1 + braces;
    const size_t count = strspn(start, letters);
    char name[256];
    if (braces && (count == 0 || start[count] != '}'))
        return error_set(err, EXIT_CODE_USAGE,
                         "'%.200s': ${...} holds no plain name of a variable; write $$ for a "
                         "dollar sign",
                         *text);
    if (count == 0) { /* a dollar sign alone, or "$$" */
        *text += 1 + (*start == '$');
        return append(out, length, "$", 1, err);
    }
    snprintf(name, sizeof name, "%.*s", (int)count, start);
    const char *value = getenv(name);
    if (!value || !*value)
        return error_set(err, EXIT_CODE_USAGE,
                         "'%.200s': %s is not set in the environment; set it or write the path "
                         "out ($$ is a dollar sign)",
                         *text, name);
    *text = start + count + braces;
    return append(out, length, value, strlen(value), err);
}

bool path_expand_home(char out[PATH_MAX_BYTES], const char *text, struct error *err)
{
    size_t length = 0;
    out[0] = '\0';
    return expand_home(out, &length, &text, err) && append(out, &length, text, strlen(text), err);
}

bool path_expand(char out[PATH_MAX_BYTES], const char *text, struct error *err)
{
    size_t length = 0;
    out[0] = '\0';
    if (!expand_home(out, &length, &text, err)) return false;
    while (*text) {
        const size_t plain = strcspn(text, "$");
        if (!append(out, &length, text, plain, err)) return false;
        text += plain;
        if (*text && !expand_variable(out, &length, &text, err)) return false;
    }
    return true;
}
