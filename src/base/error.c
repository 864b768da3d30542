/* Errors as values. The first message is kept, so cleanup after a failure cannot hide its cause. */
#include "micromet/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool(error_set)(struct error *err, enum exit_code code, const char *format, ...)
{
    CHECK(code != EXIT_CODE_OK);
    if (err->code != EXIT_CODE_OK) return false;
    err->code = code;

    va_list arguments;
    va_start(arguments, format);
    vsnprintf(err->message, sizeof(err->message), format, arguments);
    va_end(arguments);
    return false;
}

bool(error_prefix)(struct error *err, const char *format, ...)
{
    if (err->code == EXIT_CODE_OK) return false;

    char old[sizeof(err->message)];
    memcpy(old, err->message, sizeof(old));

    va_list arguments;
    va_start(arguments, format);
    vsnprintf(err->message, sizeof(err->message), format, arguments);
    va_end(arguments);

    size_t length = strlen(err->message);
    snprintf(err->message + length, sizeof(err->message) - length, ": %s", old);
    return false;
}

bool(error_append)(struct error *err, const char *format, ...)
{
    if (err->code == EXIT_CODE_OK) return false;

    const size_t length = strlen(err->message);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(err->message + length, sizeof(err->message) - length, format, arguments);
    va_end(arguments);
    return false;
}

void error_clear(struct error *err)
{
    *err = (struct error) { .code = EXIT_CODE_OK };
}

void check_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: CHECK(%s) failed; this is a bug in micromet\n", file, line, condition);
    abort();
}
