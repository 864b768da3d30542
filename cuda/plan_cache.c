/* Entries are kept in memory, read from the file when the cache is opened and written back
 * as a whole; see the header. */
#define XXH_INLINE_ALL
#include "plan_cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "micromet/base/file.h"
#include "micromet/base/log.h"

enum { KEY_BYTES = 256, HEAD_BYTES = 160 };
static const size_t file_limit = (size_t)1 << 30;

struct entry {
    char key[KEY_BYTES];
    bool from_file;
    bool tuned; /* chosen by measurement */
    /* cuDNN refused, and the text is the reason. Not saved: another start may succeed. */
    bool refused;
    int64_t engine;
    char *text; /* the plan as JSON */
    size_t size;
};

struct plan_cache {
    struct cudnn_target target;
    struct cudnn_limits limits;
    char header[KEY_BYTES + 32], path[PATH_MAX_BYTES];
    struct entry *entries;
    int count, capacity;
    bool unsaved, told;
};

static void describe(const struct tensor *t, char text[64])
{
    snprintf(text, 64, "%dx%dx%dx%d/%d", t->n, t->h, t->w, t->c, t->pixel_stride);
}

static void key_of(const struct plan_cache *cache, const struct op *op, char key[KEY_BYTES])
{
    char x[64], y[64];
    const struct op_convolution *c = &op->convolution;
    const struct op_window *w = &c->window;
    describe(&op->x, x);
    describe(&op->y, y);
    snprintf(key, KEY_BYTES, "%s %s x %s y %s kernel %dx%d stride %d pad %dx%d%s%s%s",
             op_kind_name(op->kind),
             op->x.dtype == DTYPE_BF16    ? "bf16"
             : cache->limits.tensor_cores ? "tf32"
                                          : "fp32",
             x, y, w->kernel_h, w->kernel_w, w->stride, w->pad_h, w->pad_w, c->bias ? " bias" : "",
             c->relu ? " relu" : "", c->accumulate ? " accumulate" : "");
}

static struct entry *find(const struct plan_cache *cache, const char *key)
{
    for (int i = 0; i < cache->count; i++)
        if (strcmp(cache->entries[i].key, key) == 0) return &cache->entries[i];
    return NULL;
}

/* Takes ownership of the text. Replaces an older entry with the same key. */
static bool put(struct plan_cache *cache, const struct entry *entry, struct error *err)
{
    struct entry *old = find(cache, entry->key);
    if (old) {
        free(old->text);
        *old = *entry;
        return true;
    }
    if (cache->count == cache->capacity) {
        const int capacity = cache->capacity ? 2 * cache->capacity : 128;
        struct entry *grown = realloc(cache->entries, (size_t)capacity * sizeof *grown);
        if (!grown) {
            free(entry->text);
            return error_set(err, EXIT_CODE_FAILED, "out of memory for the plans of cuDNN");
        }
        cache->entries = grown;
        cache->capacity = capacity;
    }
    cache->entries[cache->count++] = *entry;
    return true;
}

/* --- the file --- */

static int head_of(const struct entry *e, char head[HEAD_BYTES])
{
    return snprintf(head, HEAD_BYTES, "%d %lld %zu %zu", e->tuned, (long long)e->engine,
                    strlen(e->key), e->size);
}

static unsigned long long checksum(const struct entry *e)
{
    char head[HEAD_BYTES];
    const int length = head_of(e, head);
    const uint64_t a = XXH3_64bits_withSeed(head, (size_t)length, 0);
    const uint64_t b = XXH3_64bits_withSeed(e->key, strlen(e->key), a);
    return XXH3_64bits_withSeed(e->text, e->size, b);
}

/* Read the entry at offset `at`. Returns the offset of the next one, or 0 if it
 * is incomplete or damaged. */
