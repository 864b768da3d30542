/* Errors are values: a function that can fail returns bool and takes `struct error *err` last.
 *
 * The first error wins: error_set() does nothing once an error holds a message, so cleaning up
 * cannot hide the cause. Only main() prints and exits. CHECK() is for programmer errors alone. */
#ifndef MICROMET_BASE_ERROR_H
#define MICROMET_BASE_ERROR_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Exit status of the process; scripts may rely on the numbers. */
enum exit_code {
    EXIT_CODE_OK = 0,
    EXIT_CODE_FAILED = 1,  /* the work could not be done */
    EXIT_CODE_USAGE = 2,   /* command line or configuration is wrong; nothing was started */
    EXIT_CODE_PARTIAL = 3, /* some slides are done, others were bad and reported */
    /* stopped by a signal after writing a checkpoint; run again to continue */
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

/* Put "prefix: " before the stored message, for example the slide's name. Always returns false. */
bool error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Append to the stored message. Always returns false. */
bool error_append(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#ifdef __clang_analyzer__
/* clang-tidy looks into one file at a time, and must be told that these return false. */
#define error_set(...)    (error_set(__VA_ARGS__), false)
#define error_prefix(...) (error_prefix(__VA_ARGS__), false)
#define error_append(...) (error_append(__VA_ARGS__), false)
#endif

void error_clear(struct error *err);

void check_failed(const char *condition, const char *file, int line) __attribute__((noreturn));

#ifdef __cplusplus
}
#endif

/* Active in every build; ends the process if the condition is false. */
#define CHECK(condition) ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))

#endif
