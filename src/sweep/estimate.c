/* Steps, time and disk of a sweep. */
#include "micromet/sweep/estimate.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "micromet/run/checkpoint.h"
#include "pace.h"
#include "parts.h"

/* --- disk ------------------------------------------------------------------------------------- */

/* Runs mostly have the model of the run before them. */
static bool is_same_model(const struct config *a, const struct config *b)
{
    return a->data.level_count == b->data.level_count && a->data.window == b->data.window &&
           memcmp(&a->model, &b->model, sizeof a->model) == 0 &&
           a->optimizer.name == b->optimizer.name;
}

static void add_packs(const char *folder, struct sweep_estimate *estimate)
{
    DIR *listing = opendir(folder);
    estimate->pack_folders++;
    if (!listing) return;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        const char *dot = strrchr(entry->d_name, '.');
        struct stat status;
        if (dot && strcmp(dot, ".pack") == 0 &&
            fstatat(dirfd(listing), entry->d_name, &status, 0) == 0)
            estimate->pack_bytes += status.st_size;
    }
    closedir(listing);
}

/* --- time ------------------------------------------------------------------------------------- */

static bool look_for_speed(struct sweep_estimate *estimate, const char *run_folder,
                           struct error *err)
{
    struct pace pace;
    if (estimate->windows_per_s > 0) return true;
    if (!pace_read(&pace, run_folder, err)) return false;
    if (isnan(pace.windows_per_s) || pace.windows_per_s <= 0) return true;
    estimate->windows_per_s = pace.windows_per_s;
    snprintf(estimate->measured_in, sizeof estimate->measured_in, "%s", run_folder);
    return true;
}

static bool find_speed(const struct sweep_folder *folder, struct sweep_estimate *estimate,
                       struct error *err)
{
    struct config base;
    struct error gone = { 0 };
    char path[PATH_MAX_BYTES];
    for (int run = 0; run < folder->made_runs; run++)
        if (!sweep_folder_path(folder, "runs", run, "", path, err) ||
            !look_for_speed(estimate, path, err))
            return false;
    /* The base need not be there any more. */
    return !config_load(&base, folder->sweep.base, 0, NULL, &gone) ||
           (path_join(path, base.train.run, base.name, err) && look_for_speed(estimate, path, err));
}

/* Epochs that a run is trained on average, of all that it has. */
static double share_of_epochs(const struct sweep *sweep)
{
    const int rungs = sweep_rung_count(sweep);
    double epochs = 0;
    if (rungs == 1) return 1;
    for (int rung = 0; rung < rungs; rung++) {
        const int before = rung ? sweep_rung_epochs(sweep, rung - 1) : 0;
        epochs += (double)sweep_rung_runs(sweep, rung) * (sweep_rung_epochs(sweep, rung) - before);
    }
    return epochs / sweep->run_count / sweep->halving.max_epochs;
}

/* --- all together ----------------------------------------------------------------------------- */

/* What is known of the runs so far. */
struct tally {
    struct config last;
    int64_t checkpoint_bytes; /* of the last one's model */
    struct unique_names packs;
    bool steps_unknown;
};

static bool add_run(const struct config *config, int run, struct tally *tally,
                    struct sweep_estimate *estimate, struct error *err)
{
    const int64_t steps = sweep_steps(config),
                  pixels = (int64_t)config->data.window * config->data.window;
    if ((run == 0 || !is_same_model(config, &tally->last)) &&
        !checkpoint_size(config, &tally->checkpoint_bytes, err))
        return false;
    tally->last = *config;
    tally->steps_unknown = tally->steps_unknown || steps == 0;
    estimate->steps += (double)steps;
    estimate->windows += (double)steps * config->train.batch;
    estimate->checkpoint_bytes += tally->checkpoint_bytes * (config->train.keep + 1);
    if (config->data.source != DATA_SOURCE_PACKS) return true;
    const int64_t bytes = 3 * pixels * config->data.level_count;
    if (bytes > estimate->window_bytes) estimate->window_bytes = bytes;
    bool added;
    if (!unique_names_add(&tally->packs, config->data.pack, &added, err)) return false;
    if (added) add_packs(config->data.pack, estimate);
    return true;
}

bool sweep_estimate(const struct sweep_folder *folder, double windows_per_s,
                    struct sweep_estimate *estimate, struct error *err)
{
    struct tally tally = { 0 };
    const double share = share_of_epochs(&folder->sweep);
    *estimate = (struct sweep_estimate) { .windows_per_s = windows_per_s };
    bool ok = find_speed(folder, estimate, err);
    for (int run = 0; ok && run < folder->sweep.run_count; run++) {
        struct config config;
        ok = sweep_folder_config(folder, run, &config, err) &&
             add_run(&config, run, &tally, estimate, err);
    }
    unique_names_release(&tally.packs);
    estimate->steps *= tally.steps_unknown ? 0 : share;
    estimate->windows *= tally.steps_unknown ? 0 : share;
    return ok;
}
