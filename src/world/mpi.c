/* libmicromet_mpi.so: what the program asks of Open MPI. All errors come back as messages. */
#include <limits.h>
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "micromet/base/thread.h"
#include "mpi_library.h"

static bool fail(const char *what, int failure, struct error *err)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    MPI_Error_string(failure, text, &length);
    return error_set(err, EXIT_CODE_FAILED, "MPI cannot %s: %s", what, text);
}

static bool init(int *rank, int *size, struct error *err)
{
    int provided, failure = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided);
    if (failure) return fail("be initialised", failure, err);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, rank);
    MPI_Comm_size(MPI_COMM_WORLD, size);
    return provided >= MPI_THREAD_SERIALIZED ||
           error_set(err, EXIT_CODE_USAGE, "this MPI serves one thread only");
}

/* "Open MPI v4.1.4, package: ..." */
static const char *version(void)
{
    static char text[64];
    char all[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length;
    MPI_Get_library_version(all, &length);
    const int name = (int)strcspn(all, ",\n");
    char *number = memmem(all, (size_t)name, " v", 2);
    if (number)
        snprintf(text, sizeof text, "%.*s %.*s", (int)(number - all), all,
                 name - (int)(number - all) - 2, number + 2);
    else
        snprintf(text, sizeof text, "%.*s", name, all);
    return text;
}

/* --- transfers -------------------------------------------------------------------------------- */

struct transfers {
    MPI_Request *requests;
    MPI_Status *statuses;
    int *counts; /* of floats; -1 = they are sent */
    int count;
};

static void release(struct transfers *transfers)
{
    free(transfers->requests);
    free(transfers->statuses);
    free(transfers->counts);
}

static bool reserve(struct transfers *transfers, size_t count, struct error *err)
{
    transfers->requests = calloc(count + 1, sizeof *transfers->requests);
    transfers->statuses = calloc(count + 1, sizeof *transfers->statuses);
    transfers->counts = calloc(count + 1, sizeof *transfers->counts);
    if (count <= INT_MAX && transfers->requests && transfers->statuses && transfers->counts)
        return true;
    release(transfers);
    *transfers = (struct transfers) { 0 };
    return error_set(err, EXIT_CODE_FAILED, "out of memory");
}

/* MPI's own waiting would take a processor from those who compute. */
static bool wait_for_all(struct transfers *transfers, struct error *err)
{
    static const double busy_s = 1e-4;
    const double start_s = clock_seconds();
    for (int done = 0;;) {
        const int failure = MPI_Testall(transfers->count, transfers->requests, &done,
                                        transfers->statuses);
        if (failure) return fail("exchange", failure, err);
        if (done) return true;
        if (clock_seconds() - start_s < busy_s)
            sched_yield();
        else
            nanosleep(&(struct timespec) { .tv_nsec = 20000 }, NULL);
    }
}

/* --- exchange --------------------------------------------------------------------------------- */

/* MPI counts in int. */
static size_t pieces_of(const struct world_part *parts, int count)
{
    size_t pieces = 0;
    for (int i = 0; i < count; i++) pieces += parts[i].count / INT_MAX + 1;
    return pieces;
}

static bool begin(struct transfers *transfers, const struct world_part *part, bool sends,
                  struct error *err)
{
    for (size_t from = 0; from <= part->count; from += INT_MAX) {
        const size_t left = part->count - from;
        const int floats = left < INT_MAX ? (int)left : INT_MAX, at = transfers->count;
        float *const memory = part->memory + from;
        MPI_Request *request = &transfers->requests[at];
        const int failure =
            sends ? MPI_Isend(memory, floats, MPI_FLOAT, part->rank, 0, MPI_COMM_WORLD, request)
                  : MPI_Irecv(memory, floats, MPI_FLOAT, part->rank, 0, MPI_COMM_WORLD, request);
        if (failure) return fail(sends ? "send" : "receive", failure, err);
        transfers->counts[at] = sends ? -1 : floats;
        transfers->count++;
    }
    return true;
}

static bool check_counts(const struct transfers *transfers, struct error *err)
{
    for (int i = 0; i < transfers->count; i++) {
        int floats;
        if (transfers->counts[i] < 0) continue;
        MPI_Get_count(&transfers->statuses[i], MPI_FLOAT, &floats);
        if (floats != transfers->counts[i])
            return error_set(err, EXIT_CODE_FAILED,
                             "rank %d exchanges something else: %d floats, not %d",
                             transfers->statuses[i].MPI_SOURCE, floats, transfers->counts[i]);
    }
    return true;
}

static bool exchange(const struct world_part *sends, int send_count,
                     const struct world_part *receives, int receive_count, struct error *err)
{
    const size_t pieces = pieces_of(sends, send_count) + pieces_of(receives, receive_count);
    struct transfers transfers = { 0 };
    bool ok = reserve(&transfers, pieces, err);
    for (int i = 0; ok && i < receive_count; i++) ok = begin(&transfers, &receives[i], false, err);
    for (int i = 0; ok && i < send_count; i++) ok = begin(&transfers, &sends[i], true, err);
    ok = ok && wait_for_all(&transfers, err) && check_counts(&transfers, err);
    release(&transfers);
    return ok;
}

/* Behind it, all have received: MPI works only within calls, and what would be left to do then,
 * such as to connect with a rank, would be left for long. */
static bool broadcast(void *memory, size_t bytes, struct error *err)
{
    int rank, size, failure = MPI_SUCCESS;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    struct transfers transfers = { 0 };
    if (!reserve(&transfers, (size_t)size, err)) return false;
    if (rank > 0)
        failure = MPI_Irecv(memory, (int)bytes, MPI_BYTE, 0, 0, MPI_COMM_WORLD,
                            &transfers.requests[transfers.count++]);
    for (int other = 1; rank == 0 && other < size && !failure; other++)
        failure = MPI_Issend(memory, (int)bytes, MPI_BYTE, other, 0, MPI_COMM_WORLD,
                             &transfers.requests[transfers.count++]);
    const bool ok = failure ? fail("broadcast", failure, err) : wait_for_all(&transfers, err);
    release(&transfers);
    return ok;
}

/* --- all of it -------------------------------------------------------------------------------- */

static void finalize(void)
{
    MPI_Finalize();
}

__attribute__((visibility("default"))) extern const struct mpi_ops micromet_mpi;
const struct mpi_ops micromet_mpi = {
    .micromet_version = MICROMET_VERSION " " MICROMET_GIT,
    .init = init,
    .version = version,
    .broadcast = broadcast,
    .exchange = exchange,
    .finalize = finalize,
};
