/* What the environments of launchers say, a row for each, and what makes no sense in them. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "world/launch.h"

/* Nothing of the launcher that has started this test. */
static void clear(void)
{
    static const char *const families[] = { "SLURM",     "OMPI_",     "PMIX_",        "PMI_",
                                            "MPI_LOCAL", "MASTER_",   "TORCHELASTIC", "RANK=",
                                            "LOCAL_",    "WORLD_SIZE" };
    for (char **at = environ; *at;) {
        bool found = false;
        for (size_t i = 0; i < sizeof families / sizeof *families; i++)
            found = found || strncmp(*at, families[i], strlen(families[i])) == 0;
        if (!found) {
            at++;
            continue;
        }
        char name[256];
        cr_assert_lt(snprintf(name, sizeof name, "%.*s", (int)strcspn(*at, "="), *at), 256);
        unsetenv(name);
    }
}

/* "A=1 B=2" */
static void set(const char *variables)
{
    char *copy = strdup(variables), *rest = copy;
    clear();
    for (char *word; (word = strsep(&rest, " "));) {
        char *value = strchr(word, '=');
        if (!value) continue;
        *value++ = '\0';
        setenv(word, value, 1);
    }
    free(copy);
}

static const struct {
    const char *variables, *launcher;
    int rank, size, local_rank, local_size;
    const char *address;
    int port;
    const char *job;
    bool mpi;
} right[] = {
    { "", NULL, 0, 1, 0, 1, "", 0, "", false },
    /* In a batch script: tasks that nobody has started. */
    { "SLURM_JOB_ID=7 SLURM_NTASKS=2 SLURM_PROCID=0 SLURM_LOCALID=0", NULL, 0, 1, 0, 1, "", 0, "",
      false },
    /* A variable that many scripts use. */
    { "WORLD_SIZE=4", NULL, 0, 1, 0, 1, "", 0, "", false },
    /* torchrun, whose own store is at MASTER_PORT; PyTorchJob, which sets less. */
    { "RANK=5 WORLD_SIZE=8 LOCAL_RANK=1 LOCAL_WORLD_SIZE=4 MASTER_ADDR=node1 MASTER_PORT=29500 "
      "TORCHELASTIC_USE_AGENT_STORE=True TORCHELASTIC_RUN_ID=x TORCHELASTIC_RESTART_COUNT=1",
      "torchrun", 5, 8, 1, 4, "node1", 29501, "torchrun x 1", false },
    { "RANK=1 WORLD_SIZE=2 MASTER_ADDR=job-master-0 MASTER_PORT=23456", "torchrun", 1, 2, -1, -1,
      "job-master-0", 23456, "torchrun", false },
    { "RANK=0 WORLD_SIZE=1", "torchrun", 0, 1, -1, -1, "", 0, "torchrun", false },
    /* torchrun as a task of srun on each of 2 nodes; a script that passes on srun's numbers. */
    { "RANK=5 WORLD_SIZE=8 LOCAL_RANK=1 LOCAL_WORLD_SIZE=4 MASTER_ADDR=n1 MASTER_PORT=29500 "
      "SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=1",
      "torchrun", 5, 8, 1, 4, "n1", 29500, "torchrun", false },
    { "RANK=1 WORLD_SIZE=2 MASTER_ADDR=n1 MASTER_PORT=29500 SLURM_STEP_ID=0 "
      "SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=1",
      "torchrun", 1, 2, -1, -1, "n1", 29500, "torchrun", false },
    /* mpirun; within a batch script; on another node of a job, below the step of its daemons; and
     * with a script that passes its numbers on to PyTorch. */
    { "OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_RANK=1 "
      "OMPI_COMM_WORLD_LOCAL_SIZE=2",
      "mpirun", 3, 4, 1, 2, "", 0, "mpirun", true },
    { "OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=4 SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_PROCID=0",
      "mpirun", 0, 4, -1, -1, "", 0, "mpirun", true },
    { "OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_SIZE=4 SLURM_JOB_ID=7 SLURM_STEP_ID=0 "
      "SLURM_STEP_NUM_TASKS=1 SLURM_PROCID=0",
      "mpirun", 3, 4, -1, -1, "", 0, "mpirun", true },
    { "OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_SIZE=4 RANK=3 WORLD_SIZE=4 MASTER_ADDR=a "
      "MASTER_PORT=1",
      "torchrun", 3, 4, -1, -1, "a", 1, "torchrun", true },
    { "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 MASTER_ADDR=::1 MASTER_PORT=65535", "mpirun",
      1, 2, -1, -1, "::1", 65535, "mpirun", true },
    /* mpirun that starts a torchrun each. */
    { "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 RANK=5 WORLD_SIZE=8 MASTER_ADDR=a "
      "MASTER_PORT=9",
      "torchrun", 5, 8, -1, -1, "a", 9, "torchrun", false },
    /* srun: port 15000 + (37 job + step) mod 16000. */
    { "SLURM_JOB_ID=4711 SLURM_STEP_ID=2 SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=2 SLURM_LOCALID=0 "
      "SLURM_STEP_NODELIST=gpu[07-08]",
      "srun", 2, 4, 0, -1, "gpu07", 29309, "srun 4711 2", false },
    { "SLURM_JOB_ID=4711 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=2 SLURM_LOCALID=0 "
      "SLURM_STEP_NODELIST=n1 SLURM_RESTART_COUNT=3 MASTER_ADDR=127.0.0.1 PMIX_NAMESPACE=slurm.1",
      "srun", 2, 4, 0, -1, "127.0.0.1", 29307, "srun 4711 0 3", true },
    { "SLURM_JOB_ID=1 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=0 SLURM_LOCALID=0 "
      "SLURM_STEP_NODELIST=n1 MASTER_PORT=4000",
      "srun", 0, 2, 0, -1, "n1", 4000, "srun 1 0", false },
    { "SLURM_JOB_ID=1 SLURM_STEP_ID=4294967290 SLURM_STEP_NUM_TASKS=1 SLURM_PROCID=0", "srun", 0, 1,
      -1, -1, "", 0, "srun 1 4294967290", false }, /* a shell of salloc */
    /* srun --mpi=pmi2; MPICH's mpiexec. */
    { "PMI_RANK=1 PMI_SIZE=2 SLURM_JOB_ID=1 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=1 "
      "SLURM_STEP_NODELIST=a1,b2",
      "PMI", 1, 2, -1, -1, "a1", 15037, "PMI", false },
    { "PMI_RANK=1 PMI_SIZE=4 MPI_LOCALRANKID=1 MPI_LOCALNRANKS=2 MASTER_ADDR=a MASTER_PORT=5",
      "PMI", 1, 4, 1, 2, "a", 5, "PMI", false },
};

