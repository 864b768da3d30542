/* The star: each rank has two connections with rank 0, the hub. One is for messages, which its main
 * thread waits for; the other for signs of life and the reason of a failure (watch.c). */
#ifndef MICROMET_WORLD_STAR_H
#define MICROMET_WORLD_STAR_H

#include "hello.h"

enum { STAR_ADDRESSES_MAX = 8 };

/* Where the hub is, and what it calls the job. */
struct star_hub {
    char host[LAUNCH_HOST_BYTES];
    int port;
    int address_count; /* 0: those that the host's name has */
    struct link_address addresses[STAR_ADDRESSES_MAX];
    char job[LAUNCH_JOB_BYTES];
};

struct star_seat {
    char host[HELLO_HOST_BYTES];
    struct link_address address; /* where this rank listens; bytes = 0: on rank 0's host */
    uint32_t port;
};

struct star {
    int rank, size;
    int listener, port;
    struct star_seat *seats; /* all ranks' */
    struct link_address hub; /* as this rank reaches it */
    /* Connections by rank, -1 = none. The hub has one with each other rank, a rank one with 0. */
    int *control, *messages;
};

/* Safe on a zeroed struct. */
void star_close(struct star *star);
/* `port` 0 = any. */
bool star_listen(struct star *star, int rank, int size, int port, struct error *err);
/* All ranks, behind star_listen(). Each waits for `patience_s` for the others; after that, the hub
 * has an error and the ranks that did come end their processes, as all would say the same. */
bool star_join(struct star *star, const struct star_hub *hub, double patience_s, struct error *err);

/* Where `rank` listens, as this rank reaches it. */
struct link_address star_address(const struct star *star, int rank);

#endif
