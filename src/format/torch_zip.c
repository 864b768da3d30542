/* Files of torch.save(): an archive of data.pkl, the object, and of data/<key>, the values of its
 * tensors. The idea: look at all tensors first, so that every size is known and checked before one
 * allocation takes the values, each storage read once and straight into its place. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "pickle.h"
#include "weights_parts.h"

enum {
    PICKLE_BYTES_MAX = 16 << 20,
    TENSORS_MAX = 1 << 16,
    ALIGNMENT = 64,
    COPIES_MAX = 16, /* tensors that must be copied may take so many times the file's bytes */
    NAME_BYTES_MAX = 1024,
};
static const char pickle_entry[] = "/data.pkl";

struct reader {
    const struct archive *archive;
    struct weights *weights;
    char folder[NAME_BYTES_MAX]; /* all entries lie in one: "archive" */
    uint64_t *places;            /* by entry: 1 + where its values go; 0 = nowhere */
    uint64_t bytes;              /* of all values so far */
    uint64_t copied_bytes;
    struct error *err;
};

static bool refuse(struct reader *reader, const char *what, const char *reason)
{
    return error_set(reader->err, EXIT_CODE_FAILED, "%s: '%.200s': %s", reader->archive->path, what,
                     reason);
}

/* The entry "<folder>/data.pkl"; -1 if there is none. */
static int find_pickle(const struct archive *archive, char folder[NAME_BYTES_MAX])
{
    for (int i = 0; i < archive->count; i++) {
        const char *name = archive_name(archive, i), *slash = strchr(name, '/');
        if (!slash || strcmp(slash, pickle_entry) != 0 || slash - name >= NAME_BYTES_MAX) continue;
        snprintf(folder, NAME_BYTES_MAX, "%.*s", (int)(slash - name), name);
        return i;
    }
    return -1;
}

bool torch_zip_sniff(const struct archive *archive)
{
    char folder[NAME_BYTES_MAX];
    return find_pickle(archive, folder) >= 0;
}

static int find_entry(const struct reader *reader, const char *name, size_t length)
{
    char path[2 * NAME_BYTES_MAX];
    const int printed = snprintf(path, sizeof path, "%s/%.*s", reader->folder, (int)length, name);
    if (length >= NAME_BYTES_MAX || printed >= (int)sizeof path || memchr(name, '\0', length))
        return -1;
    return archive_find(reader->archive, path);
}

static bool check_order(struct reader *reader)
{
    static const char name[] = "byteorder";
    const int entry = find_entry(reader, name, sizeof name - 1);
    if (entry < 0) return true; /* earlier than PyTorch 2.1: little */
    size_t size;
    char *order = archive_read_new(reader->archive, entry, 16, &size, reader->err);
    const bool little = order && strcmp(order, "little") == 0;
    if (order && !little) refuse(reader, name, "is not little; save the file on another machine");
    free(order);
    return little;
}

/* --- Finding the tensors --------------------------------------------------------------------------- */

static bool has_tensors(const struct pickle_value *value)
{
    if (!value || value->kind != PICKLE_DICT) return false;
    for (int i = 0; i + 1 < value->list.count; i += 2)
        if (value->list.items[i]->kind == PICKLE_STRING &&
            value->list.items[i + 1]->kind == PICKLE_TENSOR)
            return true;
    return false;
}

/* Checkpoints of Lightning, timm and others keep the state dict beside the optimizer's. */
static const struct pickle_value *find_state(const struct pickle_value *root)
{
    static const char *const keys[] = { "state_dict", "model_state_dict", "model" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct pickle_value *state = pickle_get(root, keys[i]);
        if (has_tensors(state)) return state;
    }
    return has_tensors(root) ? root : NULL;
}

