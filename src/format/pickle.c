/* See pickle.h. The idea: a pickle is a program for a stack machine; here is that machine without
 * the one instruction that makes it dangerous. "Call" looks its function up in a table of plain C
 * functions that build data, and what is not in the table is an error as soon as it is named.
 *
 * Opcodes as in Python's Lib/pickletools.py; what state dicts consist of as in torch/_utils.py and
 * torch/serialization.py. */
#include "pickle.h"

#include <stdlib.h>
#include <string.h>

enum {
    PROTOCOL_MIN = 2,
    PROTOCOL_MAX = 5,
    STACK_MAX = 1 << 20,
    MEMO_MAX = 1 << 20,
    VALUES_MAX = 1 << 21,
    TEXT_BYTES_MAX = 1 << 20,
    BLOCK_VALUES = 1024,
};

struct machine {
    struct pickle *pickle;
    const char *path;
    const uint8_t *at, *end;
    struct pickle_value **stack, **memo;
    int depth, stack_room, memo_count, memo_room;
    bool stopped;
    struct error *err;
};

typedef struct pickle_value *(*call)(struct machine *machine, const struct pickle_value *arguments);

struct pickle_global {
    const char *module, *name;
    call call;         /* NULL: it is only ever an argument */
    const char *dtype; /* of a storage's class */
};

/* --- Errors
 * ----------------------------------------------------------------------------------------- */

static bool refuse(struct machine *machine, const char *reason)
{
    return error_set(machine->err, EXIT_CODE_FAILED,
                     "%s: its pickle %s; the file is damaged or forged", machine->path, reason);
}

static void *refuse_null(struct machine *machine, const char *reason)
{
    refuse(machine, reason);
    return NULL;
}

enum { SHOWN_BYTES = 100 };

/* For messages: cut to a fair length, and without control characters. */
static void show(struct pickle_text text, char shown[SHOWN_BYTES])
{
    size_t length = text.length < SHOWN_BYTES - 1 ? text.length : SHOWN_BYTES - 1;
    for (size_t i = 0; i < length; i++) {
        const unsigned char c = (unsigned char)text.bytes[i];
        shown[i] = c < ' ' || c == 0x7f ? '?' : (char)c;
    }
    shown[length] = '\0';
}

static bool refuse_global(struct machine *machine, struct pickle_text module,
                          struct pickle_text name)
{
    char shown_module[SHOWN_BYTES], shown_name[SHOWN_BYTES];
    show(module, shown_module);
    show(name, shown_name);
    return error_set(
        machine->err, EXIT_CODE_FAILED,
        "%s: calls %s.%s: refused, nothing of it was run; a file of weights needs no code: "
        "take one saved by torch.save(model.state_dict(), …), or safetensors",
        machine->path, shown_module, shown_name);
}

/* --- Values
 * ------------------------------------------------------------------------------------------ */

static struct pickle_value *new_value(struct machine *machine, enum pickle_kind kind)
{
    struct pickle *pickle = machine->pickle;
    const int block = pickle->count / BLOCK_VALUES, place = pickle->count % BLOCK_VALUES;
    if (pickle->count == VALUES_MAX) return refuse_null(machine, "holds too many values");
    if (place == 0) {
        struct pickle_value **blocks = realloc(pickle->blocks,
                                               ((size_t)block + 1) * sizeof *blocks);
        if (!blocks) return refuse_null(machine, "finds no memory");
        pickle->blocks = blocks;
        blocks[block] = calloc(BLOCK_VALUES, sizeof *blocks[block]);
        if (!blocks[block]) return refuse_null(machine, "finds no memory");
    }
    pickle->count++;
    struct pickle_value *value = &pickle->blocks[block][place];
    value->kind = kind;
    return value;
}

static bool holds_list(const struct pickle_value *value)
{
    return value->kind == PICKLE_TUPLE || value->kind == PICKLE_LIST || value->kind == PICKLE_DICT;
}

