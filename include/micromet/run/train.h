/* Training: from a configuration to checkpoints, metrics.jsonl and TensorBoard events in
 * a run folder.
 *
 *     <train.run>/<name>/config.yaml            resolved configuration
 *                       /metrics.jsonl          one object per line: every few steps, every epoch
 *                       /events.out.tfevents.*  the same for TensorBoard
 *                       /lock                   held while a training uses the folder; says which
 *                       /checkpoints/step-*.safetensors, best.safetensors */
#ifndef MICROMET_RUN_TRAIN_H
#define MICROMET_RUN_TRAIN_H

#include "micromet/base/config.h"

struct train_options {
    bool resume;  /* --resume: fail if there is no checkpoint to resume from (auto starts anew) */
    bool dry_run; /* print the memory plan and stop */
    bool verbose; /* --verbose: print details of the initial weights */
    /* --until-epoch: stop behind this epoch, with the checkpoint that it ends with and a schedule
     * that stays that of train.epochs; 0 = at train.epochs */
    int until_epoch;
};

struct train_result {
    enum exit_code code; /* EXIT_CODE_OK, _PARTIAL (bad slides were left out) or _INTERRUPTED */
    int rank;            /* of this process among those that train together; 0 speaks for all */
    double best_auc;
    char best_path[PATH_MAX_BYTES];
    char run_folder[PATH_MAX_BYTES];
};

bool train_run(const struct config *config, const struct train_options *options,
               struct train_result *result, struct error *err);

#endif
