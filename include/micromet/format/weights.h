/* Named float arrays from a file of weights: one shape for every reader (safetensors, Keras HDF5).
 *
 * Files are untrusted: every size and offset is checked against the file before memory of that size
 * is taken. */
#ifndef MICROMET_FORMAT_WEIGHTS_H
#define MICROMET_FORMAT_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "micromet/base/error.h"

enum { ARRAY_DIMS_MAX = 8 };

struct weight_array {
    char *name;
    int dims;
    int64_t shape[ARRAY_DIMS_MAX];
    int64_t count;    /* product of the shape */
    const void *data; /* (count) float32, or the dtype below, little endian */
    char dtype[8];    /* safetensors' names: F32, BF16, F16, I64, U8 … */
};

/* Arrays stand in the file's order: Keras by layer, safetensors by offset. */
struct weights {
    struct weight_array *arrays;
    int count;
    char **metadata; /* safetensors: key, value, key, value …, NULL-terminated; may be NULL */
    void *storage;   /* owned memory or mapping */
    size_t storage_bytes;
    bool storage_is_mapping;
};

const struct weight_array *weights_find(const struct weights *weights, const char *name);
const char *weights_metadata(const struct weights *weights, const char *key); /* NULL if absent */
void weights_release(struct weights *weights);
/* Let go of the memory of an array in a mapped file; it is read from the file again where it is
 * still used. */
void weights_let_go(const struct weights *weights, const struct weight_array *array);

/* Bytes of one value of a safetensors type name; 0 if the name is unknown. */
size_t weights_dtype_bytes(const char *dtype);

/* safetensors: u64 LE header length, JSON, bytes. Refuses overlapping, oversized or misaligned
 * offsets, bytes that no tensor owns, shapes that do not match, duplicate names, headers over 100
 * MB, and content that the checksum does not fit, where there is one: metadata "micromet.xxh3" is
 * the XXH3-64 of the whole file with its own 16 digits as zeros. The file is mapped read-only,
 * arrays point into the mapping: write such files anew (safetensors_write), never in place. */
bool safetensors_read(struct weights *weights, const char *path, struct error *err);

/* Write atomically, in order, but types of wider values first, so that every tensor is aligned; the
 * bytes start at a multiple of 64. The checksum is added to the metadata. metadata as key, value
 * pairs, NULL-terminated, may be NULL. */
bool safetensors_write(const char *path, const struct weight_array *arrays, int count,
                       const char *const *metadata, struct error *err);

/* The same with values made one array at a time, so that a large model is never held twice: fill()
 * writes the values of array `index` (count × dtype), whose data pointer is ignored. */
typedef bool (*weights_fill)(void *context, int index, void *values, struct error *err);
bool safetensors_write_filled(const char *path, const struct weight_array *arrays, int count,
                              const char *const *metadata, weights_fill fill, void *context,
                              struct error *err);

/* Keras 2 HDF5 (notop.h5 or full .h5 with a model_weights group): arrays named "conv2d_1/kernel:0",
 * in the order of layer_names and weight_names (long attributes split into layer_names0,
 * layer_names1 …), converted to float32. Soft and external links, external and virtual storage are
 * refused. libhdf5 is not thread-safe: call from one thread at a time. Nor is it hardened against
 * forged metadata (1.10 can read outside its buffers): from strangers, take safetensors. */
bool keras_hdf5_read(struct weights *weights, const char *path, struct error *err);

#endif
