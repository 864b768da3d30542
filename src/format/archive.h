/* Zip archives that hold weights, read through libzip. Archives are untrusted: opening one
 * checks that no two entries have one name, that none is encrypted, and that all together fit
 * the file's size. */
#ifndef MICROMET_FORMAT_ARCHIVE_H
#define MICROMET_FORMAT_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>

#include "micromet/base/error.h"

struct zip;

struct archive {
    const char *path;
    struct zip *zip;
    int count;           /* entries are 0 … count - 1 */
    uint64_t file_bytes; /* of the archive */
};

bool archive_open(struct archive *archive, const char *path, struct error *err);
void archive_release(struct archive *archive); /* safe on a zeroed struct */

const char *archive_name(const struct archive *archive, int entry);
int archive_find(const struct archive *archive, const char *name); /* -1 = none */
uint64_t archive_bytes(const struct archive *archive, int entry);  /* of the content, unpacked */

/* The whole entry into `bytes`, as many as archive_bytes() says; its checksum must fit. */
bool archive_read(const struct archive *archive, int entry, void *bytes, struct error *err);
/* The whole entry into memory of its own, with a terminating NUL; refuses entries over `limit`.
 * NULL on errors. */
char *archive_read_new(const struct archive *archive, int entry, uint64_t limit, size_t *size,
                       struct error *err);

#endif
