/* What the ranks of a training have in common; see the header. */
#include "ranks.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "micromet/base/log.h"
#include "micromet/base/size.h"
#include "micromet/base/stop.h"

/* Keys, or beginnings of keys, in which ranks may differ. */
static const char *const own[] = { "data.reader_threads", "compute.threads", "compute.device",
                                   "compute.plan_cache" };

static bool is_own(const char *key)
{
    for (size_t i = 0; i < COUNT_OF(own); i++)
        if (strncmp(key, own[i], strlen(own[i])) == 0) return true;
    return false;
}

bool ranks_agree_on_config(struct world *world, const struct config *config, struct error *err)
{
    struct config_key_facts facts;
    char value[CONFIG_VALUE_MAX];
    if (world_size(world) == 1) return true;
    if (!world_agree(world, "program", MICROMET_VERSION " " MICROMET_GIT, err)) return false;
    for (int i = 0; config_key_describe(i, &facts); i++) {
        if (is_own(facts.name)) continue;
        config_value(config, facts.name, value);
        if (!world_agree(world, facts.name, value, err)) return false;
    }
    return true;
}

bool ranks_compare_processors(struct world *world, const char *description, struct error *err)
{
    enum { BYTES = 256 };
    const int size = world_size(world);
    char mine[BYTES] = "";
    if (size == 1) return true;
    snprintf(mine, sizeof mine, "%s", description);
    char(*all)[BYTES] = calloc((size_t)size, sizeof *all);
    bool ok = all || error_set(err, EXIT_CODE_FAILED, "out of memory for %d ranks", size);
    ok = ok && world_gather(world, mine, sizeof mine, all, err);
    for (int r = 1; ok && r < size; r++) {
        if (strcmp(all[r], all[0]) == 0) continue;
        log_warning("rank %d computes with %.*s, rank 0 with %.*s: the last bits of the result "
                    "depend on which of them computes what",
                    r, BYTES - 1, all[r], BYTES - 1, all[0]);
        break;
    }
    free(all);
    return ok;
}

/* The values that the next step depends on. */
static bool hash_model(struct model *model, XXH3_state_t *state, struct error *err)
{
    bool ok = true;
    for (int i = 0; i < model_parameter_count(model) && ok; i++) {
        const struct parameter *p = model_parameter(model, i);
        const bool has[] = { [PART_VALUE] = true,
                             [PART_STATE1] = p->state1 != NULL,
                             [PART_STATE2] = p->state2 != NULL };
        const size_t bytes = (size_t)p->count * sizeof(float);
        float *values = malloc(bytes);
        ok = values || error_set(err, EXIT_CODE_FAILED, "out of memory for %s", p->name);
        for (size_t part = 0; part < COUNT_OF(has) && ok; part++) {
            if (!has[part]) continue;
            ok = model_read(model, i, (enum parameter_part)part, values, err);
            if (ok) XXH3_64bits_update(state, values, bytes);
        }
        free(values);
    }
    return ok;
}

bool ranks_agree_on_model(struct world *world, struct model *model, struct error *err)
{
    char text[32] = "";
    if (world_size(world) == 1) return true;
    XXH3_state_t *state = XXH3_createState();
    bool ok = state || error_set(err, EXIT_CODE_FAILED, "out of memory for a checksum");
    if (ok) XXH3_64bits_reset(state);
    ok = ok && hash_model(model, state, err);
    if (ok) snprintf(text, sizeof text, "%016llx", (unsigned long long)XXH3_64bits_digest(state));
    XXH3_freeState(state);
    return world_all_ok(world, ok, err) &&
           world_agree(world, "set of weights (a checksum)", text, err);
}

bool ranks_agree_on_checkpoint(struct world *world, const struct checkpoint *checkpoint,
                               struct error *err)
{
    char text[32];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)checkpoint->identity);
    return world_agree(world, "model (a checksum)", text, err);
}

bool ranks_all(struct world *world, bool so, bool *all, struct error *err)
{
    const int size = world_size(world);
    *all = so;
    if (size == 1) return true;
    bool *each = calloc((size_t)size, sizeof *each);
    bool ok = each || error_set(err, EXIT_CODE_FAILED, "out of memory for %d ranks", size);
    ok = ok && world_gather(world, &so, sizeof so, each, err);
    for (int r = 0; r < size && ok; r++) *all = *all && each[r];
    free(each);
    return ok;
}

bool ranks_agree_on_stop(struct world *world, struct error *err)
{
    const int size = world_size(world), own_signal = stop_signal();
    if (size == 1) return true;
    int *signals = calloc((size_t)size, sizeof *signals);
    bool ok = signals || error_set(err, EXIT_CODE_FAILED, "out of memory for %d ranks", size);
    ok = ok && world_gather(world, &own_signal, sizeof own_signal, signals, err);
    for (int r = 0; r < size && ok; r++)
        if (signals[r] != 0) stop_request(signals[r]);
    free(signals);
    return ok;
}
