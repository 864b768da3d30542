/* Each rank calls all below it, and lets in those above it. In an exchange, one loop sends and
 * receives whatever the connections take and give, so that no two ranks wait for one another. */
#include "mesh.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "gate.h"
#include "micromet/base/thread.h"

/* Before the floats of each part. */
struct head {
    uint64_t exchange; /* their number, from 1 on */
    uint64_t count;
};

/* The parts that go one way between this rank and another, in their order. */
struct flow {
    const struct world_part *at, *end; /* `at`: the one under way; other ranks' are between them */
    struct head head;
    size_t done; /* bytes of head and floats */
};

struct mesh {
    int rank, size;
    int *sockets; /* by rank */
    uint64_t exchange;
    struct flow *sends, *receives; /* by rank */
    struct pollfd *polled;
};

/* --- opening ---------------------------------------------------------------------------------- */

void mesh_close(struct mesh *mesh)
{
    if (!mesh) return;
    for (int rank = 0; mesh->sockets && rank < mesh->size; rank++) link_close(&mesh->sockets[rank]);
    free(mesh->sockets);
    free(mesh->sends);
    free(mesh->receives);
    free(mesh->polled);
    free(mesh);
}

static struct mesh *mesh_new(const struct star *star)
{
    struct mesh *mesh = calloc(1, sizeof *mesh);
    if (!mesh) return NULL;
    const size_t size = (size_t)star->size;
    mesh->rank = star->rank;
    mesh->size = star->size;
    mesh->sockets = malloc(size * sizeof *mesh->sockets);
    mesh->sends = calloc(size, sizeof *mesh->sends);
    mesh->receives = calloc(size, sizeof *mesh->receives);
    mesh->polled = calloc(size, sizeof *mesh->polled);
    for (int rank = 0; mesh->sockets && rank < mesh->size; rank++) mesh->sockets[rank] = -1;
    if (mesh->sockets && mesh->sends && mesh->receives && mesh->polled) return mesh;
    mesh_close(mesh);
    return NULL;
}

static bool call(struct mesh *mesh, const struct star *star, int rank, const char *job,
                 double until_s, struct error *err)
{
    char why[256];
    const struct link_address address = star_address(star, rank);
    const struct hello hello = hello_of(star->rank, star->size, HELLO_MESH, star->port, job);
    return hello_say(&address, &hello, until_s, &mesh->sockets[rank], why) == HELLO_WELCOME ||
           error_set(err, EXIT_CODE_FAILED,
                     "no connection with rank %d on %s for the exchange by TCP: %s", rank,
                     star->seats[rank].host, why);
}

bool mesh_open(struct mesh **mesh, const struct star *star, const char *job, double patience_s,
               struct error *err)
{
    const double until_s = clock_seconds() + patience_s;
    *mesh = mesh_new(star);
    if (!*mesh) return error_set(err, EXIT_CODE_FAILED, "out of memory");
    const struct gate gate = {
        .listener = star->listener,
        .first = star->rank + 1,
        .size = star->size,
        .job = job,
        .doors = { { HELLO_MESH, (*mesh)->sockets } },
        .door_count = 1,
    };
    for (int rank = 0; rank < star->rank; rank++)
        if (!call(*mesh, star, rank, job, until_s, err)) return false;
    return gate_admit(&gate, patience_s, err);
}

/* --- exchange --------------------------------------------------------------------------------- */

/* From `at` on, the next part of this rank. */
static const struct world_part *find_part(const struct world_part *at, const struct world_part *end,
                                          int rank)
{
    while (at < end && at->rank != rank) at++;
    return at;
}

static void begin_part(const struct mesh *mesh, struct flow *flow, const struct world_part *from,
                       int rank)
{
    flow->at = find_part(from, flow->end, rank);
    flow->done = 0;
    if (flow->at < flow->end)
        flow->head = (struct head) { .exchange = mesh->exchange, .count = flow->at->count };
}

static void begin(const struct mesh *mesh, struct flow *flows, const struct world_part *parts,
                  int count)
{
    for (int rank = 0; rank < mesh->size; rank++) {
        flows[rank].end = parts + count;
        begin_part(mesh, &flows[rank], parts, rank);
    }
}

