/* Reads the list of slides and refuses whatever could silently spoil an experiment, such as a slide
 * in two splits. The header line gives the order of the columns. */
#include "micromet/slide/manifest.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "micromet/base/size.h"

enum { MANIFEST_BYTES_MAX = 64 << 20, FIELDS_MAX = 16 };

enum column { COLUMN_SLIDE, COLUMN_ANNOTATION, COLUMN_LABEL, COLUMN_SPLIT, COLUMN_COUNT };
static const char *const column_names[COLUMN_COUNT] = { "slide", "annotation", "label", "split" };

static const struct {
    const char *name;
    int label;
} label_names[] = {
    { "normal", 0 }, { "0", 0 }, { "tumor", 1 }, { "tumour", 1 }, { "1", 1 },
};
const char *const split_names[SPLIT_COUNT + 1] = {
    [SPLIT_TRAIN] = "train",
    [SPLIT_VALIDATION] = "validation",
    [SPLIT_TEST] = "test",
};

const char *split_name(enum split split)
{
    return split_names[split];
}

/* The text being parsed; fields are terminated in place. */
struct csv {
    const char *path;
    char *at;
    int line; /* line number at `at` */
};

struct record {
    char *fields[FIELDS_MAX];
    int count;
    int line; /* line number of its start */
};

