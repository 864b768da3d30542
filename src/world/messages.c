/* Small messages over the star. Each call has a number and says what it is, so that ranks that call
 * different things, or with different sizes, are found out rather than believed. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

enum call { CALL_GATHER = 1, CALL_BROADCAST, CALL_AGREE, CALL_ALL_OK, CALL_CLOSE };

static const char *const call_names[] = {
    [CALL_GATHER] = "world_gather", [CALL_BROADCAST] = "world_broadcast",
    [CALL_AGREE] = "world_agree",   [CALL_ALL_OK] = "world_all_ok",
    [CALL_CLOSE] = "world_close",
};

enum { TEXT_BYTES_MAX = 1 << 26 }; /* that ranks may compare */

struct head {
    uint32_t call, sequence;
    uint64_t bytes;
};

/* The watch knows why a connection has broken, and ends the process. */
static bool fail_lost(struct world *world, int rank, struct error *err)
{
    const int reason = errno;
    watch_judge(world->watch);
    return error_set(err, EXIT_CODE_FAILED, "the connection with rank %d on %s is lost: %s", rank,
                     world->star.seats[rank].host, strerror(reason));
}

static bool send_to(struct world *world, int rank, enum call call, const void *memory, size_t bytes,
                    struct error *err)
{
    const int socket = world->star.messages[rank];
    const struct head head = { call, world->sequence, bytes };
    return (link_send(socket, &head, sizeof head, INFINITY) &&
            link_send(socket, memory, bytes, INFINITY)) ||
           fail_lost(world, rank, err);
}

static bool fail_mismatch(const struct world *world, int rank, const struct head *theirs,
                          const struct head *ours, struct error *err)
{
    const bool known = theirs->call > 0 && theirs->call < sizeof call_names / sizeof *call_names;
    return error_set(err, EXIT_CODE_FAILED,
                     "the ranks do not do the same: rank %d on %s is at %s (message %u, %llu "
                     "bytes), rank %d at %s (message %u, %llu bytes)",
                     rank, world->star.seats[rank].host,
                     known ? call_names[theirs->call] : "something else", theirs->sequence,
                     (unsigned long long)theirs->bytes, world->star.rank, call_names[ours->call],
                     ours->sequence, (unsigned long long)ours->bytes);
}

static bool receive_from(struct world *world, int rank, enum call call, void *memory, size_t bytes,
                         struct error *err)
{
    const int socket = world->star.messages[rank];
    const struct head expected = { call, world->sequence, bytes };
    struct head head;
    if (!link_receive(socket, &head, sizeof head, INFINITY)) return fail_lost(world, rank, err);
    if (memcmp(&head, &expected, sizeof head) != 0)
        return fail_mismatch(world, rank, &head, &expected, err);
    return link_receive(socket, memory, bytes, INFINITY) || fail_lost(world, rank, err);
}

/* To the hub, in the order of ranks; `all` is NULL on others. */
static bool collect(struct world *world, enum call call, const void *mine, size_t bytes, char *all,
                    struct error *err)
{
    world->sequence++;
    if (world->star.rank > 0) return send_to(world, 0, call, mine, bytes, err);
    CHECK(all);
    memcpy(all, mine, bytes);
    for (int rank = 1; rank < world->star.size; rank++)
        if (!receive_from(world, rank, call, all + (size_t)rank * bytes, bytes, err)) return false;
    return true;
}

/* From the hub. */
static bool spread(struct world *world, enum call call, void *memory, size_t bytes,
                   struct error *err)
{
    world->sequence++;
    if (world->star.rank > 0) return receive_from(world, 0, call, memory, bytes, err);
    for (int rank = 1; rank < world->star.size; rank++)
        if (!send_to(world, rank, call, memory, bytes, err)) return false;
    return true;
}

/* Remember that the world is not in order any more; see world_close(). */
static bool note(struct world *world, bool ok)
{
    if (!ok) world->failed = true;
    return ok;
}

bool world_gather(struct world *world, const void *mine, size_t bytes, void *all, struct error *err)
{
    if (is_alone(world)) {
        memcpy(all, mine, bytes);
        return true;
    }
    return note(world, collect(world, CALL_GATHER, mine, bytes, all, err) &&
                           spread(world, CALL_GATHER, all, (size_t)world->star.size * bytes, err));
}

