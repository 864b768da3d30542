/* Registers, lays out and copies the arrays of a model. */
#include "parameters.h"

#include <stdio.h>
#include <stdlib.h>

#include "micromet/base/size.h"

void parameters_init(struct parameters *parameters, struct backend *backend)
{
    *parameters = (struct parameters) { .backend = backend };
}

void parameters_release(struct parameters *parameters)
{
    if (!parameters->backend) return;
    struct backend *backend = parameters->backend;
    for (int i = 0; i < parameters->count; i++) free(parameters->items[i].host);
    for (int q = 0; q < TOWERS_MAX; q++) {
        struct region *region = &parameters->regions[q];
        backend->ops->free(backend, region->values);
        backend->ops->free(backend, region->gradients);
        backend->ops->free(backend, region->state1);
        backend->ops->free(backend, region->state2);
        backend->ops->free(backend, region->average);
    }
    free(parameters->items);
    *parameters = (struct parameters) { 0 };
}

/* Until parameters_allocate(), `device` is unset and `host` and `trains` tell the array's place. */
int parameters_add(struct parameters *parameters, const char *name, int dims,
                   const int64_t *torch_shape, bool statistic, enum parameter_place place,
                   int queue, struct error *err)
{
    if (parameters->count == parameters->capacity) {
        const int capacity = parameters->capacity ? 2 * parameters->capacity : 512;
        struct parameter *grown = realloc(parameters->items, (size_t)capacity * sizeof *grown);
        if (!grown) {
            error_set(err, EXIT_CODE_FAILED, "out of memory for the list of parameters");
            return -1;
        }
        parameters->items = grown;
        parameters->capacity = capacity;
    }
    struct parameter *p = &parameters->items[parameters->count];
    *p = (struct parameter) { .dims = dims,
                              .count = 1,
                              .statistic = statistic,
                              .queue = queue,
                              .trains = place == PLACE_TRAINED };
    snprintf(p->name, sizeof p->name, "%s", name);
    for (int d = 0; d < dims; d++) {
        p->torch_shape[d] = torch_shape[d];
        p->count *= torch_shape[d];
    }
    if (place == PLACE_HOST) {
        /* A backend that runs nothing (dry_backend.c) is never asked for values: clearing the array
         * would only take its memory. */
        const size_t bytes = (size_t)p->count * sizeof *p->host;
        p->host = parameters->backend->ops->run ? calloc(1, bytes) : malloc(bytes);
        if (!p->host) {
            error_set(err, EXIT_CODE_FAILED, "out of memory for %s", name);
            return -1;
        }
    }
    return parameters->count++;
}

int64_t parameter_padded(int64_t count)
{
    enum { PADDING = 16 };
    return (int64_t)round_up((size_t)count, PADDING);
}

static bool region_allocate(struct backend *backend, struct region *region, int queue,
                            int state_count, bool averages, struct error *err)
{
    const size_t all = (size_t)region->count * sizeof(float);
    const size_t trained = (size_t)region->trained * sizeof(float);
    const size_t tail = queue == 0 && trained > 0 ? TAIL * sizeof(float) : 0;
    const size_t changing = trained + (size_t)region->statistics * sizeof(float);
    const struct {
        float **memory;
        size_t bytes;
        const char *name;
    } arrays[] = {
        { &region->values, all, "parameters" },
        { &region->gradients, trained + tail, "gradients" },
        { &region->state1, state_count >= 1 ? trained : 0, "optimizer state" },
        { &region->state2, state_count >= 2 ? trained : 0, "optimizer state" },
        { &region->average, averages && trained > 0 ? changing : 0, "averages of the weights" },
    };
    for (size_t i = 0; i < COUNT_OF(arrays); i++) {
        if (arrays[i].bytes == 0) continue;
        if (!backend->ops->alloc(backend, arrays[i].bytes, (void **)arrays[i].memory, err))
            return error_prefix(err, "%s", arrays[i].name);
        if (!backend->ops->zero(backend, queue, *arrays[i].memory, arrays[i].bytes, err))
            return false;
    }
    return true;
}

/* The groups of a region, in their order. */
enum group { GROUP_TRAINED, GROUP_STATISTICS, GROUP_OTHER, GROUPS };

