/* Writes safetensors files, which appear complete or not at all. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "micromet/base/file.h"
#include "micromet/base/size.h"
#include "micromet/format/weights.h"
#include "safetensors.h"
#include "weights_parts.h"

enum { BUFFER_ALIGNMENT = 64 };

/* Describe one tensor at `*offset`, which advances to its end. */
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
    if (taken)
        error_set(err, EXIT_CODE_FAILED,
                  "%s: tensor '%.200s': its name is taken, or is not plain UTF-8 text", path,
                  array->name);
    return !taken;
}

/* Tensors are written by descending width of their values, which keeps all of them aligned. */
static const size_t widths[] = { 8, 4, 2, 1 };
enum { WIDTHS = COUNT_OF(widths) };

static bool fill_header(json_t *header, const char *path, const struct weight_array *arrays,
                        int count, const char *const *metadata, struct error *err)
{
    json_t *texts = json_object();
    json_object_set_new(header, METADATA_KEY, texts);
    for (; metadata && *metadata; metadata += 2)
        if (json_object_set_new(texts, metadata[0], json_string(metadata[1])) != 0)
            return error_set(err, EXIT_CODE_FAILED, "%s: metadata '%.200s' is not UTF-8 text", path,
                             metadata[0]);
    json_object_set_new(texts, CHECKSUM_KEY, json_string(CHECKSUM_ZEROS));
    uint64_t offset = 0;
    for (int w = 0; w < WIDTHS; w++)
        for (int i = 0; i < count; i++)
            if (weights_dtype_bytes(arrays[i].dtype) == widths[w] &&
                !describe_tensor(header, &arrays[i], &offset, path, err))
                return false;
    return true;
}

/* A file whose content is hashed as it is written. */
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

/* Overwrite the zeros that stand for the checksum. */
static bool write_checksum(struct output *output, const char *text, struct error *err)
{
    const char *mark = strstr(text, CHECKSUM_MARK);
    CHECK(mark);
    const off_t at = LENGTH_BYTES + (off_t)(mark - text) + (off_t)strlen(CHECKSUM_MARK);
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