void pickle_release(struct pickle *pickle)
{
    for (int i = 0; i < pickle->count; i++) {
        struct pickle_value *value = &pickle->blocks[i / BLOCK_VALUES][i % BLOCK_VALUES];
        if (holds_list(value)) free(value->list.items);
        if (value->kind == PICKLE_STORAGE) free(value->storage);
        if (value->kind == PICKLE_TENSOR) free(value->tensor);
    }
    for (int i = 0; i < pickle->count; i += BLOCK_VALUES) free(pickle->blocks[i / BLOCK_VALUES]);
    free(pickle->blocks);
    *pickle = (struct pickle) { 0 };
}

static bool is_text(const struct pickle_value *value, const char *text)
{
    return value->kind == PICKLE_STRING && value->text.length == strlen(text) &&
           memcmp(value->text.bytes, text, value->text.length) == 0;
}

const struct pickle_value *pickle_get(const struct pickle_value *dict, const char *key)
{
    if (dict->kind != PICKLE_DICT) return NULL;
    for (int i = 0; i + 1 < dict->list.count; i += 2)
        if (is_text(dict->list.items[i], key)) return dict->list.items[i + 1];
    return NULL;
}

/* Add `count` values; room grows at powers of two. */
static bool extend(struct machine *machine, struct pickle_value *value,
                   struct pickle_value *const *items, int count)
{
    const int had = value->list.count;
    if (count == 0) return true;
    if (count > STACK_MAX - had) return refuse(machine, "holds too long a list");
    int room = 1, has_room = had ? 1 : 0;
    while (room < had + count) room *= 2;
    while (has_room && has_room < had) has_room *= 2;
    if (room > has_room) {
        struct pickle_value **grown = realloc(value->list.items, (size_t)room * sizeof *grown);
        if (!grown) return refuse(machine, "finds no memory");
        value->list.items = grown;
    }
    memcpy(value->list.items + had, items, (size_t)count * sizeof *items);
    value->list.count = had + count;
    return true;
}

/* --- Bytes and the stack
 * ----------------------------------------------------------------------------- */

/* The next `size` bytes; NULL and an error if there are not so many. */
static const uint8_t *take(struct machine *machine, uint64_t size)
{
    if ((uint64_t)(machine->end - machine->at) < size)
        return refuse_null(machine, "ends in the middle of a value");
    const uint8_t *bytes = machine->at;
    machine->at += size;
    return bytes;
}

/* A little-endian number of `size` bytes. */
static bool take_number(struct machine *machine, int size, uint64_t *number)
{
    const uint8_t *bytes = take(machine, (uint64_t)size);
    *number = 0;
    for (int i = 0; bytes && i < size; i++) *number |= (uint64_t)bytes[i] << (8 * i);
    return bytes != NULL;
}

/* Up to a newline, which is left out. */
static bool take_line(struct machine *machine, struct pickle_text *line)
{
    const size_t rest = (size_t)(machine->end - machine->at);
    const uint8_t *newline = memchr(machine->at, '\n',
                                    rest < TEXT_BYTES_MAX ? rest : TEXT_BYTES_MAX);
    if (!newline) return refuse(machine, "has a line without an end");
    *line = (struct pickle_text) { (const char *)machine->at, (size_t)(newline - machine->at) };
    machine->at = newline + 1;
    return true;
}

static bool push(struct machine *machine, struct pickle_value *value)
{
    if (!value) return false;
    if (machine->depth == STACK_MAX) return refuse(machine, "needs too deep a stack");
    if (machine->depth == machine->stack_room) {
        const int room = machine->stack_room ? 2 * machine->stack_room : 64;
        void *stack = realloc(machine->stack, (size_t)room * sizeof *machine->stack);
        if (!stack) return refuse(machine, "finds no memory");
        machine->stack = stack;
        machine->stack_room = room;
    }
    machine->stack[machine->depth++] = value;
    return true;
}

/* NULL and an error where the stack is empty or a mark is on top. */
static struct pickle_value *top(struct machine *machine)
{
    if (machine->depth == 0 || machine->stack[machine->depth - 1]->kind == PICKLE_MARK)
        return refuse_null(machine, "takes values that it does not have");
    return machine->stack[machine->depth - 1];
}

