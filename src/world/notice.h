/* What goes over a control connection: notices of a few bytes. */
#ifndef MICROMET_WORLD_NOTICE_H
#define MICROMET_WORLD_NOTICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum notice_kind {
    NOTICE_ALIVE = 1,
    NOTICE_LEAVING, /* an orderly end */
    NOTICE_FAILED,  /* to the hub: this rank has, and why */
    NOTICE_END,     /* from the hub: all end now */
};

enum { NOTICE_TEXT_BYTES = 1400 };

struct notice {
    struct notice_head {
        uint32_t kind;
        uint32_t code;  /* exit code */
        uint32_t whole; /* the text needs no rank and host before it */
        uint32_t bytes; /* of text, with its end */
    } head;
    char text[NOTICE_TEXT_BYTES];
};

/* One end of a connection. */
struct notice_line {
    int socket; /* -1: closed, or the other side has left */
    size_t received;
    struct notice notice; /* as far as it has come */
    double silent_s;      /* since the last one */
};

enum notice_outcome {
    NOTICE_NONE,   /* nothing more now */
    NOTICE_WHOLE,  /* in line->notice, until the next call */
    NOTICE_BROKEN, /* the connection is closed, or makes no sense */
};
enum notice_outcome notice_receive(struct notice_line *line);
/* Without waiting; what does not fit into the connection is lost, as the other side then has not
 * read for long. */
void notice_send(const struct notice_line *line, enum notice_kind kind, int code, bool whole,
                 const char *text);

#endif
