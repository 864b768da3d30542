/* TIFF 6.0 and BigTIFF directories of a tiled pyramid, little endian. The two formats differ only
 * in the size of counts and offsets.
 *
 * Directories are written smallest level first, because each holds the offset of its successor. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "micromet/base/file.h"
#include "micromet/base/size.h"
#include "tiff_pyramid.h"

enum { TAGS_MAX = 24, CLASSIC_LIMIT_SHIFT = 32 };

enum field_type {
    FIELD_ASCII = 2,
    FIELD_SHORT = 3,
    FIELD_LONG = 4,
    FIELD_RATIONAL = 5,
    FIELD_LONG8 = 16
};

struct field {
    uint16_t tag;
    enum field_type type;
    uint64_t count;
    const void *values; /* uint64_t of each value (rationals: numerator, denominator), or text */
};

struct writer {
    struct atomic_file *file;
    uint64_t position;
    bool big;
    struct error *err;
};

/* Bytes of one value of a type. */
static int field_size(enum field_type type)
{
    switch (type) {
    case FIELD_ASCII:
        return 1;
    case FIELD_SHORT:
        return 2;
    case FIELD_LONG:
        return 4;
    case FIELD_RATIONAL:
    case FIELD_LONG8:
        return 8;
    }
    return 0;
}

static size_t put(uint8_t *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) out[i] = (uint8_t)(value >> (8 * i));
    return (size_t)bytes;
}

static bool append(struct writer *writer, const void *bytes, size_t size)
{
    if (fwrite(bytes, 1, size, writer->file->stream) != size)
        return error_set(writer->err, EXIT_CODE_FAILED, "%s: cannot write; is the disk full?",
                         writer->file->path);
    writer->position += size;
    return true;
}

static bool align(struct writer *writer)
{
    static const uint8_t zeros[8];
    return append(writer, zeros, (size_t)(-writer->position & 7));
}

/* Convert the field's values to the file's representation. */
static void field_serialise(const struct field *field, uint8_t *out)
{
    if (field->type == FIELD_ASCII) {
        memcpy(out, field->values, (size_t)field->count);
        return;
    }
    const uint64_t *values = field->values;
    bool rational = field->type == FIELD_RATIONAL;
    int bytes = rational ? 4 : field_size(field->type);
    uint64_t count = rational ? 2 * field->count : field->count;
    for (uint64_t i = 0; i < count; i++) out += put(out, values[i], bytes);
}

/* Write the field's entry to `entry`; values that do not fit into it are appended to the file. */
static bool field_write(struct writer *writer, const struct field *field, uint8_t *entry)
{
    int word = writer->big ? 8 : 4;
    size_t size = (size_t)field->count * (size_t)field_size(field->type);
    entry += put(entry, field->tag, 2);
    entry += put(entry, field->type, 2);
    entry += put(entry, field->count, word);
    if (size <= (size_t)word) {
        field_serialise(field, entry);
        return true;
    }
    put(entry, writer->position, word);
    uint8_t *values = malloc(size);
    if (values == NULL)
        return error_set(writer->err, EXIT_CODE_FAILED, "%s: out of memory", writer->file->path);
    field_serialise(field, values);
    bool ok = append(writer, values, size) && align(writer);
    free(values);
    return ok;
}

/* Append one directory; *begin is its offset. Fields must be in ascending order of tag. */
static bool directory_write(struct writer *writer, const struct field *fields, int count,
                            uint64_t next, uint64_t *begin)
{
    int word = writer->big ? 8 : 4;
    size_t entry_size = 4 + 2 * (size_t)word;
    uint8_t directory[8 + TAGS_MAX * 20 + 8] = { 0 };
    uint8_t *end = directory + put(directory, (uint64_t)count, writer->big ? 8 : 2);
    for (int i = 0; i < count; i++, end += entry_size)
        if (!field_write(writer, &fields[i], end)) return false;
    end += put(end, next, word);
    *begin = writer->position;
    return append(writer, directory, (size_t)(end - directory)) && align(writer);
}

/* Tile sizes as uint64_t, for field_serialise(). */
static uint64_t *sizes_widen(const struct tiff_level *level)
{
    size_t count = (size_t)(level->columns * level->rows);
    uint64_t *wide = malloc(count * sizeof *wide);
    for (size_t i = 0; wide != NULL && i < count; i++) wide[i] = level->sizes[i];
    return wide;
}

