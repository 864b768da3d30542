/* What all readers of weights share: look-up by name, the table of value types, release. */
#include "micromet/format/weights.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    { "F64", 8 }, { "I64", 8 }, { "U64", 8 },  { "F32", 4 },     { "I32", 4 },
    { "U32", 4 }, { "F16", 2 }, { "BF16", 2 }, { "I16", 2 },     { "U16", 2 },
    { "I8", 1 },  { "U8", 1 },  { "BOOL", 1 }, { "F8_E4M3", 1 }, { "F8_E5M2", 1 },
};

size_t weights_dtype_bytes(const char *dtype)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtypes[i].name, dtype) == 0) return dtypes[i].bytes;
    return 0;
}

const struct weight_array *weights_find(const struct weights *weights, const char *name)
{
    for (int i = 0; i < weights->count; i++)
        if (strcmp(weights->arrays[i].name, name) == 0) return &weights->arrays[i];
    return NULL;
}

const char *weights_metadata(const struct weights *weights, const char *key)
{
    for (char **pair = weights->metadata; pair && *pair; pair += 2)
        if (strcmp(pair[0], key) == 0) return pair[1];
    return NULL;
}

void weights_let_go(const struct weights *weights, const struct weight_array *array)
{
    if (!weights->storage_is_mapping) return;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t bytes = (size_t)array->count * weights_dtype_bytes(array->dtype);
    const uintptr_t address = (uintptr_t)array->data, first = address - address % page;
    madvise((void *)first, address + bytes - first, MADV_DONTNEED); /* failing is harmless */
}

void weights_release(struct weights *weights)
{
    for (int i = 0; i < weights->count; i++) free(weights->arrays[i].name);
    free(weights->arrays);
    for (char **text = weights->metadata; text && *text; text++) free(*text);
    free(weights->metadata);
    if (weights->storage_is_mapping)
        munmap(weights->storage, weights->storage_bytes);
    else
        free(weights->storage);
    *weights = (struct weights) { 0 };
}
