/* Files of torch.save(): a zip archive of data.pkl, the pickled object, and data/<key>, the values
 * of its tensors. All tensors are examined first, so that every size is known and checked before
 * one allocation for all values; then each storage is read once, directly into its place. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "micromet/base/size.h"
#include "pickle.h"
#include "weights_parts.h"

enum {
    PICKLE_BYTES_MAX = 16 << 20,
    TENSORS_MAX = 1 << 16,
    ALIGNMENT = 64,
    COPIES_MAX = 16, /* limit on views and their storages, as a multiple of the file's size */
    NAME_BYTES_MAX = 1024,
    STATES_MAX = 8,
    KEY_BYTES_MAX = 128, /* of a state dict, as it goes before each of its names */
    NETWORK_MIN = 90,    /* tensors of a network's state dict: InceptionV3 has 94 convolutions */
};
static const char pickle_entry[] = "/data.pkl";

/* A tensor of a state dict, and the offset of its values in weights->storage. */
struct found {
    const struct pickle_tensor *tensor;
    uint64_t at;
};

struct reader {
    const struct archive *archive;
    struct weights *weights;
    char folder[NAME_BYTES_MAX]; /* the folder of all entries, such as "archive" */
    struct found *found;         /* by array */
    uint64_t *places;            /* by entry: 1 + offset of its values; 0 = not used */
    uint64_t bytes;              /* of all values so far */
    char *scratch;               /* the storage from which views are being copied */
    int scratch_entry;           /* its entry */
    uint64_t scratch_bytes;      /* sum over the storages read this way */
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
    if (entry < 0) return true; /* PyTorch before 2.1 wrote none: little */
    size_t size;
    char *order = archive_read_new(reader->archive, entry, 16, &size, reader->err);
    const bool little = order && strcmp(order, "little") == 0;
    if (order && !little) refuse(reader, name, "is not little; save the file on another machine");
    free(order);
    return little;
}

/* --- Finding the tensors ---------------------------------------------------------------------- */

static int count_tensors(const struct pickle_value *value)
{
    int tensors = 0;
    for (int i = 0; value && value->kind == PICKLE_DICT && i + 1 < value->list.count; i += 2)
        tensors += value->list.items[i]->kind == PICKLE_STRING &&
                   value->list.items[i + 1]->kind == PICKLE_TENSOR;
    return tensors;
}

/* A state dict of the file, and the key under which it stands; the key's length is 0 for the file
 * itself. */
struct state {
    const struct pickle_value *dict;
    struct pickle_text key;
};

/* Checkpoints of Lightning, timm and others keep the state dict beside that of the optimizer, and
 * perhaps its moving average under a key of its own. Returns the number of networks' state dicts:
 * those with many tensors; or, if there is none, the first with any. */
static int find_states(const struct pickle_value *root, struct state states[STATES_MAX])
{
    static const char *const keys[] = { "state_dict", "model_state_dict", "model" };
    int count = 0;
    if (count_tensors(root) >= NETWORK_MIN) states[count++] = (struct state) { .dict = root };
    const bool keyed = root && root->kind == PICKLE_DICT;
    for (int i = 0; keyed && i + 1 < root->list.count && count < STATES_MAX; i += 2) {
        const struct pickle_value *key = root->list.items[i], *value = root->list.items[i + 1];
        if (key->kind == PICKLE_STRING && key->text.length <= KEY_BYTES_MAX &&
            count_tensors(value) >= NETWORK_MIN)
            states[count++] = (struct state) { value, key->text };
    }
    for (size_t i = 0; i < COUNT_OF(keys) && count == 0; i++) {
        const struct pickle_value *value = pickle_get(root, keys[i]);
        if (count_tensors(value)) states[count++] = (struct state) { .dict = value };
    }
    if (count == 0 && count_tensors(root)) states[count++] = (struct state) { .dict = root };
    return count;
}

/* Number of values from the first to the last, inclusive; false if it does not fit in 64 bits. */
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
    snprintf(array->dtype, sizeof array->dtype, "%s", tensor->storage.dtype);
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
    /* A view may repeat values, and so be larger than its storage. */
    if (array->count > tensor->storage.count)
        return "is an expanded view; save tensor.contiguous() instead";
    return NULL;
}

