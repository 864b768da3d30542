/* See the header. */
#include "hyperparameters.h"

#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"

enum { HYPERPARAMETERS_MAX = 128 };

/* Keys, or prefixes of keys, that say where and how a run computes rather than what. Precision is
 * none of them. */
static const char *const others[] = {
    "name",
    "data.pack",
    "data.reader_threads",
    "data.ring",
    "train.resume",
    "train.requeue",
    "train.keep",
    "train.checkpoint_steps",
    "train.run",
    "compute.backend",
    "compute.threads",
    "compute.device",
    "compute.autotune",
    "compute.workspace",
    "compute.plan_cache",
};

static bool is_hyperparameter(const char *key)
{
    for (size_t i = 0; i < COUNT_OF(others); i++)
        if (strncmp(key, others[i], strlen(others[i])) == 0) return false;
    return true;
}

/* A key and its value as YAML, which tells numbers from texts of digits by quotes. */
static struct hyperparameter typed(const char *name, const char *text)
{
    char *end;
    struct hyperparameter h = { .name = name, .kind = HYPERPARAMETER_TEXT, .text = text };
    const bool truth = strcmp(text, "true") == 0;
    if (truth || strcmp(text, "false") == 0) {
        h.kind = HYPERPARAMETER_BOOL;
        h.number = truth;
    } else if (*text && !text[strspn(text, "+-.0123456789eE")]) {
        h.number = strtod(text, &end);
        if (!*end) h.kind = HYPERPARAMETER_NUMBER;
    }
    return h;
}

bool hyperparameters_write(struct tensorboard *board, const struct config *config,
                           struct error *err)
{
    struct hyperparameter all[HYPERPARAMETERS_MAX];
    char *texts[HYPERPARAMETERS_MAX], text[CONFIG_VALUE_MAX];
    struct config_key_facts facts;
    int count = 0;
    bool ok = true;
    for (int i = 0; ok && config_key_describe(i, &facts); i++) {
        if (!is_hyperparameter(facts.name)) continue;
        CHECK(count < HYPERPARAMETERS_MAX);
        config_value(config, facts.name, text);
        ok = (texts[count] = strdup(text)) != NULL ||
             error_set(err, EXIT_CODE_FAILED, "no memory for the hyperparameters");
        if (ok) all[count] = typed(facts.name, texts[count]);
        count += ok;
    }
    ok = ok && tensorboard_begin(board, all, count, err);
    for (int i = 0; i < count; i++) free(texts[i]);
    return ok;
}
