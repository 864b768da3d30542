/* The first words on a connection: who calls and what for, and whether that is welcome. They tell
 * apart the ranks of one job, those of another one on the same port, and strangers. Numbers have
 * this machine's byte order: one of the other order is a stranger. */
#ifndef MICROMET_WORLD_HELLO_H
#define MICROMET_WORLD_HELLO_H

#include <stdint.h>

#include "launch.h"
#include "link.h"

enum { HELLO_PROTOCOL = 1, HELLO_HOST_BYTES = 64 };

enum hello_purpose { HELLO_CONTROL = 1, HELLO_MESSAGES, HELLO_MESH };

struct hello {
    char magic[8];
    uint32_t protocol, purpose;
    uint32_t rank, size; /* of who calls */
    uint32_t port;       /* on which it listens */
    char host[HELLO_HOST_BYTES];
    char job[LAUNCH_JOB_BYTES];
};

struct hello_answer {
    char magic[8];
    uint32_t protocol, welcome;
    char reason[256]; /* why not */
};

/* This host's name, in Slurm the node's. */
void hello_name_host(char host[HELLO_HOST_BYTES]);

struct hello hello_of(int rank, int size, enum hello_purpose purpose, int port, const char *job);
/* Whether one speaks this protocol, and its texts end. */
bool hello_is_sane(const struct hello *hello);
struct hello_answer hello_answer(const char *reason); /* NULL = welcome */

enum hello_outcome {
    HELLO_WELCOME,
    HELLO_REFUSED, /* for good */
    HELLO_NOBODY,  /* who understands; perhaps later */
};
/* Connect and say hello. `why` is for HELLO_REFUSED and HELLO_NOBODY. */
enum hello_outcome hello_say(const struct link_address *address, const struct hello *hello,
                             double until_s, int *connection, char why[256]);

#endif
