/* Common to all formats of weights: telling them apart, and their values as float32. */
#include <math.h>
#include <sys/stat.h>

#include "micromet/base/size.h"
#include "micromet/format/weights.h"
#include "temporary.h"
#include "weights_corpus.h"

static const float *floats(const char *dtype, const void *data, int64_t count, float **converted)
{
    struct error err = { 0 };
    struct weight_array array = { .name = "w", .dims = 1, .count = count, .data = data };
    strcpy(array.dtype, dtype);
    const float *values = weights_floats(&array, converted, &err);
    cr_assert(values, "%s", err.message);
    return values;
}

TestSuite(weights, .init = temporary_begin, .fini = temporary_end);

Test(weights, float32_is_used_in_place)
{
    static const float values[] = { 1, 2 };
    float *converted;
    cr_assert_eq(floats("F32", values, 2, &converted), values);
    cr_assert_null(converted);
}

/* IEEE 754: sign, 5 bits of exponent biased by 15, 10 of fraction. */
static double half_value(unsigned bits)
{
    const int exponent = (int)(bits >> 10 & 31), fraction = (int)(bits & 1023);
    const double sign = bits & 0x8000 ? -1 : 1;
    if (exponent == 31) return fraction ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * ldexp(fraction, -24);
    return sign * ldexp(1024 + fraction, exponent - 25);
}

Test(weights, every_half_converts_exactly)
{
    static uint16_t halves[1 << 16];
    for (int i = 0; i < 1 << 16; i++) halves[i] = (uint16_t)i;
    float *converted;
    const float *values = floats("F16", halves, 1 << 16, &converted);
    cr_assert_eq(values, converted);
    for (unsigned i = 0; i < 1 << 16; i++) {
        const double expected = half_value(i);
        cr_assert(isnan(expected)
                      ? isnan(values[i])
                      : (double)values[i] == expected && !signbit(values[i]) == !signbit(expected),
                  "%04x: %a instead of %a", i, (double)values[i], expected);
    }
    free(converted);
}

Test(weights, bfloat16_and_doubles_convert)
{
    static const uint16_t brains[] = { 0x3f80, 0xc049, 0x7f80, 0x0001, 0x8000 };
    static const double doubles[] = { 1, -2.5, 1e300, 1.0 / 3 };
    float *converted;
    const float *values = floats("BF16", brains, 5, &converted);
    cr_assert_eq(values[0], 1);
    cr_assert_eq(values[1], -3.140625f);
    cr_assert(isinf(values[2]));
    cr_assert_eq(values[3], 0x1p-133f);
    cr_assert(values[4] == 0 && signbit(values[4]));
    free(converted);
    values = floats("F64", doubles, 4, &converted);
    cr_assert_eq(values[1], -2.5f);
    cr_assert(isinf(values[2]));
    cr_assert_eq(values[3], 1.0f / 3);
    free(converted);
}

Test(weights, whole_numbers_are_no_floats)
{
    static const int64_t steps = 7;
    struct error err = { 0 };
    const struct weight_array array = {
        .name = "steps", .dtype = "I64", .count = 1, .data = &steps
    };
    float *converted;
    cr_assert_null(weights_floats(&array, &converted, &err));
    cr_assert_null(converted);
    cr_assert(strstr(err.message, "'steps' holds I64 where floats are wanted"), "%s", err.message);
}

Test(weights, formats_are_told_by_content)
{
    static const struct {
        const char *file;
        enum weights_format format;
        const char *name;
        bool keras;
    } cases[] = {
        { "safetensors/three.safetensors", WEIGHTS_SAFETENSORS, "safetensors", false },
        { "hdf5/keras2.h5", WEIGHTS_KERAS2_HDF5, "Keras 2 HDF5", true },
        { "hdf5/keras3_legacy.h5", WEIGHTS_KERAS2_HDF5, "Keras 2 HDF5", true },
        { "hdf5/keras3.weights.h5", WEIGHTS_KERAS3_HDF5, "Keras 3 HDF5", true },
        { "zip/model.keras", WEIGHTS_KERAS_ZIP, "Keras 3 archive", true },
        { "zip/state.pth", WEIGHTS_TORCH_ZIP, "PyTorch", false },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct error err = { 0 };
        struct weights weights;
        size_t size;
        char *bytes;
        cr_assert(file_read(corpus_path(cases[i].file), 1 << 20, &bytes, &size, &err));
        temporary_write("any.name", bytes, size);
        free(bytes);
        cr_assert(weights_read(&weights, temporary_path("any.name"), &err), "%s", err.message);
        cr_expect_eq(weights.format, cases[i].format, "%s", cases[i].file);
        cr_expect_str_eq(weights_format_name(weights.format), cases[i].name);
        cr_expect_eq(weights_are_keras(&weights), cases[i].keras);
        weights_release(&weights);
    }
}

Test(weights, foreign_files_are_refused)
{
    temporary_write("page.html", "<html><body>404 Not Found</body></html>", 39);
    expect_read_refusal(temporary_path("page.html"),
                        "is no file of weights that this program knows");
    temporary_write("empty", "", 0);
    expect_read_refusal(temporary_path("empty"), "is no file of weights that this program knows");
    expect_read_refusal(temporary_path("absent"), "cannot be opened: No such file or directory");
    cr_assert_eq(mkdir(temporary_path("folder"), 0700), 0);
    expect_read_refusal(temporary_path("folder"), "cannot be opened: Is a directory");
}
