/* safetensors files: u64 length of the header, JSON header, bytes
 * (github.com/huggingface/safetensors).
 *
 * Reading maps the file and trusts nothing in it: every tensor must lie inside the bytes, aligned,
 * and all tensors together must cover the bytes exactly once. What passes can be used in place.
 *
 * Files that we write carry a checksum of all their bytes as metadata; it is taken with its own
 * digits as zeros, so one pass writes the file and a second look only puts the digits in place. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xxhash.h>

#include "micromet/base/file.h"
#include "micromet/format/weights.h"
#include "weights_parts.h"

enum { HEADER_BYTES_MAX = 100 * 1000 * 1000, LENGTH_BYTES = 8, BUFFER_ALIGNMENT = 64 };

static const char metadata_key[] = "__metadata__";

/* No string of the header can hold the second: its quotes would be escaped. */
static const char checksum_key[] = "micromet.xxh3", checksum_mark[] = "\"micromet.xxh3\":\"";
static const char checksum_zeros[] = "0000000000000000";
enum { CHECKSUM_DIGITS = sizeof checksum_zeros - 1, CHECKSUM_CHUNK_BYTES = 4 << 20 };

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

/* The header as a JSON object (the caller's to release), NULL on error; `buffer` gets what follows
 * it. */
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

/* Of the whole file, with zeros for the digits at `digits`. What was hashed is let go again: a file
 * must not stay resident for having been looked at once. */
static bool hash_file(const struct weights *weights, size_t digits, uint64_t *hash)
{
    uint8_t *bytes = weights->storage;
    XXH3_state_t *state = XXH3_createState();
    if (!state) return false;
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, bytes, digits);
    XXH3_64bits_update(state, checksum_zeros, CHECKSUM_DIGITS);
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

/* A file without a checksum passes: others write such files, and so did we. */
static bool check_hash(const struct weights *weights, const char *path, const struct buffer *buffer,
                       struct error *err)
{
    const char *stored = weights_metadata(weights, checksum_key);
    if (!stored) return true;
    uint8_t *bytes = weights->storage, *header = bytes + LENGTH_BYTES;
    const uint8_t *mark = memmem(header, (size_t)(buffer->bytes - header), checksum_mark,
                                 sizeof checksum_mark - 1);
    const uint8_t *digits = mark ? mark + sizeof checksum_mark - 1 : NULL;
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
                     path, checksum_key);
}

/* Shape and dtype into `array`; *bytes is what its values take. Returns NULL, or what is wrong. */
static const char *read_shape(struct weight_array *array, json_t *entry, uint64_t *bytes)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    json_t *shape = json_object_get(entry, "shape"), *size;
    if (!dtype || !weights_dtype_bytes(dtype)) return "dtype is missing or unknown";
    strcpy(array->dtype, dtype);
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

/* Tensors in the order of their bytes; each must start where the one before it ends. */
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
    if (!read_metadata(weights, path, json_object_get(header, metadata_key), err)) goto fail;
    weights->arrays = calloc(json_object_size(header) + 1, sizeof *weights->arrays);
    if (!weights->arrays) {
        error_set(err, EXIT_CODE_FAILED, "%s: no memory for the list of tensors", path);
        goto fail;
    }
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry)
    {
        if (strcmp(name, metadata_key) == 0) continue;
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

/* Add one tensor at `*offset`, which moves to its end. */
static bool describe_tensor(json_t *header, const struct weight_array *array, uint64_t *offset,
                            const char *path, struct error *err)
{
    CHECK(array->dims >= 0 && array->dims <= ARRAY_DIMS_MAX);
    json_t *shape = json_array();
    int64_t count = 1;
    for (int i = 0; i < array->dims; i++) {
        json_array_append_new(shape, json_integer(array->shape[i]));
        count *= array->shape[i];
    }
    CHECK(count == array->count);
    uint64_t begin = *offset;
    *offset += (uint64_t)count * weights_dtype_bytes(array->dtype);
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", array->dtype, "shape", shape,
                              "data_offsets", (json_int_t)begin, (json_int_t)*offset);
    bool taken = json_object_get(header, array->name) || !weights_plain_name(array->name);
    if (!taken && json_object_set(header, array->name, entry) != 0) taken = true;
    json_decref(entry);
    if (taken) refuse(err, path, array->name, "its name is taken, or is not plain UTF-8 text");
    return !taken;
}

/* In the order of the file: wider values first, so that no tensor is misaligned. */
static const size_t widths[] = { 8, 4, 2, 1 };
enum { WIDTHS = sizeof widths / sizeof *widths };

