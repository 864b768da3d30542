/* What a mask's values mean: what the configuration says of each, or the one that there is is
 * tumour.
 *
 * Nothing is guessed. CAMELYON16's masks hold 255 or 1, the challenge's evaluation masks 2, masks
 * made for CAMELYON17 hold 1 for metastases and 2 for what was cut out of them: two values besides
 * 0 say nothing by themselves. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "annotation_parts.h"
#include "micromet/base/log.h"
#include "micromet/base/size.h"

static const int lossy_min = 128; /* JPEG mixes a smaller value with 0 */

/* The value that a name of data.labels is; -1 if it is another's. */
static int value_of(const char *name)
{
    char again[16], *end;
    const long value = strtol(name, &end, 10);
    if (end == name || value < 0 || value >= MASK_VALUES) return -1;
    snprintf(again, sizeof again, "%ld", value);
    return strcmp(name, again) == 0 ? (int)value : -1;
}

void mask_values_choose(struct mask_census *census, const struct config_data *data)
{
    census->first_is_tumor = data && !data->mask_value_count && !data->label_count;
    if (!data) memset(census->meaning + 1, LABEL_TUMOR, sizeof census->meaning - 1);
    for (int i = 0; data && i < data->mask_value_count; i++)
        census->meaning[data->mask_values[i]] = LABEL_TUMOR;
    for (int i = 0; data && i < data->label_count; i++) {
        const int value = value_of(data->labels[i].name);
        if (value >= 0) census->meaning[value] = (uint8_t)data->labels[i].meaning;
    }
}

/* Length of the run of equal values at the start of `values`. */
static uint32_t equal_length(const uint16_t *values, uint32_t count)
{
    const uint64_t pattern = 0x0001000100010001u * values[0];
    uint32_t length = 1;
    for (uint64_t four; length + 4 <= count; length += 4) {
        memcpy(&four, values + length, 8);
        if (four != pattern) break;
    }
    while (length < count && values[length] == values[0]) length++;
    return length;
}

/* Append the pixels [start, end) of a row, as far as `rows` reaches; *outside counts the others. */
static bool append(struct run_rows *rows, int64_t row, int64_t start, int64_t end, int64_t *outside,
                   struct error *err)
{
    const int64_t limit = row < rows->height ? rows->width : 0;
    const int64_t inside = end < limit ? end : limit;
    *outside += end - (start > inside ? start : inside);
    return start >= inside || run_rows_append(rows, row, start, inside, err);
}

bool mask_row_read(struct run_rows *layers, int64_t row, int64_t x0, const uint16_t *values,
                   uint32_t width, struct mask_census *census, struct error *err)
{
    int64_t ignored_outside = 0;
    for (uint32_t x = 0, length; x < width; x += length) {
        const int64_t start = x0 + x;
        length = equal_length(values + x, width - x);
        census->counts[values[x]] += length;
        if (values[x] && census->first_is_tumor) {
            census->meaning[values[x]] = LABEL_TUMOR;
            census->first_is_tumor = false;
        }
        const uint8_t meaning = census->meaning[values[x]];
        if ((meaning == LABEL_TUMOR &&
             !append(&layers[LAYER_TUMOR], row, start, start + length, &census->outside, err)) ||
            (meaning == LABEL_IGNORE &&
             !append(&layers[LAYER_IGNORED], row, start, start + length, &ignored_outside, err)))
            return false;
    }
    return true;
}

/* Note the most frequent values, ascending. */
static void note_values(const struct mask_census *census, struct annotation_facts *facts)
{
    int shown = 0;
    for (int value = 0; value < MASK_VALUES; value++) {
        if (!census->counts[value]) continue;
        facts->value_count++;
        int at = shown;
        if (shown == ANNOTATION_VALUES_SHOWN) { /* the rarest gives way, if it is rarer */
            at = 0;
            for (int i = 1; i < shown; i++)
                if (facts->counts[i] <= facts->counts[at]) at = i;
            if (census->counts[value] <= facts->counts[at]) continue;
            const size_t behind = (size_t)(shown - 1 - at);
            memmove(facts->values + at, facts->values + at + 1, behind * sizeof *facts->values);
            memmove(facts->counts + at, facts->counts + at + 1, behind * sizeof *facts->counts);
            at = --shown;
        }
        facts->values[at] = value;
        facts->counts[at] = census->counts[value];
        shown++;
    }
}

void annotation_say_values(const struct annotation_facts *facts, char text[ANNOTATION_TEXT_MAX])
{
    const double pixels = (double)facts->width * (double)facts->height;
    int length = 0;
    *text = 0;
    for (int i = 0; i < facts->value_count && i < ANNOTATION_VALUES_SHOWN; i++)
        length += snprintf(text + length, (size_t)(ANNOTATION_TEXT_MAX - length), "%s%d (%.3g %%)",
                           i ? ", " : "", facts->values[i],
                           100 * (double)facts->counts[i] / pixels);
    if (facts->value_count > ANNOTATION_VALUES_SHOWN)
        snprintf(text + length, (size_t)(ANNOTATION_TEXT_MAX - length), " and %d others",
                 facts->value_count - ANNOTATION_VALUES_SHOWN);
}

