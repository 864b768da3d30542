/* Reading a file of weights takes at most 1.3 times its size of memory, in every format. */
#include <hdf5.h>
#include <malloc.h>

#include "micromet/base/size.h"
#include "micromet/base/thread.h"
#include "temporary.h"
#include "weights_corpus.h"

enum { SIDE = 1024, ARRAYS = 6, COUNT = SIDE * SIDE, SLACK_BYTES = 3 << 20 };

/* Reset the peak resident size of the process; returns the current one. */
static int64_t reset_peak(void)
{
    malloc_trim(0);
    FILE *stream = fopen("/proc/self/clear_refs", "w");
    if (!stream || fputs("5", stream) < 0 || fclose(stream) != 0)
        cr_skip_test("the kernel does not let go of its peaks");
    return memory_peak_bytes();
}

static void write_safetensors(const char *path)
{
    static float values[COUNT];
    static const char names[ARRAYS][2] = { "0", "1", "2", "3", "4", "5" };
    struct weight_array arrays[ARRAYS];
    struct error err = { 0 };
    for (int i = 0; i < ARRAYS; i++)
        arrays[i] = (struct weight_array) { .name = (char *)(uintptr_t)names[i],
                                            .dims = 2,
                                            .shape = { SIDE, SIDE },
                                            .count = COUNT,
                                            .data = values,
                                            .dtype = "F32" };
    cr_assert(safetensors_write(path, arrays, ARRAYS, NULL, &err), "%s", err.message);
}

static void write_hdf5(const char *path)
{
    static float values[COUNT];
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t links = H5Pcreate(H5P_LINK_CREATE), text = H5Tcopy(H5T_C_S1);
    const hid_t space = H5Screate_simple(2, (hsize_t[]) { SIDE, SIDE }, NULL);
    H5Pset_create_intermediate_group(links, 1);
    H5Tset_size(text, 8);
    for (int i = 0; i < ARRAYS; i++) {
        char group[64], name[80], layer[8];
        snprintf(group, sizeof group, "layers/dense_%d/vars", i);
        snprintf(name, sizeof name, "%s/0", group);
        snprintf(layer, sizeof layer, "d%d", i);
        values[0] = (float)i;
        const hid_t set = H5Dcreate2(file, name, H5T_NATIVE_FLOAT, space, links, H5P_DEFAULT,
                                     H5P_DEFAULT);
        H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
        H5Dclose(set);
        const hid_t vars = H5Gopen2(file, group, H5P_DEFAULT), scalar = H5Screate(H5S_SCALAR);
        const hid_t attribute = H5Acreate2(vars, "name", text, scalar, H5P_DEFAULT, H5P_DEFAULT);
        cr_assert_geq(H5Awrite(attribute, text, layer), 0);
        H5Aclose(attribute);
        H5Sclose(scalar);
        H5Gclose(vars);
    }
    H5Sclose(space);
    H5Tclose(text);
    H5Pclose(links);
    cr_assert_geq(H5Fclose(file), 0);
}

static void end_archive(struct forged_zip *zip, const char *path)
{
    struct error err = { 0 };
    forged_zip_end(zip);
    cr_assert(file_write_atomic(path, zip->bytes, zip->size, &err), "%s", err.message);
    forged_zip_release(zip);
}

static void write_keras(const char *path)
{
    struct forged_zip zip = { 0 };
    size_t size;
    write_hdf5(temporary_path("inner.h5"));
    uint8_t *bytes = temporary_read("inner.h5", &size);
    forged_zip_add(&zip, "model.weights.h5", bytes, size);
    free(bytes);
    end_archive(&zip, path);
}

static void write_torch(const char *path)
{
#define BEFORE_KEY                                                                                 \
    "\x8c\x01?ctorch._utils\n_rebuild_tensor_v2\n((\x8c\x07storagectorch\nFloatStorage\n\x8c\x01"
    static const char before_key[] = BEFORE_KEY;
    static const char tensor[] = BEFORE_KEY
        "?\x8c\x03"
        "cpu\x8a\x04\0\0\x10\0tQK\0M\0\4M\0\4\x86M\0\4K\1\x86\x89NtR";
#undef BEFORE_KEY
    static float values[COUNT];
    struct forged_zip zip = { 0 };
    char pickle[4096] = "\x80\x02}(";
    size_t size = 4;
    for (int i = 0; i < ARRAYS; i++) {
        char *place = memcpy(pickle + size, tensor, sizeof tensor - 1);
        place[2] = place[sizeof before_key - 1] = (char)('0' + i); /* its name, its storage's key */
        size += sizeof tensor - 1;
    }
    memcpy(pickle + size, "u.", 2);
    forged_zip_add(&zip, "a/data.pkl", pickle, size + 2);
    for (int i = 0; i < ARRAYS; i++) {
        char name[16];
        snprintf(name, sizeof name, "a/data/%d", i);
        forged_zip_add(&zip, name, values, sizeof values);
    }
    end_archive(&zip, path);
}

static const struct format {
    enum weights_format format;
    void (*write)(const char *path);
    bool mapped; /* pages can be evicted after use */
} formats[] = {
    { WEIGHTS_SAFETENSORS, write_safetensors, true },
    { WEIGHTS_KERAS3_HDF5, write_hdf5, true },
    { WEIGHTS_KERAS_ZIP, write_keras, false },
    { WEIGHTS_TORCH_ZIP, write_torch, false },
};

/* Use one array after the other, as a caller would. */
static void use(const struct weights *weights)
{
    for (int i = 0; i < weights->count; i++) {
        const volatile float *values = weights->arrays[i].data;
        for (int64_t v = 0; v < weights->arrays[i].count; v += 256) (void)values[v];
        weights_let_go(weights, &weights->arrays[i]);
    }
}

static void check_format(const struct format *format)
{
    const char *path = temporary_path("large");
    const int64_t bytes = (int64_t)ARRAYS * COUNT * (int64_t)sizeof(float);
    struct error err = { 0 };
    struct weights weights;
    format->write(path);
    path = temporary_path("large");
    const int64_t before = reset_peak();
    cr_assert(weights_read(&weights, path, &err), "%s", err.message);
    cr_assert_eq(weights.format, format->format);
    cr_assert_eq(weights.count, ARRAYS);
    use(&weights);
    const int64_t grown = memory_peak_bytes() - before;
    weights_release(&weights);
    const int64_t bound = (format->mapped ? bytes / ARRAYS : bytes * 13 / 10) + SLACK_BYTES;
    cr_expect_leq(grown, bound, "%s: %lld of at most %lld bytes",
                  weights_format_name(format->format), (long long)grown, (long long)bound);
    cr_expect_geq(grown, format->mapped ? 1 : bytes, "%s: %lld bytes: nothing was measured",
                  weights_format_name(format->format), (long long)grown);
}

extern void __asan_init(void) __attribute__((weak)); /* whose memory it would be */

TestSuite(weights_memory, .init = temporary_begin, .fini = temporary_end);

Test(weights_memory, every_format_reads_within_its_size)
{
    if (__asan_init) cr_skip_test("AddressSanitizer takes memory of its own");
    for (size_t i = 0; i < COUNT_OF(formats); i++) check_format(&formats[i]);
}
