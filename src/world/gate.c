/* Who has connected is a guest until the hello is whole and found right. Guests who do not say
 * theirs in time, or too many of them, are sent away. */
#include "gate.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "micromet/base/log.h"
#include "micromet/base/stop.h"
#include "micromet/base/thread.h"

enum { GUESTS_MAX = 256 };
static const double hello_s = 10; /* in which a guest says who it is */
/* Another thread may get the signal that ends the wait. */
static const double signal_s = 0.2;
static const double quiet_s = 10; /* of waiting, before that is said */

struct guest {
    int socket;
    double until_s;
    size_t received;
    struct hello hello;
    struct link_address from;
};

struct hall {
    const struct gate *gate;
    struct guest guests[GUESTS_MAX]; /* the longest there first */
    int count;
    int missing; /* connections */
};

static void send_away(struct hall *hall, int index)
{
    link_close(&hall->guests[index].socket);
    hall->count--;
    memmove(&hall->guests[index], &hall->guests[index + 1],
            (size_t)(hall->count - index) * sizeof *hall->guests);
}

static void let_in(struct hall *hall, double now_s)
{
    struct link_address from;
    const int socket = link_accept(hall->gate->listener, &from);
    if (socket < 0) return;
    if (hall->count == GUESTS_MAX) send_away(hall, 0);
    hall->guests[hall->count++] = (struct guest) {
        .socket = socket,
        .until_s = now_s + hello_s,
        .from = from,
    };
}

/* The door that a sane hello may pass, or NULL and why not. */
static const struct gate_door *find_door(const struct gate *gate, const struct hello *hello,
                                         char why[256])
{
    const int rank = hello->rank < (uint32_t)gate->size ? (int)hello->rank : -1;
    const struct gate_door *door = NULL;
    for (int i = 0; i < gate->door_count; i++)
        if (gate->doors[i].purpose == hello->purpose) door = &gate->doors[i];
    if (strcmp(hello->job, gate->job) != 0)
        snprintf(why, 256, "it belongs to another job (%s; this one is %s)", gate->job, hello->job);
    else if (hello->size != (uint32_t)gate->size)
        snprintf(why, 256, "its world has %d ranks, this one's has %u", gate->size, hello->size);
    else if (rank < gate->first || !door)
        snprintf(why, 256, "it does not expect rank %u", hello->rank);
    else if (door->sockets[rank] >= 0 && !link_is_closed(door->sockets[rank]))
        snprintf(why, 256, "it has another rank %d already", rank);
    else
        return door;
    return NULL;
}

/* A hello is whole: in, or out. */
static void judge(struct hall *hall, int index)
{
    struct guest *guest = &hall->guests[index];
    char why[256];
    if (hello_is_sane(&guest->hello)) {
        const struct gate_door *door = find_door(hall->gate, &guest->hello, why);
        const struct hello_answer answer = hello_answer(door ? NULL : why);
        const bool told = link_send(guest->socket, &answer, sizeof answer, clock_seconds() + 1);
        if (door && told) {
            int *place = &door->sockets[guest->hello.rank];
            hall->missing -= *place < 0; /* else it comes again, as its first call was lost */
            link_close(place);
            *place = guest->socket;
            guest->socket = -1;
            if (hall->gate->welcome)
                hall->gate->welcome(hall->gate->context, &guest->hello, &guest->from);
        }
    }
    send_away(hall, index);
}

static void listen_to(struct hall *hall, int index)
{
    struct guest *guest = &hall->guests[index];
    const ssize_t got = recv(guest->socket, (char *)&guest->hello + guest->received,
                             sizeof guest->hello - guest->received, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        send_away(hall, index);
        return;
    }
    guest->received += (size_t)got;
    if (guest->received == sizeof guest->hello) judge(hall, index);
}

static void poll_once(struct hall *hall, double until_s)
{
    struct pollfd polled[GUESTS_MAX + 1];
    const int count = hall->count;
    for (int i = 0; i < count; i++)
        polled[i] = (struct pollfd) { .fd = hall->guests[i].socket, .events = POLLIN };
    polled[count] = (struct pollfd) { .fd = hall->gate->listener, .events = POLLIN };
    if (poll(polled, (nfds_t)count + 1, link_milliseconds(until_s)) < 0)
        for (int i = 0; i <= count; i++) polled[i].revents = 0;
    const double now_s = clock_seconds();
    for (int i = count - 1; i >= 0; i--) {
        if (polled[i].revents)
            listen_to(hall, i);
        else if (now_s >= hall->guests[i].until_s)
            send_away(hall, i);
    }
    if (polled[count].revents) let_in(hall, now_s);
}

static bool is_there(const struct gate *gate, int rank)
{
    for (int i = 0; i < gate->door_count; i++)
        if (gate->doors[i].sockets[rank] < 0) return false;
    return true;
}

/* "rank 3", "ranks 1, 3, 4" */
static void name_missing(const struct gate *gate, char names[128])
{
    int count = 0;
    size_t length = 0;
    for (int rank = gate->first; rank < gate->size; rank++) count += !is_there(gate, rank);
    length += (size_t)snprintf(names, 128, count == 1 ? "rank" : "ranks");
    const char *before = " ";
    for (int rank = gate->first; rank < gate->size; rank++) {
        if (is_there(gate, rank)) continue;
        if (length > 100) {
            snprintf(names + length, 128 - length, " and others");
            return;
        }
        length += (size_t)snprintf(names + length, 128 - length, "%s%d", before, rank);
        before = ", ";
    }
}

bool gate_admit(const struct gate *gate, double patience_s, struct error *err)
{
    struct hall hall = { .gate = gate };
    char names[128];
    const double start_s = clock_seconds(), until_s = start_s + patience_s;
    double say_s = start_s + quiet_s;
    hall.missing = (gate->size - gate->first) * gate->door_count;
    for (double now_s = start_s; hall.missing > 0 && now_s < until_s && !stop_signal();
         now_s = clock_seconds()) {
        if (now_s >= say_s) {
            name_missing(gate, names);
            log_info("waiting for %s of %d", names, gate->size);
            say_s = INFINITY;
        }
        double next_s = fmin(fmin(say_s, until_s), now_s + signal_s);
        if (hall.count > 0 && hall.guests[0].until_s < next_s) next_s = hall.guests[0].until_s;
        poll_once(&hall, next_s);
    }
    while (hall.count > 0) send_away(&hall, 0);
    if (hall.missing == 0) return true;
    if (!stop_check(err)) return false;
    name_missing(gate, names);
    return error_set(err, EXIT_CODE_FAILED, "%s of %d did not come within %.0f s", names,
                     gate->size, patience_s);
}
