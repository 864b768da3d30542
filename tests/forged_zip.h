/* Zip archives written by hand, so that each field can be made to lie: begin, add, (change what the
 * entry says), end. */
#ifndef MICROMET_TESTS_FORGED_ZIP_H
#define MICROMET_TESTS_FORGED_ZIP_H

#include <stddef.h>
#include <stdint.h>

enum { FORGED_ENTRIES_MAX = 16 };

/* What the central directory says of an entry. */
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

/* Add a stored entry (a zeroed struct is an empty archive); what is returned may be
 * changed until forged_zip_end(). */
struct forged_entry *forged_zip_add(struct forged_zip *zip, const char *name, const void *content,
                                    size_t size);
void forged_zip_end(struct forged_zip *zip);
void forged_zip_release(struct forged_zip *zip);

#endif
