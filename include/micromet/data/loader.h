/* Reader threads that fill a ring of batches ahead of the trainer.
 *
 * The caller provides the ring's memory (pinned by the backend, or plain), and pixels come through
 * callbacks, so the loader depends on neither device nor dataset. Batches are delivered in order
 * whatever the number of threads; sample k of a batch is in row k. */
#ifndef MICROMET_DATA_LOADER_H
#define MICROMET_DATA_LOADER_H

#include <stddef.h>

#include "micromet/base/config.h"
#include "micromet/data/sampler.h"

/* Where pixels come from. Each thread has a reader of its own. */
struct loader_source {
    const void *context;
    /* Called by loader_init() on the caller's thread, once per reader thread. */
    bool (*open)(const void *context, size_t cache_bytes, void **reader, struct error *err);
    /* pixels[tower]: window_bytes each. */
    bool (*read)(void *reader, struct sample sample, uint8_t *const pixels[TOWERS_MAX],
                 float *label, struct error *err);
    void (*close)(void *reader);
    int towers;
    size_t window_bytes; /* of one sample for one tower: window*window*3 */
};

struct dataset;
/* Reads the windows of a dataset, which must outlive the loader. */
struct loader_source loader_source_dataset(const struct dataset *dataset);

struct loader_batch {
    uint8_t *pixels[TOWERS_MAX]; /* (batch, window, window, 3); the caller's memory */
    float *labels;               /* (batch) */
    struct sample *samples;      /* (batch) */
    int64_t first;               /* index of row 0 in the epoch's order */
    int count;                   /* rows filled; fewer than batch at the end */
};

struct loader_options {
    const struct sample *order; /* (order_count); must outlive the loader */
    int64_t order_count;
    int64_t first_sample; /* position in the order to start at, for resume */
    int batch;
    struct loader_batch *slots; /* (slot_count) with all pointers set; must outlive the loader */
    int slot_count;
    int threads;        /* reader threads */
    size_t cache_bytes; /* divided among the readers */
};

struct loader;

/* Start reading. */
bool loader_init(struct loader **loader, const struct loader_source *source,
                 const struct loader_options *options, struct error *err);
/* Wait for the next batch; *slot is NULL at the end of the order. A failed read is reported in
 * place of its batch: the batches before it are still delivered, and the message does not depend on
 * the number of threads. The caller must not hold all slots, or no batch can be read. */
bool loader_next(struct loader *loader, struct loader_batch **slot, struct error *err);
/* Return a slot to the readers, in any order. */
void loader_recycle(struct loader *loader, struct loader_batch *batch);
/* Stop at any time, after the reads in flight, and join the threads. NULL is allowed. */
void loader_release(struct loader *loader);

#endif
