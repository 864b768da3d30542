/* The packs of a sweep's runs: one folder for each choice of windows, made once, under a lock. */
#include <stdlib.h>
#include <string.h>

#include "micromet/base/log.h"
#include "micromet/run/prepare.h"
#include "parts.h"

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
