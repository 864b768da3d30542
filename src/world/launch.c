/* Ranks from the environment: a row for each launcher, and the first whose rank is set counts.
 *
 * A launcher may have been started by another one, as mpirun's and torchrun's processes are by srun
 * on other hosts of a Slurm job. The inner one knows the world; of the outer one, Slurm's step, the
 * number of tasks must fit it: what was meant as one world of four ranks, and became four worlds of
 * one, would train the same model four times. */
#include "launch.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/world/world.h"

struct launcher {
    const char *name;
    /* Variables, NULL where there is none. */
    const char *rank, *size, *local_rank, *local_size;
    const char *only_with; /* without this one, the launcher has not started this process */
    const char *job[3];    /* what tells jobs from one another */
};

static const struct launcher torchrun = {
    "torchrun",         "RANK",
    "WORLD_SIZE",       "LOCAL_RANK",
    "LOCAL_WORLD_SIZE", .job = { "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT" }
};
static const struct launcher mpirun = { "mpirun",
                                        "OMPI_COMM_WORLD_RANK",
                                        "OMPI_COMM_WORLD_SIZE",
                                        "OMPI_COMM_WORLD_LOCAL_RANK",
                                        "OMPI_COMM_WORLD_LOCAL_SIZE",
                                        .only_with = NULL };
/* MPICH's and Intel's mpiexec, and srun --mpi=pmi2. */
static const struct launcher pmi = {
    "PMI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", .job = { "PMI_JOBID" }
};
static const struct launcher srun = { "srun",
                                      "SLURM_PROCID",
                                      "SLURM_STEP_NUM_TASKS",
                                      "SLURM_LOCALID",
                                      NULL,
                                      "SLURM_STEP_ID",
                                      .job = { "SLURM_JOB_ID", "SLURM_STEP_ID",
                                               "SLURM_RESTART_COUNT" } };

static const struct launcher *const launchers[] = { &torchrun, &mpirun, &pmi, &srun };

static const struct launcher *find_launcher(void)
{
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++)
        if (getenv(launchers[i]->rank) &&
            (!launchers[i]->only_with || getenv(launchers[i]->only_with)))
            return launchers[i];
    return NULL;
}

static bool read_number(const char *name, long min, long max, int *number, struct error *err)
{
    const char *text = getenv(name);
    if (!text) return error_set(err, EXIT_CODE_USAGE, "%s is not set", name);
    const size_t digits = strspn(text, "0123456789");
    const long value = digits > 0 && digits <= 9 && !text[digits] ? atol(text) : -1;
    if (value < min || value > max)
        return error_set(err, EXIT_CODE_USAGE, "%s=%.40s is no number from %ld to %ld", name, text,
                         min, max);
    *number = (int)value;
    return true;
}

/* -1 where the variable is not there. */
static bool read_optional(const char *name, long min, long max, int *number, struct error *err)
{
    *number = -1;
    return !name || !getenv(name) || read_number(name, min, max, number, err);
}

static bool read_ranks(const struct launcher *by, struct launch *launch, struct error *err)
{
    return read_number(by->size, 1, WORLD_RANKS_MAX, &launch->size, err) &&
           read_number(by->rank, 0, launch->size - 1, &launch->rank, err) &&
           read_optional(by->local_size, 1, launch->size, &launch->local_size, err) &&
           read_optional(by->local_rank, 0,
                         (launch->local_size > 0 ? launch->local_size : launch->size) - 1,
                         &launch->local_rank, err);
}

/* --- Slurm's step ----------------------------------------------------------------------------- */

/* The tasks of the step; -1 outside of steps, as in a batch script, whose SLURM_NTASKS says nothing
 * of this process. */
static bool read_step_tasks(int *tasks, struct error *err)
{
    *tasks = -1;
    return !getenv("SLURM_STEP_ID") ||
           read_optional("SLURM_STEP_NUM_TASKS", 1, 100000000, tasks, err);
}

/* A task of torchrun's starts a rank or several; mpirun has a task on each host but perhaps its
 * own, and starts at least a rank on each. */
static bool fits_step(const struct launcher *by, const struct launch *launch, int tasks)
{
    if (by == &torchrun)
        return launch->size == tasks || (int64_t)tasks * launch->local_size == launch->size;
    return launch->size >= tasks;
}

static bool check_step(const struct launcher *by, const struct launch *launch, struct error *err)
{
    int tasks;
    if (!read_step_tasks(&tasks, err)) return false;
    if (tasks < 0 || fits_step(by, launch, tasks)) return true;
    return error_set(err, EXIT_CODE_USAGE,
                     "a world of %d (%s) in a Slurm step of %d tasks (SLURM_STEP_NUM_TASKS): start "
                     "the ranks with srun, or with one %s that srun does not start %d times",
                     launch->size, by->size, tasks, by->name, tasks);
}

