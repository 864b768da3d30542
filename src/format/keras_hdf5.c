/* Weights that Keras saved as HDF5. libhdf5 parses the file in a child process, where a forged file
 * can do no harm, and reports where each array is. Here that report is checked against the file and
 * the arrays are named. Float32 arrays are used in place, in the memory-mapped file. */
#include "keras_hdf5.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "keras_layers.h"
#include "micromet/base/size.h"
#include "sandbox.h"
#include "weights_parts.h"

static bool refuse(struct error *err, const char *path, const char *name, const char *reason)
{
    return error_set(err, EXIT_CODE_FAILED, "%s: '%.200s': %s", path, name, reason);
}

/* --- Names ------------------------------------------------------------------------------------ */

enum { VARIABLES_MAX = 4 };

/* The variables of a layer in the order in which Keras 3 numbers them: trainable ones first. */
static const struct {
    const char *kind; /* the class as named in the path, without its number */
    int count;
    const char *variables[VARIABLES_MAX];
} kinds[] = {
    { "batch_normalization", 4, { "gamma", "beta", "moving_mean", "moving_variance" } },
    { "batch_normalization", 3, { "beta", "moving_mean", "moving_variance" } }, /* scale=False */
    { "batch_normalization", 2, { "moving_mean", "moving_variance" } },
    { "conv2d", 2, { "kernel", "bias" } },
    { "conv2d", 1, { "kernel" } },
    { "dense", 2, { "kernel", "bias" } },
    { "dense", 1, { "kernel" } },
    { "depthwise_conv2d", 2, { "kernel", "bias" } },
    { "depthwise_conv2d", 1, { "kernel" } },
    { "separable_conv2d", 3, { "depthwise_kernel", "pointwise_kernel", "bias" } },
    { "separable_conv2d", 2, { "depthwise_kernel", "pointwise_kernel" } },
    { "layer_normalization", 2, { "gamma", "beta" } },
};
enum { KINDS = COUNT_OF(kinds) };

/* Length of "layers/conv2d_1" in "layers/conv2d_1/vars/0". */
static size_t place_length(const char *path)
{
    size_t length = strlen(path);
    for (int slashes = 0; length > 0 && slashes < 2;) slashes += path[--length] == '/';
    return length;
}

/* Length of "batch_normalization" in "batch_normalization_3". */
static size_t kind_length(const char *group, size_t length)
{
    size_t kind = length;
    while (kind > 0 && isdigit((unsigned char)group[kind - 1])) kind--;
    return kind > 0 && kind < length && group[kind - 1] == '_' ? kind - 1 : length;
}

/* Name of variable `index` of `count` of the layer saved in `group`; NULL if not known. */
static const char *variable_name(const char *group, size_t length, int index, int count)
{
    const size_t kind = kind_length(group, length);
    for (int i = 0; i < KINDS; i++)
        if (strlen(kinds[i].kind) == kind && memcmp(kinds[i].kind, group, kind) == 0 &&
            kinds[i].count == count)
            return kinds[i].variables[index];
    return NULL;
}

/* The entries of one layer; for a Keras 2 file, all entries. */
struct group {
    char place[SURVEY_NAME_BYTES]; /* Keras 3: "layers/conv2d_1" */
    const char *layer;             /* Keras 3: the layer's name */
    int first, count;
};

/* Number of consecutive entries, from `first` on, in the same place. */
static int count_group(const struct survey *survey, int first)
{
    const size_t length = place_length(survey->entries[first].name);
    int count = 1;
    while (first + count < survey->count &&
           place_length(survey->entries[first + count].name) == length &&
           memcmp(survey->entries[first].name, survey->entries[first + count].name, length) == 0)
        count++;
    return count;
}

static bool find_layer(struct group *group, const struct survey_entry *entry, const char *path,
                       const struct keras_layers *layers, struct error *err)
{
    snprintf(group->place, sizeof group->place, "%.*s", (int)place_length(entry->name),
             entry->name);
    group->layer = entry->layer[0] ? entry->layer : NULL;
    if (!group->layer && layers) group->layer = keras_layers_name(layers, group->place);
    return group->layer ||
           refuse(
               err, path, group->place,
               "the file lacks the layer's name (Keras before 3.6 left it out), and layers of one "
               "kind cannot be told apart by their numbers; save the model as .keras, or its "
               "weights with a newer Keras");
}