static size_t read_entry(const char *bytes, size_t size, size_t at, struct entry *entry)
{
    char head[HEAD_BYTES] = "";
    const char *line_end = memchr(bytes + at, '\n', size - at);
    if (!line_end || (size_t)(line_end - bytes) - at >= sizeof head) return 0;
    memcpy(head, bytes + at, (size_t)(line_end - bytes) - at);
    int tuned;
    long long engine;
    size_t key_size, text_size;
    unsigned long long sum;
    if (sscanf(head, "%d %lld %zu %zu %llx", &tuned, &engine, &key_size, &text_size, &sum) != 5)
        return 0;
    const size_t key_at = (size_t)(line_end - bytes) + 1;
    if (key_size >= KEY_BYTES || text_size >= size) return 0;
    const size_t end = key_at + key_size + text_size + 1;
    if (end <= key_at || end > size) return 0;
    char *text = malloc(text_size + 1);
    if (!text) return 0;
    memcpy(text, bytes + key_at + key_size, text_size);
    text[text_size] = '\0';
    *entry = (struct entry) { .from_file = true, .tuned = tuned != 0, .engine = engine };
    memcpy(entry->key, bytes + key_at, key_size);
    entry->text = text;
    entry->size = text_size;
    if (checksum(entry) == sum) return end;
    free(entry->text);
    return 0;
}

static bool load(struct plan_cache *cache, struct error *err)
{
    char *bytes;
    size_t size;
    struct error unread = { 0 };
    if (!file_exists(cache->path)) return true;
    if (!file_read(cache->path, file_limit, &bytes, &size, &unread)) {
        log_warning("%s; plans of cuDNN are made anew", unread.message);
        return true;
    }
    const size_t header = strlen(cache->header);
    size_t at = size >= header && memcmp(bytes, cache->header, header) == 0 ? header : 0;
    if (at == 0)
        log_warning("%s: not the plans of this GPU and cuDNN; they are made anew", cache->path);
    bool ok = true;
    while (ok && at > 0 && at < size) {
        struct entry entry;
        const size_t next = read_entry(bytes, size, at, &entry);
        if (next == 0)
            log_warning("%s: damaged from byte %zu on; the plans behind it are made anew",
                        cache->path, at);
        at = next;
        ok = next == 0 || put(cache, &entry, err);
    }
    free(bytes);
    return ok;
}

static bool write_entry(FILE *stream, const struct entry *e)
{
    char head[HEAD_BYTES];
    head_of(e, head);
    return fprintf(stream, "%s %016llx\n%s", head, checksum(e), e->key) > 0 &&
           fwrite(e->text, 1, e->size, stream) == e->size && fputc('\n', stream) != EOF;
}

static bool write_file(const struct plan_cache *cache, struct error *err)
{
    char folder[PATH_MAX_BYTES];
    struct atomic_file file;
    path_folder(folder, cache->path);
    if (!folder_create(folder, err) || !atomic_file_open(&file, cache->path, err)) return false;
    bool ok = fputs(cache->header, file.stream) != EOF;
    for (int i = 0; i < cache->count && ok; i++)
        ok = cache->entries[i].refused || write_entry(file.stream, &cache->entries[i]);
    if (!ok) error_set(err, EXIT_CODE_FAILED, "%s: cannot be written", cache->path);
    ok = ok && atomic_file_commit(&file, err);
    atomic_file_release(&file);
    return ok;
}

void plan_cache_save(struct plan_cache *cache)
{
    struct error err = { 0 };
    if (cache->unsaved && !write_file(cache, &err))
        log_warning("%s; the next start plans again", err.message);
    cache->unsaved = false;
}

/* --- opening --- */

static bool default_folder(char folder[PATH_MAX_BYTES], struct error *err)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && cache[0] == '/') return path_join(folder, cache, "micromet", err);
    return path_join(folder, home ? home : "/tmp", ".cache/micromet", err);
}

/* The file's name and its first line contain the GPU model and the version of cuDNN. */
static bool open_file(struct plan_cache *cache, const char *device_name, int capability,
                      int multiprocessors, const char *folder, struct error *err)
{
    char name[KEY_BYTES], found[PATH_MAX_BYTES];
    snprintf(name, sizeof name, "cudnn-%zu-sm_%d-%d-%.100s.plans", cudnnGetVersion(), capability,
             multiprocessors, device_name);
    for (char *c = name; *c; c++)
        if (*c == ' ' || *c == '/') *c = '_';
    snprintf(cache->header, sizeof cache->header, "micromet plans 1 %s\n", name);
    if (!folder[0] && !default_folder(found, err)) return false;
    return path_join(cache->path, folder[0] ? folder : found, name, err) && load(cache, err);
}

static struct plan_cache *new_cache(const struct cudnn_limits *limits, struct error *err)
{
    struct plan_cache *cache = calloc(1, sizeof *cache);
    if (!cache) error_set(err, EXIT_CODE_FAILED, "out of memory for the plans of cuDNN");
    if (cache) cache->limits = *limits;
    return cache;
}

