#include "link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <math.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "micromet/base/thread.h"

int link_milliseconds(double until_s)
{
    if (isinf(until_s)) return -1;
    const double left_ms = (until_s - clock_seconds()) * 1000;
    return left_ms <= 0 ? 0 : left_ms > 1e6 ? 1000000 : (int)left_ms + 1;
}

void link_close(int *socket)
{
    if (*socket >= 0) close(*socket);
    *socket = -1;
}

bool link_is_closed(int socket)
{
    char next;
    const ssize_t got = recv(socket, &next, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

/* --- addresses -------------------------------------------------------------------------------- */

void link_set_port(struct link_address *address, int port)
{
    if (address->storage.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&address->storage)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)&address->storage)->sin_port = htons((uint16_t)port);
}

bool link_is_loopback(const struct link_address *address)
{
    if (address->storage.ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)&address->storage)->sin_addr.s_addr) >> 24 == 127;
    const struct in6_addr *ip = &((const struct sockaddr_in6 *)&address->storage)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(ip) || (IN6_IS_ADDR_V4MAPPED(ip) && ip->s6_addr[12] == 127);
}

int link_resolve(const char *host, int port, struct link_address *addresses, int max,
                 const char **why)
{
    char service[16];
    struct addrinfo *list = NULL;
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    snprintf(service, sizeof service, "%d", port);
    const int failure = getaddrinfo(host, service, &hints, &list);
    *why = failure == EAI_SYSTEM ? strerror(errno) : failure ? gai_strerror(failure) : "";
    if (failure) return 0;
    int count = 0;
    for (const struct addrinfo *at = list; at && count < max; at = at->ai_next) {
        if (at->ai_addrlen > sizeof addresses[count].storage) continue;
        addresses[count].bytes = at->ai_addrlen;
        memcpy(&addresses[count++].storage, at->ai_addr, at->ai_addrlen);
    }
    freeaddrinfo(list);
    return count;
}

/* Addresses of a link alone (fe80::) would need the name of the other host's network card. */
static socklen_t useful_bytes(const struct ifaddrs *at)
{
    if (!at->ifa_addr || !(at->ifa_flags & IFF_UP) || (at->ifa_flags & IFF_LOOPBACK)) return 0;
    if (at->ifa_addr->sa_family == AF_INET) return sizeof(struct sockaddr_in);
    if (at->ifa_addr->sa_family != AF_INET6) return 0;
    const struct sockaddr_in6 *ip = (const struct sockaddr_in6 *)at->ifa_addr;
    return IN6_IS_ADDR_LINKLOCAL(&ip->sin6_addr) ? 0 : sizeof(struct sockaddr_in6);
}

int link_own_addresses(struct link_address *addresses, int max)
{
    struct ifaddrs *list = NULL;
    int count = 0;
    if (getifaddrs(&list) != 0) return 0;
    for (const struct ifaddrs *at = list; at && count < max; at = at->ifa_next) {
        const socklen_t bytes = useful_bytes(at);
        if (!bytes) continue;
        addresses[count] = (struct link_address) { .bytes = bytes };
        memcpy(&addresses[count++].storage, at->ifa_addr, bytes);
    }
    freeifaddrs(list);
    return count;
}

/* --- connections ------------------------------------------------------------------------------ */

static int open_socket(int family)
{
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static void send_at_once(int socket)
{
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &(int) { 1 }, sizeof(int));
}

/* A listening socket, or -1. */
static int listen_in(int family, int port)
{
    struct link_address address = { .bytes = family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                                : sizeof(struct sockaddr_in) };
    address.storage.ss_family = (sa_family_t)family;
    link_set_port(&address, port);
    int listener = open_socket(family);
    if (listener < 0) return -1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int) { 1 }, sizeof(int));
    if (family == AF_INET6)
        setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &(int) { 0 }, sizeof(int));
    if (bind(listener, (struct sockaddr *)&address.storage, address.bytes) != 0 ||
        listen(listener, SOMAXCONN) != 0) {
        const int reason = errno;
        link_close(&listener);
        errno = reason;
    }
    return listener;
}

int link_listen(int *port, struct error *err)
{
    int listener = listen_in(AF_INET6, *port); /* which serves IPv4 as well */
    if (listener < 0 && errno != EADDRINUSE) listener = listen_in(AF_INET, *port);
    struct link_address own = { .bytes = sizeof own.storage };
    if (listener < 0 || getsockname(listener, (struct sockaddr *)&own.storage, &own.bytes) != 0) {
        error_set(err, EXIT_CODE_FAILED, "cannot listen on port %d: %s", *port, strerror(errno));
        link_close(&listener);
        return -1;
    }
    *port = ntohs(own.storage.ss_family == AF_INET6
                      ? ((struct sockaddr_in6 *)&own.storage)->sin6_port
                      : ((struct sockaddr_in *)&own.storage)->sin_port);
    return listener;
}

