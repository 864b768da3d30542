/* Reads the list of slides and refuses whatever could silently spoil an experiment, such as a slide
 * in two splits. The header line gives the order of the columns. */
#include "micromet/slide/manifest.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "manifest_path.h"
#include "manifest_text.h"
#include "micromet/base/log.h"
#include "micromet/base/size.h"
#include "micromet/base/text.h"
#include "micromet/slide/annotation.h"
#include "micromet/slide/slide.h"

enum { ROWS_MAX = 1 << 20 };

enum column {
    COLUMN_SLIDE,
    COLUMN_ANNOTATION,
    COLUMN_LABEL,
    COLUMN_SPLIT,
    COLUMN_REQUIRED, /* those before it */
    COLUMN_MPP = COLUMN_REQUIRED,
    COLUMN_MASK_DOWNSAMPLE,
    COLUMN_PATIENT,
    COLUMN_COUNT,
    COLUMN_IGNORED = COLUMN_COUNT, /* has another name */
    COLUMN_NAMELESS,
};
static const char *const column_names[COLUMN_COUNT] = {
    "slide", "annotation", "label", "split", "mpp", "mask_downsample", "patient",
};

static const struct {
    const char *name;
    int label;
} label_names[] = {
    { "normal", 0 }, { "0", 0 }, { "0.0", 0 }, { "negative", 0 }, { "tumor", 1 },
    { "tumour", 1 }, { "1", 1 }, { "1.0", 1 }, { "positive", 1 },
};
const char *const split_names[SPLIT_COUNT + 1] = {
    [SPLIT_TRAIN] = "train",
    [SPLIT_VALIDATION] = "validation",
    [SPLIT_TEST] = "test",
};
static const struct {
    const char *name;
    enum split split;
} split_synonyms[] = {
    { "training", SPLIT_TRAIN },
    { "val", SPLIT_VALIDATION },
    { "valid", SPLIT_VALIDATION },
    { "testing", SPLIT_TEST },
};
/* What programs write for a cell without a value. */
static const char *const blank_words[] = { "nan", "na", "n/a", "null", "none", "-" };

const char *split_name(enum split split)
{
    return split_names[split];
}

/* What the header says of each field. */
struct columns {
    int of_field[MANIFEST_FIELDS_MAX];
    int count;
};

/* --- The header ------------------------------------------------------------------------------- */

static bool same_word(const char *a, const char *b)
{
    return strcasecmp(a, b) == 0;
}

static int find_column(const char *name)
{
    int column = 0;
    while (column < COLUMN_COUNT && !same_word(name, column_names[column])) column++;
    return *name ? column : COLUMN_NAMELESS;
}

static void lower_case(char *to, size_t size, const char *from)
{
    size_t i = 0;
    for (; from[i] && i + 1 < size; i++)
        to[i] = from[i] >= 'A' && from[i] <= 'Z' ? (char)(from[i] - 'A' + 'a') : from[i];
    to[i] = 0;
}

/* The column that an unknown name may be meant for: a typing error, or a longer name of a column
 * that may be missing, such as patient_id; NULL if none. */
static const char *column_meant(const char *name)
{
    char word[NEAREST_MAX];
    lower_case(word, sizeof word, name);
    for (int i = 0; i < COLUMN_COUNT; i++) {
        const int letters = (int)strlen(column_names[i]);
        const int near = letters / 3 < 2 ? 1 : 2;
        if (text_distance(word, column_names[i]) <= near) return column_names[i];
        if (i >= COLUMN_REQUIRED && strstr(word, column_names[i])) return column_names[i];
    }
    return NULL;
}

static bool refuse_missing(const struct manifest_text *text, int line, int column,
                           const struct manifest_record *header, struct error *err)
{
    error_set(err, EXIT_CODE_USAGE,
              "%s:%d: column '%s' is missing; the first line is slide,annotation,label,split, and "
              "here ",
              text->path, line, column_names[column]);
    for (int i = 0; i < header->count && i < 12; i++)
        error_append(err, "%s'%.40s'", i ? ", " : "", header->fields[i]);
    return error_append(err, header->count ? "" : "there is none");
}

