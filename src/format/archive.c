/* See archive.h. All that an entry claims about itself is checked once, when the archive is opened,
 * against the one fact that is certain: the size of the file. */
#include "archive.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zip.h>

#include "weights_parts.h"

enum {
    ENTRIES_MAX = 1 << 16,
    INFLATION_MAX = 16,     /* limit on unpacked bytes, as a multiple of the file's size */
    SMALL_BYTES = 16 << 20, /* always allowed, since text compresses well */
};

static bool refuse(struct error *err, const char *path, const char *name, const char *reason)
{
    return error_set(err, EXIT_CODE_FAILED, "%s: '%.200s': %s", path, name, reason);
}

/* Returns NULL, or what is wrong. Adds the entry's sizes to the sums. */
static const char *check_entry(const struct zip_stat *facts, uint64_t *packed, uint64_t *unpacked)
{
    static const uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE |
                                   ZIP_STAT_COMP_METHOD;
    if ((facts->valid & needed) != needed || !weights_plain_name(facts->name))
        return "cannot be read";
    if ((facts->valid & ZIP_STAT_ENCRYPTION_METHOD) && facts->encryption_method != ZIP_EM_NONE)
        return "is encrypted";
    if (facts->comp_method != ZIP_CM_STORE && facts->comp_method != ZIP_CM_DEFLATE)
        return "is packed neither plainly nor by deflate";
    if (facts->comp_method == ZIP_CM_STORE && facts->size != facts->comp_size)
        return "has two different sizes";
    if (__builtin_add_overflow(*packed, facts->comp_size, packed) ||
        __builtin_add_overflow(*unpacked, facts->size, unpacked))
        return "is too large";
    return NULL;
}

static int by_name(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static bool check_entries(const struct archive *archive, const char **names, struct error *err)
{
    uint64_t packed = 0, unpacked = 0;
    for (int i = 0; i < archive->count; i++) {
        struct zip_stat facts;
        const char *wrong = zip_stat_index(archive->zip, (zip_uint64_t)i, ZIP_FL_ENC_RAW, &facts) ==
                                    0
                                ? check_entry(&facts, &packed, &unpacked)
                                : "cannot be read";
        if (!wrong && packed > archive->file_bytes) wrong = "lies beyond the end of the file";
        if (!wrong && unpacked > SMALL_BYTES && unpacked / INFLATION_MAX > archive->file_bytes)
            wrong = "unpacks to more than the file can hold";
        if (wrong)
            return error_set(err, EXIT_CODE_FAILED,
                             "%s: entry %d of the archive %s; fetch it again", archive->path, i + 1,
                             wrong);
        names[i] = facts.name;
    }
    if (archive->count) qsort(names, (size_t)archive->count, sizeof *names, by_name);
    for (int i = 1; i < archive->count; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            return refuse(err, archive->path, names[i],
                          "two entries of the archive have this name");
    return true;
}

bool archive_open(struct archive *archive, const char *path, struct error *err)
{
    *archive = (struct archive) { .path = path };
    struct stat facts;
    int code = ZIP_ER_OPEN;
    if (stat(path, &facts) == 0 && S_ISREG(facts.st_mode))
        archive->zip = zip_open(path, ZIP_RDONLY, &code);
    if (!archive->zip) {
        zip_error_t error;
        zip_error_init_with_code(&error, code);
        error_set(err, EXIT_CODE_FAILED,
                  "%s: zip archive is cut short or damaged (%s), fetch it again", path,
                  zip_error_strerror(&error));
        zip_error_fini(&error);
        return false;
    }
    archive->file_bytes = (uint64_t)facts.st_size;
    const zip_int64_t count = zip_get_num_entries(archive->zip, 0);
    archive->count = count <= ENTRIES_MAX ? (int)count : 0;
    const char **names = calloc((size_t)archive->count + 1, sizeof *names);
    const bool done = count > ENTRIES_MAX || !names
                          ? error_set(err, EXIT_CODE_FAILED, "%s: the archive has too many entries",
                                      path)
                          : check_entries(archive, names, err);
    free(names);
    if (!done) archive_release(archive);
    return done;
}

void archive_release(struct archive *archive)
{
    if (archive->zip) zip_discard(archive->zip);
    *archive = (struct archive) { 0 };
}

const char *archive_name(const struct archive *archive, int entry)
{
    return zip_get_name(archive->zip, (zip_uint64_t)entry, ZIP_FL_ENC_RAW);
}

int archive_find(const struct archive *archive, const char *name)
{
    return (int)zip_name_locate(archive->zip, name, ZIP_FL_ENC_RAW);
}

uint64_t archive_bytes(const struct archive *archive, int entry)
{
    struct zip_stat facts;
    CHECK(zip_stat_index(archive->zip, (zip_uint64_t)entry, ZIP_FL_ENC_RAW, &facts) == 0);
    return facts.size;
}

/* libzip compares the checksum when it reaches the end, so try to read one byte past it. */
static const char *read_all(struct zip_file *file, char *bytes, uint64_t size)
{
    char beyond;
    for (uint64_t at = 0; at < size;) {
        const zip_int64_t got = zip_fread(file, bytes + at, size - at);
        if (got < 0) return zip_file_strerror(file);
        if (got == 0) return "is cut short";
        at += (uint64_t)got;
    }
    const zip_int64_t more = zip_fread(file, &beyond, 1);
    if (more < 0) return zip_file_strerror(file);
    return more > 0 ? "is longer than the archive says" : NULL;
}

bool archive_read(const struct archive *archive, int entry, void *bytes, struct error *err)
{
    const char *name = archive_name(archive, entry);
    struct zip_file *file = zip_fopen_index(archive->zip, (zip_uint64_t)entry, 0);
    const char *wrong = file ? read_all(file, bytes, archive_bytes(archive, entry))
                             : zip_strerror(archive->zip);
    if (wrong)
        error_set(err, EXIT_CODE_FAILED, "%s: '%.200s': %s; the file is damaged, fetch it again",
                  archive->path, name, wrong);
    if (file) zip_fclose(file);
    return !wrong;
}

char *archive_read_new(const struct archive *archive, int entry, uint64_t limit, size_t *size,
                       struct error *err)
{
    const char *name = archive_name(archive, entry);
    const uint64_t bytes = archive_bytes(archive, entry);
    char *content = bytes <= limit ? malloc((size_t)bytes + 1) : NULL;
    if (!content) {
        refuse(err, archive->path, name, bytes <= limit ? "no memory for it" : "is too large");
        return NULL;
    }
    if (!archive_read(archive, entry, content, err)) {
        free(content);
        return NULL;
    }
    content[bytes] = '\0';
    *size = (size_t)bytes;
    return content;
}
