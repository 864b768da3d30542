/* Reads safetensors files. The file is memory-mapped and not trusted: every tensor must be aligned
 * and inside the data, and together the tensors must cover the data exactly once. Arrays that pass
 * are used in place. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xxhash.h>

#include "micromet/format/weights.h"
#include "safetensors.h"
#include "weights_parts.h"

enum { HEADER_BYTES_MAX = 100 * 1000 * 1000, CHECKSUM_CHUNK_BYTES = 4 << 20 };

/* The part of the file after the header. */
struct buffer {
    const char *path;
    const uint8_t *bytes;
    uint64_t size;
};

static bool refuse(struct error *err, const char *path, const char *tensor, const char *reason)
{
    return error_set(err, EXIT_CODE_FAILED, "%s: tensor '%.200s': %s", path, tensor, reason);
}

/* Parse the header as a JSON object, which the caller releases; NULL on error. `buffer` becomes the
 * data after it. */
static json_t *read_header(const struct weights *weights, const char *path, struct buffer *buffer,
                           struct error *err)
{
    const uint8_t *bytes = weights->storage;
    uint64_t length = 0, available = weights->storage_bytes - LENGTH_BYTES;
    for (int i = 0; i < LENGTH_BYTES; i++) length |= (uint64_t)bytes[i] << (8 * i);
    if (length > HEADER_BYTES_MAX || length > available) {
        error_set(err, EXIT_CODE_FAILED,
                  "%s: not a safetensors file, or cut short: a header of %llu bytes is announced, "
                  "%llu bytes follow",
                  path, (unsigned long long)length, (unsigned long long)available);
        return NULL;
    }
    const uint8_t *text = bytes + LENGTH_BYTES;
    *buffer = (struct buffer) { path, text + length, available - length };
    json_error_t where;
    json_t *header = json_loadb((const char *)text, (size_t)length, JSON_REJECT_DUPLICATES, &where);
    if (!header) {
        error_set(err, EXIT_CODE_FAILED, "%s: safetensors header, byte %d: %s", path,
                  where.position, where.text);
    } else if (!json_is_object(header)) {
        error_set(err, EXIT_CODE_FAILED, "%s: safetensors header is not a JSON object", path);
        json_decref(header);
        header = NULL;
    }
    return header;
}

static bool read_metadata(struct weights *weights, const char *path, json_t *metadata,
                          struct error *err)
{
    if (!metadata) return true;
    if (!json_is_object(metadata))
        return error_set(err, EXIT_CODE_FAILED, "%s: __metadata__ is not an object", path);
    char **pairs = calloc(2 * json_object_size(metadata) + 1, sizeof *pairs);
    if (!pairs) return error_set(err, EXIT_CODE_FAILED, "%s: no memory for metadata", path);
    weights->metadata = pairs;
    const char *key;
    json_t *value;
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return error_set(err, EXIT_CODE_FAILED, "%s: __metadata__ '%.200s' is not a string",
                             path, key);
        pairs[0] = strdup(key);
        pairs[1] = pairs[0] ? strdup(json_string_value(value)) : NULL;
        if (!pairs[1]) return error_set(err, EXIT_CODE_FAILED, "%s: no memory for metadata", path);
        pairs += 2;
    }
    return true;
}

/* Hash the whole file, with the digits at offset `digits` taken as zeros. Hashed pages are dropped
 * again, so that checking a file does not keep it resident. */
static bool hash_file(const struct weights *weights, size_t digits, uint64_t *hash)
{
    uint8_t *bytes = weights->storage;
    XXH3_state_t *state = XXH3_createState();
    if (!state) return false;
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, bytes, digits);
    XXH3_64bits_update(state, CHECKSUM_ZEROS, CHECKSUM_DIGITS);
    for (size_t at = digits + CHECKSUM_DIGITS, end; at < weights->storage_bytes; at = end) {
        const size_t chunk = at / CHECKSUM_CHUNK_BYTES * CHECKSUM_CHUNK_BYTES;
        end = chunk + CHECKSUM_CHUNK_BYTES;
        if (end > weights->storage_bytes) end = weights->storage_bytes;
        XXH3_64bits_update(state, bytes + at, end - at);
        madvise(bytes + chunk, end - chunk, MADV_DONTNEED);
    }
    *hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return true;
}

/* Files without a checksum pass: other programs and earlier versions write none. */
static bool check_hash(const struct weights *weights, const char *path, const struct buffer *buffer,
                       struct error *err)
{
    const char *stored = weights_metadata(weights, CHECKSUM_KEY);
    if (!stored) return true;
    uint8_t *bytes = weights->storage, *header = bytes + LENGTH_BYTES;
    const uint8_t *mark = memmem(header, (size_t)(buffer->bytes - header), CHECKSUM_MARK,
                                 strlen(CHECKSUM_MARK));
    const uint8_t *digits = mark ? mark + strlen(CHECKSUM_MARK) : NULL;
    char found[CHECKSUM_DIGITS + 1] = "";
    if (digits && strlen(stored) == CHECKSUM_DIGITS) {
        uint64_t hash;
        if (!hash_file(weights, (size_t)(digits - bytes), &hash))
            return error_set(err, EXIT_CODE_FAILED, "%s: no memory for its checksum", path);
        snprintf(found, sizeof found, "%016llx", (unsigned long long)hash);
    }
    return strcmp(found, stored) == 0 ||
           error_set(err, EXIT_CODE_FAILED,
                     "%s: is damaged: its checksum does not fit its content; copy it again or take "
                     "another one (a program that changes such a file must leave out the metadata "
                     "'%s')",
                     path, CHECKSUM_KEY);
}

