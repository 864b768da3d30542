/* The rungs of halving: which runs stand on which, and who goes on.
 *
 * All runs begin on rung 0. Decision n behind a rung names runs that go on to the next one. It is a
 * file that is written once, by link, and never changed: decision 1 is made in knowledge of
 * decision 0. Synchronous halving makes one for each generation of runs, as soon as all runs of it
 * and of earlier ones that are on the rung have ended there, so that it is a function of results
 * alone. Asynchronous halving (ASHA) makes one whenever a configuration is among the best 1/factor
 * of those that have ended there so far: it depends on who came first. */
#ifndef MICROMET_SWEEP_LADDER_H
#define MICROMET_SWEEP_LADDER_H

#include "parts.h"

struct rung {
    int *members;  /* (count) runs, in the order of the decisions that brought them */
    int *arrivals; /* (count) which decision that was; of rung 0: the run's generation */
    int count;
    int decisions; /* behind this rung, as far as they were read */
};

/* What a run had when it ended on a rung. */
struct rung_result {
    bool final;
    double score; /* NaN if it failed */
};

struct ladder {
    const struct sweep_folder *folder;
    struct rung *rungs; /* (rung_count) */
    int rung_count;
    int *rung_of;                /* (runs) the highest rung that each is on */
    struct rung_result *results; /* (rung_count, runs) kept where they can no longer change */
};

bool ladder_init(struct ladder *ladder, const struct sweep_folder *folder, struct error *err);
void ladder_release(struct ladder *ladder);

/* Take in the decisions that have been made since. */
bool ladder_read(struct ladder *ladder, struct error *err);
/* The same, and make those that are due behind rungs below `limit`. */
bool ladder_decide(struct ladder *ladder, int limit, struct error *err);

/* Epochs that a run trains where it stands. */
int ladder_epochs(const struct ladder *ladder, int run);
/* The run's result on a rung that it stands on or has left. */
bool ladder_result(struct ladder *ladder, int rung, int run, struct rung_result *result,
                   struct error *err);
/* Whether no decision is to come in which a run that has ended on this rung might go on. `quiet`:
 * all runs have ended. */
bool ladder_is_closed(const struct ladder *ladder, int rung, bool quiet);
/* How many runs may yet come onto the rung by decisions of synchronous halving. */
int ladder_to_come(const struct ladder *ladder, int rung);

#endif
