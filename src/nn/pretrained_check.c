/* Values that no trained network has: files that were cut, converted wrongly or trained to ruin. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pretrained_parts.h"

/* Weights, means and biases of trained networks stay far below; variances, below its square. */
static const float value_max = 1e6f;

/* "[3, 0, 1, 2]": the place of value number `at`. */
static void index_text(const struct weight_array *array, int64_t at, char text[200])
{
    int64_t index[ARRAY_DIMS_MAX] = { 0 };
    size_t used = 0;
    for (int d = array->dims - 1; d >= 0; d--) {
        index[d] = at % array->shape[d];
        at /= array->shape[d];
    }
    for (int d = 0; d < array->dims; d++)
        used += (size_t)snprintf(text + used, 200 - used, "%s%" PRId64, d ? ", " : "[", index[d]);
    snprintf(text + used, 200 - used, array->dims ? "]" : "[]");
}

/* What is wrong with a value; NULL = nothing. */
static const char *value_problem(float value, float least, float most)
{
    if (!isfinite(value)) return "no number of a trained network";
    if (fabsf(value) > most) return "larger than any of a trained network";
    return value < least ? "a negative variance" : NULL;
}

static bool check_array(const struct pretrained *p, const struct weight_array *array, bool variance,
                        bool zeros_allowed, struct error *err)
{
    /* Our own files may hold the variance of another epsilon as one of ours, which can be below 0
     * by as much. */
    const float least = !variance ? -INFINITY : p->ours ? -inception_epsilon : 0;
    const float most = variance ? value_max * value_max : value_max;
    float *converted;
    const float *values = weights_floats(array, &converted, err);
    if (!values) return error_prefix(err, "%s", p->path);
    bool zeros = true;
    for (int64_t i = 0; i < array->count; i++) {
        const char *problem = value_problem(values[i], least, most);
        zeros &= values[i] == 0;
        if (!problem) continue;
        char index[200];
        index_text(array, i, index);
        error_set(err, EXIT_CODE_FAILED, "%s: '%.200s' holds %g at %s, %s", p->path, array->name,
                  (double)values[i], index, problem);
        break;
    }
    free(converted);
    weights_let_go(&p->weights, array);
    if (err->code) return false;
    return !zeros || zeros_allowed ||
           error_set(err, EXIT_CODE_FAILED, "%s: '%.200s' holds nothing but zeros", p->path,
                     array->name);
}

bool pretrained_check_values(const struct pretrained *p, struct error *err)
{
    for (int t = 0; t < p->towers; t++)
        for (int u = 0; u < INCEPTION_CONVOLUTIONS; u++)
            for (int part = 0; part < UNIT_PARTS; part++) {
                const struct weight_array *array = p->units[t][u].parts[part];
                const bool variance = part == UNIT_VARIANCE;
                if (array &&
                    !check_array(p, array, variance, part != UNIT_WEIGHT && !variance, err))
                    return false;
            }
    for (int i = 0; i < p->weights.count; i++) {
        const struct weight_array *array = &p->weights.arrays[i];
        if (pretrained_known_use(array->name) == USE_HEAD &&
            !check_array(p, array, false, true, err))
            return false;
    }
    return true;
}
