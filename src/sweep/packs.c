/* The packs of a sweep's runs: one folder for each choice of windows, made once, under a lock. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "micromet/base/log.h"
#include "micromet/run/prepare.h"
#include "parts.h"

bool unique_names_add(struct unique_names *list, const char *name, bool *added, struct error *err)
{
    const size_t size = strlen(name) + 1;
    *added = false;
    for (size_t at = 0; at < list->size; at += strlen(list->names + at) + 1)
        if (strcmp(list->names + at, name) == 0) return true;
    char *grown = realloc(list->names, list->size + size);
    if (!grown) return error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep");
    list->names = grown;
    memcpy(grown + list->size, name, size);
    list->size += size;
    *added = true;
    return true;
}

void unique_names_release(struct unique_names *list)
{
    free(list->names);
    *list = (struct unique_names) { 0 };
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
    struct unique_names seen = { 0 };
    bool ok = true;
    for (int run = 0; ok && run < folder->sweep.run_count; run++) {
        struct config config;
        bool added = false;
        ok = sweep_folder_config(folder, run, &config, err);
        if (ok && config.data.source == DATA_SOURCE_PACKS)
            ok = unique_names_add(&seen, config.data.pack, &added, err);
        if (ok && added) ok = prepare(&config, err);
    }
    unique_names_release(&seen);
    return ok;
}

/* Says for how many runs. */
static bool prepared_path(const struct sweep_folder *folder, char path[PATH_MAX_BYTES],
                          struct error *err)
{
    return path_join(path, folder->path, "state/prepared", err);
}

bool packs_forget(const struct sweep_folder *folder, struct error *err)
{
    char path[PATH_MAX_BYTES];
    if (!prepared_path(folder, path, err)) return false;
    return unlink(path) == 0 || errno == ENOENT ||
           error_set(err, EXIT_CODE_FAILED, "%s: cannot be removed: %s", path, strerror(errno));
}

bool packs_are_prepared(const struct sweep_folder *folder)
{
    char path[PATH_MAX_BYTES], *text;
    size_t size;
    struct error ignored = { 0 };
    if (!prepared_path(folder, path, &ignored) || !file_read(path, 64, &text, &size, &ignored))
        return false;
    const int runs = atoi(text);
    free(text);
    return runs >= folder->sweep.run_count;
}

static bool note_prepared(const struct sweep_folder *folder, struct error *err)
{
    char path[PATH_MAX_BYTES], text[32];
    const int size = snprintf(text, sizeof text, "%d\n", folder->sweep.run_count);
    return prepared_path(folder, path, err) && file_write_atomic(path, text, (size_t)size, err);
}

bool packs_prepare(const struct sweep_folder *folder, struct error *err)
{
    char path[PATH_MAX_BYTES];
    struct lock_file lock;
    if (packs_are_prepared(folder)) return true;
    if (!path_join(path, folder->path, "state/prepare.lock", err) || !lock_wait(&lock, path, err))
        return false;
    const bool ok = packs_are_prepared(folder) ||
                    (prepare_all(folder, err) && note_prepared(folder, err));
    lock_file_release(&lock);
    return ok;
}
