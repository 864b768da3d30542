/* Zip archives that hold weights, read through libzip. Archives are not trusted: on opening it
 * is checked that entries have distinct names, that none is encrypted, and that their sizes
 * fit the file's. */
#ifndef MICROMET_FORMAT_ARCHIVE_H
#define MICROMET_FORMAT_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>

#include "micromet/base/error.h"

struct zip;

struct archive {
    const char *path;
    struct zip *zip;
    int count;           /* entries are numbered 0 … count - 1 */
    uint64_t file_bytes; /* of the archive */
};

bool archive_open(struct archive *archive, const char *path, struct error *err);
void archive_release(struct archive *archive); /* safe on a zeroed struct */

const char *archive_name(const struct archive *archive, int entry);
int archive_find(const struct archive *archive, const char *name); /* -1 = none */
uint64_t archive_bytes(const struct archive *archive, int entry);  /* of the unpacked content */

/* Read a whole entry, archive_bytes() long, and verify its checksum. */
bool archive_read(const struct archive *archive, int entry, void *bytes, struct error *err);
/* Read a whole entry into malloc'ed memory, with a terminating NUL; refuses entries larger than
 * `limit`. NULL on error. */
char *archive_read_new(const struct archive *archive, int entry, uint64_t limit, size_t *size,
                       struct error *err);

#endif