static char *trim(char *text)
{
    while (*text == ' ' || *text == '\t') text++;
    char *end = text + strlen(text);
    while (end > text && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r')) *--end = 0;
    return text;
}

/* Read a quoted field, in which "" means one quote. Advances csv->at past the closing quote and
 * following blanks. */
static bool read_quoted(struct csv *csv, char **field, struct error *err)
{
    const int line = csv->line;
    char *out = ++csv->at;

    *field = out;
    for (; *csv->at; csv->at++) {
        if (*csv->at == '\n') csv->line++;
        if (*csv->at == '"' && *++csv->at != '"') {
            while (*csv->at == ' ' || *csv->at == '\t' || *csv->at == '\r') csv->at++;
            if (*csv->at && *csv->at != ',' && *csv->at != '\n')
                return error_set(err, EXIT_CODE_USAGE, "%s:%d: text behind a closing quote",
                                 csv->path, csv->line);
            *out = 0;
            return true;
        }
        *out++ = *csv->at;
    }
    return error_set(err, EXIT_CODE_USAGE, "%s:%d: a quote is never closed", csv->path, line);
}

/* Read the next record; record->count is 0 at the end of the text. Blank lines are skipped. */
static bool read_record(struct csv *csv, struct record *record, struct error *err)
{
    while (*csv->at && strchr(" \t\r\n", *csv->at))
        if (*csv->at++ == '\n') csv->line++;
    *record = (struct record) { .line = csv->line };

    for (bool more = *csv->at != 0; more;) {
        if (record->count == FIELDS_MAX)
            return error_set(err, EXIT_CODE_USAGE, "%s:%d: more than %d fields", csv->path,
                             record->line, FIELDS_MAX);
        char **field = &record->fields[record->count++];
        csv->at += strspn(csv->at, " \t");
        const bool quoted = *csv->at == '"';
        *field = csv->at;
        if (quoted && !read_quoted(csv, field, err)) return false;
        if (!quoted) csv->at += strcspn(csv->at, ",\n");
        const char separator = *csv->at;
        more = separator == ',';
        *csv->at = 0;
        if (separator) csv->at++;
        if (separator == '\n') csv->line++;
        if (!quoted) *field = trim(*field);
    }
    return true;
}

/* Read the header: order[i] is the column of a row's field i. */
static bool read_header(struct csv *csv, int order[FIELDS_MAX], int *count, struct error *err)
{
    struct record record;
    bool seen[COLUMN_COUNT] = { false };

    if (strncmp(csv->at, "\xef\xbb\xbf", 3) == 0) csv->at += 3; /* byte order mark */
    if (!read_record(csv, &record, err)) return false;
    *count = record.count;
    for (int i = 0; i < record.count; i++) {
        int column = 0;
        while (column < COLUMN_COUNT && strcasecmp(record.fields[i], column_names[column]) != 0)
            column++;
        if (column == COLUMN_COUNT || seen[column])
            return error_set(err, EXIT_CODE_USAGE,
                             "%s:%d: column '%s' %s; the columns are slide,annotation,label,split",
                             csv->path, record.line, record.fields[i],
                             column == COLUMN_COUNT ? "is unknown" : "stands twice");
        seen[column] = true;
        order[i] = column;
    }
    for (int column = 0; column < COLUMN_COUNT; column++)
        if (!seen[column])
            return error_set(err, EXIT_CODE_USAGE,
                             "%s:1: column '%s' is missing; the first line is "
                             "slide,annotation,label,split",
                             csv->path, column_names[column]);
    return true;
}

static bool find_label(const char *name, int *label)
{
    for (size_t i = 0; i < COUNT_OF(label_names); i++)
        if (strcasecmp(label_names[i].name, name) == 0) {
            *label = label_names[i].label;
            return true;
        }
    return false;
}

static bool find_split(const char *name, enum split *split)
{
    for (int i = 0; i < SPLIT_COUNT; i++)
        if (strcasecmp(split_names[i], name) == 0) {
            *split = (enum split)i;
            return true;
        }
    return false;
}

static bool fill_row(struct manifest_row *row, const struct csv *csv, const struct record *record,
                     const int *order, const char *folder, struct error *err)
{
    const char *text[COLUMN_COUNT] = { "", "", "", "" };

    for (int i = 0; i < record->count; i++) text[order[i]] = record->fields[i];
    *row = (struct manifest_row) { .line = record->line };
    if (!*text[COLUMN_SLIDE])
        return error_set(err, EXIT_CODE_USAGE, "%s:%d: slide is empty", csv->path, row->line);
    if (!find_label(text[COLUMN_LABEL], &row->label))
        return error_set(err, EXIT_CODE_USAGE,
                         "%s:%d: label '%s' is none of tumor, tumour, 1, normal, 0", csv->path,
                         row->line, text[COLUMN_LABEL]);
    if (!find_split(text[COLUMN_SPLIT], &row->split))
        return error_set(err, EXIT_CODE_USAGE,
                         "%s:%d: split '%s' is none of train, validation, test", csv->path,
                         row->line, text[COLUMN_SPLIT]);
    if (!path_join(row->slide, folder, text[COLUMN_SLIDE], err) ||
        (*text[COLUMN_ANNOTATION] &&
         !path_join(row->annotation, folder, text[COLUMN_ANNOTATION], err)))
        return error_prefix(err, "%s:%d", csv->path, row->line);
    return true;
}

/* What identifies a slide: its resolved path, and the name of its pack. */
struct slide_key {
    char *file; /* from realpath(), malloc'ed; NULL if the file does not exist */
    char stem[PATH_MAX_BYTES];
    const struct manifest_row *row;
};

static const char *key_file(const struct slide_key *key)
{
    return key->file ? key->file : key->row->slide;
}

static int compare_lines(const struct slide_key *a, const struct slide_key *b)
{
    return (a->row->line > b->row->line) - (a->row->line < b->row->line);
}

static int compare_files(const void *a, const void *b)
{
    const int order = strcmp(key_file(a), key_file(b));
    return order ? order : compare_lines(a, b);
}

static int compare_stems(const void *a, const void *b)
{
    const int order = strcmp(((const struct slide_key *)a)->stem,
                             ((const struct slide_key *)b)->stem);
    return order ? order : compare_lines(a, b);
}

static bool refuse_twins(const struct manifest *manifest, struct slide_key *keys, struct error *err)
{
    qsort(keys, (size_t)manifest->count, sizeof *keys, compare_files);
    for (int i = 1; i < manifest->count; i++) {
        const struct manifest_row *a = keys[i - 1].row, *b = keys[i].row;
        if (strcmp(key_file(&keys[i - 1]), key_file(&keys[i])) != 0) continue;
        if (a->split == b->split)
            return error_set(err, EXIT_CODE_USAGE, "%s: lines %d and %d name the same slide %s",
                             manifest->path, a->line, b->line, a->slide);
        return error_set(err, EXIT_CODE_USAGE,
                         "%s: lines %d (%s) and %d (%s) put the same slide %s into two splits",
                         manifest->path, a->line, split_name(a->split), b->line,
                         split_name(b->split), a->slide);
    }
    qsort(keys, (size_t)manifest->count, sizeof *keys, compare_stems);
    for (int i = 1; i < manifest->count; i++)
        if (strcmp(keys[i - 1].stem, keys[i].stem) == 0)
            return error_set(err, EXIT_CODE_USAGE,
                             "%s: lines %d and %d are both called '%s', their packs would be one "
                             "file; rename one (a symbolic link will do)",
                             manifest->path, keys[i - 1].row->line, keys[i].row->line,
                             keys[i].stem);
    return true;
}

static bool check_twins(const struct manifest *manifest, struct error *err)
{
    struct slide_key *keys = calloc((size_t)manifest->count, sizeof *keys);
    if (!keys) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", manifest->path);

    for (int i = 0; i < manifest->count; i++) {
        keys[i].row = &manifest->rows[i];
        keys[i].file = realpath(manifest->rows[i].slide, NULL);
        path_stem(keys[i].stem, manifest->rows[i].slide);
    }
    const bool ok = refuse_twins(manifest, keys, err);
    for (int i = 0; i < manifest->count; i++) free(keys[i].file);
    free(keys);
    return ok;
}

static bool append_row(struct manifest *manifest, const struct manifest_row *row, int *capacity,
                       struct error *err)
{
    if (manifest->count == *capacity) {
        const int larger = *capacity ? 2 * *capacity : 16;
        void *rows = realloc(manifest->rows, (size_t)larger * sizeof *manifest->rows);
        if (!rows) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", manifest->path);
        manifest->rows = rows;
        *capacity = larger;
    }
    manifest->rows[manifest->count++] = *row;
    return true;
}

static bool read_rows(struct manifest *manifest, struct csv *csv, struct error *err)
{
    char folder[PATH_MAX_BYTES];
    int order[FIELDS_MAX], field_count, capacity = 0;
    struct record record;
    struct manifest_row row;

    path_folder(folder, manifest->path);
    if (!read_header(csv, order, &field_count, err)) return false;
    for (;;) {
        if (!read_record(csv, &record, err)) return false;
        if (!record.count) break;
        if (record.count != field_count)
            return error_set(err, EXIT_CODE_USAGE, "%s:%d: has %d fields, the header has %d",
                             csv->path, record.line, record.count, field_count);
        if (!fill_row(&row, csv, &record, order, folder, err) ||
            !append_row(manifest, &row, &capacity, err))
            return false;
    }
    if (!manifest->count) return error_set(err, EXIT_CODE_USAGE, "%s: names no slide", csv->path);
    return check_twins(manifest, err);
}

bool manifest_load(struct manifest *manifest, const char *path, struct error *err)
{
    char *text = NULL;
    size_t size;

    *manifest = (struct manifest) { 0 };
    if (!*path)
        return error_set(err, EXIT_CODE_USAGE,
                         "data.manifest: names no file; give a CSV of slides");
    if (!path_join(manifest->path, "", path, err)) return false;
    if (!file_read(path, MANIFEST_BYTES_MAX, &text, &size, err)) return false;
    struct csv csv = { .path = manifest->path, .at = text, .line = 1 };
    bool ok = !memchr(text, 0, size) ||
              error_set(err, EXIT_CODE_USAGE, "%s: holds a zero byte, so it is no CSV", path);
    ok = ok && read_rows(manifest, &csv, err);
    free(text);
    if (!ok) manifest_release(manifest);
    return ok;
}

void manifest_release(struct manifest *manifest)
{
    free(manifest->rows);
    *manifest = (struct manifest) { 0 };
}
