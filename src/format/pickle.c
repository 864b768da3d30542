/* See pickle.h. A pickle is a program for a stack machine. This is that machine without the one
 * dangerous instruction: "call" looks its function up in a table of plain C functions that build
 * data (pickle_calls.c), and naming anything not in the table is an error. Opcodes as in Python's
 * Lib/pickletools.py. */
#include <stdlib.h>
#include <string.h>

#include "pickle_machine.h"

enum { PROTOCOL_MIN = 2, PROTOCOL_MAX = 5, TEXT_BYTES_MAX = 1 << 20 };

/* --- Bytes and the stack ---------------------------------------------------------------------- */

/* The next `size` bytes; NULL and an error if fewer are left. */
static const uint8_t *take(struct pickle_machine *machine, uint64_t size)
{
    if ((uint64_t)(machine->end - machine->at) < size)
        return pickle_refuse_null(machine, "ends in the middle of a value");
    const uint8_t *bytes = machine->at;
    machine->at += size;
    return bytes;
}

/* Read a little-endian number of `size` bytes. */
static bool take_number(struct pickle_machine *machine, int size, uint64_t *number)
{
    const uint8_t *bytes = take(machine, (uint64_t)size);
    *number = 0;
    for (int i = 0; bytes && i < size; i++) *number |= (uint64_t)bytes[i] << (8 * i);
    return bytes != NULL;
}

/* Read up to a newline, which is not part of the line. */
static bool take_line(struct pickle_machine *machine, struct pickle_text *line)
{
    const size_t rest = (size_t)(machine->end - machine->at);
    const uint8_t *newline = memchr(machine->at, '\n',
                                    rest < TEXT_BYTES_MAX ? rest : TEXT_BYTES_MAX);
    if (!newline) return pickle_refuse(machine, "has a line without an end");
    *line = (struct pickle_text) { (const char *)machine->at, (size_t)(newline - machine->at) };
    machine->at = newline + 1;
    return true;
}

static bool push(struct pickle_machine *machine, struct pickle_value *value)
{
    if (!value) return false;
    if (machine->depth == PICKLE_ITEMS_MAX) return pickle_refuse(machine, "needs too deep a stack");
    if (machine->depth == machine->stack_room) {
        const int room = machine->stack_room ? 2 * machine->stack_room : 64;
        void *stack = realloc(machine->stack, (size_t)room * sizeof *machine->stack);
        if (!stack) return pickle_refuse(machine, "finds no memory");
        machine->stack = stack;
        machine->stack_room = room;
    }
    machine->stack[machine->depth++] = value;
    return true;
}

/* The topmost value; NULL and an error if the stack is empty or a mark is on top. */
static struct pickle_value *top(struct pickle_machine *machine)
{
    if (machine->depth == 0 || machine->stack[machine->depth - 1]->kind == PICKLE_MARK)
        return pickle_refuse_null(machine, "takes values that it does not have");
    return machine->stack[machine->depth - 1];
}

static struct pickle_value *pop(struct pickle_machine *machine)
{
    struct pickle_value *value = top(machine);
    if (value) machine->depth--;
    return value;
}

/* Index of the first value above the last mark; -1 and an error if there is no mark. */
static int find_mark(struct pickle_machine *machine)
{
    for (int i = machine->depth - 1; i >= 0; i--)
        if (machine->stack[i]->kind == PICKLE_MARK) return i + 1;
    pickle_refuse(machine, "ends a group that was never begun");
    return -1;
}

static bool push_integer(struct pickle_machine *machine, int64_t integer)
{
    struct pickle_value *value = pickle_new(machine, PICKLE_INT);
    if (value) value->integer = integer;
    return push(machine, value);
}

/* --- Opcodes: each is called with a number as described by its table row ---------------------- */

static bool op_proto(struct pickle_machine *machine, uint64_t version)
{
    return (version >= PROTOCOL_MIN && version <= PROTOCOL_MAX) ||
           pickle_refuse(machine, "has a protocol other than 2 to 5");
}

static bool op_skip(struct pickle_machine *machine, uint64_t number)
{
    (void)machine;
    (void)number;
    return true;
}

static bool op_stop(struct pickle_machine *machine, uint64_t number)
{
    (void)number;
    machine->pickle->root = pop(machine);
    machine->stopped = true;
    return machine->pickle->root != NULL;
}

static bool op_new(struct pickle_machine *machine, uint64_t kind)
{
    return push(machine, pickle_new(machine, (enum pickle_kind)kind));
}

static bool op_bool(struct pickle_machine *machine, uint64_t truth)
{
    struct pickle_value *value = pickle_new(machine, PICKLE_BOOL);
    if (value) value->integer = (int64_t)truth;
    return push(machine, value);
}

static bool op_pop(struct pickle_machine *machine, uint64_t number)
{
    (void)number;
    return pop(machine) != NULL;
}