static bool is_busy(const struct flow *flow)
{
    return flow->at < flow->end;
}

static size_t part_bytes(const struct flow *flow)
{
    return sizeof flow->head + flow->at->count * sizeof(float);
}

/* What is left of the head and the floats. */
static struct msghdr rest_of(struct flow *flow, struct iovec pieces[2])
{
    const size_t head = flow->done < sizeof flow->head ? flow->done : sizeof flow->head,
                 floats = flow->done - head;
    pieces[0] = (struct iovec) { (char *)&flow->head + head, sizeof flow->head - head };
    pieces[1] = (struct iovec) { (char *)flow->at->memory + floats,
                                 flow->at->count * sizeof(float) - floats };
    return (struct msghdr) { .msg_iov = pieces, .msg_iovlen = 2 };
}

/* Whether the connection is fine; sends what it takes now. */
static bool send_some(const struct mesh *mesh, int rank)
{
    struct flow *flow = &mesh->sends[rank];
    while (is_busy(flow)) {
        struct iovec pieces[2];
        const struct msghdr rest = rest_of(flow, pieces);
        const ssize_t sent = sendmsg(mesh->sockets[rank], &rest, MSG_NOSIGNAL);
        if (sent < 0) return errno == EAGAIN || errno == EINTR;
        flow->done += (size_t)sent;
        if (flow->done == part_bytes(flow)) begin_part(mesh, flow, flow->at + 1, rank);
    }
    return true;
}

/* The head is read alone, as it may tell of other floats than these. */
static bool receive_some(const struct mesh *mesh, int rank)
{
    struct flow *flow = &mesh->receives[rank];
    while (is_busy(flow)) {
        struct head expected = { mesh->exchange, flow->at->count };
        const bool in_head = flow->done < sizeof flow->head;
        struct iovec pieces[2];
        const struct msghdr rest = rest_of(flow, pieces);
        const struct iovec *piece = &rest.msg_iov[in_head ? 0 : 1];
        const ssize_t got = recv(mesh->sockets[rank], piece->iov_base, piece->iov_len, 0);
        if (got < 0) return errno == EAGAIN || errno == EINTR;
        if (got == 0) {
            errno = ECONNRESET;
            return false;
        }
        flow->done += (size_t)got;
        if (flow->done == sizeof flow->head &&
            memcmp(&flow->head, &expected, sizeof expected) != 0) {
            errno = EPROTO;
            return false;
        }
        if (flow->done == part_bytes(flow)) begin_part(mesh, flow, flow->at + 1, rank);
    }
    return true;
}

/* Wait for the connections that have something to do; false if there is nothing to do. */
static bool wait_for_any(const struct mesh *mesh)
{
    bool busy = false;
    for (int rank = 0; rank < mesh->size; rank++) {
        const short events = (short)((is_busy(&mesh->sends[rank]) ? POLLOUT : 0) |
                                     (is_busy(&mesh->receives[rank]) ? POLLIN : 0));
        mesh->polled[rank] = (struct pollfd) { .fd = events ? mesh->sockets[rank] : -1,
                                               .events = events };
        busy = busy || events;
    }
    if (busy && poll(mesh->polled, (nfds_t)mesh->size, -1) < 0)
        for (int rank = 0; rank < mesh->size; rank++) mesh->polled[rank].revents = 0;
    return busy;
}

bool mesh_exchange(struct mesh *mesh, const struct world_part *sends, int send_count,
                   const struct world_part *receives, int receive_count, struct error *err)
{
    mesh->exchange++;
    begin(mesh, mesh->sends, sends, send_count);
    begin(mesh, mesh->receives, receives, receive_count);
    while (wait_for_any(mesh))
        for (int rank = 0; rank < mesh->size; rank++)
            if (mesh->polled[rank].revents && !(send_some(mesh, rank) && receive_some(mesh, rank)))
                return error_set(err, EXIT_CODE_FAILED, "exchange with rank %d: %s", rank,
                                 errno == EPROTO ? "it exchanges something else" : strerror(errno));
    return true;
}
