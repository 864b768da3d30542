/* Finding each parameter of the model in a file of weights. The idea: one function turns a
 * parameter into an array of the file (by torchvision's name, or by the rank of Keras' layer
 * number), another copies it in torch's order. */
#include "micromet/nn/pretrained.h"

#include <stdio.h>
#include <stdlib.h>

#include "micromet/nn/inception_v3.h"

/* HDF5 begins with its signature, safetensors with the length of a JSON object and that object. */
static bool is_hdf5(const char *path, bool *hdf5, struct error *err)
{
    static const char signature[8] = { '\x89', 'H', 'D', 'F', '\r', '\n', '\x1a', '\n' };
    char start[9] = { 0 };
    FILE *file = fopen(path, "rb");
    if (!file)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: cannot be opened: %m; give model.weights a Keras .h5 or a "
                         "torchvision-named .safetensors file, or 'random'",
                         path);
    const size_t got = fread(start, 1, sizeof start, file);
    fclose(file);
    *hdf5 = got >= sizeof signature && memcmp(start, signature, sizeof signature) == 0;
    const bool safetensors = start[8] == '{' && memcmp(start + 4, "\0\0\0", 4) == 0;
    return *hdf5 || safetensors ||
           error_set(err, EXIT_CODE_FAILED,
                     "%s: is neither HDF5 nor safetensors; give model.weights a Keras .h5 or a "
                     "torchvision-named .safetensors file, or 'random'",
                     path);
}

bool pretrained_open(struct pretrained *pretrained, const char *path, struct error *err)
{
    *pretrained = (struct pretrained){ 0 };
    snprintf(pretrained->path, sizeof pretrained->path, "%s", path);
    if (!is_hdf5(path, &pretrained->keras, err)) return false;
    if (!(pretrained->keras ? keras_hdf5_read : safetensors_read)(&pretrained->weights, path, err))
        return false;
    for (int i = 0; i < pretrained->weights.count; i++) {
        const char *name = pretrained->weights.arrays[i].name;
        pretrained->gamma |= strstr(name, "/gamma") != NULL ||
                             (strstr(name, ".bn.weight") != NULL && !strstr(name, "AuxLogits"));
    }
    return true;
}

void pretrained_release(struct pretrained *pretrained)
{
    weights_release(&pretrained->weights);
    *pretrained = (struct pretrained){ 0 };
}

/* "conv2d_17/kernel:0" with stem "conv2d" -> 17; "conv2d/…" (Keras 3 counts from nothing) -> 0;
 * else -1. */
static long layer_number(const char *name, const char *stem)
{
    const size_t length = strlen(stem);
    if (strncmp(name, stem, length) != 0) return -1;
    if (name[length] == '/') return 0;
    return name[length] == '_' ? strtol(name + length + 1, NULL, 10) : -1;
}

/* The array of the rank-th smallest layer number among "<stem>_N/…<leaf>". */
static const struct weight_array *keras_array(const struct weights *weights, const char *stem,
                                              const char *leaf, int rank)
{
    for (int i = 0; i < weights->count; i++) {
        const struct weight_array *array = &weights->arrays[i];
        const long number = layer_number(array->name, stem);
        const char *found = strrchr(array->name, '/');
        if (number < 0 || !found || strncmp(found + 1, leaf, strlen(leaf)) != 0) continue;
        int smaller = 0;
        for (int j = 0; j < weights->count; j++) {
            const char *other = strrchr(weights->arrays[j].name, '/');
            const long n = layer_number(weights->arrays[j].name, stem);
            smaller += other && strncmp(other + 1, leaf, strlen(leaf)) == 0 && n >= 0 && n < number;
        }
        if (smaller == rank) return array;
    }
    return NULL;
}

/* "tower1.Mixed_5b.branch1x1.bn.bias" -> the layer's rank among convolutions and the part behind
 * the layer's name. */
static int convolution_rank(const char *name, const char **part)
{
    int rank = 0;
    for (int i = 0; i < INCEPTION_LAYERS; i++) {
        if (inception_v3[i].kind != INCEPTION_CONVOLUTION) continue;
        const size_t length = strlen(inception_v3[i].name);
        if (strncmp(name, inception_v3[i].name, length) == 0 && name[length] == '.') {
            *part = name + length + 1;
            return rank;
        }
        rank++;
    }
    return -1;
}

static const char *without_tower(const char *name)
{
    const char *dot = strchr(name, '.');
    return strncmp(name, "tower", 5) == 0 && dot ? dot + 1 : name;
}

