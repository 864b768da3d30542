/* A batch script with which Slurm runs a command of this program, again and again until it is done.
 */
#ifndef MICROMET_RUN_SLURM_SCRIPT_H
#define MICROMET_RUN_SLURM_SCRIPT_H

#include <stdio.h>

#include "micromet/base/config.h"

/* What a job gets: texts as sbatch takes them, NULL = the cluster's default. */
struct slurm_request {
    const char *time, *memory, *partition, *account;
    int cpus; /* of each process */
    int gpus; /* of a node; SLURM_GPUS_AS_CONFIGURED before slurm_request_gpus() */
    int nodes;
};
enum { SLURM_GPUS_AS_CONFIGURED = -1 };

/* Check the forms of what is asked for. */
bool slurm_request_check(const struct slurm_request *request, struct error *err);
/* Processes that train together: one a GPU, or one a node. */
int slurm_request_ranks(const struct slurm_request *request);
/* Settle the number of GPUs for a training of this configuration, or check the given one; and
 * whether so many processes can share its batch. */
bool slurm_request_gpus(struct slurm_request *request, const struct config *config,
                        struct error *err);

struct slurm_script {
    const char *program; /* path of micromet on the nodes */
    const char *folder;  /* the job's current folder */
    const char *name;    /* of the job */
    const char *output;  /* path of its messages but for "-JOB.out" */
    const char *array;   /* numbers of the tasks of an array, such as "0-3,7"; NULL = one job */
    int word_count;
    char *const *words; /* of the command: "train", the configuration, then key=value */
    const char *tail;   /* what follows them as the shell takes it; NULL = nothing */
    struct slurm_request request;
};

/* Of this program, which is the same on the nodes. */
bool slurm_program_path(char path[PATH_MAX_BYTES], struct error *err);
/* Whether Slurm can write the output there. Creates its folder, since Slurm creates none. */
bool slurm_script_check(const struct slurm_script *script, const char *remedy, struct error *err);
void slurm_script_write(const struct slurm_script *script, FILE *stream);

#endif
