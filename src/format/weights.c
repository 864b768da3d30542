/* What all weight readers share: mapping the file, look-up by name, the table of value types,
 * conversion to float, and release. */
#include "micromet/format/weights.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "micromet/base/size.h"
#include "weights_parts.h"

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    { "F64", 8 }, { "I64", 8 }, { "U64", 8 },  { "F32", 4 },     { "I32", 4 },
    { "U32", 4 }, { "F16", 2 }, { "BF16", 2 }, { "I16", 2 },     { "U16", 2 },
    { "I8", 1 },  { "U8", 1 },  { "BOOL", 1 }, { "F8_E4M3", 1 }, { "F8_E5M2", 1 },
};

size_t weights_dtype_bytes(const char *dtype)
{
    for (size_t i = 0; i < COUNT_OF(dtypes); i++)
        if (strcmp(dtypes[i].name, dtype) == 0) return dtypes[i].bytes;
    return 0;
}

const struct weight_array *weights_find(const struct weights *weights, const char *name)
{
    for (int i = 0; i < weights->count; i++)
        if (strcmp(weights->arrays[i].name, name) == 0) return &weights->arrays[i];
    return NULL;
}

bool weights_fit(const struct weight_array *array, int dims, const int64_t *shape)
{
    if (!array || array->dims < dims) return false;
    for (int d = 0; d < array->dims; d++)
        if (array->shape[d] != (d < dims ? shape[d] : 1)) return false;
    return true;
}

const char *weights_metadata(const struct weights *weights, const char *key)
{
    for (char **pair = weights->metadata; pair && *pair; pair += 2)
        if (strcmp(pair[0], key) == 0) return pair[1];
    return NULL;
}

bool weights_are_keras(const struct weights *weights)
{
    return weights->format == WEIGHTS_KERAS2_HDF5 || weights->format == WEIGHTS_KERAS3_HDF5 ||
           weights->format == WEIGHTS_KERAS_ZIP;
}

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float from_half(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16, magnitude = half & 0x7fffu;
    if (magnitude >= 0x7c00u) return from_bits(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    /* Multiplying rebiases the exponent, and also handles subnormals. */
    return from_bits(sign | magnitude << 13) * 0x1p112f;
}

static void from_f64(const void *from, int64_t count, float *to)
{
    const double *values = from;
    for (int64_t i = 0; i < count; i++) to[i] = (float)values[i];
}

static void from_f16(const void *from, int64_t count, float *to)
{
    const uint16_t *values = from;
    for (int64_t i = 0; i < count; i++) to[i] = from_half(values[i]);
}

static void from_bf16(const void *from, int64_t count, float *to)
{
    const uint16_t *values = from;
    for (int64_t i = 0; i < count; i++) to[i] = from_bits((uint32_t)values[i] << 16);
}

static const struct {
    const char *dtype;
    void (*convert)(const void *from, int64_t count, float *to);
} conversions[] = { { "F64", from_f64 }, { "F16", from_f16 }, { "BF16", from_bf16 } };

const float *weights_floats(const struct weight_array *array, float **converted, struct error *err)
{
    *converted = NULL;
    if (strcmp(array->dtype, "F32") == 0) return array->data;
    for (size_t i = 0; i < COUNT_OF(conversions); i++) {
        if (strcmp(array->dtype, conversions[i].dtype) != 0) continue;
        *converted = malloc((size_t)array->count * sizeof **converted + 1);
        if (*converted)
            conversions[i].convert(array->data, array->count, *converted);
        else
            error_set(err, EXIT_CODE_FAILED, "'%.200s': no memory for its values", array->name);
        return *converted;
    }
    error_set(err, EXIT_CODE_FAILED,
              "'%.200s' holds %s where floats are wanted (F32, F64, F16, BF16)", array->name,
              array->dtype);
    return NULL;
}

bool weights_map(struct weights *weights, const char *path, struct error *err)
{
    struct stat facts = { 0 };
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    const char *wrong = file < 0 || fstat(file, &facts) != 0 ? strerror(errno) : NULL;
    if (!wrong && !S_ISREG(facts.st_mode)) wrong = "not a regular file";
    if (!wrong && facts.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_PRIVATE, file, 0);
        if (bytes == MAP_FAILED) {
            wrong = strerror(errno);
        } else {
            weights->storage = bytes;
            weights->storage_bytes = (size_t)facts.st_size;
            weights->storage_is_mapping = true;
        }
    }
    if (file >= 0) close(file);
    return !wrong || error_set(err, EXIT_CODE_FAILED, "%s: cannot be opened: %s", path, wrong);
}

bool weights_plain_name(const char *name)
{
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f) return false;
    return *name != '\0';
}

static int by_name(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

bool weights_check_names(const struct weights *weights, const char *path, struct error *err)
{
    size_t count = (size_t)weights->count;
    char **names = calloc(count + 1, sizeof *names);
    if (!names) return error_set(err, EXIT_CODE_FAILED, "%s: no memory for its names", path);
    for (size_t i = 0; i < count; i++) names[i] = weights->arrays[i].name;
    qsort(names, count, sizeof *names, by_name);
    bool done = true;
    for (size_t i = 1; i < count && done; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            done = error_set(err, EXIT_CODE_FAILED, "%s: '%.200s': two weights have this name",
                             path, names[i]);
    free(names);
    return done;
}

void weights_let_go(const struct weights *weights, const struct weight_array *array)
{
    if (!weights->storage_is_mapping) return;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t bytes = (size_t)array->count * weights_dtype_bytes(array->dtype);
    const uintptr_t address = (uintptr_t)array->data, first = address - address % page;
    madvise((void *)first, address + bytes - first, MADV_DONTNEED); /* failure is harmless */
}

void weights_release(struct weights *weights)
{
    for (int i = 0; i < weights->count; i++) free(weights->arrays[i].name);
    free(weights->arrays);
    for (char **text = weights->metadata; text && *text; text++) free(*text);
    free(weights->metadata);
    if (weights->storage_is_mapping)
        munmap(weights->storage, weights->storage_bytes);
    else
        free(weights->storage);
    if (weights->converted) munmap(weights->converted, weights->converted_bytes);
    *weights = (struct weights) { 0 };
}
