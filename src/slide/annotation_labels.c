/* What the names of outlines mean: as data.labels says, or, without it, as the format itself does.
 *
 * Only CAMELYON's groups say by themselves what they are. A pathologist's "Region" or "1" does not,
 * so other names must be told, but for the one that says tumour. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "annotation_parts.h"
#include "micromet/base/log.h"
#include "micromet/base/size.h"
#include "micromet/base/text.h"

/* The groups of CAMELYON16, and CAMELYON17's metastases and normal. */
static const struct {
    const char *name;
    enum label_meaning meaning;
} groups[] = {
    { "", LABEL_TUMOR },        { "Tumor", LABEL_TUMOR },      { "Tumour", LABEL_TUMOR },
    { "_0", LABEL_TUMOR },      { "_1", LABEL_TUMOR },         { "metastases", LABEL_TUMOR },
    { "_2", LABEL_NORMAL },     { "Exclusion", LABEL_NORMAL }, { "None", LABEL_NORMAL },
    { "normal", LABEL_NORMAL },
};

/* Names that say tumour in any program. */
static const char *const tumors[] = { "tumor", "tumour", "metastasis", "metastases" };

static bool says_tumor(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(tumors); i++)
        if (!strcasecmp(name, tumors[i])) return true;
    return false;
}

static int group_meaning(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(groups); i++)
        if (!strcasecmp(name, groups[i].name)) return (int)groups[i].meaning;
    return -1;
}

bool labels_refuse(const char *path, const struct config_data *data, const char *names,
                   const char *pairs, struct error *err)
{
    return error_set(err, EXIT_CODE_FAILED,
                     "%.300s: %s: %s; say what they mean (tumor, normal, ignore or skip), such as "
                     "data.labels: {%s}",
                     path,
                     data->label_count ? "data.labels lacks names that it has"
                                       : "what its names mean is not said",
                     names, pairs);
}

/* --- data.labels ------------------------------------------------------------------------------ */

/* Append to a text as far as it is whole; false if there is no room. */
static bool append(char *text, size_t size, const char *what)
{
    const size_t used = strlen(text);
    if (used + strlen(what) >= size) return false;
    memcpy(text + used, what, strlen(what) + 1);
    return true;
}

/* The names, with how often they occur, that meet `wanted`; all if it is NULL. */
static void list_names(const struct outlines *set, bool (*wanted)(const struct outline_name *name),
                       char *list, size_t size)
{
    int64_t more = 0;
    *list = 0;
    for (int64_t i = 0; i < set->name_count; i++) {
        char item[TEXT_SHOWN_MAX + 64];
        const struct outline_name *name = &set->names[i];
        if (!name->count || (wanted && !wanted(name))) continue;
        snprintf(item, sizeof item, "%s'%s' (%lld)", *list ? ", " : "", SHOWN(name->text),
                 (long long)name->count);
        if (more || !append(list, size - 24, item)) more++;
    }
    if (more)
        snprintf(list + strlen(list), size - strlen(list), "%s%lld more", *list ? " and " : "",
                 (long long)more);
}

static bool likely_tumor(const char *name)
{
    return says_tumor(name) || (*name && group_meaning(name) == LABEL_TUMOR);
}

/* How the names could stand in data.labels, as far as there is room: nothing is trained on what is
 * ignored. */
static void list_pairs(const struct outlines *set, bool (*wanted)(const struct outline_name *name),
                       char *list, size_t size)
{
    *list = 0;
    for (int64_t i = 0; i < set->name_count; i++) {
        char quoted[CONFIG_VALUE_MAX], item[8 * LABEL_NAME_BYTES];
        const struct outline_name *name = &set->names[i];
        if (!name->count || !wanted(name)) continue;
        config_quote(name->text, quoted);
        snprintf(item, sizeof item, "%s%.*s: %s", *list ? ", " : "", 6 * LABEL_NAME_BYTES, quoted,
                 likely_tumor(name->text) ? "tumor" : "ignore");
        if (!append(list, size - 8, item)) {
            append(list, size, ", ...");
            return;
        }
    }
}