bool plan_cache_open_device(struct plan_cache **out, cudnnHandle_t handle,
                            const struct cudaDeviceProp *properties, const char *folder,
                            const struct cudnn_limits *limits, struct error *err)
{
    struct plan_cache *cache = *out = new_cache(limits, err);
    if (cache && cudnn_target_handle(&cache->target, handle, err) &&
        open_file(cache, properties->name, 10 * properties->major + properties->minor,
                  properties->multiProcessorCount, folder, err))
        return true;
    plan_cache_close(cache);
    *out = NULL;
    return false;
}

bool plan_cache_open_gpu(struct plan_cache **out, const struct gpu *gpu, const char *folder,
                         const struct cudnn_limits *limits, struct error *err)
{
    char json[GPU_JSON_BYTES];
    struct plan_cache *cache = *out = new_cache(limits, err);
    gpu_json(gpu, json);
    if (cache && cudnn_target_json(&cache->target, json, err) &&
        open_file(cache, gpu->device_name, gpu->capability, gpu->multiprocessors, folder, err))
        return true;
    plan_cache_close(cache);
    *out = NULL;
    return false;
}

void plan_cache_close(struct plan_cache *cache)
{
    if (!cache) return;
    plan_cache_save(cache);
    for (int i = 0; i < cache->count; i++) free(cache->entries[i].text);
    free(cache->entries);
    cudnn_target_release(&cache->target);
    free(cache);
}

const char *plan_cache_path(const struct plan_cache *cache)
{
    return cache->path;
}

const struct cudnn_target *plan_cache_target(const struct plan_cache *cache)
{
    return &cache->target;
}

const struct cudnn_limits *plan_cache_limits(const struct plan_cache *cache)
{
    return &cache->limits;
}

/* --- plans --- */

/* Failures are ignored: a plan that cuDNN cannot serialize, or that does not fit in memory, is
 * made again at the next start. */
static void keep(struct plan_cache *cache, const struct op *op, const struct cudnn_plan *plan,
                 bool tuned)
{
    struct error ignored = { 0 };
    struct entry entry = { .tuned = tuned, .engine = plan->engine };
    key_of(cache, op, entry.key);
    if (cudnn_plan_serialize(plan, &entry.text, &entry.size, &ignored) &&
        put(cache, &entry, &ignored))
        cache->unsaved = true;
}

static void keep_refusal(struct plan_cache *cache, const struct op *op, const char *reason)
{
    struct error ignored = { 0 };
    struct entry entry = { .refused = true, .text = strdup(reason) };
    key_of(cache, op, entry.key);
    if (entry.text) put(cache, &entry, &ignored);
}

bool plan_cache_plan(struct plan_cache *cache, const struct op *op, struct cudnn_plan *plan,
                     bool *reused, struct error *err)
{
    char key[KEY_BYTES];
    struct error refusal = { 0 };
    key_of(cache, op, key);
    const struct entry *entry = find(cache, key);
    *reused = entry && entry->from_file;
    if (entry && entry->refused) return error_set(err, EXIT_CODE_FAILED, "%s", entry->text);
    if (entry) {
        if (cudnn_plan_load(plan, entry->text, entry->size, entry->engine, &cache->target,
                            &cache->limits, &refusal))
            return true;
        log_info("%s: the plan of '%s' is made anew: %s", cache->path, key, refusal.message);
        error_clear(&refusal);
    }
    if (!cache->told)
        log_info("making plans with cuDNN, which compiles kernels: minutes at first, at once later "
                 "from %s",
                 cache->path);
    cache->told = true;
    int count;
    *reused = false;
    if (cudnn_plan_op(plan, 1, &count, op, &cache->target, &cache->limits, &refusal)) {
        keep(cache, op, plan, false);
        return true;
    }
    keep_refusal(cache, op, refusal.message);
    return error_set(err, EXIT_CODE_FAILED, "%s", refusal.message);
}

bool plan_cache_tuned(const struct plan_cache *cache, const struct op *op)
{
    char key[KEY_BYTES];
    key_of(cache, op, key);
    const struct entry *entry = find(cache, key);
    return entry && entry->tuned;
}

void plan_cache_keep_tuned(struct plan_cache *cache, const struct op *op,
                           const struct cudnn_plan *plan)
{
    keep(cache, op, plan, true);
}
