/* Reader threads that fill a ring of slots; one mutex guards all shared state.
 *
 * Batches are opened in order, one at a time. The rows of the open batch are sorted by slide and
 * window, so that a reader gets neighbouring windows, and handed out in runs; when the last run is
 * taken, the next free slot is opened. A row's position in the batch is fixed beforehand, so the
 * result does not depend on which thread reads it, or when. */
#include "micromet/data/loader.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"

struct slot {
    struct loader_batch *batch;
    int *rows;       /* (batch) the batch's rows in reading order */
    int taken, done; /* rows handed out and rows finished */
    int failed_at;   /* position, in reading order, of the first failed read; count = none */
    struct error error;
    struct slot *next_free;
};

struct reader {
    struct loader *loader;
    void *handle; /* the source's reader */
    pthread_t thread;
    bool opened, started;
};

struct loader {
    struct loader_source source;
    const struct sample *order;
    int64_t order_count, first_sample, batch_count;
    int batch, run; /* rows per batch, and per unit of work */
    struct loader_batch *batches;
    struct slot *slots;
    int slot_count;
    int *rows; /* (slot_count, batch) */
    struct reader *readers;
    int reader_count;

    pthread_mutex_t mutex; /* guards the following fields and the slots */
    pthread_cond_t work;   /* signals a free slot, or that the readers must stop */
    pthread_cond_t filled; /* signals that all rows handed out from a slot are finished */
    struct slot *first_free;
    struct slot *open;     /* its rows are being handed out; NULL = none */
    struct slot **ring;    /* (slot_count) batch b is in ring[b % slot_count] */
    int64_t opened, taken; /* batches */
    int held;              /* slots that the caller holds */
    bool failed;
    atomic_bool stop; /* also checked between reads, without the mutex */
};

static int compare_rows(const void *left, const void *right, void *context)
{
    const int a = *(const int *)left, b = *(const int *)right;
    const struct sample *samples = context, *x = &samples[a], *y = &samples[b];
    if (x->slide != y->slide) return x->slide < y->slide ? -1 : 1;
    if (x->window != y->window) return x->window < y->window ? -1 : 1;
    return a < b ? -1 : 1;
}

static void open_next_batch(struct loader *l)
{
    struct slot *slot = l->first_free;
    struct loader_batch *batch = slot->batch;
    l->first_free = slot->next_free;

    batch->first = l->first_sample + l->opened * l->batch;
    const int64_t left = l->order_count - batch->first;
    batch->count = left < l->batch ? (int)left : l->batch;
    memcpy(batch->samples, l->order + batch->first, (size_t)batch->count * sizeof *batch->samples);

    for (int i = 0; i < batch->count; i++) slot->rows[i] = i;
    qsort_r(slot->rows, (size_t)batch->count, sizeof *slot->rows, compare_rows, batch->samples);
    slot->taken = slot->done = 0;
    slot->failed_at = batch->count;
    error_clear(&slot->error);
    l->ring[l->opened++ % l->slot_count] = slot;
    l->open = slot;
    if (batch->count > l->run) pthread_cond_broadcast(&l->work);
}

/* Wait for rows to read: positions [*from, *to) of the returned slot. NULL tells the
 * reader to stop. */
static struct slot *take_rows(struct loader *l, int *from, int *to)
{
    for (;;) {
        if (l->stop || l->failed) return NULL;
        if (!l->open && l->opened < l->batch_count && l->first_free) open_next_batch(l);
        if (l->open) break;
        if (l->opened == l->batch_count) return NULL;
        pthread_cond_wait(&l->work, &l->mutex);
    }
    struct slot *slot = l->open;
    const int count = slot->batch->count;
    *from = slot->taken;
    *to = *from + l->run < count ? *from + l->run : count;
    slot->taken = *to;
    if (slot->taken == count) l->open = NULL;
    return slot;
}

/* Read rows; returns the position of the read that failed, or `to`. */
static int read_rows(struct reader *reader, const struct slot *slot, int from, int to,
                     struct error *err)
{
    const struct loader *l = reader->loader;
    const struct loader_batch *batch = slot->batch;

    for (int i = from; i < to && !l->stop; i++) {
        const int row = slot->rows[i];
        uint8_t *pixels[TOWERS_MAX] = { 0 };
        for (int t = 0; t < l->source.towers; t++)
            pixels[t] = batch->pixels[t] + (size_t)row * l->source.window_bytes;
        if (!l->source.read(reader->handle, batch->samples[row], pixels, &batch->labels[row], err))
            return i;
    }
    return to;
}

static void finish_rows(struct loader *l, struct slot *slot, int from, int to, int failed_at,
                        const struct error *error)
{
    slot->done += to - from;
    if (failed_at < to) {
        if (failed_at < slot->failed_at) {
            slot->failed_at = failed_at;
            slot->error = *error;
        }
        l->failed = true;
        pthread_cond_broadcast(&l->work);
    }
    if (slot->done == slot->taken) pthread_cond_signal(&l->filled);
}