enum { UNKNOWN = LABEL_SKIP + 1 }; /* a name that nothing is known of */

static bool is_unknown(const struct outline_name *name)
{
    return (int)name->meaning == UNKNOWN;
}

static bool refuse_unknown(const struct outlines *set, const struct config_data *data,
                           const char *path, struct error *err)
{
    char names[240], pairs[240];
    list_names(set, is_unknown, names, sizeof names);
    list_pairs(set, is_unknown, pairs, sizeof pairs);
    return labels_refuse(path, data, names, pairs, err);
}

/* --- ASAP's groups ---------------------------------------------------------------------------- */

/* Leave out unknown groups, if others are tumour or there are none. */
static bool settle_groups(struct outlines *set, const char *path, struct error *err)
{
    int64_t tumors_drawn = 0, normal = 0, unknown = 0;
    char names[160];
    for (int64_t i = 0; i < set->name_count; i++) {
        const struct outline_name *name = &set->names[i];
        *(is_unknown(name)               ? &unknown
          : name->meaning == LABEL_TUMOR ? &tumors_drawn
                                         : &normal) += name->count;
    }
    list_names(set, is_unknown, names, sizeof names);
    if (unknown && !tumors_drawn)
        return error_set(
            err, EXIT_CODE_FAILED,
            "%s: none of its polygons is in a tumor group (Tumor, _0, _1, metastases): "
            "%lld are in hole groups (_2, Exclusion, None, normal), %lld in others such as %s; "
            "name no annotation if these are no tumor, or say what they mean with data.labels",
            path, (long long)normal, (long long)unknown, names);
    if (unknown)
        log_warning("%s: %lld polygons in unknown groups are left out; the groups: %s", path,
                    (long long)unknown, names);
    return true;
}

/* --- All -------------------------------------------------------------------------------------- */

static void say_left_out(const struct outlines *set, const char *path)
{
    const long long more = (long long)(set->without_area - set->listed);
    char others[48] = "";
    if (more) snprintf(others, sizeof others, "%s%lld more", set->listed ? " and " : "", more);
    log_warning("%s: shapes without area (dots, lines, measurements) are left out: %s%s", path,
                set->left_out, others);
}

/* What a name means, or -1; `names`: how many there are. */
static int meaning_of(const char *name, int64_t names, enum outline_format format,
                      const struct config_data *data)
{
    if (data && data->label_count) return config_label_find(data, name);
    if (format == OUTLINES_ASAP) return group_meaning(name);
    return !data || (names == 1 && says_tumor(name)) ? LABEL_TUMOR : -1;
}

bool outlines_label(struct outlines *set, enum outline_format format,
                    const struct config_data *data, const char *path, int *meant, struct error *err)
{
    const bool groups_decide = format == OUTLINES_ASAP && !(data && data->label_count);
    bool unknown = false;
    int64_t names = 0;
    for (int64_t i = 0; i < set->name_count; i++) names += set->names[i].count > 0;
    for (int64_t i = 0; i < set->name_count; i++) {
        struct outline_name *name = &set->names[i];
        const int meaning = meaning_of(name->text, names, format, data);
        name->meaning = meaning < 0 ? UNKNOWN : (enum label_meaning)meaning;
        unknown |= meaning < 0 && name->count;
    }
    if (set->without_area) say_left_out(set, path);
    if (groups_decide ? !settle_groups(set, path, err)
                      : unknown && !refuse_unknown(set, data, path, err))
        return false;
    for (int64_t i = 0; i < set->name_count; i++)
        if (is_unknown(&set->names[i])) set->names[i].meaning = LABEL_SKIP;
    *meant = 0;
    for (int64_t i = 0; i < set->count; i++)
        *meant += set->names[set->outlines[i].name].meaning != LABEL_SKIP && !set->outlines[i].hole;
    return true;
}

void outlines_say_names(const struct outlines *set, char *text, size_t size)
{
    list_names(set, NULL, text, size);
}
