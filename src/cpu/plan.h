/* What a planned op looks like inside the CPU backend: a function, its scratch and how to free
 * it. */
#ifndef MICROMET_CPU_PLAN_H
#define MICROMET_CPU_PLAN_H

#include "micromet/nn/backend.h"
#include "micromet/world/world.h"

struct cpu_backend;
struct queue;
struct isa;

struct plan {
    struct cpu_backend *backend;
    struct queue *queue;   /* where it runs */
    const struct isa *isa; /* isa.h: the inner loops */
    struct world *world;   /* of this rank; NULL = alone */
    struct op op;
    /* Runs on the queue's thread, whose OpenMP team has the queue's threads. */
    bool (*execute)(struct plan *plan, const struct op_buffers *buffers, struct error *err);
    bool (*load)(struct plan *plan, const float *weights, struct error *err); /* convolutions */
    void (*release)(void *detail);
    void *detail; /* of the file that planned it */
    size_t bytes; /* packed weights and scratch kept by `detail` */
};

/* Planners, one for each file; each sets execute, release, detail and bytes, or says why it
 * cannot. */
bool plan_convolution(struct plan *plan, struct error *err);
bool plan_batch_norm(struct plan *plan, struct error *err);
bool plan_pool(struct plan *plan, struct error *err);
bool plan_pointwise(struct plan *plan, struct error *err); /* element by element */
bool plan_augment(struct plan *plan, struct error *err);
bool plan_optimizer(struct plan *plan, struct error *err);
bool plan_all_reduce(struct plan *plan, struct error *err);

/* 64-byte aligned memory; false with a message when there is none. */
bool cpu_alloc(size_t bytes, void **memory, struct error *err);

/* Scratch that the plans of one queue share, since its jobs run one after the other: ask for
 * `bytes` when planning, take the memory (which may have moved since) when running. 64-byte
 * aligned. */
bool queue_scratch_reserve(struct plan *plan, size_t bytes, struct error *err);
void *queue_scratch(const struct plan *plan);

/* One pixel's channels as floats: a pointer into the tensor, or `row` filled from bfloat16. */
static inline const float *row_load(const struct tensor *t, const void *data, int64_t pixel,
                                    float *row)
{
    if (t->dtype == DTYPE_F32) return (const float *)data + pixel * t->pixel_stride;
    const uint16_t *source = (const uint16_t *)data + pixel * t->pixel_stride;
    for (int c = 0; c < t->c; c++) row[c] = bf16_to_float(source[c]);
    return row;
}

/* Where to write one pixel's channels; row_store() then rounds them if the tensor is bfloat16. */
static inline float *row_target(const struct tensor *t, void *data, int64_t pixel, float *row)
{
    return t->dtype == DTYPE_F32 ? (float *)data + pixel * t->pixel_stride : row;
}

static inline void row_store(const struct tensor *t, void *data, int64_t pixel, const float *row)
{
    if (t->dtype == DTYPE_F32) return;
    uint16_t *target = (uint16_t *)data + pixel * t->pixel_stride;
    /* Whoever fills a row fills all channels. NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage) */
    for (int c = 0; c < t->c; c++) target[c] = bf16_from_float(row[c]);
}

/* Channels of the widest tensor that goes through a row buffer on the stack. */
enum { ROW_CHANNELS_MAX = 8192 };

#endif
