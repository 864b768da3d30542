/* What became of runs. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "micromet/format/json.h"
#include "parts.h"

static const char *const state_names[] = { "pending", "done", "failed" };

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
    return json_write(path, object, err);
}

bool sweep_outcome_is_final(const struct sweep_outcome *outcome, int epochs)
{
    return outcome->state == SWEEP_FAILED ||
           (outcome->state == SWEEP_DONE && outcome->epochs >= epochs);
}
