/* TCP connections: sockets that never block by themselves, and are closed on exec. Failures leave
 * their reason in errno; a connection that the other side has closed is ECONNRESET. */
#ifndef MICROMET_WORLD_LINK_H
#define MICROMET_WORLD_LINK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "micromet/base/error.h"

struct link_address {
    struct sockaddr_storage storage;
    socklen_t bytes; /* 0 = not known */
};

/* Listen on all of this host's addresses; *port 0 = any, and then says which. The socket, or -1. */
int link_listen(int *port, struct error *err);
/* The addresses of a host; 0 if it has none now, with the reason in *why. */
int link_resolve(const char *host, int port, struct link_address *addresses, int max,
                 const char **why);
/* This host's own addresses on its networks, without a port. */
int link_own_addresses(struct link_address *addresses, int max);
void link_set_port(struct link_address *address, int port);
bool link_is_loopback(const struct link_address *address);

/* `until_s` of clock_seconds(); INFINITY = for ever. The socket, or -1. */
int link_connect(const struct link_address *address, double until_s);
/* Whether at one of the addresses a connection comes about. */
bool link_any_answers(const struct link_address *addresses, int count, double until_s);
/* The next connection that has come, or -1. */
int link_accept(int listener, struct link_address *from);
bool link_send(int socket, const void *memory, size_t bytes, double until_s);
bool link_receive(int socket, void *memory, size_t bytes, double until_s);
/* Whether the other side has closed the connection, and nothing is left to read. */
bool link_is_closed(int socket);
/* -1 is no socket. */
void link_close(int *socket);

/* Milliseconds until then, for poll(); -1 = for ever. */
int link_milliseconds(double until_s);

#endif
