/* Which folder of packs a run has. */
#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

#include "micromet/base/size.h"
#include "parts.h"

/* Whether packs depend on the key. */
static bool shapes_packs(const char *key)
{
    static const char *const others[] = { "data.pack", "data.source", "data.sampling",
                                          "data.reader_threads", "data.ring" };
    for (size_t i = 0; i < COUNT_OF(others); i++)
        if (strcmp(key, others[i]) == 0) return false;
    return strcmp(key, "seed") == 0 || strncmp(key, "data.", 5) == 0;
}

static uint64_t hash_of(const struct config *config)
{
    struct config_key_facts key;
    uint64_t hash = 0;
    for (int i = 0; config_key_describe(i, &key); i++) {
        char value[CONFIG_VALUE_MAX];
        if (!shapes_packs(key.name)) continue;
        config_value(config, key.name, value);
        hash = XXH3_64bits_withSeed(key.name, strlen(key.name), hash);
        hash = XXH3_64bits_withSeed(value, strlen(value), hash);
    }
    return hash;
}

bool packs_place(const struct sweep *sweep, struct config *config, struct error *err)
{
    struct config base;
    char name[64], path[PATH_MAX_BYTES];
    if (!config_load(&base, sweep->base, 0, NULL, err)) return false;
    const uint64_t hash = hash_of(config);
    if (hash == hash_of(&base) || strcmp(base.data.pack, config->data.pack) != 0) return true;
    snprintf(name, sizeof name, "sweep-%016" PRIx64, hash);
    if (!path_join(path, config->data.pack, name, err)) return false;
    strcpy(config->data.pack, path);
    return true;
}