static struct pickle_value *pop(struct machine *machine)
{
    struct pickle_value *value = top(machine);
    if (value) machine->depth--;
    return value;
}

/* Where the values above the last mark begin; -1 and an error if there is no mark. */
static int find_mark(struct machine *machine)
{
    for (int i = machine->depth - 1; i >= 0; i--)
        if (machine->stack[i]->kind == PICKLE_MARK) return i + 1;
    refuse(machine, "ends a group that was never begun");
    return -1;
}

static bool push_integer(struct machine *machine, int64_t integer)
{
    struct pickle_value *value = new_value(machine, PICKLE_INT);
    if (value) value->integer = integer;
    return push(machine, value);
}

/* --- What may be called
 * ---------------------------------------------------------------------------- */

static const struct pickle_value *argument(const struct pickle_value *arguments, int index)
{
    return index < arguments->list.count ? arguments->list.items[index] : NULL;
}

static bool is_integer(const struct pickle_value *value)
{
    return value && value->kind == PICKLE_INT && value->integer >= 0;
}

static bool is_tuple(const struct pickle_value *value)
{
    return value && (value->kind == PICKLE_TUPLE || value->kind == PICKLE_LIST);
}

/* collections.OrderedDict(), or of one list of pairs. */
static struct pickle_value *call_ordered_dict(struct machine *machine,
                                              const struct pickle_value *arguments)
{
    const struct pickle_value *pairs = argument(arguments, 0);
    struct pickle_value *dict = new_value(machine, PICKLE_DICT);
    for (int i = 0; dict && pairs && is_tuple(pairs) && i < pairs->list.count; i++) {
        const struct pickle_value *pair = pairs->list.items[i];
        if (!is_tuple(pair) || pair->list.count != 2)
            return refuse_null(machine, "makes a dict of something other than pairs");
        if (!extend(machine, dict, pair->list.items, 2)) return NULL;
    }
    return dict;
}

static bool take_sizes(const struct pickle_value *sizes, int dims, int64_t *out)
{
    if (!is_tuple(sizes) || sizes->list.count != dims || dims > ARRAY_DIMS_MAX) return false;
    for (int i = 0; i < dims; i++) {
        if (!is_integer(sizes->list.items[i])) return false;
        out[i] = sizes->list.items[i]->integer;
    }
    return true;
}

/* (storage, offset, size, stride, …): what follows are flags and hooks. */
static struct pickle_value *call_rebuild_tensor(struct machine *machine,
                                                const struct pickle_value *arguments)
{
    const struct pickle_value *storage = argument(arguments, 0), *offset = argument(arguments, 1),
                              *size = argument(arguments, 2), *stride = argument(arguments, 3);
    if (!storage || storage->kind != PICKLE_STORAGE || !is_integer(offset) || !is_tuple(size))
        return refuse_null(machine, "makes a tensor of something other than a storage");
    struct pickle_tensor tensor = { .storage = *storage->storage,
                                    .offset = offset->integer,
                                    .dims = size->list.count };
    if (!take_sizes(size, tensor.dims, tensor.shape) ||
        !take_sizes(stride, tensor.dims, tensor.stride))
        return refuse_null(machine,
                           "makes a tensor of an impossible shape, or of over 8 dimensions");
    struct pickle_value *value = new_value(machine, PICKLE_NONE);
    if (!value) return NULL;
    value->tensor = malloc(sizeof *value->tensor);
    if (!value->tensor) return refuse_null(machine, "finds no memory");
    *value->tensor = tensor;
    value->kind = PICKLE_TENSOR;
    return value;
}

/* (tensor, requires_grad, hooks) */
static struct pickle_value *call_rebuild_parameter(struct machine *machine,
                                                   const struct pickle_value *arguments)
{
    const struct pickle_value *tensor = argument(arguments, 0);
    if (!tensor || tensor->kind != PICKLE_TENSOR)
        return refuse_null(machine, "makes a parameter of something other than a tensor");
    return arguments->list.items[0];
}

