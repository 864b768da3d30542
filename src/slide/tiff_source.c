/* Opens TIFFs, and detects truncated ones before anything is read from them.
 *
 * A TIFF states where all its parts are, so a missing end is detectable: directories are followed
 * by hand, since libtiff does not say where an unreadable directory should have been, and the
 * extent of the pixel data is taken from libtiff. */
#include "tiff_source.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { DIRECTORIES_MAX = 4096, ALLOCATION_MAX = 1 << 30 };

static int keep_complaint(TIFF *tiff, void *user, const char *module, const char *format,
                          va_list arguments)
{
    struct tiff_source *source = user;
    (void)tiff;
    (void)module;
    if (!*source->complaint)
        vsnprintf(source->complaint, sizeof source->complaint, format, arguments);
    return 1;
}

static int ignore_warning(TIFF *tiff, void *user, const char *module, const char *format,
                          va_list arguments)
{
    (void)tiff;
    (void)user;
    (void)module;
    (void)format;
    (void)arguments;
    return 1;
}

void tiff_silence(void)
{
    TIFFSetErrorHandler(NULL);
    TIFFSetWarningHandler(NULL);
}

bool tiff_source_open(struct tiff_source *source, const char *path, struct error *err)
{
    *source = (struct tiff_source) { .path = path };
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", path);
    TIFFOpenOptionsSetErrorHandlerExtR(options, keep_complaint, source);
    TIFFOpenOptionsSetWarningHandlerExtR(options, ignore_warning, NULL);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, ALLOCATION_MAX);
    source->tiff = TIFFOpenExt(path, "rm", options);
    TIFFOpenOptionsFree(options);
    if (source->tiff) return true;
    return error_set(err, EXIT_CODE_FAILED, "%s: cannot be read as a TIFF: %s", path,
                     *source->complaint ? source->complaint : "no reason given");
}

void tiff_source_release(struct tiff_source *source)
{
    if (source->tiff) TIFFClose(source->tiff);
    source->tiff = NULL;
}

/* Reads a TIFF's integers in the file's byte order. */
struct raw_tiff {
    FILE *file;
    uint64_t size;
    bool big_endian, big_tiff;
};

/* Read the integer of `bytes` bytes at `offset`; false beyond the end of the file. */
static bool raw_integer(const struct raw_tiff *raw, uint64_t offset, int bytes, uint64_t *value)
{
    uint8_t b[8];
    if (offset > raw->size || raw->size - offset < (uint64_t)bytes) return false;
    if (fseeko(raw->file, (off_t)offset, SEEK_SET) ||
        fread(b, 1, (size_t)bytes, raw->file) != (size_t)bytes)
        return false;
    *value = 0;
    for (int i = 0; i < bytes; i++)
        *value |= (uint64_t)b[raw->big_endian ? bytes - 1 - i : i] << (8 * i);
    return true;
}

/* Whether the file is a TIFF; if so, *directory is the offset of its first directory. */
static bool raw_header(struct raw_tiff *raw, uint64_t *directory)
{
    char order[2];
    uint64_t version;
    if (fread(order, 1, 2, raw->file) != 2) return false;
    if (memcmp(order, "II", 2) != 0 && memcmp(order, "MM", 2) != 0) return false;
    raw->big_endian = order[0] == 'M';
    if (!raw_integer(raw, 2, 2, &version) || (version != 42 && version != 43)) return false;
    raw->big_tiff = version == 43;
    return raw_integer(raw, raw->big_tiff ? 8 : 4, raw->big_tiff ? 8 : 4, directory);
}

/* The offset that the file must reach for its first incomplete directory, or 0 if there is none. */
static uint64_t raw_missing_directory(const struct raw_tiff *raw, uint64_t directory)
{
    const int count_bytes = raw->big_tiff ? 8 : 2, entry_bytes = raw->big_tiff ? 20 : 12;
    const int link_bytes = raw->big_tiff ? 8 : 4;
    for (int i = 0; directory && i < DIRECTORIES_MAX; i++) {
        uint64_t entries, next;
        if (!raw_integer(raw, directory, count_bytes, &entries)) return directory;
        if (entries > UINT16_MAX) entries = UINT16_MAX; /* no real TIFF has more */
        const uint64_t link = directory + (uint64_t)count_bytes + entries * (uint64_t)entry_bytes;
        if (!raw_integer(raw, link, link_bytes, &next)) return link + (uint64_t)link_bytes;
        directory = next;
    }
    return 0;
}

/* The end of the pixel data that reaches farthest, over all directories. */
static uint64_t data_end(TIFF *tiff)
{
    uint64_t end = 0;
    int directories = 0;
    do {
        const uint32_t count = TIFFIsTiled(tiff) ? TIFFNumberOfTiles(tiff)
                                                 : TIFFNumberOfStrips(tiff);
        for (uint32_t i = 0; i < count; i++) {
            int failed = 0;
            const uint64_t bytes = TIFFGetStrileByteCountWithErr(tiff, i, &failed);
            const uint64_t offset = failed ? 0 : TIFFGetStrileOffsetWithErr(tiff, i, &failed);
            if (failed) break;
            if (bytes && offset <= UINT64_MAX - bytes && offset + bytes > end) end = offset + bytes;
        }
    } while (++directories < DIRECTORIES_MAX && TIFFReadDirectory(tiff));
    return end;
}

static bool refuse_truncated(const struct raw_tiff *raw, const char *path, uint64_t needed,
                             struct error *err)
{
    return error_set(err, EXIT_CODE_FAILED,
                     "%s: the file is truncated or damaged: it has %llu bytes but refers to byte "
                     "%llu; copy or download it again",
                     path, (unsigned long long)raw->size, (unsigned long long)needed);
}

bool tiff_check_whole(const char *path, struct error *err)
{
    struct stat facts;
    struct tiff_source source;
    struct error ignored = { 0 };
    uint64_t directory, needed;
    struct raw_tiff raw = { .file = fopen(path, "rb") };
    bool ok = true;

    if (!raw.file) return true;
    if (fstat(fileno(raw.file), &facts)) goto done;
    raw.size = (uint64_t)facts.st_size;
    if (!raw_header(&raw, &directory)) goto done;
    if ((needed = raw_missing_directory(&raw, directory))) {
        ok = refuse_truncated(&raw, path, needed, err);
    } else if (tiff_source_open(&source, path, &ignored)) {
        if ((needed = data_end(source.tiff)) > raw.size)
            ok = refuse_truncated(&raw, path, needed, err);
        tiff_source_release(&source);
    }
done:
    fclose(raw.file);
    return ok;
}
