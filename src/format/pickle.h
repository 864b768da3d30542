/* A reader of Python pickles that executes nothing. It knows the few classes and functions of a
 * PyTorch state dict, as data, and refuses all others by name. Protocols 2 to 5. */
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
    PICKLE_GLOBAL,  /* one of the known classes and functions */
    PICKLE_STORAGE, /* a persistent id: values in an entry of the archive */
    PICKLE_TENSOR,
    PICKLE_OTHER, /* not needed: devices, integers over 64 bits */
    PICKLE_MARK,  /* only on the machine's stack */
};

struct pickle_text {
    const char *bytes; /* points into the pickle; not NUL-terminated */
    size_t length;
};

struct pickle_storage {
    struct pickle_text key;
    const char *dtype; /* as in struct weight_array */
    int64_t count;
};

struct pickle_tensor {
    struct pickle_storage storage;
    int64_t offset; /* of the first value; counted in values, as are strides */
    int dims;
    int64_t shape[ARRAY_DIMS_MAX], stride[ARRAY_DIMS_MAX];
};

struct pickle_value {
    enum pickle_kind kind;
    union {
        int64_t integer; /* also for bool */
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

/* `bytes` must outlive the values; `path` is for messages. Always call pickle_release(), also
 * after an error. */
bool pickle_read(struct pickle *pickle, const void *bytes, size_t size, const char *path,
                 struct error *err);
void pickle_release(struct pickle *pickle);

/* The value of a string key; NULL if there is none or `dict` is not a dict. */
const struct pickle_value *pickle_get(const struct pickle_value *dict, const char *key);

#endif
