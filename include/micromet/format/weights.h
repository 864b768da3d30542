/* Named arrays from a file of weights: one shape for every reader, and one door, weights_read().
 *
 * Files are untrusted: every size and offset is checked against the file before memory of that size
 * is taken. */
#ifndef MICROMET_FORMAT_WEIGHTS_H
#define MICROMET_FORMAT_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "micromet/base/error.h"

enum { ARRAY_DIMS_MAX = 8 };

struct weight_array {
    char *name;
    int dims;
    int64_t shape[ARRAY_DIMS_MAX];
    int64_t count;    /* product of the shape */
    const void *data; /* (count) float32, or the dtype below, little endian */
    char dtype[8];    /* safetensors' names: F32, BF16, F16, I64, U8 … */
};

enum weights_format {
    WEIGHTS_UNKNOWN,
    WEIGHTS_SAFETENSORS,
    WEIGHTS_KERAS2_HDF5, /* .h5: notop, or a whole model */
    WEIGHTS_KERAS3_HDF5, /* .weights.h5 */
    WEIGHTS_KERAS_ZIP,   /* .keras */
    WEIGHTS_TORCH_ZIP,   /* torch.save(): .pth, .pt, .ckpt */
    WEIGHTS_ONNX,
};

/* Arrays stand in the file's order: Keras by layer, safetensors by offset. */
struct weights {
    enum weights_format format;
    struct weight_array *arrays;
    int count;
    char **metadata; /* safetensors: key, value, key, value …, NULL-terminated; may be NULL */
    void *storage;   /* owned memory or mapping */
    size_t storage_bytes;
    bool storage_is_mapping;
    void
        *converted; /* owned memory of what could not be used in place (Keras' HDF5); may be NULL */
    size_t converted_bytes;
};

/* Read a file of any of these formats; its content tells which, not its name. */
bool weights_read(struct weights *weights, const char *path, struct error *err);
/* What its first bytes say that a file is, WEIGHTS_UNKNOWN if none of these. */
bool weights_sniff(enum weights_format *format, const char *path, struct error *err);
const char *weights_format_name(enum weights_format format); /* for people: "Keras 3 HDF5" */
/* Are kernels HWIO, under Keras' names ("conv2d_1/kernel:0")? Else they are OIHW, under
 * torchvision's. */
bool weights_are_keras(const struct weights *weights);

/* The values of an array as (count) float32: in place where they are F32, else (F64, F16, BF16)
 * converted into memory of their own, which *converted then is: free() it after use. NULL and an
 * error for whole numbers. */
const float *weights_floats(const struct weight_array *array, float **converted, struct error *err);

const struct weight_array *weights_find(const struct weights *weights, const char *name);
/* Has the array (NULL: has not) this shape, or this one and dimensions of 1 behind it? */
bool weights_fit(const struct weight_array *array, int dims, const int64_t *shape);
const char *weights_metadata(const struct weights *weights, const char *key); /* NULL if absent */
void weights_release(struct weights *weights);
/* Let go of the memory of an array in a mapped file; it is read from the file again where it is
 * still used. */
void weights_let_go(const struct weights *weights, const struct weight_array *array);

/* Bytes of one value of a safetensors type name; 0 if the name is unknown. */
size_t weights_dtype_bytes(const char *dtype);

/* safetensors: u64 LE header length, JSON, bytes. Refuses overlapping, oversized or misaligned
 * offsets, bytes that no tensor owns, shapes that do not match, duplicate names, headers over 100
 * MB, and content that the checksum does not fit, where there is one: metadata "micromet.xxh3" is
 * the XXH3-64 of the whole file with its own 16 digits as zeros. The file is mapped read-only,
 * arrays point into the mapping: write such files anew (safetensors_write), never in place. */
bool safetensors_read(struct weights *weights, const char *path, struct error *err);

/* Write atomically, in order, but types of wider values first, so that every tensor is aligned; the
 * bytes start at a multiple of 64. The checksum is added to the metadata. metadata as key, value
 * pairs, NULL-terminated, may be NULL. */
bool safetensors_write(const char *path, const struct weight_array *arrays, int count,
                       const char *const *metadata, struct error *err);

/* The same with values made one array at a time, so that a large model is never held twice: fill()
 * writes the values of array `index` (count × dtype), whose data pointer is ignored. */
typedef bool (*weights_fill)(void *context, int index, void *values, struct error *err);
bool safetensors_write_filled(const char *path, const struct weight_array *arrays, int count,
                              const char *const *metadata, weights_fill fill, void *context,
                              struct error *err);

/* Keras HDF5: of Keras 2 (notop.h5, or full .h5 with a model_weights group) and of Keras 3
 * (.weights.h5), under the same names: "conv2d_1/kernel:0", kernels HWIO, all float32 (other types
 * are converted).
 *
 * Keras 2 files name their weights in the order of layer_names and weight_names (long attributes
 * split into layer_names0, layer_names1 …). Keras 3 files keep the variables of a layer as
 * layers/<class>_<K>/vars/<i>: K counts layers of one class in the order of model.layers, which is
 * *not* the order of their creation (InceptionV3's conv2d_8 is the sixth), so arrays are named
 * after the layer itself: the attribute "name" of vars (from Keras 3.6 on). Variable i is the i-th
 * of the layer's trainable, then its other variables: kernel, bias; gamma, beta, moving_mean,
 * moving_variance. Batch norm with scale=False lacks gamma, so that three variables are beta,
 * moving_mean, moving_variance (taken also for center=False, which lacks beta instead: the file
 * does not tell the two apart). Layers come in the order of their names, numbers by value.
 * Variables of unknown classes are called "<layer>/vars/<i>:0". The optimizer's are left out.
 *
 * Soft and external links, external and virtual storage are refused. libhdf5 1.10 is not hardened
 * against forged metadata: it runs in a child process that can do nothing but compute, and whose
 * crash is an error here. */
bool keras_hdf5_read(struct weights *weights, const char *path, struct error *err);

/* Zip archives, through weights_read() alone; no two entries may have one name, and all must fit
 * the file's size.
 *
 * .keras: config.json and model.weights.h5, which is read as above; where a file from before Keras
 * 3.6 lacks the layers' names, config.json has them.
 *
 * torch.save() (PyTorch 1.6 and later): the tensors of a state dict, or of one under "state_dict",
 * "model_state_dict" or "model", in its order and with their own types; views are copied out in the
 * order of their shape. data.pkl is read by a pickle machine that runs nothing: every function and
 * class that a state dict does not need is refused by name. Files of earlier PyTorch are refused
 * with the way to convert them. */

#endif
