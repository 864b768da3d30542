#include "star.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "gate.h"
#include "micromet/base/log.h"
#include "micromet/base/stop.h"
#include "micromet/base/thread.h"

static const double attempt_s = 5; /* for one connection to come about */
static const double quiet_s = 10;  /* of attempts, before that is said */
static const double ending_s = 30; /* for the hub to say that not all have come */

static void close_all(int *sockets, int count)
{
    for (int i = 0; sockets && i < count; i++) link_close(&sockets[i]);
    free(sockets);
}

void star_close(struct star *star)
{
    if (!star->size) return;
    link_close(&star->listener);
    close_all(star->control, star->size);
    close_all(star->messages, star->size);
    free(star->seats);
    *star = (struct star) { 0 };
}

static int *new_sockets(int count)
{
    int *sockets = malloc((size_t)count * sizeof *sockets);
    for (int i = 0; sockets && i < count; i++) sockets[i] = -1;
    return sockets;
}

/* The hub has two connections a rank, and a mesh one more. */
static void allow_descriptors(int size)
{
    struct rlimit limit;
    const rlim_t wanted = (rlim_t)size * 3 + 1024;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    setrlimit(RLIMIT_NOFILE, &limit);
}

bool star_listen(struct star *star, int rank, int size, int port, struct error *err)
{
    *star = (struct star) { .rank = rank, .size = size, .listener = -1, .port = port };
    allow_descriptors(size);
    star->seats = calloc((size_t)size, sizeof *star->seats);
    star->control = new_sockets(size);
    star->messages = new_sockets(size);
    if (!star->seats || !star->control || !star->messages)
        error_set(err, EXIT_CODE_FAILED, "out of memory");
    else if ((star->listener = link_listen(&star->port, err)) >= 0)
        return true;
    star_close(star);
    return false;
}

struct link_address star_address(const struct star *star, int rank)
{
    const struct link_address *known = &star->seats[rank].address;
    struct link_address address = known->bytes ? *known : star->hub;
    link_set_port(&address, (int)star->seats[rank].port);
    return address;
}

/* --- the hub ---------------------------------------------------------------------------------- */

/* Before the seats: whether there is a world. */
struct opening {
    uint32_t opened;
};

static void take_seat(void *context, const struct hello *hello, const struct link_address *from)
{
    struct star_seat *seat = &((struct star *)context)->seats[hello->rank];
    memcpy(seat->host, hello->host, sizeof seat->host);
    seat->port = hello->port;
    /* That it came from a loopback address is of no use to other hosts. */
    if (!link_is_loopback(from)) seat->address = *from;
}

/* Who is lost meanwhile, the watch will find. */
static void tell_opening(const struct star *star, const struct opening *opening)
{
    const size_t bytes = (size_t)star->size * sizeof *star->seats;
    const double until_s = clock_seconds() + ending_s;
    for (int rank = 1; rank < star->size; rank++)
        if (star->messages[rank] >= 0 &&
            link_send(star->messages[rank], opening, sizeof *opening, until_s) && opening->opened)
            link_send(star->messages[rank], star->seats, bytes, until_s);
}

static bool take_in(struct star *star, const struct star_hub *hub, double patience_s,
                    struct error *err)
{
    struct opening opening;
    const struct gate gate = {
        .listener = star->listener,
        .first = 1,
        .size = star->size,
        .job = hub->job,
        .doors = { { HELLO_CONTROL, star->control }, { HELLO_MESSAGES, star->messages } },
        .door_count = 2,
        .welcome = take_seat,
        .context = star,
    };
    hello_name_host(star->seats[0].host);
    star->seats[0].port = (uint32_t)star->port;
    opening.opened = gate_admit(&gate, patience_s, err);
    tell_opening(star, &opening);
    return opening.opened;
}

/* --- the others ------------------------------------------------------------------------------- */

