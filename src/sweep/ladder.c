/* Reads and makes the decisions of halving. */
#include "ladder.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "micromet/format/json.h"

bool ladder_init(struct ladder *ladder, const struct sweep_folder *folder, struct error *err)
{
    const struct sweep *sweep = &folder->sweep;
    const size_t runs = (size_t)sweep->run_count, rungs = (size_t)sweep_rung_count(sweep);
    CHECK(rungs > 0);
    *ladder = (struct ladder) { .folder = folder, .rung_count = (int)rungs };
    ladder->rungs = calloc(rungs, sizeof *ladder->rungs);
    ladder->rung_of = calloc(runs, sizeof *ladder->rung_of);
    ladder->results = calloc(rungs * runs, sizeof *ladder->results);
    bool ok = ladder->rungs && ladder->rung_of && ladder->results;
    for (size_t r = 0; ok && r < rungs; r++) {
        ladder->rungs[r].members = calloc(runs, sizeof *ladder->rungs[r].members);
        ladder->rungs[r].arrivals = calloc(runs, sizeof *ladder->rungs[r].arrivals);
        ok = ladder->rungs[r].members && ladder->rungs[r].arrivals;
    }
    if (!ok) return error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
    struct rung *first = &ladder->rungs[0];
    for (int generation = 0; generation < sweep->generation_count; generation++)
        for (; first->count < sweep->ends[generation]; first->count++) {
            first->members[first->count] = first->count;
            first->arrivals[first->count] = generation;
        }
    return true;
}

void ladder_release(struct ladder *ladder)
{
    for (int r = 0; ladder->rungs && r < ladder->rung_count; r++) {
        free(ladder->rungs[r].members);
        free(ladder->rungs[r].arrivals);
    }
    free(ladder->rungs);
    free(ladder->rung_of);
    free(ladder->results);
    *ladder = (struct ladder) { 0 };
}

