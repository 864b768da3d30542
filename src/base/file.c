/* Files and paths. A file is written under a temporary name and renamed once all of it is on
 * disk, so a file under its final name is always complete. The writer locks the temporary
 * file; a temporary file that can be locked was therefore abandoned by a dead process and
 * may be removed. */
#include "micromet/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "micromet/base/lock.h"
#include "micromet/base/log.h"

static const char temporary_mark[] = ".partial-"; /* follows the target's name */
enum { TEMPORARY_TRIES = 100, RENAME_TRIES = 4 };

const char *path_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void remove_abandoned(const char *path)
{
    const int descriptor = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor < 0) return; /* already removed, or owned by another user */
    if (lock_try(descriptor) == LOCK_TAKEN && unlink(path) != 0 && errno != ENOENT)
        log_warning("%s: was left by a killed process and cannot be removed: %s", path,
                    strerror(errno));
    close(descriptor);
}

size_t file_name_bytes_max(const char *folder)
{
    const long bytes = pathconf(folder, _PC_NAME_MAX);
    return bytes > 2 * TEMPORARY_SUFFIX_BYTES && bytes <= NAME_BYTES_MAX ? (size_t)bytes
                                                                         : NAME_BYTES_MAX;
}

/* How many bytes of the target's name its temporary files begin with: all, if there is room. */
static size_t temporary_stem(const char *folder, const char *name)
{
    const size_t room = file_name_bytes_max(folder) - TEMPORARY_SUFFIX_BYTES;
    const size_t bytes = strlen(name);
    return bytes < room ? bytes : room;
}

/* Whether `file` is a temporary file for the target `name` (NULL: for any target). */
static bool is_temporary(const char *file, const char *name, size_t stem)
{
    if (!name) return strstr(file, temporary_mark) != NULL;
    return strncmp(file, name, stem) == 0 &&
           strncmp(file + stem, temporary_mark, sizeof(temporary_mark) - 1) == 0;
}

void atomic_files_clean(const char *folder, const char *name)
{
    DIR *listing = opendir(folder);
    if (!listing) return; /* a later write to the folder will report the reason */
    const size_t stem = name ? temporary_stem(folder, name) : 0;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        char path[PATH_MAX_BYTES];
        struct error ignored = { 0 }; /* a path too long cannot be one of ours */
        if (is_temporary(entry->d_name, name, stem) &&
            path_join(path, folder, entry->d_name, &ignored))
            remove_abandoned(path);
    }
    closedir(listing);
}

/* Create and lock a temporary file beside the target; -1 on failure. Before it is locked, another
 * process may take the file for an abandoned one and remove it; then another name is tried. */
static int create_temporary(struct atomic_file *file, struct error *err)
{
    char folder[PATH_MAX_BYTES];
    path_folder(folder, file->path);
    const char *name = path_name(file->path);
    const size_t begin = (size_t)(name - file->path) + temporary_stem(folder, name);
    for (int tries = 0; tries < TEMPORARY_TRIES; tries++) {
        uint64_t nonce = 0;
        if (getrandom(&nonce, sizeof(nonce), 0) != sizeof(nonce)) {
            error_set(err, EXIT_CODE_FAILED, "%s: cannot get random bytes: %s", file->path,
                      strerror(errno));
            return -1;
        }
        const int length = snprintf(file->temporary, sizeof(file->temporary), "%.*s%s%016llx",
                                    (int)begin, file->path, temporary_mark,
                                    (unsigned long long)nonce);
        if (length >= (int)sizeof(file->temporary)) {
            error_set(err, EXIT_CODE_FAILED, "%.200s...: the path is too long", file->path);
            return -1;
        }
        const int descriptor = open(file->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor < 0) break;
        if (lock_try(descriptor) != LOCK_OF_OTHERS && file_exists(file->temporary))
            return descriptor;
        close(descriptor);
    }
    error_set(err, EXIT_CODE_FAILED, "%s: cannot create: %s", file->path, strerror(errno));
    return -1;
}

bool path_is_stream(const char *path)
{
    struct stat facts;
    return stat(path, &facts) == 0 && !S_ISREG(facts.st_mode) && !S_ISDIR(facts.st_mode);
}

/* A device or a pipe: a file in its place would be one that nobody reads, and for all programs. */
static bool open_stream(struct atomic_file *file, struct error *err)
{
    file->stream = fopen(file->path, "wbe");
    return file->stream || error_set(err, EXIT_CODE_FAILED, "%s: cannot be written: %s", file->path,
                                     strerror(errno));
}

