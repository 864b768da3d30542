/* Opens and checks packs. A pack is used as a memory-mapped file; every number in its header is
 * checked against the file's size before a pointer is derived from it, so a damaged file is an
 * error and never a crash. */
#include "micromet/slide/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "micromet/base/size.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "packs are little endian");
_Static_assert(sizeof(struct pack_header) == 1224, "the layout on disk has no gaps");
_Static_assert(offsetof(struct pack_header, downsamples) == 640 &&
                   offsetof(struct pack_header, count) == 824,
               "what version 2 had stays where it was");
_Static_assert(sizeof(struct window) == 16, "the layout on disk has no gaps");

const char pack_magic[8] = { 'M', 'M', 'P', 'A', 'C', 'K', '\r', '\n' };

uint64_t pack_window_bytes(const struct pack_header *header)
{
    return (uint64_t)header->tower_count * (uint64_t)header->window * (uint64_t)header->window * 3;
}

uint64_t pack_pixels_offset(const struct pack_header *header)
{
    const uint64_t row = sizeof(struct window) + (uint64_t)header->tower_count * sizeof(uint64_t);
    const uint64_t end = PACK_HEADER_BYTES + (uint64_t)header->count * row;
    return round_up(end, 4096);
}

static bool ends_inside(const char *text, size_t size)
{
    return memchr(text, 0, size) != NULL;
}

static bool all_zero(const uint8_t *bytes, size_t size)
{
    while (size && !bytes[size - 1]) size--;
    return size == 0;
}

/* Checks all that is known from the header page and the file's size. Returns NULL, or
 * what is wrong. */
static const char *header_fault(const struct pack_header *header, const uint8_t *map, uint64_t size)
{
    if (header->header_hash != XXH3_64bits(header, offsetof(struct pack_header, header_hash)))
        return "its header is damaged";
    if (!all_zero(map + sizeof *header, PACK_HEADER_BYTES - sizeof *header))
        return "its header is damaged";
    if (header->header_bytes != PACK_HEADER_BYTES || header->tower_count < 1 ||
        header->tower_count > TOWERS_MAX || header->window < 1 ||
        header->window > PACK_WINDOW_MAX || header->count < 0 || header->count > INT32_MAX ||
        header->tumor_count < 0 || header->tumor_count > header->count ||
        !ends_inside(header->slide_name, sizeof header->slide_name) ||
        !ends_inside(header->slide_hash, sizeof header->slide_hash) ||
        !ends_inside(header->annotation_name, sizeof header->annotation_name))
        return "its header makes no sense";
    if (size != pack_pixels_offset(header) + (uint64_t)header->count * pack_window_bytes(header))
        return "its size does not fit its header (cut off?)";
    return NULL;
}

static const char *table_fault(const struct pack *pack)
{
    int64_t tumors = 0;
    const XXH128_hash_t hash = XXH3_128bits(
        pack->windows, (size_t)pack_pixels_offset(&pack->header) - PACK_HEADER_BYTES);

    if (hash.low64 != pack->header.table_hash[0] || hash.high64 != pack->header.table_hash[1])
        return "its table of windows is damaged";
    for (int64_t i = 0; i < pack->header.count; i++) {
        if (pack->windows[i].label > 1) return "its table of windows is damaged";
        tumors += pack->windows[i].label;
    }
    return tumors == pack->header.tumor_count ? NULL : "its table of windows is damaged";
}

static bool map_file(struct pack *pack, struct error *err)
{
    struct stat facts;
    const int file = open(pack->path, O_RDONLY | O_CLOEXEC);

    if (file < 0)
        return error_set(err, EXIT_CODE_FAILED, "%s: cannot be opened: %s", pack->path,
                         strerror(errno));
    const bool known = fstat(file, &facts) == 0;
    if (!known || !S_ISREG(facts.st_mode) || facts.st_size < PACK_HEADER_BYTES) {
        close(file);
        return error_set(err, EXIT_CODE_FAILED, "%s: is not a window pack", pack->path);
    }
    pack->map_bytes = (size_t)facts.st_size;
    void *map = mmap(NULL, pack->map_bytes, PROT_READ, MAP_SHARED, file, 0);
    const int cause = errno;
    pack->file = file;
    if (map == MAP_FAILED) {
        close(file);
        return error_set(err, EXIT_CODE_FAILED, "%s: cannot be mapped: %s", pack->path,
                         strerror(cause));
    }
    pack->map = map;
    return true;
}

