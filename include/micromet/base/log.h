/* Messages while the program works: lines on stderr, and a progress bar if stderr is a terminal.
 * Control characters in a message are shown as text_shown() does, so that no name of a file sends
 * escape sequences to the terminal. */
#ifndef MICROMET_BASE_LOG_H
#define MICROMET_BASE_LOG_H

#include <stdint.h>

void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* From now on, print neither of these, nor progress: another process says the same. */
void log_silence(void);
/* The error that ends the program; for main(). */
void log_error(const char *message);

/* Progress of a long task. On a terminal: one line, redrawn at most five times a second, with rate
 * and time left. Elsewhere: one line, printed by progress_end(). Thread-safe. */
struct progress {
    const char *title; /* "prepare" */
    const char *unit;  /* "windows" */
    int64_t total;     /* 0 = unknown */
    int64_t done;
    double started_s, drawn_s;
};

void progress_begin(struct progress *progress, const char *title, const char *unit, int64_t total);
void progress_add(struct progress *progress, int64_t amount);
void progress_end(struct progress *progress);

#endif
