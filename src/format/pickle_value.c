/* The values of a pickle, and the error messages about invalid ones. See pickle.h. */
#include <stdlib.h>
#include <string.h>

#include "pickle_machine.h"

enum { VALUES_MAX = 1 << 21, BLOCK_VALUES = 1024 };

bool pickle_refuse(struct pickle_machine *machine, const char *reason)
{
    return error_set(machine->err, EXIT_CODE_FAILED,
                     "%s: its pickle %s; the file is damaged or forged", machine->path, reason);
}

void *pickle_refuse_null(struct pickle_machine *machine, const char *reason)
{
    pickle_refuse(machine, reason);
    return NULL;
}

enum { SHOWN_BYTES = 100 };

/* For messages: cut to SHOWN_BYTES, with control characters replaced. */
static void show(struct pickle_text text, char shown[SHOWN_BYTES])
{
    size_t length = text.length < SHOWN_BYTES - 1 ? text.length : SHOWN_BYTES - 1;
    for (size_t i = 0; i < length; i++) {
        const unsigned char c = (unsigned char)text.bytes[i];
        shown[i] = c < ' ' || c == 0x7f ? '?' : (char)c;
    }
    shown[length] = '\0';
}

bool pickle_refuse_global(struct pickle_machine *machine, struct pickle_text module,
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

struct pickle_value *pickle_new(struct pickle_machine *machine, enum pickle_kind kind)
{
    struct pickle *pickle = machine->pickle;
    const int block = pickle->count / BLOCK_VALUES, place = pickle->count % BLOCK_VALUES;
    if (pickle->count == VALUES_MAX) return pickle_refuse_null(machine, "holds too many values");
    if (place == 0) {
        struct pickle_value **blocks = realloc(pickle->blocks,
                                               ((size_t)block + 1) * sizeof *blocks);
        if (!blocks) return pickle_refuse_null(machine, "finds no memory");
        pickle->blocks = blocks;
        blocks[block] = calloc(BLOCK_VALUES, sizeof *blocks[block]);
        if (!blocks[block]) return pickle_refuse_null(machine, "finds no memory");
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

bool pickle_same_text(struct pickle_text text, const char *other)
{
    return text.length == strlen(other) && memcmp(text.bytes, other, text.length) == 0;
}

bool pickle_is_text(const struct pickle_value *value, const char *text)
{
    return value->kind == PICKLE_STRING && pickle_same_text(value->text, text);
}

bool pickle_is_integer(const struct pickle_value *value)
{
    return value && value->kind == PICKLE_INT && value->integer >= 0;
}

const struct pickle_value *pickle_get(const struct pickle_value *dict, const char *key)
{
    if (dict->kind != PICKLE_DICT) return NULL;
    for (int i = 0; i + 1 < dict->list.count; i += 2)
        if (pickle_is_text(dict->list.items[i], key)) return dict->list.items[i + 1];
    return NULL;
}

/* Capacity is a power of two, derived from the count. */
bool pickle_extend(struct pickle_machine *machine, struct pickle_value *value,
                   struct pickle_value *const *items, int count)
{
    const int had = value->list.count;
    if (count == 0) return true;
    if (count > PICKLE_ITEMS_MAX - had) return pickle_refuse(machine, "holds too long a list");
    int room = 1, has_room = had ? 1 : 0;
    while (room < had + count) room *= 2;
    while (has_room && has_room < had) has_room *= 2;
    if (room > has_room) {
        struct pickle_value **grown = realloc(value->list.items, (size_t)room * sizeof *grown);
        if (!grown) return pickle_refuse(machine, "finds no memory");
        value->list.items = grown;
    }
    memcpy(value->list.items + had, items, (size_t)count * sizeof *items);
    value->list.count = had + count;
    return true;
}