/* Find the archive entry of a storage, which must have the announced size. */
static const char *find_storage(const struct reader *reader, const struct pickle_storage *storage,
                                int *entry)
{
    char name[NAME_BYTES_MAX];
    const size_t key_length = storage->key.length < NAME_BYTES_MAX ? storage->key.length : 0;
    const int length = snprintf(name, sizeof name, "data/%.*s", (int)key_length,
                                storage->key.bytes);
    *entry = find_entry(reader, name, (size_t)length);
    if (*entry < 0) return "its values are not in the archive";
    const uint64_t bytes = archive_bytes(reader->archive, *entry);
    if ((uint64_t)storage->count > UINT64_MAX / 8 ||
        bytes != (uint64_t)storage->count * weights_dtype_bytes(storage->dtype))
        return "its values do not have the size that is announced";
    return NULL;
}

/* Reserve space: once per storage for contiguous tensors, else for a copy of the view. */
static const char *take_place(struct reader *reader, const struct weight_array *array,
                              const struct pickle_tensor *tensor, struct found *found)
{
    int entry;
    const uint64_t value_bytes = weights_dtype_bytes(array->dtype);
    const char *wrong = find_storage(reader, &tensor->storage, &entry);
    if (wrong) return wrong;
    if (!is_contiguous(tensor, array->count)) {
        found->at = reader->bytes;
        reader->bytes += round_up((uint64_t)array->count * value_bytes, ALIGNMENT);
    } else {
        if (!reader->places[entry]) {
            reader->places[entry] = 1 + reader->bytes;
            reader->bytes += round_up(archive_bytes(reader->archive, entry), ALIGNMENT);
        }
        found->at = reader->places[entry] - 1 + (uint64_t)tensor->offset * value_bytes;
    }
    return reader->bytes / COPIES_MAX > reader->archive->file_bytes
               ? "its views unpack to more than the file can hold"
               : NULL;
}

/* key: of its state dict, which goes before the name if it is not empty. */
static bool survey_tensor(struct reader *reader, struct pickle_text key, struct pickle_text name,
                          const struct pickle_tensor *tensor)
{
    struct weights *weights = reader->weights;
    struct weight_array *array = &weights->arrays[weights->count];
    struct found *found = &reader->found[weights->count];
    const size_t before = key.length ? key.length + 1 : 0;
    found->tensor = tensor;
    array->name = calloc(before + name.length + 1, 1);
    if (!array->name) return refuse(reader, "data.pkl", "no memory");
    if (before) memcpy(array->name, key.bytes, key.length);
    if (before) array->name[key.length] = '.';
    memcpy(array->name + before, name.bytes, name.length);
    weights->count++;
    const bool plain = strlen(array->name) == before + name.length &&
                       weights_plain_name(array->name);
    const char *wrong = plain ? take_shape(array, tensor) : "has an empty or unprintable name";
    if (!wrong) wrong = take_place(reader, array, tensor, found);
    return !wrong || refuse(reader, array->name, wrong);
}

/* List the state dicts' tensors as arrays, without their values yet. Of several state dicts, each
 * name begins with the key. */
static bool survey(struct reader *reader, const struct state *states, int count)
{
    struct weights *weights = reader->weights;
    size_t pairs = 0;
    for (int s = 0; s < count; s++) pairs += (size_t)states[s].dict->list.count / 2;
    weights->arrays = calloc(pairs + 1, sizeof *weights->arrays);
    reader->found = calloc(pairs + 1, sizeof *reader->found);
    reader->places = calloc((size_t)reader->archive->count, sizeof *reader->places);
    if (!weights->arrays || !reader->found || !reader->places || pairs > TENSORS_MAX)
        return refuse(reader, "data.pkl", "is too large");
    for (int s = 0; s < count; s++) {
        const struct pickle_value *dict = states[s].dict;
        const struct pickle_text key = count > 1 ? states[s].key : (struct pickle_text) { 0 };
        for (int i = 0; i + 1 < dict->list.count; i += 2) {
            const struct pickle_value *name = dict->list.items[i],
                                      *tensor = dict->list.items[i + 1];
            if (name->kind == PICKLE_STRING && tensor->kind == PICKLE_TENSOR &&
                !survey_tensor(reader, key, name->text, tensor->tensor))
                return false;
        }
    }
    return weights_check_names(weights, reader->archive->path, reader->err);
}

