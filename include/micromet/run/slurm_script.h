/* A batch script with which Slurm runs a training, and runs it again until it is done. */
#ifndef MICROMET_RUN_SLURM_SCRIPT_H
#define MICROMET_RUN_SLURM_SCRIPT_H

#include <stdio.h>

#include "micromet/base/config.h"

struct slurm_script {
    const char *program; /* path of micromet on the nodes */
    const char *folder;  /* where relative paths of the operands start */
    int operand_count;
    char *const *operands; /* of `micromet train`: the configuration, then key=value */
    int cpus;              /* processors */
    int gpus;              /* 0 or 1 */
    /* As sbatch takes them; NULL = the cluster's default. */
    const char *time, *memory, *partition, *account;
};

/* Whether Slurm can run it: the form of what sbatch is given, and that its output can be written,
 * which is <train.run>/<name>-JOB.out. Creates train.run, since Slurm creates no folder. */
bool slurm_script_check(const struct slurm_script *script, const struct config *config,
                        struct error *err);
void slurm_script_write(const struct slurm_script *script, const struct config *config,
                        FILE *stream);

#endif
