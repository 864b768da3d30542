/* A parallel loop over independent items. Items are handed out in ascending order, so when one
 * fails, all items below it have been started and will finish; the error reported is that of the
 * smallest failed item, whatever the number of threads. */
#include "micromet/base/thread.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct crew {
    int64_t items;
    void *context;
    bool (*work)(void *context, int64_t item, int worker, struct error *err);
    pthread_mutex_t lock;
    int64_t next;
    int64_t failed; /* smallest failed item; `items` = none */
    struct error error;
};

struct member {
    struct crew *crew;
    int worker;
    pthread_t thread;
};

static void *member_run(void *argument)
{
    const struct member *member = argument;
    struct crew *crew = member->crew;
    for (;;) {
        pthread_mutex_lock(&crew->lock);
        const int64_t item = crew->failed < crew->items ? crew->items : crew->next++;
        pthread_mutex_unlock(&crew->lock);
        if (item >= crew->items) return NULL;

        struct error err = { 0 };
        if (crew->work(crew->context, item, member->worker, &err)) continue;
        CHECK(err.code != EXIT_CODE_OK);
        pthread_mutex_lock(&crew->lock);
        if (item < crew->failed) {
            crew->failed = item;
            crew->error = err;
        }
        pthread_mutex_unlock(&crew->lock);
    }
}

bool parallel_for(int threads, int64_t items, void *context,
                  bool (*work)(void *context, int64_t item, int worker, struct error *err),
                  struct error *err)
{
    if (threads > items) threads = (int)items;
    if (threads < 1) threads = 1;
    struct member *members = calloc((size_t)threads, sizeof(*members));
    if (!members) return error_set(err, EXIT_CODE_FAILED, "out of memory for %d threads", threads);

    struct crew crew = { .items = items, .context = context, .work = work, .failed = items };
    pthread_mutex_init(&crew.lock, NULL);

    /* The caller is worker 0. If not all threads can be created, fewer do the work. */
    int started = 1;
    members[0].crew = &crew;
    for (; started < threads; started++) {
        members[started] = (struct member) { .crew = &crew, .worker = started };
        if (pthread_create(&members[started].thread, NULL, member_run, &members[started]) != 0)
            break;
    }
    member_run(&members[0]);
    for (int i = 1; i < started; i++) pthread_join(members[i].thread, NULL);

    pthread_mutex_destroy(&crew.lock);
    free(members);
    if (crew.failed < items) return error_set(err, crew.error.code, "%s", crew.error.message);
    return true;
}

double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}