/* --- Reading the values ----------------------------------------------------------------------- */

/* Read the storages that are used as they are, each directly into its place. */
static bool read_storages(struct reader *reader)
{
    struct weights *weights = reader->weights;
    weights->storage_bytes = (size_t)reader->bytes + ALIGNMENT;
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

/* Read a view's storage into reader->scratch. One at a time is enough, as views copy
 * what they need. */
static bool read_scratch(struct reader *reader, const struct found *found)
{
    int entry;
    size_t size;
    CHECK(!find_storage(reader, &found->tensor->storage, &entry));
    if (reader->scratch && entry == reader->scratch_entry) return true;
    free(reader->scratch);
    reader->scratch = archive_read_new(reader->archive, entry, UINT64_MAX, &size, reader->err);
    reader->scratch_entry = entry;
    reader->scratch_bytes += size;
    return reader->scratch &&
           (reader->scratch_bytes / COPIES_MAX <= reader->archive->file_bytes ||
            refuse(reader, "data.pkl", "its views look at one storage after the other too often"));
}

/* Copy `count` values that are `stride` values apart. */
static void copy_row(const char *from, int64_t stride, size_t bytes, char *to, int64_t count)
{
    if (bytes == sizeof(uint32_t))
        for (int64_t i = 0; i < count; i++)
            memcpy(to + i * 4, from + i * stride * 4, sizeof(uint32_t));
    else
        for (size_t i = 0; i < (size_t)count; i++)
            memcpy(to + i * bytes, from + i * (size_t)stride * bytes, bytes);
}

/* Copy a view's values in row-major order of its shape. */
static void copy_view(const struct pickle_tensor *tensor, const char *from, size_t bytes, char *to,
                      int64_t count)
{
    const int last = tensor->dims - 1;
    const int64_t row = tensor->shape[last];
    int64_t index[ARRAY_DIMS_MAX] = { 0 };
    for (int64_t i = 0; i < count; i += row) {
        int64_t at = tensor->offset;
        for (int d = 0; d < last; d++) at += index[d] * tensor->stride[d];
        copy_row(from + (size_t)at * bytes, tensor->stride[last], bytes, to + (size_t)i * bytes,
                 row);
        for (int d = last - 1; d >= 0 && ++index[d] == tensor->shape[d]; d--) index[d] = 0;
    }
}

static bool place_arrays(struct reader *reader)
{
    for (int i = 0; i < reader->weights->count; i++) {
        struct weight_array *array = &reader->weights->arrays[i];
        const struct found *found = &reader->found[i];
        char *values = (char *)reader->weights->storage + found->at;
        CHECK(found->tensor);
        array->data = values;
        if (is_contiguous(found->tensor, array->count)) continue;
        if (!read_scratch(reader, found)) return false;
        copy_view(found->tensor, reader->scratch, weights_dtype_bytes(array->dtype), values,
                  array->count);
    }
    return true;
}

static bool read_state(struct reader *reader, const struct pickle_value *root)
{
    struct state states[STATES_MAX];
    const int count = find_states(root, states);
    if (count == 0)
        return refuse(
            reader, "data.pkl",
            "is no state dict, nor has it one as state_dict, model_state_dict or model; save "
            "model.state_dict()");
    return survey(reader, states, count) && read_storages(reader) && place_arrays(reader);
}

bool torch_zip_read(struct weights *weights, const struct archive *archive, struct error *err)
{
    struct reader reader = { .archive = archive, .weights = weights, .err = err };
    struct pickle pickle = { 0 };
    size_t size;
    const int entry = find_pickle(archive, reader.folder);
    CHECK(entry >= 0);
    weights->format = WEIGHTS_TORCH_ZIP;
    bool done = check_order(&reader);
    char *bytes = done ? archive_read_new(archive, entry, PICKLE_BYTES_MAX, &size, err) : NULL;
    done = bytes && pickle_read(&pickle, bytes, size, archive->path, err) &&
           read_state(&reader, pickle.root);
    pickle_release(&pickle);
    free(bytes);
    free(reader.scratch);
    free(reader.found);
    free(reader.places);
    return done;
}