static void *reader_main(void *context)
{
    struct reader *reader = context;
    struct loader *l = reader->loader;
    struct slot *slot;
    int from, to;

    pthread_mutex_lock(&l->mutex);
    while ((slot = take_rows(l, &from, &to))) {
        struct error error = { 0 };
        pthread_mutex_unlock(&l->mutex);
        const int failed_at = read_rows(reader, slot, from, to, &error);
        pthread_mutex_lock(&l->mutex);
        finish_rows(l, slot, from, to, failed_at, &error);
    }
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

static bool allocate(struct loader *l, int slot_count, int readers, struct error *err)
{
    const size_t slots = (size_t)slot_count, batch = (size_t)l->batch;
    l->slots = calloc(slots, sizeof *l->slots);
    l->ring = calloc(slots, sizeof *l->ring);
    l->rows = calloc(slots * batch, sizeof *l->rows);
    l->readers = calloc((size_t)readers, sizeof *l->readers);
    if (!l->slots || !l->ring || !l->rows || !l->readers)
        return error_set(err, EXIT_CODE_FAILED, "no memory for a ring of %zu batches of %zu", slots,
                         batch);
    for (int i = slot_count; i-- > 0;) {
        l->slots[i].batch = &l->batches[i];
        l->slots[i].rows = l->rows + (size_t)i * batch;
        l->slots[i].next_free = l->first_free;
        l->first_free = &l->slots[i];
    }
    l->slot_count = slot_count;
    l->reader_count = readers;
    return true;
}

static bool start_reader(struct loader *l, int i, struct error *err)
{
    struct reader *reader = &l->readers[i];
    const int code = pthread_create(&reader->thread, NULL, reader_main, reader);
    if (code)
        return error_set(err, EXIT_CODE_FAILED,
                         "reader thread %d of %d: %s; lower data.reader_threads", i + 1,
                         l->reader_count, strerror(code));
    reader->started = true;
    return true;
}

bool loader_init(struct loader **loader, const struct loader_source *source,
                 const struct loader_options *options, struct error *err)
{
    const int batch = options->batch, threads = options->threads;
    const int64_t samples = options->order_count - options->first_sample;
    CHECK(batch > 0 && options->slot_count > 0 && threads > 0);
    CHECK(source->towers > 0 && source->towers <= TOWERS_MAX);
    CHECK(options->first_sample >= 0 && samples >= 0);
    const size_t cache_bytes = options->cache_bytes / (size_t)threads; /* per reader */
    *loader = NULL;
    struct loader *l = calloc(1, sizeof *l);
    if (!l) return error_set(err, EXIT_CODE_FAILED, "no memory for the loader");
    l->source = *source;
    l->order = options->order;
    l->order_count = options->order_count;
    l->first_sample = options->first_sample;
    l->batch_count = CEIL_DIV(samples, batch);
    l->batch = batch;
    l->run = CEIL_DIV(batch, threads);
    l->batches = options->slots;
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->filled, NULL);

    if (!allocate(l, options->slot_count, threads, err)) goto fail;
    for (int i = 0; i < threads; i++) {
        struct reader *reader = &l->readers[i];
        reader->loader = l;
        if (!source->open(source->context, cache_bytes, &reader->handle, err)) goto fail;
        reader->opened = true;
    }
    for (int i = 0; i < threads; i++)
        if (!start_reader(l, i, err)) goto fail;
    *loader = l;
    return true;
fail:
    loader_release(l);
    return false;
}

bool loader_next(struct loader *l, struct loader_batch **out, struct error *err)
{
    bool ok = true;
    *out = NULL;
    if (l->taken == l->batch_count) return true; /* `taken` is written only by this thread */

    pthread_mutex_lock(&l->mutex);
    CHECK(l->held < l->slot_count);
    const struct slot *slot;
    for (;;) {
        slot = l->opened > l->taken ? l->ring[l->taken % l->slot_count] : NULL;
        if (slot && slot->done == slot->taken && (slot->done == slot->batch->count || l->failed))
            break;
        pthread_cond_wait(&l->filled, &l->mutex);
    }
    if (slot->failed_at < slot->batch->count) {
        ok = error_set(err, slot->error.code, "%s", slot->error.message);
    } else {
        l->taken++;
        l->held++;
        *out = slot->batch;
    }
    pthread_mutex_unlock(&l->mutex);
    return ok;
}

void loader_recycle(struct loader *l, struct loader_batch *batch)
{
    const ptrdiff_t index = batch - l->batches;
    CHECK(index >= 0 && index < l->slot_count);
    struct slot *slot = &l->slots[index];

    pthread_mutex_lock(&l->mutex);
    CHECK(l->held > 0);
    l->held--;
    slot->next_free = l->first_free;
    l->first_free = slot;
    pthread_cond_signal(&l->work);
    pthread_mutex_unlock(&l->mutex);
}

void loader_release(struct loader *l)
{
    if (!l) return;
    pthread_mutex_lock(&l->mutex);
    l->stop = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->mutex);
    for (int i = 0; i < l->reader_count; i++)
        if (l->readers[i].started) pthread_join(l->readers[i].thread, NULL);
    for (int i = 0; i < l->reader_count; i++)
        if (l->readers[i].opened) l->source.close(l->readers[i].handle);
    pthread_cond_destroy(&l->filled);
    pthread_cond_destroy(&l->work);
    pthread_mutex_destroy(&l->mutex);
    free(l->readers);
    free(l->rows);
    free(l->ring);
    free(l->slots);
    free(l);
}
