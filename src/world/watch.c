/* A thread for each process, which waits for nothing but the time: for no lock that other threads
 * hold while they work, no full connection, and not long for a full stderr.
 *
 * Silence is counted in beats that this thread has itself lived through: a process that was stopped
 * and goes on, or a whole job that was, does not take the others for dead before it has heard what
 * they sent meanwhile. The clock is monotonic, so that nobody can move it.
 *
 * The end: the hub prints the line and tells all to end, so that nobody has ended, and no launcher
 * has begun to kill, before. Then each does what world_on_failure() asks for, the hub closes its
 * connections for sending, the others end at that, and last the hub. If the hub itself is lost,
 * every rank sees that; the lowest that lives prints the line. Each learns which that is by
 * knocking at the doors of those below, and stays a little so that others find it alive. */
#include "watch.h"

#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ending.h"
#include "micromet/base/stop.h"
#include "micromet/base/thread.h"
#include "notice.h"

static const double farewell_s = 5; /* of waiting for one another at the end */
static const double linger_s = 3;

enum order { ORDER_NONE, ORDER_STOP, ORDER_FAIL, ORDER_TOLD };

struct watch {
    const struct star *star;
    double silence_s, beat_s;
    struct notice_line *lines; /* by rank; the hub's to all others, theirs to rank 0 alone */
    int line_count;
    struct pollfd *polled; /* the lines and `wake` */
    int wake;              /* eventfd: there is an order */
    pthread_t thread;
    pthread_mutex_t mutex; /* held for moments */
    atomic_int order;
    atomic_bool ends_on_stop;
    struct error reason; /* of ORDER_FAIL, and: */
    bool whole;
    double stalled_s; /* the longest time in which this thread did not run, of late */
    void (*callback)(void *context);
    void *context;
};

