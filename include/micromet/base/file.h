/* Files that appear complete or not at all: written under a temporary name, fsync, rename, fsync of
 * the folder. Also paths. */
#ifndef MICROMET_BASE_FILE_H
#define MICROMET_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "micromet/base/error.h"

enum { PATH_MAX_BYTES = 1024, NAME_BYTES_MAX = 255 };

/* A file being written. `stream` writes to a temporary file in the target's folder, which stays
 * locked until commit or release. Several processes may write the same target at once; the last to
 * commit wins. A target that is a device or a pipe is written to as it is, and never replaced. */
struct atomic_file {
    FILE *stream;
    char path[PATH_MAX_BYTES];
    char temporary[PATH_MAX_BYTES];
};

/* What is added to a file's name while it is written. A name too long for that is shortened. */
enum { TEMPORARY_SUFFIX_BYTES = 25 };

/* Also removes temporary files that killed writers of the same target left behind. */
bool atomic_file_open(struct atomic_file *file, const char *path, struct error *err);
/* Rename the file to its target name. Full disks and write errors are reported here. */
bool atomic_file_commit(struct atomic_file *file, struct error *err);
/* Remove the temporary file if it was not committed. Safe on a zeroed struct and after commit. */
void atomic_file_release(struct atomic_file *file);
/* Remove temporary files in `folder` whose writers are dead: those of the target `name`, or
 * all if it is NULL. */
void atomic_files_clean(const char *folder, const char *name);

/* A file without a name, in the folder of `path`, that is gone when its descriptor is closed;
 * returns that, or -1. */
int scratch_file_open(const char *path, struct error *err);

bool file_write_atomic(const char *path, const void *bytes, size_t size, struct error *err);
/* Read a whole file into malloc'ed memory, with a NUL after its `size` bytes. Refuses files larger
 * than `limit`. */
bool file_read(const char *path, size_t limit, char **bytes, size_t *size, struct error *err);
bool file_exists(const char *path);
/* Whether a device, a pipe or a socket is there: what takes bytes, but is no file. */
bool path_is_stream(const char *path);
/* Create a folder and its parents. */
bool folder_create(const char *path, struct error *err);

/* Join with one '/'. `name` alone if it is absolute or `folder` is empty. */
bool path_join(char out[PATH_MAX_BYTES], const char *folder, const char *name, struct error *err);
/* Expand a leading "~" or "~/" to $HOME, as shells do; other text is copied. "~name" is
 * an error. */
bool path_expand_home(char out[PATH_MAX_BYTES], const char *text, struct error *err);
/* The same, and $NAME or ${NAME} to the variable of the environment; "$$" is a dollar sign. A
 * variable that is not set is an error, as a folder would be named after it. */
bool path_expand(char out[PATH_MAX_BYTES], const char *text, struct error *err);
/* path_folder: the folder part ("." if there is none). path_stem: the name without folder and
 * last extension. */
void path_folder(char out[PATH_MAX_BYTES], const char *path);
void path_stem(char out[PATH_MAX_BYTES], const char *path);
/* The file's name without its folder. */
const char *path_name(const char *path);
/* The longest name that a file in the folder may have, in bytes. */
size_t file_name_bytes_max(const char *folder);

#endif