static bool read_header(struct manifest_text *text, struct columns *columns, struct error *err)
{
    struct manifest_record record;
    bool seen[COLUMN_COUNT] = { false };
    char ignored[256] = "";

    if (!manifest_text_record(text, &record, err)) return false;
    columns->count = record.count;
    for (int i = 0; i < record.count; i++) {
        const char *name = record.fields[i];
        const int column = columns->of_field[i] = find_column(name);
        if (column < COLUMN_COUNT && seen[column])
            return error_set(err, EXIT_CODE_USAGE, "%s:%d: column '%s' stands twice", text->path,
                             record.line, name);
        if (column < COLUMN_COUNT) seen[column] = true;
        if (column == COLUMN_IGNORED) {
            const size_t at = strlen(ignored);
            snprintf(ignored + at, sizeof ignored - at, "%s%s", at ? ", " : "", name);
        }
    }
    for (int i = 0; i < record.count; i++) {
        const char *meant = columns->of_field[i] == COLUMN_IGNORED ? column_meant(record.fields[i])
                                                                   : NULL;
        if (meant)
            return error_set(err, EXIT_CODE_USAGE,
                             "%s:%d: column '%s' is unknown; is '%s' meant? Rename it, or leave it "
                             "out",
                             text->path, record.line, record.fields[i], meant);
    }
    for (int column = 0; column < COLUMN_REQUIRED; column++)
        if (!seen[column]) return refuse_missing(text, record.line, column, &record, err);
    if (*ignored) log_warning("%s:%d: columns not read: %s", text->path, record.line, ignored);
    return true;
}

/* --- Rows ------------------------------------------------------------------------------------- */

static bool find_label(const char *name, int *label)
{
    for (size_t i = 0; i < COUNT_OF(label_names); i++)
        if (same_word(label_names[i].name, name)) {
            *label = label_names[i].label;
            return true;
        }
    return false;
}

static bool find_split(const char *name, enum split *split)
{
    for (int i = 0; i < SPLIT_COUNT; i++)
        if (same_word(split_names[i], name)) {
            *split = (enum split)i;
            return true;
        }
    for (size_t i = 0; i < COUNT_OF(split_synonyms); i++)
        if (same_word(split_synonyms[i].name, name)) {
            *split = split_synonyms[i].split;
            return true;
        }
    return false;
}

static bool is_blank(const char *text)
{
    for (size_t i = 0; i < COUNT_OF(blank_words); i++)
        if (same_word(text, blank_words[i])) return true;
    return !text[strspn(text, " \t")];
}

/* A number as people write it, with a decimal comma where commas do not separate. */
static bool read_number(double *value, const char *text, char separator)
{
    char number[32], *end;
    if (strlen(text) >= sizeof number || text[strspn(text, "0123456789.,eE+-")]) return false;
    snprintf(number, sizeof number, "%s", text);
    char *comma = strchr(number, ',');
    if (comma && separator != ',') *comma = '.';
    *value = strtod(number, &end);
    return !*end && isfinite(*value);
}

/* The cells of a record by column; those without a value are empty. Refuses values without a
 * column, except for the numbers that pandas writes before each row. */
static bool sort_fields(const struct manifest_text *text, const struct manifest_record *record,
                        const struct columns *columns, const char *cells[COLUMN_COUNT],
                        struct error *err)
{
    for (int i = 0; i < COLUMN_COUNT; i++) cells[i] = "";
    for (int i = 0; i < record->count; i++) {
        const char *value = record->fields[i];
        const int column = i < columns->count ? columns->of_field[i] : COLUMN_NAMELESS;
        const bool is_index = i == 0 && !value[strspn(value, "0123456789")];
        if (column < COLUMN_COUNT) cells[column] = value;
        if (column != COLUMN_NAMELESS || !*value || is_index) continue;
        if (i < columns->count)
            return error_set(err, EXIT_CODE_USAGE,
                             "%s:%d: '%s' stands in a column to which the header gives no name",
                             text->path, record->line, value);
        return error_set(err, EXIT_CODE_USAGE,
                         "%s:%d: has %d fields, the header has %d; is '%s' behind a comma that "
                         "should stand in quotes?",
                         text->path, record->line, record->count, columns->count, value);
    }
    for (int i = record->count; i < columns->count; i++)
        if (columns->of_field[i] < COLUMN_REQUIRED)
            return error_set(err, EXIT_CODE_USAGE, "%s:%d: has %d fields, the header has %d",
                             text->path, record->line, record->count, columns->count);
    return true;
}