/* torch.Size(tuple) */
static struct pickle_value *call_size(struct machine *machine, const struct pickle_value *arguments)
{
    if (!is_tuple(argument(arguments, 0)))
        return refuse_null(machine, "makes a size of something other than a tuple");
    return arguments->list.items[0];
}

static struct pickle_value *call_device(struct machine *machine,
                                        const struct pickle_value *arguments)
{
    (void)arguments;
    return new_value(machine, PICKLE_OTHER);
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

static bool same_text(struct pickle_text text, const char *name)
{
    return text.length == strlen(name) && memcmp(text.bytes, name, text.length) == 0;
}

static bool push_global(struct machine *machine, struct pickle_text module, struct pickle_text name)
{
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        if (!same_text(module, globals[i].module) || !same_text(name, globals[i].name)) continue;
        struct pickle_value *value = new_value(machine, PICKLE_GLOBAL);
        if (value) value->global = &globals[i];
        return push(machine, value);
    }
    return refuse_global(machine, module, name);
}

/* --- Opcodes: each gets its argument, which its row of the table describes
 * ---------------------------- */

static bool op_proto(struct machine *machine, uint64_t version)
{
    return (version >= PROTOCOL_MIN && version <= PROTOCOL_MAX) ||
           refuse(machine, "has a protocol other than 2 to 5");
}

static bool op_skip(struct machine *machine, uint64_t number)
{
    (void)machine;
    (void)number;
    return true;
}

static bool op_stop(struct machine *machine, uint64_t number)
{
    (void)number;
    machine->pickle->root = pop(machine);
    machine->stopped = true;
    return machine->pickle->root != NULL;
}

static bool push_new(struct machine *machine, enum pickle_kind kind)
{
    return push(machine, new_value(machine, kind));
}

static bool op_mark(struct machine *machine, uint64_t number)
{
    (void)number;
    return push_new(machine, PICKLE_MARK);
}

static bool op_none(struct machine *machine, uint64_t number)
{
    (void)number;
    return push_new(machine, PICKLE_NONE);
}

static bool op_empty_tuple(struct machine *machine, uint64_t number)
{
    (void)number;
    return push_new(machine, PICKLE_TUPLE);
}

static bool op_empty_list(struct machine *machine, uint64_t number)
{
    (void)number;
    return push_new(machine, PICKLE_LIST);
}

static bool op_empty_dict(struct machine *machine, uint64_t number)
{
    (void)number;
    return push_new(machine, PICKLE_DICT);
}

static bool push_bool(struct machine *machine, bool truth)
{
    struct pickle_value *value = new_value(machine, PICKLE_BOOL);
    if (value) value->integer = truth;
    return push(machine, value);
}

static bool op_true(struct machine *machine, uint64_t number)
{
    (void)number;
    return push_bool(machine, true);
}

static bool op_false(struct machine *machine, uint64_t number)
{
    (void)number;
    return push_bool(machine, false);
}

static bool op_pop(struct machine *machine, uint64_t number)
{
    (void)number;
    return pop(machine) != NULL;
}

static bool op_pop_mark(struct machine *machine, uint64_t number)
{
    (void)number;
    const int first = find_mark(machine);
    if (first < 0) return false;
    machine->depth = first - 1;
    return true;
}

static bool op_dup(struct machine *machine, uint64_t number)
{
    (void)number;
    return push(machine, top(machine));
}

static bool op_int32(struct machine *machine, uint64_t number)
{
    return push_integer(machine, (int32_t)(uint32_t)number);
}

static bool op_uint(struct machine *machine, uint64_t number)
{
    return push_integer(machine, (int64_t)number);
}

/* Two's complement of as many bytes as it takes. */
static bool op_long(struct machine *machine, uint64_t size)
{
    const uint8_t *bytes = take(machine, size);
    if (!bytes) return false;
    if (size > sizeof(int64_t)) return push_new(machine, PICKLE_OTHER);
    uint64_t number = size && bytes[size - 1] & 0x80 ? UINT64_MAX : 0;
    for (uint64_t i = 0; i < size; i++)
        number = (number & ~(UINT64_C(0xff) << (8 * i))) | (uint64_t)bytes[i] << (8 * i);
    return push_integer(machine, (int64_t)number);
}

