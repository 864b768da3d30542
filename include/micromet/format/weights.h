/* Named arrays read from weight files of any supported format. weights_read() is the entry point.
 *
 * Files are untrusted: every size and offset is checked against the file before memory of that size
 * is allocated. */
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

/* Arrays are in the file's order: Keras by layer, safetensors by offset. */
struct weights {
    enum weights_format format;
    struct weight_array *arrays;
    int count;
    char **metadata; /* safetensors: key, value, key, value …, NULL-terminated; may be NULL */
    void *storage;   /* owned: memory, or a mapping of the file */
    size_t storage_bytes;
    bool storage_is_mapping;
    /* owned: values that could not be used in place (Keras HDF5); may be NULL */
    void *converted;
    size_t converted_bytes;
};

/* Read a file of any of these formats, detected from its content, not its name. */
bool weights_read(struct weights *weights, const char *path, struct error *err);
/* Detect the format from the first bytes; WEIGHTS_UNKNOWN if it is none of these. */
bool weights_sniff(enum weights_format *format, const char *path, struct error *err);
const char *weights_format_name(enum weights_format format); /* for people: "Keras 3 HDF5" */
/* Whether kernels are HWIO under Keras' names ("conv2d_1/kernel:0"). If not, they are OIHW under
 * torchvision's names. */
bool weights_are_keras(const struct weights *weights);

/* The values of an array as (count) float32. F32 is returned in place; F64, F16 and BF16 are
 * converted into new memory, to which *converted then points: free() it after use. NULL and an
 * error for integers. */
const float *weights_floats(const struct weight_array *array, float **converted, struct error *err);

const struct weight_array *weights_find(const struct weights *weights, const char *name);
/* Whether the array has this shape, or this shape followed by dimensions of 1.
 * False if it is NULL. */
bool weights_fit(const struct weight_array *array, int dims, const int64_t *shape);
const char *weights_metadata(const struct weights *weights, const char *key); /* NULL if absent */
void weights_release(struct weights *weights);
/* Release the memory pages of an array in a mapped file. The array stays valid: the pages are read
 * again when they are accessed. */
void weights_let_go(const struct weights *weights, const struct weight_array *array);

/* Bytes of one value of a type, by safetensors' name; 0 if it is unknown. */
size_t weights_dtype_bytes(const char *dtype);

/* safetensors: u64 LE header length, JSON header, data. Refuses overlapping, oversized or
 * misaligned offsets, bytes that belong to no tensor, shapes that do not match, duplicate names,
 * headers over 100 MB, and content that does not match its checksum. The checksum is optional:
 * metadata "micromet.xxh3" is the XXH3-64 of the whole file with its own 16 digits taken as zeros.
 * The file is mapped read-only and arrays point into the mapping, so replace such a file
 * (safetensors_write), never change it in place. */
bool safetensors_read(struct weights *weights, const char *path, struct error *err);

/* Write atomically. Arrays keep their order, except that wider types come first, so that every
 * tensor is aligned; data starts at a multiple of 64. Adds the checksum to the metadata. metadata:
 * key and value in turn, NULL-terminated; may be NULL. */
bool safetensors_write(const char *path, const struct weight_array *arrays, int count,
                       const char *const *metadata, struct error *err);

/* The same, but fill() provides the values of array `index` (count × dtype), one array at a time,
 * so that a large model is not held twice. The arrays' data pointers are ignored. */
typedef bool (*weights_fill)(void *context, int index, void *values, struct error *err);
bool safetensors_write_filled(const char *path, const struct weight_array *arrays, int count,
                              const char *const *metadata, weights_fill fill, void *context,
                              struct error *err);

/* Keras HDF5, of Keras 2 (notop.h5, or full .h5 with a model_weights group) and of Keras 3
 * (.weights.h5). Both give the same names ("conv2d_1/kernel:0"), HWIO kernels and float32 (other
 * types are converted).
 *
 * Keras 2 files list their weights in order in layer_names and weight_names (long attributes are
 * split into layer_names0, layer_names1 …). Keras 3 files keep a layer's variables as
 * layers/<class>_<K>/vars/<i>. K counts the layers of a class in the order of model.layers, which
 * is *not* the order of their creation (InceptionV3's conv2d_8 comes sixth), so arrays are named
 * after the layer itself, from attribute "name" of vars (Keras 3.6 and later). Variable i is the
 * i-th of the layer's trainable variables followed by the others: kernel, bias; gamma, beta,
 * moving_mean, moving_variance. Batch norm with scale=False has no gamma, so three variables are
 * taken as beta, moving_mean, moving_variance (for center=False too, which lacks beta instead: the
 * file does not tell them apart). Layers are ordered by name, numbers in it by value. Variables of
 * unknown classes are named "<layer>/vars/<i>:0". Optimizer variables are skipped.
 *
 * Soft and external links and external or virtual storage are refused. libhdf5 1.10 is not hardened
 * against malicious files, so it runs in a sandboxed child process; a crash there
 * is an error here. */
bool keras_hdf5_read(struct weights *weights, const char *path, struct error *err);

/* Zip archives are read by weights_read() only. Entries must have distinct names and fit
 * the file's size.
 *
 * .keras: config.json and model.weights.h5, read as above. Files written before Keras 3.6 lack
 * layer names in the HDF5 part; they are taken from config.json.
 *
 * torch.save() (PyTorch 1.6 and later): the tensors of a state dict, or of one under "state_dict",
 * "model_state_dict" or "model", in its order and in their own types; views are copied into
 * contiguous arrays. data.pkl is read by a restricted unpickler that executes nothing: any function
 * or class that a state dict does not need is refused by name. Files of earlier PyTorch are refused
 * with a hint how to convert them. */

#endif
