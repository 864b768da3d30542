/* Lists what a Keras HDF5 file holds: for each dataset its name, its shape and where its values
 * are. Only values that are not stored as plain float32 are read and converted.
 *
 * Runs in a child process (sandbox.h). Only hard links are followed, so nothing outside the file is
 * opened, and memory for values is bounded by what a file of this size can hold. */
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keras_hdf5.h"

enum { ATTRIBUTE_BYTES_MAX = 64 << 20, DEPTH_MAX = 32 };
static const int64_t dataset_bytes_max = INT64_C(1) << 30;
static const char damaged[] = "cannot be read; the file is cut short or damaged, fetch it again";

struct reader {
    const struct hdf5_image *image;
    struct survey *survey;
    float *values;
    int64_t values_max;
    int groups; /* visited so far; limited, as links may form cycles */
    hid_t file, root;
};

struct names {
    char **items;
    int count;
};

static void names_release(struct names *names)
{
    for (int i = 0; i < names->count; i++) free(names->items[i]);
    free(names->items);
    *names = (struct names) { 0 };
}

static bool refuse(struct reader *reader, const char *what, const char *reason)
{
    return error_set(&reader->survey->err, EXIT_CODE_FAILED, "%s: '%.200s': %s",
                     reader->image->path, what, reason);
}

static bool names_append(struct names *names, const char *name, size_t bytes_max)
{
    size_t length = strnlen(name, bytes_max);
    if (length == 0 || length >= SURVEY_NAME_BYTES || names->count == SURVEY_ENTRIES_MAX)
        return false;
    char **items = realloc(names->items, ((size_t)names->count + 1) * sizeof *items);
    if (!items) return false;
    names->items = items;
    items[names->count] = strndup(name, length);
    if (!items[names->count]) return false;
    for (const char *c = items[names->count++]; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f) return false;
    return true;
}

/* Read an open string attribute, of fixed or variable length. Returns NULL, or what is wrong. */
static const char *read_strings(hid_t attribute, hid_t type, hid_t space, struct names *names)
{
    hssize_t count = H5Sget_simple_extent_npoints(space);
    if (count == 0) return NULL; /* h5py stores an empty list as an empty array of doubles */
    if (H5Tget_class(type) != H5T_STRING) return "is not a list of strings";
    bool variable = H5Tis_variable_str(type) > 0;
    size_t size = variable ? sizeof(char *) : H5Tget_size(type);
    if (count < 0 || count > SURVEY_ENTRIES_MAX || size == 0 ||
        size > ATTRIBUTE_BYTES_MAX / (size_t)count)
        return "is too large";
    char *values = calloc((size_t)count, size);
    hid_t memory = H5Tcopy(type);
    const char *wrong = NULL;
    if (!values || memory < 0 || H5Aread(attribute, memory, values) < 0) wrong = damaged;
    for (hssize_t i = 0; i < count && !wrong; i++) {
        const char *name = values + (size_t)i * size;
        size_t bytes_max = size;
        if (variable) {
            memcpy(&name, values + (size_t)i * size, sizeof name);
            bytes_max = SIZE_MAX;
        }
        if (!name || !names_append(names, name, bytes_max))
            wrong = "holds an empty, very long or unprintable name";
    }
    if (variable && values && memory >= 0) H5Dvlen_reclaim(memory, space, H5P_DEFAULT, values);
    if (memory >= 0) H5Tclose(memory);
    free(values);
    return wrong;
}

static bool read_attribute(struct reader *reader, hid_t object, const char *attribute_name,
                           struct names *names)
{
    hid_t type = -1, space = -1;
    const char *wrong = damaged;
    hid_t attribute = H5Aopen(object, attribute_name, H5P_DEFAULT);
    if (attribute >= 0) type = H5Aget_type(attribute);
    if (type >= 0) space = H5Aget_space(attribute);
    if (space >= 0) wrong = read_strings(attribute, type, space, names);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    if (attribute >= 0) H5Aclose(attribute);
    return wrong ? refuse(reader, attribute_name, wrong) : true;
}

/* Attributes over 64 KB are split: name0, name1 … */
static bool read_names(struct reader *reader, hid_t object, const char *attribute,
                       struct names *names)
{
    if (H5Aexists(object, attribute) > 0) return read_attribute(reader, object, attribute, names);
    for (int part = 0; part < SURVEY_ENTRIES_MAX; part++) {
        char name[64];
        snprintf(name, sizeof name, "%s%d", attribute, part);
        if (H5Aexists(object, name) > 0) {
            if (!read_attribute(reader, object, name, names)) return false;
        } else {
            return part > 0 || refuse(reader, attribute, "attribute is missing");
        }
    }
    return true;
}