bool atomic_file_open(struct atomic_file *file, const char *path, struct error *err)
{
    char folder[PATH_MAX_BYTES];
    *file = (struct atomic_file) { 0 };
    if (!path_join(file->path, "", path, err)) return false;
    if (path_is_stream(file->path)) return open_stream(file, err);
    path_folder(folder, path);
    atomic_files_clean(folder, path_name(path));

    const int descriptor = create_temporary(file, err);
    if (descriptor < 0) {
        file->temporary[0] = '\0';
        return false;
    }
    file->stream = fdopen(descriptor, "w+b");
    if (!file->stream) {
        error_set(err, EXIT_CODE_FAILED, "%s: cannot create: %s", path, strerror(errno));
        close(descriptor);
        atomic_file_release(file);
        return false;
    }
    return true;
}

/* Only failures to write count: a file system that cannot sync (EINVAL, EBADF, ENOSYS, EOPNOTSUPP:
 * folders on network file systems, FUSE) does what it does without. */
static bool sync_surely(int descriptor)
{
    int result;
    do result = fsync(descriptor);
    while (result != 0 && errno == EINTR);
    return result == 0 || (errno != EIO && errno != ENOSPC && errno != EDQUOT);
}

static bool folder_sync(const char *path, struct error *err)
{
    char folder[PATH_MAX_BYTES];
    path_folder(folder, path);
    const int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return true; /* may be written to, but not read */
    const bool failed = !sync_surely(descriptor);
    if (failed) error_set(err, EXIT_CODE_FAILED, "%s: cannot sync: %s", folder, strerror(errno));
    close(descriptor);
    return !failed;
}

/* The answer of a file server may be lost. The repeated request then fails although the first was
 * done, and other failures pass. */
