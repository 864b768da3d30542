/* See the header. Looks are compared pair by pair, which takes 50 ns each; only the few that are
 * most alike are compared by their pixels. */
#include "copies.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/log.h"
#include "micromet/base/stop.h"
#include "micromet/base/thread.h"
#include "micromet/slide/look.h"
#include "micromet/slide/scale.h"

enum {
    SLIDES_MAX = 20000, /* of more, looks are not compared: 200 million pairs are 10 s */
    PARTNERS_MAX = 4,   /* of a slide, that are compared by pixels */
};
static const double alike_min = 0.9;       /* correlation of the looks of a copy that was cut */
static const double size_apart_max = 1.15; /* of what both say of their width */

enum verdict { VERDICT_NONE, VERDICT_LIKELY, VERDICT_ANOTHER_SIZE, VERDICT_COPY };

struct pair {
    int a, b; /* rows */
    double alike;
    enum verdict verdict;
    struct look_spots spots;
};

struct copies {
    const struct manifest *manifest;
    const struct config *config;
    const struct pack_header *facts;
    struct pair *pairs;
    int count;
};

/* --- Which are looked at ---------------------------------------------------------------------- */

/* Keep the partners of a slide that are most alike, in any order. */
static void keep_partner(struct pair partners[PARTNERS_MAX], int *count, const struct pair *pair)
{
    int at = *count;
    if (at == PARTNERS_MAX) {
        at = 0;
        for (int i = 1; i < PARTNERS_MAX; i++)
            if (partners[i].alike < partners[at].alike) at = i;
        if (partners[at].alike >= pair->alike) return;
    } else {
        ++*count;
    }
    partners[at] = *pair;
}

/* The survey compares these by their checksums. */
static bool is_same_picture(const struct pack_header *a, const struct pack_header *b)
{
    return a->picture_hash != 0 && a->picture_hash == b->picture_hash;
}

static void find_pairs(struct copies *copies, const bool *known)
{
    const int slides = copies->manifest->count;
    for (int b = 1; b < slides; b++) {
        int found = 0;
        for (int a = 0; known[b] && a < b; a++) {
            const struct pair pair = {
                .a = a,
                .b = b,
                .alike = known[a] && !is_same_picture(&copies->facts[a], &copies->facts[b])
                             ? look_compare(copies->facts[a].look, copies->facts[b].look)
                             : 0,
            };
            if (pair.alike >= alike_min) keep_partner(copies->pairs + copies->count, &found, &pair);
        }
        copies->count += found;
    }
}

/* --- Their pixels ----------------------------------------------------------------------------- */

/* Whether both slides say that their picture has the same width in µm, or none says anything. */
static bool same_size(const struct slide *a, const struct slide *b)
{
    const double of_a = a->mpp_own[0] * (double)a->levels[0].width;
    const double of_b = b->mpp_own[0] * (double)b->levels[0].width;
    if (!(of_a > 0) || !(of_b > 0)) return !(of_a > 0) && !(of_b > 0);
    return of_a <= of_b * size_apart_max && of_b <= of_a * size_apart_max;
}

static enum verdict judge(const struct look_spots *spots, const struct slide *a,
                          const struct slide *b)
{
    const enum look_likeness likeness = look_judge(spots);
    if (likeness == LOOK_COPY) return same_size(a, b) ? VERDICT_COPY : VERDICT_ANOTHER_SIZE;
    return likeness == LOOK_LIKELY ? VERDICT_LIKELY : VERDICT_NONE;
}

/* What cannot be opened or read is reported where it is used. */
static bool look(void *context, int64_t item, int worker, struct error *err)
{
    struct copies *copies = context;
    struct pair *pair = &copies->pairs[item];
    const struct manifest_row *rows = copies->manifest->rows;
    const struct config_data *data = &copies->config->data;
    struct slide a = { 0 }, b = { 0 };
    struct error unusable = { 0 };
    (void)worker;
    if (!stop_check(err)) return false;
    if (file_exists(rows[pair->a].slide) && file_exists(rows[pair->b].slide) &&
        slide_open_row(&a, &rows[pair->a], data, &unusable) &&
        slide_open_row(&b, &rows[pair->b], data, &unusable) &&
        look_closely(&pair->spots, &a, &b, copies->facts[pair->a].look, &unusable))
        pair->verdict = judge(&pair->spots, &a, &b);
    slide_release(&a);
    slide_release(&b);
    return true;
}

/* --- What is said ----------------------------------------------------------------------------- */

static const char *const says[] = {
    [VERDICT_LIKELY] = "may show the same slide",
    [VERDICT_ANOTHER_SIZE] = "show the same picture, but say another size of it, or none",
    [VERDICT_COPY] = "are other files, but show the same slide",
};

static bool report(const struct copies *copies, const struct pair *pair, struct error *err)
{
    const struct manifest_row *a = &copies->manifest->rows[pair->a];
    const struct manifest_row *b = &copies->manifest->rows[pair->b];
    struct error found = { 0 };
    if (pair->verdict == VERDICT_NONE) return true;
    error_set(&found, EXIT_CODE_USAGE,
              "%s: lines %d (%s) and %d (%s): %.200s and %.200s %s (of %d spots of the one, %d are "
              "in the other)%s; %s",
              copies->manifest->path, a->line, split_name(a->split), b->line, split_name(b->split),
              path_name(a->slide), path_name(b->slide), says[pair->verdict], pair->spots.told,
              pair->spots.found, a->split == b->split ? "" : ", in two splits",
              pair->verdict == VERDICT_COPY ? "leave one out" : "is one a copy of the other?");
    if (pair->verdict == VERDICT_COPY) {
        *err = found;
        return false;
    }
    log_warning("%s", found.message);
    return true;
}

bool copies_check(const struct manifest *manifest, const struct config *config,
                  const struct pack_header *facts, const bool *known, struct error *err)
{
    struct copies copies = { .manifest = manifest, .config = config, .facts = facts };
    const int threads = config->compute.threads;
    if (manifest->count > SLIDES_MAX) {
        log_info("%s: more than %d slides: only exact copies are looked for", manifest->path,
                 SLIDES_MAX);
        return true;
    }
    copies.pairs = calloc((size_t)manifest->count * PARTNERS_MAX, sizeof *copies.pairs);
    if (!copies.pairs) return error_set(err, EXIT_CODE_FAILED, "%s: out of memory", manifest->path);
    find_pairs(&copies, known);
    bool ok = parallel_for(threads > 0 ? threads : thread_count_default(), copies.count, &copies,
                           look, err);
    for (int i = 0; ok && i < copies.count; i++) ok = report(&copies, &copies.pairs[i], err);
    free(copies.pairs);
    return ok;
}