static bool level_write(struct writer *writer, const struct tiff_pyramid *pyramid,
                        const struct tiff_level *levels, int index, uint64_t next, uint64_t *begin)
{
    static const char software[] = "micromet synth";
    const struct tiff_level *level = &levels[index];
    bool jpeg = pyramid->kind == TIFF_PYRAMID_JPEG;
    uint64_t channels = jpeg ? 3 : 1, tiles = (uint64_t)(level->columns * level->rows);
    uint64_t bits[3] = { 8, 8, 8 }, subsampling[2] = { 2, 2 };
    uint64_t reduced = index > 0, width = (uint64_t)level->width, height = (uint64_t)level->height;
    uint64_t compression = jpeg ? 7 : 8, photometric = jpeg ? 6 : 1, tile = (uint64_t)pyramid->tile;
    uint64_t contiguous = 1, centimetre = 3;
    double per_cm = pyramid->mpp > 0 ? 1e4 / pyramid->mpp : 0;
    uint64_t x_resolution[2], y_resolution[2];
    x_resolution[1] = y_resolution[1] = 1000;
    x_resolution[0] = (uint64_t)llround(1000 * per_cm * (double)width / (double)levels[0].width);
    y_resolution[0] = (uint64_t)llround(1000 * per_cm * (double)height / (double)levels[0].height);
    uint64_t *sizes = sizes_widen(level);
    if (sizes == NULL)
        return error_set(writer->err, EXIT_CODE_FAILED, "%s: out of memory", writer->file->path);

    struct {
        bool present;
        struct field field;
    } all[] = {
        { true, { 254, FIELD_LONG, 1, &reduced } }, /* NewSubfileType */
        { true, { 256, FIELD_LONG, 1, &width } },
        { true, { 257, FIELD_LONG, 1, &height } },
        { true, { 258, FIELD_SHORT, channels, bits } },
        { true, { 259, FIELD_SHORT, 1, &compression } },
        { true, { 262, FIELD_SHORT, 1, &photometric } },
        { true, { 277, FIELD_SHORT, 1, &channels } },
        { per_cm > 0, { 282, FIELD_RATIONAL, 1, x_resolution } },
        { per_cm > 0, { 283, FIELD_RATIONAL, 1, y_resolution } },
        { true, { 284, FIELD_SHORT, 1, &contiguous } },
        { per_cm > 0, { 296, FIELD_SHORT, 1, &centimetre } },
        { true, { 305, FIELD_ASCII, sizeof software, software } },
        { true, { 322, FIELD_LONG, 1, &tile } },
        { true, { 323, FIELD_LONG, 1, &tile } },
        { true, { 324, writer->big ? FIELD_LONG8 : FIELD_LONG, tiles, level->offsets } },
        { true, { 325, FIELD_LONG, tiles, sizes } },
        { jpeg, { 530, FIELD_SHORT, 2, subsampling } },
    };
    struct field fields[TAGS_MAX];
    int count = 0;
    for (size_t i = 0; i < COUNT_OF(all); i++)
        if (all[i].present) fields[count++] = all[i].field;
    bool ok = directory_write(writer, fields, count, next, begin);
    free(sizes);
    return ok;
}

static bool header_write(struct writer *writer, uint64_t first)
{
    uint8_t header[16] = { 'I', 'I' };
    if (writer->big) {
        put(header + 2, 43, 2);
        put(header + 4, 8, 2);
        put(header + 8, first, 8);
    } else {
        put(header + 2, 42, 2);
        put(header + 4, first, 4);
    }
    if (fseeko(writer->file->stream, 0, SEEK_SET) != 0)
        return error_set(writer->err, EXIT_CODE_FAILED, "%s: cannot write; is the disk full?",
                         writer->file->path);
    return append(writer, header, sizeof header);
}

bool tiff_directories_write(const struct tiff_pyramid *pyramid, const struct tiff_level *levels,
                            struct atomic_file *file, uint64_t position, struct error *err)
{
    uint64_t directories = 0; /* upper bound of their size, bytes */
    for (int i = 0; i < pyramid->levels; i++)
        directories += 1024 + 12 * (uint64_t)(levels[i].columns * levels[i].rows);
    struct writer writer = { .file = file, .position = position, .err = err };
    writer.big = (position + directories) >> CLASSIC_LIMIT_SHIFT != 0;

    uint64_t begin = 0;
    if (!align(&writer)) return false;
    for (int i = pyramid->levels - 1; i >= 0; i--)
        if (!level_write(&writer, pyramid, levels, i, begin, &begin)) return false;
    return header_write(&writer, begin);
}