static bool rename_surely(const struct atomic_file *file)
{
    static const struct timespec pause = { .tv_nsec = 50 * 1000 * 1000 };
    for (int tries = 1; rename(file->temporary, file->path) != 0; tries++) {
        const int cause = errno;
        struct stat written, target;
        if (fstat(fileno(file->stream), &written) == 0 && stat(file->path, &target) == 0 &&
            written.st_dev == target.st_dev && written.st_ino == target.st_ino)
            return true;
        errno = cause;
        const bool passes = cause == EINTR || cause == EAGAIN || cause == EBUSY ||
                            cause == ESTALE || cause == EIO || cause == ETIMEDOUT;
        if (!passes || tries == RENAME_TRIES) return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

bool atomic_file_commit(struct atomic_file *file, struct error *err)
{
    errno = 0;
    bool written = !ferror(file->stream) && fflush(file->stream) == 0;
    if (file->temporary[0]) {
        written = written && sync_surely(fileno(file->stream));
        written = written && rename_surely(file);
    }
    int cause = errno;
    if (written) file->temporary[0] = '\0';
    /* Releases the lock, so not before the rename. */
    if (fclose(file->stream) != 0 && errno != EINTR && written) {
        written = false;
        cause = errno;
    }
    file->stream = NULL;
    if (!written) {
        error_set(err, EXIT_CODE_FAILED, "%s: cannot write: %s", file->path,
                  cause ? strerror(cause) : "is the disk full?");
        atomic_file_release(file);
        return false;
    }
    return path_is_stream(file->path) || folder_sync(file->path, err);
}

void atomic_file_release(struct atomic_file *file)
{
    if (file->stream) fclose(file->stream);
    file->stream = NULL;
    if (file->temporary[0]) unlink(file->temporary);
    file->temporary[0] = '\0';
}

int scratch_file_open(const char *path, struct error *err)
{
    struct atomic_file file = { 0 };
    if (!path_join(file.path, "", path, err)) return -1;
    const int descriptor = create_temporary(&file, err);
    if (descriptor >= 0) unlink(file.temporary);
    return descriptor;
}

bool file_write_atomic(const char *path, const void *bytes, size_t size, struct error *err)
{
    struct atomic_file file;
    if (!atomic_file_open(&file, path, err)) return false;
    fwrite(bytes, 1, size, file.stream); /* atomic_file_commit() checks the stream's error flag */
    return atomic_file_commit(&file, err);
}

/* Read to the end, also from pipes and growing files. The caller frees *bytes, on failure too. */
static bool read_all(FILE *stream, const char *path, size_t expected, size_t limit, char **bytes,
                     size_t *size, struct error *err)
{
    size_t capacity = expected + 1;
    for (;;) {
        char *grown = realloc(*bytes, capacity + 1);
        if (!grown) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", path);
        *bytes = grown;
        *size += fread(*bytes + *size, 1, capacity - *size, stream);
        (*bytes)[*size] = '\0';
        if (ferror(stream))
            return error_set(err, EXIT_CODE_FAILED, "%s: cannot read: %s", path, strerror(errno));
        if (*size > limit)
            return error_set(err, EXIT_CODE_FAILED, "%s: is larger than the limit of %zu bytes",
                             path, limit);
        if (*size < capacity) return true;
        capacity = 2 * capacity < limit + 1 ? 2 * capacity : limit + 1;
    }
}

bool file_read(const char *path, size_t limit, char **bytes, size_t *size, struct error *err)
{
    CHECK(limit < SIZE_MAX / 4);
    *bytes = NULL;
    *size = 0;
    FILE *stream = fopen(path, "rbe");
    struct stat facts;
    if (!stream || fstat(fileno(stream), &facts) != 0) {
        error_set(err, EXIT_CODE_FAILED, "%s: cannot open: %s", path, strerror(errno));
        goto fail;
    }
    if (S_ISDIR(facts.st_mode)) {
        error_set(err, EXIT_CODE_FAILED, "%s: is a folder, not a file", path);
        goto fail;
    }
    if ((uintmax_t)facts.st_size > limit) {
        error_set(err, EXIT_CODE_FAILED, "%s: is larger than the limit of %zu bytes", path, limit);
        goto fail;
    }
    if (!read_all(stream, path, (size_t)facts.st_size, limit, bytes, size, err)) goto fail;
    fclose(stream);
    return true;
fail:
    if (stream) fclose(stream);
    free(*bytes);
    *bytes = NULL;
    *size = 0;
    return false;
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool folder_create(const char *path, struct error *err)
{
    char part[PATH_MAX_BYTES];
    const size_t length = strlen(path);
    if (length == 0 || length >= sizeof(part))
        return error_set(err, EXIT_CODE_FAILED, "%.200s: the path is %s", path,
                         length ? "too long" : "empty");
    memcpy(part, path, length + 1);

    for (size_t end = 1; end <= length; end++) {
        if (path[end] != '/' && path[end] != '\0') continue;
        part[end] = '\0';
        struct stat facts;
        const int cause = mkdir(part, 0777) == 0 ? 0 : errno;
        if (cause && (stat(part, &facts) != 0 || !S_ISDIR(facts.st_mode)))
            return error_set(err, EXIT_CODE_FAILED, "%s: cannot create the folder: %s", part,
                             cause == EEXIST ? "a file of that name is there" : strerror(cause));
        part[end] = path[end];
    }
    return true;
}

bool path_join(char out[PATH_MAX_BYTES], const char *folder, const char *name, struct error *err)
{
    const bool bare = name[0] == '/' || folder[0] == '\0';
    const bool slash = !bare && folder[strlen(folder) - 1] != '/';
    const int length = snprintf(out, PATH_MAX_BYTES, "%s%s%s", bare ? "" : folder, slash ? "/" : "",
                                name);
    if (length >= PATH_MAX_BYTES)
        return error_set(err, EXIT_CODE_FAILED, "%.200s...: the path is too long", out);
    return true;
}

/* Length of the path without trailing slashes; "/" stays. */
static size_t trimmed_length(const char *path, size_t length)
{
    while (length > 1 && path[length - 1] == '/') length--;
    return length;
}

void path_folder(char out[PATH_MAX_BYTES], const char *path)
{
    size_t length = trimmed_length(path, strlen(path));
    while (length > 0 && path[length - 1] != '/') length--;
    length = trimmed_length(path, length);
    snprintf(out, PATH_MAX_BYTES, "%.*s", length ? (int)length : 1, length ? path : ".");
}

void path_stem(char out[PATH_MAX_BYTES], const char *path)
{
    const size_t end = trimmed_length(path, strlen(path));
    size_t start = end;
    while (start > 0 && path[start - 1] != '/') start--;
    size_t stop = end;
    for (size_t i = end; i > start + 1; i--) {
        if (path[i - 1] != '.') continue;
        stop = i - 1;
        break;
    }
    snprintf(out, PATH_MAX_BYTES, "%.*s", (int)(stop - start), path + start);
}
