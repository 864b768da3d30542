/* Makes the folder of a sweep, or finds it. */
#include "micromet/sweep/folder.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "micromet/base/lock.h"
#include "micromet/base/log.h"
#include "micromet/base/size.h"
#include "micromet/base/text.h"
#include "micromet/base/yaml_tree.h"
#include "micromet/format/json.h"
#include "parts.h"

enum { TEXT_BYTES_MAX = 1 << 18 };
static const char frozen_name[] = "state/frozen.json";

static bool join(const struct sweep_folder *folder, const char *name, char path[PATH_MAX_BYTES],
                 struct error *err)
{
    return path_join(path, folder->path, name, err);
}

bool sweep_folder_path(const struct sweep_folder *folder, const char *part, int run,
                       const char *suffix, char path[PATH_MAX_BYTES], struct error *err)
{
    char name[64];
    snprintf(name, sizeof name, "%s/%04d%s", part, run, suffix);
    return join(folder, name, path, err);
}

bool sweep_folder_is_made(const struct sweep_folder *folder)
{
    char path[PATH_MAX_BYTES];
    struct error ignored = { 0 };
    return join(folder, frozen_name, path, &ignored) && file_exists(path);
}

int64_t sweep_steps(const struct config *config)
{
    return config->train.examples_per_epoch / config->train.batch * config->train.epochs;
}

bool sweep_folder_config(const struct sweep_folder *folder, int run, struct config *config,
                         struct error *err)
{
    char path[PATH_MAX_BYTES];
    if (!sweep_folder_path(folder, "configs", run, ".yaml", path, err)) return false;
    if (sweep_folder_is_made(folder)) return config_load(config, path, 0, NULL, err);
    if (!sweep_configure(&folder->sweep, run, config, err) ||
        !packs_place(&folder->sweep, config, err) ||
        !path_join(config->train.run, folder->path, "runs", err))
        return false;
    snprintf(config->name, sizeof config->name, "%04d", run);
    config->train.resume = RESUME_AUTO;
    return true;
}

/* --- freezing ----------------------------------------------------------------------------------*/

/* Of all that the runs follow from: the texts of the sweep and of its base. */
static bool hash_of(const struct sweep *sweep, const char *text, size_t size, char hash[32],
                    struct error *err)
{
    char *base;
    size_t base_size;
    if (!file_read(sweep->base, TEXT_BYTES_MAX, &base, &base_size, err)) return false;
    snprintf(hash, 32, "%016" PRIx64,
             (uint64_t)XXH3_64bits_withSeed(base, base_size, XXH3_64bits(text, size)));
    free(base);
    return true;
}

static bool write_configs(const struct sweep_folder *folder, FILE *plan, struct error *err)
{
    const struct sweep *sweep = &folder->sweep;
    fputs("run", plan);
    for (int i = 0; i < sweep->column_count; i++) {
        fputc(',', plan);
        text_print_csv(plan, sweep->columns[i].key);
    }
    fputs(",epochs,steps\n", plan);
    for (int run = 0; run < sweep->run_count; run++) {
        struct config config;
        struct atomic_file file = { 0 };
        char path[PATH_MAX_BYTES];
        if (!sweep_folder_config(folder, run, &config, err) ||
            !sweep_folder_path(folder, "configs", run, ".yaml", path, err))
            return false;
        bool ok = atomic_file_open(&file, path, err) && config_write(&config, file.stream, err) &&
                  atomic_file_commit(&file, err);
        atomic_file_release(&file);
        if (!ok) return false;
        fprintf(plan, "%04d", run);
        for (int i = 0; i < sweep->column_count; i++) {
            fputc(',', plan);
            text_print_csv(plan, sweep->runs[run].values[i].value);
        }
        const int64_t steps = sweep_steps(&config);
        fprintf(plan, ",%d,", config.train.epochs);
        if (steps) fprintf(plan, "%" PRId64, steps);
        fputc('\n', plan);
    }
    return true;
}

