/* Log lines and a progress bar on stderr. The stream's own lock (flockfile) is held while printing
 * and while the bar's counters are updated, so output never mixes and no further lock is needed. */
#include "micromet/base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "micromet/base/text.h"
#include "micromet/base/thread.h"

static const double draw_interval_s = 0.2;
static const char *const line_clear = "\r\033[K";

static bool silent; /* set before there are threads */

void log_silence(void)
{
    silent = true;
}

/* Messages hold names of files and strings in files: whatever these are, one line of plain text
 * goes out. */
static void print_line(const char *prefix, const char *format, va_list arguments)
{
    char *text;
    if (silent) return;
    if (vasprintf(&text, format, arguments) < 0) return; /* out of memory */
    flockfile(stderr);
    if (isatty(STDERR_FILENO)) fputs(line_clear, stderr);
    fputs(prefix, stderr);
    text_print_shown(stderr, text);
    fputc('\n', stderr);
    funlockfile(stderr);
    free(text);
}

void log_error(const char *message)
{
    flockfile(stderr);
    fputs("micromet: ", stderr);
    text_print_shown(stderr, message);
    fputc('\n', stderr);
    funlockfile(stderr);
}

void log_info(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line("", format, arguments);
    va_end(arguments);
}

void log_warning(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print_line("warning: ", format, arguments);
    va_end(arguments);
}

static int rate_decimals(double rate)
{
    return rate < 10 ? 2 : rate < 100 ? 1 : 0;
}

static void draw_bar(const struct progress *progress, double now_s)
{
    const double elapsed_s = now_s - progress->started_s;
    const double rate = elapsed_s > 0 ? (double)progress->done / elapsed_s : 0;
    fprintf(stderr, "%s%s: %" PRId64, line_clear, progress->title, progress->done);
    if (progress->total > 0)
        fprintf(stderr, "/%" PRId64 " (%.0f%%)", progress->total,
                100.0 * (double)progress->done / (double)progress->total);
    fprintf(stderr, " %s, %.*f/s", progress->unit, rate_decimals(rate), rate);
    const int64_t left = progress->total - progress->done;
    if (left > 0 && rate > 0) {
        const int64_t left_s = (int64_t)((double)left / rate + 0.5);
        fprintf(stderr, ", %" PRId64 ":%02d left", left_s / 60, (int)(left_s % 60));
    }
    fflush(stderr);
}

void progress_begin(struct progress *progress, const char *title, const char *unit, int64_t total)
{
    *progress = (struct progress) {
        .title = title,
        .unit = unit,
        .total = total,
        .started_s = clock_seconds(),
    };
}

void progress_add(struct progress *progress, int64_t amount)
{
    flockfile(stderr);
    progress->done += amount;
    const double now_s = clock_seconds();
    if (now_s - progress->drawn_s >= draw_interval_s) {
        progress->drawn_s = now_s;
        if (isatty(STDERR_FILENO) && !silent) draw_bar(progress, now_s);
    }
    funlockfile(stderr);
}

void progress_end(struct progress *progress)
{
    const double elapsed_s = clock_seconds() - progress->started_s;
    const double rate = elapsed_s > 0 ? (double)progress->done / elapsed_s : 0;
    log_info("%s: %" PRId64 " %s in %.1f s (%.*f/s)", progress->title, progress->done,
             progress->unit, elapsed_s, rate_decimals(rate), rate);
}