bool world_broadcast(struct world *world, void *memory, size_t bytes, struct error *err)
{
    return is_alone(world) || note(world, spread(world, CALL_BROADCAST, memory, bytes, err));
}

bool messages_close(struct world *world, struct error *err)
{
    char nothing = 0, *all = calloc((size_t)world->star.size, 1);
    if (!all) return error_set(err, EXIT_CODE_FAILED, "out of memory");
    const bool ok = collect(world, CALL_CLOSE, &nothing, sizeof nothing, all, err) &&
                    spread(world, CALL_CLOSE, &nothing, sizeof nothing, err);
    free(all);
    return ok;
}

/* --- errors that all ranks have --------------------------------------------------------------- */

/* The hub: the first rank's that has one, else none. */
static struct error first_error(const struct error *errors, int count)
{
    for (int rank = 0; rank < count; rank++)
        if (errors[rank].code != EXIT_CODE_OK) return errors[rank];
    return (struct error) { 0 };
}

/* All ranks. *shared is this rank's error, and then the first one of all, everywhere. */
static bool share_first(struct world *world, enum call call, struct error *shared,
                        struct error *err)
{
    struct error *all = NULL;
    if (world->star.rank == 0 && !(all = calloc((size_t)world->star.size, sizeof *all)))
        return error_set(err, EXIT_CODE_FAILED, "out of memory");
    const bool collected = collect(world, call, shared, sizeof *shared, (char *)all, err);
    if (collected && all) *shared = first_error(all, world->star.size);
    free(all);
    return collected && spread(world, call, shared, sizeof *shared, err);
}

/* The outcome of a call in which *mine is this rank's error. */
static bool conclude(struct world *world, enum call call, const struct error *mine,
                     struct error *err)
{
    struct error shared = *mine, lost = { 0 };
    const bool told = share_first(world, call, &shared, &lost);
    if (told && shared.code == EXIT_CODE_OK) return true;
    if (told)
        world->agreed = shared;
    else
        shared = lost;
    *err = shared; /* the same on all ranks, whatever was there */
    return false;
}

bool world_all_ok(struct world *world, bool ok, struct error *err)
{
    CHECK(ok || err->code != EXIT_CODE_OK);
    if (is_alone(world)) return ok;
    struct error mine = ok ? (struct error) { 0 } : *err;
    const bool told = !ok && strcmp(err->message, world->agreed.message) == 0;
    if (!told) /* else it names its rank already */
        error_prefix(&mine, "rank %d on %s", world->star.rank,
                     world->star.seats[world->star.rank].host);
    return note(world, conclude(world, CALL_ALL_OK, &mine, err));
}

/* Long texts are shown from a little before the place where they differ. */
static void say_difference(const struct world *world, const char *what, const char *mine,
                           const char *first, struct error *err)
{
    enum { BEFORE = 40, SHOWN = 300 };
    size_t same = 0;
    while (mine[same] && mine[same] == first[same]) same++;
    const size_t from = same > BEFORE && strlen(mine) + strlen(first) > SHOWN ? same - BEFORE : 0;
    const char *dots = from ? "..." : "";
    error_set(err, EXIT_CODE_USAGE,
              "rank %d on %s has another %s: %s%.300s; rank 0 on %s: %s%.300s", world->star.rank,
              world->star.seats[world->star.rank].host, what, dots, mine + from,
              world->star.seats[0].host, dots, first + from);
}

bool world_agree(struct world *world, const char *what, const char *text, struct error *err)
{
    if (is_alone(world)) return true;
    uint64_t bytes = strlen(text) + 1;
    struct error mine = { 0 };
    if (!note(world, spread(world, CALL_AGREE, &bytes, sizeof bytes, err))) return false;
    char *first = bytes > 0 && bytes <= TEXT_BYTES_MAX ? malloc(bytes) : NULL;
    if (!first)
        return note(world, error_set(err, EXIT_CODE_FAILED, "%s: %llu bytes are too many", what,
                                     (unsigned long long)bytes));
    memcpy(first, text, world->star.rank == 0 ? bytes : 0);
    bool ok = spread(world, CALL_AGREE, first, bytes, err);
    first[bytes - 1] = '\0';
    if (ok && strcmp(text, first) != 0) say_difference(world, what, text, first, &mine);
    ok = ok && conclude(world, CALL_AGREE, &mine, err);
    free(first);
    return note(world, ok);
}