static bool is_hub(const struct watch *watch)
{
    return watch->star->rank == 0;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void call_back(struct watch *watch)
{
    pthread_mutex_lock(&watch->mutex);
    void (*const callback)(void *context) = watch->callback;
    void *const context = watch->context;
    pthread_mutex_unlock(&watch->mutex);
    ending_call(callback, context);
}

/* Until all others have closed their connections, or the time is up; whether they have. */
static bool await_closing(struct watch *watch)
{
    const double until_s = clock_seconds() + farewell_s;
    bool all = true;
    for (int rank = 0; rank < watch->line_count; rank++) {
        struct notice_line *line = &watch->lines[rank];
        struct pollfd polled = { .fd = line->socket, .events = POLLIN };
        bool open = line->socket >= 0;
        while (open && clock_seconds() < until_s) {
            open = notice_receive(line) != NOTICE_BROKEN;
            if (open) poll(&polled, 1, link_milliseconds(until_s));
        }
        all = all && !open;
    }
    return all;
}

/* The hub, when `rank` has failed, or is lost. */
static void end_all(struct watch *watch, int rank, int code, bool whole, const char *message)
    __attribute__((noreturn));
static void end_all(struct watch *watch, int rank, int code, bool whole, const char *message)
{
    char text[NOTICE_TEXT_BYTES];
    if (whole)
        snprintf(text, sizeof text, "%s", message);
    else
        snprintf(text, sizeof text, "rank %d on %s: %.1200s", rank, watch->star->seats[rank].host,
                 message);
    ending_print(text);
    for (int i = 1; i < watch->line_count; i++)
        notice_send(&watch->lines[i], NOTICE_END, code, true, text);
    call_back(watch);
    for (int i = 1; i < watch->line_count; i++)
        if (watch->lines[i].socket >= 0) shutdown(watch->lines[i].socket, SHUT_WR);
    await_closing(watch);
    _exit(code);
}

/* Another rank, when the hub says so. */
static void end_with_hub(struct watch *watch, int code) __attribute__((noreturn));
static void end_with_hub(struct watch *watch, int code)
{
    call_back(watch);
    await_closing(watch);
    _exit(code);
}

/* Another rank, when the hub is lost. */
static void end_without_hub(struct watch *watch, const char *message) __attribute__((noreturn));
static void end_without_hub(struct watch *watch, const char *message)
{
    char text[NOTICE_TEXT_BYTES];
    snprintf(text, sizeof text, "rank 0 on %s: %s", watch->star->seats[0].host, message);
    if (!ending_is_left_to_others(watch->star)) ending_print(text);
    call_back(watch);
    usleep((useconds_t)(linger_s * 1e6));
    _exit(EXIT_CODE_FAILED);
}

static void lose(struct watch *watch, int rank, const char *message) __attribute__((noreturn));
static void lose(struct watch *watch, int rank, const char *message)
{
    if (!is_hub(watch)) end_without_hub(watch, message);
    /* Was it lost itself? Then others have said so, and are gone. */
    if (watch->stalled_s >= watch->silence_s && await_closing(watch)) _exit(EXIT_CODE_FAILED);
    end_all(watch, rank, EXIT_CODE_FAILED, false, message);
}

/* --- what comes in ---------------------------------------------------------------------------- */

static int exit_code_of(const struct notice *notice)
{
    const uint32_t code = notice->head.code;
    return code > 0 && code < 256 ? (int)code : EXIT_CODE_FAILED;
}

static void take_notice(struct watch *watch, int rank)
{
    struct notice_line *line = &watch->lines[rank];
    const struct notice *notice = &line->notice;
    line->silent_s = 0;
    switch (notice->head.kind) {
    case NOTICE_LEAVING:
        line->socket = -1;
        break;
    case NOTICE_FAILED:
        if (is_hub(watch))
            end_all(watch, rank, exit_code_of(notice), notice->head.whole, notice->text);
        break;
    case NOTICE_END:
        if (!is_hub(watch)) end_with_hub(watch, exit_code_of(notice));
        break;
    }
}

static void listen_to(struct watch *watch, int rank)
{
    struct notice_line *line = &watch->lines[rank];
    while (line->socket >= 0) {
        const enum notice_outcome outcome = notice_receive(line);
        if (outcome == NOTICE_BROKEN) lose(watch, rank, "ended without a word (killed?)");
        if (outcome == NOTICE_NONE) break;
        take_notice(watch, rank);
    }
}

static void count_silence(struct watch *watch, int rank, double elapsed_s)
{
    struct notice_line *line = &watch->lines[rank];
    char message[128];
    line->silent_s += elapsed_s < 2 * watch->beat_s ? elapsed_s : 2 * watch->beat_s;
    if (line->socket < 0 || line->silent_s < watch->silence_s) return;
    snprintf(message, sizeof message, "not heard of for %.0f s: stalled, or its host is gone",
             line->silent_s);
    lose(watch, rank, message);
}

/* --- the thread ------------------------------------------------------------------------------- */

static void wait_until(struct watch *watch, double until_s)
{
    for (int rank = 0; rank < watch->line_count; rank++)
        watch->polled[rank] = (struct pollfd) { .fd = watch->lines[rank].socket, .events = POLLIN };
    watch->polled[watch->line_count] = (struct pollfd) { .fd = watch->wake, .events = POLLIN };
    if (poll(watch->polled, (nfds_t)watch->line_count + 1, link_milliseconds(until_s)) < 0)
        for (int rank = 0; rank < watch->line_count; rank++) watch->polled[rank].revents = 0;
}

static void send_all(const struct watch *watch, enum notice_kind kind)
{
    for (int rank = 0; rank < watch->line_count; rank++)
        notice_send(&watch->lines[rank], kind, 0, false, "");
}

/* The hub ends all at once; others tell it, and end when it says so. */
static void fail(struct watch *watch)
{
    const struct error *reason = &watch->reason;
    struct notice_line *hub = &watch->lines[0];
    if (is_hub(watch)) end_all(watch, 0, reason->code, watch->whole, reason->message);
    if (hub->socket < 0) { /* it has left, and nobody else needs to know */
        ending_print(reason->message);
        _exit(reason->code);
    }
    notice_send(hub, NOTICE_FAILED, reason->code, watch->whole, reason->message);
}

/* The first order counts. */
static void give_order(struct watch *watch, enum order order)
{
    int none = ORDER_NONE;
    atomic_compare_exchange_strong(&watch->order, &none, order);
    eventfd_write(watch->wake, 1);
}

static void order_end(struct watch *watch, const struct error *reason, bool whole)
{
    pthread_mutex_lock(&watch->mutex);
    if (watch->reason.code == EXIT_CODE_OK) {
        watch->reason = *reason;
        watch->whole = whole;
    }
    pthread_mutex_unlock(&watch->mutex);
    give_order(watch, ORDER_FAIL);
}

static void heed_signal(struct watch *watch)
{
    struct error stopped = { 0 };
    if (atomic_load(&watch->ends_on_stop) && atomic_load(&watch->order) == ORDER_NONE &&
        !stop_check(&stopped))
        order_end(watch, &stopped, false);
}

/* Whether to go on. */
static bool take_order(struct watch *watch)
{
    eventfd_t ignored;
    eventfd_read(watch->wake, &ignored);
    switch ((enum order)atomic_load(&watch->order)) {
    case ORDER_NONE:
        return true;
    case ORDER_TOLD:
        if (watch->lines[0].socket < 0) fail(watch); /* left in that moment */
        return true;
    case ORDER_STOP:
        send_all(watch, NOTICE_LEAVING);
        return false;
    case ORDER_FAIL:
        fail(watch);
        atomic_store(&watch->order, ORDER_TOLD);
        return true;
    }
    return true;
}

static void *run(void *context)
{
    struct watch *watch = context;
    double before_s = clock_seconds(), beat_s = before_s;
    do {
        if (before_s >= beat_s) {
            send_all(watch, NOTICE_ALIVE);
            beat_s = before_s + watch->beat_s;
        }
        wait_until(watch, beat_s);
        const double now_s = clock_seconds();
        /* Forgotten when the others have had as long to be heard. */
        watch->stalled_s = fmax(watch->stalled_s - watch->beat_s, now_s - before_s);
        for (int rank = 0; rank < watch->line_count; rank++) {
            if (watch->polled[rank].revents) listen_to(watch, rank);
            count_silence(watch, rank, now_s - before_s);
        }
        before_s = now_s;
        heed_signal(watch);
    } while (take_order(watch));
    return NULL;
}

/* --- what others see -------------------------------------------------------------------------- */

static bool start_thread(struct watch *watch)
{
    sigset_t all, before;
    sigfillset(&all); /* signals are for the other threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool started = pthread_create(&watch->thread, NULL, run, watch) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static void release(struct watch *watch)
{
    link_close(&watch->wake);
    pthread_mutex_destroy(&watch->mutex);
    free(watch->polled);
    free(watch->lines);
    free(watch);
}

bool watch_start(struct watch **watch, const struct star *star, double silence_s, struct error *err)
{
    struct watch *made = calloc(1, sizeof *made);
    *watch = NULL;
    if (!made) return error_set(err, EXIT_CODE_FAILED, "out of memory");
    made->star = star;
    made->silence_s = silence_s;
    made->beat_s = silence_s / 20;
    made->line_count = star->rank == 0 ? star->size : 1;
    made->lines = calloc((size_t)made->line_count, sizeof *made->lines);
    made->polled = calloc((size_t)made->line_count + 1, sizeof *made->polled);
    made->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&made->mutex, NULL);
    for (int rank = 0; made->lines && rank < made->line_count; rank++)
        made->lines[rank].socket = star->control[rank];
    if (made->lines && made->polled && made->wake >= 0 && start_thread(made)) {
        *watch = made;
        return true;
    }
    release(made);
    return error_set(err, EXIT_CODE_FAILED, "the watch over the ranks cannot be started");
}

void watch_stop(struct watch *watch)
{
    if (!watch) return;
    give_order(watch, ORDER_STOP);
    pthread_join(watch->thread, NULL);
    release(watch);
}

void watch_fail(struct watch *watch, const struct error *reason, bool whole)
{
    order_end(watch, reason, whole);
    for (;;) pause();
}

void watch_end_on_stop(struct watch *watch)
{
    atomic_store(&watch->ends_on_stop, true);
}

void watch_judge(struct watch *watch)
{
    const double until_s = clock_seconds() + watch->silence_s + 2 * watch->beat_s;
    while (clock_seconds() < until_s) usleep(10000);
}

void watch_on_failure(struct watch *watch, void (*callback)(void *context), void *context)
{
    pthread_mutex_lock(&watch->mutex);
    watch->callback = callback;
    watch->context = context;
    pthread_mutex_unlock(&watch->mutex);
}
