/* The packs of a sweep's runs: one folder for each choice of windows, made once, under a lock. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "micromet/base/log.h"
#include "micromet/base/size.h"
#include "micromet/run/prepare.h"
#include "parts.h"

bool lock_wait(struct lock_file *lock, const char *path, struct error *err)
{
    static const struct timespec pause = { .tv_nsec = 200 * 1000 * 1000 };
    char holder[LOCK_HOLDER_BYTES];
    enum lock_state state;
    for (bool told = false;; told = true) {
        if (!lock_file_take(lock, path, &state, holder, err)) return false;
        if (state != LOCK_OF_OTHERS) return true;
        if (!told) log_info("%s: waiting for %s", path, holder);
        nanosleep(&pause, NULL);
    }
}

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

/* The folders that were seen, NUL after NUL. */
static bool is_new(char **seen, size_t *size, const char *folder, struct error *err)
{
    for (size_t at = 0; at < *size; at += strlen(*seen + at) + 1)
        if (strcmp(*seen + at, folder) == 0) return false;
    char *grown = realloc(*seen, *size + strlen(folder) + 1);
    if (!grown) return error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
    *seen = grown;
    strcpy(grown + *size, folder);
    *size += strlen(folder) + 1;
    return true;
}

static bool prepare(const struct config *config, struct error *err)
{
    struct prepare_result result;
    if (!prepare_run(config, false, &result, err)) return false;
    if (result.failed == result.slides)
        return error_set(err, EXIT_CODE_FAILED, "%s: no slide could be prepared (reasons above)",
                         config->data.manifest);
    log_info("packs in %s: %d built, %d reused, %d failed", config->data.pack, result.built,
             result.reused, result.failed);
    return true;
}

static bool prepare_all(const struct sweep_folder *folder, struct error *err)
{
    char *seen = NULL;
    size_t size = 0;
    bool ok = true;
    for (int run = 0; ok && run < folder->sweep.run_count; run++) {
        struct config config;
        ok = sweep_folder_config(folder, run, &config, err);
        if (ok && config.data.source == DATA_SOURCE_PACKS &&
            is_new(&seen, &size, config.data.pack, err))
            ok = prepare(&config, err);
        ok = ok && err->code == EXIT_CODE_OK;
    }
    free(seen);
    return ok;
}

bool packs_prepare(const struct sweep_folder *folder, struct error *err)
{
    char path[PATH_MAX_BYTES], lock_path[PATH_MAX_BYTES];
    struct lock_file lock;
    if (!path_join(path, folder->path, "state/prepared", err) ||
        !path_join(lock_path, folder->path, "state/prepare.lock", err))
        return false;
    if (file_exists(path)) return true;
    if (!lock_wait(&lock, lock_path, err)) return false;
    const bool ok = file_exists(path) ||
                    (prepare_all(folder, err) && file_write_atomic(path, "", 0, err));
    lock_file_release(&lock);
    return ok;
}