static bool write_plan(const struct sweep_folder *folder, struct error *err)
{
    struct atomic_file file = { 0 };
    char path[PATH_MAX_BYTES];
    const bool ok = join(folder, "plan.csv", path, err) && atomic_file_open(&file, path, err) &&
                    write_configs(folder, file.stream, err) && atomic_file_commit(&file, err);
    atomic_file_release(&file);
    return ok;
}

/* Last of all: with this file the folder is made. */
static bool write_frozen(const struct sweep_folder *folder, const char *hash, struct error *err)
{
    char path[PATH_MAX_BYTES];
    json_t *frozen = json_pack("{s:s, s:o, s:i}", "hash", hash, "folder",
                               json_name(folder->sweep.folder), "runs", folder->sweep.run_count);
    char *text = json_dumps(frozen, JSON_INDENT(1));
    const bool ok = (text || error_set(err, EXIT_CODE_FAILED, "out of memory for a sweep")) &&
                    join(folder, frozen_name, path, err) &&
                    file_write_atomic(path, text, strlen(text), err);
    free(text);
    json_decref(frozen);
    return ok;
}

/* A folder is one sweep's. */
static bool check_same(const struct sweep_folder *folder, struct error *err)
{
    char path[PATH_MAX_BYTES], hash[32];
    if (folder->frozen) return true;
    if (!hash_of(&folder->sweep, folder->text, folder->text_size, hash, err) ||
        !join(folder, frozen_name, path, err))
        return false;
    json_t *frozen = json_read_object(path);
    const char *had = json_string_value(json_object_get(frozen, "hash"));
    const bool same = had && strcmp(had, hash) == 0;
    json_decref(frozen);
    return same ||
           error_set(err, EXIT_CODE_USAGE,
                     "%s: was made from another sweep.yaml or another base configuration; name the "
                     "folder itself to go on with it, or give another --out",
                     folder->path);
}

static bool make_all(const struct sweep_folder *folder, struct error *err)
{
    char path[PATH_MAX_BYTES], hash[32];
    return hash_of(&folder->sweep, folder->text, folder->text_size, hash, err) &&
           write_plan(folder, err) && join(folder, "sweep.yaml", path, err) &&
           file_write_atomic(path, folder->text, folder->text_size, err) &&
           write_frozen(folder, hash, err);
}

bool sweep_folder_make(const struct sweep_folder *folder, struct error *err)
{
    static const char *const parts[] = { "configs", "runs", "state", "rungs" };
    struct lock_file lock;
    char path[PATH_MAX_BYTES];
    if (!join(folder, "config.yaml", path, err)) return false;
    if (file_exists(path))
        return error_set(err, EXIT_CODE_USAGE,
                         "%s: is the folder of a run; give the sweep another `name`, or --out",
                         folder->path);
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        if (!join(folder, parts[i], path, err) || !folder_create(path, err)) return false;
    if (!join(folder, "state/lock", path, err) || !lock_wait(&lock, path, err)) return false;
    const bool ok = sweep_folder_is_made(folder) ? check_same(folder, err) : make_all(folder, err);
    lock_file_release(&lock);
    return ok;
}

/* --- finding -----------------------------------------------------------------------------------*/

/* A folder that was made earlier, as it was frozen. */
static bool open_made(struct sweep_folder *folder, const char *path, struct error *err)
{
    char text_path[PATH_MAX_BYTES], frozen_path[PATH_MAX_BYTES];
    snprintf(folder->path, sizeof folder->path, "%s", path);
    folder->frozen = true;
    if (!join(folder, frozen_name, frozen_path, err) || !join(folder, "sweep.yaml", text_path, err))
        return false;
    json_t *frozen = json_read_object(frozen_path);
    const char *origin = json_string_value(json_object_get(frozen, "folder"));
    const bool ok =
        (origin || error_set(err, EXIT_CODE_USAGE, "%s: is no folder of a sweep", path)) &&
        file_read(text_path, TEXT_BYTES_MAX, &folder->text, &folder->text_size, err) &&
        sweep_parse(&folder->sweep, folder->text, folder->text_size, text_path, origin, err) &&
        (folder->sweep.run_count == json_integer_value(json_object_get(frozen, "runs")) ||
         error_set(err, EXIT_CODE_FAILED,
                   "%s: this version of the program makes other runs of it; use the one that began",
                   text_path));
    json_decref(frozen);
    return ok;
}