/* Without blanks around it, and a whole number in one form: 12 as spreadsheets write it may be 012
 * or 12.0 elsewhere. */
static void patient_copy(char *to, size_t size, const char *name)
{
    static const char blanks[] = " \t\xc2\xa0"; /* and the no-break space, in UTF-8 */
    name += strspn(name, blanks);
    size_t length = strlen(name);
    while (length && strchr(blanks, name[length - 1])) length--;
    const size_t digits = strspn(name, "0123456789");
    size_t end = digits;
    if (digits && name[end] == '.') end += 1 + strspn(name + end + 1, "0");
    if (digits && end == length) {
        length = digits;
        while (length > 1 && *name == '0') name++, length--;
    }
    snprintf(to, size, "%.*s", (int)length, name);
}

static bool fill_optional(struct manifest_row *row, const struct manifest_text *text,
                          const char *const cells[COLUMN_COUNT], struct error *err)
{
    const char *mpp = cells[COLUMN_MPP], *patient = cells[COLUMN_PATIENT];
    const char *downsample = cells[COLUMN_MASK_DOWNSAMPLE];
    if (!is_blank(downsample) &&
        (!read_number(&row->mask_downsample, downsample, text->separator) ||
         row->mask_downsample < MASK_DOWNSAMPLE_MIN || row->mask_downsample > MASK_DOWNSAMPLE_MAX))
        return error_set(err, EXIT_CODE_USAGE,
                         "%s:%d: mask_downsample '%s' is no number of level-0 pixels from %g to %g",
                         text->path, row->line, downsample, MASK_DOWNSAMPLE_MIN,
                         MASK_DOWNSAMPLE_MAX);
    if (!is_blank(mpp) &&
        (!read_number(&row->mpp, mpp, text->separator) || !slide_mpp_plausible(row->mpp)))
        return error_set(err, EXIT_CODE_USAGE,
                         "%s:%d: mpp '%s' is no number of micrometres per pixel from %g to %g",
                         text->path, row->line, mpp, SLIDE_MPP_MIN, SLIDE_MPP_MAX);
    if (strlen(patient) >= sizeof row->patient)
        return error_set(err, EXIT_CODE_USAGE, "%s:%d: patient is longer than %zu bytes",
                         text->path, row->line, sizeof row->patient - 1);
    if (!is_blank(patient)) patient_copy(row->patient, sizeof row->patient, patient);
    return true;
}

static bool fill_row(struct manifest_row *row, const struct manifest_text *text,
                     const struct manifest_record *record, const struct columns *columns,
                     struct error *err)
{
    const char *cells[COLUMN_COUNT];

    *row = (struct manifest_row) { .line = record->line };
    if (!sort_fields(text, record, columns, cells, err)) return false;
    if (!*cells[COLUMN_SLIDE])
        return error_set(err, EXIT_CODE_USAGE, "%s:%d: slide is empty", text->path, row->line);
    if (!find_label(cells[COLUMN_LABEL], &row->label))
        return error_set(err, EXIT_CODE_USAGE,
                         "%s:%d: label '%s' is none of tumor, tumour, 1, normal, 0", text->path,
                         row->line, cells[COLUMN_LABEL]);
    if (!find_split(cells[COLUMN_SPLIT], &row->split))
        return error_set(err, EXIT_CODE_USAGE,
                         "%s:%d: split '%s' is none of train, validation, test", text->path,
                         row->line, cells[COLUMN_SPLIT]);
    if (!manifest_path(row->slide, text->folder, cells[COLUMN_SLIDE], err) ||
        (*cells[COLUMN_ANNOTATION] &&
         !manifest_path(row->annotation, text->folder, cells[COLUMN_ANNOTATION], err)))
        return error_prefix(err, "%s:%d", text->path, row->line);
    if (is_blank(cells[COLUMN_ANNOTATION]) && !file_exists(row->annotation)) *row->annotation = 0;
    return fill_optional(row, text, cells, err);
}