Test(world, each_launcher_is_understood)
{
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        struct launch launch;
        struct error err = { 0 };
        set(right[i].variables);
        cr_assert(launch_read(&launch, &err), "%s: %s", right[i].variables, err.message);
        cr_expect_str_eq(launch.launcher ? launch.launcher : "-",
                         right[i].launcher ? right[i].launcher : "-", "%s", right[i].variables);
        cr_expect_eq(launch.rank, right[i].rank, "%s", right[i].variables);
        cr_expect_eq(launch.size, right[i].size, "%s", right[i].variables);
        cr_expect_eq(launch.local_rank, right[i].local_rank, "%s", right[i].variables);
        cr_expect_eq(launch.local_size, right[i].local_size, "%s", right[i].variables);
        cr_expect_str_eq(launch.address, right[i].address, "%s", right[i].variables);
        cr_expect_eq(launch.port, right[i].port, "%s: port %d", right[i].variables, launch.port);
        cr_expect_str_eq(launch.job, right[i].job, "%s", right[i].variables);
        cr_expect_eq(launch.mpi, right[i].mpi, "%s", right[i].variables);
    }
}

#define TORCHRUN "MASTER_ADDR=a MASTER_PORT=1 "
#define STEP     "SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_STEP_NODELIST=n1 "