/* --- where rank 0 is -------------------------------------------------------------------------- */

bool launch_first_host(const char *list, char host[LAUNCH_HOST_BYTES])
{
    size_t length = 0;
    bool within = false, skipping = false; /* within brackets; behind their first number */
    for (const char *at = list; *at && (within || *at != ','); at++) {
        if (*at == '[' || *at == ']') {
            within = *at == '[';
            skipping = false;
        } else if (within && (*at == '-' || *at == ',')) {
            skipping = true;
        } else if (!skipping) {
            if (length + 1 >= LAUNCH_HOST_BYTES) return false;
            host[length++] = *at;
        }
    }
    host[length] = '\0';
    return length > 0 && !within;
}

/* Ports below those that systems give to outgoing connections (32768 at least on Linux). */
static int port_of_step(int job, int step)
{
    enum { FIRST = 15000, COUNT = 16000 };
    return FIRST + (int)(((int64_t)job * 37 + step) % COUNT);
}

static bool read_step_address(struct launch *launch, struct error *err)
{
    int job, step;
    const char *list = getenv("SLURM_STEP_NODELIST");
    if (!read_number("SLURM_JOB_ID", 0, 999999999, &job, err) ||
        !read_number("SLURM_STEP_ID", 0, 999999999, &step, err))
        return false;
    if (!launch->port) launch->port = port_of_step(job, step);
    return launch->address[0] || (list && launch_first_host(list, launch->address)) ||
           error_set(err, EXIT_CODE_USAGE,
                     "SLURM_STEP_NODELIST=%.80s names no host: set MASTER_ADDR to that of rank 0",
                     list ? list : "");
}

static bool read_master(struct launch *launch, struct error *err)
{
    const char *address = getenv("MASTER_ADDR");
    int port;
    if (!read_optional("MASTER_PORT", 1, 65535, &port, err)) return false;
    launch->port = port > 0 ? port : 0;
    if (!address) return true;
    if (!address[0] || strlen(address) >= LAUNCH_HOST_BYTES)
        return error_set(err, EXIT_CODE_USAGE, "MASTER_ADDR=%.80s is no host", address);
    memcpy(launch->address, address, strlen(address) + 1);
    return true;
}

/* torchrun itself listens on MASTER_PORT, for its own store. */
static bool is_port_of_torchrun(void)
{
    const char *store = getenv("TORCHELASTIC_USE_AGENT_STORE");
    return store && strcmp(store, "True") == 0;
}

static bool read_address(const struct launcher *by, struct launch *launch, struct error *err)
{
    int tasks;
    if (!read_master(launch, err) || !read_step_tasks(&tasks, err)) return false;
    if (by == &srun || (by == &pmi && tasks == launch->size)) return read_step_address(launch, err);
    if (launch->address[0] && launch->port) {
        if (by == &torchrun && is_port_of_torchrun()) launch->port += launch->port < 65535 ? 1 : -1;
        return true;
    }
    launch->address[0] = '\0';
    launch->port = 0;
    return launch->mpi ||
           error_set(err, EXIT_CODE_USAGE,
                     "%s says that this is rank %d of %d, but not where rank 0 is: set MASTER_ADDR "
                     "and MASTER_PORT",
                     by->name, launch->rank, launch->size);
}

/* --- all of it -------------------------------------------------------------------------------- */

static bool is_number(const char *name, int number)
{
    int found = -1;
    struct error ignored = { 0 };
    return getenv(name) && read_number(name, 0, 999999999, &found, &ignored) && found == number;
}

static bool speaks_mpi(const struct launcher *by, const struct launch *launch)
{
    if (by == &srun) return getenv("PMIX_NAMESPACE") != NULL;
    return is_number(mpirun.rank, launch->rank) && is_number(mpirun.size, launch->size);
}

static void name_job(const struct launcher *by, char job[LAUNCH_JOB_BYTES])
{
    snprintf(job, LAUNCH_JOB_BYTES, "%s", by->name);
    for (int i = 0; i < 3 && by->job[i]; i++) {
        const char *value = getenv(by->job[i]);
        const size_t length = strlen(job);
        if (value) snprintf(job + length, LAUNCH_JOB_BYTES - length, " %s", value);
    }
}

bool launch_read(struct launch *launch, struct error *err)
{
    *launch = (struct launch) { .size = 1, .local_rank = 0, .local_size = 1 };
    const struct launcher *by = find_launcher();
    if (!by) return true;
    launch->launcher = by->name;
    if (!read_ranks(by, launch, err) || !check_step(by, launch, err)) return false;
    launch->mpi = speaks_mpi(by, launch);
    name_job(by, launch->job);
    return launch->size == 1 || read_address(by, launch, err);
}
