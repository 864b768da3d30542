/* Where ranks come in: accepts connections until all that are awaited are there, whatever strangers
 * send meanwhile. */
#ifndef MICROMET_WORLD_GATE_H
#define MICROMET_WORLD_GATE_H

#include "hello.h"

struct gate_door {
    enum hello_purpose purpose;
    int *sockets; /* by rank; -1 = not yet there */
};

struct gate {
    int listener;
    int first, size; /* ranks first ... size - 1 of a world of `size` are awaited, at each door */
    const char *job;
    struct gate_door doors[2];
    int door_count;
    /* NULL, or called for each one that has come in. */
    void (*welcome)(void *context, const struct hello *hello, const struct link_address *from);
    void *context;
};

/* The error names the ranks that have not come. */
bool gate_admit(const struct gate *gate, double patience_s, struct error *err);

#endif
