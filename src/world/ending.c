#include "ending.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "micromet/base/text.h"
#include "micromet/base/thread.h"

static const double callback_s = 3;
static const double probe_s = 1;

void ending_print(const char *text)
{
    char line[TEXT_SHOWN_MAX + 64];
    struct pollfd polled = { .fd = STDERR_FILENO, .events = POLLOUT };
    const int length = snprintf(line, sizeof line, "%smicromet: %s\n",
                                isatty(STDERR_FILENO) ? "\r\033[K" : "" /* a progress bar */,
                                SHOWN(text));
    if (poll(&polled, 1, 1000) == 1 && write(STDERR_FILENO, line, (size_t)length) < 0) return;
}

struct call {
    void (*callback)(void *context);
    void *context;
    atomic_bool done;
};

static void *run_call(void *context)
{
    struct call *call = context;
    call->callback(call->context);
    atomic_store(&call->done, true);
    return NULL;
}

void ending_call(void (*callback)(void *context), void *context)
{
    static struct call call; /* which outlives this function; a process ends once */
    pthread_t thread;
    if (!callback) return;
    call.callback = callback;
    call.context = context;
    const double until_s = clock_seconds() + callback_s;
    if (pthread_create(&thread, NULL, run_call, &call) != 0) return;
    while (!atomic_load(&call.done) && clock_seconds() < until_s) usleep(10000);
}

bool ending_is_left_to_others(const struct star *star)
{
    struct link_address *addresses = calloc((size_t)star->size, sizeof *addresses);
    if (!addresses) return false;
    for (int rank = 1; rank < star->rank; rank++) addresses[rank - 1] = star_address(star, rank);
    const bool answered = link_any_answers(addresses, star->rank - 1, clock_seconds() + probe_s);
    free(addresses);
    return answered;
}
