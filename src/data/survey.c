/* See the header. What is not there is not judged here: opening the dataset reports what a training
 * needs, and test slides may be elsewhere while it runs. */
#include "micromet/data/survey.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "copies.h"
#include "micromet/base/log.h"
#include "micromet/base/size.h"
#include "micromet/base/stop.h"
#include "micromet/base/thread.h"
#include "micromet/slide/scale.h"

static const double mpp_apart_max = 1.1, downsample_apart_max = 1.01;

/* --- Twins ------------------------------------------------------------------------------------ */

enum { KEY_WORDS = 3 };

/* A slide, and what no other slide has. */
struct entry {
    uint64_t key[KEY_WORDS];
    const struct manifest_row *row;
};

static int compare_entries(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    for (int i = 0; i < KEY_WORDS; i++)
        if (left->key[i] != right->key[i]) return left->key[i] < right->key[i] ? -1 : 1;
    return (left->row->line > right->row->line) - (left->row->line < right->row->line);
}

static void key_of_content(uint64_t key[KEY_WORDS], const struct pack_header *facts)
{
    key[0] = facts->slide.bytes;
    key[1] = facts->slide.hash[0];
    key[2] = facts->slide.hash[1];
}

static void key_of_picture(uint64_t key[KEY_WORDS], const struct pack_header *facts)
{
    key[0] = facts->picture_hash;
    key[1] = key[2] = 0;
}

static void key_of_picture_and_scale(uint64_t key[KEY_WORDS], const struct pack_header *facts)
{
    key_of_picture(key, facts);
    if (key[0]) memcpy(key + 1, facts->mpp_own, sizeof facts->mpp_own);
}

/* What makes two slides one; a key of zeros is unknown. A picture at two scales is in doubt, since
 * the scale is all that is known of its origin. */
static const struct twin {
    void (*key)(uint64_t key[KEY_WORDS], const struct pack_header *facts);
    const char *says;
    bool doubtful;
} twins[] = {
    { key_of_content, "hold the same slide", false },
    { key_of_picture_and_scale, "are other files, but show the same slide", false },
    { key_of_picture, "show the same picture, but say another µm/px", true },
};

static bool compare_keys(const struct manifest *manifest, struct entry *entries, size_t count,
                         const struct twin *twin, struct error *err)
{
    qsort(entries, count, sizeof *entries, compare_entries);
    for (size_t i = 1; i < count; i++) {
        const struct manifest_row *a = entries[i - 1].row, *b = entries[i].row;
        if (memcmp(entries[i - 1].key, entries[i].key, sizeof entries->key) != 0) continue;
        struct error found = { 0 };
        error_set(&found, EXIT_CODE_USAGE,
                  "%s: lines %d (%s) and %d (%s): %.200s and %.200s %s%s; %s", manifest->path,
                  a->line, split_name(a->split), b->line, split_name(b->split), path_name(a->slide),
                  path_name(b->slide), twin->says, a->split == b->split ? "" : ", in two splits",
                  twin->doubtful ? "is one a copy of the other?" : "leave one out");
        if (!twin->doubtful) {
            *err = found;
            return false;
        }
        log_warning("%s", found.message);
    }
    return true;
}

static bool compare_contents(const struct manifest *manifest, const struct pack_header *facts,
                             const bool *known, struct error *err)
{
    static const uint64_t unknown[KEY_WORDS];
    struct entry *entries = calloc((size_t)manifest->count, sizeof *entries);
    bool ok = entries || error_set(err, EXIT_CODE_FAILED, "%s: out of memory", manifest->path);
    for (size_t t = 0; ok && t < COUNT_OF(twins); t++) {
        size_t count = 0;
        for (int i = 0; i < manifest->count; i++) {
            entries[count].row = &manifest->rows[i];
            twins[t].key(entries[count].key, &facts[i]);
            count += known[i] && memcmp(entries[count].key, unknown, sizeof unknown) != 0;
        }
        ok = compare_keys(manifest, entries, count, &twins[t], err);
    }
    free(entries);
    return ok;
}

/* --- Scale ------------------------------------------------------------------------------------ */

/* The slides with the smallest and the largest of some number. */
struct range {
    double least, most;
    const struct manifest_row *least_row, *most_row;
};

static void range_add(struct range *range, double value, const struct manifest_row *row)
{
    if (!range->least_row || value < range->least) range->least = value, range->least_row = row;
    if (!range->most_row || value > range->most) range->most = value, range->most_row = row;
}