/* --- Between rows ----------------------------------------------------------------------------- */

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

static int compare_patients(const void *a, const void *b)
{
    const struct manifest_row *const *left = a, *const *right = b;
    const int order = strcasecmp((*left)->patient, (*right)->patient);
    return order ? order : ((*left)->line > (*right)->line) - ((*left)->line < (*right)->line);
}

/* Refuse a patient who is in two splits. */
static bool check_patients(const struct manifest *manifest, struct error *err)
{
    const struct manifest_row **rows = calloc((size_t)manifest->count, sizeof *rows);
    bool ok = rows || error_set(err, EXIT_CODE_FAILED, "%s: out of memory", manifest->path);
    for (int i = 0; ok && i < manifest->count; i++) rows[i] = &manifest->rows[i];
    if (ok) qsort(rows, (size_t)manifest->count, sizeof *rows, compare_patients);
    for (int i = 1; ok && i < manifest->count; i++) {
        const struct manifest_row *a = rows[i - 1], *b = rows[i];
        if (!*a->patient || strcasecmp(a->patient, b->patient) != 0 || a->split == b->split)
            continue;
        ok = error_set(err, EXIT_CODE_USAGE,
                       "%s: lines %d (%s) and %d (%s) put patient '%s' into two splits; keep all "
                       "slides of a patient in one",
                       manifest->path, a->line, split_name(a->split), b->line, split_name(b->split),
                       a->patient);
    }
    free(rows);
    return ok;
}

static bool append_row(struct manifest *manifest, const struct manifest_row *row, int *capacity,
                       struct error *err)
{
    if (manifest->count == *capacity) {
        if (manifest->count >= ROWS_MAX)
            return error_set(err, EXIT_CODE_USAGE, "%s: more than %d slides", manifest->path,
                             ROWS_MAX);
        const int larger = *capacity ? 2 * *capacity : 16;
        void *rows = realloc(manifest->rows, (size_t)larger * sizeof *manifest->rows);
        if (!rows) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", manifest->path);
        manifest->rows = rows;
        *capacity = larger;
    }
    manifest->rows[manifest->count++] = *row;
    return true;
}

static bool read_rows(struct manifest *manifest, struct manifest_text *text, struct error *err)
{
    struct columns columns;
    struct manifest_record record;
    struct manifest_row row;
    int capacity = 0;

    if (!read_header(text, &columns, err)) return false;
    for (;;) {
        if (!manifest_text_record(text, &record, err)) return false;
        if (!record.count) break;
        if (!fill_row(&row, text, &record, &columns, err) ||
            !append_row(manifest, &row, &capacity, err))
            return false;
    }
    if (!manifest->count)
        return error_set(err, EXIT_CODE_USAGE, "%s: names no slide", manifest->path);
    return check_twins(manifest, err) && check_patients(manifest, err);
}

bool manifest_load(struct manifest *manifest, const char *path, struct error *err)
{
    struct manifest_text text;

    *manifest = (struct manifest) { 0 };
    if (!*path)
        return error_set(err, EXIT_CODE_USAGE,
                         "data.manifest: names no file; give a CSV of slides");
    if (!manifest_text_open(&text, path, err)) return false;
    memcpy(manifest->path, text.path, sizeof manifest->path);
    const bool ok = read_rows(manifest, &text, err);
    manifest_text_release(&text);
    if (!ok) manifest_release(manifest);
    return ok;
}

void manifest_release(struct manifest *manifest)
{
    free(manifest->rows);
    *manifest = (struct manifest) { 0 };
}
