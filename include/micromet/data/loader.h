/* Reader threads that keep a bounded ring of batches ahead of the trainer.
 *
 * The ring's memory is given by the caller (pinned by the backend or plain) and pixels come through
 * callbacks, so the loader sees neither a device nor a dataset. Batches come out in order whatever
 * the number of threads; sample k of batch b sits at row k. */
#ifndef MICROMET_DATA_LOADER_H
#define MICROMET_DATA_LOADER_H

#include <stddef.h>

#include "micromet/base/config.h"
#include "micromet/data/sampler.h"

/* Where pixels come from. Each thread opens one reader and uses it alone. */
struct loader_source {
    const void *context;
    /* Called on the thread of loader_init(), once for each reader thread. */
    bool (*open)(const void *context, size_t cache_bytes, void **reader, struct error *err);
    /* pixels[tower]: window_bytes each. */
    bool (*read)(void *reader, struct sample sample, uint8_t *const pixels[TOWERS_MAX],
                 float *label, struct error *err);
    void (*close)(void *reader);
    int towers;
    size_t window_bytes; /* of one sample for one tower: window*window*3 */
};

struct dataset;
/* The windows of a dataset, which the caller keeps until loader_release(). */
struct loader_source loader_source_dataset(const struct dataset *dataset);

struct loader_batch {
    uint8_t *pixels[TOWERS_MAX]; /* (batch, window, window, 3), memory of the caller */
    float *labels;               /* (batch) */
    struct sample *samples;      /* (batch) */
    int64_t first;               /* index of row 0 in the epoch's order */
    int count;                   /* rows filled; the last batch may be smaller */
};

struct loader_options {
    const struct sample *order; /* (order_count), kept by the caller until loader_release() */
    int64_t order_count;
    int64_t first_sample; /* where in the order to begin, for resume */
    int batch;
    struct loader_batch *slots; /* (slot_count) batches whose pointers are set, kept likewise */
    int slot_count;
    int threads;        /* readers */
    size_t cache_bytes; /* shared out among the readers */
};

struct loader;

/* Start reading. */
bool loader_init(struct loader **loader, const struct loader_source *source,
                 const struct loader_options *options, struct error *err);
/* Wait for the next batch; *slot is NULL at the end of the order. A read that failed surfaces here,
 * in place of its batch: the batches before it still come out, and the message does not depend on
 * the number of threads. The caller must not hold all slots. */
bool loader_next(struct loader *loader, struct loader_batch **slot, struct error *err);
/* Give a slot back to the readers, in any order. */
void loader_recycle(struct loader *loader, struct loader_batch *slot);
/* Stops after the reads in flight, at any time, and joins the threads. NULL is fine. */
void loader_release(struct loader *loader);

#endif
