/* Builds the pack of one slide.
 *
 * While windows are being selected, their pixels are kept in numbered slots of an unnamed scratch
 * file, so memory holds none of them and the disk only the current selection. Afterwards they are
 * copied in raster order into a file that appears only when it is complete. */
#include "micromet/slide/pack.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "micromet/slide/scale.h"

/* The scratch file: slot k is at offset k * slot_bytes. */
struct scratch {
    int file;
    char path[PATH_MAX_BYTES]; /* the pack's, for messages: the scratch file has no name */
    size_t tower_bytes, slot_bytes;
    int towers;
};

static bool scratch_init(struct scratch *scratch, const struct pack_header *header,
                         const char *pack_path, struct error *err)
{
    scratch->towers = header->tower_count;
    scratch->slot_bytes = (size_t)pack_window_bytes(header);
    scratch->tower_bytes = scratch->slot_bytes / (size_t)header->tower_count;
    snprintf(scratch->path, sizeof scratch->path, "%s", pack_path);
    scratch->file = scratch_file_open(pack_path, err);
    return scratch->file >= 0;
}

static void scratch_release(struct scratch *scratch)
{
    if (scratch->file >= 0) close(scratch->file);
    scratch->file = -1;
}

static bool write_at(const struct scratch *scratch, const uint8_t *bytes, size_t size, off_t offset,
                     struct error *err)
{
    while (size) {
        const ssize_t put = pwrite(scratch->file, bytes, size, offset);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0)
            return error_set(err, EXIT_CODE_FAILED, "%s: cannot be written: %s", scratch->path,
                             put ? strerror(errno) : "the disk is full");
        bytes += put;
        size -= (size_t)put;
        offset += put;
    }
    return true;
}

static bool scratch_put(void *context, int64_t slot, uint8_t *const pixels[TOWERS_MAX],
                        struct error *err)
{
    const struct scratch *scratch = context;
    off_t offset = (off_t)slot * (off_t)scratch->slot_bytes;

    for (int tower = 0; tower < scratch->towers; tower++) {
        if (!write_at(scratch, pixels[tower], scratch->tower_bytes, offset, err)) return false;
        offset += (off_t)scratch->tower_bytes;
    }
    return true;
}

static bool scratch_get(const struct scratch *scratch, int64_t slot, uint8_t *pixels,
                        struct error *err)
{
    off_t offset = (off_t)slot * (off_t)scratch->slot_bytes;

    for (size_t left = scratch->slot_bytes; left;) {
        const ssize_t got = pread(scratch->file, pixels, left, offset);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            return error_set(err, EXIT_CODE_FAILED, "%s: cannot be read: %s", scratch->path,
                             got ? strerror(errno) : "it is too short");
        pixels += got;
        left -= (size_t)got;
        offset += got;
    }
    return true;
}

/* --- The final file --------------------------------------------------------------------------- */

static bool write_bytes(struct atomic_file *file, const void *bytes, size_t size, struct error *err)
{
    if (fwrite(bytes, 1, size, file->stream) == size) return true;
    return error_set(err, EXIT_CODE_FAILED, "%s: cannot be written: %s", file->path,
                     strerror(errno));
}

static bool seek_to(struct atomic_file *file, uint64_t offset, struct error *err)
{
    return fseeko(file->stream, (off_t)offset, SEEK_SET) == 0 ||
           error_set(err, EXIT_CODE_FAILED, "%s: cannot be written: %s", file->path,
                     strerror(errno));
}

/* Write all pixels in raster order; hashes: (count, towers). */
static bool write_pixels(struct atomic_file *file, const struct window_list *list,
                         const struct scratch *scratch, uint8_t *pixels, uint64_t *hashes,
                         struct error *err)
{
    for (int64_t i = 0; i < list->count; i++) {
        if (!scratch_get(scratch, list->slots[i], pixels, err) ||
            !write_bytes(file, pixels, scratch->slot_bytes, err))
            return false;
        for (int tower = 0; tower < scratch->towers; tower++)
            *hashes++ = XXH3_64bits(pixels + (size_t)tower * scratch->tower_bytes,
                                    scratch->tower_bytes);
    }
    return true;
}

/* Write header and table, after the pixels, whose hashes are in the table. */
static bool write_front(struct atomic_file *file, struct pack_header *header, const uint8_t *table,
                        size_t table_bytes, struct error *err)
{
    uint8_t bytes[PACK_HEADER_BYTES] = { 0 };
    const XXH128_hash_t hash = XXH3_128bits(table, table_bytes);

    header->table_hash[0] = hash.low64;
    header->table_hash[1] = hash.high64;
    header->header_hash = XXH3_64bits(header, offsetof(struct pack_header, header_hash));
    memcpy(bytes, header, sizeof *header);
    return seek_to(file, 0, err) && write_bytes(file, bytes, sizeof bytes, err) &&
           write_bytes(file, table, table_bytes, err);
}