/* Check that every link along the path `place` stays inside the file. */
static bool check_links(struct reader *reader, hid_t from, const char *place)
{
    char prefix[2 * SURVEY_NAME_BYTES + 2];
    for (const char *end = place; *end; end += *end == '/') {
        end += strcspn(end, "/");
        size_t length = (size_t)(end - place);
        CHECK(length < sizeof prefix);
        memcpy(prefix, place, length);
        prefix[length] = '\0';
        if (length == 0 || place[length - 1] == '/') continue;
        H5L_info_t link;
        if (H5Lexists(from, prefix, H5P_DEFAULT) <= 0 ||
            H5Lget_info(from, prefix, &link, H5P_DEFAULT) < 0)
            return refuse(reader, prefix, "is named but not there");
        if (link.type == H5L_TYPE_EXTERNAL)
            return refuse(reader, prefix, "is a link to another file, which is not followed");
        if (link.type != H5L_TYPE_HARD)
            return refuse(reader, prefix, "is a soft link, which is not followed");
    }
    return true;
}

/* Check that the values are stored in the file itself. Returns NULL, or what is wrong. */
static const char *check_storage(hid_t dataset)
{
    hid_t creation = H5Dget_create_plist(dataset);
    if (creation < 0) return damaged;
    H5D_layout_t layout = H5Pget_layout(creation);
    int external = H5Pget_external_count(creation);
    H5Pclose(creation);
    if (external != 0) return "keeps its values in another file, which is not followed";
    if (layout == H5D_VIRTUAL) return "is a virtual dataset, which is not followed";
    return layout < 0 ? damaged : NULL;
}

static const char *check_shape(struct survey_entry *entry, hid_t type, hid_t space, int64_t *count)
{
    H5T_class_t class = H5Tget_class(type);
    hsize_t shape[H5S_MAX_RANK] = { 0 };
    int dims = H5Sget_simple_extent_ndims(space);
    if (class != H5T_FLOAT && class != H5T_INTEGER) return "does not hold numbers";
    if (H5Sget_simple_extent_type(space) == H5S_NULL) return "holds no values";
    if (dims < 0 || dims > ARRAY_DIMS_MAX) return "has more than 8 dimensions";
    if (H5Sget_simple_extent_dims(space, shape, NULL) < 0) return "has no readable shape";
    entry->dims = dims;
    *count = 1;
    for (int i = 0; i < dims; i++) {
        entry->shape[i] = (int64_t)shape[i];
        if (shape[i] > INT64_MAX || __builtin_mul_overflow(*count, entry->shape[i], count))
            return "is too large";
    }
    if (*count > dataset_bytes_max / (int64_t)sizeof(float)) return "is larger than 1 GiB";
    return NULL;
}

/* Contiguous, aligned float32 can be used where it is in the image. */
static bool in_place(struct reader *reader, hid_t dataset, hid_t type, int64_t count,
                     struct survey_entry *entry)
{
    const haddr_t at = H5Tequal(type, H5T_NATIVE_FLOAT) > 0 ? H5Dget_offset(dataset) : HADDR_UNDEF;
    const uint64_t bytes = (uint64_t)count * sizeof(float), size = reader->image->size;
    if (at == HADDR_UNDEF || at % sizeof(float) != 0 || at > size || bytes > size - at)
        return false;
    entry->converted = false;
    entry->at = (int64_t)at;
    return true;
}

static const char *read_values(struct reader *reader, hid_t dataset, int64_t count,
                               struct survey_entry *entry)
{
    struct survey *survey = reader->survey;
    if (count > reader->values_max - survey->converted_count)
        return "more values are announced than the file can hold";
    entry->converted = true;
    entry->at = survey->converted_count;
    survey->converted_count += count;
    return H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT,
                   reader->values + entry->at) < 0
               ? damaged
               : NULL;
}

static const char *survey_open_dataset(struct reader *reader, hid_t dataset, hid_t type,
                                       hid_t space, struct survey_entry *entry)
{
    int64_t count;
    const char *wrong = check_storage(dataset);
    if (!wrong) wrong = check_shape(entry, type, space, &count);
    if (wrong) return wrong;
    if (count && H5Dget_storage_size(dataset) == 0) return "holds no values";
    if (in_place(reader, dataset, type, count, entry)) return NULL;
    return read_values(reader, dataset, count, entry);
}

