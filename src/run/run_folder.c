/* The files of a run. Checkpoints are named by step, so the newest is found without opening any. */
#include "run_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "micromet/base/log.h"
#include "micromet/base/output.h"
#include "micromet/base/stop.h"
#include "micromet/base/thread.h"

enum { METRICS_BYTES_MAX = 1 << 30, CHECKPOINTS_PATH_MAX = PATH_MAX_BYTES - 40 };
static const char metrics_name[] = "metrics.jsonl";
static const char remedy[] = "train as the folder's owner, or elsewhere with train.run=FOLDER";

/* Slurm starts a job again, perhaps on another host, before the last start's processes have all
 * ended, or before a file server has noticed that their host went down. */
enum { LAST_START_WAIT_S = 150, SILENCE_S = 4 * LOCK_BEAT_S };

static bool is_own_last_start(const struct lock_holder *holder)
{
    char job[SLURM_JOB_BYTES];
    return slurm_restarts() > 0 && slurm_job(job) && strcmp(job, holder->job) == 0;
}

/* Take the lock, waiting for this job's own last start to end. */
static bool take_lock(struct run_folder *folder, const char *path, enum lock_state *state,
                      struct lock_holder *holder, struct error *err)
{
    const double end_s = clock_seconds() + LAST_START_WAIT_S;
    bool told = false;
    while (lock_file_take(&folder->lock, path, state, holder, err)) {
        if (*state != LOCK_OF_OTHERS || !is_own_last_start(holder) || clock_seconds() > end_s)
            return true;
        if (!told)
            log_info("%s: waiting, %d s at most, for the end of this job's last start (%s)",
                     folder->path, LAST_START_WAIT_S, holder->text);
        told = true;
        usleep(100000);
        if (!stop_check(err)) return false;
    }
    return error_append(err, "; %s", remedy);
}

static bool refuse(const struct run_folder *folder, const char *path,
                   const struct lock_holder *holder, struct error *err)
{
    switch (lock_file_watch(path, holder, SILENCE_S)) {
    case LOCK_ENDED:
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: its lock is stale: %s, has ended, but a process that it started may "
                         "still hold it; when nothing trains there any more, remove %s",
                         folder->path, holder->text, path);
    case LOCK_SILENT:
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: its lock is stale: %s, has given no sign of life for %d s; when it "
                         "has ended, or its host is down, remove %s",
                         folder->path, holder->text, SILENCE_S, path);
    case LOCK_ALIVE:
        break;
    }
    return error_set(err, EXIT_CODE_FAILED,
                     "%s: another training works in this folder (%s); stop it or wait for its "
                     "end, or give another name=... to train beside it",
                     folder->path, holder->text);
}

/* Lock the folder, and remove the incomplete files of a killed run. */
static bool lock(struct run_folder *folder, struct error *err)
{
    char path[PATH_MAX_BYTES];
    struct lock_holder holder;
    enum lock_state state;
    if (!path_join(path, folder->path, "lock", err) ||
        !take_lock(folder, path, &state, &holder, err))
        return false;
    if (state == LOCK_OF_OTHERS) return refuse(folder, path, &holder, err);
    if (state == LOCK_UNKNOWN)
        log_warning("%s: this file system has no locks; see to it that no other training works in "
                    "this folder",
                    folder->path);
    atomic_files_clean(folder->path, NULL);
    atomic_files_clean(folder->checkpoints, NULL);
    return true;
}

bool run_folder_name(struct run_folder *folder, const struct config *config, struct error *err)
{
    *folder = (struct run_folder) { 0 };
    return path_join(folder->path, config->train.run, config->name, err) &&
           path_join(folder->checkpoints, folder->path, "checkpoints", err);
}

bool run_folder_init(struct run_folder *folder, const struct config *config, struct error *err)
{
    return run_folder_name(folder, config, err) &&
           (!file_exists(folder->path) || lock(folder, err));
}

bool run_folder_check(const struct run_folder *folder, struct error *err)
{
    char path[PATH_MAX_BYTES];
    run_folder_checkpoint_path(folder, 0, path);
    if (!output_check(path, remedy, err) || !path_join(path, folder->path, metrics_name, err) ||
        !output_check(path, remedy, err))
        return false;
    return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0 || errno == ENOENT ||
           error_set(err, EXIT_CODE_FAILED, "%s: cannot be written: %s; %s", path, strerror(errno),
                     remedy);
}

