/* A reader of Python's pickles that runs nothing: it knows the few classes and functions that a
 * PyTorch state dict is made of, as data, and refuses everything else by name. Protocols 2 to 5. */
#ifndef MICROMET_FORMAT_PICKLE_H
#define MICROMET_FORMAT_PICKLE_H

#include "micromet/format/weights.h"

enum pickle_kind {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_FLOAT,
    PICKLE_STRING, /* str, bytes, bytearray */
    PICKLE_TUPLE,
    PICKLE_LIST,    /* list, set, frozenset */
    PICKLE_DICT,    /* dict, OrderedDict: items are key, value, key, value … */
    PICKLE_GLOBAL,  /* one of the classes and functions that are known */
    PICKLE_STORAGE, /* a persistent id: an entry of the archive */
    PICKLE_TENSOR,
    PICKLE_OTHER, /* of no interest: devices, numbers over 64 bits */
    PICKLE_MARK,  /* only on the stack */
};

struct pickle_text {
    const char *bytes; /* in the pickle, without a terminating NUL */
    size_t length;
};

struct pickle_storage {
    struct pickle_text key;
    const char *dtype; /* as weight_array's */
    int64_t count;
};

struct pickle_tensor {
    struct pickle_storage storage;
    int64_t offset; /* of the first value, in values; strides too */
    int dims;
    int64_t shape[ARRAY_DIMS_MAX], stride[ARRAY_DIMS_MAX];
};

struct pickle_value {
    enum pickle_kind kind;
    union {
        int64_t integer; /* and bool */
        double real;
        struct pickle_text text;
        struct {
            struct pickle_value **items;
            int count;
        } list;
        const struct pickle_global *global;
        struct pickle_storage *storage;
        struct pickle_tensor *tensor;
    };
};

struct pickle {
    const struct pickle_value *root;
    struct pickle_value **blocks; /* owned */
    int count;
};

/* `bytes` must outlive the values. `path` is for messages. Call pickle_release() in any case. */
bool pickle_read(struct pickle *pickle, const void *bytes, size_t size, const char *path,
                 struct error *err);
void pickle_release(struct pickle *pickle);

/* The value of a key that is a string; NULL if `dict` has none, or is no dict. */
const struct pickle_value *pickle_get(const struct pickle_value *dict, const char *key);

#endif