static const struct weight_array *find(const struct pretrained *pretrained,
                                       const struct parameter *p)
{
    static const struct {
        const char *part, *stem, *leaf;
    } keras_names[] = {
        { "conv.weight", "conv2d", "kernel" },
        { "bn.weight", "batch_normalization", "gamma" },
        { "bn.bias", "batch_normalization", "beta" },
        { "bn.running_mean", "batch_normalization", "moving_mean" },
        { "bn.running_var", "batch_normalization", "moving_variance" },
    };
    if (!pretrained->keras) {
        const struct weight_array *array = weights_find(&pretrained->weights, p->name);
        return array ? array : weights_find(&pretrained->weights, without_tower(p->name));
    }
    const char *part;
    const int rank = convolution_rank(without_tower(p->name), &part);
    if (rank < 0) return NULL;
    for (size_t i = 0; i < sizeof keras_names / sizeof keras_names[0]; i++)
        if (strcmp(part, keras_names[i].part) == 0)
            return keras_array(&pretrained->weights, keras_names[i].stem, keras_names[i].leaf,
                               rank);
    return NULL;
}

/* HWIO -> OIHW. */
static void from_hwio(const struct parameter *p, const float *hwio, float *oihw)
{
    const int64_t k = p->torch_shape[0], c = p->torch_shape[1];
    const int64_t taps = p->torch_shape[2] * p->torch_shape[3];
    for (int64_t o = 0; o < k; o++)
        for (int64_t i = 0; i < c; i++)
            for (int64_t t = 0; t < taps; t++)
                oihw[(o * c + i) * taps + t] = hwio[(t * c + i) * k + o];
}

static bool same_shape(const struct parameter *p, const struct weight_array *array, bool keras)
{
    static const int hwio_of_oihw[4] = { 3, 2, 0, 1 };
    if (array->dims != p->dims) return false;
    for (int d = 0; d < p->dims; d++)
        if (array->shape[keras && p->dims == 4 ? hwio_of_oihw[d] : d] != p->torch_shape[d])
            return false;
    return true;
}

static void shape_text(const int64_t *shape, int dims, char text[96])
{
    int at = 0;
    text[0] = '\0';
    for (int d = 0; d < dims && at < 80; d++)
        at += snprintf(text + at, 96 - (size_t)at, "%s%lld", d ? "x" : "", (long long)shape[d]);
}

static bool apply_one(const struct pretrained *pretrained, struct model *model, int index,
                      const struct weight_array *array, struct error *err)
{
    const struct parameter *p = model_parameter(model, index);
    if (!same_shape(p, array, pretrained->keras)) {
        char has[96], wants[96];
        shape_text(array->shape, array->dims, has);
        shape_text(p->torch_shape, p->dims, wants);
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: '%s' has shape %s where %s wants %s%s: another architecture",
                         pretrained->path, array->name, has, p->name, wants,
                         pretrained->keras && p->dims == 4 ? " (as OIHW)" : "");
    }
    if (strcmp(array->dtype, "F32") != 0)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: '%s' is %s; convert the file to float32 (F32) first",
                         pretrained->path, array->name, array->dtype);
    if (!(pretrained->keras && p->dims == 4))
        return model_write(model, index, PART_VALUE, array->data, err);
    float *oihw = malloc((size_t)p->count * sizeof *oihw);
    if (!oihw) return error_set(err, EXIT_CODE_FAILED, "out of memory for %s", p->name);
    from_hwio(p, array->data, oihw);
    const bool ok = model_write(model, index, PART_VALUE, oihw, err);
    free(oihw);
    return ok;
}

bool pretrained_apply(const struct pretrained *pretrained, struct model *model, bool *head_taken,
                      struct error *err)
{
    CHECK(model_spec(model)->gamma == pretrained->gamma);
    *head_taken = false;
    for (int i = 0; i < model_parameter_count(model); i++) {
        const struct parameter *p = model_parameter(model, i);
        const struct weight_array *array = find(pretrained, p);
        const bool head = strncmp(p->name, "head.", 5) == 0;
        if (head && (!array || !same_shape(p, array, false))) continue;
        if (!array)
            return error_set(err, EXIT_CODE_FAILED,
                             "%s: has no array for %s; it is not an InceptionV3 (%s names looked "
                             "for)",
                             pretrained->path, p->name,
                             pretrained->keras ? "Keras'" : "torchvision's");
        if (!apply_one(pretrained, model, i, array, err)) return false;
        *head_taken |= head;
    }
    return model_refresh(model, err);
}
