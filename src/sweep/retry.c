/* Failed runs, once more. */
#include <unistd.h>

#include "ladder.h"
#include "micromet/base/log.h"
#include "micromet/sweep/execute.h"

static bool forget(const struct ladder *ladder, int run, int *forgotten, struct error *err)
{
    struct sweep_outcome outcome;
    char path[PATH_MAX_BYTES];
    const int rung = ladder->rung_of[run];
    const bool last = rung + 1 == ladder->rung_count;
    if (!sweep_outcome_read(ladder->folder, run, &outcome, err) ||
        !sweep_folder_path(ladder->folder, "state", run, ".json", path, err))
        return false;
    if (outcome.state != SWEEP_FAILED || (!last && ladder_is_closed(ladder, rung, false)))
        return true;
    unlink(path);
    ++*forgotten;
    return true;
}

bool sweep_forget_failures(const struct sweep_folder *folder, struct error *err)
{
    struct ladder ladder = { 0 };
    int forgotten = 0;
    bool ok = packs_forget(folder, err) && ladder_init(&ladder, folder, err) &&
              ladder_read(&ladder, err);
    for (int run = 0; ok && run < folder->sweep.run_count; run++)
        ok = forget(&ladder, run, &forgotten, err);
    ladder_release(&ladder);
    if (ok) log_info("%d failed runs are to be run again", forgotten);
    return ok;
}

bool sweep_find_run(const struct sweep_folder *folder, const struct sweep_options *options,
                    int *run, struct error *err)
{
    struct ladder ladder;
    *run = options->index;
    if (options->rung < 0) return true;
    const bool ok = ladder_init(&ladder, folder, err) && ladder_read(&ladder, err);
    const struct rung *rung = ok ? &ladder.rungs[options->rung] : NULL;
    *run = ok && options->index < rung->count ? rung->members[options->index] : -1;
    ladder_release(&ladder);
    return ok;
}
