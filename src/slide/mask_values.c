/* Which values of a mask are tumour: those that the configuration names, or the one that there is.
 *
 * Nothing is guessed. CAMELYON16's masks hold 255 or 1, the challenge's evaluation masks 2, masks
 * made for CAMELYON17 hold 1 for metastases and 2 for what was cut out of them: two values besides
 * 0 say nothing by themselves. */
#include <math.h>
#include <string.h>

#include "annotation_parts.h"
#include "micromet/base/log.h"
#include "micromet/base/size.h"

static const int lossy_min = 128; /* JPEG mixes a smaller value with 0 */

void mask_values_choose(struct mask_census *census, const struct config_data *data)
{
    census->first_is_tumor = data && !data->mask_value_count;
    if (!data) memset(census->tumor + 1, true, sizeof census->tumor - sizeof *census->tumor);
    for (int i = 0; data && i < data->mask_value_count; i++)
        census->tumor[data->mask_values[i]] = true;
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
    if (data && !data->mask_value_count && !check_only(census, form, path, facts, err))
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