/* Add the dataset at path `place`, relative to `from`, under the name `name`. */
static bool survey_dataset(struct reader *reader, hid_t from, const char *place, const char *name,
                           const char *layer)
{
    struct survey *survey = reader->survey;
    if (!check_links(reader, from, place)) return false;
    if (survey->count == SURVEY_ENTRIES_MAX)
        return refuse(reader, place, "the file names too many weights");
    if (strlen(name) >= SURVEY_NAME_BYTES) return refuse(reader, place, "has too long a name");
    struct survey_entry *entry = &survey->entries[survey->count];
    snprintf(entry->name, sizeof entry->name, "%s", name);
    snprintf(entry->layer, sizeof entry->layer, "%s", layer);
    hid_t type = -1, space = -1;
    const char *wrong = "is not a dataset";
    hid_t dataset = H5Dopen2(from, place, H5P_DEFAULT);
    if (dataset >= 0) type = H5Dget_type(dataset);
    if (type >= 0) space = H5Dget_space(dataset);
    if (space >= 0) wrong = survey_open_dataset(reader, dataset, type, space, entry);
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    if (dataset >= 0) H5Dclose(dataset);
    if (wrong) return refuse(reader, place, wrong);
    survey->count++;
    return true;
}

/* --- Keras 2: attributes name the layers, and each layer's weights ---------------------------- */

static bool survey_layer(struct reader *reader, const char *layer)
{
    if (!check_links(reader, reader->root, layer)) return false;
    hid_t group = H5Gopen2(reader->root, layer, H5P_DEFAULT);
    if (group < 0) return refuse(reader, layer, "is not a group");
    struct names names = { 0 };
    bool done = read_names(reader, group, "weight_names", &names);
    for (int i = 0; i < names.count && done; i++) {
        char place[2 * SURVEY_NAME_BYTES];
        snprintf(place, sizeof place, "%s/%s", layer, names.items[i]);
        done = survey_dataset(reader, reader->root, place, names.items[i], "");
    }
    names_release(&names);
    H5Gclose(group);
    return done;
}

static bool survey_keras2(struct reader *reader)
{
    struct names layers = { 0 };
    bool done = read_names(reader, reader->root, "layer_names", &layers);
    for (int i = 0; i < layers.count && done; i++) done = survey_layer(reader, layers.items[i]);
    names_release(&layers);
    return done;
}

/* --- Keras 3: nested groups; a group `vars` holds the datasets 0, 1, … of a layer ------------- */

static herr_t take_name(hid_t group, const char *name, const H5L_info_t *link, void *names)
{
    (void)group;
    (void)link;
    return names_append(names, name, SIZE_MAX) ? 0 : -1;
}

static bool survey_vars(struct reader *reader, hid_t group, const char *path)
{
    char layer[SURVEY_NAME_BYTES] = "";
    if (H5Aexists(group, "name") > 0) {
        struct names names = { 0 };
        const bool read = read_attribute(reader, group, "name", &names);
        if (read && names.count == 1) snprintf(layer, sizeof layer, "%s", names.items[0]);
        names_release(&names);
        if (!read) return false;
    }
    H5G_info_t info;
    if (H5Gget_info(group, &info) < 0) return refuse(reader, path, damaged);
    for (int i = 0; i < SURVEY_ENTRIES_MAX && (hsize_t)i < info.nlinks; i++) {
        char place[16], name[SURVEY_NAME_BYTES + 32];
        snprintf(place, sizeof place, "%d", i);
        snprintf(name, sizeof name, "%s/%d", path, i);
        if (!survey_dataset(reader, group, place, name, layer)) return false;
    }
    return true;
}

static bool survey_group(struct reader *reader, hid_t group, const char *path, int depth);

static bool survey_child(struct reader *reader, hid_t group, const char *path, const char *name,
                         int depth)
{
    char below[SURVEY_NAME_BYTES];
    const int length = snprintf(below, sizeof below, "%s%s%s", path, *path ? "/" : "", name);
    if (length >= (int)sizeof below || depth == DEPTH_MAX || ++reader->groups > SURVEY_ENTRIES_MAX)
        return refuse(reader, path, "groups are nested too deeply, or in a circle");
    if (!check_links(reader, group, name)) return false;
    hid_t child = H5Gopen2(group, name, H5P_DEFAULT);
    if (child < 0)
        return refuse(reader, below, "is not a group; are these the weights of a Keras model?");
    const bool done = strcmp(name, "vars") == 0 ? survey_vars(reader, child, below)
                                                : survey_group(reader, child, below, depth + 1);
    H5Gclose(child);
    return done;
}