/* Numbers compare by value: "conv2d_9" comes before "conv2d_10". */
static int by_layer(const void *left, const void *right)
{
    return strverscmp(((const struct group *)left)->layer, ((const struct group *)right)->layer);
}

/* Group the entries, and sort the groups by layer. Returns their number, or -1 on error. */
static int find_groups(struct group *groups, const struct survey *survey, const char *path,
                       const struct keras_layers *layers, struct error *err)
{
    if (survey->format == WEIGHTS_KERAS2_HDF5) {
        groups[0] = (struct group) { .count = survey->count };
        return 1;
    }
    int count = 0;
    for (int first = 0; first < survey->count; first += groups[count++].count) {
        groups[count].first = first;
        groups[count].count = count_group(survey, first);
        if (!find_layer(&groups[count], &survey->entries[first], path, layers, err)) return -1;
    }
    qsort(groups, (size_t)count, sizeof *groups, by_layer);
    return count;
}

/* The group's entry `index` as Keras 2 would name it: "conv2d_17/kernel:0". NULL: no memory. */
static char *array_name(const struct group *group, const struct survey_entry *entry, int index)
{
    if (!group->layer) return strdup(entry->name);
    const char *slash = strrchr(group->place, '/'), *kind = slash ? slash + 1 : group->place;
    const char *variable = variable_name(kind, strlen(kind), index, group->count);
    char *name;
    const int printed = variable ? asprintf(&name, "%s/%s:0", group->layer, variable)
                                 : asprintf(&name, "%s/vars/%d:0", group->layer, index);
    return printed >= 0 ? name : NULL;
}

static bool is_plain_entry(const struct survey_entry *entry)
{
    return memchr(entry->name, '\0', sizeof entry->name) &&
           memchr(entry->layer, '\0', sizeof entry->layer) && weights_plain_name(entry->name) &&
           (!entry->layer[0] || weights_plain_name(entry->layer));
}

/* --- Checking what the child reports ---------------------------------------------------------- */

static const char *take_shape(struct weight_array *array, const struct survey_entry *entry)
{
    if (entry->dims < 0 || entry->dims > ARRAY_DIMS_MAX) return "has more than 8 dimensions";
    array->dims = entry->dims;
    array->count = 1;
    for (int i = 0; i < entry->dims; i++) {
        array->shape[i] = entry->shape[i];
        if (array->shape[i] < 0 ||
            __builtin_mul_overflow(array->count, array->shape[i], &array->count))
            return "is too large";
    }
    strcpy(array->dtype, "F32");
    return NULL;
}

static const char *take_values(struct weight_array *array, const struct survey_entry *entry,
                               const struct hdf5_image *image, int64_t converted_count,
                               const float *values)
{
    const int64_t size = (int64_t)image->size, at = entry->at;
    if (array->count > size / (int64_t)sizeof(float) * SURVEY_INFLATION_MAX) return "is too large";
    if (entry->converted) {
        if (at < 0 || at > converted_count || array->count > converted_count - at)
            return "lies outside the values";
        array->data = values + at;
        return NULL;
    }
    const int64_t bytes = array->count * (int64_t)sizeof(float);
    if (at < 0 || at % (int64_t)sizeof(float) != 0 || at > size || bytes > size - at)
        return "lies outside the file";
    array->data = image->bytes + at;
    return NULL;
}

/* Append the group's entry `index` to the arrays. */
static bool take_entry(struct weights *weights, const struct hdf5_image *image,
                       const struct survey *survey, const float *values, const struct group *group,
                       int index, struct error *err)
{
    const struct survey_entry *entry = &survey->entries[group->first + index];
    struct weight_array *array = &weights->arrays[weights->count];
    const char *wrong = take_shape(array, entry);
    if (!wrong) wrong = take_values(array, entry, image, survey->converted_count, values);
    if (wrong) return refuse(err, image->path, entry->name, wrong);
    array->name = array_name(group, entry, index);
    if (!array->name) return refuse(err, image->path, entry->name, "no memory");
    weights->count++;
    return true;
}