/* Whether poll() finds the socket so before the time is up; else errno is ETIMEDOUT. */
static bool wait_for(int socket, short events, double until_s)
{
    for (;;) {
        struct pollfd polled = { .fd = socket, .events = events };
        const int ready = poll(&polled, 1, link_milliseconds(until_s));
        if (ready > 0) return true;
        if (ready < 0 && errno != EINTR) return false;
        if (clock_seconds() >= until_s) {
            errno = ETIMEDOUT;
            return false;
        }
    }
}

static bool finish_connecting(int socket, double until_s)
{
    int failure = 0;
    socklen_t bytes = sizeof failure;
    if (!wait_for(socket, POLLOUT, until_s) ||
        getsockopt(socket, SOL_SOCKET, SO_ERROR, &failure, &bytes) != 0)
        return false;
    errno = failure;
    return failure == 0;
}

/* Where nobody listens on a port of this host, a connection may be given that very port as its own,
 * and so be connected with itself. */
static bool is_with_itself(int socket)
{
    struct link_address own = { .bytes = sizeof own.storage }, other = own;
    return getsockname(socket, (struct sockaddr *)&own.storage, &own.bytes) == 0 &&
           getpeername(socket, (struct sockaddr *)&other.storage, &other.bytes) == 0 &&
           own.bytes == other.bytes && memcmp(&own.storage, &other.storage, own.bytes) == 0;
}

int link_connect(const struct link_address *address, double until_s)
{
    int connected = open_socket(address->storage.ss_family);
    if (connected < 0) return -1;
    if (connect(connected, (const struct sockaddr *)&address->storage, address->bytes) != 0 &&
        ((errno != EINPROGRESS && errno != EINTR) || !finish_connecting(connected, until_s))) {
        const int reason = errno;
        link_close(&connected);
        errno = reason;
        return -1;
    }
    if (is_with_itself(connected)) {
        link_close(&connected);
        errno = ECONNREFUSED;
        return -1;
    }
    send_at_once(connected);
    return connected;
}

/* 1 = it has come about, 0 = not yet, -1 = it cannot. */
static int begin_connecting(const struct link_address *address, int *connecting)
{
    *connecting = address->bytes ? open_socket(address->storage.ss_family) : -1;
    if (*connecting < 0) return -1;
    if (connect(*connecting, (const struct sockaddr *)&address->storage, address->bytes) == 0)
        return is_with_itself(*connecting) ? -1 : 1;
    return errno == EINPROGRESS || errno == EINTR ? 0 : -1;
}

static bool await_any(struct pollfd *polled, int count, double until_s)
{
    for (int left = count; left > 0 && clock_seconds() < until_s;) {
        if (poll(polled, (nfds_t)count, link_milliseconds(until_s)) < 0) continue;
        left = 0;
        for (int i = 0; i < count; i++) {
            if (polled[i].fd >= 0 && polled[i].revents) {
                if (finish_connecting(polled[i].fd, until_s) && !is_with_itself(polled[i].fd))
                    return true;
                link_close(&polled[i].fd);
            }
            left += polled[i].fd >= 0;
        }
    }
    return false;
}

bool link_any_answers(const struct link_address *addresses, int count, double until_s)
{
    struct pollfd *polled = calloc((size_t)count + 1, sizeof *polled);
    bool answered = false;
    if (!polled) return false;
    for (int i = 0; i < count; i++) {
        polled[i].events = POLLOUT;
        const int begun = begin_connecting(&addresses[i], &polled[i].fd);
        if (begun < 0) link_close(&polled[i].fd);
        answered = answered || begun > 0;
    }
    answered = answered || await_any(polled, count, until_s);
    for (int i = 0; i < count; i++) link_close(&polled[i].fd);
    free(polled);
    return answered;
}

int link_accept(int listener, struct link_address *from)
{
    from->bytes = sizeof from->storage;
    const int accepted = accept4(listener, (struct sockaddr *)&from->storage, &from->bytes,
                                 SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted >= 0) send_at_once(accepted);
    return accepted;
}

bool link_send(int socket, const void *memory, size_t bytes, double until_s)
{
    for (const char *at = memory; bytes > 0;) {
        const ssize_t sent = send(socket, at, bytes, MSG_NOSIGNAL);
        if (sent >= 0) {
            at += sent;
            bytes -= (size_t)sent;
        } else if (errno == EAGAIN) {
            if (!wait_for(socket, POLLOUT, until_s)) return false;
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

bool link_receive(int socket, void *memory, size_t bytes, double until_s)
{
    for (char *at = memory; bytes > 0;) {
        const ssize_t got = recv(socket, at, bytes, 0);
        if (got > 0) {
            at += got;
            bytes -= (size_t)got;
        } else if (got == 0) {
            errno = ECONNRESET;
            return false;
        } else if (errno == EAGAIN) {
            if (!wait_for(socket, POLLIN, until_s)) return false;
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}