static void fill_contents(struct pack_header *header, const struct window_list *list)
{
    header->grid_columns = list->grid.columns;
    header->grid_rows = list->grid.rows;
    header->grid_x_level0 = list->grid.origin_x;
    header->grid_y_level0 = list->grid.origin_y;
    header->tissue_windows = list->tissue_windows;
    header->count = list->count;
    header->tumor_count = list->tumor_count;
    header->gray_max = list->gray_max;
}

static bool write_pack(const char *path, struct pack_header *header, const struct window_list *list,
                       const struct scratch *scratch, struct error *err)
{
    struct atomic_file file = { 0 };
    const size_t windows_bytes = (size_t)list->count * sizeof *list->windows;
    const size_t table_bytes = (size_t)pack_pixels_offset(header) - PACK_HEADER_BYTES;
    uint8_t *table = calloc(1, table_bytes + 1), *pixels = malloc(scratch->slot_bytes);
    bool ok = (table && pixels) || error_set(err, EXIT_CODE_FAILED, "%s: out of memory", path);

    if (ok && windows_bytes) memcpy(table, list->windows, windows_bytes);
    ok = ok && atomic_file_open(&file, path, err) &&
         seek_to(&file, pack_pixels_offset(header), err) &&
         write_pixels(&file, list, scratch, pixels, (void *)(table + windows_bytes), err) &&
         write_front(&file, header, table, table_bytes, err) && atomic_file_commit(&file, err);
    atomic_file_release(&file);
    free(table);
    free(pixels);
    return ok;
}

/* --- One slide -------------------------------------------------------------------------------- */

static bool build_from(const struct slide *slide, struct annotation *annotation, int label,
                       const struct config *config, const struct select_options *options,
                       const char *path, struct pack_header *header, struct error *err)
{
    struct scratch scratch = { .file = -1 };
    const struct window_sink sink = { .put = scratch_put, .context = &scratch };
    struct select_options with_sink = *options;
    struct window_list list = { 0 };

    with_sink.sink = &sink;
    bool ok = scratch_init(&scratch, header, path, err) &&
              windows_select(slide, annotation, label, config, &with_sink, &list, err);
    if (ok) {
        fill_contents(header, &list);
        ok = write_pack(path, header, &list, &scratch, err);
    }
    window_list_release(&list);
    scratch_release(&scratch);
    return ok;
}

bool pack_build(const struct manifest_row *row, const struct config *config,
                const struct select_options *options, struct pack_header *header, struct error *err)
{
    char path[PATH_MAX_BYTES];
    struct slide slide = { 0 };
    struct annotation *annotation = NULL;

    if (config->data.window > PACK_WINDOW_MAX)
        return error_set(err, EXIT_CODE_FAILED,
                         "data.window: a pack holds windows of at most %d px", PACK_WINDOW_MAX);
    if (!pack_path(path, row, config, err) || !slide_open_row(&slide, row, &config->data, err))
        return false;
    const bool ok = folder_create(config->data.pack, err) &&
                    pack_header_expected(row, config, &slide, header, err) &&
                    annotation_open(&annotation, row->annotation, row->mask_downsample, &slide,
                                    &config->data, err) &&
                    build_from(&slide, annotation, row->label, config, options, path, header, err);
    annotation_release(annotation);
    slide_release(&slide);
    return ok;
}

/* Compare the file at `path` with the pack that state->header describes. */
static void compare(const char *path, struct pack_state *state)
{
    struct pack pack;
    struct error unreadable = { 0 }; /* such a pack is rebuilt */

    if (!file_exists(path)) return;
    if (!pack_open(&pack, path, false, &unreadable)) {
        snprintf(state->reason, sizeof state->reason, "%.500s", unreadable.message);
        return;
    }
    const char *difference = pack_difference(&pack.header, &state->header);
    state->current = !difference;
    if (difference) {
        snprintf(state->reason, sizeof state->reason, "%.400s: %s has changed", path, difference);
    } else {
        state->doubtful = identity_doubtful(&pack.header.slide, &state->header.slide) ||
                          identity_doubtful(&pack.header.annotation, &state->header.annotation);
        state->header = pack.header;
    }
    pack_release(&pack);
}

bool pack_current(const struct manifest_row *row, const struct config *config,
                  struct pack_state *state, struct error *err)
{
    char path[PATH_MAX_BYTES];
    struct slide slide = { 0 };
    struct grid grid;

    *state = (struct pack_state) { 0 };
    if (!pack_path(path, row, config, err) || !slide_open_row(&slide, row, &config->data, err))
        return false;
    const bool ok = grid_init(&grid, &slide, &config->data, 0, err) &&
                    pack_header_expected(row, config, &slide, &state->header, err);
    if (ok) {
        scale_log(&slide);
        compare(path, state);
        state->grid_windows = grid.columns * grid.rows;
    }
    slide_release(&slide);
    return ok;
}
