/* The files of tests/fuzz/corpus and forged archives, and the expected results of weights_read().
 * Include after temporary.h. */
#ifndef MICROMET_TESTS_WEIGHTS_CORPUS_H
#define MICROMET_TESTS_WEIGHTS_CORPUS_H

#include "forged_zip.h"
#include "micromet/format/weights.h"
#include "temporary.h"

struct expected_array {
    const char *name, *dtype;
    int64_t shape[ARRAY_DIMS_MAX + 1]; /* ends with a 0 */
    float values[24];
};

static inline const char *corpus_path(const char *name)
{
    static char path[PATH_MAX_BYTES];
    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/%s", MICROMET_SOURCE, name);
    return path;
}

static inline void expect_array(const struct weight_array *array,
                                const struct expected_array *expected)
{
    struct error err = { 0 };
    float *converted;
    cr_assert_str_eq(array->name, expected->name);
    cr_assert_str_eq(array->dtype, expected->dtype);
    int64_t count = 1;
    for (int d = 0; d < array->dims; d++) {
        cr_assert_eq(array->shape[d], expected->shape[d], "%s", array->name);
        count *= array->shape[d];
    }
    cr_assert_eq(expected->shape[array->dims], 0, "%s has too few dimensions", array->name);
    cr_assert_eq(array->count, count);
    if (array->dtype[0] == 'I') {
        int64_t value;
        memcpy(&value, array->data, sizeof value);
        cr_assert_eq(value, (int64_t)expected->values[0]);
        return;
    }
    const float *values = weights_floats(array, &converted, &err);
    cr_assert(values, "%s", err.message);
    for (int64_t i = 0; i < count; i++)
        cr_assert_eq(values[i], expected->values[i], "%s[%d] is %g", array->name, (int)i,
                     (double)values[i]);
    free(converted);
}

static inline void expect_weights(const char *name, enum weights_format format,
                                  const struct expected_array *expected, int count)
{
    struct error err = { 0 };
    struct weights weights;
    cr_assert(weights_read(&weights, corpus_path(name), &err), "%s", err.message);
    cr_assert_eq(weights.format, format);
    cr_assert_eq(weights.count, count);
    for (int i = 0; i < count; i++) expect_array(&weights.arrays[i], &expected[i]);
    weights_release(&weights);
}

static inline void expect_read_refusal(const char *path, const char *reason)
{
    struct error err = { 0 };
    struct weights weights;
    cr_assert(!weights_read(&weights, path, &err), "expected: %s", reason);
    cr_expect(strstr(err.message, reason), "expected '%s' in: %s", reason, err.message);
    cr_expect(strstr(err.message, path), "the file's name stands in: %s", err.message);
    cr_assert_null(weights.arrays);
    cr_assert_null(weights.storage);
    cr_assert_null(weights.converted);
}

static inline void expect_corpus_refusal(const char *name, const char *reason)
{
    expect_read_refusal(corpus_path(name), reason);
}

/* Expect `reason` when the archive is read. Ends and releases it. */
static inline void expect_forged_refusal(struct forged_zip *zip, const char *reason)
{
    forged_zip_end(zip);
    temporary_write("forged.zip", zip->bytes, zip->size);
    forged_zip_release(zip);
    expect_read_refusal(temporary_path("forged.zip"), reason);
}

#endif