static enum group group_of(const struct parameter *p)
{
    return p->trains ? GROUP_TRAINED : p->statistic ? GROUP_STATISTICS : GROUP_OTHER;
}

bool parameters_allocate(struct parameters *parameters, int state_count, bool averages,
                         struct error *err)
{
    for (int i = 0; i < parameters->count; i++) {
        const struct parameter *p = &parameters->items[i];
        struct region *region = &parameters->regions[p->queue];
        if (p->host) continue;
        region->count += parameter_padded(p->count);
        if (group_of(p) == GROUP_TRAINED) region->trained += parameter_padded(p->count);
        if (group_of(p) == GROUP_STATISTICS) region->statistics += parameter_padded(p->count);
    }
    for (int q = 0; q < parameters->backend->facts.queues; q++)
        if (!region_allocate(parameters->backend, &parameters->regions[q], q, state_count, averages,
                             err))
            return false;
    int64_t next[TOWERS_MAX] = { 0 };
    for (int group = 0; group < GROUPS; group++)
        for (int i = 0; i < parameters->count; i++) {
            struct parameter *p = &parameters->items[i];
            if (p->host || (int)group_of(p) != group) continue;
            const struct region *region = &parameters->regions[p->queue];
            const int64_t at = next[p->queue];
            next[p->queue] += parameter_padded(p->count);
            p->device = region->values + at;
            if (region->average && group != GROUP_OTHER) p->average = region->average + at;
            if (!p->trains) continue;
            p->gradient = region->gradients + at;
            if (region->state1) p->state1 = region->state1 + at;
            if (region->state2) p->state2 = region->state2 + at;
        }
    return parameters->backend->ops->synchronize(parameters->backend, err);
}

static float *part_address(struct parameters *parameters, int index, enum parameter_part part)
{
    CHECK(index >= 0 && index < parameters->count);
    const struct parameter *p = &parameters->items[index];
    switch (part) {
    case PART_VALUE:
        return p->host ? p->host : p->device;
    case PART_GRADIENT:
        return p->gradient;
    case PART_STATE1:
        return p->state1;
    case PART_STATE2:
        return p->state2;
    case PART_AVERAGE:
        return p->average;
    }
    return NULL;
}

static bool transfer(struct parameters *parameters, int index, float *to, const float *from,
                     struct error *err)
{
    const struct parameter *p = &parameters->items[index];
    const struct backend_ops *ops = parameters->backend->ops;
    const size_t bytes = (size_t)p->count * sizeof(float);
    CHECK(to && from);
    if (p->host) {
        memcpy(to, from, bytes);
        return true;
    }
    return ops->copy(parameters->backend, p->queue, to, from, bytes, err) &&
           ops->synchronize(parameters->backend, err);
}

bool parameters_load(struct parameters *parameters, int index, enum parameter_part part,
                     float *values, struct error *err)
{
    return transfer(parameters, index, values, part_address(parameters, index, part), err);
}

bool parameters_store(struct parameters *parameters, int index, enum parameter_part part,
                      const float *values, struct error *err)
{
    return transfer(parameters, index, part_address(parameters, index, part), values, err);
}

void parameters_discard(struct parameters *parameters, int index)
{
    struct parameter *p = &parameters->items[index];
    CHECK(!p->device);
    free(p->host);
    p->host = NULL;
}

static void reorder(const struct parameter *p, const float *from, float *to, bool to_torch)
{
    if (p->dims != 4) {
        memcpy(to, from, (size_t)p->count * sizeof *to);
        return;
    }
    const int64_t channels = p->torch_shape[1], taps = p->torch_shape[2] * p->torch_shape[3];
    for (int64_t k = 0; k < p->torch_shape[0]; k++)
        for (int64_t t = 0; t < taps; t++)
            for (int64_t c = 0; c < channels; c++) {
                const int64_t ours = (k * taps + t) * channels + c;
                const int64_t torch = (k * channels + c) * taps + t;
                if (to_torch)
                    to[torch] = from[ours];
                else
                    to[ours] = from[torch];
            }
}

void order_from_torch(const struct parameter *parameter, const float *torch, float *ours)
{
    reorder(parameter, torch, ours, false);
}

void order_to_torch(const struct parameter *parameter, const float *ours, float *torch)
{
    reorder(parameter, ours, torch, true);
}
