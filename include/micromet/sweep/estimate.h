/* What a sweep will take, before it has begun. */
#ifndef MICROMET_SWEEP_ESTIMATE_H
#define MICROMET_SWEEP_ESTIMATE_H

#include "micromet/sweep/folder.h"

struct sweep_estimate {
    double steps;   /* of the runs, with halving at most if it is synchronous; 0 = not known */
    double windows; /* that are trained in these */
    double windows_per_s;             /* of a training, as given or measured; 0 = not known */
    char measured_in[PATH_MAX_BYTES]; /* the run folder; "" = given */
    int64_t checkpoint_bytes;         /* train.keep and the best of every run, at most */
    int64_t pack_bytes;               /* of the packs that are there */
    int64_t window_bytes;             /* of a window in the packs, at most */
    int pack_folders;
};

/* windows_per_s: 0 = as measured in a run of this sweep, or in that of its base configuration. */
bool sweep_estimate(const struct sweep_folder *folder, double windows_per_s,
                    struct sweep_estimate *estimate, struct error *err);

#endif
