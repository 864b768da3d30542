/* Errors are values: fallible functions return bool and take `struct error *err` last.
 *
 * The first error wins: once an error holds a message, error_set() leaves it alone, so a cleanup
 * path can never hide the cause. Only main() prints and exits. CHECK() is for programmer errors
 * alone. */
#ifndef MICROMET_BASE_ERROR_H
#define MICROMET_BASE_ERROR_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the process returns to its shell; scripts may rely on the numbers. */
enum exit_code {
    EXIT_CODE_OK = 0,
    EXIT_CODE_FAILED = 1,  /* the work could not be done */
    EXIT_CODE_USAGE = 2,   /* command line or configuration is wrong; nothing was started */
    EXIT_CODE_PARTIAL = 3, /* good slides are done, at least one bad slide was reported */
    /* stopped by a signal with a checkpoint written; run again to go on */
    EXIT_CODE_INTERRUPTED = 75,
};

struct error {
    enum exit_code code; /* EXIT_CODE_OK until the first error_set() */
    /* names the file, line or slide and says what to do; no trailing newline */
    char message[1024];
};

/* Store code and message unless an error is already there. Always returns false, so that a function
 * can end with `return error_set(err, ...)`. */
bool error_set(struct error *err, enum exit_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Put "prefix: " before the stored message (the slide's name, say). Always returns false. */
bool error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Put more behind the stored message. Always returns false. */
bool error_append(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

void error_clear(struct error *err);

void check_failed(const char *condition, const char *file, int line) __attribute__((noreturn));

#ifdef __cplusplus
}
#endif

/* A programmer error ends the process in every build. */
#define CHECK(condition) ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))

#endif
