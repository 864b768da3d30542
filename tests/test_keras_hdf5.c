/* Keras HDF5 weights, in small files written with libhdf5: every layout that Keras and h5py produce
 * is read, everything else is refused with its name. */
#include <hdf5.h>

#include "format/keras_hdf5.h"
#include "micromet/base/size.h"
#include "micromet/format/weights.h"
#include "temporary.h"

static const float kernel[] = { 1, 2, 3, 4, 5, 6, -7.5f, 8 }, beta[] = { 0.5f, -0.25f };

enum strings { STRINGS_FIXED, STRINGS_VARIABLE };

static void write_strings(hid_t object, const char *name, enum strings kind, int count,
                          const char *const *strings)
{
    enum { WIDTH = 40 };
    hsize_t size = (hsize_t)count;
    hid_t space = H5Screate_simple(1, &size, NULL), type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, kind == STRINGS_VARIABLE ? H5T_VARIABLE : WIDTH);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    char fixed[8][WIDTH] = { { 0 } };
    for (int i = 0; i < count; i++) memcpy(fixed[i], strings[i], strlen(strings[i]));
    const void *values = fixed;
    if (kind == STRINGS_VARIABLE) values = strings;
    cr_assert_geq(H5Awrite(attribute, type, values), 0);
    H5Aclose(attribute);
    H5Tclose(type);
    H5Sclose(space);
}