static bool refuse(const struct pack *pack, const char *fault, struct error *err)
{
    return error_set(err, EXIT_CODE_FAILED, "%s: %s; remove it and run `micromet prepare`",
                     pack->path, fault);
}

static uint64_t tower_bytes(const struct pack *pack)
{
    return pack_window_bytes(&pack->header) / (uint64_t)pack->header.tower_count;
}

static bool check_pixels(const struct pack *pack, int64_t index, int tower, const uint8_t *pixels,
                         struct error *err)
{
    if (XXH3_64bits(pixels, (size_t)tower_bytes(pack)) ==
        pack->hashes[index * pack->header.tower_count + tower])
        return true;
    return error_set(err, EXIT_CODE_FAILED,
                     "%s: window %lld is damaged, its checksum does not fit its pixels; remove the "
                     "file and run `micromet prepare`",
                     pack->path, (long long)index);
}

bool pack_verify(const struct pack *pack, struct error *err)
{
    for (int64_t i = 0; i < pack->header.count; i++)
        for (int tower = 0; tower < pack->header.tower_count; tower++)
            if (!check_pixels(pack, i, tower, pack_pixels(pack, i, tower), err)) return false;
    return true;
}

static bool check_pack(struct pack *pack, bool verify, struct error *err)
{
    memcpy(&pack->header, pack->map, sizeof pack->header);
    if (memcmp(pack->header.magic, pack_magic, sizeof pack_magic) != 0)
        return error_set(err, EXIT_CODE_FAILED, "%s: is not a window pack", pack->path);
    if (pack->header.version != PACK_VERSION)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: has version %u, this program reads %d; run `micromet prepare`",
                         pack->path, pack->header.version, PACK_VERSION);
    const char *fault = header_fault(&pack->header, pack->map, pack->map_bytes);
    if (!fault) {
        pack->windows = (const void *)((const uint8_t *)pack->map + PACK_HEADER_BYTES);
        pack->hashes = (const void *)(pack->windows + pack->header.count);
        pack->pixels = (const uint8_t *)pack->map + pack_pixels_offset(&pack->header);
        fault = table_fault(pack);
    }
    if (fault) return refuse(pack, fault, err);
    return !verify || pack_verify(pack, err);
}

bool pack_is_at(const char *path)
{
    char magic[sizeof pack_magic] = "";
    FILE *file = fopen(path, "rb");
    if (!file) return false; /* opening it later reports the reason */
    const size_t got = fread(magic, 1, sizeof magic, file);
    fclose(file);
    return got == sizeof magic && memcmp(magic, pack_magic, sizeof magic) == 0;
}

bool pack_open(struct pack *pack, const char *path, bool verify, struct error *err)
{
    *pack = (struct pack) { .file = -1 };
    if (!path_join(pack->path, "", path, err)) return false;
    if (map_file(pack, err) && check_pack(pack, verify, err)) return true;
    pack_release(pack);
    return false;
}

void pack_release(struct pack *pack)
{
    if (pack->map) munmap(pack->map, pack->map_bytes);
    if (pack->map) close(pack->file);
    *pack = (struct pack) { .file = -1 };
}

static uint64_t tower_offset(const struct pack *pack, int64_t index, int tower)
{
    CHECK(index >= 0 && index < pack->header.count);
    CHECK(tower >= 0 && tower < pack->header.tower_count);
    return (uint64_t)index * pack_window_bytes(&pack->header) + (uint64_t)tower * tower_bytes(pack);
}

bool pack_read(const struct pack *pack, int64_t index, int tower, uint8_t *pixels,
               struct error *err)
{
    const uint64_t bytes = tower_bytes(pack);
    const uint64_t from = pack_pixels_offset(&pack->header) + tower_offset(pack, index, tower);
    for (uint64_t done = 0; done < bytes;) {
        const ssize_t got = pread(pack->file, pixels + done, (size_t)(bytes - done),
                                  (off_t)(from + done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            return error_set(err, EXIT_CODE_FAILED, "%s: window %lld cannot be read: %s",
                             pack->path, (long long)index,
                             got < 0 ? strerror(errno) : "the file ends early");
        done += (uint64_t)got;
    }
    return check_pixels(pack, index, tower, pixels, err);
}

const uint8_t *pack_pixels(const struct pack *pack, int64_t index, int tower)
{
    return pack->pixels + tower_offset(pack, index, tower);
}
