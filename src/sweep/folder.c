/* Makes the folder of a sweep, or finds it. */
#include "micromet/sweep/folder.h"

#include <dirent.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

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
    if (run < folder->made_runs) /* the folder may have been moved or copied since */
        return config_load(config, path, 0, NULL, err) &&
               path_join(config->train.run, folder->path, "runs", err);
    if (!sweep_configure(&folder->sweep, run, config, err) ||
        !packs_place(&folder->sweep, config, err) ||
        !path_join(config->train.run, folder->path, "runs", err))
        return false;
    snprintf(config->name, sizeof config->name, "%04d", run);
    config->train.resume = RESUME_AUTO;
    return true;
}

/* --- freezing ----------------------------------------------------------------------------------*/

/* Of a file, and of what comes before it. */
static bool hash_file(const char *path, uint64_t before, char hash[32], struct error *err)
{
    char *text;
    size_t size;
    if (!file_read(path, TEXT_BYTES_MAX, &text, &size, err)) return false;
    snprintf(hash, 32, "%016" PRIx64, (uint64_t)XXH3_64bits_withSeed(text, size, before));
    free(text);
    return true;
}

/* Of all that the runs follow from: the texts of the sweep and of its base. */
static bool hash_of(const struct sweep_folder *folder, char hash[32], struct error *err)
{
    return hash_file(folder->sweep.base, XXH3_64bits(folder->text, folder->text_size), hash, err);
}

static bool write_config(const struct sweep_folder *folder, int run, const struct config *config,
                         struct error *err)
{
    struct atomic_file file = { 0 };
    char path[PATH_MAX_BYTES];
    const bool ok = sweep_folder_path(folder, "configs", run, ".yaml", path, err) &&
                    atomic_file_open(&file, path, err) && config_write(config, file.stream, err) &&
                    atomic_file_commit(&file, err);
    atomic_file_release(&file);
    return ok;
}