/* Create the folder, and lock it unless run_folder_init() did. Another
 * training may have come first. */
static bool make_and_lock(struct run_folder *folder, struct error *err)
{
    char path[PATH_MAX_BYTES];
    if (!folder_create(folder->checkpoints, err)) return false;
    if (folder->lock.stream) return true;
    if (!lock(folder, err) || !run_folder_latest(folder, path, err)) return false;
    return !path[0] ||
           error_set(err, EXIT_CODE_FAILED,
                     "%s: another training wrote into this folder while this one began; add "
                     "--resume to go on, or give another name=... to keep it",
                     folder->path);
}

static bool write_config(const struct run_folder *folder, const struct config *config,
                         struct error *err)
{
    char path[PATH_MAX_BYTES], *text = NULL;
    size_t size = 0;
    if (!path_join(path, folder->path, "config.yaml", err)) return false;
    FILE *stream = open_memstream(&text, &size);
    if (!stream) return error_set(err, EXIT_CODE_FAILED, "no memory for the configuration");
    bool ok = config_write(config, stream, err);
    fclose(stream);
    ok = ok && file_write_atomic(path, text, size, err);
    free(text);
    return ok;
}

void run_folder_release(struct run_folder *folder)
{
    if (folder->metrics) fclose(folder->metrics);
    tensorboard_release(folder->board);
    lock_file_release(&folder->lock);
    *folder = (struct run_folder) { 0 };
}

/* Whether the line was logged no later than `state`. */
static bool is_earlier(const json_t *line, const struct training_state *state)
{
    const json_t *step = json_object_get(line, "step"), *epoch = json_object_get(line, "epoch");
    const char *kind = json_string_value(json_object_get(line, "kind"));
    if (!json_is_integer(step) || json_integer_value(step) > state->step) return false;
    return !kind || strcmp(kind, "validation") != 0 || json_integer_value(epoch) <= state->epoch;
}

static bool drop_later_lines(const char *path, const struct training_state *state,
                             struct error *err)
{
    char *text;
    size_t size;
    if (!file_exists(path)) return true;
    if (!file_read(path, METRICS_BYTES_MAX, &text, &size, err)) return false;
    size_t kept = 0;
    for (char *line = text, *end; line < text + size; line = end) {
        end = memchr(line, '\n', (size_t)(text + size - line));
        if (!end) break; /* incomplete line after a crash */
        end++;
        json_t *object = json_loadb(line, (size_t)(end - line), 0, NULL);
        if (is_earlier(object, state)) {
            memmove(text + kept, line, (size_t)(end - line));
            kept += (size_t)(end - line);
        }
        json_decref(object);
    }
    const bool ok = file_write_atomic(path, text, kept, err);
    free(text);
    return ok;
}

bool run_folder_start(struct run_folder *folder, const struct config *config,
                      const struct training_state *state, struct error *err)
{
    char path[PATH_MAX_BYTES];
    if (!make_and_lock(folder, err)) return false;
    if (!write_config(folder, config, err) || !path_join(path, folder->path, metrics_name, err) ||
        !drop_later_lines(path, state, err))
        return false;
    folder->metrics = fopen(path, state->step == 0 ? "w" : "a");
    if (!folder->metrics)
        return error_set(err, EXIT_CODE_FAILED, "%s: cannot be written: %s", path, strerror(errno));
    return tensorboard_init(&folder->board, folder->path, err);
}