int ladder_epochs(const struct ladder *ladder, int run)
{
    return sweep_rung_epochs(&ladder->folder->sweep, ladder->rung_of[run]);
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool decision_path(const struct ladder *ladder, int rung, int decision,
                          char path[PATH_MAX_BYTES], struct error *err)
{
    char name[48];
    if (decision == 0)
        snprintf(name, sizeof name, "rungs/%d.json", rung);
    else
        snprintf(name, sizeof name, "rungs/%d.%d.json", rung, decision);
    return path_join(path, ladder->folder->path, name, err);
}

/* Runs go from a rung to the next. */
static bool promote(struct ladder *ladder, int rung, const json_t *promoted)
{
    struct rung *next = &ladder->rungs[rung + 1];
    bool ok = json_is_array(promoted);
    for (size_t i = 0; ok && i < json_array_size(promoted); i++) {
        const json_int_t run = json_integer_value(json_array_get(promoted, i));
        ok = run >= 0 && run < ladder->folder->sweep.run_count && ladder->rung_of[run] == rung;
        if (!ok) break;
        next->members[next->count] = (int)run;
        next->arrivals[next->count++] = ladder->rungs[rung].decisions;
        ladder->rung_of[run] = rung + 1;
    }
    ladder->rungs[rung].decisions++;
    return ok;
}

bool ladder_read(struct ladder *ladder, struct error *err)
{
    char path[PATH_MAX_BYTES];
    for (int r = 0; r + 1 < ladder->rung_count;) {
        if (!decision_path(ladder, r, ladder->rungs[r].decisions, path, err)) return false;
        if (!file_exists(path)) {
            r++;
            continue;
        }
        json_t *object = json_read_object(path);
        const bool ok = promote(ladder, r, json_object_get(object, "promoted"));
        json_decref(object);
        if (!ok) return error_set(err, EXIT_CODE_FAILED, "%s: is no decision of a rung", path);
    }
    return true;
}

bool ladder_result(struct ladder *ladder, int rung, int run, struct rung_result *result,
                   struct error *err)
{
    const struct sweep *sweep = &ladder->folder->sweep;
    struct rung_result *kept = &ladder->results[rung * sweep->run_count + run];
    const int epochs = sweep_rung_epochs(sweep, rung);
    struct sweep_outcome outcome;
    char path[PATH_MAX_BYTES];
    if (!kept->final && ladder->rung_of[run] > rung) {
        kept->final = true;
        if (!sweep_folder_path(ladder->folder, "runs", run, "", path, err) ||
            !metric_read(sweep->metric, sweep->maximize, path, epochs, &kept->score, err))
            return false;
    }
    *result = *kept;
    if (kept->final) return true;
    if (!sweep_outcome_read(ladder->folder, run, &outcome, err)) return false;
    result->final = sweep_outcome_is_final(&outcome, epochs);
    result->score = outcome.score;
    if (outcome.state == SWEEP_DONE) *kept = *result; /* what has failed may be run again */
    return true;
}

/* --- deciding --------------------------------------------------------------------------------- */

/* A configuration on a rung. */
struct standing {
    int first, count; /* place of its first run among the members, and their number */
    int run;          /* its first run */
    int final, failed;
    double score; /* mean of those that did not fail; NaN if all did */
    bool promoted;
};

static bool stand(struct ladder *ladder, int rung, int first, int end, struct standing *standing,
                  struct error *err)
{
    const struct sweep *sweep = &ladder->folder->sweep;
    const int *members = ladder->rungs[rung].members;
    const int configuration = sweep->runs[members[first]].configuration;
    double sum = 0;
    *standing = (struct standing) { .first = first, .run = members[first] };
    for (int i = first; i < end && sweep->runs[members[i]].configuration == configuration; i++) {
        struct rung_result result;
        if (!ladder_result(ladder, rung, members[i], &result, err)) return false;
        standing->count++;
        standing->final += result.final;
        standing->failed += result.final && isnan(result.score);
        standing->promoted = standing->promoted || ladder->rung_of[members[i]] > rung;
        if (result.final && !isnan(result.score)) sum += result.score;
    }
    standing->score = sum / (standing->final - standing->failed);
    return true;
}

/* Of higher rank first: without a failure, then by the score, then by number. `context` is the
 * sign that makes a smaller score better. */
static int by_rank(const void *a, const void *b, void *context)
{
    const struct standing *x = a, *y = b;
    const double sign = *(const double *)context;
    const bool none_x = isnan(x->score), none_y = isnan(y->score);
    if (none_x != none_y) return none_x ? 1 : -1;
    if (!x->failed != !y->failed) return x->failed ? 1 : -1;
    if (!none_x && x->score != y->score) return sign * x->score < sign * y->score ? -1 : 1;
    return x->run < y->run ? -1 : 1;
}

static int ascending(const void *a, const void *b)
{
    const int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* The decision, a function of the standings alone. *chosen: runs that go on. */
static json_t *decision_of(struct ladder *ladder, int rung, struct standing *standings, int count,
                           int quota, int *promoted, int *chosen, struct error *err)
{
    const struct sweep *sweep = &ladder->folder->sweep;
    const int *members = ladder->rungs[rung].members;
    double sign = sweep->maximize ? -1 : 1;
    json_t *ranking = json_array(), *numbers = json_array();
    *chosen = 0;
    qsort_r(standings, (size_t)count, sizeof *standings, by_rank, &sign);
    for (int i = 0; i < count; i++) {
        const struct standing *s = &standings[i];
        json_array_append_new(ranking, json_pack("[i, o]", s->run, json_number(s->score)));
        if (i >= quota || s->promoted) continue;
        for (int k = s->first; k < s->first + s->count; k++) {
            struct rung_result result = { 0 };
            if (ladder_result(ladder, rung, members[k], &result, err) && !isnan(result.score))
                promoted[(*chosen)++] = members[k];
        }
    }
    qsort(promoted, (size_t)*chosen, sizeof *promoted, ascending);
    for (int i = 0; i < *chosen; i++) json_array_append_new(numbers, json_integer(promoted[i]));
    return json_pack("{s:i, s:i, s:o, s:o}", "rung", rung, "epochs", sweep_rung_epochs(sweep, rung),
                     "promoted", numbers, "ranking", ranking);
}

/* Write it beside its place and link it there: whoever comes first has decided. */
static bool publish(const char *path, json_t *decision, struct error *err)
{
    char temporary[PATH_MAX_BYTES], host[65] = "";
    gethostname(host, sizeof host - 1);
    if (snprintf(temporary, sizeof temporary, "%s.%s-%ld", path, host, (long)getpid()) >=
        (int)sizeof temporary) {
        json_decref(decision);
        return error_set(err, EXIT_CODE_FAILED, "%s: the path is too long", path);
    }
    if (!json_write(temporary, decision, err)) return false;
    const int failure = link(temporary, path) == 0 || errno == EEXIST ? 0 : errno;
    unlink(temporary);
    return !failure ||
           error_set(err, EXIT_CODE_FAILED, "%s: cannot be linked: %s", path, strerror(failure));
}

/* Whether synchronous halving has a decision to make behind the rung, once all have ended there. */
static bool is_due(const struct ladder *ladder, int rung)
{
    const int number = ladder->rungs[rung].decisions;
    return number < ladder->folder->sweep.generation_count &&
           (rung == 0 || ladder->rungs[rung - 1].decisions > number);
}

/* How many members the next decision is about. */
static int members_to_decide(const struct ladder *ladder, int rung)
{
    const struct rung *r = &ladder->rungs[rung];
    int count = 0;
    if (ladder->folder->sweep.halving.asynchronous) return r->count;
    while (count < r->count && r->arrivals[count] <= r->decisions) count++;
    return count;
}

/* How many of `count` configurations that have ended go on, with those that have gone before. */
static int quota_of(const struct ladder *ladder, int rung, int count, bool closed)
{
    const struct sweep *sweep = &ladder->folder->sweep;
    const int generation = ladder->rungs[rung].decisions, share = count / sweep->halving.factor;
    if (sweep->halving.asynchronous) return share > 0 || !closed ? share : 1;
    return sweep_rung_quota(sweep, rung + 1, sweep_configurations(sweep, generation));
}

/* The configurations that a decision would be about: of those among the first `end` members that
 * have ended. *all says whether all have. Without `asynchronous` the first that has not ends the
 * search. */
static bool gather(struct ladder *ladder, int rung, int end, struct standing *standings, int *count,
                   bool *all, struct error *err)
{
    const bool asynchronous = ladder->folder->sweep.halving.asynchronous;
    *count = 0;
    *all = true;
    for (int i = 0; i < end && (*all || asynchronous);) {
        struct standing *standing = &standings[*count];
        if (!stand(ladder, rung, i, end, standing, err)) return false;
        i += standing->count;
        if (standing->final == standing->count)
            (*count)++;
        else
            *all = false;
    }
    return true;
}

/* Room for a decision. */
struct desk {
    struct standing *standings; /* (runs) */
    int *promoted;              /* (runs) */
};

/* Decide behind a rung if that is due. *closed: whether all runs that will ever come to the rung
 * are there; becomes that of the next. */
static bool decide(struct ladder *ladder, int rung, const struct desk *desk, bool *closed,
                   bool *decided, struct error *err)
{
    const bool asynchronous = ladder->folder->sweep.halving.asynchronous;
    char path[PATH_MAX_BYTES];
    int count, chosen;
    bool all;
    *decided = false;
    if (!asynchronous && !is_due(ladder, rung)) return true;
    if (!gather(ladder, rung, members_to_decide(ladder, rung), desk->standings, &count, &all, err))
        return false;
    *closed = *closed && all;
    if (!asynchronous && !all) return true;
    json_t *decision = decision_of(ladder, rung, desk->standings, count,
                                   quota_of(ladder, rung, count, *closed), desk->promoted, &chosen,
                                   err);
    *decided = err->code == EXIT_CODE_OK && (chosen > 0 || !asynchronous);
    if (!*decided) {
        json_decref(decision);
        return err->code == EXIT_CODE_OK;
    }
    return decision_path(ladder, rung, ladder->rungs[rung].decisions, path, err) &&
           publish(path, decision, err) && ladder_read(ladder, err);
}

bool ladder_decide(struct ladder *ladder, int limit, struct error *err)
{
    const size_t runs = (size_t)ladder->folder->sweep.run_count;
    const struct desk desk = {
        .standings = calloc(runs, sizeof *desk.standings),
        .promoted = calloc(runs, sizeof *desk.promoted),
    };
    bool ok = (desk.standings && desk.promoted) ||
              error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
    ok = ok && ladder_read(ladder, err);
    bool closed = true;
    for (int r = 0; ok && r + 1 < ladder->rung_count && r < limit;) {
        bool decided, next = closed;
        ok = decide(ladder, r, &desk, &next, &decided, err);
        if (decided) continue;
        closed = next;
        r++;
    }
    free(desk.standings);
    free(desk.promoted);
    return ok;
}

bool ladder_is_closed(const struct ladder *ladder, int rung, bool quiet)
{
    const struct sweep *sweep = &ladder->folder->sweep;
    if (rung + 1 == ladder->rung_count) return true;
    return sweep->halving.asynchronous ? quiet
                                       : ladder->rungs[rung].decisions == sweep->generation_count;
}

int ladder_to_come(const struct ladder *ladder, int rung)
{
    const struct sweep *sweep = &ladder->folder->sweep;
    int count = 0;
    if (rung == 0) return 0;
    for (int generation = ladder->rungs[rung - 1].decisions; generation < sweep->generation_count;
         generation++)
        count += sweep_rung_quota(sweep, rung, sweep_configurations(sweep, generation)) *
                 sweep_repetitions(sweep);
    return count;
}
