/* Which sets of weights a file holds, under torchvision's names: a set is all that stands behind
 * one prefix. Several prefixes are the towers of one model if they differ in a tower's number
 * alone; else they are a model and its moving average, say, or an ensemble, and the user must
 * choose. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/size.h"
#include "pretrained_parts.h"

enum { SETS_MAX = 16 };

/* A prefix, and the part of it that names its set: "ema.tower1." is of "ema". */
struct prefix {
    const char *name; /* of an array */
    size_t length, set_length;
};

static const char *const first_weights[] = { "Conv2d_1a_3x3.conv.weight", "Conv2d_1a_3x3.weight" };
/* What a tower's number may stand behind; of other numbered prefixes, each is a set of its own. */
static const char *const tower_words[] = { "tower",   "towers", "branch", "branches", "stream",
                                           "streams", "level",  "levels", "scale",    "scales" };

/* Length of the prefix if this is a set's first array, else -1. */
static long prefix_length(const char *name)
{
    const size_t length = strlen(name);
    for (size_t i = 0; i < COUNT_OF(first_weights); i++) {
        const size_t wanted = strlen(first_weights[i]);
        if (length >= wanted && strcmp(name + length - wanted, first_weights[i]) == 0)
            return (long)(length - wanted);
    }
    return -1;
}

/* Length of "ema" in "ema.tower1." and in "ema.", of "" in "towers.0.". */
static size_t set_length(const char *prefix, size_t length)
{
    size_t at = length;
    if (at > 0 && prefix[at - 1] == '.') at--;
    const size_t whole = at;
    while (at > 0 && isdigit((unsigned char)prefix[at - 1])) at--;
    if (at == whole) return whole;
    if (at > 0 && (prefix[at - 1] == '.' || prefix[at - 1] == '_')) at--;
    for (size_t i = 0; i < COUNT_OF(tower_words); i++) {
        const size_t word = strlen(tower_words[i]);
        if (at < word || strncmp(prefix + at - word, tower_words[i], word) != 0) continue;
        if (at == word) return 0;
        if (prefix[at - word - 1] == '.') return at - word - 1;
    }
    return whole;
}

static bool same_set(const struct prefix *a, const struct prefix *b)
{
    return a->set_length == b->set_length && strncmp(a->name, b->name, a->set_length) == 0;
}

/* All prefixes, sorted within the file's order of sets; at most SETS_MAX. */
static int list_prefixes(const struct weights *weights, struct prefix list[SETS_MAX])
{
    int count = 0;
    for (int i = 0; i < weights->count && count < SETS_MAX; i++) {
        const char *name = weights->arrays[i].name;
        const long length = prefix_length(name);
        if (length < 0 || pretrained_known_use(name) != USE_OTHER) continue;
        const struct prefix found = { name, (size_t)length, set_length(name, (size_t)length) };
        bool again = false; /* an ONNX graph names an array at each of its uses */
        for (int k = 0; k < count; k++)
            again |= list[k].length == found.length && strncmp(list[k].name, name, length) == 0;
        if (again) continue;
        int at = count++;
        for (; at > 0 && same_set(&list[at - 1], &found) && strcmp(name, list[at - 1].name) < 0;
             at--)
            list[at] = list[at - 1];
        list[at] = found;
    }
    return count;
}

/* Letters and digits alone. */
static void squeeze(const char *text, char *out, size_t size)
{
    size_t length = 0;
    for (; *text && length < size - 1; text++)
        if (isalnum((unsigned char)*text)) out[length++] = *text;
    out[length] = '\0';
}

/* An array that is a first layer under a changed name, such as "Conv2d_1a_3x3_conv_weight_ema": a
 * copy that cannot be read. NULL = none. */
static const char *find_changed_name(const struct weights *weights)
{
    const struct weight_array *first = NULL;
    char wanted[64], squeezed[256];
    squeeze(first_weights[0], wanted, sizeof wanted);
    for (int i = 0; i < weights->count && !first; i++)
        if (prefix_length(weights->arrays[i].name) >= 0) first = &weights->arrays[i];
    for (int i = 0; i < weights->count && first; i++) {
        const struct weight_array *array = &weights->arrays[i];
        squeeze(array->name, squeezed, sizeof squeezed);
        if (prefix_length(array->name) < 0 && strstr(squeezed, wanted) &&
            pretrained_known_use(array->name) == USE_OTHER && array->dims == first->dims &&
            array->count == first->count)
            return array->name;
    }
    return NULL;
}

static bool refuse(const struct pretrained *p, const struct prefix *list, int count,
                   const char *changed, const char *why, struct error *err)
{
    char names[512] = "";
    int sets = changed != NULL;
    bool bare = false;
    for (int i = 0; i < count; i++) {
        const size_t used = strlen(names);
        bool again = false;
        for (int k = 0; k < i; k++) again |= same_set(&list[k], &list[i]);
        if (again) continue;
        snprintf(names + used, sizeof names - used, "%s%.*s", used ? ", " : "",
                 list[i].set_length ? (int)(list[i].set_length < 80 ? list[i].set_length : 80) : 1,
                 list[i].set_length ? list[i].name : ".");
        bare |= list[i].set_length == 0;
        sets++;
    }
    return error_set(err, EXIT_CODE_FAILED,
                     "%s: %sholds %d sets of weights: %s%s%.80s%s; choose with `micromet import "
                     "FILE --set NAME`%s",
                     p->path, why, sets, names, changed ? ", and one that cannot be read ('" : "",
                     changed ? changed : "", changed ? "')" : "",
                     bare ? " ('.' is the one without a prefix)" : "");
}

/* Add the towers of one set. */
static bool add_towers(const struct prefix *list, int count, const char *set, size_t length,
                       struct prefixes *found)
{
    const int before = found->count;
    if (length == 1 && *set == '.') length = 0;
    for (int i = 0; i < count && found->count < TOWERS_MAX; i++) {
        if (list[i].set_length != length || strncmp(list[i].name, set, length) != 0) continue;
        found->names[found->count] = list[i].name;
        found->lengths[found->count++] = list[i].length;
    }
    return found->count > before;
}

static bool add_chosen(const struct pretrained *p, const struct prefix *list, int count,
                       struct prefixes *found, struct error *err)
{
    for (const char *at = p->sets;; at++) {
        const size_t length = strcspn(at, ",");
        if (!add_towers(list, count, at, length, found)) {
            char why[160];
            snprintf(why, sizeof why, "--set: '%.*s' is none of its sets; it ",
                     (int)(length < 80 ? length : 80), at);
            refuse(p, list, count, NULL, why, err);
            err->code = EXIT_CODE_USAGE;
            return false;
        }
        at += length;
        if (!*at) return true;
    }
}

bool pretrained_find_prefixes(const struct pretrained *p, struct prefixes *found, struct error *err)
{
    struct prefix list[SETS_MAX];
    const int count = list_prefixes(&p->weights, list);
    const char *changed = p->sets ? NULL : find_changed_name(&p->weights);
    *found = (struct prefixes) { 0 };
    if (p->sets) return add_chosen(p, list, count, found, err);
    bool one = !changed;
    for (int i = 1; i < count; i++) one &= same_set(&list[0], &list[i]);
    if (count > 0 && !one) return refuse(p, list, count, changed, "", err);
    return count == 0 || add_towers(list, count, list[0].name, list[0].set_length, found);
}
