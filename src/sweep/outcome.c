/* What became of runs, and which go on behind a rung. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "micromet/format/json.h"
#include "parts.h"

static const char *const state_names[] = { "pending", "done", "failed" };

static bool write_json(const char *path, json_t *object, struct error *err)
{
    char *text = json_dumps(object, JSON_REAL_PRECISION(9));
    const bool ok = text ? file_write_atomic(path, text, strlen(text), err)
                         : error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
    free(text);
    json_decref(object);
    return ok;
}

bool sweep_outcome_read(const struct sweep_folder *folder, int run, struct sweep_outcome *outcome,
                        struct error *err)
{
    char path[PATH_MAX_BYTES];
    *outcome = (struct sweep_outcome) { .score = NAN };
    if (!sweep_folder_path(folder, "state", run, ".json", path, err)) return false;
    if (!file_exists(path)) return true;
    json_t *object = json_read_object(path);
    const char *state = json_string_value(json_object_get(object, "state"));
    const char *reason = json_string_value(json_object_get(object, "reason"));
    const json_t *score = json_object_get(object, "score");
    for (int i = 0; state && i <= SWEEP_FAILED; i++)
        if (strcmp(state, state_names[i]) == 0) outcome->state = (enum sweep_state)i;
    outcome->epochs = (int)json_integer_value(json_object_get(object, "epochs"));
    outcome->partial = json_is_true(json_object_get(object, "partial"));
    if (json_is_number(score)) outcome->score = json_number_value(score);
    snprintf(outcome->reason, sizeof outcome->reason, "%s", reason ? reason : "");
    json_decref(object);
    return outcome->state != SWEEP_PENDING ||
           error_set(err, EXIT_CODE_FAILED, "%s: is no outcome of a run; remove it to run it again",
                     path);
}

bool sweep_outcome_write(const struct sweep_folder *folder, int run,
                         const struct sweep_outcome *outcome, struct error *err)
{
    char path[PATH_MAX_BYTES];
    if (!sweep_folder_path(folder, "state", run, ".json", path, err)) return false;
    json_t *object = json_pack("{s:s, s:i, s:o, s:b, s:o}", "state", state_names[outcome->state],
                               "epochs", outcome->epochs, "score", json_number(outcome->score),
                               "partial", outcome->partial, "reason", json_name(outcome->reason));
    return write_json(path, object, err);
}

bool sweep_outcome_is_final(const struct sweep_outcome *outcome, int epochs)
{
    return outcome->state == SWEEP_FAILED ||
           (outcome->state == SWEEP_DONE && outcome->epochs >= epochs);
}

static bool rung_path(const struct sweep_folder *folder, int rung, char path[PATH_MAX_BYTES],
                      struct error *err)
{
    char name[32];
    snprintf(name, sizeof name, "rungs/%d.json", rung);
    return path_join(path, folder->path, name, err);
}

bool sweep_rung_members(const struct sweep_folder *folder, int rung, int *members, int *count,
                        bool *decided, struct error *err)
{
    char path[PATH_MAX_BYTES];
    *count = 0;
    *decided = true;
    if (rung == 0) {
        while (*count < folder->sweep.run_count) members[*count] = *count, ++*count;
        return true;
    }
    if (!rung_path(folder, rung - 1, path, err)) return false;
    *decided = file_exists(path);
    if (!*decided) return true;
    json_t *object = json_read_object(path);
    const json_t *promoted = json_object_get(object, "promoted");
    bool ok = json_is_array(promoted);
    for (size_t i = 0; ok && i < json_array_size(promoted); i++) {
        const json_int_t run = json_integer_value(json_array_get(promoted, i));
        ok = run >= 0 && run < folder->sweep.run_count && *count < folder->sweep.run_count;
        if (ok) members[(*count)++] = (int)run;
    }
    json_decref(object);
    return ok || error_set(err, EXIT_CODE_FAILED, "%s: is no decision of a rung", path);
}

/* A run's place in a rung. */
struct rank {
    double key; /* smaller is better; failed runs: infinite */
    int run;
};

static int by_rank(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return (x->run > y->run) - (x->run < y->run);
}

static int ascending(const void *a, const void *b)
{
    const int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* The decision, a function of the ranks alone. */
static json_t *decision_of(const struct sweep_folder *folder, int rung, struct rank *ranks,
                           int count, int *promoted)
{
    const int most = sweep_rung_runs(&folder->sweep, rung + 1);
    int chosen = 0;
    json_t *ranking = json_array(), *numbers = json_array();
    qsort(ranks, (size_t)count, sizeof *ranks, by_rank);
    for (int i = 0; i < count; i++) {
        const bool good = isfinite(ranks[i].key);
        const double score = folder->sweep.maximize ? -ranks[i].key : ranks[i].key;
        json_array_append_new(
            ranking, json_pack("[i, o]", ranks[i].run, good ? json_real(score) : json_null()));
        if (good && chosen < most) promoted[chosen++] = ranks[i].run;
    }
    qsort(promoted, (size_t)chosen, sizeof *promoted, ascending);
    for (int i = 0; i < chosen; i++) json_array_append_new(numbers, json_integer(promoted[i]));
    return json_pack("{s:i, s:i, s:o, s:o}", "rung", rung, "epochs",
                     sweep_rung_epochs(&folder->sweep, rung), "promoted", numbers, "ranking",
                     ranking);
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
    if (!write_json(temporary, decision, err)) return false;
    const int failure = link(temporary, path) == 0 || errno == EEXIST ? 0 : errno;
    unlink(temporary);
    return !failure ||
           error_set(err, EXIT_CODE_FAILED, "%s: cannot be linked: %s", path, strerror(failure));
}

bool sweep_rung_decide(const struct sweep_folder *folder, int rung, struct error *err)
{
    const size_t runs = (size_t)folder->sweep.run_count;
    char path[PATH_MAX_BYTES];
    int count = 0;
    bool decided = true;
    int *members = calloc(runs, sizeof *members), *promoted = calloc(runs, sizeof *promoted);
    struct rank *ranks = calloc(runs, sizeof *ranks);
    bool ok = (members && promoted && ranks) ||
              error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
    ok = ok && rung_path(folder, rung, path, err) &&
         sweep_rung_members(folder, rung, members, &count, &decided, err);
    for (int i = 0; ok && i < count; i++) {
        struct sweep_outcome outcome;
        ok = sweep_outcome_read(folder, members[i], &outcome, err);
        const double key = folder->sweep.maximize ? -outcome.score : outcome.score;
        ranks[i] = (struct rank) { isnan(key) ? INFINITY : key, members[i] };
    }
    if (ok && !file_exists(path))
        ok = publish(path, decision_of(folder, rung, ranks, count, promoted), err);
    free(members);
    free(promoted);
    free(ranks);
    return ok;
}