/* Values from the first to one behind the last; false if they do not fit in 64 bits. */
static bool tensor_extent(const struct pickle_tensor *tensor, int64_t *extent)
{
    *extent = 1;
    for (int i = 0; i < tensor->dims; i++) {
        int64_t step;
        if (tensor->shape[i] == 0) {
            *extent = 0;
            return true;
        }
        if (__builtin_mul_overflow(tensor->shape[i] - 1, tensor->stride[i], &step) ||
            __builtin_add_overflow(*extent, step, extent))
            return false;
    }
    return true;
}

static bool is_contiguous(const struct pickle_tensor *tensor, int64_t count)
{
    int64_t expected = 1; /* at most `count`, which fits */
    if (count == 0) return true;
    for (int i = tensor->dims - 1; i >= 0; i--) {
        if (tensor->shape[i] != 1 && tensor->stride[i] != expected) return false;
        expected *= tensor->shape[i];
    }
    return true;
}

static const char *take_shape(struct weight_array *array, const struct pickle_tensor *tensor)
{
    int64_t extent;
    strcpy(array->dtype, tensor->storage.dtype);
    array->dims = tensor->dims;
    array->count = 1;
    for (int i = 0; i < tensor->dims; i++) {
        array->shape[i] = tensor->shape[i];
        if (__builtin_mul_overflow(array->count, array->shape[i], &array->count))
            return "is too large";
    }
    if (!tensor_extent(tensor, &extent) || tensor->offset > tensor->storage.count ||
        extent > tensor->storage.count - tensor->offset)
        return "lies outside its storage";
    /* A view may repeat values: then it is larger than what it looks at. */
    if (array->count > tensor->storage.count)
        return "is an expanded view; save tensor.contiguous() instead";
    return NULL;
}

/* Give the storage's entry a place, unless it has one. */
static const char *take_storage(struct reader *reader, const struct pickle_storage *storage, int *entry)
{
    char name[NAME_BYTES_MAX];
    const int length = snprintf(name, sizeof name, "data/%.*s",
                                (int)(storage->key.length < NAME_BYTES_MAX ? storage->key.length : 0),
                                storage->key.bytes);
    *entry = find_entry(reader, name, (size_t)length);
    if (*entry < 0) return "its values are not in the archive";
    const uint64_t bytes = archive_bytes(reader->archive, *entry);
    if ((uint64_t)storage->count > UINT64_MAX / 8 ||
        bytes != (uint64_t)storage->count * weights_dtype_bytes(storage->dtype))
        return "its values do not have the size that is announced";
    if (reader->places[*entry]) return NULL;
    reader->places[*entry] = 1 + reader->bytes;
    reader->bytes += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return NULL;
}

/* The state dict's tensors as arrays without values. */
static bool survey(struct reader *reader, const struct pickle_value *state)
{
    struct weights *weights = reader->weights;
    const int pairs = state->list.count / 2;
    weights->arrays = calloc((size_t)pairs + 1, sizeof *weights->arrays);
    if (!weights->arrays || pairs > TENSORS_MAX) return refuse(reader, "data.pkl", "is too large");
    for (int i = 0; i < pairs; i++) {
        const struct pickle_value *key = state->list.items[2 * i], *value = state->list.items[2 * i + 1];
        if (key->kind != PICKLE_STRING || value->kind != PICKLE_TENSOR) continue;
        struct weight_array *array = &weights->arrays[weights->count];
        array->name = strndup(key->text.bytes, key->text.length);
        if (!array->name) return refuse(reader, "data.pkl", "no memory");
        weights->count++;
        int entry;
        const char *wrong = weights_plain_name(array->name) && strlen(array->name) == key->text.length
                                ? take_shape(array, value->tensor)
                                : "has an empty or unprintable name";
        if (!wrong) wrong = take_storage(reader, &value->tensor->storage, &entry);
        if (wrong) return refuse(reader, array->name, wrong);
        if (!is_contiguous(value->tensor, array->count))
            reader->copied_bytes += (uint64_t)array->count * weights_dtype_bytes(array->dtype) + ALIGNMENT;
        if (reader->copied_bytes / COPIES_MAX > reader->archive->file_bytes)
            return refuse(reader, array->name, "its views unpack to more than the file can hold");
    }
    return weights_check_names(weights, reader->archive->path, reader->err);
}