static bool refuse_range(const struct manifest *manifest, const struct range *range, int level,
                         const char *unit, struct error *err)
{
    return error_set(
        err, EXIT_CODE_USAGE,
        "%s: level %d has %.4g%s in %.240s (line %d) and %.4g%s in %.240s (line %d); all slides of "
        "a training need the same. Where a slide is wrong, the manifest's column mpp says what "
        "holds",
        manifest->path, level, range->least, unit, path_name(range->least_row->slide),
        range->least_row->line, range->most, unit, path_name(range->most_row->slide),
        range->most_row->line);
}

/* Refuse pixels that are not square, and slides that say their µm/px beside others that do not.
 * *speaking and *silent become the first of each kind. */
static bool compare_squares(const struct manifest *manifest, const struct config *config,
                            const struct pack_header *facts, const bool *known,
                            const struct manifest_row **speaking,
                            const struct manifest_row **silent, struct error *err)
{
    for (int i = 0; i < manifest->count; i++) {
        const struct manifest_row *row = &manifest->rows[i];
        double mpp[2];
        if (!known[i]) continue;
        scale_of_row(mpp, row, &config->data, facts[i].mpp_own);
        if (!scale_is_square(mpp[0], mpp[1]))
            return error_set(
                err, EXIT_CODE_USAGE,
                "%s:%d: %s has %.4g x %.4g µm/px, so its pixels are not square; if that is wrong, "
                "the manifest's column mpp or data.mpp_override says what holds",
                manifest->path, row->line, row->slide, mpp[0], mpp[1]);
        const struct manifest_row **first = mpp[0] > 0 ? speaking : silent;
        if (!*first) *first = row;
    }
    if (!*speaking || !*silent) return true;
    return error_set(
        err, EXIT_CODE_USAGE,
        "%s: %.300s (line %d) says how many µm a pixel has, %.300s (line %d) does not; tell it by "
        "data.mpp, which holds where a slide does not say, or by a column mpp in the manifest",
        manifest->path, path_name((*speaking)->slide), (*speaking)->line,
        path_name((*silent)->slide), (*silent)->line);
}

static bool compare_scales(const struct manifest *manifest, const struct config *config,
                           const struct pack_header *facts, const bool *known, struct error *err)
{
    const struct manifest_row *speaking = NULL, *silent = NULL;
    if (!compare_squares(manifest, config, facts, known, &speaking, &silent, err)) return false;
    if (config->data.um_per_px_count) return true; /* each slide has the scale that is asked for */
    for (int tower = 0; tower < config->data.level_count; tower++) {
        struct range range = { 0 };
        for (int i = 0; i < manifest->count; i++) {
            double mpp[2];
            if (!known[i] || !(facts[i].downsamples[tower] > 0)) continue; /* it lacks the level */
            scale_of_row(mpp, &manifest->rows[i], &config->data, facts[i].mpp_own);
            range_add(&range, (speaking ? mpp[0] : 1) * facts[i].downsamples[tower],
                      &manifest->rows[i]);
        }
        if (range.most > range.least * (speaking ? mpp_apart_max : downsample_apart_max))
            return refuse_range(manifest, &range, config->data.levels[tower],
                                speaking ? " µm/px" : " as its downsample", err);
    }
    return true;
}

bool survey_compare(const struct manifest *manifest, const struct config *config,
                    const struct pack_header *facts, const bool *known, struct error *err)
{
    return compare_contents(manifest, facts, known, err) &&
           copies_check(manifest, config, facts, known, err) &&
           compare_scales(manifest, config, facts, known, err);
}

/* --- Packs and slides as they are ------------------------------------------------------------- */

struct survey {
    const struct manifest *manifest;
    const struct config *config;
    bool checked[SPLIT_COUNT]; /* their packs are compared with their files */
    bool all;                  /* slides of other splits and without packs are looked at, too */
    struct pack_header *facts; /* (manifest->count) */
    bool *known;
    enum { FILES_SAME, FILES_DOUBTFUL, FILES_GONE } * files; /* (manifest->count) */
};

/* Compare one file of a pack with what it was when the pack was made. */
static bool compare_file(const struct survey *survey, int item, const char *path, bool is_slide,
                         const struct file_identity *then, struct error *err)
{
    struct file_identity now;
    struct error unreadable = { 0 };
    if (!*path) return true;
    if (!(is_slide ? identity_of_slide : identity_of_annotation)(&now, path, &unreadable)) {
        survey->files[item] = FILES_GONE;
        return true;
    }
    if (!identity_same(then, &now))
        return error_set(err, EXIT_CODE_FAILED,
                         "%s: is another file than its pack in %s was made from; run `micromet "
                         "prepare`",
                         path, survey->config->data.pack);
    if (identity_doubtful(then, &now) && survey->files[item] == FILES_SAME)
        survey->files[item] = FILES_DOUBTFUL;
    return true;
}

