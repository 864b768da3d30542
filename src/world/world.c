/* Opening and closing a world. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "micromet/base/log.h"
#include "micromet/base/thread.h"
#include "state.h"

/* --- what a world knows ----------------------------------------------------------------------- */

int world_rank(const struct world *world)
{
    return world ? world->launch.rank : 0;
}

int world_size(const struct world *world)
{
    return world ? world->launch.size : 1;
}

int world_local_rank(const struct world *world)
{
    return world ? world->local_rank : 0;
}

int world_local_size(const struct world *world)
{
    return world ? world->local_size : 1;
}

const char *world_description(const struct world *world)
{
    return world ? world->description : "1 rank";
}

static bool same_host(const struct world *world, int a, int b)
{
    return strcmp(world->star.seats[a].host, world->star.seats[b].host) == 0;
}

/* What the launcher does not say of the ranks of this host, their names do. */
static void count_local(struct world *world)
{
    int before = 0, all = 0;
    for (int rank = 0; rank < world->star.size; rank++) {
        if (!same_host(world, rank, world->star.rank)) continue;
        before += rank < world->star.rank;
        all++;
    }
    world->local_rank = world->launch.local_rank >= 0 ? world->launch.local_rank : before;
    world->local_size = world->launch.local_size > 0 ? world->launch.local_size : all;
}

static int count_hosts(const struct world *world)
{
    int hosts = 0;
    for (int rank = 0; rank < world->star.size; rank++) {
        int first = 0;
        while (!same_host(world, first, rank)) first++;
        hosts += first == rank;
    }
    return hosts;
}

static void describe(struct world *world)
{
    const int hosts = world->star.size ? count_hosts(world) : 1, size = world->launch.size;
    snprintf(world->description, sizeof world->description,
             size == 1 ? "%d rank on %d host%s, started by %s"
                       : "%d ranks on %d host%s, started by %s, exchange by %s%.80s%s",
             size, hosts, hosts == 1 ? "" : "s",
             world->launch.launcher ? world->launch.launcher : "nobody",
             world->mesh ? "TCP" : "MPI (", world->mesh || !world->mpi ? "" : world->mpi->version(),
             world->mesh ? "" : ")");
}

/* --- opening ---------------------------------------------------------------------------------- */

/* Seconds from the environment. */
static bool read_seconds(const char *name, double fallback, double *seconds, struct error *err)
{
    const char *text = getenv(name);
    char *end = NULL;
    *seconds = text ? strtod(text, &end) : fallback;
    return !text || (end != text && !*end && *seconds >= 1 && *seconds <= 86400) ||
           error_set(err, EXIT_CODE_USAGE, "%s=%.40s is no number of seconds from 1 to 86400", name,
                     text);
}

/* MICROMET_EXCHANGE=tcp goes without MPI, unless that is needed to find rank 0. */
static bool read_exchange(bool *tcp, struct error *err)
{
    const char *text = getenv("MICROMET_EXCHANGE");
    *tcp = text && strcmp(text, "tcp") == 0;
    return !text || *tcp || strcmp(text, "mpi") == 0 ||
           error_set(err, EXIT_CODE_USAGE, "MICROMET_EXCHANGE=%.40s is neither mpi nor tcp", text);
}

static bool init_mpi(struct world *world, const struct mpi_ops *mpi, struct error *err)
{
    int rank, size;
    if (!mpi->init(&rank, &size, err)) return false;
    world->mpi = mpi;
    return (rank == world->launch.rank && size == world->launch.size) ||
           error_set(err, EXIT_CODE_USAGE,
                     "%s says that this is rank %d of %d, %s that it is rank %d of %d: start with "
                     "srun --mpi=pmix, or choose MICROMET_EXCHANGE=tcp",
                     world->launch.launcher, world->launch.rank, world->launch.size, mpi->version(),
                     rank, size);
}

/* Rank 0, where only MPI can tell the others where it is: a name for the job that no other has. */
static void name_hub(const struct world *world, struct star_hub *hub)
{
    uint64_t number[2] = { 0 };
    char host[HELLO_HOST_BYTES];
    hello_name_host(host);
    snprintf(hub->host, sizeof hub->host, "%s", host);
    hub->port = world->star.port;
    hub->address_count = link_own_addresses(hub->addresses, STAR_ADDRESSES_MAX);
    if (getrandom(number, sizeof number, 0) < 0) number[0] = (uint64_t)(clock_seconds() * 1e9);
    snprintf(hub->job, sizeof hub->job, "mpirun %016llx%016llx", (unsigned long long)number[0],
             (unsigned long long)number[1]);
}

static bool find_hub(struct world *world, struct star_hub *hub, struct error *err)
{
    const struct launch *launch = &world->launch;
    *hub = (struct star_hub) { .port = launch->port };
    snprintf(hub->host, sizeof hub->host, "%s", launch->address);
    snprintf(hub->job, sizeof hub->job, "%s", launch->job);
    if (launch->address[0]) return true;
    if (launch->rank == 0) name_hub(world, hub);
    return world->mpi->broadcast(hub, sizeof *hub, err);
}