static bool survey_group(struct reader *reader, hid_t group, const char *path, int depth)
{
    struct names names = { 0 };
    bool done = H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, NULL, take_name, &names) >= 0 ||
                refuse(reader, *path ? path : "/", damaged);
    for (int i = 0; i < names.count && done; i++) {
        if (depth == 0 && strcmp(names.items[i], "optimizer") == 0) continue;
        done = survey_child(reader, group, path, names.items[i], depth);
    }
    names_release(&names);
    return done;
}

static bool survey_keras3(struct reader *reader)
{
    return survey_group(reader, reader->root, "", 0) &&
           (reader->survey->count > 0 ||
            error_set(
                &reader->survey->err, EXIT_CODE_FAILED,
                "%s: holds neither Keras 2's layer_names nor Keras 3's vars: these are not the "
                "weights of a Keras model",
                reader->image->path));
}

/* --- The file: its bytes are in memory, and libhdf5 must not copy them ------------------------ */

static void *image_lend(size_t size, H5FD_file_image_op_t op, void *bytes)
{
    (void)size;
    (void)op;
    return bytes;
}

static void *image_leave(void *to, const void *from, size_t size, H5FD_file_image_op_t op,
                         void *bytes)
{
    (void)from;
    (void)size;
    (void)op;
    (void)bytes;
    return to;
}

static herr_t image_keep(void *memory, H5FD_file_image_op_t op, void *bytes)
{
    (void)memory;
    (void)op;
    (void)bytes;
    return 0;
}

static void *context_copy(void *bytes)
{
    return bytes;
}

static herr_t context_free(void *bytes)
{
    (void)bytes;
    return 0;
}

/* libhdf5 requires that no file of the image's name exists; this path cannot. */
static const char no_file[] = "/dev/null/image";

static hid_t open_image(const struct hdf5_image *image)
{
    /* Never written to: the file is opened read-only. */
    void *bytes = (void *)(uintptr_t)image->bytes;
    H5FD_file_image_callbacks_t callbacks = {
        .image_malloc = image_lend,
        .image_memcpy = image_leave,
        .image_free = image_keep,
        .udata_copy = context_copy,
        .udata_free = context_free,
        .udata = bytes,
    };
    hid_t access = H5Pcreate(H5P_FILE_ACCESS), file = -1;
    if (access < 0) return -1;
    if (H5Pset_fapl_core(access, 1 << 16, false) >= 0 &&
        H5Pset_file_image_callbacks(access, &callbacks) >= 0 &&
        H5Pset_file_image(access, bytes, image->size) >= 0)
        file = H5Fopen(no_file, H5F_ACC_RDONLY, access);
    H5Pclose(access);
    return file;
}

static bool open_file(struct reader *reader)
{
    reader->file = open_image(reader->image);
    if (reader->file < 0)
        return error_set(&reader->survey->err, EXIT_CODE_FAILED,
                         "%s: HDF5 file is cut short or damaged, fetch it again",
                         reader->image->path);
    reader->root = reader->file;
    if (H5Lexists(reader->file, "model_weights", H5P_DEFAULT) <= 0) return true;
    if (!check_links(reader, reader->file, "model_weights")) return false;
    reader->root = H5Gopen2(reader->file, "model_weights", H5P_DEFAULT);
    return reader->root >= 0 || refuse(reader, "model_weights", "is not a group");
}

int64_t survey_values_max(const struct hdf5_image *image)
{
    return (int64_t)(image->size / sizeof(float)) * SURVEY_INFLATION_MAX;
}

void hdf5_prepare(void)
{
    H5open();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* this program reports errors in its own words */
}

void hdf5_survey(const struct hdf5_image *image, struct survey *survey, float *values)
{
    struct reader reader = {
        .image = image,
        .survey = survey,
        .values = values,
        .values_max = survey_values_max(image),
        .file = -1,
        .root = -1,
    };
    if (open_file(&reader)) {
        const bool keras2 = H5Aexists(reader.root, "layer_names") > 0 ||
                            H5Aexists(reader.root, "layer_names0") > 0;
        survey->format = keras2 ? WEIGHTS_KERAS2_HDF5 : WEIGHTS_KERAS3_HDF5;
        keras2 ? survey_keras2(&reader) : survey_keras3(&reader);
    }
    if (reader.root >= 0 && reader.root != reader.file) H5Gclose(reader.root);
    if (reader.file >= 0) H5Fclose(reader.file);
}
