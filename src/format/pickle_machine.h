/* Between the parts of pickle.h's reader only: the state of the stack machine, and what its opcodes
 * (pickle.c) and the functions that they call (pickle_calls.c) share (pickle_value.c). Whatever
 * fails has set machine->err. */
#ifndef MICROMET_FORMAT_PICKLE_MACHINE_H
#define MICROMET_FORMAT_PICKLE_MACHINE_H

#include "pickle.h"

enum { PICKLE_ITEMS_MAX = 1 << 20 }; /* of a list, of the stack, of the memo */

struct pickle_machine {
    struct pickle *pickle;
    const char *path;
    const uint8_t *at, *end; /* what was not read yet */
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
    pickle_call call;  /* NULL: it is only ever an argument */
    const char *dtype; /* of a storage's class */
};

/* NULL for a name that is not known. */
const struct pickle_global *pickle_find_global(struct pickle_text module, struct pickle_text name);

/* "its pickle <reason>": false, or NULL. */
bool pickle_refuse(struct pickle_machine *machine, const char *reason);
void *pickle_refuse_null(struct pickle_machine *machine, const char *reason);
/* A call that would run code. */
bool pickle_refuse_global(struct pickle_machine *machine, struct pickle_text module,
                          struct pickle_text name);

/* A value that pickle_release() frees; NULL on failure. */
struct pickle_value *pickle_new(struct pickle_machine *machine, enum pickle_kind kind);
/* Add `count` values to a tuple, list or dict. */
bool pickle_extend(struct pickle_machine *machine, struct pickle_value *value,
                   struct pickle_value *const *items, int count);
bool pickle_same_text(struct pickle_text text, const char *other);
bool pickle_is_text(const struct pickle_value *value, const char *text);
bool pickle_is_integer(const struct pickle_value *value); /* at least 0; `value` may be NULL */

#endif