/* Those to try: this host's own first if the hub is here. */
static int find_addresses(const struct star_hub *hub, struct link_address *addresses, char why[256])
{
    char host[HELLO_HOST_BYTES];
    const char *reason = "";
    int count = 0;
    if (!hub->address_count) {
        count = link_resolve(hub->host, hub->port, addresses, STAR_ADDRESSES_MAX, &reason);
        if (!count) snprintf(why, 256, "%s", reason);
        return count;
    }
    hello_name_host(host);
    if (strcmp(host, hub->host) == 0)
        count = link_resolve("127.0.0.1", hub->port, addresses, 1, &reason);
    for (int i = 0; i < hub->address_count; i++) {
        addresses[count] = hub->addresses[i];
        link_set_port(&addresses[count++], hub->port);
    }
    return count;
}

static enum hello_outcome try_each(const struct star_hub *hub, const struct hello *hello,
                                   double until_s, int *connection, char why[256])
{
    struct link_address addresses[STAR_ADDRESSES_MAX + 1];
    const int count = find_addresses(hub, addresses, why);
    for (int i = 0; i < count; i++) {
        const double end_s = clock_seconds() + attempt_s;
        const enum hello_outcome outcome = hello_say(
            &addresses[i], hello, end_s < until_s ? end_s : until_s, connection, why);
        if (outcome != HELLO_NOBODY) return outcome;
    }
    return HELLO_NOBODY;
}

static int call_hub(const struct star *star, const struct star_hub *hub, enum hello_purpose purpose,
                    double until_s, struct error *err)
{
    const struct hello hello = hello_of(star->rank, star->size, purpose, star->port, hub->job);
    const double start_s = clock_seconds();
    double say_s = start_s + quiet_s;
    char why[256] = "";
    enum hello_outcome outcome;
    for (unsigned pause_us = 20000;; pause_us += pause_us < 500000 ? pause_us : 0) {
        int connection;
        outcome = try_each(hub, &hello, until_s, &connection, why);
        if (outcome == HELLO_WELCOME) return connection;
        if (outcome == HELLO_REFUSED || clock_seconds() >= until_s) break;
        if (!stop_check(err)) return -1;
        if (clock_seconds() >= say_s) {
            log_info("waiting for rank 0 at %s, port %d: %s", hub->host, hub->port, why);
            say_s = INFINITY;
        }
        usleep(pause_us);
    }
    error_set(err, EXIT_CODE_FAILED, "rank %d cannot join rank 0 at %s, port %d: %s%s", star->rank,
              hub->host, hub->port, why,
              outcome == HELLO_NOBODY ? " (MASTER_ADDR and MASTER_PORT say where else it is)" : "");
    return -1;
}

/* The hub prints why there is no world, for all. */
static bool await_opening(struct star *star, double until_s)
{
    struct opening opening;
    if (!link_receive(star->messages[0], &opening, sizeof opening, until_s)) return false;
    if (!opening.opened) _exit(EXIT_CODE_FAILED);
    return link_receive(star->messages[0], star->seats, (size_t)star->size * sizeof *star->seats,
                        until_s);
}

static bool join(struct star *star, const struct star_hub *hub, double patience_s,
                 struct error *err)
{
    const double until_s = clock_seconds() + patience_s;
    star->control[0] = call_hub(star, hub, HELLO_CONTROL, until_s, err);
    if (star->control[0] < 0) return false;
    star->messages[0] = call_hub(star, hub, HELLO_MESSAGES, until_s, err);
    if (star->messages[0] < 0) return false;
    star->hub.bytes = sizeof star->hub.storage;
    getpeername(star->messages[0], (struct sockaddr *)&star->hub.storage, &star->hub.bytes);
    return await_opening(star, until_s + patience_s + ending_s) ||
           error_set(err, EXIT_CODE_FAILED,
                     "rank 0 at %s, port %d, was lost before all ranks had come: %s", hub->host,
                     hub->port, strerror(errno));
}

bool star_join(struct star *star, const struct star_hub *hub, double patience_s, struct error *err)
{
    return star->rank == 0 ? take_in(star, hub, patience_s, err) : join(star, hub, patience_s, err);
}
