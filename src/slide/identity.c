/* Reads and samples files for their identity. The parts of a file are walked in the order in which
 * it names them, so that nothing is allocated that grows with the file. */
#include "micromet/slide/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "tiff_source.h"

enum {
    WHOLE_BYTES_MAX = 64 << 20,
    CHUNK_BYTES = 1 << 20,
    DIRECTORIES_MAX = 4096,
    PLACES = 4, /* along each side of a level */
    PLACE_PX = 64,
};

/* Spots of one directory, or of the file. */
struct spots {
    int count;
    uint64_t bytes; /* of each */
};
static const struct spots spots_compressed = { 64, 16 << 10 }, spots_plain = { 4096, 4 << 10 };

struct reader {
    const char *path;
    int file;
    uint64_t size;
    XXH3_state_t *hash;
    uint8_t *chunk; /* CHUNK_BYTES */
};

/* Hash `bytes` bytes at `offset`, as far as they are inside the file. */
static bool hash_bytes(struct reader *r, uint64_t offset, uint64_t bytes, struct error *err)
{
    if (offset >= r->size) return true;
    if (bytes > r->size - offset) bytes = r->size - offset;
    while (bytes) {
        const size_t wanted = bytes < CHUNK_BYTES ? (size_t)bytes : CHUNK_BYTES;
        const ssize_t got = pread(r->file, r->chunk, wanted, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            return error_set(err, EXIT_CODE_FAILED, "%s: cannot be read: %s", r->path,
                             got ? strerror(errno) : "it became shorter");
        XXH3_128bits_update(r->hash, r->chunk, (size_t)got);
        offset += (uint64_t)got;
        bytes -= (uint64_t)got;
    }
    return true;
}

/* Spots that are spread evenly over extents which are offered one after another, as if these were
 * joined: the first at the beginning, the last at the end. */
struct spread {
    struct spots spots;
    uint64_t total; /* bytes of all extents */
    uint64_t start; /* of the next extent, in their sum */
    int next;       /* spot */
};

/* Whether the spots would cover all of it. */
static bool is_small(const struct spread *spread)
{
    return spread->total <= (uint64_t)spread->spots.count * spread->spots.bytes;
}

static uint64_t spot_start(const struct spread *spread, int spot)
{
    const uint64_t last = spread->total - spread->spots.bytes,
                   gaps = (uint64_t)spread->spots.count - 1;
    return last / gaps * (uint64_t)spot + last % gaps * (uint64_t)spot / gaps;
}

/* Hash the spots that begin in the next extent, or all of it where there are few bytes. */
static bool hash_extent(struct reader *r, struct spread *spread, uint64_t offset, uint64_t bytes,
                        struct error *err)
{
    const uint64_t end = spread->start + bytes;
    bool ok = true;
    if (is_small(spread)) return hash_bytes(r, offset, bytes, err);
    while (ok && spread->next < spread->spots.count && spot_start(spread, spread->next) < end) {
        const uint64_t at = spot_start(spread, spread->next++) - spread->start;
        const uint64_t left = bytes - at;
        ok = hash_bytes(r, offset + at, left < spread->spots.bytes ? left : spread->spots.bytes,
                        err);
    }
    spread->start = end;
    return ok;
}

static bool hash_file(struct reader *r, struct spots spots, struct error *err)
{
    struct spread spread = { .spots = spots, .total = r->size };
    return hash_extent(r, &spread, 0, r->size, err);
}

/* --- TIFF ------------------------------------------------------------------------------------- */

/* A tile or strip inside the file; 0 bytes if it is missing. False behind the last. */
static bool next_part(const struct reader *r, TIFF *tiff, uint32_t part, uint64_t *offset,
                      uint64_t *bytes)
{
    int failed = 0;
    if (part >= (TIFFIsTiled(tiff) ? TIFFNumberOfTiles(tiff) : TIFFNumberOfStrips(tiff)))
        return false;
    *bytes = TIFFGetStrileByteCountWithErr(tiff, part, &failed);
    *offset = failed ? 0 : TIFFGetStrileOffsetWithErr(tiff, part, &failed);
    if (*offset >= r->size) *bytes = 0;
    if (*bytes > r->size - *offset) *bytes = r->size - *offset;
    return !failed;
}

static bool is_compressed(TIFF *tiff)
{
    uint16_t compression = COMPRESSION_NONE;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &compression);
    return compression != COMPRESSION_NONE;
}

