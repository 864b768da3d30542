/* Steps that a sweep has taken and will take. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ladder.h"
#include "micromet/sweep/execute.h"
#include "pace.h"

/* The run's pace, with the steps of its epochs where the configuration says them. */
static bool measure_run(const struct sweep_folder *folder, int run, struct config *config,
                        struct pace *pace, struct error *err)
{
    char path[PATH_MAX_BYTES];
    if (!sweep_folder_path(folder, "runs", run, "", path, err) || !pace_read(pace, path, err) ||
        !sweep_folder_config(folder, run, config, err))
        return false;
    const int64_t configured = sweep_steps(config) / config->train.epochs;
    if (configured > 0) pace->epoch_steps = configured;
    return true;
}

/* Steps that later rungs will add at most, if an epoch takes so many. */
static double steps_to_come(const struct ladder *ladder, double epoch_steps)
{
    const struct sweep *sweep = &ladder->folder->sweep;
    double steps = 0;
    for (int r = 1; r < ladder->rung_count; r++) {
        const int epochs = sweep_rung_epochs(sweep, r) - sweep_rung_epochs(sweep, r - 1);
        const int planned = sweep_rung_runs(sweep, r) - ladder->rungs[r].count;
        const int runs = sweep->halving.asynchronous ? planned : ladder_to_come(ladder, r);
        if (runs > 0) steps += (double)runs * epochs * epoch_steps;
    }
    return steps;
}

/* Sums over runs. */
struct sums {
    int known; /* runs whose epochs' steps are known */
    double epoch_steps, left, steps_per_s;
    double epochs_left; /* of the others, which have not begun */
    int64_t taken;
};

static bool add_run(struct sums *sums, const struct ladder *ladder, int run,
                    const struct sweep_line *line, struct error *err)
{
    struct config config;
    struct pace pace;
    if (!measure_run(ladder->folder, run, &config, &pace, err)) return false;
    const int halt = ladder_epochs(ladder, run), epochs = halt ? halt : config.train.epochs;
    const double left = (double)pace.epoch_steps * epochs - (double)pace.steps;
    const bool runs = strcmp(line->state, "running") == 0;
    sums->taken += pace.steps;
    sums->known += pace.epoch_steps > 0;
    sums->epoch_steps += (double)pace.epoch_steps;
    if (runs || strcmp(line->state, "pending") == 0) {
        if (left > 0) sums->left += left;
        if (pace.epoch_steps == 0) sums->epochs_left += epochs;
    }
    if (runs && !isnan(pace.windows_per_s))
        sums->steps_per_s += pace.windows_per_s / config.train.batch;
    return true;
}

struct collection {
    const struct ladder *ladder;
    struct sums sums;
    bool ok;
    struct error *err;
};

static void collect(void *context, const struct sweep_folder *folder, const struct sweep_line *line)
{
    struct collection *c = context;
    (void)folder;
    c->ok = c->ok && add_run(&c->sums, c->ladder, line->run, line, c->err);
}

bool sweep_measure(const struct sweep_folder *folder, struct sweep_progress *progress,
                   struct error *err)
{
    struct ladder ladder;
    struct sweep_summary summary;
    struct collection c = { .ladder = &ladder, .ok = true, .err = err };
    *progress = (struct sweep_progress) { .seconds_left = NAN };
    const bool ok = ladder_init(&ladder, folder, err) && ladder_read(&ladder, err) &&
                    sweep_survey(folder, collect, &c, &summary, err) && c.ok;
    const struct sums *sums = &c.sums;
    progress->taken = sums->taken;
    if (ok && sums->known > 0) {
        /* Runs that have not begun take as many as the others. */
        const double mean = sums->epoch_steps / sums->known;
        const double left = sums->left + mean * sums->epochs_left + steps_to_come(&ladder, mean);
        progress->expected = progress->taken + (int64_t)left;
        if (sums->steps_per_s > 0) progress->seconds_left = left / sums->steps_per_s;
    }
    ladder_release(&ladder);
    return ok;
}