static const struct {
    const char *variables, *message;
} wrong[] = {
    { "RANK=1", "WORLD_SIZE is not set" },
    { TORCHRUN "RANK=2 WORLD_SIZE=2", "RANK=2 is no number from 0 to 1" },
    { TORCHRUN "RANK=-1 WORLD_SIZE=2", "RANK=-1 is no number from 0 to 1" },
    { TORCHRUN "RANK= WORLD_SIZE=2", "RANK= is no number from 0 to 1" },
    { TORCHRUN "RANK=0x1 WORLD_SIZE=2", "RANK=0x1 is no number from 0 to 1" },
    { TORCHRUN "RANK=0 WORLD_SIZE=0", "WORLD_SIZE=0 is no number from 1 to 1024" },
    { TORCHRUN "RANK=0 WORLD_SIZE=1025", "WORLD_SIZE=1025 is no number from 1 to 1024" },
    { TORCHRUN "RANK=0 WORLD_SIZE=4294967298",
      "WORLD_SIZE=4294967298 is no number from 1 to 1024" },
    { TORCHRUN "RANK=0 WORLD_SIZE=two", "WORLD_SIZE=two is no number from 1 to 1024" },
    { TORCHRUN "RANK=0 WORLD_SIZE=4 LOCAL_WORLD_SIZE=2 LOCAL_RANK=2",
      "LOCAL_RANK=2 is no number from 0 to 1" },
    { TORCHRUN "RANK=0 WORLD_SIZE=4 LOCAL_WORLD_SIZE=5",
      "LOCAL_WORLD_SIZE=5 is no number from 1 to 4" },
    { "RANK=0 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=65536",
      "MASTER_PORT=65536 is no number from 1 to 65535" },
    { "RANK=0 WORLD_SIZE=2 MASTER_ADDR= MASTER_PORT=1", "MASTER_ADDR= is no host" },
    { "RANK=0 WORLD_SIZE=2 MASTER_PORT=1",
      "torchrun says that this is rank 0 of 2, but not where rank 0 is: set MASTER_ADDR and "
      "MASTER_PORT" },
    { "PMI_RANK=1 PMI_SIZE=2 MASTER_ADDR=a",
      "PMI says that this is rank 1 of 2, but not where rank 0 is: set MASTER_ADDR and "
      "MASTER_PORT" },
    { STEP "SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=2", "SLURM_PROCID=2 is no number from 0 to 1" },
    { STEP "SLURM_PROCID=0", "SLURM_STEP_NUM_TASKS is not set" },
    { "SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=0 "
      "SLURM_STEP_NODELIST=n[1-2",
      "SLURM_STEP_NODELIST=n[1-2 names no host: set MASTER_ADDR to that of rank 0" },
    { "SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=0",
      "SLURM_STEP_NODELIST= names no host: set MASTER_ADDR to that of rank 0" },
    /* Four worlds of one, instead of one world of four. */
    { STEP "SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=0 OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1",
      "a world of 1 (OMPI_COMM_WORLD_SIZE) in a Slurm step of 4 tasks (SLURM_STEP_NUM_TASKS): "
      "start the ranks with srun, or with one mpirun that srun does not start 4 times" },
    { STEP TORCHRUN "SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=0 RANK=0 WORLD_SIZE=1",
      "a world of 1 (WORLD_SIZE) in a Slurm step of 4 tasks (SLURM_STEP_NUM_TASKS): start the "
      "ranks with srun, or with one torchrun that srun does not start 4 times" },
    { STEP TORCHRUN "SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=0 RANK=0 WORLD_SIZE=4 LOCAL_WORLD_SIZE=4",
      "a world of 4 (WORLD_SIZE) in a Slurm step of 2 tasks (SLURM_STEP_NUM_TASKS): start the "
      "ranks with srun, or with one torchrun that srun does not start 2 times" },
    { STEP "SLURM_STEP_NUM_TASKS=none SLURM_PROCID=0 PMI_RANK=0 PMI_SIZE=1",
      "SLURM_STEP_NUM_TASKS=none is no number from 1 to 100000000" },
};

Test(world, what_makes_no_sense_is_refused_by_name)
{
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct launch launch;
        struct error err = { 0 };
        set(wrong[i].variables);
        cr_expect_not(launch_read(&launch, &err), "%s", wrong[i].variables);
        cr_expect_str_eq(err.message, wrong[i].message);
        cr_expect_eq(err.code, EXIT_CODE_USAGE);
    }
}

Test(world, the_first_host_of_a_list)
{
    static const char *const lists[][2] = {
        { "n1", "n1" },
        { "n1,n2", "n1" },
        { "n[3-5]", "n3" },
        { "n[07,3-5],m", "n07" },
        { "rack[1-2]node[01-04],x", "rack1node01" },
        { "n[1-2]-ib", "n1-ib" },
    };
    char host[LAUNCH_HOST_BYTES], long_list[LAUNCH_HOST_BYTES + 1];
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        cr_assert(launch_first_host(lists[i][0], host), "%s", lists[i][0]);
        cr_expect_str_eq(host, lists[i][1]);
    }
    memset(long_list, 'n', sizeof long_list);
    long_list[LAUNCH_HOST_BYTES] = '\0';
    cr_expect_not(launch_first_host(long_list, host));
    cr_expect(launch_first_host(long_list + 1, host));
    cr_expect_not(launch_first_host("", host));
    cr_expect_not(launch_first_host(",n1", host));
    cr_expect_not(launch_first_host("n[", host));
}