/* The sides of a directory's picture, the sizes of its tiles, and spots of them. *certain becomes
 * false if that leaves out something. */
static bool hash_directory(struct reader *r, TIFF *tiff, bool *certain, struct error *err)
{
    uint32_t sides[2] = { 0, 0 };
    uint64_t offset, bytes;
    const bool compressed = is_compressed(tiff);
    struct spread spread = { .spots = compressed ? spots_compressed : spots_plain };
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &sides[0]);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &sides[1]);
    XXH3_128bits_update(r->hash, sides, sizeof sides);
    for (uint32_t part = 0; next_part(r, tiff, part, &offset, &bytes); part++) {
        XXH3_128bits_update(r->hash, &bytes, sizeof bytes);
        spread.total += bytes;
    }
    if (!compressed && !is_small(&spread)) *certain = false;
    for (uint32_t part = 0; next_part(r, tiff, part, &offset, &bytes); part++)
        if (!hash_extent(r, &spread, offset, bytes, err)) return false;
    return true;
}

static bool hash_directories(struct reader *r, TIFF *tiff, bool *certain, struct error *err)
{
    int directories = 0;
    *certain = true;
    do {
        if (!hash_directory(r, tiff, certain, err)) return false;
    } while (++directories < DIRECTORIES_MAX && TIFFReadDirectory(tiff));
    return true;
}

/* --- Formats of many files -------------------------------------------------------------------- */

/* Hash pixels of each level. What cannot be read ends them: a damaged tile is no reason to refuse
 * a slide whose windows do not touch it. */
static void hash_places(struct reader *r, struct slide_cache *cache, const struct slide *slide)
{
    uint8_t rgb[PLACE_PX * PLACE_PX * 3];
    struct error unread = { 0 };
    for (int level = 0; level < slide->level_count; level++)
        for (int place = 0; place < PLACES * PLACES; place++) {
            const struct slide_level *size = &slide->levels[level];
            const int64_t x = size->width * (2 * (place % PLACES) + 1) / (2 * PLACES);
            const int64_t y = size->height * (2 * (place / PLACES) + 1) / (2 * PLACES);
            if (!slide_read(cache, level, x, y, PLACE_PX, PLACE_PX, rgb, (size_t)PLACE_PX * 3,
                            &unread))
                return;
            XXH3_128bits_update(r->hash, rgb, sizeof rgb);
        }
}

/* Of what is no slide, the bytes are all there is. */
static bool hash_decoded(struct reader *r, struct error *err)
{
    struct slide slide;
    struct slide_cache *cache = NULL;
    struct error no_slide = { 0 };
    if (!slide_open(&slide, r->path, 0, &no_slide)) return true;
    const bool ok = slide_cache_init(&cache, &slide, 0, err);
    if (ok) hash_places(r, cache, &slide);
    slide_cache_release(cache);
    slide_release(&slide);
    return ok;
}

/* --- All of them ------------------------------------------------------------------------------ */

enum kind { KIND_SLIDE, KIND_ANNOTATION };

static bool begins_as_tiff(const struct reader *r)
{
    uint8_t b[4];
    if (pread(r->file, b, sizeof b, 0) != sizeof b) return false;
    return (b[0] == 'I' && b[1] == 'I' && (b[2] == 42 || b[2] == 43) && b[3] == 0) ||
           (b[0] == 'M' && b[1] == 'M' && b[2] == 0 && (b[3] == 42 || b[3] == 43));
}

static bool hash_content(struct reader *r, enum kind kind, bool *certain, struct error *err)
{
    const struct spots all = { 1, r->size };
    struct tiff_source source = { 0 };
    struct error ignored = { 0 }; /* what is no TIFF to libtiff is sampled as bytes */
    const bool is_tiff = begins_as_tiff(r);
    const bool whole = r->size <= WHOLE_BYTES_MAX;
    if (is_tiff && !whole && tiff_source_open(&source, r->path, &ignored)) {
        bool ok = hash_directories(r, source.tiff, certain, err);
        tiff_source_release(&source);
        if (!*certain && kind == KIND_ANNOTATION) return *certain = true, hash_file(r, all, err);
        return ok && hash_file(r, *certain ? spots_compressed : spots_plain, err);
    }
    *certain = whole || kind == KIND_ANNOTATION;
    if (!hash_file(r, *certain ? all : spots_plain, err)) return false;
    if (is_tiff || kind == KIND_ANNOTATION) return true;
    *certain = false;
    return hash_decoded(r, err);
}