/* The text of the sweep's file, or of the command line. */
static bool read_text(struct sweep_folder *folder, const char *what, int count,
                      char *const *overrides, struct error *err)
{
    struct error cause = { 0 };
    if (!file_read(what, TEXT_BYTES_MAX, &folder->text, &folder->text_size, &cause))
        return error_set(err, EXIT_CODE_USAGE, "%s", cause.message);
    if (count == 0) return true;
    if (sweep_is_sweep(folder->text, folder->text_size))
        return error_set(err, EXIT_CODE_USAGE,
                         "%s: is a sweep; put %.100s into its sections instead", what,
                         overrides[0]);
    free(folder->text);
    folder->text = NULL;
    if (!sweep_text_of_line(&folder->text, what, count, overrides, err)) return false;
    folder->text_size = strlen(folder->text);
    return true;
}

static bool make_absolute(char absolute[PATH_MAX_BYTES], const char *path, struct error *err)
{
    char current[PATH_MAX_BYTES];
    return (getcwd(current, sizeof current) ||
            error_set(err, EXIT_CODE_FAILED, "cannot tell the current folder")) &&
           path_join(absolute, current, path, err);
}

/* Where relative paths start: the current folder for the command line, else the file's. */
static bool find_origin(char origin[PATH_MAX_BYTES], const char *file, struct error *err)
{
    char absolute[PATH_MAX_BYTES];
    if (!make_absolute(absolute, file ? file : "-", err)) return false;
    path_folder(origin, absolute);
    return true;
}

/* All configurations are good; the folder is where the first one's runs are, or as `out` says. */
static bool check_all(struct sweep_folder *folder, const char *name, const char *out,
                      struct error *err)
{
    const struct sweep *sweep = &folder->sweep;
    struct config config;
    for (int run = sweep->run_count - 1; run >= 0; run--)
        if (!sweep_configure(sweep, run, &config, err)) return false;
    if (!out) return path_join(folder->path, config.train.run, name, err);
    return make_absolute(folder->path, out, err);
}

bool sweep_folder_find(struct sweep_folder *folder, const char *what, int override_count,
                       char *const *overrides, const char *out, struct error *err)
{
    char origin[PATH_MAX_BYTES], stem[PATH_MAX_BYTES], name[PATH_MAX_BYTES];
    struct stat status;
    *folder = (struct sweep_folder) { 0 };
    if (stat(what, &status) == 0 && S_ISDIR(status.st_mode)) {
        char path[PATH_MAX_BYTES];
        if (override_count > 0 || out)
            return error_set(err, EXIT_CODE_USAGE,
                             "%s: the runs of this sweep are settled; make another one for %.100s",
                             what, out ? "--out" : overrides[0]);
        return make_absolute(path, what, err) && open_made(folder, path, err);
    }
    if (!read_text(folder, what, override_count, overrides, err) ||
        !find_origin(origin, override_count ? NULL : what, err))
        return false;
    path_stem(stem, what);
    if (!sweep_parse(&folder->sweep, folder->text, folder->text_size, override_count ? NULL : what,
                     origin, err))
        return false;
    snprintf(name, sizeof name, "%.200s%s", stem, override_count ? "-sweep" : "");
    if (!check_all(folder, *folder->sweep.name ? folder->sweep.name : name, out, err)) return false;
    return !sweep_folder_is_made(folder) || check_same(folder, err);
}

void sweep_folder_release(struct sweep_folder *folder)
{
    sweep_release(&folder->sweep);
    free(folder->text);
    *folder = (struct sweep_folder) { 0 };
}