/* The star, and the watch over it. Where mpirun does not say where rank 0 is, MPI comes first. */
static bool open_star(struct world *world, struct star_hub *hub, double join_s, struct error *err)
{
    const struct launch *launch = &world->launch;
    double silence_s;
    if (!read_seconds("MICROMET_WORLD_SILENCE_S", 20, &silence_s, err)) return false;
    if (!launch->address[0]) {
        const struct mpi_ops *mpi = mpi_load(err);
        if (!mpi || !init_mpi(world, mpi, err)) return false;
    }
    return star_listen(&world->star, launch->rank, launch->size,
                       launch->rank == 0 ? launch->port : 0, err) &&
           find_hub(world, hub, err) && star_join(&world->star, hub, join_s, err) &&
           watch_start(&world->watch, &world->star, silence_s, err);
}

/* MPI, if the launcher speaks with it and each rank has the library. */
static bool open_mpi(struct world *world, struct error *err)
{
    struct error why_not = { 0 };
    const struct mpi_ops *mpi = mpi_load(&why_not);
    const char mine = mpi != NULL;
    char *all = calloc((size_t)world->launch.size, 1);
    if (!all) return error_set(err, EXIT_CODE_FAILED, "out of memory");
    bool ok = world_gather(world, &mine, 1, all, err);
    const bool everywhere = ok && mpi && !memchr(all, 0, (size_t)world->launch.size);
    free(all);
    if (!ok) return false;
    if (everywhere) {
        ok = init_mpi(world, mpi, err);
        return world_all_ok(world, ok, err);
    }
    if (world->launch.rank == 0)
        log_info("the exchange goes by TCP: %s", mpi ? "another rank has no MPI" : why_not.message);
    return true;
}

static bool connect_all(struct world *world, struct error *err)
{
    struct star_hub hub;
    double join_s;
    bool tcp;
    if (!read_seconds("MICROMET_WORLD_JOIN_S", 60, &join_s, err) || !read_exchange(&tcp, err) ||
        !open_star(world, &hub, join_s, err))
        return false;
    if (!tcp && !world->mpi && world->launch.mpi && !open_mpi(world, err)) return false;
    if (tcp || !world->mpi) {
        const bool opened = mesh_open(&world->mesh, &world->star, hub.job, join_s, err);
        if (!world_all_ok(world, opened, err)) return false;
    }
    /* Other ranks' stay open, for the watch; the hub's port is free for another job now. */
    if (world->launch.rank == 0) link_close(&world->star.listener);
    return true;
}

bool world_open(struct world **world, struct error *err)
{
    struct world *made = calloc(1, sizeof *made);
    *world = NULL;
    if (!made) return error_set(err, EXIT_CODE_FAILED, "out of memory");
    if (!launch_read(&made->launch, err) || (made->launch.size > 1 && !connect_all(made, err))) {
        made->failed = true;
        world_close(made);
        return false;
    }
    if (made->launch.size > 1)
        count_local(made);
    else
        made->local_size = 1;
    describe(made);
    *world = made;
    return true;
}

/* --- closing ---------------------------------------------------------------------------------- */

void world_close(struct world *world)
{
    struct error err = { 0 };
    if (!world) return;
    if (world->watch && !world->failed) { /* which watches over the others meanwhile */
        if (!messages_close(world, &err)) world_fail(world, &err);
        if (world->mpi) world->mpi->finalize();
    }
    watch_stop(world->watch);
    mesh_close(world->mesh);
    star_close(&world->star);
    free(world);
}

void world_fail(struct world *world, const struct error *reason)
{
    CHECK(reason->code != EXIT_CODE_OK);
    if (!world || !world->watch) return;
    watch_fail(world->watch, reason, strcmp(reason->message, world->agreed.message) == 0);
}

void world_end_on_stop(struct world *world)
{
    if (world && world->watch) watch_end_on_stop(world->watch);
}

void world_on_failure(struct world *world, void (*callback)(void *context), void *context)
{
    if (world && world->watch) watch_on_failure(world->watch, callback, context);
}

/* --- exchange --------------------------------------------------------------------------------- */

bool world_exchange(struct world *world, const struct world_part *sends, int send_count,
                    const struct world_part *receives, int receive_count, struct error *err)
{
    const int size = world_size(world), rank = world_rank(world);
    for (int i = 0; i < send_count; i++)
        CHECK(sends[i].rank >= 0 && sends[i].rank < size && sends[i].rank != rank);
    for (int i = 0; i < receive_count; i++)
        CHECK(receives[i].rank >= 0 && receives[i].rank < size && receives[i].rank != rank);
    if (size == 1) return true;
    if (world->mesh ? mesh_exchange(world->mesh, sends, send_count, receives, receive_count, err)
                    : world->mpi->exchange(sends, send_count, receives, receive_count, err))
        return true;
    watch_judge(world->watch); /* which ends the process if a rank is lost */
    world->failed = true;
    return false;
}
