/* Zip archives made byte by byte, so that each field can be wrong: begin, add, (change
 * the entry's fields), end. */
#ifndef MICROMET_TESTS_FORGED_ZIP_H
#define MICROMET_TESTS_FORGED_ZIP_H

#include <stddef.h>
#include <stdint.h>

enum { FORGED_ENTRIES_MAX = 16 };

/* An entry as the central directory describes it. */
struct forged_entry {
    char name[64];
    uint16_t flags, method;
    uint32_t crc, packed, unpacked, at;
};

struct forged_zip {
    uint8_t *bytes; /* malloc'ed */
    size_t size;
    struct forged_entry entries[FORGED_ENTRIES_MAX];
    int count;
};

/* Add an uncompressed entry; a zeroed struct is an empty archive. The entry returned may be
 * changed until forged_zip_end(). */
struct forged_entry *forged_zip_add(struct forged_zip *zip, const char *name, const void *content,
                                    size_t size);
void forged_zip_end(struct forged_zip *zip);
void forged_zip_release(struct forged_zip *zip);

#endif
