/* Checks of outputs before any work. Whether a folder can be written to is tried with the very
 * file that will be made there: permissions alone do not tell it on network file systems. */
#include "micromet/base/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "micromet/base/file.h"

enum { PATH_SHOWN = 600 }; /* bytes of a path in a message, which has to hold the reason as well */

static bool refuse(const char *path, const char *folder, const char *reason, const char *remedy,
                   struct error *err)
{
    return error_set(err, EXIT_CODE_FAILED, "%.*s: cannot be written: %s in the folder %.200s; %s",
                     PATH_SHOWN, path, reason, folder, remedy);
}

/* The nearest folder of `path` that is there. */
static bool find_folder(char folder[PATH_MAX_BYTES], const char *path, const char *remedy,
                        struct error *err)
{
    char above[PATH_MAX_BYTES];
    struct stat facts;
    path_folder(folder, path);
    while (stat(folder, &facts) != 0) {
        const int cause = errno;
        path_folder(above, folder);
        if ((cause != ENOENT && cause != ENOTDIR && cause != ENAMETOOLONG) ||
            strcmp(above, folder) == 0)
            return refuse(path, above, strerror(cause), remedy, err);
        memcpy(folder, above, sizeof above);
    }
    return S_ISDIR(facts.st_mode) ||
           error_set(err, EXIT_CODE_FAILED, "%.*s: cannot be written: %.200s is a file; %s",
                     PATH_SHOWN, path, folder, remedy);
}

static bool check_names(const char *path, const char *folder, struct error *err)
{
    const size_t most = file_name_bytes_max(folder);
    for (const char *name = path; *name; name += strspn(name, "/")) {
        const size_t bytes = strcspn(name, "/");
        if (bytes > most)
            return error_set(
                err, EXIT_CODE_FAILED,
                "%.*s: cannot be written: the name of %zu bytes is longer than the %zu "
                "that the file system takes; use a shorter name (for an input, a "
                "symbolic link will do)",
                PATH_SHOWN, path, bytes, most);
        name += bytes;
    }
    return true;
}

/* In a folder like /tmp, only its owner may replace a file. */
static bool is_of_others(const char *path, const char *folder)
{
    struct stat file, around;
    if (lstat(path, &file) != 0 || stat(folder, &around) != 0) return false;
    const uid_t user = geteuid();
    return (around.st_mode & S_ISVTX) && user != 0 && user != file.st_uid && user != around.st_uid;
}

bool output_check(const char *path, const char *remedy, struct error *err)
{
    char folder[PATH_MAX_BYTES], own[PATH_MAX_BYTES];
    struct stat facts;
    struct atomic_file file;
    struct error reason = { 0 };
    if (!*path_name(path))
        return error_set(err, EXIT_CODE_FAILED, "'%.*s': is no name of a file; %s", PATH_SHOWN,
                         path, remedy);
    if (strlen(path) + TEMPORARY_SUFFIX_BYTES >= PATH_MAX_BYTES)
        return error_set(err, EXIT_CODE_FAILED, "%.*s...: the path is too long; %s", PATH_SHOWN,
                         path, remedy);
    if (!find_folder(folder, path, remedy, err) || !check_names(path, folder, err)) return false;
    if (stat(path, &facts) == 0 && S_ISDIR(facts.st_mode))
        return error_set(err, EXIT_CODE_FAILED, "%.*s: is a folder; %s", PATH_SHOWN, path, remedy);
    if (path_is_stream(path))
        return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0 ||
               error_set(err, EXIT_CODE_FAILED, "%.*s: cannot be written: %s; %s", PATH_SHOWN, path,
                         strerror(errno), remedy);
    path_folder(own, path);
    if (strcmp(own, folder) != 0)
        return faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) == 0 ||
               refuse(path, folder, strerror(errno), remedy, err);
    if (is_of_others(path, folder))
        return refuse(path, folder, "it belongs to another user", remedy, err);
    errno = 0;
    const bool writable = atomic_file_open(&file, path, &reason);
    const int cause = errno;
    atomic_file_release(&file);
    if (writable) return true;
    return cause ? refuse(path, folder, strerror(cause), remedy, err)
                 : error_set(err, reason.code, "%s", reason.message);
}

bool output_is_same_file(const char *a, const char *b)
{
    struct stat one, other;
    return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

bool output_check_inputs(const char *path, char *const *inputs, int count, struct error *err)
{
    for (int i = 0; i < count; i++)
        if (output_is_same_file(path, inputs[i]))
            return error_set(err, EXIT_CODE_USAGE,
                             "%.400s: is an input (%.400s) and would be written over; name another "
                             "output",
                             path, inputs[i]);
    return true;
}

bool output_check_own(const char *path, bool (*is_own)(const char *path), const char *what,
                      struct error *err)
{
    struct stat facts;
    if (stat(path, &facts) != 0 || !S_ISREG(facts.st_mode) || facts.st_size == 0 || is_own(path))
        return true;
    return error_set(err, EXIT_CODE_USAGE,
                     "%.*s: is there already, and is not %s: it would be lost; name another output",
                     PATH_SHOWN, path, what);
}

bool output_holds(const char *path, const char *start, const char *mark)
{
    char bytes[4096];
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return size >= strlen(start) && memcmp(bytes, start, strlen(start)) == 0 &&
           memmem(bytes, size, mark, strlen(mark));
}

struct named {
    char stem[PATH_MAX_BYTES];
    const char *path;
    int order;
};

static int by_stem(const void *a, const void *b)
{
    const struct named *one = a, *other = b;
    const int order = strcmp(one->stem, other->stem);
    return order ? order : (one->order > other->order) - (one->order < other->order);
}

bool output_check_stems(char *const *inputs, int count, struct error *err)
{
    struct named *names = calloc((size_t)count + 1, sizeof *names);
    bool apart = true;
    if (!names) return error_set(err, EXIT_CODE_FAILED, "no memory for a list of names");
    for (int i = 0; i < count; i++) {
        path_stem(names[i].stem, inputs[i]);
        names[i].path = inputs[i];
        names[i].order = i;
    }
    qsort(names, (size_t)count, sizeof *names, by_stem);
    for (int i = 1; i < count && apart; i++)
        if (strcmp(names[i - 1].stem, names[i].stem) == 0)
            apart = error_set(err, EXIT_CODE_USAGE,
                              "%.300s and %.300s are both called %.200s: one's output would be "
                              "written over the other's; call once for each, with another --out",
                              names[i - 1].path, names[i].path, names[i].stem);
    free(names);
    return apart;
}
