/* What an annotation is, by its first bytes: names of files say little, and a photograph or another
 * program's outlines deserve a better answer than "not a TIFF". */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "annotation_parts.h"
#include "micromet/base/size.h"

enum { HEAD_BYTES = 4096 };

static const char outlines[] = "save its outlines as GeoJSON or ASAP XML, or as a mask";
static const char pixels[] =
    "save it as a mask TIFF (for example `vips tiffsave IN OUT.tif --tile --compression deflate`)";
static const char array[] = "write it as a mask TIFF with tifffile.imwrite, tiled and compressed";
static const char unpack[] = "unpack it";

/* Kinds that are told and refused. */
static const struct {
    const char *bytes;
    size_t count;
    const char *name, *remedy;
} others[] = {
    { "\xff\xd8\xff", 3, "a JPEG", pixels },
    { "GIF8", 4, "a GIF", pixels },
    { "BM", 2, "a BMP", pixels },
    { "\0\0\0\x0cjP", 6, "a JPEG 2000", pixels },
    { "RIFF", 4, "a WebP or another RIFF file", pixels },
    { "8BPS", 4, "a Photoshop document", pixels },
    { "\x93NUMPY", 6, "a NumPy array", array },
    { "PK\3\4", 4, "a ZIP archive (or .npz)", unpack },
    { "\xfd"
      "7zXZ",
      5, "compressed by xz", unpack },
    { "BZh", 3, "compressed by bzip2", unpack },
    { "7z\xbc\xaf", 4, "a 7-Zip archive", unpack },
    { "\x89HDF", 4, "an HDF5 file", array },
    { "%PDF", 4, "a PDF", outlines },
};

static const char *const tiff_heads[] = { "II*\0", "MM\0*", "II+\0", "MM\0+" };

struct head {
    unsigned char bytes[HEAD_BYTES + 1];
    size_t count;
};

static bool read_head(struct head *head, const char *path, struct error *err)
{
    struct stat facts;
    FILE *stream = fopen(path, "rb");
    if (!stream)
        return error_set(err, EXIT_CODE_FAILED, "%s: cannot open: %s", path, strerror(errno));
    const bool folder = fstat(fileno(stream), &facts) == 0 && S_ISDIR(facts.st_mode);
    head->count = folder ? 0 : fread(head->bytes, 1, HEAD_BYTES, stream);
    const bool failed = ferror(stream);
    fclose(stream);
    if (folder) return error_set(err, EXIT_CODE_FAILED, "%s: is a folder, not an annotation", path);
    if (failed)
        return error_set(err, EXIT_CODE_FAILED, "%s: cannot be read: %s", path, strerror(errno));
    if (head->count == 0) return error_set(err, EXIT_CODE_FAILED, "%s: is empty", path);
    return true;
}

/* The same of what gzip has packed. */
static bool read_packed_head(struct head *head, const char *path, struct error *err)
{
    gzFile file = gzopen(path, "rb");
    const int got = file ? gzread(file, head->bytes, HEAD_BYTES) : -1;
    if (file) gzclose(file);
    head->count = got > 0 ? (size_t)got : 0;
    return got > 0 || error_set(err, EXIT_CODE_FAILED, "%s: cannot be unpacked", path);
}

/* Drop what the text may begin with, marks of UTF-8 and UTF-16 and space, and the zeros between
 * UTF-16's letters. */
static void squeeze(struct head *head)
{
    size_t kept = 0, at = 0;
    if (head->count >= 3 && !memcmp(head->bytes, "\xef\xbb\xbf", 3)) at = 3;
    if (head->count >= 2 &&
        (!memcmp(head->bytes, "\xff\xfe", 2) || !memcmp(head->bytes, "\xfe\xff", 2)))
        at = 2;
    for (; at < head->count; at++) {
        const unsigned char byte = head->bytes[at];
        if (byte && (kept || !strchr(" \t\r\n", byte))) head->bytes[kept++] = byte;
    }
    head->bytes[kept] = 0;
    head->count = kept;
}

static bool begins(const struct head *head, const char *bytes, size_t count)
{
    return head->count >= count && !memcmp(head->bytes, bytes, count);
}

static bool refuse(const char *path, const char *what, const char *remedy, struct error *err)
{
    return error_set(err, EXIT_CODE_FAILED,
                     "%s: is %s; an annotation is a mask TIFF or PNG, GeoJSON, or XML of ASAP, "
                     "ImageScope or HALO: %s",
                     path, what, remedy);
}

bool annotation_sniff(const char *path, enum annotation_kind *kind, struct error *err)
{
    struct head head;
    if (!read_head(&head, path, err)) return false;
    *kind = ANNOTATION_MASK_TIFF;
    for (size_t i = 0; i < COUNT_OF(tiff_heads); i++)
        if (begins(&head, tiff_heads[i], 4)) return true;
    *kind = ANNOTATION_MASK_PNG;
    if (begins(&head, "\x89PNG", 4)) return true;
    for (size_t i = 0; i < COUNT_OF(others); i++)
        if (begins(&head, others[i].bytes, others[i].count))
            return refuse(path, others[i].name, others[i].remedy, err);
    *kind = ANNOTATION_OUTLINES;
    const bool packed = begins(&head, "\x1f\x8b", 2); /* by gzip */
    if (packed && !read_packed_head(&head, path, err)) return false;
    squeeze(&head);
    if (*head.bytes && strchr("<{[", *head.bytes)) return true;
    if (packed) return refuse(path, "compressed by gzip, and no outlines", unpack, err);
    return refuse(path, "neither a picture, XML nor JSON", outlines, err);
}
