/* Arrays of the checkpoint as the graph needs them: with the model's shapes, batch norms folded
 * into their convolutions, in float32 or float16. */
#include <math.h>
#include <string.h>

#include "export_parts.h"

const struct weight_array *export_array(const struct checkpoint *checkpoint, const char *name,
                                        int dims, const int64_t *shape, struct error *err)
{
    const struct weight_array *array = weights_find(&checkpoint->weights, name);
    if (weights_fit(array, dims, shape) && array->dims == dims && strcmp(array->dtype, "F32") == 0)
        return array;
    error_set(err, EXIT_CODE_FAILED, "%s: its array '%s' is missing or of another shape",
              checkpoint->path, name);
    return NULL;
}

bool export_convolution(const struct checkpoint *checkpoint, const struct inception_layer *layer,
                        int tower, struct export_source *weights, struct export_source *bias,
                        struct error *err)
{
    static const char *const norm[] = { "bn.weight", "bn.bias", "bn.running_mean",
                                        "bn.running_var" };
    int64_t shape[4];
    char name[80];
    inception_weight_shape(layer, shape);
    snprintf(name, sizeof name, "tower%d.%s.conv.weight", tower, layer->name);
    *weights = (struct export_source) { .array = export_array(checkpoint, name, 4, shape, err) };
    if (!weights->array) return false;
    for (int i = checkpoint->gamma ? 0 : 1; i < 4; i++) {
        snprintf(name, sizeof name, "tower%d.%s.%s", tower, layer->name, norm[i]);
        weights->norm[i] = export_array(checkpoint, name, 1, shape, err);
        if (!weights->norm[i]) return false;
    }
    *bias = *weights;
    bias->is_bias = true;
    return true;
}

/* Round to the nearest float16, ties to even. False if the value is too large. */
static bool half_from_float(float value, uint16_t *half)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    const float magnitude = fabsf(value);
    if (!(magnitude < 65520)) return false;
    if (magnitude < 0x1p-14f) { /* subnormal: a multiple of 2^-24 */
        *half = (uint16_t)(sign | (uint16_t)lrintf(magnitude * 0x1p24f));
        return true;
    }
    bits &= 0x7fffffff;
    bits += 0xfff + (bits >> 13 & 1);
    *half = (uint16_t)(sign | ((bits >> 13) - ((127 - 15) << 10)));
    return true;
}

/* The factor by which the values of channel k are multiplied. */
static double channel_scale(const struct export_source *source, int64_t k)
{
    if (!source->norm[1]) return 1;
    const float *gamma = source->norm[0] ? source->norm[0]->data : NULL;
    const float *variance = source->norm[3]->data;
    return inception_fold_scale(gamma ? gamma[k] : 1, variance[k]);
}

static float channel_bias(const struct export_source *source, int64_t k)
{
    const float *beta = source->norm[1]->data, *mean = source->norm[2]->data;
    return (float)(beta[k] - mean[k] * channel_scale(source, k));
}

static bool store(const struct checkpoint *checkpoint, const struct weight_array *array,
                  void *values, int64_t i, float value, struct error *err)
{
    if (strcmp(array->dtype, "F32") == 0)
        ((float *)values)[i] = value;
    else if (!half_from_float(value, &((uint16_t *)values)[i]))
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: %s holds %g, which float16 cannot; export with --precision fp32",
                         checkpoint->path, array->name, value);
    return true;
}

bool export_values(struct checkpoint *checkpoint, const struct export_source *source,
                   const struct weight_array *array, void *values, struct error *err)
{
    const float *from = source->array->data;
    const int64_t channels = array->shape[0], each = array->count / channels;
    bool done = true;
    for (int64_t k = 0; k < channels && done; k++) {
        const double scale = channel_scale(source, k);
        for (int64_t i = k * each; i < (k + 1) * each && done; i++) {
            const float value = source->is_bias ? channel_bias(source, k)
                                                : (float)(from[i] * scale);
            done = store(checkpoint, array, values, i, value, err);
        }
    }
    weights_let_go(&checkpoint->weights, source->array);
    return done;
}
