/* The functions that a pickle may call and the classes that it may name: all that a PyTorch state
 * dict consists of, as in torch/_utils.py and torch/serialization.py. Each function is plain C and
 * only builds data. */
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"
#include "pickle_machine.h"

static const struct pickle_value *argument(const struct pickle_value *arguments, int index)
{
    return index < arguments->list.count ? arguments->list.items[index] : NULL;
}

static bool is_tuple(const struct pickle_value *value)
{
    return value && (value->kind == PICKLE_TUPLE || value->kind == PICKLE_LIST);
}

/* collections.OrderedDict(), or of a list of pairs. */
static struct pickle_value *call_ordered_dict(struct pickle_machine *machine,
                                              const struct pickle_value *arguments)
{
    const struct pickle_value *pairs = argument(arguments, 0);
    struct pickle_value *dict = pickle_new(machine, PICKLE_DICT);
    for (int i = 0; dict && pairs && is_tuple(pairs) && i < pairs->list.count; i++) {
        const struct pickle_value *pair = pairs->list.items[i];
        if (!is_tuple(pair) || pair->list.count != 2)
            return pickle_refuse_null(machine, "makes a dict of something other than pairs");
        if (!pickle_extend(machine, dict, pair->list.items, 2)) return NULL;
    }
    return dict;
}

static bool take_sizes(const struct pickle_value *sizes, int dims, int64_t *out)
{
    if (!is_tuple(sizes) || sizes->list.count != dims || dims > ARRAY_DIMS_MAX) return false;
    for (int i = 0; i < dims; i++) {
        if (!pickle_is_integer(sizes->list.items[i])) return false;
        out[i] = sizes->list.items[i]->integer;
    }
    return true;
}

/* (storage, offset, size, stride, …); further arguments are flags and hooks. */
static struct pickle_value *call_rebuild_tensor(struct pickle_machine *machine,
                                                const struct pickle_value *arguments)
{
    const struct pickle_value *storage = argument(arguments, 0), *offset = argument(arguments, 1),
                              *size = argument(arguments, 2), *stride = argument(arguments, 3);
    if (!storage || storage->kind != PICKLE_STORAGE || !pickle_is_integer(offset) ||
        !is_tuple(size))
        return pickle_refuse_null(machine, "makes a tensor of something other than a storage");
    struct pickle_tensor tensor = { .storage = *storage->storage,
                                    .offset = offset->integer,
                                    .dims = size->list.count };
    if (!take_sizes(size, tensor.dims, tensor.shape) ||
        !take_sizes(stride, tensor.dims, tensor.stride))
        return pickle_refuse_null(machine,
                                  "makes a tensor of an impossible shape, or of over 8 dimensions");
    struct pickle_value *value = pickle_new(machine, PICKLE_NONE);
    if (!value) return NULL;
    value->tensor = malloc(sizeof *value->tensor);
    if (!value->tensor) return pickle_refuse_null(machine, "finds no memory");
    *value->tensor = tensor;
    value->kind = PICKLE_TENSOR;
    return value;
}

/* (tensor, requires_grad, hooks) */
static struct pickle_value *call_rebuild_parameter(struct pickle_machine *machine,
                                                   const struct pickle_value *arguments)
{
    const struct pickle_value *tensor = argument(arguments, 0);
    if (!tensor || tensor->kind != PICKLE_TENSOR)
        return pickle_refuse_null(machine, "makes a parameter of something other than a tensor");
    return arguments->list.items[0];
}

/* torch.Size(tuple) */
static struct pickle_value *call_size(struct pickle_machine *machine,
                                      const struct pickle_value *arguments)
{
    if (!is_tuple(argument(arguments, 0)))
        return pickle_refuse_null(machine, "makes a size of something other than a tuple");
    return arguments->list.items[0];
}

static struct pickle_value *call_device(struct pickle_machine *machine,
                                        const struct pickle_value *arguments)
{
    (void)arguments;
    return pickle_new(machine, PICKLE_OTHER);
}

static const struct pickle_global globals[] = {
    { "collections", "OrderedDict", call_ordered_dict, NULL },
    { "torch._utils", "_rebuild_tensor", call_rebuild_tensor, NULL },
    { "torch._utils", "_rebuild_tensor_v2", call_rebuild_tensor, NULL },
    { "torch._utils", "_rebuild_parameter", call_rebuild_parameter, NULL },
    { "torch", "Size", call_size, NULL },
    { "torch", "device", call_device, NULL },
    { "torch", "FloatStorage", NULL, "F32" },
    { "torch", "HalfStorage", NULL, "F16" },
    { "torch", "BFloat16Storage", NULL, "BF16" },
    { "torch", "DoubleStorage", NULL, "F64" },
    { "torch", "LongStorage", NULL, "I64" },
    { "torch", "IntStorage", NULL, "I32" },
    { "torch", "ShortStorage", NULL, "I16" },
    { "torch", "CharStorage", NULL, "I8" },
    { "torch", "ByteStorage", NULL, "U8" },
    { "torch", "BoolStorage", NULL, "BOOL" },
    { "torch", "float32", NULL, NULL },
    { "torch", "float16", NULL, NULL },
    { "torch", "bfloat16", NULL, NULL },
    { "torch", "float64", NULL, NULL },
    { "torch", "int64", NULL, NULL },
    { "torch", "int32", NULL, NULL },
    { "torch", "int16", NULL, NULL },
    { "torch", "int8", NULL, NULL },
    { "torch", "uint8", NULL, NULL },
    { "torch", "bool", NULL, NULL },
    { "torch", "strided", NULL, NULL },
};

const struct pickle_global *pickle_find_global(struct pickle_text module, struct pickle_text name)
{
    for (size_t i = 0; i < COUNT_OF(globals); i++)
        if (pickle_same_text(module, globals[i].module) && pickle_same_text(name, globals[i].name))
            return &globals[i];
    return NULL;
}
