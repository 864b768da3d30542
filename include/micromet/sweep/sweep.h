/* A sweep: many trainings of one base configuration, each with its own values of some keys.
 *
 *     base: configs/seed.yaml
 *     metric: {name: validation.auc, goal: maximize}
 *     grid: {data.levels: [[2, 3], [3, 4]]}
 *     random: {runs: 12, seed: 1, optimizer.learning_rate: {min: 1e-5, max: 1e-3, ...}}
 *     paired: {train.batch: [16, 32], optimizer.momentum: [0.9, 0.95]}
 *     exclude: [{data.levels: [3, 4], train.batch: 32}]
 *     repeat: {seed: [1, 2, 3]}
 *     halving: {min_epochs: 1, max_epochs: 9, factor: 3, asynchronous: false}
 *
 * The runs are a pure function of this text: for each random draw each combination of the grid, for
 * each of these each row of the pairs, and of those each repetition. So more random runs leave the
 * first ones as they are. Runs that differ in what `repeat` names alone are one configuration.
 *
 * A later text of the same sweep may have more random runs, or more values in the grid: its new
 * runs, a generation of them, come behind the ones that are there. */
#ifndef MICROMET_SWEEP_SWEEP_H
#define MICROMET_SWEEP_SWEEP_H

#include <stdint.h>

#include "micromet/base/config.h"
#include "micromet/run/metric.h"

enum {
    SWEEP_RUNS_MAX = 10000,
    SWEEP_COLUMNS_MAX = 32,
    SWEEP_EXCLUDES_MAX = 256,
    SWEEP_GENERATIONS_MAX = 64
};

/* A value of a key: as an override of the command line, and as config_value() gives it. */
struct sweep_value {
    char *override, *value;
};

/* How a key varies: one listed value after the other, or drawn. */
enum sweep_draw {
    SWEEP_LISTED,
    SWEEP_CHOICE, /* one of the listed */
    SWEEP_UNIFORM,
    SWEEP_LOG_UNIFORM,
    SWEEP_INT_UNIFORM,
};

/* A key that varies. */
struct sweep_column {
    char *key, *place; /* "sweep.yaml:5:3", NULL on the command line */
    int axis;
    bool repeated; /* runs that differ in such keys alone are repetitions of one configuration */
    enum sweep_draw draw;
    struct sweep_value *values; /* (count); of a range, its ends */
    int count;
    double min, max; /* drawn */
    uint32_t stream; /* number of the key among those that are drawn */
};

struct sweep_condition {
    int column;
    char *value;
};
struct sweep_exclude { /* of runs that fulfil all of these */
    struct sweep_condition conditions[SWEEP_COLUMNS_MAX];
    int count;
    bool met; /* by some combination */
};

struct sweep_run {
    struct sweep_value values[SWEEP_COLUMNS_MAX]; /* one a column */
    int draw;                                     /* which of the random ones; 0 without */
    int configuration;                            /* number of its first run */
};

struct sweep {
    char folder[PATH_MAX_BYTES]; /* where relative paths in it start */
    char base[PATH_MAX_BYTES], name[128];
    const struct metric *metric;
    bool maximize;
    uint64_t seed; /* of the draws */
    /* Columns of one axis go together: all that is drawn, all that is paired. The last axis varies
     * first. */
    struct sweep_column columns[SWEEP_COLUMNS_MAX];
    int column_count;
    int axes[SWEEP_COLUMNS_MAX + 1]; /* number of places on each */
    int axis_count;
    struct sweep_exclude *excludes;
    int exclude_count;
    struct {
        int min_epochs, max_epochs, factor; /* all 0: no halving */
        bool asynchronous; /* decides with the results that are there, not with all of a rung */
    } halving;
    struct sweep_run *runs; /* (run_count) */
    int run_count;
    int ends[SWEEP_GENERATIONS_MAX]; /* (generation_count) runs of all generations up to each */
    int generation_count;
};

/* Read a sweep's text and expand its runs. `path` names the file in errors, NULL for what comes
 * from sweep_text_of_line(). Checks each value on its own; safe to release whether it succeeds or
 * not. */
bool sweep_parse(struct sweep *sweep, const char *yaml, size_t size, const char *path,
                 const char *folder, struct error *err);
void sweep_release(struct sweep *sweep);
/* Add the generation of runs that a later text has more than `earlier`, the sweep's last one.
 * Refuses what differs from it in anything else. `path` and `folder` as above. */
bool sweep_extend(struct sweep *sweep, const char *earlier, size_t earlier_size, const char *yaml,
                  size_t size, const char *path, const char *folder, struct error *err);

/* Whether the text is a sweep's rather than a configuration's: it has the key `base`. */
bool sweep_is_sweep(const char *yaml, size_t size);

/* The sweep's text of a configuration and Hydra's overrides, malloc'ed: key=1,2 or
 * key=choice(1,2) or key=range(1,10) gives a grid. */
bool sweep_text_of_line(char **yaml, const char *base, int count, char *const *overrides,
                        struct error *err);

/* The configuration of a run before the sweep's own keys (name, folders) are set, with all that a
 * training checks. */
bool sweep_configure(const struct sweep *sweep, int run, struct config *config, struct error *err);

int sweep_repetitions(const struct sweep *sweep); /* runs of a configuration, at most */
/* Configurations of all generations up to this one. */
int sweep_configurations(const struct sweep *sweep, int generation);

/* --- halving: rung r trains some runs up to an epoch; without halving there is one rung --------*/

int sweep_rung_count(const struct sweep *sweep);
int sweep_rung_epochs(const struct sweep *sweep, int rung); /* 0 = train.epochs */
/* How many of these configurations reach the rung; at least one. */
int sweep_rung_quota(const struct sweep *sweep, int rung, int configurations);
int sweep_rung_runs(const struct sweep *sweep, int rung); /* at most, if halving is synchronous */

#endif