/* --- Reading the values ---------------------------------------------------------------------------- */

static bool read_storages(struct reader *reader)
{
    struct weights *weights = reader->weights;
    weights->storage_bytes = (size_t)(reader->bytes + reader->copied_bytes + ALIGNMENT);
    if (posix_memalign(&weights->storage, ALIGNMENT, weights->storage_bytes) != 0) {
        weights->storage = NULL;
        return refuse(reader, "data", "no memory for the values");
    }
    for (int i = 0; i < reader->archive->count; i++)
        if (reader->places[i] &&
            !archive_read(reader->archive, i, (char *)weights->storage + reader->places[i] - 1,
                          reader->err))
            return false;
    return true;
}

/* The view's values in the order of its shape. */
static void copy_view(const struct pickle_tensor *tensor, const char *from, size_t bytes, char *to,
                      int64_t count)
{
    int64_t index[ARRAY_DIMS_MAX] = { 0 };
    for (int64_t i = 0; i < count; i++) {
        int64_t at = 0;
        for (int d = 0; d < tensor->dims; d++) at += index[d] * tensor->stride[d];
        memcpy(to + (size_t)i * bytes, from + (size_t)at * bytes, bytes);
        for (int d = tensor->dims - 1; d >= 0 && ++index[d] == tensor->shape[d]; d--) index[d] = 0;
    }
}

static void place_arrays(struct reader *reader, const struct pickle_value *state)
{
    char *values = reader->weights->storage, *copies = values + reader->bytes;
    struct weight_array *array = reader->weights->arrays;
    for (int i = 0; i + 1 < state->list.count; i += 2) {
        if (state->list.items[i]->kind != PICKLE_STRING ||
            state->list.items[i + 1]->kind != PICKLE_TENSOR)
            continue;
        const struct pickle_tensor *tensor = state->list.items[i + 1]->tensor;
        const size_t bytes = weights_dtype_bytes(array->dtype);
        int entry;
        CHECK(!take_storage(reader, &tensor->storage, &entry));
        const char *from = values + reader->places[entry] - 1 + (size_t)tensor->offset * bytes;
        array->data = from;
        if (!is_contiguous(tensor, array->count)) {
            copy_view(tensor, from, bytes, copies, array->count);
            array->data = copies;
            copies += ((size_t)array->count * bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        }
        array++;
    }
}

static bool read_state(struct reader *reader, const struct pickle_value *root)
{
    const struct pickle_value *state = find_state(root);
    if (!state)
        return refuse(reader, "data.pkl",
                      "is no state dict, nor has it one as state_dict, model_state_dict or model; save "
                      "model.state_dict()");
    if (!survey(reader, state) || !read_storages(reader)) return false;
    place_arrays(reader, state);
    return true;
}

bool torch_zip_read(struct weights *weights, const struct archive *archive, struct error *err)
{
    struct reader reader = { .archive = archive, .weights = weights, .err = err };
    struct pickle pickle = { 0 };
    size_t size;
    const int entry = find_pickle(archive, reader.folder);
    CHECK(entry >= 0);
    weights->format = WEIGHTS_TORCH_ZIP;
    reader.places = calloc((size_t)archive->count, sizeof *reader.places);
    bool done = (reader.places && check_order(&reader)) || refuse(&reader, "data.pkl", "no memory");
    char *bytes = done ? archive_read_new(archive, entry, PICKLE_BYTES_MAX, &size, err) : NULL;
    done = bytes && pickle_read(&pickle, bytes, size, archive->path, err) &&
           read_state(&reader, pickle.root);
    pickle_release(&pickle);
    free(bytes);
    free(reader.places);
    return done;
}