static bool refuse_several(const struct mask_form *form, const char *path,
                           const struct annotation_facts *facts, struct error *err)
{
    char text[ANNOTATION_TEXT_MAX];
    annotation_say_values(facts, text);
    const int value = facts->values[facts->values[0] == 0];
    error_set(err, EXIT_CODE_FAILED,
              "%s: the mask has several values besides 0: %s; say which are tumor with "
              "data.mask_values, such as [%d] (heatmap: --mask-values %d)",
              path, text, value, value);
    if (form->lossy)
        error_append(err,
                     "; or, as its %s compression has changed its values, write it again "
                     "without loss",
                     form->lossy);
    return false;
}

/* The one value besides 0; 0 if there is none, -1 if there are several. */
static int only_value(const struct mask_census *census)
{
    int only = 0;
    for (int value = 1; value < MASK_VALUES; value++)
        if (census->counts[value]) only = only ? -1 : value;
    return only;
}

/* Without data.mask_values: whether the one value can be taken for tumour. */
static bool check_only(const struct mask_census *census, const struct mask_form *form,
                       const char *path, const struct annotation_facts *facts, struct error *err)
{
    const int only = only_value(census);
    if (only < 0) return refuse_several(form, path, facts, err);
    if (form->lossy && only > 0 && only < lossy_min)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: %s compression changes values, and %d is too near 0 to be told from "
                         "it; write the mask again without loss",
                         path, form->lossy, only);
    if (only > 0 && only != 1 && only != 255)
        log_warning("%s: %d, its one value besides 0, is taken for tumor; if it means something "
                    "else, say so with data.mask_values",
                    path, only);
    return true;
}

/* With data.labels: whether it knows all values that there are; 0 is normal unless it says so. */
static bool check_labels(const struct mask_census *census, const struct mask_form *form,
                         const struct config_data *data, const char *path, struct error *err)
{
    char names[240] = "", pairs[240] = "", name[16];
    size_t used = 0, paired = 0;
    int unknown = 0;
    for (int value = 1; value < MASK_VALUES; value++) {
        snprintf(name, sizeof name, "%d", value);
        if (!census->counts[value] || config_label_find(data, name) >= 0) continue;
        if (unknown++ >= ANNOTATION_VALUES_SHOWN) continue;
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%d (%lld px)",
                                 used ? ", " : "", value, (long long)census->counts[value]);
        paired += (size_t)snprintf(pairs + paired, sizeof pairs - paired, "%s%d: ignore",
                                   paired ? ", " : "", value);
        if (used >= sizeof names || paired >= sizeof pairs) break;
    }
    if (!unknown) return true;
    if (unknown > ANNOTATION_VALUES_SHOWN && used < sizeof names)
        snprintf(names + used, sizeof names - used, " and %d more",
                 unknown - ANNOTATION_VALUES_SHOWN);
    labels_refuse(path, data, names, pairs, err);
    if (form->lossy)
        error_append(err,
                     "; or, as its %s compression has changed its values, write it again "
                     "without loss",
                     form->lossy);
    return false;
}

static void tell_missing(const struct mask_census *census, const char *path)
{
    if (census->missing == census->parts)
        log_warning("%s: all its tiles are missing; they are taken for 0, no tumor", path);
    else if (census->missing && census->empty)
        log_warning("%s: %lld of its %lld tiles are missing, although others are stored that are 0 "
                    "throughout; they are taken for 0, no tumor, but the file may be damaged",
                    path, (long long)census->missing, (long long)census->parts);
}

bool mask_values_check(const struct mask_census *census, const struct mask_form *form,
                       const struct config_data *data, const char *path,
                       struct annotation_facts *facts, struct error *err)
{
    note_values(census, facts);
    if (data && data->label_count && !check_labels(census, form, data, path, err)) return false;
    if (data && !data->mask_value_count && !data->label_count &&
        !check_only(census, form, path, facts, err))
        return false;
    if (data && data->mask_value_count && form->lossy && only_value(census) < 0)
        log_warning(
            "%s: its %s compression has changed its values; only those that data.mask_values "
            "names count as tumor",
            path, form->lossy);
    tell_missing(census, path);
    if (!census->outside) return true;
    if (!facts->tumor_pixels)
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: its tumor lies wholly outside the slide; is it of another slide?",
                         path);
    log_warning("%s: %.3g %% of its tumor lies outside the slide; is it of another slide?", path,
                100 * (double)census->outside /
                    ((double)census->outside + (double)facts->tumor_pixels));
    return true;
}