static bool check_survey(const struct survey *survey, const struct hdf5_image *image,
                         struct error *err)
{
    const int count = survey->count;
    const bool known = survey->format == WEIGHTS_KERAS2_HDF5 ||
                       survey->format == WEIGHTS_KERAS3_HDF5;
    if (!known || count < 0 || count > SURVEY_ENTRIES_MAX || survey->converted_count < 0 ||
        survey->converted_count > survey_values_max(image))
        return error_set(err, EXIT_CODE_FAILED, "%s: is damaged or forged", image->path);
    for (int i = 0; i < count; i++)
        if (!is_plain_entry(&survey->entries[i]))
            return error_set(err, EXIT_CODE_FAILED, "%s: weight %d has an unprintable name",
                             image->path, i + 1);
    return true;
}

bool keras_name_arrays(struct weights *weights, const struct hdf5_image *image,
                       const struct survey *survey, const float *values,
                       const struct keras_layers *layers, struct error *err)
{
    if (!check_survey(survey, image, err)) return false;
    weights->format = survey->format;
    weights->arrays = calloc((size_t)survey->count + 1, sizeof *weights->arrays);
    struct group *groups = calloc((size_t)survey->count + 1, sizeof *groups);
    bool done = (weights->arrays && groups) ||
                error_set(err, EXIT_CODE_FAILED, "%s: no memory for its names", image->path);
    const int count = done ? find_groups(groups, survey, image->path, layers, err) : -1;
    done = count >= 0;
    for (int g = 0; g < count && done; g++)
        for (int i = 0; i < groups[g].count && done; i++)
            done = take_entry(weights, image, survey, values, &groups[g], i, err);
    free(groups);
    return done && weights_check_names(weights, image->path, err);
}

/* --- The child -------------------------------------------------------------------------------- */

struct task {
    const struct hdf5_image *image;
    struct survey *survey;
    float *values;
};

static void work(void *context)
{
    const struct task *task = context;
    hdf5_survey(task->image, task->survey, task->values);
}

/* Keep the used part of the values as weights->converted, and unmap the rest. */
static void keep_values(struct weights *weights, float *values, size_t bytes, int64_t count)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t used = round_up((size_t)count * sizeof *values, page);
    if (used < bytes) munmap((char *)values + used, bytes - used);
    if (used) {
        weights->converted = values;
        weights->converted_bytes = used < bytes ? used : bytes;
    }
}

bool keras_image_read(struct weights *weights, const struct hdf5_image *image,
                      const struct keras_layers *layers, struct error *err)
{
    const size_t bytes = (size_t)survey_values_max(image) * sizeof(float) + 1;
    struct task task = { image, sandbox_share(sizeof *task.survey), sandbox_share(bytes) };
    bool done = (task.survey && task.values) ||
                error_set(err, EXIT_CODE_FAILED, "%s: no memory for its arrays", image->path);
    done = done && sandbox_run(image->path, image->size, hdf5_prepare, work, &task, err);
    if (done && task.survey->err.message[0]) {
        task.survey->err.message[sizeof task.survey->err.message - 1] = '\0';
        done = error_set(err, EXIT_CODE_FAILED, "%s", task.survey->err.message);
    }
    done = done && keras_name_arrays(weights, image, task.survey, task.values, layers, err);
    if (done)
        keep_values(weights, task.values, bytes, task.survey->converted_count);
    else if (task.values)
        munmap(task.values, bytes);
    if (task.survey) munmap(task.survey, sizeof *task.survey);
    return done;
}

/* --- The file --------------------------------------------------------------------------------- */

/* HDF5 files begin with a signature, or have it after a user block of 512, 1024, 2048 … bytes. */
static bool is_hdf5(const struct hdf5_image *image)
{
    static const char signature[8] = "\x89HDF\r\n\x1a\n";
    for (size_t at = 0; at + sizeof signature <= image->size; at = at ? 2 * at : 512)
        if (memcmp(image->bytes + at, signature, sizeof signature) == 0) return true;
    return false;
}

bool keras_hdf5_read(struct weights *weights, const char *path, struct error *err)
{
    *weights = (struct weights) { 0 };
    if (!weights_map(weights, path, err)) return false;
    const struct hdf5_image image = { path, weights->storage, weights->storage_bytes };
    bool done = is_hdf5(&image) ||
                error_set(err, EXIT_CODE_FAILED,
                          "%s: not an HDF5 file; expected the weights of a Keras model (.h5)",
                          path);
    done = done && keras_image_read(weights, &image, NULL, err);
    if (!done) weights_release(weights);
    return done;
}
