#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const char *fuzz_file(const uint8_t *bytes, size_t size)
{
    static char path[64];
    static int file = -1;
    if (file < 0) file = memfd_create("input", 0);
    if (file < 0 || ftruncate(file, 0) != 0 || pwrite(file, bytes, size, 0) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    return path;
}

void fuzz_use(struct weights *weights)
{
    double sum = 0;
    for (int i = 0; i < weights->count; i++) {
        struct error err = { 0 };
        const struct weight_array *array = &weights->arrays[i];
        float *converted;
        const float *values = weights_floats(array, &converted, &err);
        sum += (double)strlen(array->name);
        for (int64_t v = 0; values && v < array->count; v++) sum += (double)values[v];
        const uint8_t *raw = array->data;
        const size_t bytes = (size_t)array->count * weights_dtype_bytes(array->dtype);
        for (size_t b = 0; !values && b < bytes; b++) sum += raw[b];
        free(converted);
        weights_let_go(weights, array);
    }
    static volatile double seen;
    seen = sum;
    (void)seen;
    weights_release(weights);
}
