#include "real_weights.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/file.h"
#include "micromet/format/weights.h"
#include "micromet/nn/inception_v3.h"

static const char folder[] = MICROMET_SHARED_DATA "/inception-v3";

enum { ARRAYS = 4 * INCEPTION_CONVOLUTIONS, FILE_BYTES_MAX = 1 << 28 };

bool real_weights_present(void)
{
    char path[PATH_MAX_BYTES];
    snprintf(path, sizeof path, "%s/weights.bin", folder);
    return file_exists(path);
}

static const struct inception_layer *convolution(int rank)
{
    for (int i = 0; i < INCEPTION_LAYERS; i++)
        if (inception_v3[i].kind == INCEPTION_CONVOLUTION && rank-- == 0) return &inception_v3[i];
    return NULL;
}

/* "conv2d_7/kernel" -> "Mixed_5b.branch5x5_1.conv.weight". */
static char *torch_name(const char *keras)
{
    static const char *const leaves[][2] = { { "/kernel", "conv.weight" },
                                             { "/beta", "bn.bias" },
                                             { "/moving_mean", "bn.running_mean" },
                                             { "/moving_variance", "bn.running_var" } };
    const char *number = strstr(keras, "conv2d_") ? keras + 7
                                                  : strstr(keras, "normalization_") + 14;
    char name[128];
    for (int i = 0; i < 4; i++)
        if (strstr(keras, leaves[i][0]))
            snprintf(name, sizeof name, "%s.%s", convolution(atoi(number) - 1)->name, leaves[i][1]);
    return strdup(name);
}

/* HWIO bytes -> OIHW floats, or a plain vector. */
static float *values_of(const json_t *weight, const unsigned char *bytes,
                        struct weight_array *array)
{
    const json_t *shape = json_object_get(weight, "shape");
    const json_t *quantization = json_object_get(weight, "quantization");
    const float scale = (float)json_number_value(json_object_get(quantization, "scale"));
    const float low = (float)json_number_value(json_object_get(quantization, "min"));
    int64_t s[4] = { 1, 1, 1, 1 };
    array->dims = (int)json_array_size(shape);
    for (int d = 0; d < array->dims; d++)
        s[d] = json_integer_value(json_array_get(shape, (size_t)d));
    array->count = s[0] * s[1] * s[2] * s[3];
    float *values = malloc((size_t)array->count * sizeof *values);
    if (array->dims == 1) {
        array->shape[0] = s[0];
        for (int64_t i = 0; i < s[0]; i++) values[i] = (float)bytes[i] * scale + low;
        return values;
    }
    const int64_t order[4] = { s[3], s[2], s[0], s[1] };
    memcpy(array->shape, order, sizeof order);
    for (int64_t t = 0; t < s[0] * s[1]; t++)
        for (int64_t c = 0; c < s[2]; c++)
            for (int64_t k = 0; k < s[3]; k++)
                values[(k * s[2] + c) * s[0] * s[1] + t] =
                    (float)bytes[(t * s[2] + c) * s[3] + k] * scale + low;
    return values;
}

bool real_weights_write(const char *path, struct error *err)
{
    struct weight_array arrays[ARRAYS] = { { 0 } };
    char json_path[PATH_MAX_BYTES], bin_path[PATH_MAX_BYTES], *text = NULL, *bytes = NULL;
    size_t text_size, byte_count, at = 0;
    int count = 0;
    snprintf(json_path, sizeof json_path, "%s/model.json", folder);
    snprintf(bin_path, sizeof bin_path, "%s/weights.bin", folder);
    if (!file_read(json_path, FILE_BYTES_MAX, &text, &text_size, err) ||
        !file_read(bin_path, FILE_BYTES_MAX, &bytes, &byte_count, err))
        return false;
    json_t *model = json_loadb(text, text_size, 0, NULL);
    size_t g, w;
    json_t *group, *weight;
    json_array_foreach(json_object_get(model, "weightsManifest"), g, group)
    {
        json_array_foreach(json_object_get(group, "weights"), w, weight)
        {
            const char *name = json_string_value(json_object_get(weight, "name"));
            struct weight_array array = { .dtype = "F32" };
            array.data = values_of(weight, (unsigned char *)bytes + at, &array);
            at += (size_t)array.count;
            const bool wanted = strncmp(name, "conv2d_", 7) == 0 ||
                                strncmp(name, "batch_normalization_", 20) == 0;
            if (wanted && count < ARRAYS) {
                array.name = torch_name(name);
                arrays[count++] = array;
            } else {
                free((void *)(uintptr_t)array.data);
            }
        }
    }
    const bool ok = safetensors_write(path, arrays, count, NULL, err);
    for (int i = 0; i < count; i++) {
        free(arrays[i].name);
        free((void *)(uintptr_t)arrays[i].data);
    }
    json_decref(model);
    free(text);
    free(bytes);
    return ok;
}
