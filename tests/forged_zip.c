/* See forged_zip.h. The layout is that of PKWARE's APPNOTE.TXT, sections
 * 4.3.7, 4.3.12 and 4.3.16. */
#include "forged_zip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static void put(struct forged_zip *zip, const void *bytes, size_t size)
{
    zip->bytes = realloc(zip->bytes, zip->size + size + 1);
    if (!zip->bytes) abort();
    if (size) memcpy(zip->bytes + zip->size, bytes, size);
    zip->size += size;
}

static void put16(struct forged_zip *zip, uint32_t value)
{
    put(zip, (uint8_t[]) { (uint8_t)value, (uint8_t)(value >> 8) }, 2);
}

static void put32(struct forged_zip *zip, uint32_t value)
{
    put16(zip, value & 0xffff);
    put16(zip, value >> 16);
}

/* Fields that the local header and the central directory share. */
static void put_facts(struct forged_zip *zip, const struct forged_entry *entry)
{
    put16(zip, 20); /* version needed */
    put16(zip, entry->flags);
    put16(zip, entry->method);
    put32(zip, 0x00210000); /* 1980-01-01 */
    put32(zip, entry->crc);
    put32(zip, entry->packed);
    put32(zip, entry->unpacked);
    put16(zip, (uint32_t)strlen(entry->name));
    put16(zip, 0); /* extra field */
}

struct forged_entry *forged_zip_add(struct forged_zip *zip, const char *name, const void *content,
                                    size_t size)
{
    if (zip->count == FORGED_ENTRIES_MAX) abort();
    struct forged_entry *entry = &zip->entries[zip->count++];
    snprintf(entry->name, sizeof entry->name, "%s", name);
    entry->crc = (uint32_t)crc32(crc32(0, NULL, 0), content, (uInt)size);
    entry->packed = entry->unpacked = (uint32_t)size;
    entry->at = (uint32_t)zip->size;
    put32(zip, 0x04034b50);
    put_facts(zip, entry);
    put(zip, name, strlen(name));
    put(zip, content, size);
    return entry;
}

void forged_zip_end(struct forged_zip *zip)
{
    const uint32_t directory = (uint32_t)zip->size;
    for (int i = 0; i < zip->count; i++) {
        const struct forged_entry *entry = &zip->entries[i];
        put32(zip, 0x02014b50);
        put16(zip, 20); /* version made by */
        put_facts(zip, entry);
        put16(zip, 0); /* comment */
        put16(zip, 0); /* disk */
        put16(zip, 0); /* attributes */
        put32(zip, 0);
        put32(zip, entry->at);
        put(zip, entry->name, strlen(entry->name));
    }
    const uint32_t length = (uint32_t)zip->size - directory;
    put32(zip, 0x06054b50);
    put32(zip, 0); /* disks */
    put16(zip, (uint32_t)zip->count);
    put16(zip, (uint32_t)zip->count);
    put32(zip, length);
    put32(zip, directory);
    put16(zip, 0); /* comment */
}

void forged_zip_release(struct forged_zip *zip)
{
    free(zip->bytes);
    *zip = (struct forged_zip) { 0 };
}