/* Read shape and dtype into `array`; *bytes is the size of the values. Returns NULL, or
 * what is wrong. */
static const char *read_shape(struct weight_array *array, json_t *entry, uint64_t *bytes)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    json_t *shape = json_object_get(entry, "shape"), *size;
    if (!dtype || !weights_dtype_bytes(dtype)) return "dtype is missing or unknown";
    snprintf(array->dtype, sizeof array->dtype, "%s", dtype);
    if (!json_is_array(shape)) return "shape is missing or not a list";
    if (json_array_size(shape) > ARRAY_DIMS_MAX) return "more than 8 dimensions";
    array->dims = (int)json_array_size(shape);
    array->count = 1;
    size_t axis;
    json_array_foreach(shape, axis, size)
    {
        if (!json_is_integer(size) || json_integer_value(size) < 0)
            return "shape holds something other than whole numbers from 0";
        array->shape[axis] = json_integer_value(size);
        if (__builtin_mul_overflow(array->count, array->shape[axis], &array->count))
            return "shape is too large";
    }
    if (__builtin_mul_overflow((uint64_t)array->count, weights_dtype_bytes(dtype), bytes))
        return "shape is too large";
    return NULL;
}

static const char *read_place(struct weight_array *array, json_t *entry, uint64_t bytes,
                              const struct buffer *buffer)
{
    json_t *offsets = json_object_get(entry, "data_offsets");
    json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return "data_offsets is not [begin, end]";
    int64_t from = json_integer_value(begin), to = json_integer_value(end);
    if (from < 0 || to < from) return "data_offsets run backwards";
    if ((uint64_t)to > buffer->size) return "lies beyond the end of the file; is it cut short?";
    if ((uint64_t)(to - from) != bytes) return "data_offsets do not match shape and dtype";
    array->data = buffer->bytes + from;
    if (bytes && (uintptr_t)array->data % weights_dtype_bytes(array->dtype) != 0)
        return "is misaligned; save the file again with a current safetensors";
    return NULL;
}

static bool read_tensor(struct weights *weights, const char *name, json_t *entry,
                        const struct buffer *buffer, struct error *err)
{
    if (!weights_plain_name(name))
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: tensor %d has an empty name or one with control characters",
                         buffer->path, weights->count + 1);
    uint64_t bytes;
    struct weight_array *array = &weights->arrays[weights->count];
    const char *wrong = json_is_object(entry) ? read_shape(array, entry, &bytes)
                                              : "is not described by an object";
    if (!wrong) wrong = read_place(array, entry, bytes, buffer);
    if (wrong) return refuse(err, buffer->path, name, wrong);
    array->name = strdup(name);
    if (!array->name) return refuse(err, buffer->path, name, "no memory");
    weights->count++;
    return true;
}

static const uint8_t *array_end(const struct weight_array *array)
{
    return (const uint8_t *)array->data + (size_t)array->count * weights_dtype_bytes(array->dtype);
}

static int by_place(const void *left, const void *right)
{
    const struct weight_array *a = left, *b = right;
    if (a->data != b->data) return (const uint8_t *)a->data < (const uint8_t *)b->data ? -1 : 1;
    return (array_end(a) > array_end(b)) - (array_end(a) < array_end(b));
}

/* In file order, each tensor must start where the previous one ends. */
static bool check_cover(struct weights *weights, const struct buffer *buffer, struct error *err)
{
    if (weights->count)
        qsort(weights->arrays, (size_t)weights->count, sizeof *weights->arrays, by_place);
    const uint8_t *at = buffer->bytes;
    for (int i = 0; i < weights->count; i++) {
        const struct weight_array *array = &weights->arrays[i];
        if ((const uint8_t *)array->data < at)
            return refuse(err, buffer->path, array->name, "overlaps the tensor before it");
        if ((const uint8_t *)array->data > at)
            return refuse(err, buffer->path, array->name, "leaves a gap before it");
        at = array_end(array);
    }
    if (at != buffer->bytes + buffer->size)
        return error_set(err, EXIT_CODE_FAILED, "%s: %llu bytes at the end belong to no tensor",
                         buffer->path, (unsigned long long)(buffer->bytes + buffer->size - at));
    return true;
}

bool safetensors_read(struct weights *weights, const char *path, struct error *err)
{
    *weights = (struct weights) { 0 };
    json_t *header = NULL;
    struct buffer buffer;
    if (!weights_map(weights, path, err)) goto fail;
    weights->format = WEIGHTS_SAFETENSORS;
    if (weights->storage_bytes < LENGTH_BYTES) {
        error_set(err, EXIT_CODE_FAILED, "%s: not a safetensors file: too short", path);
        goto fail;
    }
    header = read_header(weights, path, &buffer, err);
    if (!header) goto fail;
    if (!read_metadata(weights, path, json_object_get(header, METADATA_KEY), err)) goto fail;
    weights->arrays = calloc(json_object_size(header) + 1, sizeof *weights->arrays);
    if (!weights->arrays) {
        error_set(err, EXIT_CODE_FAILED, "%s: no memory for the list of tensors", path);
        goto fail;
    }
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry)
    {
        if (strcmp(name, METADATA_KEY) == 0) continue;
        if (!read_tensor(weights, name, entry, &buffer, err)) goto fail;
    }
    if (!check_cover(weights, &buffer, err) || !check_hash(weights, path, &buffer, err)) goto fail;
    json_decref(header);
    return true;
fail:
    json_decref(header);
    weights_release(weights);
    return false;
}