/* h5py stores an empty list as an empty array of doubles. */
static void write_no_strings(hid_t object, const char *name)
{
    hid_t space = H5Screate_simple(1, (hsize_t[]) { 0 }, NULL);
    H5Aclose(H5Acreate2(object, name, H5T_IEEE_F64LE, space, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
}

static hid_t open_dataset(hid_t group, const char *name, hid_t type, int dims, const hsize_t *shape,
                          hid_t creation)
{
    hid_t space = dims ? H5Screate_simple(dims, shape, NULL) : H5Screate(H5S_SCALAR);
    hid_t links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    hid_t dataset = H5Dcreate2(group, name, type, space, links, creation, H5P_DEFAULT);
    cr_assert_geq(dataset, 0);
    H5Pclose(links);
    H5Sclose(space);
    return dataset;
}

static void write_dataset(hid_t group, const char *name, hid_t type, int dims, const hsize_t *shape,
                          const float *values)
{
    hid_t dataset = open_dataset(group, name, type, dims, shape, H5P_DEFAULT);
    cr_assert_geq(H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
    H5Dclose(dataset);
}

/* conv2d_1 (kernel), pool (nothing), norm_1 (beta, scale) below `root`, without layer_names. */
static void write_layers(hid_t root, enum strings kind)
{
    hid_t conv = H5Gcreate2(root, "conv2d_1", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    write_strings(conv, "weight_names", kind, 1, (const char *[]) { "conv2d_1/kernel:0" });
    write_dataset(conv, "conv2d_1/kernel:0", H5T_IEEE_F32LE, 4, (hsize_t[]) { 1, 2, 1, 4 }, kernel);
    H5Gclose(conv);
    hid_t pool = H5Gcreate2(root, "pool", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    write_no_strings(pool, "weight_names");
    H5Gclose(pool);
    hid_t norm = H5Gcreate2(root, "norm_1", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    write_strings(norm, "weight_names", kind, 2,
                  (const char *[]) { "norm_1/beta:0", "norm_1/scale:0" });
    write_dataset(norm, "norm_1/beta:0", H5T_IEEE_F64BE, 1, (hsize_t[]) { 2 }, beta);
    write_dataset(norm, "norm_1/scale:0", H5T_STD_I32LE, 0, NULL, (const float[]) { 3 });
    H5Gclose(norm);
}

static const char *const layer_names[] = { "norm_1", "pool",
                                           "conv2d_1" }; /* not the file's order */

static hid_t create_file(const char *name)
{
    hid_t file = H5Fcreate(temporary_path(name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    cr_assert_geq(file, 0);
    return file;
}

static void write_sample(const char *name, enum strings kind)
{
    hid_t file = create_file(name);
    write_layers(file, kind);
    write_strings(file, "layer_names", kind, 3, layer_names);
    H5Fclose(file);
}

/* Do the child's work in this process, so that sanitizers see it; no HDF5 object may stay open. */
static void survey_here(const char *name)
{
    size_t size;
    uint8_t *bytes = temporary_read(name, &size);
    const struct hdf5_image image = { name, bytes, size };
    struct survey *survey = calloc(1, sizeof *survey);
    float *values = calloc((size_t)survey_values_max(&image) + 1, sizeof *values);
    cr_assert(survey && values);
    hdf5_prepare();
    hdf5_survey(&image, survey, values);
    cr_assert_eq(H5Fget_obj_count(H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
    free(values);
    free(survey);
    free(bytes);
}

static void expect_sample(const char *name)
{
    struct error err = { 0 };
    struct weights weights;
    cr_assert(keras_hdf5_read(&weights, temporary_path(name), &err), "%s", err.message);
    survey_here(name);
    cr_assert_eq(weights.count, 3);
    const struct weight_array *array = weights.arrays;
    cr_assert_str_eq(array[0].name, "norm_1/beta:0");
    cr_assert_eq(array[0].dims, 1);
    cr_assert_eq(memcmp(array[0].data, beta, sizeof beta), 0);
    cr_assert_str_eq(array[1].name, "norm_1/scale:0");
    cr_assert_eq(array[1].dims, 0);
    cr_assert_eq(*(const float *)array[1].data, 3);
    cr_assert_str_eq(array[2].name, "conv2d_1/kernel:0");
    cr_assert_str_eq(array[2].dtype, "F32");
    cr_assert_eq(array[2].dims, 4);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(array[2].shape[i], ((const int64_t[]) { 1, 2, 1, 4 })[i]);
    cr_assert_eq(array[2].count, 8);
    cr_assert_eq(memcmp(array[2].data, kernel, sizeof kernel), 0);
    const char *file = weights.storage;
    cr_assert_eq((const char *)array[2].data - file,
                 (const char *)memmem(file, weights.storage_bytes, kernel, sizeof kernel) - file,
                 "float32 is used where it lies in the file");
    cr_assert_eq(array[0].data, weights.converted);
    weights_release(&weights);
}

static void expect_refusal(const char *name, const char *reason)
{
    struct error err = { 0 };
    struct weights weights;
    cr_assert(!keras_hdf5_read(&weights, temporary_path(name), &err), "expected: %s", reason);
    cr_expect(strstr(err.message, reason), "expected '%s' in: %s", reason, err.message);
    cr_expect(strstr(err.message, name), "the file's name stands in: %s", err.message);
    cr_assert_null(weights.arrays);
    cr_assert_null(weights.storage);
    if (file_exists(temporary_path(name))) survey_here(name);
}

/* One layer "l" with one weight "w", which make() creates. */
static void write_one(const char *name, void (*make)(hid_t layer))
{
    hid_t file = create_file(name);
    write_strings(file, "layer_names", STRINGS_FIXED, 1, (const char *[]) { "l" });
    hid_t layer = H5Gcreate2(file, "l", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    write_strings(layer, "weight_names", STRINGS_FIXED, 1, (const char *[]) { "w" });
    if (make) make(layer);
    H5Gclose(layer);
    H5Fclose(file);
}

TestSuite(keras_hdf5, .init = temporary_begin, .fini = temporary_end);

Test(keras_hdf5, fixed_strings_read_in_the_order_of_layer_names)
{
    write_sample("fixed.h5", STRINGS_FIXED);
    expect_sample("fixed.h5");
}

Test(keras_hdf5, variable_strings_read_alike)
{
    write_sample("variable.h5", STRINGS_VARIABLE);
    expect_sample("variable.h5");
}

Test(keras_hdf5, split_attributes_are_joined)
{
    hid_t file = create_file("split.h5");
    write_layers(file, STRINGS_FIXED);
    write_strings(file, "layer_names0", STRINGS_FIXED, 1, layer_names);
    write_strings(file, "layer_names1", STRINGS_FIXED, 2, layer_names + 1);
    H5Fclose(file);
    expect_sample("split.h5");
}

Test(keras_hdf5, whole_model_files_are_read_below_model_weights)
{
    hid_t file = create_file("model.h5");
    hid_t root = H5Gcreate2(file, "model_weights", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    write_layers(root, STRINGS_FIXED);
    write_strings(root, "layer_names", STRINGS_FIXED, 3, layer_names);
    H5Gclose(root);
    H5Fclose(file);
    expect_sample("model.h5");
}

static void make_deflated(hid_t layer)
{
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(creation, 1, (hsize_t[]) { 4 });
    H5Pset_deflate(creation, 6);
    hid_t dataset = open_dataset(layer, "w", H5T_IEEE_F32LE, 1, (hsize_t[]) { 8 }, creation);
    H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, kernel);
    H5Dclose(dataset);
    H5Pclose(creation);
}

Test(keras_hdf5, deflated_datasets_read)
{
    struct error err = { 0 };
    struct weights weights;
    write_one("deflated.h5", make_deflated);
    cr_assert(keras_hdf5_read(&weights, temporary_path("deflated.h5"), &err), "%s", err.message);
    cr_assert_eq(memcmp(weights.arrays[0].data, kernel, sizeof kernel), 0);
    weights_release(&weights);
}

Test(keras_hdf5, foreign_files_are_refused)
{
    temporary_write("picture.h5", "\x89PNG\r\n\x1a\n and so on", 18);
    expect_refusal("picture.h5", "not an HDF5 file");
    temporary_write("empty.h5", "", 0);
    expect_refusal("empty.h5", "not an HDF5 file");
    expect_refusal("absent.h5", "No such file");
    H5Fclose(create_file("other.h5"));
    expect_refusal("other.h5", "neither Keras 2's layer_names nor Keras 3's vars");
}

Test(keras_hdf5, file_cut_short_anywhere_is_refused)
{
    size_t size;
    write_sample("whole.h5", STRINGS_FIXED);
    uint8_t *bytes = temporary_read("whole.h5", &size);
    for (size_t cut = 8; cut < size; cut += 1 + size / 60) {
        temporary_write("cut.h5", bytes, cut);
        expect_refusal("cut.h5", "cut");
    }
    free(bytes);
}

Test(keras_hdf5, names_without_anything_behind_them_are_refused)
{
    write_one("bare.h5", NULL);
    expect_refusal("bare.h5", "'l/w': is named but not there");
    hid_t file = create_file("layerless.h5");
    write_strings(file, "layer_names", STRINGS_FIXED, 1, (const char *[]) { "conv2d_1" });
    H5Fclose(file);
    expect_refusal("layerless.h5", "'conv2d_1': is named but not there");
}

Test(keras_hdf5, names_that_are_no_plain_text_are_refused)
{
    hid_t file = create_file("names.h5");
    write_strings(file, "layer_names", STRINGS_FIXED, 1, (const char *[]) { "a\033[2J" });
    H5Fclose(file);
    expect_refusal("names.h5", "unprintable");
    file = create_file("names.h5");
    write_strings(file, "layer_names", STRINGS_VARIABLE, 2, (const char *[]) { "", "b" });
    H5Fclose(file);
    expect_refusal("names.h5", "empty");
    file = create_file("names.h5");
    hid_t space = H5Screate(H5S_SCALAR);
    H5Aclose(H5Acreate2(file, "layer_names", H5T_STD_I32LE, space, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
    H5Fclose(file);
    expect_refusal("names.h5", "not a list of strings");
}

static void make_group(hid_t layer)
{
    H5Gclose(H5Gcreate2(layer, "w", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}

static void make_soft_link(hid_t layer)
{
    write_dataset(layer, "real", H5T_IEEE_F32LE, 1, (hsize_t[]) { 2 }, beta);
    H5Lcreate_soft("/l/real", layer, "w", H5P_DEFAULT, H5P_DEFAULT);
}

static void make_external_link(hid_t layer)
{
    H5Lcreate_external("other.h5", "/l/w", layer, "w", H5P_DEFAULT, H5P_DEFAULT);
}

static void make_external_storage(hid_t layer)
{
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(creation, "/etc/passwd", 0, 8);
    H5Dclose(open_dataset(layer, "w", H5T_IEEE_F32LE, 1, (hsize_t[]) { 2 }, creation));
    H5Pclose(creation);
}

static void make_virtual(hid_t layer)
{
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    hid_t space = H5Screate_simple(1, (hsize_t[]) { 2 }, NULL);
    H5Pset_virtual(creation, space, "other.h5", "/l/w", space);
    H5Dclose(open_dataset(layer, "w", H5T_IEEE_F32LE, 1, (hsize_t[]) { 2 }, creation));
    H5Sclose(space);
    H5Pclose(creation);
}

static void make_sparse(hid_t layer, int dims, const hsize_t *shape)
{
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(creation, dims, (hsize_t[]) { 1, 1, 1, 1, 1, 1, 1, 1, 1 });
    H5Dclose(open_dataset(layer, "w", H5T_IEEE_F32LE, dims, shape, creation));
    H5Pclose(creation);
}

static void make_over_a_gibibyte(hid_t layer)
{
    make_sparse(layer, 1, (hsize_t[]) { (1 << 28) + 1 });
}

static void make_overflowing(hid_t layer)
{
    make_sparse(layer, 3, (hsize_t[]) { 1 << 30, 1 << 30, 1 << 30 });
}

static void make_larger_than_the_file(hid_t layer)
{
    make_sparse(layer, 1, (hsize_t[]) { 1 << 28 });
}

static void make_nine_dimensions(hid_t layer)
{
    make_sparse(layer, 9, (hsize_t[]) { 1, 1, 1, 1, 1, 1, 1, 1, 1 });
}

static void make_unwritten(hid_t layer)
{
    make_sparse(layer, 1, (hsize_t[]) { 8 });
}

static void make_strings(hid_t layer)
{
    H5Dclose(open_dataset(layer, "w", H5T_C_S1, 1, (hsize_t[]) { 8 }, H5P_DEFAULT));
}

Test(keras_hdf5, datasets_that_are_no_weights_are_refused)
{
    static const struct {
        void (*make)(hid_t layer);
        const char *reason;
    } cases[] = {
        { make_group, "'l/w': is not a dataset" },
        { make_soft_link, "'l/w': is a soft link" },
        { make_external_link, "'l/w': is a link to another file" },
        { make_external_storage, "'l/w': keeps its values in another file" },
        { make_virtual, "'l/w': is a virtual dataset" },
        { make_over_a_gibibyte, "'l/w': is larger than 1 GiB" },
        { make_overflowing, "'l/w': is too large" },
        { make_larger_than_the_file, "'l/w': holds no values" },
        { make_nine_dimensions, "'l/w': has more than 8 dimensions" },
        { make_unwritten, "'l/w': holds no values" },
        { make_strings, "'l/w': does not hold numbers" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        write_one("bad.h5", cases[i].make);
        expect_refusal("bad.h5", cases[i].reason);
    }
}

static void make_inflated(hid_t layer)
{
    enum { SIDE = 1 << 20 };
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(creation, 1, (hsize_t[]) { SIDE });
    H5Pset_deflate(creation, 9);
    hid_t dataset = open_dataset(layer, "w", H5T_IEEE_F32LE, 1, (hsize_t[]) { SIDE }, creation);
    float *zeros = calloc(SIDE, sizeof *zeros);
    H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros);
    free(zeros);
    H5Dclose(dataset);
    H5Pclose(creation);
}

Test(keras_hdf5, memory_is_bounded_by_the_size_of_the_file)
{
    write_one("bomb.h5", make_inflated);
    expect_refusal("bomb.h5", "more values are announced than the file can hold");
}

Test(keras_hdf5, one_dataset_named_twice_is_refused)
{
    hid_t file = create_file("twice.h5");
    write_layers(file, STRINGS_FIXED);
    write_strings(file, "layer_names", STRINGS_FIXED, 2, (const char *[]) { "norm_1", "norm_1" });
    H5Fclose(file);
    expect_refusal("twice.h5", "two weights have this name");
}

/* A malicious file may control the child, so its output is checked like the file itself. */
Test(keras_hdf5, forged_surveys_are_refused)
{
    static const uint8_t bytes[64];
    static const struct hdf5_image image = { "f.h5", bytes, sizeof bytes };
    static const struct {
        int count;
        int64_t converted_count;
        struct survey_entry entry;
        const char *reason;
    } cases[] = {
        { -1, 0, { .name = "w" }, "is damaged or forged" },
        { SURVEY_ENTRIES_MAX + 1, 0, { .name = "w" }, "is damaged or forged" },
        { 1, 257, { .name = "w" }, "is damaged or forged" },
        { 1, 0, { .name = "" }, "weight 1 has an unprintable name" },
        { 1, 0, { .name = "\033" }, "weight 1 has an unprintable name" },
        { 1, 0, { .name = "w", .layer = "\n" }, "weight 1 has an unprintable name" },
        { 1, 0, { .name = "w", .dims = -1 }, "more than 8 dimensions" },
        { 1, 0, { .name = "w", .dims = 9 }, "more than 8 dimensions" },
        { 1, 0, { .name = "w", .dims = 1, .shape = { -1 } }, "is too large" },
        { 1, 0, { .name = "w", .dims = 2, .shape = { INT64_MAX, 2 } }, "is too large" },
        { 1, 0, { .name = "w", .dims = 1, .shape = { 1 << 20 } }, "is too large" },
        { 1, 0, { .name = "w", .dims = 1, .shape = { 17 } }, "lies outside the file" },
        { 1, 0, { .name = "w", .dims = 1, .shape = { 16 }, .at = 4 }, "lies outside the file" },
        { 1, 0, { .name = "w", .dims = 1, .shape = { 1 }, .at = -4 }, "lies outside the file" },
        { 1, 0, { .name = "w", .dims = 1, .shape = { 1 }, .at = 2 }, "lies outside the file" },
        { 1, 0, { .name = "w", .dims = 1, .at = INT64_MAX - 3 }, "lies outside the file" },
        { 1,
          3,
          { .name = "w", .dims = 1, .shape = { 4 }, .converted = true },
          "outside the values" },
        { 1, 3, { .name = "w", .converted = true, .at = -1 }, "lies outside the values" },
        { 1, 3, { .name = "w", .converted = true, .at = 3 }, "lies outside the values" },
    };
    struct survey *survey = calloc(1, sizeof *survey);
    const float values[256] = { 0 };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct error err = { 0 };
        struct weights weights = { 0 };
        survey->format = WEIGHTS_KERAS2_HDF5;
        survey->count = cases[i].count;
        survey->converted_count = cases[i].converted_count;
        survey->entries[0] = cases[i].entry;
        cr_expect(!keras_name_arrays(&weights, &image, survey, values, NULL, &err), "case %zu", i);
        cr_expect(strstr(err.message, cases[i].reason), "case %zu: %s", i, err.message);
        weights_release(&weights);
    }
    struct error err = { 0 };
    struct weights weights = { 0 };
    survey->count = 1;
    memset(survey->entries[0].name, 'w', sizeof survey->entries[0].name); /* not terminated */
    cr_expect(!keras_name_arrays(&weights, &image, survey, values, NULL, &err));
    cr_expect(strstr(err.message, "unprintable"), "%s", err.message);
    weights_release(&weights);
    free(survey);
}