/* Big-endian, unlike everything else. */
static bool op_float(struct machine *machine, uint64_t number)
{
    struct pickle_value *value = new_value(machine, PICKLE_FLOAT);
    if (!value) return false;
    number = __builtin_bswap64(number);
    memcpy(&value->real, &number, sizeof value->real);
    return push(machine, value);
}

static bool op_text(struct machine *machine, uint64_t size)
{
    if (size > TEXT_BYTES_MAX) return refuse(machine, "holds too long a text");
    const uint8_t *bytes = take(machine, size);
    struct pickle_value *value = bytes ? new_value(machine, PICKLE_STRING) : NULL;
    if (value) value->text = (struct pickle_text) { (const char *)bytes, (size_t)size };
    return push(machine, value);
}

/* Replace what lies above the last mark, and the mark, by one value that holds it. */
static bool gather(struct machine *machine, enum pickle_kind kind)
{
    const int first = find_mark(machine);
    struct pickle_value *value = first < 0 ? NULL : new_value(machine, kind);
    if (!value || !extend(machine, value, machine->stack + first, machine->depth - first))
        return false;
    machine->depth = first - 1;
    return push(machine, value);
}

static bool op_tuple(struct machine *machine, uint64_t number)
{
    (void)number;
    return gather(machine, PICKLE_TUPLE);
}

static bool op_list(struct machine *machine, uint64_t number)
{
    (void)number;
    return gather(machine, PICKLE_LIST);
}

static bool op_dict(struct machine *machine, uint64_t number)
{
    (void)number;
    return gather(machine, PICKLE_DICT) &&
           (machine->stack[machine->depth - 1]->list.count % 2 == 0 ||
            refuse(machine, "has a key without a value"));
}

static bool tuple_of(struct machine *machine, int count)
{
    struct pickle_value *items[3], *value = new_value(machine, PICKLE_TUPLE);
    for (int i = count - 1; i >= 0; i--)
        if (!(items[i] = pop(machine))) return false;
    return value && extend(machine, value, items, count) && push(machine, value);
}

static bool op_tuple1(struct machine *machine, uint64_t number)
{
    (void)number;
    return tuple_of(machine, 1);
}

static bool op_tuple2(struct machine *machine, uint64_t number)
{
    (void)number;
    return tuple_of(machine, 2);
}

static bool op_tuple3(struct machine *machine, uint64_t number)
{
    (void)number;
    return tuple_of(machine, 3);
}

/* Move what lies above stack[first] into the container below; `between` values are left out there.
 */
static bool add_items(struct machine *machine, int first, int between, enum pickle_kind kind)
{
    const int count = machine->depth - first, container = first - between - 1;
    if (container < 0 || machine->stack[container]->kind != kind)
        return refuse(machine, "adds to something that cannot hold values");
    if (kind == PICKLE_DICT && count % 2 != 0) return refuse(machine, "has a key without a value");
    if (!extend(machine, machine->stack[container], machine->stack + first, count)) return false;
    machine->depth = first - between;
    return true;
}

static bool add_last(struct machine *machine, int count, enum pickle_kind kind)
{
    for (int i = 1; i <= count; i++)
        if (machine->depth < i || machine->stack[machine->depth - i]->kind == PICKLE_MARK)
            return refuse(machine, "takes values that it does not have");
    return add_items(machine, machine->depth - count, 0, kind);
}

static bool add_marked(struct machine *machine, enum pickle_kind kind)
{
    const int first = find_mark(machine);
    return first >= 0 && add_items(machine, first, 1, kind);
}

static bool op_append(struct machine *machine, uint64_t number)
{
    (void)number;
    return add_last(machine, 1, PICKLE_LIST);
}

static bool op_appends(struct machine *machine, uint64_t number)
{
    (void)number;
    return add_marked(machine, PICKLE_LIST);
}

static bool op_setitem(struct machine *machine, uint64_t number)
{
    (void)number;
    return add_last(machine, 2, PICKLE_DICT);
}

static bool op_setitems(struct machine *machine, uint64_t number)
{
    (void)number;
    return add_marked(machine, PICKLE_DICT);
}