static bool op_pop_mark(struct pickle_machine *machine, uint64_t number)
{
    (void)number;
    const int first = find_mark(machine);
    if (first < 0) return false;
    machine->depth = first - 1;
    return true;
}

static bool op_dup(struct pickle_machine *machine, uint64_t number)
{
    (void)number;
    return push(machine, top(machine));
}

static bool op_int32(struct pickle_machine *machine, uint64_t number)
{
    return push_integer(machine, (int32_t)(uint32_t)number);
}

static bool op_uint(struct pickle_machine *machine, uint64_t number)
{
    return push_integer(machine, (int64_t)number);
}

/* Two's complement of `size` bytes. */
static bool op_long(struct pickle_machine *machine, uint64_t size)
{
    const uint8_t *bytes = take(machine, size);
    if (!bytes) return false;
    if (size > sizeof(int64_t)) return op_new(machine, PICKLE_OTHER);
    uint64_t number = size && bytes[size - 1] & 0x80 ? UINT64_MAX : 0;
    for (uint64_t i = 0; i < size; i++)
        number = (number & ~(UINT64_C(0xff) << (8 * i))) | (uint64_t)bytes[i] << (8 * i);
    return push_integer(machine, (int64_t)number);
}

/* Big-endian, unlike all other numbers. */
static bool op_float(struct pickle_machine *machine, uint64_t number)
{
    struct pickle_value *value = pickle_new(machine, PICKLE_FLOAT);
    if (!value) return false;
    number = __builtin_bswap64(number);
    memcpy(&value->real, &number, sizeof value->real);
    return push(machine, value);
}

static bool op_text(struct pickle_machine *machine, uint64_t size)
{
    if (size > TEXT_BYTES_MAX) return pickle_refuse(machine, "holds too long a text");
    const uint8_t *bytes = take(machine, size);
    struct pickle_value *value = bytes ? pickle_new(machine, PICKLE_STRING) : NULL;
    if (value) value->text = (struct pickle_text) { (const char *)bytes, (size_t)size };
    return push(machine, value);
}

/* Replace the last mark and all values above it by one container of these values. */
static bool op_gather(struct pickle_machine *machine, uint64_t kind)
{
    const int first = find_mark(machine);
    if (first < 0) return false;
    const int count = machine->depth - first;
    if (kind == PICKLE_DICT && count % 2 != 0)
        return pickle_refuse(machine, "has a key without a value");
    struct pickle_value *value = pickle_new(machine, (enum pickle_kind)kind);
    if (!value || !pickle_extend(machine, value, machine->stack + first, count)) return false;
    machine->depth = first - 1;
    return push(machine, value);
}

static bool op_tuple_of(struct pickle_machine *machine, uint64_t count)
{
    struct pickle_value *items[3], *value = pickle_new(machine, PICKLE_TUPLE);
    for (int i = (int)count - 1; i >= 0; i--)
        if (!(items[i] = pop(machine))) return false;
    return value && pickle_extend(machine, value, items, (int)count) && push(machine, value);
}

/* Move the values from stack[first] on into the container below them. `between` entries (the mark)
 * lie between the two and are dropped. */
static bool add_items(struct pickle_machine *machine, int first, int between, uint64_t kind)
{
    const int count = machine->depth - first, container = first - between - 1;
    if (container < 0 || machine->stack[container]->kind != kind)
        return pickle_refuse(machine, "adds to something that cannot hold values");
    if (kind == PICKLE_DICT && count % 2 != 0)
        return pickle_refuse(machine, "has a key without a value");
    if (!pickle_extend(machine, machine->stack[container], machine->stack + first, count))
        return false;
    machine->depth = first - between;
    return true;
}

/* Append one value to a list, or a key and a value to a dict. */
static bool op_add_last(struct pickle_machine *machine, uint64_t kind)
{
    const int count = kind == PICKLE_DICT ? 2 : 1;
    for (int i = 1; i <= count; i++)
        if (machine->depth < i || machine->stack[machine->depth - i]->kind == PICKLE_MARK)
            return pickle_refuse(machine, "takes values that it does not have");
    return add_items(machine, machine->depth - count, 0, kind);
}

static bool op_add_marked(struct pickle_machine *machine, uint64_t kind)
{
    const int first = find_mark(machine);
    return first >= 0 && add_items(machine, first, 1, kind);
}

static bool op_put(struct pickle_machine *machine, uint64_t place)
{
    struct pickle_value *value = top(machine);
    if (!value) return false;
    if (place >= PICKLE_ITEMS_MAX) return pickle_refuse(machine, "remembers too much");
    if ((int)place >= machine->memo_room) {
        int room = machine->memo_room ? machine->memo_room : 64;
        while (room <= (int)place) room *= 2;
        struct pickle_value **memo = realloc(machine->memo, (size_t)room * sizeof *memo);
        if (!memo) return pickle_refuse(machine, "finds no memory");
        memset(memo + machine->memo_room, 0, (size_t)(room - machine->memo_room) * sizeof *memo);
        machine->memo = memo;
        machine->memo_room = room;
    }
    if (!machine->memo[place]) machine->memo_count++;
    machine->memo[place] = value;
    return true;
}