/* False if there is no pack that can be used. */
static bool look_at_pack(const struct survey *survey, int item, struct error *err)
{
    const struct manifest_row *row = &survey->manifest->rows[item];
    struct pack_header *header = &survey->facts[item];
    struct pack_header want;
    char path[PATH_MAX_BYTES];
    struct pack pack;
    struct error unusable = { 0 };
    if (!pack_path(path, row, survey->config, &unusable) || !file_exists(path) ||
        !pack_open(&pack, path, false, &unusable))
        return false;
    *header = pack.header;
    pack_release(&pack);
    if (!pack_header_expected(row, survey->config, NULL, &want, &unusable) ||
        pack_difference(header, &want) || !pack_scale_holds(header, row, &survey->config->data))
        return false;
    if (survey->checked[row->split] &&
        compare_file(survey, item, row->slide, true, &header->slide, err))
        compare_file(survey, item, row->annotation, false, &header->annotation, err);
    return true;
}

static bool look_at_slide(const struct survey *survey, int item)
{
    const struct manifest_row *row = &survey->manifest->rows[item];
    struct slide slide;
    struct error unusable = { 0 };
    if (!file_exists(row->slide) || !slide_open_row(&slide, row, &survey->config->data, &unusable))
        return false;
    const bool ok = pack_header_expected(row, survey->config, &slide, &survey->facts[item],
                                         &unusable);
    slide_release(&slide);
    return ok;
}

static bool look(void *context, int64_t item, int worker, struct error *err)
{
    struct survey *survey = context;
    const int i = (int)item;
    const bool packs = survey->config->data.source == DATA_SOURCE_PACKS;
    (void)worker;
    if (!stop_check(err)) return false;
    if (!survey->all && !survey->checked[survey->manifest->rows[i].split]) return true;
    survey->known[i] = (packs && look_at_pack(survey, i, err)) ||
                       (survey->all && !err->code && look_at_slide(survey, i));
    return err->code == EXIT_CODE_OK;
}

static void report(const struct survey *survey)
{
    int gone = 0, doubtful = 0, first = -1;
    for (int i = 0; i < survey->manifest->count; i++) {
        gone += survey->files[i] == FILES_GONE;
        if (survey->files[i] == FILES_DOUBTFUL && !doubtful++) first = i;
    }
    if (gone)
        log_info("packs: the files of %d slides cannot be read here, so whether their packs are up "
                 "to date is not checked",
                 gone);
    if (doubtful)
        log_warning(
            "%s%s: changed since its pack was made, but what was compared of it did not; if "
            "it was edited rather than copied, run `micromet prepare --force`",
            survey->manifest->rows[first].slide, doubtful > 1 ? " and others" : "");
}

static bool run(struct survey *survey, struct error *err)
{
    const size_t count = (size_t)survey->manifest->count;
    const int threads = survey->config->compute.threads;
    survey->facts = calloc(count, sizeof *survey->facts);
    survey->known = calloc(count, sizeof *survey->known);
    survey->files = calloc(count, sizeof *survey->files);
    bool ok = (survey->facts && survey->known && survey->files) ||
              error_set(err, EXIT_CODE_FAILED, "%s: out of memory", survey->manifest->path);
    ok = ok &&
         parallel_for(threads > 0 ? threads : thread_count_default(), survey->manifest->count,
                      survey, look, err) &&
         (!survey->all ||
          survey_compare(survey->manifest, survey->config, survey->facts, survey->known, err));
    if (ok) report(survey);
    free(survey->facts);
    free(survey->known);
    free(survey->files);
    return ok;
}

bool survey_training(const struct manifest *manifest, const struct config *config,
                     struct error *err)
{
    struct survey survey = { .manifest = manifest, .config = config, .all = true };
    survey.checked[SPLIT_TRAIN] = survey.checked[SPLIT_VALIDATION] = true;
    return run(&survey, err);
}

bool survey_packs(const struct manifest *manifest, const struct config *config, enum split split,
                  struct error *err)
{
    struct survey survey = { .manifest = manifest, .config = config };
    if (config->data.source != DATA_SOURCE_PACKS) return true;
    survey.checked[split] = true;
    return run(&survey, err);
}