static bool op_put(struct machine *machine, uint64_t place)
{
    struct pickle_value *value = top(machine);
    if (!value) return false;
    if (place >= MEMO_MAX) return refuse(machine, "remembers too much");
    if ((int)place >= machine->memo_room) {
        int room = machine->memo_room ? machine->memo_room : 64;
        while (room <= (int)place) room *= 2;
        struct pickle_value **memo = realloc(machine->memo, (size_t)room * sizeof *memo);
        if (!memo) return refuse(machine, "finds no memory");
        memset(memo + machine->memo_room, 0, (size_t)(room - machine->memo_room) * sizeof *memo);
        machine->memo = memo;
        machine->memo_room = room;
    }
    if (!machine->memo[place]) machine->memo_count++;
    machine->memo[place] = value;
    return true;
}

static bool op_memoize(struct machine *machine, uint64_t number)
{
    (void)number;
    return op_put(machine, (uint64_t)machine->memo_count);
}

static bool op_get(struct machine *machine, uint64_t place)
{
    if (place >= (uint64_t)machine->memo_room || !machine->memo[place])
        return refuse(machine, "recalls what it never remembered");
    return push(machine, machine->memo[place]);
}

static bool op_global(struct machine *machine, uint64_t number)
{
    (void)number;
    struct pickle_text module, name;
    return take_line(machine, &module) && take_line(machine, &name) &&
           push_global(machine, module, name);
}

static bool op_stack_global(struct machine *machine, uint64_t number)
{
    (void)number;
    const struct pickle_value *name = pop(machine), *module = name ? pop(machine) : NULL;
    if (!module) return false;
    if (name->kind != PICKLE_STRING || module->kind != PICKLE_STRING)
        return refuse(machine, "names a class by something other than text");
    return push_global(machine, module->text, name->text);
}

static bool op_call(struct machine *machine, uint64_t number)
{
    (void)number;
    const struct pickle_value *arguments = pop(machine),
                              *function = arguments ? pop(machine) : NULL;
    if (!function) return false;
    if (function->kind != PICKLE_GLOBAL || arguments->kind != PICKLE_TUPLE)
        return refuse(machine, "calls something that is no function");
    const struct pickle_global *global = function->global;
    if (!global->call)
        return refuse_global(machine,
                             (struct pickle_text) { global->module, strlen(global->module) },
                             (struct pickle_text) { global->name, strlen(global->name) });
    return push(machine, global->call(machine, arguments));
}

/* Attributes are set on nothing but a dict, where they say nothing of its values (state_dict()'s
 * _metadata). */
static bool op_build(struct machine *machine, uint64_t number)
{
    (void)number;
    if (!pop(machine) || !top(machine)) return false;
    return top(machine)->kind == PICKLE_DICT ||
           refuse(machine, "sets the state of something that is no dict");
}

/* INST: a class by name, and a call of it. */
static bool op_inst(struct machine *machine, uint64_t number)
{
    (void)number;
    struct pickle_text module, name;
    return take_line(machine, &module) && take_line(machine, &name) &&
           refuse_global(machine, module, name);
}

/* Code that some other program has registered under a number. */
static bool op_extension(struct machine *machine, uint64_t code)
{
    return error_set(machine->err, EXIT_CODE_FAILED,
                     "%s: calls extension code %llu: refused, nothing of it was run", machine->path,
                     (unsigned long long)code);
}

/* ("storage", class, key, device, count) */
static bool op_persistent_id(struct machine *machine, uint64_t number)
{
    (void)number;
    const struct pickle_value *id = pop(machine);
    if (!id) return false;
    const bool tuple = id->kind == PICKLE_TUPLE && id->list.count >= 5;
    struct pickle_value *const *part = id->list.items;
    if (!tuple || !is_text(part[0], "storage") || part[1]->kind != PICKLE_GLOBAL ||
        !part[1]->global->dtype || part[2]->kind != PICKLE_STRING || !is_integer(part[4]))
        return refuse(machine, "names a storage of an unknown kind");
    struct pickle_value *value = new_value(machine, PICKLE_NONE);
    if (!value) return false;
    value->storage = malloc(sizeof *value->storage);
    if (!value->storage) return refuse(machine, "finds no memory");
    *value->storage = (struct pickle_storage) { part[2]->text, part[1]->global->dtype,
                                                part[4]->integer };
    value->kind = PICKLE_STORAGE;
    return push(machine, value);
}

