/* list_weights [--arrays] FILE...: what the readers return for files of weights, and at what cost.
 *
 * Prints one line per file: its format, number of arrays, reading time, and the rise of the
 * resident size while reading. With --arrays also each array's name, type, shape and the CRC-32 of
 * its values as float32 (unconverted if they are integers). Exit status 1 if a file was refused.
 * tools/check-weights compares the figures with their bounds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <zlib.h>

#include "micromet/base/thread.h"
#include "micromet/format/weights.h"

static void list_array(const struct weight_array *array)
{
    struct error err = { 0 };
    float *converted;
    const void *values = weights_floats(array, &converted, &err);
    const size_t bytes = (size_t)array->count *
                         (values ? sizeof(float) : weights_dtype_bytes(array->dtype));
    printf("%s %s [", array->name, array->dtype);
    for (int d = 0; d < array->dims; d++)
        printf("%s%lld", d ? "," : "", (long long)array->shape[d]);
    printf("] %08lx\n", crc32_z(0, values ? values : array->data, bytes));
    free(converted);
}

/* Reset the peak resident size of the process. */
static void reset_peak(void)
{
    FILE *stream = fopen("/proc/self/clear_refs", "w");
    if (!stream) return;
    fputs("5", stream);
    fclose(stream);
}

static double processor_seconds(void)
{
    double seconds = 0;
    for (int who = RUSAGE_CHILDREN; who <= RUSAGE_SELF; who++) {
        struct rusage usage;
        getrusage(who, &usage);
        seconds += (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
    }
    return seconds;
}

static bool list_file(const char *path, bool arrays)
{
    struct stat facts = { 0 };
    struct weights weights;
    struct error err = { 0 };
    stat(path, &facts);
    reset_peak();
    const int64_t before = memory_peak_bytes();
    const double start = clock_seconds(), processor_start = processor_seconds();
    if (!weights_read(&weights, path, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return false;
    }
    const double seconds = clock_seconds() - start;
    const double processor = processor_seconds() - processor_start;
    const double growth = (double)(memory_peak_bytes() - before);
    printf(
        "%s: %s, %d arrays, %.3f s (%.3f on processors), %.1f MB of memory for a file of %.1f MB\n",
        path, weights_format_name(weights.format), weights.count, seconds, processor, growth / 1e6,
        (double)facts.st_size / 1e6);
    for (int i = 0; i < weights.count && arrays; i++) list_array(&weights.arrays[i]);
    weights_release(&weights);
    return true;
}

int main(int argc, char **argv)
{
    const bool arrays = argc > 1 && strcmp(argv[1], "--arrays") == 0;
    bool done = argc > 1 + arrays;
    for (int i = 1 + arrays; i < argc; i++) done &= list_file(argv[i], arrays);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
