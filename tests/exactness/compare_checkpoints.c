/* Do two checkpoints hold the same arrays and the same training state, bit for bit? Only
 * what their configurations say may differ. compare_checkpoints A B: exit code 0 if so, else
 * 1 and a reason. */
#include <stdio.h>
#include <string.h>

#include "micromet/format/weights.h"

static int differ(const char *what, const char *name)
{
    printf("%s '%s' differs\n", what, name);
    return 1;
}

static bool same_array(const struct weight_array *a, const struct weight_array *b)
{
    return b && strcmp(a->dtype, b->dtype) == 0 && a->dims == b->dims &&
           memcmp(a->shape, b->shape, (size_t)a->dims * sizeof *a->shape) == 0 &&
           memcmp(a->data, b->data, (size_t)a->count * weights_dtype_bytes(a->dtype)) == 0;
}

static int compare(const struct weights *a, const struct weights *b)
{
    if (a->count != b->count) return differ("number of arrays in", "A and B");
    for (int i = 0; i < a->count; i++)
        if (!same_array(&a->arrays[i], weights_find(b, a->arrays[i].name)))
            return differ("array", a->arrays[i].name);
    for (char **pair = a->metadata; *pair; pair += 2) {
        const char *other = weights_metadata(b, pair[0]);
        if (strcmp(pair[0], "config") == 0 || strcmp(pair[0], "micromet.xxh3") == 0) continue;
        if (!other || strcmp(pair[1], other) != 0) return differ("metadata", pair[0]);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct weights a = { 0 }, b = { 0 };
    struct error err = { 0 };
    int code = 1;
    if (argc != 3)
        fprintf(stderr, "usage: compare_checkpoints A B\n");
    else if (!safetensors_read(&a, argv[1], &err) || !safetensors_read(&b, argv[2], &err))
        fprintf(stderr, "%s\n", err.message);
    else
        code = compare(&a, &b);
    weights_release(&a);
    weights_release(&b);
    return code;
}