/* By the opcode's byte: the size of the number behind it, which is handed on; for texts that is
 * their length. */
static const struct {
    int number_bytes;
    bool (*run)(struct machine *machine, uint64_t number);
} opcodes[256] = {
    [0x80] = { 1, op_proto },     [0x95] = { 8, op_skip }, /* FRAME */
    ['.'] = { 0, op_stop },       ['('] = { 0, op_mark },       ['0'] = { 0, op_pop },
    ['1'] = { 0, op_pop_mark },   ['2'] = { 0, op_dup },        ['N'] = { 0, op_none },
    [0x88] = { 0, op_true },      [0x89] = { 0, op_false },     ['J'] = { 4, op_int32 },
    ['K'] = { 1, op_uint },       ['M'] = { 2, op_uint },       [0x8a] = { 1, op_long },
    [0x8b] = { 4, op_long },      ['G'] = { 8, op_float },      ['X'] = { 4, op_text },
    [0x8c] = { 1, op_text },      [0x8d] = { 8, op_text },      ['U'] = { 1, op_text },
    ['T'] = { 4, op_text },       ['C'] = { 1, op_text },       ['B'] = { 4, op_text },
    [0x8e] = { 8, op_text },      [0x96] = { 8, op_text },      [')'] = { 0, op_empty_tuple },
    ['t'] = { 0, op_tuple },      [0x85] = { 0, op_tuple1 },    [0x86] = { 0, op_tuple2 },
    [0x87] = { 0, op_tuple3 },    [']'] = { 0, op_empty_list }, ['l'] = { 0, op_list },
    ['a'] = { 0, op_append },     ['e'] = { 0, op_appends },    [0x8f] = { 0, op_empty_list },
    [0x90] = { 0, op_appends }, /* sets */
    [0x91] = { 0, op_list },      ['}'] = { 0, op_empty_dict }, ['d'] = { 0, op_dict },
    ['s'] = { 0, op_setitem },    ['u'] = { 0, op_setitems },   ['q'] = { 1, op_put },
    ['r'] = { 4, op_put },        [0x94] = { 0, op_memoize },   ['h'] = { 1, op_get },
    ['j'] = { 4, op_get },        ['c'] = { 0, op_global },     [0x93] = { 0, op_stack_global },
    ['R'] = { 0, op_call },       [0x81] = { 0, op_call }, /* NEWOBJ */
    ['b'] = { 0, op_build },      ['i'] = { 0, op_inst },       [0x82] = { 1, op_extension },
    [0x83] = { 2, op_extension }, [0x84] = { 4, op_extension }, ['Q'] = { 0, op_persistent_id },
};

static bool step(struct machine *machine)
{
    const uint8_t *byte = take(machine, 1);
    if (!byte) return false;
    if (!opcodes[*byte].run)
        return error_set(machine->err, EXIT_CODE_FAILED,
                         "%s: its pickle uses opcode 0x%02x, which no state dict needs: refused",
                         machine->path, *byte);
    uint64_t number;
    return take_number(machine, opcodes[*byte].number_bytes, &number) &&
           opcodes[*byte].run(machine, number);
}

bool pickle_read(struct pickle *pickle, const void *bytes, size_t size, const char *path,
                 struct error *err)
{
    *pickle = (struct pickle) { 0 };
    struct machine machine = {
        .pickle = pickle,
        .path = path,
        .at = bytes,
        .end = (const uint8_t *)bytes + size,
        .err = err,
    };
    const uint8_t *start = bytes;
    bool done = (size >= 2 && start[0] == 0x80) || refuse(&machine, "does not begin as one");
    while (done && !machine.stopped) done = step(&machine);
    free(machine.stack);
    free(machine.memo);
    return done;
}