static bool fill_header(json_t *header, const char *path, const struct weight_array *arrays,
                        int count, const char *const *metadata, struct error *err)
{
    json_t *texts = json_object();
    json_object_set_new(header, metadata_key, texts);
    for (; metadata && *metadata; metadata += 2)
        if (json_object_set_new(texts, metadata[0], json_string(metadata[1])) != 0)
            return error_set(err, EXIT_CODE_FAILED, "%s: metadata '%.200s' is not UTF-8 text", path,
                             metadata[0]);
    json_object_set_new(texts, checksum_key, json_string(checksum_zeros));
    uint64_t offset = 0;
    for (int w = 0; w < WIDTHS; w++)
        for (int i = 0; i < count; i++)
            if (weights_dtype_bytes(arrays[i].dtype) == widths[w] &&
                !describe_tensor(header, &arrays[i], &offset, path, err))
                return false;
    return true;
}

/* What is written is hashed. */
struct output {
    struct atomic_file file;
    XXH3_state_t *hash;
};

static bool write_bytes(struct output *output, const void *bytes, size_t size, struct error *err)
{
    XXH3_64bits_update(output->hash, bytes, size);
    if (fwrite(bytes, 1, size, output->file.stream) == size) return true;
    return error_set(err, EXIT_CODE_FAILED, "%s: cannot write: %s", output->file.path,
                     strerror(errno));
}

static bool write_header(struct output *output, const char *text, struct error *err)
{
    const size_t length = strlen(text);
    const size_t padding = BUFFER_ALIGNMENT - 1 - (LENGTH_BYTES + length - 1) % BUFFER_ALIGNMENT;
    const uint64_t total = length + padding;
    uint8_t bytes[LENGTH_BYTES], spaces[BUFFER_ALIGNMENT];
    memset(spaces, ' ', sizeof spaces);
    for (int i = 0; i < LENGTH_BYTES; i++) bytes[i] = (uint8_t)(total >> (8 * i));
    return write_bytes(output, bytes, sizeof bytes, err) &&
           write_bytes(output, text, length, err) && write_bytes(output, spaces, padding, err);
}

static bool write_array(struct output *output, const struct weight_array *array, int index,
                        weights_fill fill, void *context, struct error *err)
{
    const size_t bytes = (size_t)array->count * weights_dtype_bytes(array->dtype);
    if (!fill) return write_bytes(output, array->data, bytes, err);
    void *values = malloc(bytes + 1);
    if (!values) return error_set(err, EXIT_CODE_FAILED, "no memory for '%s'", array->name);
    const bool done = fill(context, index, values, err) && write_bytes(output, values, bytes, err);
    free(values);
    return done;
}

/* Over the zeros that stand for it. */
static bool write_checksum(struct output *output, const char *text, struct error *err)
{
    const char *mark = strstr(text, checksum_mark);
    CHECK(mark);
    const off_t at = LENGTH_BYTES + (off_t)(mark - text) + (off_t)sizeof checksum_mark - 1;
    const unsigned long long hash = XXH3_64bits_digest(output->hash);
    if (fseeko(output->file.stream, at, SEEK_SET) == 0 &&
        fprintf(output->file.stream, "%016llx", hash) == CHECKSUM_DIGITS)
        return true;
    return error_set(err, EXIT_CODE_FAILED, "%s: cannot write: %s", output->file.path,
                     strerror(errno));
}

static bool write_all(struct output *output, const char *text, const struct weight_array *arrays,
                      int count, weights_fill fill, void *context, struct error *err)
{
    if (!write_header(output, text, err)) return false;
    for (int w = 0; w < WIDTHS; w++)
        for (int i = 0; i < count; i++)
            if (weights_dtype_bytes(arrays[i].dtype) == widths[w] &&
                !write_array(output, &arrays[i], i, fill, context, err))
                return false;
    return write_checksum(output, text, err) && atomic_file_commit(&output->file, err);
}

bool safetensors_write(const char *path, const struct weight_array *arrays, int count,
                       const char *const *metadata, struct error *err)
{
    return safetensors_write_filled(path, arrays, count, metadata, NULL, NULL, err);
}

bool safetensors_write_filled(const char *path, const struct weight_array *arrays, int count,
                              const char *const *metadata, weights_fill fill, void *context,
                              struct error *err)
{
    for (int i = 0; i < count; i++) CHECK(weights_dtype_bytes(arrays[i].dtype));
    json_t *header = json_object();
    bool described = fill_header(header, path, arrays, count, metadata, err);
    char *text = described ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    if (!described) return false;
    if (!text) return error_set(err, EXIT_CODE_FAILED, "%s: no memory for the header", path);
    struct output output = { .hash = XXH3_createState() };
    bool done = output.hash != NULL ||
                error_set(err, EXIT_CODE_FAILED, "%s: no memory for its checksum", path);
    if (done) XXH3_64bits_reset(output.hash);
    done = done && atomic_file_open(&output.file, path, err) &&
           write_all(&output, text, arrays, count, fill, context, err);
    atomic_file_release(&output.file);
    XXH3_freeState(output.hash);
    free(text);
    return done;
}