static bool op_memoize(struct pickle_machine *machine, uint64_t number)
{
    (void)number;
    return op_put(machine, (uint64_t)machine->memo_count);
}

static bool op_get(struct pickle_machine *machine, uint64_t place)
{
    if (place >= (uint64_t)machine->memo_room || !machine->memo[place])
        return pickle_refuse(machine, "recalls what it never remembered");
    return push(machine, machine->memo[place]);
}

static bool push_global(struct pickle_machine *machine, struct pickle_text module,
                        struct pickle_text name)
{
    const struct pickle_global *global = pickle_find_global(module, name);
    if (!global) return pickle_refuse_global(machine, module, name);
    struct pickle_value *value = pickle_new(machine, PICKLE_GLOBAL);
    if (value) value->global = global;
    return push(machine, value);
}

static bool op_global(struct pickle_machine *machine, uint64_t number)
{
    (void)number;
    struct pickle_text module = { 0 }, name = { 0 };
    return take_line(machine, &module) && take_line(machine, &name) &&
           push_global(machine, module, name);
}

static bool op_stack_global(struct pickle_machine *machine, uint64_t number)
{
    (void)number;
    const struct pickle_value *name = pop(machine), *module = name ? pop(machine) : NULL;
    if (!module) return false;
    if (name->kind != PICKLE_STRING || module->kind != PICKLE_STRING)
        return pickle_refuse(machine, "names a class by something other than text");
    return push_global(machine, module->text, name->text);
}

static bool op_call(struct pickle_machine *machine, uint64_t number)
{
    (void)number;
    const struct pickle_value *arguments = pop(machine),
                              *function = arguments ? pop(machine) : NULL;
    if (!function) return false;
    if (function->kind != PICKLE_GLOBAL || arguments->kind != PICKLE_TUPLE)
        return pickle_refuse(machine, "calls something that is no function");
    const struct pickle_global *global = function->global;
    if (!global->call)
        return pickle_refuse_global(machine,
                                    (struct pickle_text) { global->module, strlen(global->module) },
                                    (struct pickle_text) { global->name, strlen(global->name) });
    return push(machine, global->call(machine, arguments));
}

/* Attributes may only be set on a dict, where they do not affect its values (state_dict()'s
 * _metadata); they are ignored. */
static bool op_build(struct pickle_machine *machine, uint64_t number)
{
    (void)number;
    if (!pop(machine) || !top(machine)) return false;
    return top(machine)->kind == PICKLE_DICT ||
           pickle_refuse(machine, "sets the state of something that is no dict");
}

/* INST: a class, by name, and a call of it. */
static bool op_inst(struct pickle_machine *machine, uint64_t number)
{
    (void)number;
    struct pickle_text module = { 0 }, name = { 0 };
    return take_line(machine, &module) && take_line(machine, &name) &&
           pickle_refuse_global(machine, module, name);
}

/* EXT: a function that a program has registered under a number. */
static bool op_extension(struct pickle_machine *machine, uint64_t code)
{
    return error_set(machine->err, EXIT_CODE_FAILED,
                     "%s: calls extension code %llu: refused, nothing of it was run", machine->path,
                     (unsigned long long)code);
}

/* ("storage", class, key, device, count) */
static bool op_persistent_id(struct pickle_machine *machine, uint64_t number)
{
    (void)number;
    const struct pickle_value *id = pop(machine);
    if (!id) return false;
    const bool tuple = id->kind == PICKLE_TUPLE && id->list.count >= 5;
    struct pickle_value *const *part = id->list.items;
    if (!tuple || !pickle_is_text(part[0], "storage") || part[1]->kind != PICKLE_GLOBAL ||
        !part[1]->global->dtype || part[2]->kind != PICKLE_STRING || !pickle_is_integer(part[4]))
        return pickle_refuse(machine, "names a storage of an unknown kind");
    struct pickle_value *value = pickle_new(machine, PICKLE_NONE);
    if (!value) return false;
    value->storage = malloc(sizeof *value->storage);
    if (!value->storage) return pickle_refuse(machine, "finds no memory");
    *value->storage = (struct pickle_storage) { part[2]->text, part[1]->global->dtype,
                                                part[4]->integer };
    value->kind = PICKLE_STORAGE;
    return push(machine, value);
}

/* By opcode: the number of bytes of the number that follows it (for texts, their length) and the
 * function that is called with it; without such bytes it is called with the row's own number. */
