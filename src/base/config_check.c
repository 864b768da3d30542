/* What the schema table cannot express: values derived from other values, and rules between keys,
 * one table row per rule. */
#include "config_schema.h"

#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"

void config_choose_towers(struct config *config, bool levels_given)
{
    struct config_data *data = &config->data;
    if (data->um_per_px_count == 0 && data->levels[0] < 0) data->level_count = 0;
    if (data->um_per_px_count == 0 || (levels_given && data->level_count > 0)) return;
    data->level_count = data->um_per_px_count;
    for (int i = 0; i < TOWERS_MAX; i++) data->levels[i] = i < data->level_count ? -1 : 0;
}

void config_resolve(struct config *config, const char *path)
{
    char stem[PATH_MAX_BYTES] = "";
    if (path) path_stem(stem, path);
    const bool usable = stem[0] && strlen(stem) < sizeof(config->name);
    if (!config->name[0]) snprintf(config->name, sizeof(config->name), "%s", usable ? stem : "run");

    static const double epsilons[] = {
        [OPTIMIZER_ADAM] = 1e-7, [OPTIMIZER_RMSPROP] = 1, [OPTIMIZER_ADAMW] = 1e-8
    };
    if (config->optimizer.epsilon == 0 && config->optimizer.name != OPTIMIZER_SGD)
        config->optimizer.epsilon = epsilons[config->optimizer.name];

    /* One batch is computed while the next is read. Old configurations may say 1. */
    if (config->data.ring < 2) config->data.ring = 2;
}

static bool name_is_plain(const struct config *config)
{
    return !strchr(config->name, '/') && config->name[0] != '.';
}

static bool levels_exist(const struct config *config)
{
    return config->data.level_count > 0;
}

static bool levels_ascend(const struct config *config)
{
    for (int i = 1; i < config->data.level_count; i++)
        if (config->data.levels[i] >= 0 && config->data.levels[i] <= config->data.levels[i - 1])
            return false;
    return true;
}

static bool scales_stand_alone(const struct config *config)
{
    return config->data.um_per_px_count == 0 || config->data.levels[0] < 0;
}

static bool scales_ascend(const struct config *config)
{
    for (int i = 1; i < config->data.um_per_px_count; i++)
        if (!(config->data.um_per_px[i] > config->data.um_per_px[i - 1])) return false;
    return true;
}

static bool shrinks_something(const struct config *config)
{
    return config->data.shrink_from == SHRINK_FROM_LEVEL || config->data.um_per_px_count > 0;
}

static bool center_fits(const struct config *config)
{
    return config->data.center <= config->data.window;
}

static bool batch_fits(const struct config *config)
{
    const int64_t per_epoch = config->train.examples_per_epoch;
    return per_epoch == 0 || config->train.batch <= per_epoch;
}

static bool shards_divide_batch(const struct config *config)
{
    return config->train.shards == 0 || config->train.batch % config->train.shards == 0;
}

static bool min_is_below_rate(const struct config *config)
{
    const bool used = config->schedule.name == SCHEDULE_PLATEAU ||
                      config->schedule.name == SCHEDULE_COSINE;
    return !used || config->schedule.min <= config->optimizer.learning_rate;
}

static bool warmup_ends(const struct config *config)
{
    const int64_t per_epoch = config->train.examples_per_epoch;
    return config->schedule.name != SCHEDULE_COSINE || per_epoch == 0 ||
           config->schedule.warmup_examples < per_epoch * config->train.epochs;
}

static bool one_says_what_values_mean(const struct config *config)
{
    return !config->data.label_count || !config->data.mask_value_count;
}

static bool requeue_goes_on(const struct config *config)
{
    return !config->train.requeue || config->train.resume == RESUME_AUTO;
}

struct rule {
    const char *key;
    bool (*holds)(const struct config *config);
    const char *otherwise;
};

static const struct rule rules[] = {
    { "name", name_is_plain, "is not a plain folder name: it holds '/' or begins with '.'" },
    { "data.levels", levels_exist, "is empty: a model has at least one tower" },
    { "data.um_per_px", scales_stand_alone,
      "and data.levels both say what towers see; give one of them and set the other to []" },
    { "data.um_per_px", scales_ascend, "is not ascending; list distinct scales, finest first" },
    { "data.levels", levels_ascend, "is not ascending; list distinct levels, finest first" },
    { "data.shrink_from", shrinks_something, "needs data.um_per_px: levels are read as they are" },
    { "data.center", center_fits, "is above data.window" },
    { "train.batch", batch_fits,
      "is more than train.examples_per_epoch, the windows of an epoch; lower it, or raise that" },
    { "train.shards", shards_divide_batch, "does not divide train.batch into equal pieces" },
    { "schedule.min", min_is_below_rate, "is above optimizer.learning_rate" },
    { "schedule.warmup_examples", warmup_ends,
      "is not below train.epochs * train.examples_per_epoch: the run would end in the warm-up" },
    { "data.mask_values", one_says_what_values_mean,
      "cannot be said together with data.labels; write there what each value means" },
    { "train.requeue", requeue_goes_on,
      "needs train.resume: auto, or the requeued job would not go on" },
};

bool config_check(const struct config *config, int *key, struct error *err)
{
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        if (rules[i].holds(config)) continue;
        char value[CONFIG_TEXT_MAX];
        *key = config_key_find(rules[i].key);
        config_format(config, &config_keys[*key], value);
        return error_set(err, EXIT_CODE_USAGE, "%s: %.200s %s", rules[i].key, value,
                         rules[i].otherwise);
    }
    return true;
}