static bool write_configs(const struct sweep_folder *folder, FILE *plan, struct error *err)
{
    const struct sweep *sweep = &folder->sweep;
    fputs("run,configuration", plan);
    for (int i = 0; i < sweep->column_count; i++) {
        fputc(',', plan);
        text_print_csv(plan, sweep->columns[i].key);
    }
    fputs(",epochs,steps\n", plan);
    for (int run = 0; run < sweep->run_count; run++) {
        struct config config;
        if (!sweep_folder_config(folder, run, &config, err) ||
            (run >= folder->made_runs && !write_config(folder, run, &config, err)))
            return false;
        fprintf(plan, "%04d,%04d", run, sweep->runs[run].configuration);
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

/* sweep.yaml, sweep.1.yaml, ... */
static bool text_path(const struct sweep_folder *folder, int generation, char path[PATH_MAX_BYTES],
                      struct error *err)
{
    char name[32];
    snprintf(name, sizeof name, generation ? "sweep.%d.yaml" : "sweep.yaml", generation);
    return join(folder, name, path, err);
}

/* Last of all: with this file the folder is made, or has grown. */
static bool write_frozen(const struct sweep_folder *folder, struct error *err)
{
    char path[PATH_MAX_BYTES], hash[32], base[32];
    const struct sweep *sweep = &folder->sweep;
    if (!hash_of(folder, hash, err) || !hash_file(sweep->base, 0, base, err)) return false;
    json_t *runs = json_array();
    for (int i = 0; i < sweep->generation_count; i++)
        json_array_append_new(runs, json_integer(sweep->ends[i]));
    return join(folder, frozen_name, path, err) &&
           json_write(path,
                      json_pack("{s:s, s:s, s:o, s:o}", "hash", hash, "base", base, "folder",
                                json_name(sweep->folder), "runs", runs),
                      err);
}

static bool make_all(const struct sweep_folder *folder, struct error *err)
{
    char path[PATH_MAX_BYTES];
    return write_plan(folder, err) &&
           text_path(folder, folder->sweep.generation_count - 1, path, err) &&
           file_write_atomic(path, folder->text, folder->text_size, err) &&
           write_frozen(folder, err);
}

/* Under the lock: another process may have come first, with the same text or another. */
static bool make_once(const struct sweep_folder *folder, struct error *err)
{
    char path[PATH_MAX_BYTES], hash[32];
    if (!join(folder, frozen_name, path, err) || !hash_of(folder, hash, err)) return false;
    json_t *frozen = json_read_object(path);
    const char *had = json_string_value(json_object_get(frozen, "hash"));
    const bool same = had && strcmp(had, hash) == 0;
    const size_t generations = json_array_size(json_object_get(frozen, "runs"));
    json_decref(frozen);
    if (same) return true;
    if (generations == (size_t)folder->made_generations) return make_all(folder, err);
    return error_set(err, EXIT_CODE_FAILED,
                     "%s: another process has changed this sweep just now; start again",
                     folder->path);
}

static const char *const parts[] = { "configs", "runs", "state", "rungs" };

/* Whether a sweep that was not made to the end may have left it. */
static bool is_of_sweep(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        if (strcmp(name, parts[i]) == 0) return true;
    return name[0] == '.' || strncmp(name, "sweep.", 6) == 0 || strncmp(name, "plan.csv", 8) == 0;
}

/* A folder that is no sweep's yet holds nothing of others. */
static bool check_unused(const struct sweep_folder *folder, struct error *err)
{
    DIR *listing = sweep_folder_is_made(folder) ? NULL : opendir(folder->path);
    bool ok = true;
    if (!listing) return true;
    for (struct dirent *entry; ok && (entry = readdir(listing)) != NULL;)
        ok = is_of_sweep(entry->d_name) ||
             error_set(err, EXIT_CODE_USAGE,
                       "%s: holds other things, such as %.100s; give the sweep another `name`, or "
                       "--out",
                       folder->path, entry->d_name);
    closedir(listing);
    return ok;
}

bool sweep_folder_make(struct sweep_folder *folder, struct error *err)
{
    struct lock_file lock;
    char path[PATH_MAX_BYTES];
    if (folder->made_runs == folder->sweep.run_count) return true;
    if (!check_unused(folder, err)) return false;
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        if (!join(folder, parts[i], path, err) || !folder_create(path, err)) return false;
    if (!join(folder, "state/lock", path, err) || !lock_wait(&lock, path, err)) return false;
    const bool ok = make_once(folder, err);
    lock_file_release(&lock);
    if (!ok) return false;
    folder->made_runs = folder->sweep.run_count;
    folder->made_generations = folder->sweep.generation_count;
    return true;
}

/* --- finding -----------------------------------------------------------------------------------*/

/* The next text of the sweep, which has grown to so many runs with it. */
static bool read_generation(struct sweep_folder *folder, int generation, json_int_t runs,
                            const char *origin, struct error *err)
{
    char path[PATH_MAX_BYTES], *text;
    size_t size;
    struct sweep *sweep = &folder->sweep;
    if (!text_path(folder, generation, path, err) ||
        !file_read(path, TEXT_BYTES_MAX, &text, &size, err))
        return false;
    const bool ok = generation ? sweep_extend(sweep, folder->text, folder->text_size, text, size,
                                              path, origin, err)
                               : sweep_parse(sweep, text, size, path, origin, err);
    free(folder->text);
    folder->text = text;
    folder->text_size = size;
    if (!ok) return false;
    return sweep->run_count == runs ||
           error_set(err, EXIT_CODE_FAILED,
                     "%s: this version of the program makes other runs of it; use the one that "
                     "began",
                     path);
}

/* A folder that was made earlier, as it was frozen. */
static bool open_made(struct sweep_folder *folder, const char *path, struct error *err)
{
    char frozen_path[PATH_MAX_BYTES];
    snprintf(folder->path, sizeof folder->path, "%s", path);
    if (!join(folder, frozen_name, frozen_path, err)) return false;
    json_t *frozen = json_read_object(frozen_path);
    const json_t *runs = json_object_get(frozen, "runs");
    const char *origin = json_string_value(json_object_get(frozen, "folder"));
    const int generations = (int)json_array_size(runs);
    bool ok = (origin && generations > 0 && generations <= SWEEP_GENERATIONS_MAX) ||
              error_set(err, EXIT_CODE_USAGE, "%s: is no folder of a sweep", path);
    for (int i = 0; ok && i < generations; i++)
        ok = read_generation(folder, i, json_integer_value(json_array_get(runs, (size_t)i)), origin,
                             err);
    json_decref(frozen);
    folder->made_runs = folder->sweep.run_count;
    folder->made_generations = generations;
    return ok;
}

/* The folder that is there is of the same base. */
static bool check_base(const struct sweep_folder *made, const char *base, struct error *err)
{
    char path[PATH_MAX_BYTES], hash[32];
    if (!join(made, frozen_name, path, err) || !hash_file(base, 0, hash, err)) return false;
    json_t *frozen = json_read_object(path);
    const char *had = json_string_value(json_object_get(frozen, "base"));
    const bool same = had && strcmp(had, hash) == 0;
    json_decref(frozen);
    return same ||
           error_set(err, EXIT_CODE_USAGE,
                     "%s: was made from another base configuration; name the folder itself to go "
                     "on with it, or give another --out",
                     made->path);
}

/* Go on with the folder that is there, to which the text, from the file `name` or NULL, may add
 * runs. */
static bool join_made(struct sweep_folder *folder, const char *name, struct error *err)
{
    struct sweep_folder made = { 0 };
    const struct sweep *sweep = &folder->sweep;
    const bool ok = open_made(&made, folder->path, err) && check_base(&made, sweep->base, err) &&
                    sweep_extend(&made.sweep, made.text, made.text_size, folder->text,
                                 folder->text_size, name, sweep->folder, err);
    if (!ok) {
        sweep_folder_release(&made);
        return false;
    }
    if (made.sweep.run_count > made.made_runs) {
        char *text = made.text;
        made.text = folder->text;
        made.text_size = folder->text_size;
        folder->text = text;
    }
    sweep_folder_release(folder);
    *folder = made;
    return true;
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
    return !sweep_folder_is_made(folder) || join_made(folder, override_count ? NULL : what, err);
}

void sweep_folder_release(struct sweep_folder *folder)
{
    sweep_release(&folder->sweep);
    free(folder->text);
    *folder = (struct sweep_folder) { 0 };
}