static const struct {
    int number_bytes;
    bool (*run)(struct pickle_machine *machine, uint64_t number);
    uint64_t own;
} opcodes[256] = {
    [0x80] = { 1, op_proto, 0 },
    [0x95] = { 8, op_skip, 0 }, /* FRAME */
    ['.'] = { 0, op_stop, 0 },
    /* the stack and the memo */
    ['('] = { 0, op_new, PICKLE_MARK },
    ['0'] = { 0, op_pop, 0 },
    ['1'] = { 0, op_pop_mark, 0 },
    ['2'] = { 0, op_dup, 0 },
    ['q'] = { 1, op_put, 0 },
    ['r'] = { 4, op_put, 0 },
    [0x94] = { 0, op_memoize, 0 },
    ['h'] = { 1, op_get, 0 },
    ['j'] = { 4, op_get, 0 },
    /* numbers and texts */
    ['N'] = { 0, op_new, PICKLE_NONE },
    [0x88] = { 0, op_bool, true },
    [0x89] = { 0, op_bool, false },
    ['J'] = { 4, op_int32, 0 },
    ['K'] = { 1, op_uint, 0 },
    ['M'] = { 2, op_uint, 0 },
    [0x8a] = { 1, op_long, 0 },
    [0x8b] = { 4, op_long, 0 },
    ['G'] = { 8, op_float, 0 },
    ['X'] = { 4, op_text, 0 },
    [0x8c] = { 1, op_text, 0 },
    [0x8d] = { 8, op_text, 0 },
    ['U'] = { 1, op_text, 0 },
    ['T'] = { 4, op_text, 0 },
    ['C'] = { 1, op_text, 0 }, /* bytes, here and below */
    ['B'] = { 4, op_text, 0 },
    [0x8e] = { 8, op_text, 0 },
    [0x96] = { 8, op_text, 0 },
    /* tuples, lists, sets, dicts */
    [')'] = { 0, op_new, PICKLE_TUPLE },
    ['t'] = { 0, op_gather, PICKLE_TUPLE },
    [0x85] = { 0, op_tuple_of, 1 },
    [0x86] = { 0, op_tuple_of, 2 },
    [0x87] = { 0, op_tuple_of, 3 },
    [']'] = { 0, op_new, PICKLE_LIST },
    ['l'] = { 0, op_gather, PICKLE_LIST },
    ['a'] = { 0, op_add_last, PICKLE_LIST },
    ['e'] = { 0, op_add_marked, PICKLE_LIST },
    [0x8f] = { 0, op_new, PICKLE_LIST }, /* EMPTY_SET, ADDITEMS, FROZENSET */
    [0x90] = { 0, op_add_marked, PICKLE_LIST },
    [0x91] = { 0, op_gather, PICKLE_LIST },
    ['}'] = { 0, op_new, PICKLE_DICT },
    ['d'] = { 0, op_gather, PICKLE_DICT },
    ['s'] = { 0, op_add_last, PICKLE_DICT },
    ['u'] = { 0, op_add_marked, PICKLE_DICT },
    /* globals and calls */
    ['c'] = { 0, op_global, 0 },
    [0x93] = { 0, op_stack_global, 0 },
    ['R'] = { 0, op_call, 0 },
    [0x81] = { 0, op_call, 0 }, /* NEWOBJ */
    ['b'] = { 0, op_build, 0 },
    ['i'] = { 0, op_inst, 0 },
    [0x82] = { 1, op_extension, 0 },
    [0x83] = { 2, op_extension, 0 },
    [0x84] = { 4, op_extension, 0 },
    ['Q'] = { 0, op_persistent_id, 0 },
};

static bool step(struct pickle_machine *machine)
{
    const uint8_t *byte = take(machine, 1);
    if (!byte) return false;
    if (!opcodes[*byte].run)
        return error_set(machine->err, EXIT_CODE_FAILED,
                         "%s: its pickle uses opcode 0x%02x, which no state dict needs: refused",
                         machine->path, *byte);
    const int bytes = opcodes[*byte].number_bytes;
    uint64_t number = opcodes[*byte].own;
    return (bytes == 0 || take_number(machine, bytes, &number)) &&
           opcodes[*byte].run(machine, number);
}

bool pickle_read(struct pickle *pickle, const void *bytes, size_t size, const char *path,
                 struct error *err)
{
    *pickle = (struct pickle) { 0 };
    struct pickle_machine machine = {
        .pickle = pickle,
        .path = path,
        .at = bytes,
        .end = (const uint8_t *)bytes + size,
        .err = err,
    };
    const uint8_t *start = bytes;
    bool done = (size >= 2 && start[0] == 0x80) || pickle_refuse(&machine, "does not begin as one");
    while (done && !machine.stopped) done = step(&machine);
    free(machine.stack);
    free(machine.memo);
    return done;
}