static bool open_reader(struct reader *r, struct file_identity *identity, struct error *err)
{
    struct stat facts;
    r->file = open(r->path, O_RDONLY | O_CLOEXEC);
    if (r->file < 0 || fstat(r->file, &facts) != 0)
        return error_set(err, EXIT_CODE_FAILED, "%s: cannot be opened: %s", r->path,
                         strerror(errno));
    r->hash = XXH3_createState();
    r->chunk = malloc(CHUNK_BYTES);
    if (!r->hash || !r->chunk)
        return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", r->path);
    posix_fadvise(r->file, 0, 0,
                  facts.st_size > WHOLE_BYTES_MAX ? POSIX_FADV_RANDOM : POSIX_FADV_SEQUENTIAL);
    XXH3_128bits_reset(r->hash);
    r->size = (uint64_t)facts.st_size;
    identity->bytes = r->size;
    identity->mtime_ns = (int64_t)facts.st_mtim.tv_sec * 1000000000 + facts.st_mtim.tv_nsec;
    return true;
}

static bool read_identity(struct file_identity *identity, const char *path, enum kind kind,
                          struct error *err)
{
    struct reader r = { .path = path, .file = -1 };
    bool certain = false;
    *identity = (struct file_identity) { 0 };
    const bool ok = open_reader(&r, identity, err) && hash_content(&r, kind, &certain, err);
    if (ok) {
        const XXH128_hash_t hash = XXH3_128bits_digest(r.hash);
        identity->hash[0] = hash.low64;
        identity->hash[1] = hash.high64;
        if (certain) identity->mtime_ns = 0;
    }
    if (r.file >= 0) close(r.file);
    XXH3_freeState(r.hash);
    free(r.chunk);
    return ok;
}

bool identity_of_slide(struct file_identity *identity, const char *path, struct error *err)
{
    return read_identity(identity, path, KIND_SLIDE, err);
}

bool identity_of_annotation(struct file_identity *identity, const char *path, struct error *err)
{
    *identity = (struct file_identity) { 0 };
    return !*path || read_identity(identity, path, KIND_ANNOTATION, err);
}

/* --- Pictures --------------------------------------------------------------------------------- */

enum { PICTURE_PIXELS_MIN = 64 * 64, PICTURE_PIXELS_MAX = 16 << 20 };

static bool is_plain(const uint8_t *rgb, size_t bytes)
{
    return memcmp(rgb, rgb + 3, bytes - 3) == 0;
}

bool identity_of_picture(uint64_t *hash, const struct slide *slide, struct error *err)
{
    const struct slide_level *finest = &slide->levels[0], *level = finest + slide->level_count - 1;
    const int64_t sides[2] = { finest->width, finest->height };
    struct slide_cache *cache = NULL;
    struct error unread = { 0 };
    *hash = 0;
    while (level > finest && level->width * level->height < PICTURE_PIXELS_MIN) level--;
    if (level->width * level->height > PICTURE_PIXELS_MAX) return true;
    const size_t row_bytes = (size_t)level->width * 3, bytes = row_bytes * (size_t)level->height;
    uint8_t *rgb = malloc(bytes);
    const bool ok = (rgb || error_set(err, EXIT_CODE_FAILED, "%s: out of memory", slide->path)) &&
                    slide_cache_init(&cache, slide, 0, err);
    if (ok &&
        slide_read(cache, (int)(level - finest), 0, 0, (int)level->width, (int)level->height, rgb,
                   row_bytes, &unread) &&
        !is_plain(rgb, bytes))
        *hash = XXH3_64bits_withSeed(rgb, bytes, XXH3_64bits(sides, sizeof sides));
    slide_cache_release(cache);
    free(rgb);
    return ok;
}

void identity_print(const struct file_identity *identity, char text[IDENTITY_TEXT_BYTES])
{
    snprintf(text, IDENTITY_TEXT_BYTES, "%llu %016llx%016llx %lld",
             (unsigned long long)identity->bytes, (unsigned long long)identity->hash[1],
             (unsigned long long)identity->hash[0], (long long)identity->mtime_ns);
}

bool identity_same(const struct file_identity *a, const struct file_identity *b)
{
    return a->bytes == b->bytes && a->hash[0] == b->hash[0] && a->hash[1] == b->hash[1];
}

bool identity_doubtful(const struct file_identity *a, const struct file_identity *b)
{
    return a->mtime_ns != b->mtime_ns;
}