bool run_folder_log(struct run_folder *folder, const char *group, int64_t step, json_t *object,
                    struct error *err)
{
    const char *key;
    json_t *value;
    bool ok = true;
    json_object_foreach(object, key, value)
    {
        char tag[128];
        snprintf(tag, sizeof tag, "%s/%s", group, key);
        if (json_is_real(value) && ok)
            ok = tensorboard_scalar(folder->board, tag, step, json_real_value(value), err);
    }
    json_object_set_new(object, "kind", json_string(group));
    json_object_set_new(object, "step", json_integer(step));
    json_dumpf(object, folder->metrics, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(object);
    if (fputc('\n', folder->metrics) == EOF || fflush(folder->metrics) != 0)
        return error_set(err, EXIT_CODE_FAILED, "%s/metrics.jsonl: cannot be written: %s",
                         folder->path, strerror(errno));
    return ok && tensorboard_flush(folder->board, err);
}

void run_folder_checkpoint_path(const struct run_folder *folder, int64_t step,
                                char path[PATH_MAX_BYTES])
{
    /* run_folder_check() refuses a folder whose path leaves no room for this. */
    snprintf(path, PATH_MAX_BYTES, "%.*s/step-%09lld.safetensors", CHECKPOINTS_PATH_MAX,
             folder->checkpoints, (long long)step);
}

/* The step of "step-000000123.safetensors", else -1. */
static int64_t step_of(const char *name)
{
    long long step = -1;
    int used = 0;
    if (sscanf(name, "step-%lld.safetensors%n", &step, &used) != 1 || name[used] || used == 0)
        return -1;
    return step;
}

static int newest_first(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* Steps of all checkpoints, newest first; malloc'ed. */
static bool list_steps(const struct run_folder *folder, int64_t **steps, int *count,
                       struct error *err)
{
    *steps = NULL;
    *count = 0;
    DIR *listing = opendir(folder->checkpoints);
    if (!listing && errno == ENOENT) return true;
    if (!listing)
        return error_set(err, EXIT_CODE_FAILED, "%s: cannot be read: %s", folder->checkpoints,
                         strerror(errno));
    bool ok = true;
    for (struct dirent *entry; ok && (entry = readdir(listing)) != NULL;) {
        const int64_t step = step_of(entry->d_name);
        if (step < 0) continue;
        int64_t *grown = realloc(*steps, ((size_t)*count + 1) * sizeof *grown);
        ok = grown != NULL || error_set(err, EXIT_CODE_FAILED, "no memory for a listing");
        if (!ok) break;
        *steps = grown;
        grown[(*count)++] = step;
    }
    closedir(listing);
    if (*count > 0) qsort(*steps, (size_t)*count, sizeof **steps, newest_first);
    return ok;
}

bool run_folder_latest(const struct run_folder *folder, char path[PATH_MAX_BYTES],
                       struct error *err)
{
    int64_t *steps;
    int count;
    path[0] = '\0';
    const bool ok = list_steps(folder, &steps, &count, err);
    if (ok && count > 0) run_folder_checkpoint_path(folder, steps[0], path);
    free(steps);
    return ok;
}

/* As a file of its own, where the file system has no hard links. */
static bool copy_checkpoint(const char *best, const char *path, struct error *err)
{
    enum { CHUNK_BYTES = 1 << 20 };
    struct atomic_file file = { 0 };
    char *chunk = malloc(CHUNK_BYTES);
    FILE *from = fopen(path, "rbe");
    bool ok = (chunk && from) ||
              error_set(err, EXIT_CODE_FAILED, "%s: cannot be read: %s", path, strerror(errno));
    ok = ok && atomic_file_open(&file, best, err);
    for (size_t got; ok && (got = fread(chunk, 1, CHUNK_BYTES, from)) > 0;)
        fwrite(chunk, 1, got, file.stream); /* atomic_file_commit() checks the stream */
    ok = ok && (!ferror(from) ||
                error_set(err, EXIT_CODE_FAILED, "%s: cannot be read: %s", path, strerror(errno)));
    ok = ok && atomic_file_commit(&file, err);
    atomic_file_release(&file);
    if (from) fclose(from);
    free(chunk);
    return ok;
}

bool run_folder_mark_best(const struct run_folder *folder, const char *path, struct error *err)
{
    char best[PATH_MAX_BYTES], temporary[PATH_MAX_BYTES];
    if (!path_join(best, folder->checkpoints, "best.safetensors", err) ||
        !path_join(temporary, folder->checkpoints, ".best.safetensors", err))
        return false;
    unlink(temporary);
    const bool linked = link(path, temporary) == 0 && rename(temporary, best) == 0;
    unlink(temporary); /* rename() does nothing if both are links to one file */
    return linked || copy_checkpoint(best, path, err);
}

bool run_folder_prune(const struct run_folder *folder, int keep, struct error *err)
{
    int64_t *steps;
    int count;
    CHECK(keep >= 0);
    bool ok = list_steps(folder, &steps, &count, err);
    for (int i = keep; i < count && ok; i++) {
        char path[PATH_MAX_BYTES];
        run_folder_checkpoint_path(folder, steps[i], path);
        if (unlink(path) != 0)
            ok = error_set(err, EXIT_CODE_FAILED, "%s: cannot be removed: %s", path,
                           strerror(errno));
    }
    free(steps);
    return ok;
}
