/* Results looked up by their inputs, compared byte by byte; see the header. A short list, newest
 * last, is enough, because tests repeat what they have just run. */
#include "cudnn_memo.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "simulated_dnn_control.h"

enum { ENTRIES_MAX = 64 };

struct entry {
    struct memo_part parts[MEMO_PARTS_MAX]; /* copies */
    int count;
    void *result;
    size_t bytes; /* of parts and result */
};

static struct entry entries[ENTRIES_MAX];
static int entry_count;
static size_t bytes_max, bytes_kept;
static int64_t found;

static struct memo_part copy_of(struct memo_part part)
{
    void *copy = malloc(part.bytes);
    memcpy(copy, part.data, part.bytes);
    return (struct memo_part) { copy, part.bytes };
}

static void drop_oldest(void)
{
    struct entry *oldest = &entries[0];
    for (int i = 0; i < oldest->count; i++) free((void *)oldest->parts[i].data);
    free(oldest->result);
    bytes_kept -= oldest->bytes;
    memmove(entries, entries + 1, (size_t)--entry_count * sizeof *entries);
}

void simulated_dnn_remember(size_t bytes)
{
    bytes_max = bytes;
    while (bytes_kept > bytes_max) drop_oldest();
}

int64_t simulated_dnn_remembered(void)
{
    return found;
}

static bool same(const struct entry *entry, const struct memo_part *parts, int count)
{
    if (entry->count != count) return false;
    for (int i = 0; i < count; i++)
        if (entry->parts[i].bytes != parts[i].bytes ||
            memcmp(entry->parts[i].data, parts[i].data, parts[i].bytes) != 0)
            return false;
    return true;
}

const void *memo_find(const struct memo_part *parts, int count)
{
    for (int i = 0; i < entry_count; i++) {
        if (!same(&entries[i], parts, count)) continue;
        found++;
        return entries[i].result;
    }
    return NULL;
}

void *memo_keep(const struct memo_part *parts, int count, size_t result_bytes)
{
    size_t bytes = result_bytes;
    for (int i = 0; i < count; i++) bytes += parts[i].bytes;
    if (bytes > bytes_max) return NULL;
    while (bytes_kept + bytes > bytes_max || entry_count == ENTRIES_MAX) drop_oldest();
    struct entry *entry = &entries[entry_count++];
    *entry = (struct entry) { .count = count, .bytes = bytes, .result = malloc(result_bytes) };
    for (int i = 0; i < count; i++) entry->parts[i] = copy_of(parts[i]);
    bytes_kept += bytes;
    return entry->result;
}
