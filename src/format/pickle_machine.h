/* Internal to the pickle reader: the state of the stack machine, and what its opcodes (pickle.c)
 * and the functions that they call (pickle_calls.c) share (pickle_value.c). Every function that
 * fails sets machine->err. */
#ifndef MICROMET_FORMAT_PICKLE_MACHINE_H
#define MICROMET_FORMAT_PICKLE_MACHINE_H

#include "pickle.h"

enum { PICKLE_ITEMS_MAX = 1 << 20 }; /* limit for a list, the stack and the memo */

struct pickle_machine {
    struct pickle *pickle;
    const char *path;
    const uint8_t *at, *end; /* the unread part */
    struct pickle_value **stack, **memo;
    int depth, stack_room, memo_count, memo_room;
    bool stopped;
    struct error *err;
};

typedef struct pickle_value *(*pickle_call)(struct pickle_machine *machine,
                                            const struct pickle_value *arguments);

/* A class or function that a pickle may name. */
struct pickle_global {
    const char *module, *name;
    pickle_call call;  /* NULL: can only be an argument */
    const char *dtype; /* if it is a storage class, else NULL */
};

/* NULL if the name is not known. */
const struct pickle_global *pickle_find_global(struct pickle_text module, struct pickle_text name);

/* Set the error "its pickle <reason>"; return false or NULL. */
bool pickle_refuse(struct pickle_machine *machine, const char *reason);
void *pickle_refuse_null(struct pickle_machine *machine, const char *reason);
/* Set the error for a name outside the table, which would run code; returns false. */
bool pickle_refuse_global(struct pickle_machine *machine, struct pickle_text module,
                          struct pickle_text name);

/* Allocate a value, owned by the pickle; NULL on failure. */
struct pickle_value *pickle_new(struct pickle_machine *machine, enum pickle_kind kind);
/* Append `count` values to a tuple, list or dict. */
bool pickle_extend(struct pickle_machine *machine, struct pickle_value *value,
                   struct pickle_value *const *items, int count);
bool pickle_same_text(struct pickle_text text, const char *other);
bool pickle_is_text(const struct pickle_value *value, const char *text);
bool pickle_is_integer(const struct pickle_value *value); /* not negative; `value` may be NULL */

#endif
